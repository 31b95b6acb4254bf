"""What a deep-learning paper does: one pretrained network, fine-tuned with fixed sensible settings."""

from __future__ import annotations

from functools import cache

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.manifest import Dataset
from autoonco.families.contract import Config, FitContext, FittedModel, Runtime
from autoonco.families.pretrained2d import family
from autoonco.tabular.pipeline import complete

NETWORK = "tf_efficientnet_lite0"
PROBE: Config = {
    "mode": "frozen",
    "network": NETWORK,
    "size": 224,
    "head:scale": "zscore",
    "head:learner": "logistic_regression",
    "head:logistic_regression:C": 0.02,
}
"""The frozen lite0 with a logistic regression that all gains are counted from."""
FINETUNING: Config = {
    "mode": "finetune",
    "network": NETWORK,
    "size": 160,
    "epochs": 6,
    "training:learning_rate": 0.002,
}
"""One fine-tuning as a careful practitioner might do it without a search; everything else is at its default."""


def fitted(train: Dataset, config: Config, *, seed: int, n_threads: int) -> FittedModel:
    """Return a network of `config` in its full training, fitted on `train`."""
    assert train.y is not None
    known = fingerprint(train, inspect(train, n_jobs=n_threads))
    whole = complete(family.space(known), config)
    full = family.plan(whole, 1.0, inner_folds=5, n_train=len(train))
    context = FitContext(
        runtime=Runtime(artefacts=_artefacts(), n_threads=n_threads), fingerprint=known, seed=seed
    )
    return family.fit(whole, train.cases, train.y, fidelity=full, context=context)


@cache
def _artefacts() -> ArtefactCache:
    return ArtefactCache()
