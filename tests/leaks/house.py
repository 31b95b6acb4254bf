"""The house's own pieces as pipelines of the harness: its learning pipelines, its folds, and a whole search."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.facts import CaseFacts, ChannelFacts
from autoonco.data.manifest import Dataset
from autoonco.evaluation.judge import Judge
from autoonco.evaluation.modes import Mode
from autoonco.evaluation.splits import OuterSplit, groups_of, outer_splits
from autoonco.families.contract import Runtime
from autoonco.metrics.scores import get_metric
from autoonco.search.store import Store
from autoonco.search.trial import Closing, Ended, Status, Task
from autoonco.search.worker import run_fold
from autoonco.settings import Settings
from autoonco.tabular.pipeline import STEPS, build_pipeline, complete, fit_pipeline, needs_site, tabular_space
from tests.leaks.harness import Array, Data, Fold, Pipeline, Rows

SPACE = tabular_space(steps=tuple(STEPS))
SEARCH = Settings(
    inner_folds=2, outer_folds=3, max_trials=3, finalists=1, repeats=1, ensemble_rounds=3, shortcuts=False
)
"""Decided by trials, not by seconds: a rerun is identical, so that what changes tells of a leak."""


def tabular(name: str, values: Mapping[str, Any]) -> Pipeline:
    """Return a pipeline of feature tables with these choices, the defaults for the rest."""
    config = complete(SPACE, values)

    def predict(data: Data, train: Rows, test: Rows) -> Array:
        n = data.X.shape[1]
        X = np.column_stack([data.X, data.sites]) if needs_site(config) else data.X
        built = build_pipeline(config, n_features=n, n_classes=2, n_train=len(train), seed=0)
        fitted = fit_pipeline(built, X[train], data.y[train], groups=data.groups[train])
        return np.asarray(fitted.predict_proba(X[test])[:, 1])

    return Pipeline(name=name, predict=predict)


def dataset_of(data: Data) -> tuple[Dataset, list[CaseFacts]]:
    """Return the rows as cases with features of the user's own; equal rows stand for equal pictures."""
    names = [f"f{column}" for column in range(data.X.shape[1])]
    cases = tuple(
        Case(
            case=f"c{i}",
            patient=f"p{data.groups[i]}",
            images={"image": Path("none.png")},
            features=dict(zip(names, data.X[i].tolist(), strict=True)),
            site=f"s{data.sites[i]}",
            row=i + 1,
        )
        for i in range(len(data.y))
    )
    facts = [
        CaseFacts(row=i + 1, channels={"image": _picture(row.tobytes().hex())})
        for i, row in enumerate(data.X)
    ]
    dataset = Dataset(cases=cases, classes=("no", "yes"), y=data.y.astype(np.int64), features=tuple(names))
    return dataset, facts


def _picture(content: str) -> ChannelFacts:
    return ChannelFacts(
        shape=(8, 8),
        spacing_mm=(1.0, 1.0),
        is_colour=False,
        low=0.0,
        high=255.0,
        whole_share=1.0,
        n_not_finite=0,
        content=content,
        lesion=None,
    )


def house_folds(kind: str, data: Data, seed: int, *, linked: bool = True, repeats: int = 2) -> list[Fold]:
    """Return the outer folds of a kind of evaluation; without `linked`, pictures are not looked at."""
    dataset, facts = dataset_of(data)
    groups = groups_of(dataset, facts) if linked else dataset.groups
    splits = outer_splits(
        dataset, Mode(kind=kind, repeats=repeats), settings=SEARCH, seed=seed, groups=groups
    )
    return [(split.train, split.test) for split in splits if len(split.test)]


class Inline(Closing):
    """An executor that does the work at once, in this process, and says that it took no time."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.runtime = Runtime(artefacts=ArtefactCache(Path(tempfile.gettempdir())))
        self.ended: list[Ended] = []

    def n_idle(self, *, gpu: bool) -> int:
        return 0 if self.ended else 1

    def submit(self, task: Task, *, timeout_s: float) -> None:
        proba = run_fold(task, self.dataset, self.runtime)
        self.ended.append(Ended(task_id=task.id, status=Status.SUCCESS, seconds=0.01, proba=proba))

    def poll(self) -> Iterator[Ended]:
        ended, self.ended = self.ended, []
        yield from ended

    def close(self) -> None:
        self.ended = []


def searched(data: Data, train: Rows, test: Rows) -> Array:
    """Return what the ensemble of a whole search says: trials, finalists, calibration, ensemble, refit."""
    dataset, facts = dataset_of(data)
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(
            dataset=dataset,
            facts=facts,
            families=("own_features",),
            metric=get_metric("roc_auc"),
            settings=SEARCH,
            seed=0,
            pool=Inline(dataset),
            store=Store(Path(folder)),
            artefacts=ArtefactCache(Path(folder) / "cache"),
            n_workers=1,
            n_threads=1,
            limit_s=600.0,
        )
        result = judge.run(OuterSplit(scope="outer0", train=np.asarray(train), test=np.asarray(test)))
    whole = next(judged for judged in result.judged if judged.name == "ensemble")
    return np.asarray(whole.proba[:, 1])


def split_of(kind: str, **options: Any) -> Callable[[Data, int], list[Fold]]:
    """Return `house_folds` of a kind as a pipeline wants it."""
    return partial(house_folds, kind, **options)


WHOLE = Pipeline(name="a whole search", predict=searched, split=split_of("nested", repeats=1))
