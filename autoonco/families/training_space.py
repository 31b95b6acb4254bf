"""How the networks of every family are trained: the spaces of it, and what a config makes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoonco.data.fingerprint import Fingerprint
from autoonco.families.contract import Config
from autoonco.nets.zoo import Entry, entry_of
from autoonco.resources import load_space

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from torch import nn

    from autoonco.nets.appearance import Look
    from autoonco.nets.pretext import Pretext
    from autoonco.nets.recipe import Recipe

TRANSFORMERS = re.compile(r"(vit|deit|beit|eva|swin|maxvit|cait|xcit|samvit|flexivit)", re.IGNORECASE)
"""Beginnings of timm's names of networks whose blocks attend."""
STAGE_SAVING = {0: 1.0, 3: 0.65, 5: 0.4}
"""Share of a training step's time that is left when so many leading stages are frozen (EfficientNet-Lite0)."""
NEVER_STOCHASTIC = re.compile(r"(densenet|vgg|dla|hrnet)", re.IGNORECASE)
"""Beginnings of timm's names of networks without residual branches to leave out."""


def part(config: Config, name: str) -> dict[str, Any]:
    """Return the hyperparameters of one component, without its prefix.

    Examples
    --------
    >>> part({"size": 224, "head:learner": "svm"}, "head")
    {'learner': 'svm'}
    """
    return {key.partition(":")[2]: value for key, value in config.items() if key.startswith(f"{name}:")}


def add_training(space: ConfigurationSpace, fingerprint: Fingerprint, **parent: Any) -> None:
    """Add the spaces of training, augmentation and prediction, below `parent_hyperparameter` where one is given."""
    augmentation = load_space("augmentation")
    if fingerprint.is_colour:
        augmentation.add(list(load_space("augmentation_colour").values()))
    components = {
        "training": load_space("training"),
        "augmentation": augmentation,
        "prediction": load_space("prediction"),
    }
    for name, component in components.items():
        space.add_configuration_space(name, component, **parent)


def is_transformer(entry: Entry) -> bool:
    """Return whether a zoo entry's network attends, so that low-rank changes have a place."""
    return TRANSFORMERS.match(str(entry["architecture"])) is not None


def has_drop_path(entry: Entry) -> bool:
    """Return whether a zoo entry's network has branches that stochastic depth can leave out."""
    named = NEVER_STOCHASTIC.match(str(entry["architecture"])) is not None
    return bool(entry.get("stochastic_depth", not named and entry["dimensions"] == 2))


def add_finetuning(
    space: ConfigurationSpace, *, choice: str = "network", when: tuple[str, str] = ("mode", "finetune")
) -> None:
    """Add how pretrained weights move, as far as the space's networks allow it.

    `choice` is the hyperparameter that says which network, `when` another and its value that has weights move; both
    are in `space` already. Low-rank changes are for transformers, stochastic depth for
    networks with residual branches.
    """
    from ConfigSpace import AndConjunction, CategoricalHyperparameter, EqualsCondition, InCondition

    component: Any = load_space("finetune")
    which: Any = space[choice]
    names = list(which.choices)
    attending = [name for name in names if is_transformer(entry_of(name))]
    dropping = [name for name in names if has_drop_path(entry_of(name))]
    choices = [
        value for value in component["adaptation"].choices if attending or not str(value).startswith("lora")
    ]
    left_out = {name for name in component if name.startswith("lora") and not attending}
    left_out |= {"adaptation"} | (set() if dropping else {"drop_path"})
    space.add(CategoricalHyperparameter("adaptation", choices, default_value="full"))
    space.add([parameter for name, parameter in component.items() if name not in left_out])
    for condition in component.conditions:
        if condition.child.name not in left_out:
            values = list(getattr(condition, "values", ())) or [condition.value]
            space.add(InCondition(space[condition.child.name], space["adaptation"], values))
    mode, moves = space[when[0]], when[1]
    space.add(EqualsCondition(space["adaptation"], mode, moves))
    if dropping:
        child = space["drop_path"]
        able = InCondition(child, which, dropping)
        space.add(AndConjunction(EqualsCondition(child, mode, moves), able))
    _forbid_low_rank(space, which, [name for name in names if name not in attending] if attending else [])


