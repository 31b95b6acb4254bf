"""Ordering configs by scores of their untrained networks, for those families that train from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.families.contract import Config, FitContext
from autoonco.nets.inputs import InputSpec, crops

if TYPE_CHECKING:
    from autoonco.nets.builders import Network


@runtime_checkable
class FromScratch(Protocol):
    """A family whose networks start from random weights."""

    def untrained(
        self, config: Config, fingerprint: Fingerprint, *, seed: int
    ) -> tuple[Network, InputSpec] | None:
        """Return the network of a config with random weights, and what it sees of a case; None of a pretrained one."""
        ...


def zero_cost_scores(
    family: object,
    configs: Sequence[Config],
    cases: Sequence[Case],
    context: FitContext,
    *,
    score: str = "naswot",
) -> NDArray[np.float64]:
    """Return a score of each config's untrained network on one batch of cases ``(n_configs,)``; higher is better.

    It takes a forward pass a config, and reading the crops of `cases`, 16 to 32 of them, where another config did not
    yet. No label is seen. NaN says that there is no score: all configs of a family that isn't trained from scratch,
    pretrained networks, and transformers without a ReLU by `naswot`.

    Parameters
    ----------
    score
        A name of `nets.zero_cost.SCORES`.
    """
    if not isinstance(family, FromScratch):
        return np.full(len(configs), np.nan)
    from autoonco.nets.embeddings import torch_threads
    from autoonco.nets.zero_cost import SCORES

    runtime, found = context.runtime, []
    with torch_threads(runtime.n_threads):
        for config in configs:
            made = family.untrained(config, context.fingerprint, seed=context.seed)
            if made is None:
                found.append(float("nan"))
                continue
            network, spec = made
            seen = crops(cases, spec, runtime.artefacts, n_threads=runtime.n_threads)
            found.append(SCORES[score](network, seen))
    return np.array(found)
