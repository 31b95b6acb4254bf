"""3D networks trained from scratch on a cube of each case: residual networks, vision transformers, a searched one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.families import searched
from autoonco.families.contract import Config, Fidelity, FitContext, FittedModel, ModelState, Runtime
from autoonco.families.cubes import add_cube, cube_spec, forbid_heavy
from autoonco.families.networks import (
    READ_SECONDS,
    TrainedNetwork,
    fit_network,
    plan_epochs,
)
from autoonco.families.training_space import add_training
from autoonco.nets.inputs import InputSpec
from autoonco.nets.zoo import entry_of, networks, seconds_per_crop
from autoonco.resources import load_space

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from autoonco.nets.builders import Network

SEARCHED = "parametric3d"
"""The network whose architecture is searched too: the name of its zoo entry and of its space."""
STRIDE_COST = {1: 8.0, 2: 1.0}
"""A ResNet's cost by the stride of its first convolution: half the stride, eight times the voxels thereafter."""


class Volumetric3D:
    """The family of 3D networks; it applies to volumes only."""

    name = "volumetric3d"

    def why_not(self, fingerprint: Fingerprint) -> str | None:
        """Return why the family does not apply: pictures have no third dimension."""
        return "the images are 2D" if fingerprint.ndim == 2 else None

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:
        """Return the family's space: network, cube, training and augmentation."""
        from ConfigSpace import CategoricalHyperparameter, InCondition

        space = load_space("volumetric3d")
        zoo = networks(3)
        network = CategoricalHyperparameter("network", list(zoo), default_value=next(iter(zoo)))
        space.add(network)
        strided = [name for name, entry in zoo.items() if entry.get("architecture") == "resnet"]
        space.add(InCondition(space["stem_stride"], network, strided))
        below = {"parent": network, "value": SEARCHED}
        space.add_configuration_space("architecture", load_space(SEARCHED), parent_hyperparameter=below)
        add_cube(space, fingerprint)
        add_training(space, fingerprint)
        forbid_heavy(space)
        return space

    def defaults(self, fingerprint: Fingerprint) -> Sequence[Config]:
        """Return a strided ResNet-10 and a small vision transformer, both at 32 voxels a side."""
        from autoonco.tabular.pipeline import complete

        space = self.space(fingerprint)
        transformer = {"network": "monai_vit_tiny", "epochs": 15, "training:learning_rate": 0.0003}
        return [complete(space, {"network": "monai_resnet10"}), complete(space, transformer)]

    def plan(self, config: Config, budget: float, *, inner_folds: int, n_train: int) -> Fidelity:  # noqa: ARG002
        """Return epochs of one fold, then whole folds."""
        return plan_epochs(int(config["epochs"]), budget, inner_folds)

    def wants_gpu(self, config: Config) -> bool:  # noqa: ARG002 - the contract's
        """Return True: every trial trains a network."""
        return True

    def prior_seconds(self, config: Config, fidelity: Fidelity, fingerprint: Fingerprint) -> float:
        """Return reading every case, then the training passes."""
        name = str(config["network"])
        if name == SEARCHED:
            a_case = searched.seconds_to_train(
                name, config, cube_spec(config, fingerprint), n_classes=fingerprint.n_classes
            )
        else:
            a_case = seconds_per_crop(entry_of(name), size=int(config["size"]), train=True)
            a_case *= STRIDE_COST[int(config.get("stem_stride", 2))]
        epochs = fidelity.epochs or int(config["epochs"])
        return fingerprint.n_cases * (READ_SECONDS + 0.8 * fidelity.folds * epochs * a_case)

    def untrained(self, config: Config, fingerprint: Fingerprint, *, seed: int) -> tuple[Network, InputSpec]:
        """Return the network of a config with random weights, and what it sees of a case."""
        spec = cube_spec(config, fingerprint)
        return _build(_description(config, spec, fingerprint), seed=seed), spec

    def fit(
        self,
        config: Config,
        cases: Sequence[Case],
        y: NDArray[Any],
        *,
        fidelity: Fidelity,
        context: FitContext,
    ) -> FittedModel:
        """Train a network from random weights."""
        spec = cube_spec(config, context.fingerprint)
        build = _description(config, spec, context.fingerprint)
        network = _build(build, seed=context.seed)
        return fit_network(network, build, spec, config, cases, y, fidelity=fidelity, context=context)

    def restore(self, state: ModelState, runtime: Runtime) -> FittedModel:
        """Return the model that `state` described."""
        return TrainedNetwork.restored(_build(state.meta["build"], seed=0), state, runtime)


def _description(config: Config, spec: InputSpec, fingerprint: Fingerprint) -> dict[str, Any]:
    """Return what `_build` makes the config's network of, as plain JSON."""
    name, n_classes = str(config["network"]), fingerprint.n_classes
    if name == SEARCHED:
        return searched.describe(name, config, spec, n_classes=n_classes)
    sizes = {"n_classes": n_classes, "in_channels": spec.shape[0], "size": spec.view.size}
    return {"name": name, **sizes, "stem_stride": int(config.get("stem_stride", 2))}


def _build(build: Mapping[str, Any], *, seed: int) -> Network:
    from autoonco.nets.builders import build_3d

    if build["name"] == SEARCHED:
        return searched.build(build, seed=seed)
    sizes = {key: int(build[key]) for key in ("n_classes", "in_channels", "size", "stem_stride")}
    return build_3d(str(build["name"]), seed=seed, **sizes)


family = Volumetric3D()
