"""What is compared: autoonco, itself with a piece switched off, random search, and what people do without it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.classifier import AutoOncoClassifier
from autoonco.data.manifest import Dataset
from autoonco.families import all_families
from autoonco.reporting.result import Result
from autoonco.settings import Settings
from benchmarks.peers import NotHereError, autogluon, peer_names, plain_peer, worc
from benchmarks.radiomics_paper import LEARNERS, feature_names, numbers_of, paper_features
from benchmarks.single_network import FINETUNING, fitted
from benchmarks.spent import family_seconds


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a method is given: cases to learn from, cases to predict (without labels), and its means.

    `folder` is the cell's own; `shared` is for what methods of a task have in common, such as a peer's environment.
    """

    train: Dataset
    test: Dataset
    seed: int
    time_limit_s: float
    folder: Path
    shared: Path
    n_jobs: int = 1


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Probabilities of the test cases ``(n_cases, n_classes)``, and facts for the table."""

    proba: NDArray[Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


Method = Callable[[Job], Answer]

ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "no_ensemble": {"ensemble": False},
    "no_multifidelity": {"min_budget": 1.0},
    "no_cost_awareness": {"cooling": False},
    "no_warm_start": {"portfolio": "none"},
    "random_search": {"search": "random"},
}
"""Settings that switch a piece off; all else is the default's."""


def method_names() -> list[str]:
    """Return every method's name, in the order of the table."""
    families = [f"only_{name}" for name in all_families() if not name.startswith(("toy", "own_"))]
    papers = [f"paper_{name}" for name in LEARNERS]
    return ["autoonco", *ABLATIONS, *families, *papers, "fine_tuned_network", "autogluon", *peer_names()]


def method_of(name: str) -> Method:
    """Return the method called `name`."""
    if name == "autoonco":
        return lambda job: searched(job)
    if name in ABLATIONS:
        return lambda job: searched(job, **ABLATIONS[name])
    if name.startswith("only_"):
        return lambda job: searched(job, families=[name.removeprefix("only_")])
    if name.startswith("paper_"):
        return lambda job: _radiomics_paper(job, name.removeprefix("paper_"))
    if name == "fine_tuned_network":
        return _fine_tuned
    if name == "autogluon":
        return _autogluon
    if name == "worc":
        return _worc
    if name in peer_names():
        return lambda job: plain_peer(name, job.shared)
    raise SystemExit(f"There is no method {name!r}; there are: {', '.join(method_names())}.")


def searched(job: Job, *, families: Sequence[str] | None = None, **changes: Any) -> Answer:
    """Fit autoonco within the time limit, and tell how much of its time was not spent inside a family."""
    start = time.monotonic()
    model = AutoOncoClassifier(
        time_limit=job.time_limit_s,
        families=families,
        evaluation="none",
        clinical=job.train.clinical,
        n_jobs=job.n_jobs,
        seed=job.seed,
        run_dir=job.folder / "run",
        settings=Settings.preset("standard", **changes),
    ).fit(job.train)
    fitted_s = time.monotonic() - start
    proba = model.predict_proba(job.test)
    return Answer(
        proba=proba, facts={"fit_s": fitted_s, **run_facts(job.folder / "run", fitted_s, job.n_jobs)}
    )


def run_facts(run: Path, wall_s: float, n_jobs: int) -> dict[str, Any]:
    """Return what a run folder tells: trials, and the share of the wall time that no family's fit or predict took."""
    data = Result(run).read()
    done = [trial for trial in data.trials if trial.get("status") == "success"]
    scores = [trial["score"] for trial in done if trial.get("score") is not None]
    return {
        "trials": len(data.trials),
        "trials_ok": len(done),
        "overhead_share": max(0.0, 1.0 - family_seconds(run) / (wall_s * n_jobs)),
        "inner_score": max(scores, default=float("nan")),
    }


def _radiomics_paper(job: Job, learner: str) -> Answer:
    start = time.monotonic()
    train, test, seconds = paper_features(job.train, job.test, job.shared)
    model = LEARNERS[learner](job.seed).fit(train, job.train.y)
    return Answer(
        proba=model.predict_proba(test),
        facts={"extraction_s": seconds, "fit_s": time.monotonic() - start, "n_features": train.shape[1]},
    )


def _fine_tuned(job: Job) -> Answer:
    model = fitted(job.train, FINETUNING, seed=job.seed, n_threads=len(os.sched_getaffinity(0)))
    return Answer(proba=model.predict_proba(job.test.cases))


def _autogluon(job: Job) -> Answer:
    """Fit AutoGluon on the same radiomic features; extraction counts in its time."""
    train, test, seconds, left_s = _features_in_time(job)
    assert job.train.y is not None
    proba = autogluon(
        train, np.asarray(job.train.y), test, limit_s=left_s, shared=job.shared, folder=job.folder
    )
    return Answer(proba=proba, facts={"extraction_s": seconds})


def _worc(job: Job) -> Answer:
    """Run WORC's search on the same radiomic features; extraction counts in its time."""
    train, test, seconds, left_s = _features_in_time(job)
    names = feature_names(job.train.cases, train.shape[1])
    assert job.train.y is not None
    proba, facts = worc(
        numbers_of(train), np.asarray(job.train.y), numbers_of(test), names,
        limit_s=left_s, seed=job.seed, shared=job.shared, folder=job.folder,
    )  # fmt: skip
    return Answer(proba=proba, facts={"extraction_s": seconds, "fit_s": seconds + facts["search_s"], **facts})


def _features_in_time(job: Job) -> tuple[NDArray[Any], NDArray[Any], float, float]:
    """Return pyradiomics' features of both, the seconds that they take, and those that are left of the limit."""
    train, test, seconds = paper_features(job.train, job.test, job.shared)
    left_s = job.time_limit_s - seconds
    if left_s < 5:
        raise NotHereError(f"Extraction alone took {seconds:.0f} s of the time limit.")
    return train, test, seconds, left_s
