"""What both network families share: the recipe in a config, its fidelities, and a trained network as a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.data.preprocessing import SliceView
from autoonco.families.contract import Config, Explanation, Fidelity, FitContext, ModelState, Runtime
from autoonco.families.maps import explain_cases
from autoonco.families.training_space import make_ready, pretext_of, recipe_of
from autoonco.nets.inputs import InputSpec, crops, halved
from autoonco.nets.views import slices_of

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from torch import Tensor, nn

    from autoonco.nets.pace import Pace
    from autoonco.nets.test_time import Views

READ_SECONDS = 0.01
"""A rough guess of reading, cropping and resampling one case."""
LARGE_BATCH = 8 * 64**3
"""Voxels of a batch from which on its memory is worth a measurement, which takes as long as a step on two cases."""


def add_component(space: ConfigurationSpace, component: str) -> None:
    """Add the hyperparameters and conditions of ``spaces/<component>.yaml``, without a prefix."""
    from autoonco.resources import load_space

    added = load_space(component)
    space.add(list(added.values()))
    space.add(added.conditions)


def picture_spec(config: Config, fingerprint: Fingerprint) -> InputSpec:
    """Return which picture of a case the config asks for."""
    view = SliceView(
        size=int(config["size"]),
        focus=cast("Any", config.get("view", "whole")),
        margin=float(config.get("margin", 0.0)),
        use_mask=fingerprint.has_mask,
        shape=cast("Any", config.get("crop_shape", "square")),
        background=cast("Any", config.get("background", "keep")),
        mask_channel=config.get("mask") == "channel",
        slices=cast("Any", config.get("slices", "largest")),
        n_slices=slices_of(fingerprint) if config.get("slices") == "all" else int(config.get("n_slices", 1)),
        gap=float(config.get("gap", 0.0)),
        sequences=cast("Any", config.get("sequences", "channels")),
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
    from autoonco.nets.appearance import looks_of
    from autoonco.nets.lora import merge_low_rank
    from autoonco.nets.test_time import Views
    from autoonco.nets.training import train

    recipe = recipe_of(config, looks=looks_of(context.fingerprint, channels_each=spec.channels_each))
    runtime = context.runtime
    seen = crops(cases, spec, runtime.artefacts, n_threads=runtime.n_threads)
    half = halved(spec) if recipe.coarse else None
    pace = _pace(network, spec, recipe.batch_size, context)
    _save_memory(network, spec, recipe.batch_size, context)
    if (pretext := pretext_of(config, recipe)) is not None:
        from autoonco.nets.pretext import learn_pretext

        learn_pretext(
            network,
            seen,
            pretext,
            n_image_channels=spec.n_image_channels,
            seed=context.seed,
            device=context.runtime.device,
            n_threads=context.runtime.n_threads,
            checkpoint=context.checkpoint,
            pace=pace,
        )
    make_ready(network, config, seed=context.seed)
    until_epoch = fidelity.epochs or int(config["epochs"])
    trained = train(
        network,
        seen,
        y,
        recipe,
        n_classes=context.fingerprint.n_classes,
        n_image_channels=spec.n_image_channels,
        until_epoch=until_epoch,
        seed=context.seed,
        device=context.runtime.device,
        n_threads=context.runtime.n_threads,
        checkpoint=context.checkpoint,
        patients=[case.patient for case in cases],
        pace=pace,
        coarse=None if half is None else crops(cases, half, runtime.artefacts, n_threads=runtime.n_threads),
    )
    how = recipe.augmentation
    return TrainedNetwork(
        network=merge_low_rank(trained),
        build=build,
        spec=half if half is not None and recipe.is_coarse(until_epoch - 1) else spec,  # as it was seen last
        runtime=runtime,
        views=Views(n=int(config.get("prediction:views", 1)), strength=how.strength, flips=how.flips),
    )


def _pace(network: nn.Module, spec: InputSpec, batch_size: int, context: FitContext) -> Pace | None:
    """Return how to compute: as noted, as measured where that may be, or None for the prior's choice."""
    from autoonco.nets.embeddings import pick_device
    from autoonco.nets.pace import Pace

    if "pace" in context.notes:
        return Pace.from_json(context.notes["pace"])
    runtime = context.runtime
    if not runtime.probe or pick_device(runtime.device) != "cpu":
        return None
    from autoonco.nets.probe import pace_for

    found = pace_for(
        network,
        spec.shape,
        n_classes=context.fingerprint.n_classes,
        batch_size=batch_size,
        n_threads=runtime.n_threads,
        artefacts=runtime.artefacts,
    )
    context.notes["pace"] = found.to_json()
    return found


def _save_memory(network: nn.Module, spec: InputSpec, batch_size: int, context: FitContext) -> None:
    """Have activations of large cubes computed anew for the gradient where the memory would not hold them.

    That changes no number, so it need not be the same wherever a training goes on.
    """
    if len(spec.shape) != 4 or batch_size * math.prod(spec.shape[1:]) < LARGE_BATCH:
        return
    from autoonco.nets.checkpointing import asks_for_it, free_bytes
    from autoonco.nets.embeddings import pick_device

    free = free_bytes(pick_device(context.runtime.device))
    if asks_for_it(network, spec.shape, batch_size=batch_size, free_bytes=free):
        network.backbone.set_grad_checkpointing()


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A network that was trained as a whole; `build` is what makes an untrained one of its kind."""

    network: nn.Module
    build: Mapping[str, Any]
    spec: InputSpec
    runtime: Runtime
    views: Views | None = None

    @classmethod
    def restored(cls, network: nn.Module, state: ModelState, runtime: Runtime) -> TrainedNetwork:
        """Return the model that `state` described, around an untrained `network` of its kind."""
        from autoonco.nets.test_time import Views

        fill(network, state.tensors)
        return cls(
            network=network,
            build=state.meta["build"],
            spec=InputSpec.from_json(state.meta["spec"]),
            runtime=runtime,
            views=Views.from_json(state.meta.get("views")),
        )

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``."""
        from autoonco.nets.test_time import Views, predict

        n_threads = self.runtime.n_threads
        inputs = crops(cases, self.spec, self.runtime.artefacts, n_threads=n_threads)
        views = self.views or Views()
        return predict(self.network, inputs, views, device=self.runtime.device, n_threads=n_threads)

    def embed(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return what the network's last layer sees of each case ``(n_cases, n_features)``."""
        from autoonco.nets.penultimate import penultimate

        n_threads = self.runtime.n_threads
        inputs = crops(cases, self.spec, self.runtime.artefacts, n_threads=n_threads)
        return penultimate(self.network, inputs, device=self.runtime.device, n_threads=n_threads)

    def explain(self, cases: Sequence[Case], target: int) -> list[Explanation]:
        """Return where each case speaks for class `target`."""
        from autoonco.nets.explanations import log_odds

        def score(network: nn.Module, given: Tensor) -> Tensor:
            return log_odds(network(given), target)

        return explain_cases(cases, target, self.network, lambda _: (score, True), self.spec, self.runtime)

    def state(self) -> ModelState:
        """Return the weights and what they belong to."""
        meta = {"build": dict(self.build), "spec": self.spec.to_json()}
        if self.views and self.views.n > 1:
            meta["views"] = self.views.to_json()
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
