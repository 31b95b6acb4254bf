"""Transformers in the family: which networks have a class token, what is pooled of them, how they are trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.families import frozen, pretrained2d
from autoonco.families.contract import Fidelity, FitContext, FittedModel, Runtime
from autoonco.families.pretrained2d import family
from autoonco.nets import builders
from autoonco.nets.zoo import networks
from autoonco.tabular.pipeline import complete

TIMM = {name: entry for name, entry in networks(2).items() if entry["builder"] == "timm"}
FINGERPRINT = Fingerprint(
    n_cases=8,
    n_patients=8,
    classes=("a", "b"),
    class_counts=(4, 4),
    ndim=2,
    channels=("t1", "t2"),
    is_colour=False,
    has_mask=False,
    clinical=(),
    has_site=False,
    spacing_mm=(1.0, 1.0),
    shape=(40, 40),
    lesion_mm=None,
    lesion_voxels=None,
    intensity=dict.fromkeys(("t1", "t2"), Intensity.BYTE),
)
Y = np.arange(8) % 2
BASE: dict[str, Any] = {"network": "vit_tiny"}


@pytest.mark.parametrize("name", TIMM)
def test_zoo_says_which_networks_have_a_class_token(name: str) -> None:
    entry = TIMM[name]
    with torch.device("meta"):  # no memory, no time
        backbone = timm.create_model(
            entry["architecture"], pretrained=False, num_classes=0, **entry.get("options", {})
        )
    assert entry.get("class_token", False) == (getattr(backbone, "cls_token", None) is not None)


@pytest.fixture
def with_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a CNN and a transformer, with random weights in the place of pretrained ones."""
    monkeypatch.setattr(pretrained2d, "with_weights", lambda _: ("tf_efficientnet_lite0", "vit_tiny"))
    monkeypatch.setattr(builders, "located", lambda *_: None)
    monkeypatch.setattr(
        builders,
        "read_pretrained",
        lambda _, entry, __, options: builders._empty(entry, options, n_classes=2),
    )
    # there is no file of theirs
    monkeypatch.setattr(
        frozen,
        "frozen_network",
        lambda name, build: frozen._loaded.__wrapped__(name, build["in_channels"], (), None, 0),
    )


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    found = []
    for row in range(8):
        paths = {name: folder / f"{name}_{row}.png" for name in ("t1", "t2")}
        for path in paths.values():
            values = rng.integers(0, 100, (40, 40), np.uint8) + 100 * (row % 2)
            Image.fromarray(values.astype(np.uint8)).save(path)
        found.append(Case(case=f"c{row}", patient=f"p{row}", images=paths, row=row + 1))
    return found


def fitted(cases: list[Case], config: dict[str, Any], folder: Path) -> FittedModel:
    context = FitContext(runtime=Runtime(artefacts=ArtefactCache(folder)), fingerprint=FINGERPRINT, seed=0)
    full = complete(family.space(FINGERPRINT), BASE | config) | {"size": 32}
    epochs = 1 if full["mode"] == "finetune" else None
    return family.fit(full, cases, Y, fidelity=Fidelity(folds=1, epochs=epochs), context=context)


@pytest.mark.usefixtures("with_transformer")
def test_poolings_are_those_that_a_network_has() -> None:
    space = family.space(FINGERPRINT)
    of_token, of_map = (
        complete(space, {"network": name, "mode": "frozen"}) for name in ("vit_tiny", "tf_efficientnet_lite0")
    )
    assert of_token["token_pooling"] == "cls"
    assert "pooling" not in of_token
    assert of_map["pooling"] == "native"
    assert "token_pooling" not in of_map
    trained = complete(space, {"network": "vit_tiny", "mode": "finetune"})
    assert not {"pooling", "token_pooling"} & trained.keys()


@pytest.mark.usefixtures("with_transformer")
def test_a_token_is_probed_as_it_is_and_maps_in_four_stages() -> None:
    probes = [config for config in family.defaults(FINGERPRINT) if config["mode"] == "frozen"]
    of_token = [config for config in probes if config["network"] == "vit_tiny"]
    of_map = [config for config in probes if config["network"] == "tf_efficientnet_lite0"]
    assert of_token
    assert {(config["layers"], config["token_pooling"]) for config in of_token} == {(1, "cls")}
    assert {(config["layers"], config["pooling"]) for config in of_map} == {(4, "gem")}
    assert {config["size"] for config in of_map} == {160, 224}


def test_without_transformers_no_token_is_asked_for() -> None:
    assert "token_pooling" not in family.space(FINGERPRINT)


@pytest.mark.usefixtures("with_transformer")
@pytest.mark.parametrize("pooling", ["cls", "cls_mean", "mean", "gem"])
def test_each_pooling_of_tokens_is_fitted_and_restored(
    pooling: str, cases: list[Case], tmp_path: Path
) -> None:
    config = {"mode": "frozen", "token_pooling": pooling, "layers": 2, "sequences": "late"}
    model = fitted(cases, config, tmp_path / "a")
    n_parts = 2 if pooling == "cls_mean" else 1
    assert model.embed(cases[:1]).shape == (1, 192 * 2 * n_parts * 2)  # layers, poolings, sequences
    proba = model.predict_proba(cases)
    restored = family.restore(model.state(), Runtime(artefacts=ArtefactCache(tmp_path / "b")))
    np.testing.assert_array_equal(restored.predict_proba(cases), proba)


@pytest.mark.usefixtures("with_transformer")
@pytest.mark.parametrize("adaptation", ["full", "head_first", "lora"])
@pytest.mark.parametrize("sequences", ["channels", "late"])
def test_each_way_to_train_is_fitted_and_restored(
    adaptation: str, sequences: str, cases: list[Case], tmp_path: Path
) -> None:
    config = {"mode": "finetune", "adaptation": adaptation, "sequences": sequences, "training:batch_size": 8}
    model = fitted(cases, config, tmp_path)
    proba = model.predict_proba(cases)
    restored = family.restore(model.state(), Runtime(artefacts=ArtefactCache(tmp_path / "b")))
    np.testing.assert_array_equal(restored.predict_proba(cases), proba)
    assert not any("down" in name or "up" in name.split(".") for name in model.state().tensors)


@pytest.mark.usefixtures("with_transformer")
def test_five_sequences_make_a_stem_of_five_channels(cases: list[Case], tmp_path: Path) -> None:
    names = tuple(f"s{index}" for index in range(5))
    many = [
        replace(case, images={name: case.images["t1" if name < "s2" else "t2"] for name in names})
        for case in cases
    ]
    print_ = replace(FINGERPRINT, channels=names, intensity=dict.fromkeys(names, Intensity.BYTE))
    context = FitContext(runtime=Runtime(artefacts=ArtefactCache(tmp_path)), fingerprint=print_, seed=0)
    for mode, epochs in (("frozen", None), ("finetune", 1)):
        config = complete(family.space(print_), BASE | {"mode": mode, "sequences": "channels"}) | {"size": 32}
        model = family.fit(config, many, Y, fidelity=Fidelity(folds=1, epochs=epochs), context=context)
        assert model.state().tensors["backbone.patch_embed.proj.weight"].shape[1] == 5
        restored = family.restore(model.state(), context.runtime)
        np.testing.assert_array_equal(restored.predict_proba(many), model.predict_proba(many))
