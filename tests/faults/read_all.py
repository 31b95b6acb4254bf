"""Reads every file named on standard input as the data check does, one after another, and says what came of it.

It runs as a process of its own: a decoder that crashes takes it down, and not the tests.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path

import pandas as pd

from autoonco.data.checks import findings, inspect
from autoonco.data.manifest import Dataset
from benchmarks.memory import status_kb

LIMIT_BYTES = 6 * 2**30


def outcome(path: Path) -> dict[str, object]:
    """Return the code and message of the finding that rules the case out, and else the hash of what was read."""
    frame = pd.DataFrame({"image": [path.name], "label": ["a"]})
    data = Dataset.from_frame(frame, root=path.parent, complete=False)
    facts = inspect(data)
    found = [f for f in findings(data, facts) if f.row == 1 and f.severity == "error"]
    content = [channel.content for channel in facts[0].channels.values()]
    return {
        "code": found[0].code if found else None,
        "message": found[0].message if found else "",
        "content": content[0] if content else None,
    }


def main() -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    for line in sys.stdin:
        path = Path(line.strip())
        print(json.dumps({"start": path.as_posix()}), flush=True)
        started = time.monotonic()
        told = outcome(path)
        told |= {
            "path": path.as_posix(),
            "seconds": time.monotonic() - started,
            "peak_mb": status_kb("VmHWM") / 1024,
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
