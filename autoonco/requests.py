"""What a user asks of a fit, checked and made a request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from autoonco.arguments import Labelled, as_labelled, cores, seconds, with_weights_given
from autoonco.data.feature_table import FeatureTable
from autoonco.data.joined import joined
from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError, UnknownNameError
from autoonco.evaluation.modes import resolve
from autoonco.evaluation.patients import check_level
from autoonco.evaluation.request import Request
from autoonco.evaluation.split_table import Splits, read_split_table
from autoonco.evaluation.tasks import Task, get_task, metric_of
from autoonco.families import all_families, get_family
from autoonco.metrics.custom import Scorer, metric_from, tried
from autoonco.metrics.scores import Metric
from autoonco.settings import Settings

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


class Asked(Protocol):
    """The arguments of `AutoOncoClassifier` that a request is made of; see there."""

    time_limit: str | float
    families: Sequence[str] | None
    evaluation: str
    external: Labelled | None
    splits: Splits | None
    task: str
    clinical: Sequence[str]
    features: FeatureTable | None
    metric: str | Scorer | None
    n_jobs: int
    device: str
    seed: int
    settings: Settings | str | None
    weights_dir: str | Path | None
    allow_licences: Sequence[str] | None
    networks: Sequence[str] | None
    client: Any


def dataset_of(asked: Asked, data: Labelled) -> Dataset:
    """Return the labelled cases, those of an external dataset among them as its test split.

    Raises
    ------
    DataError
        If they have no labels, or don't fit together.
    """
    settings = _settings_of(asked)
    columns: dict[str, Any] = {
        "clinical": asked.clinical,
        "features": asked.features,
        "complete": settings.on_bad_case == "raise",  # else faulty rows stay in, for the check to leave out
    }
    dataset = as_labelled(data, **columns)
    if asked.external is not None:
        dataset = joined(dataset, as_labelled(asked.external, **columns))
    dataset = get_task(asked.task).labelled(dataset)
    return dataset if settings.repair == "none" else dataset.repaired(settings.repair)


def _settings_of(asked: Asked) -> Settings:
    if isinstance(asked.settings, str):
        return Settings.preset(asked.settings)
    return asked.settings or Settings()


def request_of(asked: Asked, dataset: Dataset) -> Request:
    """Return what a run is asked to do with the cases of `dataset_of`, every name resolved.

    Raises
    ------
    AutoOncoError
        If an argument is wrong, in one sentence.
    """
    limit_s, task = seconds(asked.time_limit), get_task(asked.task)
    table = None if asked.splits is None else read_split_table(asked.splits, dataset)
    settings = with_weights_given(
        _settings_of(asked),
        weights_dir=asked.weights_dir,
        allow_licences=asked.allow_licences,
        networks=asked.networks,
    )
    check_level(settings.patient_level, n_classes=len(dataset.classes), task=task.name)
    names = tuple(all_families()) if asked.families is None else tuple(asked.families)
    for name in names:
        get_family(name)
    if asked.n_jobs < 1:
        raise AutoOncoError(f"n_jobs must be 1 or more, got {asked.n_jobs}.")
    if asked.seed < 0:
        raise AutoOncoError(f"seed must be 0 or more, got {asked.seed}.")
    if not _DEVICE.fullmatch(asked.device):
        raise AutoOncoError(f"device must be auto, cpu, cuda or cuda:N, got {asked.device!r}.")
    return Request(
        time_limit_s=limit_s,
        families=names,
        mode=resolve(
            asked.evaluation,
            dataset,
            time_limit_s=limit_s,
            settings=settings,
            table=table,
            has_external=asked.external is not None,
        ),
        task=task,
        table=table,
        metric=_metric_of(task, asked.metric, dataset),
        n_jobs=asked.n_jobs,
        n_threads=max(1, cores() // asked.n_jobs),
        device=asked.device,
        seed=asked.seed,
        settings=settings,
        client=asked.client,
    )


def _metric_of(task: Task, asked: str | Scorer | None, dataset: Dataset) -> Metric:
    """Return the score to maximise; a function of the user's is tried on the labels first."""
    if callable(asked):
        assert dataset.y is not None
        return tried(metric_from(asked), dataset.y, len(dataset.classes))
    if asked is not None and asked not in task.metrics:
        raise UnknownNameError("metric", asked, task.metrics)
    return metric_of(task, asked)
