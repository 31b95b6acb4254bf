"""Configs to start from, learned from past runs: a laboratory's earlier tasks speed up its next one.

For each kind of task and each family a short list of configs that complement one another, chosen greedily (Xu et al.,
Hydra, AAAI 2010; Feurer et al., Auto-sklearn 2.0, JMLR 2022;23(261)): the next config is the one that most lowers the
mean, over the tasks, of the best loss that the list has on each. Auto-sklearn runs every config on every task for that;
past runs tried different ones, so what is missing is predicted by a forest per task on the values of the configs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ConfigSpace import ConfigurationSpace
from numpy.typing import NDArray

from autoonco.data.cache import write_atomically
from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.errors import AutoOncoError
from autoonco.families import get_family
from autoonco.families.contract import Config
from autoonco.search.portfolio_file import FORMAT, Portfolio, dump
from autoonco.search.space import DELIMITER, ROOT, config_key, join, split
from autoonco.search.store import JOURNAL, read_trials, stops_on_full_disk
from autoonco.search.trial import Origin, Status, Trial
from autoonco.tabular.pipeline import complete

_SIZE = 8
_SMALL = 200  # cases; networks begin to pay beyond
_SCOPE = "final"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What one task taught: losses after full training, of (family, config) pairs.

    `kinds` are those of `kinds_of`, `losses` belong to `configs` one by one.
    """

    kinds: tuple[str, ...]
    configs: tuple[tuple[str, Config], ...]
    losses: tuple[float, ...]


def kinds_of(fingerprint: Fingerprint) -> tuple[str, ...]:
    """Return the kinds that a task is of, the most specific first: dimensions, masks, cases, classes.

    A kind like ``"2d/mask/small/two"`` falls back on ``"2d/mask/small"`` and so on, and in the end on ``"any"``.
    """
    parts = (
        f"{fingerprint.ndim}d",
        "mask" if fingerprint.has_mask else "no mask",
        "small" if fingerprint.n_cases < _SMALL else "large",
        "two" if fingerprint.n_classes == 2 else "more",
    )
    return (*("/".join(parts[:length]) for length in range(len(parts), 0, -1)), "any")


def starts(
    fingerprint: Fingerprint, space: ConfigurationSpace, portfolio: Portfolio
) -> list[tuple[str, Config]]:
    """Return the (family, config) pairs to start from, each family's first before anyone's second.

    A family's list is that of the most specific kind that has one. A portfolio learned elsewhere names what these data
    may not have, such as colours or a unit's bins: that is left out, and what a config doesn't name has the space's
    default. A config with a name that its family has on no data, or a value that is not in `space`, is left out.
    """
    known = portfolio["starts"]
    lists = []
    for family in space[ROOT].choices:  # type: ignore[attr-defined]
        kind = next((kind for kind in kinds_of(fingerprint) if family in known.get(kind, {})), None)
        configs = [] if kind is None else known[kind][family]
        names = _names_elsewhere(family, fingerprint) if configs else frozenset()
        points = (_point(space, family, config, names) for config in configs)
        lists.append([(family, point) for point in points if point is not None])
    return [start for rank in zip_longest(*lists) for start in rank if start is not None]


def _names_elsewhere(family: str, fingerprint: Fingerprint) -> frozenset[str]:
    """Return the hyperparameters that a family has on a picture or a volume that lacks nothing."""
    units = (Intensity.ARBITRARY, Intensity.HOUNSFIELD, Intensity.SUV)
    channels = tuple(map(str, units))
    picture = replace(
        fingerprint,
        ndim=2,
        channels=("image",),
        is_colour=True,
        has_mask=True,
        has_site=True,
        spacing_mm=(1.0, 1.0),
        shape=(512, 512),
        lesion_mm=(64.0, 64.0),
        lesion_voxels=3000.0,
        intensity={"image": Intensity.BYTE},
    )
    volume = replace(
        picture,
        ndim=3,
        channels=channels,
        is_colour=False,
        spacing_mm=(1.0, 1.0, 5.0),
        shape=(256, 256, 64),
        lesion_mm=(64.0, 64.0, 64.0),
        intensity=dict(zip(channels, units, strict=True)),
    )
    found = get_family(family)
    able = [data for data in (picture, volume) if found.why_not(data) is None]
    return frozenset(name for data in able for name in found.space(data))


