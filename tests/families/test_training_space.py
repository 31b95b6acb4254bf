from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Fingerprint, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.families.training_space import (
    add_finetuning,
    add_training,
    has_drop_path,
    is_transformer,
    part_that_learns,
    recipe_of,
)
from autoonco.nets.appearance import Look
from autoonco.nets.recipe import Optimizer
from autoonco.nets.zoo import entry_of, networks
from autoonco.tabular.pipeline import complete
from tests.fingerprints import PICTURES

PRINT = replace(PICTURES, n_cases=60, n_patients=60, class_counts=(30, 30))
CNN, TRANSFORMER, WITHOUT = "tf_efficientnet_lite0", "vit_tiny", "densenet121"


def space_of(*names: str, print_: Fingerprint = PRINT) -> ConfigurationSpace:
    space = ConfigurationSpace(seed=0)
    space.add(CategoricalHyperparameter("network", list(names)))
    space.add(CategoricalHyperparameter("mode", ["frozen", "finetune"]))
    add_finetuning(space)
    add_training(space, print_, parent_hyperparameter={"parent": space["mode"], "value": "finetune"})
    return space


def drawn(*names: str, n: int = 300) -> list[dict[str, Any]]:
    return [dict(config) for config in space_of(*names).sample_configuration(n)]


def config_of(names: tuple[str, ...] = (CNN, TRANSFORMER), **values: Any) -> dict[str, Any]:
    return complete(space_of(*names), {"mode": "finetune", **values}) | {"epochs": 10}


def test_low_rank_changes_are_for_transformers() -> None:
    assert "lora" not in space_of(CNN, WITHOUT)["adaptation"].choices
    assert not [name for name in space_of(CNN) if name.startswith("lora")]
    found = {
        (config["network"], config["adaptation"]) for config in drawn(CNN, TRANSFORMER) if len(config) > 2
    }
    assert found == {
        (CNN, "full"),
        (CNN, "head_first"),
        *((TRANSFORMER, way) for way in ("full", "head_first", "lora")),
    }


def test_stochastic_depth_is_for_networks_with_branches() -> None:
    assert "drop_path" not in space_of(WITHOUT)
    for config in drawn(CNN, WITHOUT):
        assert ("drop_path" in config) == (config["mode"] == "finetune" and config["network"] == CNN)


def test_each_way_to_adapt_has_its_own_hyperparameters_and_frozen_networks_none() -> None:
    own = {
        "full": {"frozen_stages", "layer_decay"},
        "head_first": {"head_epochs", "unfrozen_blocks", "layer_decay"},
        "lora": {"lora_rank", "lora_alpha", "lora_layers"},
    }
    every = set().union(*own.values())
    for config in drawn(CNN, TRANSFORMER):
        assert every & set(config) == own.get(config.get("adaptation", ""), set())
        if config["mode"] == "frozen":
            assert set(config) == {"network", "mode"}


def test_colours_are_for_colour_pictures() -> None:
    assert "augmentation:colour" not in space_of(CNN)
    space = space_of(CNN, print_=dataclasses.replace(PRINT, is_colour=True))
    config = complete(space, {"mode": "finetune", "augmentation:colour": "stain"}) | {"epochs": 5}
    recipe = recipe_of(config, looks=(Look.COLOUR,))
    assert (recipe.augmentation.colour, recipe.augmentation.looks) == ("stain", (Look.COLOUR,))


def test_every_entry_of_the_zoo_is_told_apart_as_its_network_is() -> None:
    """Oracle: the modules of the networks themselves."""
    import timm
    import torch

    for name in (CNN, TRANSFORMER, WITHOUT, "resnet18", "convnext_atto", "swin_tiny"):
        entry = entry_of(name)
        with torch.device("meta"):
            backbone = timm.create_model(entry["architecture"].partition(".")[0])
        attends = any(part == "attn" for path, _ in backbone.named_modules() for part in path.split("."))
        assert is_transformer(entry) == attends, name
        if has_drop_path(entry):
            with torch.device("meta"):
                depth = timm.create_model(entry["architecture"].partition(".")[0], drop_path_rate=0.3)
            assert any(type(module).__name__ == "DropPath" for module in depth.modules()), name
    assert sum(is_transformer(entry) for entry in networks(2).values() if entry["weights"]) > 5


