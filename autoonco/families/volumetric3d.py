"""3D networks on a cube of each case: trained from scratch, pretrained and fine-tuned, or frozen below a learner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.families import searched
from autoonco.families.contract import Config, Fidelity, FitContext, FittedModel, ModelState, Runtime
from autoonco.families.cubes import add_coarse, add_cube, cube_spec, forbid_heavy, passes_of
from autoonco.families.embedded import Features
from autoonco.families.frozen import fit_frozen, restore_frozen, tensors_of_network
from autoonco.families.networks import (
    READ_SECONDS,
    TrainedNetwork,
    add_component,
    fill,
    fit_network,
    plan_epochs,
)
from autoonco.families.pretrained2d import add_heads, add_pooling, head_seconds
from autoonco.families.training_space import (
    add_finetuning,
    add_training,
    part_that_learns,
    pretext_epochs,
)
from autoonco.nets.inputs import InputSpec
from autoonco.nets.zoo import entry_of, networks, own, seconds_per_crop, with_weights
from autoonco.resources import load_space

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from autoonco.nets.network import Network

SEARCHED = "parametric3d"
"""The network whose architecture is searched too: the name of its zoo entry and of its space."""
FIRST = "monai_resnet10"
"""The network that a config without a choice means."""
STRIDE_COST = {1: 8.0, 2: 1.0}
"""A network's cost by the stride of its first convolution: half the stride, eight times the voxels thereafter."""
TRUSTED = ("ct_fm", "suprem_swin", "medicalnet_resnet18", "medicalnet_resnet10", "stunet_small")
"""Networks pretrained on scans that are tried first, where their weights are at hand, the most trusted first."""


class Volumetric3D:
    """The family of 3D networks; it applies to volumes only."""

    name = "volumetric3d"

    def why_not(self, fingerprint: Fingerprint) -> str | None:
        """Return why the family does not apply: pictures have no third dimension."""
        return "the images are 2D" if fingerprint.ndim == 2 else None

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:
        """Return the family's space: network, cube, training and augmentation, and what pretrained weights allow."""
        from ConfigSpace import CategoricalHyperparameter, InCondition

        space = load_space("volumetric3d")
        own = [name for name, entry in networks(3).items() if not entry["weights"]]
        network = CategoricalHyperparameter("network", own, default_value=FIRST)
        space.add(network)
        strided = [name for name in own if entry_of(name).get("stem_stride", False)]
        space.add(InCondition(space["stem_stride"], network, strided))
        below = {"parent": network, "value": SEARCHED}
        space.add_configuration_space("architecture", load_space(SEARCHED), parent_hyperparameter=below)
        add_component(space, "pretext")
        add_cube(space, fingerprint)
        if pretrained := with_weights(3):
            _add_pretrained(space, pretrained)
            trained = {"parent": space["mode"], "value": "train"}
            add_training(space, fingerprint, parent_hyperparameter=trained)
        else:
            add_training(space, fingerprint)
        add_coarse(space)
        forbid_heavy(space)
        return space

    def defaults(self, fingerprint: Fingerprint) -> Sequence[Config]:
        """Return one config of each kind, the cheapest first.

        A probe of a frozen network, a strided ResNet-10, a small vision transformer, the searched network, and a modest
        fine-tuning. A network pretrained on scans is probed besides, where one's weights are at hand, and the user's
        own networks are all tried.
        """
        from autoonco.tabular.pipeline import complete

        space, pretrained = self.space(fingerprint), with_weights(3)
        chosen: list[Config] = [
            {"network": FIRST},
            {"network": "monai_vit_tiny", "epochs": 15, "training:learning_rate": 0.0003},
            {"network": SEARCHED, "augmentation:flips": "none"},  # the others can't tell left from right
        ]
        chosen += [{"network": name} for name in own(3) if not entry_of(name)["weights"]]
        probe: Config = {
            "mode": "frozen",
            "size": 48,
            "head:scale": "zscore",
            "head:learner": "logistic_regression",
            "head:logistic_regression:C": 0.02,
        }
        if pretrained:
            first = pretrained[0]
            scans = [name for name in TRUSTED if name in pretrained and name != first][:1]
            scans += [name for name in own(3) if name in pretrained and name not in (first, *scans)]
            chosen += [{"pretrained": name, **probe} for name in (first, *scans)]
            chosen.append(
                {
                    "start": "pretrained",
                    "pretrained": first,
                    "size": 48,
                    "epochs": 8,
                    "frozen_stages": 3,
                    "training:learning_rate": 0.002,
                }
            )
        found = [complete(space, values) for values in chosen]
        full = [self.plan(config, 1.0, inner_folds=5, n_train=0) for config in found]
        seconds = [
            self.prior_seconds(config, plan, fingerprint) for config, plan in zip(found, full, strict=True)
        ]
        return [config for _, config in sorted(zip(seconds, found, strict=True), key=lambda pair: pair[0])]

    def plan(self, config: Config, budget: float, *, inner_folds: int, n_train: int) -> Fidelity:  # noqa: ARG002
        """Return folds alone for a frozen network; epochs of one fold, then whole folds, for others."""
        if is_frozen(config):
            return Fidelity(folds=math.ceil(budget * inner_folds - 1e-9))
        return plan_epochs(int(config["epochs"]), budget, inner_folds)

    def wants_gpu(self, config: Config) -> bool:
        """Return whether weights are trained: heads on embeddings run beside that, on the CPU."""
        return not is_frozen(config)

    def prior_seconds(self, config: Config, fidelity: Fidelity, fingerprint: Fingerprint) -> float:
        """Return reading every case, then a forward pass and heads, or the training passes with and without labels."""
        name, spec, n = network_of(config), cube_spec(config, fingerprint), fingerprint.n_cases
        sides = spec.shape[1:]
        if is_frozen(config):
            once = n * (READ_SECONDS + seconds_per_crop(entry_of(name), size=sides, train=False))
            return once + fidelity.folds * head_seconds(config, n, spec)
        if name == SEARCHED:
            a_case = searched.seconds_to_train(name, config, spec, n_classes=fingerprint.n_classes)
        else:
            a_case = seconds_per_crop(entry_of(name), size=sides, train=True)
            a_case *= STRIDE_COST[int(config.get("stem_stride", 2))]
        if is_pretrained(config):
            a_case *= part_that_learns(config)
        passes = passes_of(config, fidelity.epochs or int(config["epochs"])) + pretext_epochs(config)
        return n * (READ_SECONDS + 0.8 * fidelity.folds * passes * a_case)

    def untrained(
        self, config: Config, fingerprint: Fingerprint, *, seed: int
    ) -> tuple[Network, InputSpec] | None:
        """Return the network of a config with random weights, and what it sees of a case; None of a pretrained one."""
        if is_pretrained(config):
            return None
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
        """Train a network from random or pretrained weights, or a head on a frozen one."""
        spec = cube_spec(config, context.fingerprint)
        if is_frozen(config):
            return fit_frozen(network_of(config), config, spec, features_of(config), cases, y, context)
        build = _description(config, spec, context.fingerprint)
        more: dict[str, Any] = {}
        if is_pretrained(config):
            more = {"pretrained": True, "drop_rate": float(config["dropout"])}
        network = _build(build, seed=context.seed, **more)
        return fit_network(network, build, spec, config, cases, y, fidelity=fidelity, context=context)

    def restore(self, state: ModelState, runtime: Runtime) -> FittedModel:
        """Return the model that `state` described; no weights need be on this machine."""
        network = _build(state.meta["build"], seed=0)
        if "labels" not in state.meta:
            return TrainedNetwork.restored(network, state, runtime)
        fill(network, tensors_of_network(state))
        return restore_frozen(network, InputSpec.from_json(state.meta["spec"]), state, runtime)


