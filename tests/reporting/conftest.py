"""A builder of synthetic run folders, in the files and columns that a run writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup, escape

ATTACK = "<script>alert(1)</script>"
PLANTED = "/data/Jane Doe/patient_0042.nii.gz"

BuildRun = Callable[..., Path]


@pytest.fixture
def real_figures() -> None:
    """Ask for figures as they are drawn; other tests get empty ones, which cost a hundredth."""


@pytest.fixture(autouse=True)
def quick_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figure where a test doesn't look at one: title and description are as in a drawn one."""
    if "real_figures" in request.fixturenames:
        return

    def empty(_: Any, *, name: str, heading: str, description: str) -> Markup:
        told = f'<title id="{name}-title">{escape(heading)}</title>'
        told += f'<desc id="{name}-description">{escape(description)}</desc>'
        labels = f'role="img" aria-labelledby="{name}-title {name}-description"'
        return Markup(f'<svg xmlns="http://www.w3.org/2000/svg" {labels}>{told}</svg>')

    monkeypatch.setattr("autoonco.reporting.blocks.to_svg", empty)
    monkeypatch.setattr("autoonco.reporting.files.to_pdf", lambda _: b"%PDF-1.4")


@pytest.fixture(scope="session")
def run_writer() -> BuildRun:
    """Return the function that writes a run into a folder that it is given."""
    return write_run


@pytest.fixture
def build_run(tmp_path: Path) -> BuildRun:
    """Return a function that writes a run folder and returns its path."""
    made = 0

    def build(**choices: Any) -> Path:
        nonlocal made
        made += 1
        return write_run(tmp_path / f"run{made}", **choices)

    return build


def write_run(
    folder: Path,
    *,
    classes: Sequence[str] = ("benign", "malignant"),
    status: str = "finished",
    evaluation: str = "external",
    n_trials: int = 60,
    n_test: int = 150,
    n_folds: int = 1,
    ndim: int = 2,
    note: str = "no lesion in the largest slice",
    seed: int = 0,
) -> Path:
    """Write a run; the ensemble is a little better than the networks, these than radiomics."""
    rng = np.random.default_rng(seed)
    (folder / "evaluation").mkdir(parents=True)
    families = {"pretrained2d": None, "radiomics": None, "volumetric3d": None}
    if ndim == 2:
        families["volumetric3d"] = f"2D images: a 3D network needs volumes ({note})."
    present = [name for name, why in families.items() if why is None]
    _write_json(folder / "run.json", run_json(status, evaluation, families, n_test))
    _write_json(folder / "fingerprint.json", fingerprint_json(classes, ndim))
    checks = [
        (
            "DATA003",
            "warning",
            17.0,
            f"the mask touches the border of the image ({note})",
            "look at the mask",
        ),
        ("DATA008", "note", None, "two images are equal byte by byte", "remove one of them"),
        ("DATA001", "error", 4.0, f"can't read '{PLANTED}'", "replace the file"),
    ]
    pd.DataFrame(checks, columns=["code", "severity", "row", "message", "remedy"]).to_csv(
        folder / "checks.csv", index=False
    )
    trials = [trial_json(i, n_trials, present, note, rng) for i in range(n_trials)]
    lines = [json.dumps({"event": "fold", "scope": "final", "name": "x", "seconds": 1.0, "elapsed_s": 1.0})]
    (folder / "journal.jsonl").write_text(
        "\n".join([*lines, *map(json.dumps, trials)]) + "\n", encoding="utf-8"
    )
    if status in ("finished", "stopped"):
        _write_json(folder / "evaluation" / "models.json", models_json(present, evaluation))
        if evaluation != "none":
            table = predictions_table(present, len(classes), n_test, n_folds, rng)
            table.to_csv(folder / "evaluation" / "predictions.csv", index=False)
    return folder


def run_json(status: str, evaluation: str, families: dict[str, Any], n_test: int) -> dict[str, Any]:
    return {
        "format": 1,
        "autoonco": "0.1.0",
        "started": "2025-05-04T10:11:12+00:00",
        "status": status,
        "stopped": "This run was stopped after 100 s of 480 s." if status == "stopped" else None,
        "command": ["autoonco", "fit", PLANTED.replace("nii.gz", "csv"), "--time-limit", "8min"],
        "seed": 0,
        "metric": "roc_auc",
        "evaluation": evaluation,
        "time_limit_s": 480.0,
        "elapsed_s": 462.3,
        "n_jobs": 2,
        "device": "cpu",
        "settings": {"inner_folds": 5, "eta": 3, "on_bad_case": "exclude"},
        "families": families,
        "versions": {"python": "3.11.7", "torch": "2.14.1", "scikit-learn": "1.9.1", "autoonco": "0.1.0"},
        "hardware": {"cores": 2, "memory_gb": 15.6, "system": "Linux x86_64"},
        "n": {"cases": 647, "patients": 600, "excluded": 2, "train": 647 - n_test, "test": n_test},
    }


