"""A frozen pretrained network with a learner on its embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.errors import ExplanationError
from autoonco.families.contract import Config, Explanation, FitContext, ModelState, Runtime
from autoonco.families.embedded import Features, embed_crops, embeddings
from autoonco.families.maps import explain_cases, odds_of, slopes
from autoonco.families.networks import to_arrays
from autoonco.families.training_space import part
from autoonco.nets.inputs import InputSpec
from autoonco.nets.zoo import entry_of

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline
    from torch import Tensor, nn

    from autoonco.nets.builders import Network
    from autoonco.nets.explanations import Score
    from autoonco.nets.linear_head import LinearHead
    from autoonco.nets.weight_files import WeightFile

_LINEAR = "linear."
"""What the tensors of a linear head are prefixed with."""


@dataclass(frozen=True, kw_only=True)
class FrozenModel:
    """A frozen network and the pipeline, or the linear head, that classifies its embeddings.

    `labels` are the classes of the training cases, which `head` numbers 0, 1, ...: a class without a single
    training case gets probability 0.
    """

    network: Network
    network_id: str
    head: Pipeline | LinearHead
    build: Mapping[str, Any]
    spec: InputSpec
    features: Features
    labels: tuple[int, ...]
    n_classes: int
    runtime: Runtime

    def embed(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return what the head sees: ``(n_cases, n)``, or of a linear head ``(n_cases, n_groups, n_pictures, n)``.

        From the cache where they were made before. In double precision: so the head's sums over a batch of cases
        agree with those of one case to 1e-12.
        """
        return embeddings(
            cases, self.network, self.spec, self.features, self.runtime, network_id=self.network_id
        )

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``."""
        result = np.zeros((len(cases), self.n_classes))
        result[:, list(self.labels)] = self.head.predict_proba(self.embed(cases))
        return result

    def explain(self, cases: Sequence[Case], target: int) -> list[Explanation]:
        """Return where each case speaks for class `target`.

        By the gradient through the head where it has one at the case, as linear heads do everywhere; else by occlusion.

        Raises
        ------
        ExplanationError
            If no training case was of the class: the head doesn't know it.
        """
        if target not in self.labels:
            raise ExplanationError("No training case was of this class, so nothing can speak for it.")
        column = self.labels.index(target)

        if self._is_linear:
            return explain_cases(
                cases,
                target,
                self.network,
                lambda _: (self._by_linear(column), True),
                self.spec,
                self.runtime,
            )

        def score(case: Case) -> tuple[Score, bool]:
            slope = slopes(self.head.predict_proba, self.embed([case])[0], column)
            return (self._by_slope(slope), True) if slope.any() else (self._by_head(column), False)

        return explain_cases(cases, target, self.network, score, self.spec, self.runtime)

    def _by_linear(self, column: int) -> Score:
        """Return the log odds that the linear head gives."""
        from autoonco.nets.explanations import log_odds

        def score(network: nn.Module, given: Tensor) -> Tensor:
            features = embed_crops(network, given, self.spec, self.features)
            head = cast("LinearHead", self.head)  # on the CPU, where it predicts
            return log_odds(head(features.cpu().double()), column).to(features)

        return score

    def _by_slope(self, slope: NDArray[np.float64]) -> Score:
        """Return the log odds up to a constant, near a case at which they have this slope."""

        def score(network: nn.Module, given: Tensor) -> Tensor:
            features = embed_crops(network, given, self.spec, self.features)
            return features @ features.new_tensor(slope)

        return score

    def _by_head(self, column: int) -> Score:
        """Return the log odds as the head gives them."""

        def score(network: nn.Module, given: Tensor) -> Tensor:
            features = embed_crops(network, given, self.spec, self.features)
            proba = self.head.predict_proba(features.double().cpu().numpy())
            return given.new_tensor(odds_of(proba, column))

        return score

    @property
    def _is_linear(self) -> bool:
        return self.features.keeps_pictures

    def state(self) -> ModelState:
        """Return the network's weights, the head and what they belong to."""
        meta = {
            "build": dict(self.build),
            "spec": self.spec.to_json(),
            "features": asdict(self.features),
            "labels": list(self.labels),
            "n_classes": self.n_classes,
        }
        tensors = to_arrays(self.network)
        if self._is_linear:
            head = cast("LinearHead", self.head)
            own = {f"{_LINEAR}{name}": value for name, value in to_arrays(head).items()}
            return ModelState(meta=meta | {"linear": head.build}, tensors=tensors | own)
        from autoonco.tabular.serialise import to_parts  # imports torch, by way of skops

        return ModelState(meta=meta, tensors=tensors, parts={"head": to_parts(self.head)})


