"""Makes the pictures of README and site from a real run: ``python docs/make_pictures.py [RUN]``.

Without a run folder it fits made-up lesions for ten minutes, so that no scan of a patient is in a picture. It needs
Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import autoonco
from autoonco.data.phantoms import make_phantoms
from autoonco.reporting.page import write_report

PICTURES = Path(__file__).parent / "pictures"
SIZE = "1280,1500"


def main() -> None:
    """Write ``report.png`` and ``search.svg`` into ``docs/pictures``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run without scans of patients")
    parser.add_argument("--time-limit", default="10min")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("No Chromium on this machine: install Debian's package chromium.")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or made_run(Path(folder), options.time_limit)
        result = autoonco.Result(run)
        result.plots.search_curve().savefig(PICTURES / "search.svg")
        page = write_report(run, Path(folder) / "report")
        shot = Path(folder) / "report.png"
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}",
             f"--screenshot={shot}", page.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip
        # 128 colours are enough for a page, and a third of the bytes.
        Image.open(shot).convert("RGB").quantize(128).save(PICTURES / "report.png", optimize=True)


def made_run(folder: Path, time_limit: str) -> Path:
    """Fit made-up volumes, so that all three arms take part."""
    manifest = make_phantoms(folder / "phantoms", n=180, ndim=3)
    autoonco.fit(manifest, time_limit=time_limit, run_dir=folder / "run")
    return folder / "run"


if __name__ == "__main__":
    main()