def _forbid_low_rank(space: ConfigurationSpace, which: Any, networks: Sequence[str]) -> None:
    from ConfigSpace import ForbiddenAndConjunction, ForbiddenEqualsClause, ForbiddenInClause

    if networks:
        low_rank = ForbiddenEqualsClause(space["adaptation"], "lora")
        space.add(ForbiddenAndConjunction(low_rank, ForbiddenInClause(which, list(networks))))


def recipe_of(config: Config, *, looks: Sequence[Look] = ()) -> Recipe:
    """Return the training recipe that a config describes; `looks` are those of the image channels."""
    from autoonco.nets.augmentation import Augmentation
    from autoonco.nets.recipe import Optimizer, Recipe

    values = part(config, "training")
    weighting = values.pop("class_weight")
    for name in ("learning_rate", "weight_decay"):
        if f"sgd_{name}" in values:
            values[name] = values.pop(f"sgd_{name}")
    if values.pop("stopping", "none") == "hold_out":
        values["early_stopping"] = values.pop("held_out")
    if config.get("adaptation") == "head_first":
        values |= {
            "head_first": float(config["head_epochs"]),
            "unfrozen_blocks": int(config["unfrozen_blocks"]),
        }
    values["optimizer"] = Optimizer(values.get("optimizer", Optimizer.ADAMW))
    return Recipe(
        epochs=int(config["epochs"]),
        class_weights=weighting == "balanced",
        balanced_sampling=weighting == "sampled",
        layer_decay=float(config.get("layer_decay", 1.0)),
        coarse=float(config.get("coarse", 0.0)),
        augmentation=Augmentation(**part(config, "augmentation"), looks=tuple(looks)),
        **values,
    )


def pretext_epochs(config: Config) -> int:
    """Return how many passes through the volumes come before the labels; 0 without."""
    if config.get("pretext", "none") == "none":
        return 0
    return max(1, round(float(config["pretext_length"]) * int(config["epochs"])))


def pretext_of(config: Config, recipe: Recipe) -> Pretext | None:
    """Return what a config has a network learn before the labels, None for nothing."""
    if not (epochs := pretext_epochs(config)):
        return None
    from autoonco.nets.pretext import Pretext

    return Pretext(
        kind=config["pretext"],  # type: ignore[arg-type]
        epochs=epochs,
        batch_size=recipe.batch_size,
        augmentation=recipe.augmentation,
    )


def part_that_learns(config: Config) -> float:
    """Return the share of a whole training step's time that a config's fine-tuning takes, roughly.

    A forward pass is a third of a step; what takes a gradient adds to that.
    """
    if config.get("adaptation") == "lora":
        return 0.8  # gradients go all the way through, those of the frozen weights are left out
    if config.get("adaptation") == "head_first":
        alone = float(config["head_epochs"])
        behind = min(1.0, int(config["unfrozen_blocks"]) / 16)
        return 1 / 3 + 2 / 3 * (1 - alone) * behind
    return STAGE_SAVING[int(config.get("frozen_stages", 0))]


def make_ready(network: nn.Module, config: Config, *, seed: int) -> nn.Module:
    """Return the network with the parts frozen, or the low-rank changes beside them, that a config asks for.

    `nets.lora.merge_low_rank` makes a plain network of it after the training.
    """
    if config.get("adaptation") == "lora":
        from autoonco.nets.lora import add_low_rank

        add_low_rank(
            network,
            rank=int(config["lora_rank"]),
            alpha=float(config["lora_alpha"]),
            targets=config["lora_layers"],  # type: ignore[arg-type]
            seed=seed,
        )
    elif config.get("frozen_stages"):
        network.freeze_stages(int(config["frozen_stages"]))
    return network
