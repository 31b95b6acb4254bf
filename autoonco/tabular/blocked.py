"""Blocks of columns, each scaled and selected by itself, then one learner on all that is left of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from autoonco.tabular.pipeline import build_pipeline, fit_pipeline, plain
from autoonco.tabular.steps import build_steps

Tables = Mapping[str, NDArray[np.float64]]
"""A table ``(n_cases, n_columns)`` of each block by its name."""


@dataclass(frozen=True, kw_only=True)
class BlockedPipeline:
    """A fitted pipeline a block, in the order in which blocks stand side by side, and one of all of them.

    A block without a pipeline of its own goes to the learner's as it is.
    """

    order: tuple[str, ...]
    blocks: Mapping[str, Pipeline]
    pipeline: Pipeline

    def predict_proba(self, tables: Tables) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``, of the classes that it was fitted on."""
        return np.asarray(self.pipeline.predict_proba(_joined(self.order, self.blocks, tables)))

    @property
    def parts(self) -> dict[str, Pipeline]:
        """Every pipeline by name: the blocks', and ``pipeline``."""
        return {**self.blocks, "pipeline": self.pipeline}

    @classmethod
    def of(cls, order: tuple[str, ...], parts: Mapping[str, Pipeline]) -> BlockedPipeline:
        """Return what `parts` were taken from."""
        blocks = {name: part for name, part in parts.items() if name != "pipeline"}
        return cls(order=order, blocks=blocks, pipeline=parts["pipeline"])


def fit_blocked(
    tables: Tables,
    y: NDArray[Any],
    *,
    config: Mapping[str, Any],
    of_blocks: Mapping[str, Mapping[str, Any]],
    groups: NDArray[Any],
    seed: int,
    n_threads: int = 1,
) -> BlockedPipeline:
    """Return the pipelines fitted on `tables` with labels `y` ``(n_cases,)`` in 0..n_classes-1.

    Parameters
    ----------
    config
        Steps and learner of all blocks together, as for `pipeline.build_pipeline`.
    of_blocks
        Steps of a block, as for `steps.build_steps`, by the block's name; gaps are filled with the median.
    groups
        Patient of each case ``(n_cases,)``.
    """
    blocks = {
        name: Pipeline(
            build_steps(
                {"impute": "median", **plain(steps)},
                n_features=tables[name].shape[1],
                n_train=len(y),
                seed=seed,
            )
        ).fit(tables[name], y)
        for name, steps in of_blocks.items()
    }
    order = tuple(tables)
    table = _joined(order, blocks, tables)
    pipeline = build_pipeline(
        config,
        n_features=table.shape[1],
        n_classes=int(np.max(y)) + 1,
        n_train=len(y),
        seed=seed,
        n_threads=n_threads,
    )
    return BlockedPipeline(
        order=order, blocks=blocks, pipeline=fit_pipeline(pipeline, table, y, groups=groups)
    )


def _joined(order: tuple[str, ...], blocks: Mapping[str, Pipeline], tables: Tables) -> NDArray[np.float64]:
    return np.hstack(
        [
            np.asarray(blocks[name].transform(tables[name]) if name in blocks else tables[name])
            for name in order
        ]
    )
