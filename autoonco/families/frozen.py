"""A frozen pretrained network with a learner on its embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.families.contract import Config, FitContext, ModelState, Runtime
from autoonco.families.networks import to_arrays
from autoonco.nets.inputs import InputSpec

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from autoonco.nets.builders import Network


@dataclass(frozen=True, kw_only=True)
class FrozenModel:
    """A frozen network and the pipeline that classifies its embeddings.

    `labels` are the classes of the training cases, which `head` numbers 0, 1, ...: a class without a single
    training case gets probability 0.
    """

    network: Network
    network_id: str
    head: Pipeline
    build: Mapping[str, Any]
    spec: InputSpec
    labels: tuple[int, ...]
    n_classes: int
    runtime: Runtime

    def embed(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return embeddings ``(n_cases, n_features)``, from the cache where they were made before.

        In double precision: so the head's sums over a batch of cases agree with those of one case to 1e-12.
        """
        from autoonco.nets.embeddings import embed

        features = embed(
            cases,
            self.network,
            self.spec,
            self.runtime.artefacts,
            network_id=self.network_id,
            device=self.runtime.device,
            n_threads=self.runtime.n_threads,
        )
        return features.astype(np.float64)

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``."""
        result = np.zeros((len(cases), self.n_classes))
        result[:, list(self.labels)] = self.head.predict_proba(self.embed(cases))
        return result

    def state(self) -> ModelState:
        """Return the network's weights, the head and what they belong to."""
        from autoonco.tabular.serialise import to_parts  # imports torch, by way of skops

        meta = {
            "build": dict(self.build),
            "spec": self.spec.to_json(),
            "labels": list(self.labels),
            "n_classes": self.n_classes,
        }
        return ModelState(meta=meta, tensors=to_arrays(self.network), parts={"head": to_parts(self.head)})


def fit_frozen(
    name: str,
    head_config: Config,
    spec: InputSpec,
    cases: Sequence[Case],
    y: NDArray[Any],
    context: FitContext,
) -> FrozenModel:
    """Return the pretrained network `name` with a head of `head_config` fitted on its embeddings of `cases`."""
    from autoonco.tabular.pipeline import build_pipeline

    network, network_id = _frozen_network(name)
    labels, codes = np.unique(y, return_inverse=True)
    head = build_pipeline(
        head_config,
        n_features=network.backbone.num_features,
        n_classes=len(labels),
        n_train=len(y),
        seed=context.seed,
        n_threads=context.runtime.n_threads,
    )
    model = FrozenModel(
        network=network,
        network_id=network_id,
        head=head,
        build={"name": name, "n_classes": 0},
        spec=spec,
        labels=tuple(int(label) for label in labels),
        n_classes=context.fingerprint.n_classes,
        runtime=context.runtime,
    )
    head.fit(model.embed(cases), codes)
    return model


def restore_frozen(network: Network, spec: InputSpec, state: ModelState, runtime: Runtime) -> FrozenModel:
    """Return the model that `FrozenModel.state` described, around the `network` with its tensors."""
    from autoonco.tabular.serialise import from_parts

    return FrozenModel(
        network=network,
        network_id=_identity(str(state.meta["build"]["name"]), network),
        head=from_parts(state.parts["head"]),
        build=state.meta["build"],
        spec=spec,
        labels=tuple(state.meta["labels"]),
        n_classes=state.meta["n_classes"],
        runtime=runtime,
    )


@lru_cache(maxsize=4)
def _frozen_network(name: str) -> tuple[Network, str]:
    """Return the pretrained network without its classifier, loaded once a process, and what names its weights."""
    from autoonco.nets.builders import build_2d

    network = build_2d(name, n_classes=0, pretrained=True)
    return network, _identity(name, network)


def _identity(name: str, network: Network) -> str:
    from autoonco.nets.embeddings import weights_id

    return f"{name}:{weights_id(network)}"