def fit_frozen(
    name: str,
    config: Config,
    spec: InputSpec,
    features: Features,
    cases: Sequence[Case],
    y: NDArray[Any],
    context: FitContext,
) -> FrozenModel:
    """Return the pretrained network `name` with a head fitted on its embeddings of `cases`.

    The head is that of the config's ``head:`` pipeline, or the one of ``linear:`` where `classifier` says so.
    """
    build = frozen_build(name, spec)
    network, network_id = frozen_network(name, build)
    features = features.within(network.n_layers)
    labels, codes = np.unique(y, return_inverse=True)
    X = embeddings(cases, network, spec, features, context.runtime, network_id=network_id)
    if config.get("classifier") == "linear":
        head: Any = _linear(part(config, "linear"), X, codes, features, seed=context.seed)
    else:
        head = _pipeline(part(config, "head"), X, codes, cases, context)
    return FrozenModel(
        network=network,
        network_id=network_id,
        head=head,
        build=build,
        spec=spec,
        features=features,
        labels=tuple(int(label) for label in labels),
        n_classes=context.fingerprint.n_classes,
        runtime=context.runtime,
    )


def _pipeline(
    config: Config, X: NDArray[Any], codes: NDArray[Any], cases: Sequence[Case], context: FitContext
) -> Pipeline:
    from autoonco.tabular.pipeline import build_pipeline, fit_pipeline

    head = build_pipeline(
        config,
        n_features=X.shape[1],
        n_classes=int(codes.max()) + 1,
        n_train=len(codes),
        seed=context.seed,
        n_threads=context.runtime.n_threads,
    )
    patients = np.unique([case.patient for case in cases], return_inverse=True)[1]
    return fit_pipeline(head, X, codes, groups=patients)


def _linear(
    config: Config, X: NDArray[Any], codes: NDArray[Any], features: Features, *, seed: int
) -> LinearHead:
    from autoonco.nets.linear_head import LinearRecipe, fit_linear

    recipe = LinearRecipe(**cast("Any", config))
    # of planes side by side each is a group of one picture
    pooling = "mean" if features.pictures == "concatenate" else features.pictures
    return fit_linear(X, codes, recipe, pooling=pooling, seed=seed)


def restore_frozen(network: Network, spec: InputSpec, state: ModelState, runtime: Runtime) -> FrozenModel:
    """Return the model that `FrozenModel.state` described, around the `network` with its tensors."""
    if "linear" in state.meta:
        from autoonco.nets.linear_head import restore_linear

        own = {name: value for name, value in state.tensors.items() if name.startswith(_LINEAR)}
        head: Any = restore_linear(
            state.meta["linear"], {name.removeprefix(_LINEAR): value for name, value in own.items()}
        )
    else:
        from autoonco.tabular.serialise import from_parts

        head = from_parts(state.parts["head"])
    return FrozenModel(
        network=network,
        network_id=identity_of(str(state.meta["build"]["name"]), network),
        head=head,
        build=state.meta["build"],
        spec=spec,
        features=Features(**state.meta.get("features", {})),
        labels=tuple(state.meta["labels"]),
        n_classes=state.meta["n_classes"],
        runtime=runtime,
    )


def tensors_of_network(state: ModelState) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state without those of a linear head."""
    return {name: value for name, value in state.tensors.items() if not name.startswith(_LINEAR)}


def frozen_build(name: str, spec: InputSpec) -> dict[str, Any]:
    """Return what makes pretrained network `name` for crops of `spec`, without its classifier."""
    build: dict[str, Any] = {"name": name, "n_classes": 0, "in_channels": spec.in_channels}
    return build if entry_of(name)["dimensions"] == 2 else build | {"size": list(spec.shape[1:])}


def frozen_network(name: str, build: Mapping[str, Any]) -> tuple[Network, str]:
    """Return the pretrained network of `frozen_build`, and what names its weights; an unchanged file is read once.

    Where the weights are, and whether they may be used, is asked each time: a process may see several folders.
    """
    from autoonco.nets.weights import located

    found = located(name, entry_of(name))
    sides = tuple(build.get("size", ()))
    return _loaded(name, int(build["in_channels"]), sides, found, found.path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _loaded(
    name: str,
    in_channels: int,
    sides: tuple[int, ...],
    found: WeightFile,  # noqa: ARG001 - they tell files apart
    changed_ns: int,  # noqa: ARG001
) -> tuple[Network, str]:
    from autoonco.nets.builders import build_2d, build_3d

    how: dict[str, Any] = {"n_classes": 0, "in_channels": in_channels, "pretrained": True}
    network = build_3d(name, size=sides, **how) if sides else build_2d(name, **how)
    return network, identity_of(name, network)


def identity_of(name: str, network: Network) -> str:
    """Return what names a network's embeddings in the cache: the architecture and every weight of it."""
    from autoonco.nets.embeddings import weights_id

    return f"{name}:{weights_id(network)}"
