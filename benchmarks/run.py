"""Benchmarks by what they answer: ``python -m benchmarks run quality --time-limit 10min --repeats 3``.

    quality     how good models get in the same time, beside what people would use instead
    speed       extraction, embedding, training steps and volume loading beside the bare library
    overhead    what the optimiser costs a trial
    scale       workers on a cluster, and cost a case from 100 to 10,000 cases

Options after the name are the benchmark's own; ``--help`` after it tells them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence

PARTS: Mapping[str, Sequence[str]] = {
    "quality": ("quality",),
    "speed": ("radiomics_speed", "pretrained2d_speed", "volumetric3d_speed", "volume_loading"),
    "overhead": ("overhead",),
    "scale": ("scale",),
}


def main(arguments: Sequence[str]) -> None:
    """Run the benchmarks of one answer, one after the other; options go to it where it is a single one."""
    if not arguments or arguments[0] not in PARTS:
        sys.exit(f"Usage: python -m benchmarks run {'|'.join(PARTS)} [options]\n\n{__doc__}")
    name, *options = arguments
    parts = PARTS[name]
    if options and len(parts) > 1:
        sys.exit(f"'{name}' takes no options; its parts do: python -m benchmarks {parts[0]} --help.")
    for part in parts:
        if len(parts) > 1:
            print(f"== {part}", flush=True)
        importlib.import_module(f"benchmarks.{part}").main(options)


if __name__ == "__main__":
    main(sys.argv[1:])
