"""Other tools, each in an environment of its own that is made here: never a dependency of autoonco."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

AUTOGLUON = "autogluon.tabular[lightgbm,xgboost]==1.6.3"
OTHERS: Mapping[str, str] = {
    "worc": "WORC==3.7.0",
    "auto_pytorch": "autoPyTorch==0.2.1",
    "quicktune": "quicktunetool",
    "aucmedi": "aucmedi",
}
"""Peers that are tried, by what pip is asked for. One that does not install is told with its error."""
INSTALL_S = 600.0
BUILD_NEEDS = ("numpy<2", "scipy", "setuptools<81", "wheel", "cython<3")
"""What old packages import in their build without saying so; they get it where a first try fails."""
SCRIPT = """
import json, sys
import numpy as np, pandas as pd
from autogluon.tabular import TabularPredictor

job = json.load(open(sys.argv[1]))
data = np.load(job["data"], allow_pickle=False)
names = [f"f{i}" for i in range(data["train"].shape[1])]
train = pd.DataFrame(data["train"], columns=names).assign(label=data["y"])
test = pd.DataFrame(data["test"], columns=names)
metric = "roc_auc" if len(np.unique(data["y"])) == 2 else "roc_auc_ovr_macro"
model = TabularPredictor(label="label", eval_metric=metric, path=job["path"], verbosity=0)
model.fit(train, time_limit=job["limit_s"], presets="best_quality", num_cpus=job["cpus"])
proba = model.predict_proba(test)
np.save(job["out"], proba[sorted(proba.columns)].to_numpy(dtype=float))
"""


class NotHereError(RuntimeError):
    """A method cannot be run on this task or this machine, and why."""


def peer_names() -> list[str]:
    """Return the peers beside AutoGluon that are tried."""
    return list(OTHERS)


def environment(name: str, requirement: str, shared: Path) -> Path:
    """Return the Python of the environment `name`, made with pip where it is not there yet.

    Raises
    ------
    NotHereError
        With pip's last error, which is kept: an installation that failed is not tried again.
    """
    folder = shared / "environments" / name
    python, failed = folder / "bin" / "python", folder / "failed.txt"
    if failed.exists():
        raise NotHereError(failed.read_text(encoding="utf-8"))
    if (folder / "installed.txt").exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
    end = time.monotonic() + INSTALL_S
    reason = _pip(python, [requirement], end)
    if reason and not _pip(python, BUILD_NEEDS, end):  # its build may need more than it tells pip
        reason = _pip(python, ["--no-build-isolation", requirement], end)
    if reason:
        failed.write_text(f"pip install {requirement}: {reason}", encoding="utf-8")
        raise NotHereError(failed.read_text(encoding="utf-8"))
    (folder / "installed.txt").write_text(requirement, encoding="utf-8")
    return python


def _pip(python: Path, wanted: Sequence[str], end: float) -> str:
    """Install until the clock shows `end`; return what went wrong, nothing if all is well."""
    try:
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "-q", *wanted],
            capture_output=True, text=True, timeout=max(1.0, end - time.monotonic()), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_S:.0f} s"
    return "" if done.returncode == 0 else first_cause(done.stderr)


def first_cause(said: str) -> str:
    """Return the line of pip's output that says most: the error of a package's own build, before pip's own words."""
    lines = [line.strip(" │|╰─>") for line in said.splitlines() if not line.startswith("WARNING")]
    causes = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception|Conflict)\b", line)]
    spoken = [line for line in lines if line.lower().startswith("error")]
    return (causes or spoken or lines or ["unknown error"])[-1]


def plain_peer(name: str, shared: Path) -> NoReturn:
    """Install a peer and tell why it has no figure: what pip said, or that nobody has written how to drive it here."""
    environment(name, OTHERS[name], shared)
    raise NotHereError(f"{OTHERS[name]} installs, but there is no adapter for it in this benchmark.")


def autogluon(
    train: NDArray[Any],
    y: NDArray[Any],
    test: NDArray[Any],
    *,
    limit_s: float,
    shared: Path,
    folder: Path,
    cpus: int = 2,
) -> NDArray[Any]:
    """Return AutoGluon's probabilities, fitted in its own process within `limit_s` seconds."""
    python = environment("autogluon", AUTOGLUON, shared)
    job = {"path": str(folder / "autogluon"), "limit_s": limit_s, "cpus": cpus}
    return _answer("AutoGluon", [str(python), "-c", SCRIPT], folder, job, train=train, y=y, test=test)


def worc(
    train: NDArray[Any],
    y: NDArray[Any],
    test: NDArray[Any],
    names: Sequence[tuple[str, str]],
    *,
    limit_s: float,
    seed: int,
    shared: Path,
    folder: Path,
    cpus: int = 2,
) -> tuple[NDArray[Any], dict[str, float]]:
    """Return the probabilities of WORC's search within `limit_s` seconds, its seconds and how many workflows it tried.

    Features that are missing are NaN, which WORC imputes. `names` are channel and pyradiomics' name of each feature:
    WORC searches over groups of features too.
    """
    python = environment("worc", OTHERS["worc"], shared)
    facts = folder / "facts.json"
    job = {
        "facts": str(facts),
        "folder": str(folder),
        "names": list(names),
        "limit_s": limit_s,
        "seed": seed,
        "cpus": cpus,
    }
    command = [str(python), "-I", "-W", "ignore", str(Path(__file__).with_name("worc_search.py"))]
    proba = _answer("WORC", command, folder, job, train=train, y=y, test=test)
    return proba, json.loads(facts.read_text(encoding="utf-8"))


def _answer(
    name: str, command: Sequence[str], folder: Path, job: Mapping[str, Any], **arrays: NDArray[Any]
) -> NDArray[Any]:
    """Run a peer's script on a job; return the probabilities that it wrote. Its home is its environment's."""
    folder.mkdir(parents=True, exist_ok=True)
    data, out, path = folder / "data.npz", folder / "proba.npy", folder / "peer_job.json"
    np.savez(data, **arrays)
    path.write_text(json.dumps({**job, "data": str(data), "out": str(out)}), encoding="utf-8")
    home = Path(command[0]).parents[1] / "home"  # caches and settings that a tool leaves there
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [*command, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(home)},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {first_cause(done.stderr)}")
    return np.asarray(np.load(out, allow_pickle=False))
