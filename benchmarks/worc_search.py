"""WORC's search with a clock, run as a script inside WORC's own environment: ``python worc_search.py job.json``.

WORC 3.7 evaluates its workflows through fastr, a queue of processes with files in between and no time limit. Here the
same workflows are drawn from WORC's default space and go through WORC's own fit, score, ranking and ensemble; only who
calls them is another. So the search ends in time however slow a workflow is, and after 1000, WORC's default, at latest.

Nothing of autoonco is imported: that environment has neither it nor its dependencies.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STARTED = time.monotonic()
KEPT_SHARE = 0.1
"""WORC's default ensemble is the best 100 of 1000 workflows; of fewer it is the same share."""
REFIT_COST = 1.5
"""Seconds of a workflow's refit on all cases and its predictions, in seconds of one of its five fits."""


def main(path: Path) -> None:
    """Read the job, search, write the probabilities ``(n_test, n_classes)`` and what it took."""
    job = json.loads(path.read_text(encoding="utf-8"))
    with np.load(job["data"], allow_pickle=False) as data:
        train, y, test = data["train"], data["y"], data["test"]
    labels, classes = worc_labels(job["names"]), np.unique(y)
    positives = classes[1:] if len(classes) == 2 else classes  # more than two: a model a class, as WORC does
    scores, facts = [], {"trials": 0, "trials_ok": 0, "workflows_in_ensemble": 0}
    for done, positive in enumerate(positives):
        end = STARTED + job["limit_s"] * (done + 1) / len(positives)
        model, told = searched(cases_of(train, labels), (y == positive).astype(int), job, end)
        scores.append(model.predict_proba(test)[:, 1])
        facts = {key: value + told[key] for key, value in facts.items()}
    np.save(job["out"], probabilities(scores))
    facts["search_s"] = round(time.monotonic() - STARTED)
    Path(job["facts"]).write_text(json.dumps(facts), encoding="utf-8")


def worc_labels(names: Sequence[Sequence[str]]) -> list[str]:
    """Return WORC's labels of pyradiomics' features, each given with its channel: WORC chooses groups by them."""
    from WORC.featureprocessing.FeatureConverter import convert_pyradiomics_featurevector

    channels = list(dict.fromkeys(channel for channel, _ in names))
    return [
        f"{next(iter(convert_pyradiomics_featurevector({feature: 0.0})))}_M{channels.index(channel)}"
        for channel, feature in names
    ]


def cases_of(table: NDArray[Any], labels: list[str]) -> list[tuple[NDArray[Any], list[str]]]:
    """Return WORC's form of a feature table: values and labels, a case."""
    return [(row, labels) for row in table]