def is_frozen(config: Config) -> bool:
    """Return whether a config's network keeps its pretrained weights."""
    return config.get("mode", "train") == "frozen"


def is_pretrained(config: Config) -> bool:
    """Return whether a config's network starts from pretrained weights, or keeps them."""
    return is_frozen(config) or config.get("start", "scratch") == "pretrained"


def network_of(config: Config) -> str:
    """Return the zoo entry that a config asks for."""
    return str(config["pretrained" if is_pretrained(config) else "network"])


def features_of(config: Config) -> Features:
    """Return which embeddings of a frozen network the head of a config sees."""
    return Features(
        pooling=str(config.get("token_pooling", config.get("pooling", "native"))),
        n_layers=int(config["feature_layers"]),
        keeps_pictures=config["classifier"] == "linear",
    )


def _add_pretrained(space: ConfigurationSpace, names: Sequence[str]) -> None:
    """Add the choice among pretrained networks, how they are used, and that what starts at random has no part in it."""
    from ConfigSpace import CategoricalHyperparameter, EqualsCondition, OrConjunction

    add_component(space, "volumetric3d_pretrained")
    which = CategoricalHyperparameter("pretrained", list(names), default_value=names[0])
    space.add(which)
    mode, start = space["mode"], space["start"]
    space.add(
        OrConjunction(EqualsCondition(which, mode, "frozen"), EqualsCondition(which, start, "pretrained"))
    )
    for name in ("network", "pretext"):
        space.add(EqualsCondition(space[name], start, "scratch"))
    space.add(EqualsCondition(space["epochs"], mode, "train"))
    if "mask" in space:
        space.add(EqualsCondition(space["mask"], mode, "train"))
    add_pooling(space, names, choice="pretrained")
    add_heads(space)
    add_finetuning(space, choice="pretrained", when=("start", "pretrained"))


def _description(config: Config, spec: InputSpec, fingerprint: Fingerprint) -> dict[str, Any]:
    """Return what `_build` makes the config's network of, as plain JSON."""
    name, n_classes = network_of(config), fingerprint.n_classes
    if name == SEARCHED:
        return searched.describe(name, config, spec, n_classes=n_classes)
    return {
        "name": name,
        "n_classes": n_classes,
        "in_channels": spec.grey_channels,
        "mask_channels": spec.n_masks,
        "size": list(spec.shape[1:]),
        "stem_stride": int(config.get("stem_stride", 2)),
    }


def _build(build: Mapping[str, Any], *, seed: int, **more: Any) -> Network:
    from autoonco.nets.builders import build_3d

    if build["name"] == SEARCHED:
        return searched.build(build, seed=seed)
    return build_3d(**build, seed=seed, **more)


family = Volumetric3D()
