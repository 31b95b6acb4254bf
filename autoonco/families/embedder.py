"""A network as the eyes of another family's learner: frozen as pretrained, or fine-tuned on cases that it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.folds import stratified_group_folds
from autoonco.families.contract import Config, Fidelity, FitContext, ModelState, Runtime
from autoonco.families.embedded import Features, embeddings
from autoonco.families.frozen import frozen_build, frozen_network, identity_of
from autoonco.families.networks import TrainedNetwork, fill, picture_spec, to_arrays
from autoonco.families.pretrained2d import build_network
from autoonco.families.pretrained2d import family as pretrained2d
from autoonco.nets.inputs import InputSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """A network and what of it embeds a case: `features` of a frozen one, its last layer's input of a trained one."""

    network: nn.Module
    build: Mapping[str, Any]
    spec: InputSpec
    features: Features | None
    network_id: str
    runtime: Runtime

    def embed(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return the embeddings ``(n_cases, n_features)``; a frozen network's come from the cache where they are."""
        if self.features is not None:
            network: Any = self.network
            return embeddings(
                cases, network, self.spec, self.features, self.runtime, network_id=self.network_id
            )
        trained = TrainedNetwork(network=self.network, build=self.build, spec=self.spec, runtime=self.runtime)
        return trained.embed(cases)

    def state(self) -> ModelState:
        """Return the weights and what they belong to."""
        meta = {
            "build": dict(self.build),
            "spec": self.spec.to_json(),
            "features": None if self.features is None else asdict(self.features),
        }
        return ModelState(meta=meta, tensors=to_arrays(self.network))


def frozen_embedder(config: Config, context: FitContext) -> Embedder:
    """Return the pretrained network of a config, as it is."""
    name, spec = str(config["network"]), picture_spec(config, context.fingerprint)
    build = frozen_build(name, spec)
    network, network_id = frozen_network(name, build)
    return Embedder(
        network=network,
        build=build,
        spec=spec,
        features=Features.of(config).within(network.n_layers),
        network_id=network_id,
        runtime=context.runtime,
    )


def trained_embedder(
    config: Config, cases: Sequence[Case], y: NDArray[Any], *, fidelity: Fidelity, context: FitContext
) -> Embedder:
    """Return the network of a config fine-tuned on `cases` with labels `y` ``(n_cases,)``, and on nothing else."""
    model = pretrained2d.fit(config, cases, y, fidelity=fidelity, context=context)
    assert isinstance(model, TrainedNetwork)  # the config's mode is to fine-tune
    return Embedder(
        network=model.network,
        build=model.build,
        spec=model.spec,
        features=None,
        network_id="",
        runtime=context.runtime,
    )


def embedders(
    config: Config,
    cases: Sequence[Case],
    y: NDArray[Any],
    codes: NDArray[np.intp],
    patients: NDArray[np.intp],
    fidelity: Fidelity,
    context: FitContext,
) -> list[tuple[Embedder, NDArray[np.int64]]]:
    """Return networks, each with the positions of the cases whose embeddings a learner may be fitted on.

    A frozen one may be asked of all; of fine-tuned ones there are two, each asked of the half it wasn't trained on.

    Parameters
    ----------
    codes, patients
        Labels as 0, 1, ... and patients ``(n_cases,)``, by which the cases are halved.
    """
    if config["mode"] == "frozen":
        return [(frozen_embedder(config, context), np.arange(len(cases)))]
    found = []
    halves = stratified_group_folds(codes, patients, 2, seed=context.seed)
    for letter, (seen, other) in zip(ascii_lowercase, halves, strict=False):
        folder = None if context.checkpoint is None else context.checkpoint / f"half_{letter}"
        own = replace(context, checkpoint=folder)
        trained = trained_embedder(
            config, [cases[row] for row in seen], y[seen], fidelity=fidelity, context=own
        )
        found.append((trained, other))
    return found


def restore_embedder(state: ModelState, runtime: Runtime) -> Embedder:
    """Return what `Embedder.state` described; no weights need be on this machine."""
    build, features = state.meta["build"], state.meta["features"]
    network = build_network(build)
    fill(network, state.tensors)
    return Embedder(
        network=network,
        build=build,
        spec=InputSpec.from_json(state.meta["spec"]),
        features=None if features is None else Features(**features),
        network_id=identity_of(str(build["name"]), network),
        runtime=runtime,
    )