def _point(
    space: ConfigurationSpace, family: str, config: Config, names_elsewhere: Collection[str]
) -> Config | None:
    """Return a config in the terms of `space`: without what other data alone have, with the defaults of the rest.

    None where it names what its family has nowhere, or is not a point of `space`.
    """
    own = {name: value for name, value in config.items() if f"{family}{DELIMITER}{name}" in space}
    if not own or not config.keys() - own.keys() <= set(names_elsewhere):
        return None
    values = {ROOT: family} | {f"{family}{DELIMITER}{name}": value for name, value in own.items()}
    try:
        _, point = split(complete(space, values))
        join(space, family, point)
    except (ValueError, KeyError):  # a value of another version, or a network that is not on this machine
        return None
    return point if own.keys() <= point.keys() else None


def read_run(folder: Path) -> Recorded:
    """Return what the final search of a run folder recorded: full-budget successes on the folds of the search.

    Raises
    ------
    AutoOncoError
        If the folder is not a run's.
    """
    path = folder / "fingerprint.json"
    try:
        fingerprint = Fingerprint.from_json(yaml.safe_load(path.read_text(encoding="utf-8")))
        trials = read_trials(folder)
    except FileNotFoundError as error:
        raise AutoOncoError(
            f"{folder} is not a run folder: it has no {Path(error.filename).name}. Give folders that "
            "`autoonco fit` wrote."
        ) from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise AutoOncoError(
            f"{folder} has a damaged fingerprint.json or {JOURNAL} ({type(error).__name__}): leave it out."
        ) from None
    losses: dict[str, tuple[str, Config, float]] = {}
    for trial in trials:
        if trial.loss is not None and _counts(trial):
            key = config_key(trial.family, trial.config)
            losses.setdefault(key, (trial.family, trial.config, trial.loss))
    return Recorded(
        kinds=kinds_of(fingerprint),
        configs=tuple((family, config) for family, config, _ in losses.values()),
        losses=tuple(loss for *_, loss in losses.values()),
    )


def _counts(trial: Trial) -> bool:
    """Tell whether a loss can be compared with others: finalists were scored on more folds than the rest."""
    is_full = trial.budget == 1.0 and trial.status is Status.SUCCESS
    return is_full and trial.scope == _SCOPE and trial.origin is not Origin.FINALIST


def build_portfolio(run_dirs: Sequence[Path], *, size: int = _SIZE) -> dict[str, Any]:
    """Return the portfolio that run folders teach, with at most `size` configs a family and kind.

    Raises
    ------
    AutoOncoError
        If a folder is not a run's, or none holds a full training that succeeded.
    """
    return portfolio_of([read_run(Path(folder)) for folder in run_dirs], size=size)


def portfolio_of(tasks: Sequence[Recorded], *, size: int = _SIZE) -> dict[str, Any]:
    """Return the portfolio that recorded tasks teach.

    A kind whose tasks are those of the kind it falls back on has no entry of its own.

    Raises
    ------
    AutoOncoError
        If nothing was recorded.
    """
    tasks = [task for task in tasks if task.losses]
    if not tasks:
        raise AutoOncoError(
            "These runs hold no config that was fully trained, so there is nothing to learn from them: "
            "let them search for longer."
        )
    # "any" is the last kind of every task, so a task's own list runs from the specific to the general.
    parents = {
        kind: general
        for task in tasks
        for kind, general in zip(task.kinds, (*task.kinds[1:], None), strict=True)
    }
    counts = Counter(kind for task in tasks for kind in task.kinds)
    starts_ = {
        kind: _choose([task for task in tasks if kind in task.kinds], size=size)
        for kind in sorted(parents, key=lambda kind: (-counts[kind], kind))
        if (general := parents[kind]) is None or counts[kind] != counts[general]
    }
    return {"format": FORMAT, "provenance": _provenance(tasks), "starts": starts_}


