"""What both network families share: the recipe in a config, its fidelities, and a trained network as a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.data.preprocessing import SliceView
from autoonco.errors import TrainingDivergedError
from autoonco.families.contract import Config, Fidelity, FitContext, ModelState, Runtime
from autoonco.nets.inputs import InputSpec, crops

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from torch import nn

    from autoonco.nets.recipe import Recipe

READ_SECONDS = 0.01
"""A rough guess of reading, cropping and resampling one case."""


def part(config: Config, name: str) -> dict[str, Any]:
    """Return the hyperparameters of one component, without its prefix.

    Examples
    --------
    >>> part({"size": 224, "head:learner": "svm"}, "head")
    {'learner': 'svm'}
    """
    return {key.partition(":")[2]: value for key, value in config.items() if key.startswith(f"{name}:")}


def add_component(space: ConfigurationSpace, component: str) -> None:
    """Add the hyperparameters and conditions of ``spaces/<component>.yaml``, without a prefix."""
    from autoonco.resources import load_space

    added = load_space(component)
    space.add(list(added.values()))
    space.add(added.conditions)


def add_training(space: ConfigurationSpace, **parent: Any) -> None:
    """Add the spaces of training and augmentation, below `parent_hyperparameter` where one is given."""
    from autoonco.resources import load_space

    for name in ("training", "augmentation"):
        space.add_configuration_space(name, load_space(name), **parent)


def picture_spec(config: Config, fingerprint: Fingerprint) -> InputSpec:
    """Return which picture of a case the config asks for."""
    view = SliceView(
        size=int(config["size"]),
        focus=cast("Any", config.get("view", "whole")),
        margin=float(config.get("margin", 0.0)),
        use_mask=fingerprint.has_mask,
    )
    return InputSpec.of(fingerprint, view)


def plan_epochs(epochs: int, budget: float, inner_folds: int) -> Fidelity:
    """Return folds and epochs that take `budget` of the work ``epochs * inner_folds``.

    Less than one full fold is one fold with fewer epochs (at least one); more is whole folds at full length.

    Examples
    --------
    >>> part, more = plan_epochs(10, 1 / 9, 5), plan_epochs(10, 1 / 3, 5)
    >>> (part.folds, part.epochs), (more.folds, more.epochs)
    ((1, 6), (2, 10))
    """
    folds = budget * inner_folds
    if folds < 1:
        return Fidelity(folds=1, epochs=max(1, round(folds * epochs)))
    return Fidelity(folds=min(inner_folds, round(folds)), epochs=epochs)


def recipe_of(config: Config) -> Recipe:
    """Return the training recipe that a config describes."""
    from autoonco.nets.augmentation import Augmentation
    from autoonco.nets.recipe import Recipe

    values = part(config, "training")
    balanced = values.pop("class_weight") == "balanced"
    return Recipe(
        epochs=int(config["epochs"]),
        class_weights=balanced,
        layer_decay=float(config.get("layer_decay", 1.0)),
        augmentation=Augmentation(**part(config, "augmentation")),
        **values,
    )


def fit_network(
    network: nn.Module,
    build: Mapping[str, Any],
    spec: InputSpec,
    config: Config,
    cases: Sequence[Case],
    y: NDArray[Any],
    *,
    fidelity: Fidelity,
    context: FitContext,
) -> TrainedNetwork:
    """Train `network`, which `build` describes, on the crops of `cases`, up to the epochs of `fidelity`."""
    from autoonco.nets.training import train

    trained = train(
        network,
        crops(cases, spec, context.runtime.artefacts, n_threads=context.runtime.n_threads),
        y,
        recipe_of(config),
        n_classes=context.fingerprint.n_classes,
        n_image_channels=spec.n_image_channels,
        until_epoch=fidelity.epochs or int(config["epochs"]),
        seed=context.seed,
        device=context.runtime.device,
        n_threads=context.runtime.n_threads,
        checkpoint=context.checkpoint,
    )
    return TrainedNetwork(network=trained, build=build, spec=spec, runtime=context.runtime)


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A network that was trained as a whole; `build` is what makes an untrained one of its kind."""

    network: nn.Module
    build: Mapping[str, Any]
    spec: InputSpec
    runtime: Runtime

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``."""
        from autoonco.nets.embeddings import forward

        n_threads = self.runtime.n_threads
        inputs = crops(cases, self.spec, self.runtime.artefacts, n_threads=n_threads)
        logits = forward(self.network, inputs, device=self.runtime.device, n_threads=n_threads)
        if not np.isfinite(logits).all():
            raise TrainingDivergedError(
                "The trained network gives no finite number; its learning rate was too high."
            )
        odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def state(self) -> ModelState:
        """Return the weights and what they belong to."""
        meta = {"build": dict(self.build), "spec": self.spec.to_json()}
        return ModelState(meta=meta, tensors=to_arrays(self.network))


def to_arrays(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Return every tensor of a network's state by name, as C-ordered arrays (torch may hold them channels-last)."""
    return {
        key: np.ascontiguousarray(value.detach().cpu().numpy()) for key, value in network.state_dict().items()
    }


def fill(network: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give `network` the tensors that `to_arrays` took, all of them, and switch it to evaluation mode."""
    import torch

    network.load_state_dict(
        {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, strict=True
    )
    network.eval()