def probabilities(scores: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return rows that sum to one, from the one score of two classes or a score for each of several."""
    if len(scores) == 1:
        return np.column_stack([1 - scores[0], scores[0]])
    table = np.column_stack(scores)
    total = table.sum(axis=1, keepdims=True)
    return np.where(total > 0, table / np.where(total > 0, total, 1.0), 1 / len(scores))


def searched(
    cases: list[Any], y: NDArray[Any], job: Mapping[str, Any], end: float
) -> tuple[Any, dict[str, int]]:
    """Return WORC's ensemble of the best workflows that were found and refitted by `end`, and their numbers."""
    from sklearn.model_selection import StratifiedShuffleSplit
    from WORC.classification.SearchCV import RandomizedSearchCVfastr

    space, options = default_space(Path(job["folder"]))
    rng = np.random.RandomState(job["seed"])
    cv = StratifiedShuffleSplit(options["n_splits"], test_size=options["test_size"], random_state=rng)
    splits = list(cv.split(cases, y))
    trials = evaluated(cases, y, splits, space, options, rng, end, job["cpus"])
    fine = sum(trial["error"] is None and math.isfinite(score_of(trial)) for trial in trials)
    if not fine:
        reasons = [trial["error"] for trial in trials if trial["error"] is not None]
        raise RuntimeError(reasons[0] if reasons else "no workflow was scored within the time limit")
    model = RandomizedSearchCVfastr(
        param_distributions=space, scoring=options["scoring_method"], cv=cv, maxlen=options["maxlen"],
        ranking_score=options["ranking_score"],
    )  # fmt: skip
    flat = [trial["results"][split] for split in range(len(splits)) for trial in trials]
    columns = {key: [result[key] for result in flat] for key in flat[0]}
    model.process_fit(
        n_splits=len(splits), parameters_all=columns["parameters"], test_sample_counts=columns["n_test_samples"],
        test_scores=columns["test_scores"], train_scores=columns["train_scores"], fit_time=columns["fit_time"],
        score_time=columns["score_time"], cv_iter=splits, X=cases, y=y, fit_error="fit_error",
    )  # fmt: skip
    size = min(fine, kept(len(trials), options["maxlen"]))
    model.create_ensemble(cases, y, method="top_N", size=size, verbose=False)
    used = len(model.ensemble.estimators)  # WORC leaves one out that can not be refitted
    return model, {"trials": len(trials), "trials_ok": fine, "workflows_in_ensemble": used}


def default_space(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return WORC's default search space and its options for the search, read as WORC reads them: from a file."""
    import WORC.IOparser.config_io_classifier as config_io
    from WORC import WORC
    from WORC.classification.construct_classifier import create_param_grid
    from WORC.classification.trainclassifier import add_parameters_to_grid

    path = folder / "worc.ini"
    with path.open("w", encoding="utf-8") as file:
        WORC("peer").defaultconfig().write(file)
    config = config_io.load_config(str(path))
    return add_parameters_to_grid(create_param_grid(config), config), config["HyperOptimization"]


def evaluated(
    cases: list[Any],
    y: NDArray[Any],
    splits: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    space: Mapping[str, Any],
    options: Mapping[str, Any],
    rng: np.random.RandomState,
    end: float,
    cpus: int,
) -> list[dict[str, Any]]:
    """Return the workflows that were drawn and scored while there was time left to refit the best of them."""
    from joblib import Parallel, delayed
    from sklearn.model_selection import ParameterSampler

    trials: list[dict[str, Any]] = []

    def drawn() -> Iterator[Any]:
        drawings = ParameterSampler(dict(space), options["N_iter"], random_state=rng)
        for number, parameters in enumerate(drawings):
            if time.monotonic() + refit_s(trials, options["maxlen"]) > end:
                return
            yield delayed(evaluate)(
                cases, y, splits, {**parameters, "Number": str(number)}, options["scoring_method"]
            )

    run = Parallel(n_jobs=cpus, pre_dispatch=cpus, batch_size=1, return_as="generator_unordered")
    for trial in run(drawn()):  # `drawn` sees what has ended so far
        trials.append(trial)  # noqa: PERF402
    return trials


def evaluate(
    cases: list[Any], y: NDArray[Any], splits: Sequence[Any], parameters: dict[str, Any], scoring: str
) -> dict[str, Any]:
    """Return what WORC makes of one workflow on each split; one that raises has no score, and its error is told."""
    from WORC.classification.fitandscore import fit_and_score

    start, error, results = time.monotonic(), None, []
    try:
        for train, valid in splits:
            results.append(fit_and_score(cases, y, scoring, train, valid, parameters, return_all=False))
    except Exception as raised:  # through fastr one such workflow would end the whole search
        error = f"{type(raised).__name__}: {raised}"
        nothing = dict.fromkeys(("test_scores", "train_scores", "fit_time", "score_time"), float("nan"))
        results = [{**nothing, "n_test_samples": len(valid), "parameters": parameters} for _, valid in splits]
    return {"results": results, "error": error, "seconds": time.monotonic() - start}


def score_of(trial: Mapping[str, Any]) -> float:
    """Return a workflow's mean score over the splits, NaN if one failed."""
    return float(np.mean([result["test_scores"] for result in trial["results"]]))


def kept(n_trials: int, most: int) -> int:
    """Return how many workflows of so many go into the ensemble."""
    return max(1, min(most, math.ceil(KEPT_SHARE * n_trials)))


def refit_s(trials: Sequence[Mapping[str, Any]], most: int) -> float:
    """Return the seconds that refits of the best workflows so far will take, one after the other."""
    ranked = sorted(trials, key=lambda trial: -np.nan_to_num(score_of(trial), nan=-1.0))
    best = ranked[: kept(len(trials), most)]
    return REFIT_COST * sum(trial["seconds"] / len(trial["results"]) for trial in best)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