def _provenance(tasks: Sequence[Recorded]) -> dict[str, Any]:
    """Return what the portfolio was made of: kinds and numbers, nothing that names a task."""
    from importlib.metadata import version

    per_task = [
        {"kind": task.kinds[0], "configs": dict(sorted(Counter(f for f, _ in task.configs).items()))}
        for task in tasks
    ]
    packages = ("autoonco", "ConfigSpace", "scikit-learn")
    return {"runs": len(tasks), "tasks": per_task, "versions": {name: version(name) for name in packages}}


def _choose(tasks: Sequence[Recorded], *, size: int) -> dict[str, list[dict[str, Any]]]:
    """Return each family's list over `tasks`."""
    families = sorted({family for task in tasks for family, _ in task.configs})
    chosen = {}
    for family in families:
        configs = {
            config_key(family, config): config
            for task in tasks
            for name, config in task.configs
            if name == family
        }
        columns = [
            column for task in tasks if (column := _column(task, family, list(configs.values()))) is not None
        ]
        keep = greedy(np.column_stack(columns), size)
        points = list(configs.values())
        chosen[family] = [dict(points[index]) for index in keep]
    return chosen


def _column(task: Recorded, family: str, configs: Sequence[Config]) -> NDArray[np.float64] | None:
    """Return a task's normalised losses ``(n_configs,)``, predicted where not recorded; None without any.

    0 is the best recorded config of the family on this task, 1 the median one.
    """
    known = {
        config_key(family, config): loss
        for (name, config), loss in zip(task.configs, task.losses, strict=True)
        if name == family
    }
    if not known:
        return None
    losses = np.array([known.get(config_key(family, config), np.nan) for config in configs])
    best, median = np.nanmin(losses), np.nanmedian(losses)
    losses = (losses - best) / (median - best if median > best else 1.0)
    return _completed(losses, configs)


def _completed(losses: NDArray[np.float64], configs: Sequence[Config]) -> NDArray[np.float64]:
    """Return `losses` ``(n_configs,)`` with what a forest on the configs' values predicts where they are NaN."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.feature_extraction import DictVectorizer

    missing = np.isnan(losses)
    if not missing.any():
        return losses
    x = DictVectorizer(sparse=False).fit_transform([dict(config) for config in configs])
    forest = RandomForestRegressor(n_estimators=100, random_state=0, n_jobs=1)
    forest.fit(x[~missing], losses[~missing])
    completed = losses.copy()
    completed[missing] = forest.predict(x[missing])
    return completed


def greedy(losses: NDArray[np.float64], size: int) -> list[int]:
    """Return at most `size` rows of `losses` ``(n_configs, n_tasks)``, in the order in which they were chosen.

    Each is the one with which the mean over tasks of the best loss so far is lowest; of equal ones, such as when every
    task has its best already, the one with the lowest mean of its own, then the first.

    >>> greedy(np.array([[0.4, 0.4], [0.0, 1.0], [1.0, 0.0], [0.1, 1.0]]), 3)
    [0, 1, 2]
    """
    best = np.full(losses.shape[1], np.inf)
    means = losses.mean(axis=1)
    chosen: list[int] = []
    while len(chosen) < min(size, len(losses)):
        left = [index for index in range(len(losses)) if index not in chosen]
        gains = np.minimum(losses, best).mean(axis=1)
        chosen.append(min(left, key=lambda index: (gains[index], means[index], index)))
        best = np.minimum(best, losses[chosen[-1]])
    return chosen


def write_portfolio(runs: Sequence[str | Path], out: str | Path) -> None:
    """Build the portfolio of run folders and write it to the file `out`.

    Raises
    ------
    AutoOncoError
        If a folder is not a run's, nothing was fully trained, or the disk is full.
    """
    text = dump(build_portfolio([Path(run) for run in runs]))
    with stops_on_full_disk():
        write_atomically(Path(out), lambda path: path.write_text(text, encoding="utf-8"))
