"""A small network trained from scratch on a picture of each case, its architecture searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.families import searched
from autoonco.families.contract import Config, Fidelity, FitContext, FittedModel, ModelState, Runtime
from autoonco.families.networks import (
    READ_SECONDS,
    TrainedNetwork,
    add_component,
    fit_network,
    picture_spec,
    plan_epochs,
)
from autoonco.families.training_space import add_training
from autoonco.nets.inputs import InputSpec
from autoonco.resources import load_space

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from autoonco.nets.builders import Network

NETWORK = "parametric2d"
"""The name of the network's zoo entry and of its space."""


class Scratch2D:
    """The family of small 2D networks without pretraining; for volumes the picture is one axial slice."""

    name = "scratch2d"

    def why_not(self, fingerprint: Fingerprint) -> str | None:  # noqa: ARG002 - the contract's form
        """Return None: any case has a picture to show, and no weights are needed."""
        return None

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:
        """Return the family's space: picture, architecture, training and augmentation."""
        space = load_space("scratch2d")
        space.add_configuration_space("architecture", load_space(NETWORK))
        if fingerprint.has_mask:
            add_component(space, "lesion_slice")
        add_training(space, fingerprint)
        return space

    def defaults(self, fingerprint: Fingerprint) -> Sequence[Config]:
        """Return a residual network of three stages for pictures of 64 pixels a side."""
        from autoonco.tabular.pipeline import complete

        return [complete(self.space(fingerprint), {})]

    def plan(self, config: Config, budget: float, *, inner_folds: int, n_train: int) -> Fidelity:  # noqa: ARG002
        """Return epochs of one fold, then whole folds."""
        return plan_epochs(int(config["epochs"]), budget, inner_folds)

    def wants_gpu(self, config: Config) -> bool:  # noqa: ARG002 - the contract's
        """Return True: every trial trains a network."""
        return True

    def prior_seconds(self, config: Config, fidelity: Fidelity, fingerprint: Fingerprint) -> float:
        """Return reading every case, then the training passes."""
        spec = picture_spec(config, fingerprint)
        a_case = searched.seconds_to_train(NETWORK, config, spec, n_classes=fingerprint.n_classes)
        epochs = fidelity.epochs or int(config["epochs"])
        return fingerprint.n_cases * (READ_SECONDS + 0.8 * fidelity.folds * epochs * a_case)

    def untrained(self, config: Config, fingerprint: Fingerprint, *, seed: int) -> tuple[Network, InputSpec]:
        """Return the network of a config with random weights, and what it sees of a case."""
        spec = picture_spec(config, fingerprint)
        description = searched.describe(NETWORK, config, spec, n_classes=fingerprint.n_classes)
        return searched.build(description, seed=seed), spec

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
        spec = picture_spec(config, context.fingerprint)
        description = searched.describe(NETWORK, config, spec, n_classes=context.fingerprint.n_classes)
        network = searched.build(description, seed=context.seed)
        return fit_network(network, description, spec, config, cases, y, fidelity=fidelity, context=context)

    def restore(self, state: ModelState, runtime: Runtime) -> FittedModel:
        """Return the model that `state` described."""
        description = state.meta["build"]
        return TrainedNetwork.restored(searched.build(description, seed=0), state, runtime)


family = Scratch2D()
