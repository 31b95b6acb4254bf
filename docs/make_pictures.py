"""Makes the pictures of README and site from a real run: ``python docs/make_pictures.py [RUN] [--search RUN]``.

Without a run folder it fits made-up lesions, so that no scan of a patient is in a picture. It needs Chromium.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageChops
from rich.console import Console

import autoonco
from autoonco.data.phantoms import make_phantoms
from autoonco.progress import progress_table
from autoonco.reporting.page import write_report
from autoonco.reporting.plots import STYLE, look, new_axes, title
from autoonco.search.problem import Progress
from autoonco.search.store import read_events
from autoonco.search.trial import Trial

PICTURES = Path(__file__).parent / "pictures"
PAGE, TERMINAL = (1280, 980), (1000, 420)
FONT = re.compile(r"@font-face \{.*?\}", re.S)
"""What rich puts into an SVG to have its letters from the internet."""
UNDECIDED, DECIDED = 0.35, 1.0
"""Opacity of the smallest budget, and of the full one."""
PHASES = {
    "begin": "data, defaults, search",
    "scoring again": "finalists again",
    "refits": "refits, test cases, report",
}


def main() -> None:
    """Write ``report.png``, ``terminal.png`` and ``search.svg`` into ``docs/pictures``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run without scans of patients")
    parser.add_argument(
        "--search", type=Path, help="another such run, for terminal and search; by default RUN"
    )
    parser.add_argument("--time-limit", default="10min")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = options.run or made_run(folder, options.time_limit)
        searched = options.search or run
        search_figure(searched).savefig(PICTURES / "search.svg", metadata={"Date": None})
        screenshot(write_report(run, folder / "report"), PAGE, PICTURES / "report.png")
        screenshot(terminal_page(searched, folder), TERMINAL, PICTURES / "terminal.png", cut=True)


def made_run(folder: Path, time_limit: str) -> Path:
    """Fit made-up volumes, so that all three arms take part."""
    manifest = make_phantoms(folder / "phantoms", n=180, ndim=3)
    autoonco.fit(manifest, time_limit=time_limit, run_dir=folder / "run")
    return folder / "run"


def screenshot(page: Path, size: tuple[int, int], target: Path, *, cut: bool = False) -> None:
    """Write what a browser shows of `page` in a window of `size` pixels, with `cut` without the empty rest."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("No Chromium on this machine: install Debian's package chromium.")
    window = ",".join(map(str, size))
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={window}",
         f"--screenshot={target}", page.as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip
    shot = Image.open(target).convert("RGB")
    if cut:
        shot = shot.crop(ImageChops.difference(shot, Image.new("RGB", shot.size, "white")).getbbox())
    # 128 colours are enough for a page, and a third of the bytes.
    shot.quantize(128).save(target, optimize=True)


def terminal_page(run: Path, folder: Path) -> Path:
    """Return a page with the table that a terminal showed when most of the search of `run` was over."""
    events = list(read_events(run))
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    ends = [event["elapsed_s"] for event in events if event["event"] == "phase" and event["scope"] == "final"]
    limit_s = ends[0] if ends else told["time_limit_s"]
    trials = [Trial.from_json(event) for event in events if event["event"] == "trial"]
    then_s = max(trial.elapsed_s for trial in trials if trial.elapsed_s < 0.8 * limit_s)
    progress = Progress(
        scope="final",
        families=[family for family, why_not in told["families"].items() if why_not is None],
        elapsed_s=then_s,
        limit_s=limit_s,
        trials=[trial for trial in trials if trial.elapsed_s <= then_s],
        running=[next(trial.family for trial in trials if trial.elapsed_s > then_s)],
    )
    console = Console(record=True, width=96, file=(folder / "terminal.txt").open("w", encoding="utf-8"))
    console.print(f"$ autoonco fit data.csv --time-limit {told['time_limit_s']:.0f}s -o run", highlight=False)
    now = datetime.fromisoformat(told["started"]) + timedelta(seconds=then_s)
    console.print(progress_table(progress, now=now))
    page = folder / "terminal.html"
    picture = FONT.sub("", console.export_svg(title="autoonco"))
    page.write_text(f'<body style="margin:0">{picture}</body>', encoding="utf-8")
    return page


def search_figure(run: Path) -> Figure:
    """Return when each trial of a run's final search ran: a lane a family, the darker the larger its budget."""
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    events = [event for event in read_events(run) if event["scope"] == "final"]
    trials = [event for event in events if event["event"] == "trial"]
    families = sorted({trial["family"] for trial in trials})
    end = float(told["elapsed_s"])
    unit, name = (60.0, "minutes") if end > 180 else (1.0, "seconds")
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(8.2, 0.5 * len(families) + 1.7)
        for lane, family in enumerate(families):
            for trial in trials:
                if trial["family"] == family:
                    draw_trial(axes, trial, lane, unit)
        draw_phases(axes, events, end / unit, unit)
        axes.set(
            xlabel=f"Time since the run began, {name}", xlim=(0, end / unit), ylim=(len(families) - 0.4, -0.6)
        )
        axes.set_yticks(range(len(families)), [title(family) for family in families])
        axes.grid(visible=False)
        budgets = sorted({round(trial["budget"], 3) for trial in trials})
        shades = [Patch(color="#333333", alpha=opacity(each), label=f"budget {each:.2g}") for each in budgets]
        stopped = Patch(facecolor="white", edgecolor="#333333", label="stopped early, or failed")
        figure.legend(handles=[*shades, stopped], loc="outside lower center", ncols=len(shades) + 1)
    return figure


def draw_trial(axes: Any, trial: dict[str, Any], lane: int, unit: float) -> None:
    """Draw a bar as long as the trial took, wide enough to be seen."""
    length = max(trial["seconds"] / unit, 0.12)
    colour, done = look(trial["family"]).colour, trial["status"] == "success"
    axes.barh(
        lane, length, left=trial["elapsed_s"] / unit - length, height=0.62, edgecolor=colour, linewidth=0.8,
        facecolor=mpl.colors.to_rgba(colour, opacity(trial["budget"])) if done else "white",
    )  # fmt: skip


def opacity(budget: float) -> float:
    """Return how dark a trial of a budget is drawn: by its logarithm, for rungs are thirds of each other."""
    rungs = 1 + max(-3.0, np.log(budget) / np.log(3)) / 3
    return UNDECIDED + (DECIDED - UNDECIDED) * float(rungs)


def draw_phases(axes: Any, events: Sequence[dict[str, Any]], end: float, unit: float) -> None:
    """Name what the run was at, and part it by lines."""
    began = {event["name"]: event["elapsed_s"] / unit for event in events if event["event"] == "phase"}
    starts = {"begin": 0.0, **{name: began[name] for name in PHASES if name in began}}
    stops = [*list(starts.values())[1:], end]
    for number, ((phase, start), stop) in enumerate(zip(starts.items(), stops, strict=True)):
        if start:
            axes.axvline(start, color="#555555", linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            PHASES[phase], ((start + stop) / 2, 1.02 + 0.08 * (number % 2)), xycoords=("data", "axes fraction"),
            ha="center", va="bottom", fontsize=9,
        )  # fmt: skip


if __name__ == "__main__":
    main()
