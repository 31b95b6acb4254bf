from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Intensity
from autoonco.data.preprocessing import SliceView, VolumeView
from autoonco.errors import DataError
from autoonco.nets import embeddings as module
from autoonco.nets import inputs
from autoonco.nets.builders import Network, build_2d
from autoonco.nets.embeddings import embed, forward, weights_id
from autoonco.nets.inputs import InputSpec, crops

SPEC = InputSpec(intensity={"image": Intensity.BYTE}, view=SliceView(size=64), ndim=2)


@pytest.fixture(scope="module")
def network() -> Network:
    return build_2d("tf_efficientnet_lite0", n_classes=0, pretrained=True)


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    rng = np.random.default_rng(0)
    found = []
    for row in range(1, 6):
        path = tmp_path / f"{row}.png"
        Image.fromarray(rng.integers(0, 255, (40, 50 + row), np.uint8)).save(path)
        found.append(Case(case=str(row), patient=str(row), images={"image": path}, row=row))
    return found


def run(cases: list[Case], network: Network, folder: Path, spec: InputSpec = SPEC) -> np.ndarray:
    return embed(
        cases, network, spec, ArtefactCache(folder), network_id=weights_id(network), device="cpu", n_threads=1
    )


def test_cache_hit_equals_fresh_and_computes_nothing(
    cases: list[Case], network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(cases, network, tmp_path / "a")
    assert first.shape == (5, 1, 1280)
    assert len(np.unique(first[:, 0].round(3), axis=0)) == 5
    elsewhere = run(cases, network, tmp_path / "b")
    assert (elsewhere == first).all()
    monkeypatch.setattr(module, "_embeddings", lambda *_, **__: pytest.fail("computed again"))
    assert (run(cases, network, tmp_path / "a") == first).all()


def named(cases: list[Case], network: Network, folder: Path, *names: str) -> np.ndarray:
    where = ArtefactCache(folder)
    how = {"network_id": weights_id(network), "device": "cpu", "n_threads": 1}
    return embed(cases, network, SPEC, where, names=names, **how)


def test_one_pass_gives_every_pooling_of_every_layer(
    cases: list[Case], network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = named(cases, network, tmp_path, "native")
    monkeypatch.setattr(module, "_embeddings", lambda *_, **__: pytest.fail("computed again"))
    both = named(cases, network, tmp_path, "native", "gem@-2", "mean@-4")
    assert (both[..., :1280] == native).all()
    seen = {}
    stages = {-2: network.backbone.blocks[5 - 1], -4: network.backbone.blocks[1]}
    for number, stage in stages.items():
        stage.register_forward_hook(lambda _, __, out, number=number: seen.update({number: out}))
    with torch.inference_mode():
        own = network(torch.from_numpy(crops(cases[:1], SPEC, None)))
    gem = seen[-2].clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
    np.testing.assert_allclose(both[0, 0, :1280], own[0], rtol=1e-4, atol=1e-5)
    width = gem.shape[1]
    np.testing.assert_allclose(both[0, 0, 1280 : 1280 + width], gem[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both[0, 0, 1280 + width :], seen[-4].mean(dim=(2, 3))[0], rtol=1e-4, atol=1e-5)


def test_pictures_of_a_case_are_embedded_one_by_one(
    cases: list[Case], network: Network, tmp_path: Path
) -> None:
    """Two sequences, late: each gives what it gives alone."""
    case = dataclasses.replace(
        cases[0], images={"a": cases[0].images["image"], "b": cases[1].images["image"]}
    )
    spec = InputSpec(
        intensity=dict.fromkeys(("a", "b"), Intensity.BYTE),
        view=SliceView(size=64, sequences="late"),
        ndim=2,
    )
    (both,) = run([case], network, tmp_path / "a", spec)
    assert both.shape == (2, 1280)
    np.testing.assert_array_equal(both[0], run(cases[:1], network, tmp_path / "b")[0, 0])


def test_embedding_does_not_depend_on_the_company(
    cases: list[Case], network: Network, tmp_path: Path
) -> None:
    together = run(cases, network, tmp_path / "a")
    assert (run(cases[3:4], network, tmp_path / "b")[0] == together[3]).all()
    assert (run(cases[::-1], network, tmp_path / "c")[::-1] == together).all()


def test_content_counts_not_the_name(cases: list[Case], network: Network, tmp_path: Path) -> None:
    first = run(cases[:1], network, tmp_path / "a")
    path = cases[0].images["image"]
    moved = path.with_name("moved.png")
    path.rename(moved)
    copied = Case(case="x", patient="x", images={"image": moved})
    assert (run([copied], network, tmp_path / "a") == first).all()
    Image.fromarray(np.zeros((40, 51), np.uint8)).save(moved)
    assert (run([copied], network, tmp_path / "a") != first).any()


def test_other_weights_or_view_give_other_embeddings(
    cases: list[Case], network: Network, tmp_path: Path
) -> None:
    first = run(cases, network, tmp_path)
    assert (run(cases, build_2d("tf_efficientnet_lite0", n_classes=0, seed=1), tmp_path) != first).any()
    larger = dataclasses.replace(SPEC, view=SliceView(size=96))
    assert (run(cases, network, tmp_path, larger) != first).any()


def test_what_a_gpu_computed_is_not_taken_for_what_a_cpu_computes(
    cases: list[Case], network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rounded(_: Network, seen: np.ndarray, *__: object, **___: object) -> dict[str, np.ndarray]:
        return {"native": np.zeros((len(seen), 1, 1280), np.float32)}

    with monkeypatch.context() as patch:
        patch.setattr(module, "pick_device", lambda _: "cuda:1")
        patch.setattr(module, "_embeddings", rounded)
        assert not run(cases, network, tmp_path).any()
    first = run(cases, network, tmp_path)
    assert first.any()
    monkeypatch.setattr(module, "_embeddings", lambda *_, **__: pytest.fail("computed again"))
    assert (run(cases, network, tmp_path) == first).all()
    monkeypatch.setattr(module, "pick_device", lambda _: "cuda:0")
    assert not run(cases, network, tmp_path).any()  # whichever GPU it was


def test_threads_do_not_change_a_single_bit(network: Network) -> None:
    batch = np.random.default_rng(0).integers(0, 255, (7, 3, 64, 64), np.uint8)
    one, two, four = (forward(network, batch, device="cpu", n_threads=n) for n in (1, 2, 4))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, four)


def test_only_embeddings_are_stored(cases: list[Case], network: Network, tmp_path: Path) -> None:
    run(cases, network, tmp_path / "cache")
    assert {file.parent.parent.name for file in (tmp_path / "cache").rglob("*.safetensors")} <= {
        "cache",
        "embeddings",
    }
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == len(cases)


def test_crops_are_read_back_as_made(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ArtefactCache(tmp_path / "crops")
    first = crops(cases, SPEC, cache)
    assert first.dtype == np.uint8
    assert first.shape == (5, *SPEC.shape)
    monkeypatch.setattr(inputs, "read_scan", lambda *_: pytest.fail("the scan was read again"))
    assert (crops(cases, SPEC, cache) == first).all()


def test_case_that_lacks_a_mask_is_named_by_its_row(cases: list[Case], tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, view=SliceView(size=32, focus="lesion"))
    with pytest.raises(DataError, match=r"^row 3: .*mask") as caught:
        crops(cases[2:], spec, ArtefactCache(tmp_path))
    assert str(tmp_path) not in str(caught.value)


@pytest.fixture
def volume(tmp_path: Path) -> Case:
    path = tmp_path / "volume.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 20, 20), np.float32)), path)
    return Case(case="v", patient="v", images={"image": path}, row=7)


def test_images_of_other_dimensions_are_refused(cases: list[Case], volume: Case, tmp_path: Path) -> None:
    """A picture by models for volumes, of whichever view, and a volume by a model for pictures."""
    cache = ArtefactCache(tmp_path / "cache")
    cube = dataclasses.replace(SPEC, view=VolumeView(size=8, focus="whole"), ndim=3)
    for_slices = dataclasses.replace(SPEC, ndim=3)
    assert crops([volume], cube, cache).shape == (1, 1, 8, 8, 8)
    assert crops([volume], for_slices, cache).shape == (1, 3, 64, 64)
    for spec in (cube, for_slices):
        with pytest.raises(
            DataError, match=r"^row 3: the image is 2D, expected 3D as the cases that the model was made for"
        ):
            crops([volume, cases[2]], spec, cache)
    with pytest.raises(DataError, match=r"^row 7: the image is 3D, expected 2D"):
        crops([cases[2], volume], SPEC, cache)


def test_crop_of_another_shape_is_not_spread_over_its_place(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "pictures", lambda *_: np.zeros((1, 1, 64, 64), np.float32))
    with pytest.raises(DataError, match=r"row 1: the crop has shape \(1, 64, 64\), expected \(3, 64, 64\)"):
        crops(cases, SPEC, ArtefactCache(tmp_path / "cache"))


@pytest.mark.parametrize(
    "view",
    [SliceView(size=32, focus="lesion", margin=0.5), VolumeView(size=16, extent_mm=30.0, mask="channel")],
)
def test_spec_survives_json(view: SliceView | VolumeView) -> None:
    import json

    units = {"pet": Intensity.ARBITRARY, "ct": Intensity.HOUNSFIELD}
    spec = InputSpec(intensity=units, view=view, ndim=3)
    back = InputSpec.from_json(json.loads(json.dumps(spec.to_json(), sort_keys=True)))
    assert back == spec
    assert list(back.intensity) == ["pet", "ct"]
    assert back.shape == ((3, 32, 32) if isinstance(view, SliceView) else (3, 16, 16, 16))


@pytest.mark.shared
def test_real_weights_tell_malignant_from_benign(shared_data: Path, network: Network, tmp_path: Path) -> None:
    """Embeddings of training pictures separate the classes far better than those of the same net untrained."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pd.read_csv(shared_data / "busi" / "labels.csv").query("split == 'train'")
    frame = frame.groupby("label").sample(40, random_state=0)
    y = (frame.label == "malignant").to_numpy()
    pictures = [
        Case(case="c", patient="p", images={"image": shared_data / "busi" / path}) for path in frame.image
    ]

    def auc(net: Network) -> float:
        features = run(pictures, net, tmp_path, dataclasses.replace(SPEC, view=SliceView(size=128)))[:, 0]
        learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.02))
        return roc_auc_score(y, cross_val_predict(learner, features, y, method="predict_proba")[:, 1])

    pretrained = auc(network)
    assert pretrained > 0.75
    assert pretrained > auc(build_2d("tf_efficientnet_lite0", n_classes=0)) + 0.05
