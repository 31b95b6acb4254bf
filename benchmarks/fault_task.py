"""What is killed: a small whole run of a family that logs each fit it completes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

TOY = Path(__file__).resolve().parents[1] / "tests" / "toy"
FAMILY = """
import os, toy_family
class Counted(toy_family.ToyFamily):
    def fit(self, *arguments, **named):
        model = super().fit(*arguments, **named)
        handle = os.open(os.environ["FAULTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, b"fit\\n")
        os.close(handle)
        return model
    name = "counted"
family = Counted()
"""


def prepare(folder: Path) -> Path:
    """Write the task and the family that logs its fits, make them known, and return the manifest."""
    rng = np.random.default_rng(0)
    plugin = folder / "plugin"
    info = plugin / "counted_family-0.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (plugin / "counted_family.py").write_text(FAMILY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counted-family\nVersion: 0.0\n")
    (info / "entry_points.txt").write_text("[autoonco.families]\ncounted = counted_family:family\n")
    paths = [str(plugin), str(TOY), str(TOY.parents[1])]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    rows = []
    for i in range(40):
        label = (i // 2) % 2
        Image.fromarray(rng.integers(0, 255, (12, 12)).astype(np.uint8)).save(folder / f"{i}.png")
        value = 2 * label - 1 + rng.normal()
        rows.append(
            {
                "case": i,
                "patient": i // 2,
                "image": f"{i}.png",
                "label": ["no", "yes"][label],
                "signal": value,
                "split": "train" if i < 28 else "test",
            }
        )
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"


def fit(manifest: Path, run: Path, options: argparse.Namespace) -> None:
    """Do what is to be killed: a whole run."""
    import autoonco

    settings = autoonco.Settings(
        inner_folds=3, max_trials=options.trials, ensemble_rounds=5, portfolio="none", seconds="prior"
    )
    autoonco.fit(
        manifest,
        families=["counted"],
        clinical=["signal"],
        run_dir=run,
        time_limit=3600,
        n_jobs=options.jobs,
        device="cpu",
        settings=settings,
    )