def test_a_recipe_says_what_the_config_says() -> None:
    config = config_of(
        **{
            "training:optimizer": "sgd",
            "training:sgd_learning_rate": 0.07,
            "training:sgd_weight_decay": 0.002,
            "training:momentum": 0.85,
            "training:class_weight": "sampled",
            "training:mixing": "cutmix",
            "training:mixing_alpha": 0.4,
            "training:stopping": "hold_out",
            "training:held_out": 0.2,
            "adaptation": "head_first",
            "head_epochs": 0.4,
            "unfrozen_blocks": 8,
        }
    )
    recipe = recipe_of(config)
    assert recipe.optimizer is Optimizer.SGD
    assert (recipe.learning_rate, recipe.weight_decay, recipe.momentum) == (0.07, 0.002, 0.85)
    assert (recipe.class_weights, recipe.balanced_sampling) == (False, True)
    assert (recipe.mixing, recipe.mixing_alpha, recipe.early_stopping) == ("cutmix", 0.4, 0.2)
    assert (recipe.head_first, recipe.unfrozen_blocks) == (0.4, 8)
    plain = recipe_of(config_of())
    assert (plain.optimizer, plain.early_stopping, plain.head_first) == (Optimizer.ADAMW, 0.0, 0.0)
    assert recipe_of(config_of(**{"training:class_weight": "balanced"})).class_weights


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"frozen_stages": 5}, {"frozen_stages": 0}),
        (
            {"adaptation": "head_first", "unfrozen_blocks": 1},
            {"adaptation": "head_first", "unfrozen_blocks": 8},
        ),
        ({"adaptation": "head_first", "head_epochs": 0.5}, {"adaptation": "head_first", "head_epochs": 0.1}),
        ({"network": TRANSFORMER, "adaptation": "lora"}, {"network": TRANSFORMER}),
    ],
)
def test_what_learns_less_is_guessed_to_cost_less(less: dict[str, Any], more: dict[str, Any]) -> None:
    assert part_that_learns(config_of(**less)) < part_that_learns(config_of(**more)) <= 1


@pytest.mark.parametrize("noted", [False, True])
@pytest.mark.parametrize("probing", [False, True])
def test_the_pace_is_measured_where_that_may_be_noted_and_kept_to(
    noted: bool, probing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half precision, said by the probe or by the notes, leaves other weights than the prior's single precision."""
    from autoonco.families import scratch2d
    from autoonco.nets import probe
    from autoonco.nets.pace import Pace, Precision

    half = Pace(precision=Precision.HALF, channels_last=True)
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(probe, "pace_for", lambda network, shape, **how: asked.append(shape) or half)
    data = Dataset.from_csv(make_phantoms(tmp_path, n=8, ndim=2))
    print_ = fingerprint(data, inspect(data))
    small = {"architecture:width": 16, "architecture:stages": 2, "training:batch_size": 8}
    config = complete(scratch2d.family.space(print_), small) | {"size": 24}

    def fit(runtime: Runtime, notes: dict[str, Any]) -> Any:
        context = FitContext(runtime=runtime, fingerprint=print_, seed=0, notes=notes)
        return scratch2d.family.fit(
            config, data.cases, data.y, fidelity=Fidelity(folds=1, epochs=1), context=context
        ).state()

    plain = fit(Runtime(artefacts=ArtefactCache(tmp_path / "cache")), {})
    notes = {"pace": half.to_json()} if noted else {}
    other = fit(Runtime(artefacts=ArtefactCache(tmp_path / "cache"), probe=probing), notes)
    differs = any((plain.tensors[name] != other.tensors[name]).any() for name in plain.tensors)
    assert differs == (noted or probing)
    assert notes == ({"pace": half.to_json()} if noted or probing else {})
    assert len(asked) == (probing and not noted)


@pytest.mark.parametrize("adaptation", ["lora", "head_first"])
def test_what_is_stored_of_an_adapted_transformer_is_a_plain_one(adaptation: str, tmp_path: Path) -> None:
    """It fits a network that was built without any adaptation, and predicts the same numbers, all views averaged."""
    from autoonco.families.networks import TrainedNetwork, fit_network, picture_spec
    from autoonco.nets.builders import build_2d

    data = Dataset.from_csv(make_phantoms(tmp_path, n=6, ndim=2))
    print_ = fingerprint(data, inspect(data))
    config = config_of((TRANSFORMER,), adaptation=adaptation, **{"prediction:views": 4})
    build: dict[str, Any] = {"name": TRANSFORMER, "n_classes": 2}
    runtime = Runtime(artefacts=ArtefactCache(tmp_path / "cache"))
    model = fit_network(
        build_2d(**build),
        build,
        picture_spec({"size": 32}, print_),
        config,
        data.cases,
        data.y,
        fidelity=Fidelity(folds=1, epochs=1),
        context=FitContext(runtime=runtime, fingerprint=print_, seed=0),
    )
    state = model.state()
    plain = build_2d(**build)
    assert state.tensors.keys() == plain.state_dict().keys()
    learned = {
        name for name, value in plain.state_dict().items() if (state.tensors[name] != value.numpy()).any()
    }
    assert any("attn.qkv.weight" in name for name in learned) == (adaptation == "lora")
    assert any("head" in name for name in learned)
    restored = TrainedNetwork.restored(plain, state, runtime)
    assert restored.views is not None
    assert restored.views.n == 4
    assert (restored.predict_proba(data.cases) == model.predict_proba(data.cases)).all()