def fingerprint_json(classes: Sequence[str], ndim: int) -> dict[str, Any]:
    return {
        "n_cases": 497,
        "n_patients": 470,
        "classes": list(classes),
        "class_counts": [300 - 60 * k for k in range(len(classes))],
        "ndim": ndim,
        "channels": ["image"],
        "is_colour": False,
        "has_mask": True,
        "clinical": [],
        "has_site": False,
        "spacing_mm": [1.0] * ndim,
        "shape": [562, 471, 60][:ndim],
        "lesion_mm": [121.0, 84.5, 30.25][:ndim],
        "lesion_voxels": 8123.0,
        "intensity": {"image": "byte"},
    }


def trial_json(i: int, n: int, families: Sequence[str], note: str, rng: Any) -> dict[str, Any]:
    family = families[i % len(families)]
    budget = (1 / 9, 1 / 3, 1.0)[int(rng.integers(3))]
    status = str(
        rng.choice(["success", "failed", "timeout", "memory", "skipped"], p=[0.84, 0.06, 0.05, 0.03, 0.02])
    )
    ceiling = {"radiomics": 0.90, "pretrained2d": 0.93, "volumetric3d": 0.86}[family]
    score = float(ceiling - rng.gamma(1.5, 0.03) - 0.05 * (budget < 1)) if status == "success" else None
    config: dict[str, Any] = {
        "learner": "svm",
        "selection": "mutual_information",
        "C": float(rng.lognormal()),
    }
    if family != "radiomics":
        config = {
            "network": "tf_efficientnet_lite0",
            "training": "frozen",
            "learning_rate": 3e-4,
            "mixup": False,
        }
    return {
        "event": "trial",
        "scope": "final",
        "id": i,
        "family": family,
        "config": config,
        "budget": budget,
        "fidelity": {"folds": 5 if budget == 1 else 2, "epochs": None if family == "radiomics" else 9},
        "status": status,
        "loss": None if score is None else 1 - score,
        "score": score,
        "seconds": float(rng.gamma(2, 3)),
        "elapsed_s": 330.0 * (i + 1) / n,
        "origin": "default" if i < len(families) else "search",
        "reason": None if status == "success" else f"ended as {status}: {note}",
        "seed": 0,
    }


def models_json(families: Sequence[str], evaluation: str) -> list[dict[str, Any]]:
    members = [
        {
            "family": name,
            "config": {"learner": "svm", "C": 0.7},
            "weight": 1 / len(families),
            "inner_score": 0.9,
        }
        for name in families
    ]
    scores = {"radiomics": 0.895, "pretrained2d": 0.93, "volumetric3d": 0.86}
    out = [_model("ensemble", "ensemble", 0.94, members)]
    out += [_model(m["family"], "family", scores[m["family"]], [m | {"weight": 1.0}]) for m in members]
    return out if evaluation == "none" else [*out, _model("baseline: lesion size", "baseline", None, [])]


def _model(name: str, kind: str, score: float | None, members: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "inner_score": score,
        "members": members,
        "refit_seconds": 21.5 if members else 0.0,
        "search_seconds": 140.0 if members else 0.0,
    }


def predictions_table(families: Sequence[str], k: int, n: int, n_folds: int, rng: Any) -> pd.DataFrame:
    skill = {
        "ensemble": 2.2,
        "pretrained2d": 2.0,
        "radiomics": 1.5,
        "volumetric3d": 1.2,
        "baseline: lesion size": 0.9,
    }
    names = ["ensemble", *families, "baseline: lesion size"]
    truth = np.arange(n) % k
    shared = rng.normal(size=(n, k))
    frames = []
    for name in names:
        logits = skill[name] * np.eye(k)[truth] + 0.8 * shared + 0.8 * rng.normal(size=(n, k))
        proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        fixed = {
            "fold": np.arange(n) // -(-n // n_folds),
            "row": np.arange(1, n + 1),
            "group": np.arange(n) * 19 // 20,
            "truth": truth,
            "is_clean": (np.arange(n) % 12 > 0).astype(int),
            "model": name,
        }
        frames.append(pd.DataFrame(fixed | {f"p_{j}": proba[:, j] for j in range(k)}))
    return pd.concat(frames, ignore_index=True)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
