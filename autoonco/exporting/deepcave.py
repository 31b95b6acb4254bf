"""A run in the layout of SMAC3 2.x, from which DeepCAVE (https://github.com/automl/DeepCAVE) shows a search.

A run folder holds what SMAC itself wrote (``smac/``): the trials that it was told of in the last session. Here are all
trials of the journal, those of earlier sessions and the finalists scored again among them, by the name of the metric.
DeepCAVE's own format is not used: version 1.4.1 can't read back what it writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoonco.data.cache import write_atomically
from autoonco.errors import DataError
from autoonco.search.store import read_trials
from autoonco.search.trial import Status, Trial

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_FAILED = float(np.finfo(np.float32).max)
"""Cost of a trial without a loss: infinity is no JSON."""
_SCOPE = re.compile(r"[\w-]+")  # becomes the name of a folder


def write_deepcave(run: Path, folder: Path) -> tuple[Path, ...]:
    """Write a folder below `folder` for each search of the run folder `run`; ``deepcave --open`` there shows them.

    Cost is the loss that the search minimised, time the seconds of a trial, the budget its share of full training. A
    config that was scored again at the same budget counts by the last score.

    Raises
    ------
    DataError
        If `run` is no run folder, or no trial of it has ended yet.
    """
    try:
        about = json.loads((run / "run.json").read_bytes())
        space = _space(run / "space.json")
        trials = [trial for trial in read_trials(run) if trial.status is not Status.SKIPPED]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{run} is no run folder with a search in it: it has no {Path(error.filename).name}. Give the folder that "
            "`autoonco fit -o` wrote."
        ) from None
    except ValueError as error:
        raise DataError(f"{run} is damaged ({type(error).__name__}): its search can't be exported.") from None
    if not trials:
        raise DataError(f"No trial of {run} has ended yet: wait for the first, or give another run.")
    scopes = dict.fromkeys(trial.scope for trial in trials)
    if not all(map(_SCOPE.fullmatch, scopes)):
        raise DataError(f"{run} is damaged (name of a search): it can't be exported.")
    return tuple(
        _write_scope(folder / scope, [trial for trial in trials if trial.scope == scope], space, about)
        for scope in scopes
    )


def _space(path: Path) -> ConfigurationSpace:
    from ConfigSpace import ConfigurationSpace

    return ConfigurationSpace.from_serialized_dict(json.loads(path.read_bytes()))


def _write_scope(
    folder: Path, trials: Sequence[Trial], space: ConfigurationSpace, about: dict[str, Any]
) -> Path:
    from smac.runhistory import RunHistory

    history, seed, left_out = RunHistory(), int(about.get("seed", 0)), 0
    for trial in sorted(trials, key=lambda one: one.elapsed_s):
        try:
            _add(history, trial, space, seed=seed)
        except ValueError:  # tried by an older autoonco, whose space had other values
            left_out += 1
    scenario = {
        "name": folder.name,
        "objectives": f"loss of {about.get('metric', 'the search')}",
        "seed": seed,
        "deterministic": True,
        "min_budget": min(trial.budget for trial in trials),
        "max_budget": max(trial.budget for trial in trials),
        "n_trials": len(trials),
        "left_out": left_out,
        "output_directory": ".",
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(scenario, indent=2)
    write_atomically(folder / "scenario.json", lambda new: new.write_text(text, encoding="utf-8"))
    space.to_json(folder / "configspace.json")
    history.save(folder / "runhistory.json")
    return folder


def _add(history: Any, trial: Trial, space: ConfigurationSpace, *, seed: int) -> None:
    """Add a trial to SMAC's history; `ValueError` where its config is no point of the space."""
    from smac.runhistory import StatusType

    from autoonco.search.space import join

    kind = {
        Status.SUCCESS: StatusType.SUCCESS,
        Status.MEMORY: StatusType.MEMORYOUT,
        Status.TIMEOUT: StatusType.TIMEOUT,
        Status.STOPPED: StatusType.TIMEOUT,  # by racing, after some folds
    }.get(trial.status, StatusType.CRASHED)
    config = join(space, trial.family, trial.config)
    config.origin = str(trial.origin)
    told = {"family": trial.family, "status": str(trial.status), "folds": trial.fidelity.folds}
    history.add(
        config=config,
        cost=trial.loss if trial.loss is not None and kind is StatusType.SUCCESS else _FAILED,
        time=trial.seconds,
        status=kind,
        seed=seed,
        budget=trial.budget,
        starttime=max(0.0, trial.elapsed_s - trial.seconds),
        endtime=trial.elapsed_s,
        additional_info=told | ({"traceback": trial.reason} if trial.reason else {}),
        force_update=True,
    )
