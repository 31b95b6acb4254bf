"""Maps of 3D networks: they find a planted lesion in its scan, whichever way that lies, and follow the weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from sklearn.metrics import roc_auc_score

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Intensity
from autoonco.data.preprocessing import VolumeView
from autoonco.data.readers import read_image
from autoonco.errors import DataError
from autoonco.families.contract import Explanation, Runtime
from autoonco.families.networks import TrainedNetwork
from autoonco.nets.augmentation import Augmentation
from autoonco.nets.builders import build_3d
from autoonco.nets.explanations import Method
from autoonco.nets.inputs import InputSpec, crops
from autoonco.nets.recipe import Recipe
from autoonco.nets.training import train

SIZE = 16
VIEW = VolumeView(size=SIZE, extent_mm=48.0)
SPEC = InputSpec(intensity={"image": Intensity.UNIT}, view=VIEW, ndim=3)
OBLIQUE = Rotation.from_euler("zyx", [20, -15, 10], degrees=True).as_matrix()
DIRECTIONS = {
    "axial": np.eye(3),
    "as NIfTI likes it": np.diag([-1.0, -1.0, 1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "oblique": OBLIQUE,
    "oblique sagittal": OBLIQUE @ np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
}


def planted(folder: Path, number: int, *, is_bright: bool, direction: np.ndarray) -> tuple[Case, np.ndarray]:
    """Write a scan of noise with a ball off its centre, bright or not, and a mask of a larger one; return the ball."""
    rng = np.random.default_rng(number)
    spacing, size = np.array([1.5, 1.8, 2.5]), np.array([36, 30, 24])
    index = np.moveaxis(np.indices(size[::-1])[::-1], 0, -1)
    places = (index - (size - 1) / 2) * spacing @ direction.T
    ball = np.linalg.norm(places - rng.choice([-9.0, 9.0], 3), axis=-1) < 7
    values = 0.3 + rng.normal(0, 0.05, ball.shape) + 0.6 * (ball & is_bright)
    paths = {}
    for name, array in {
        "image": values.astype(np.float32),
        "mask": (np.linalg.norm(places, axis=-1) < 12),
    }.items():
        image = sitk.GetImageFromArray(array.astype(np.float32 if name == "image" else np.uint8))
        image.SetSpacing(spacing.tolist())
        image.SetDirection(direction.ravel().tolist())
        image.SetOrigin((-direction @ ((size - 1) / 2 * spacing)).tolist())
        paths[name] = folder / f"{name}{number}.nii.gz"
        sitk.WriteImage(image, str(paths[name]))
    case = Case(
        case=f"c{number}",
        patient=f"p{number}",
        images={"image": paths["image"]},
        masks={"mask": paths["mask"]},
        row=number + 1,
    )
    return case, ball


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return Runtime(artefacts=ArtefactCache(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> TrainedNetwork:
    """A small network that has learned to tell bright balls from none; training sees axial scans alone."""
    folder = tmp_path_factory.mktemp("seen")
    cases = [planted(folder, n, is_bright=n % 2 == 1, direction=np.eye(3))[0] for n in range(24)]
    network = train(
        build_3d("monai_resnet10", n_classes=2, in_channels=1, size=SIZE, stem_stride=1),
        crops(cases, SPEC, runtime.artefacts),
        np.arange(24) % 2,
        Recipe(
            epochs=4,
            learning_rate=3e-3,
            batch_size=8,
            ema=0.0,
            augmentation=Augmentation(strength=0.0, flips="none"),
        ),
        n_classes=2,
        n_image_channels=1,
        until_epoch=4,
        seed=0,
    )
    return TrainedNetwork(network=network, build={}, spec=SPEC, runtime=runtime)


def untrained(runtime: Runtime, seed: int) -> TrainedNetwork:
    network = build_3d("monai_resnet10", n_classes=2, in_channels=1, size=SIZE, stem_stride=1, seed=seed)
    return TrainedNetwork(network=network.eval(), build={}, spec=SPEC, runtime=runtime)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_planted_lesion_is_found_in_the_scans_own_grid(
    direction: np.ndarray, trained: TrainedNetwork, tmp_path: Path
) -> None:
    for number in (101, 103):
        case, ball = planted(tmp_path, number, is_bright=True, direction=direction)
        (found,) = trained.explain([case], 1)
        assert found.method == Method.GRAD_CAM
        assert found.map.shape == ball.shape
        assert roc_auc_score(ball.ravel(), found.map.ravel()) > 0.8  # chance: 0.5
        centre = np.argwhere(found.map >= 0.8 * found.map.max()).mean(axis=0)
        away = (centre - np.argwhere(ball).mean(axis=0)) * (2.5, 1.8, 1.5)
        assert np.linalg.norm(away) < 10  # millimetres; a mirrored map would miss it by 18 and more


def test_random_weights_give_another_map(trained: TrainedNetwork, runtime: Runtime, tmp_path: Path) -> None:
    case, ball = planted(tmp_path, 101, is_bright=True, direction=np.eye(3))
    (found,) = trained.explain([case], 1)
    others = [untrained(runtime, seed).explain([case], 1)[0].map for seed in range(3)]
    alike = [np.corrcoef(found.map.ravel(), other.ravel())[0, 1] if other.any() else 0.0 for other in others]
    assert np.mean(alike) < 0.5
    inside = [roc_auc_score(ball.ravel(), other.ravel()) for other in others]
    assert roc_auc_score(ball.ravel(), found.map.ravel()) > np.mean(inside) + 0.1


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_saved_map_lies_over_its_scan(
    direction: np.ndarray, suffix: str, runtime: Runtime, tmp_path: Path
) -> None:
    case, _ = planted(tmp_path, 7, is_bright=True, direction=direction)
    (found,) = untrained(runtime, 0).explain([case], 1)
    path = found.save(tmp_path / f"map{suffix}")
    image, written = read_image(case.images["image"]), sitk.ReadImage(str(path))
    assert written.GetSize() == image.GetSize()
    for place in ((0, 0, 0), (35, 0, 0), (0, 29, 23)):
        np.testing.assert_allclose(
            written.TransformIndexToPhysicalPoint(place),
            image.TransformIndexToPhysicalPoint(place),
            atol=1e-3,
        )
    np.testing.assert_allclose(sitk.GetArrayFromImage(written), found.map, atol=1e-6)
    if suffix == ".nii.gz":  # a second reader agrees on the affine
        affines = [nibabel.load(one).affine for one in (path, case.images["image"])]
        np.testing.assert_allclose(*affines, atol=1e-3)


def test_a_map_of_a_picture_may_be_a_picture(tmp_path: Path) -> None:
    found = Explanation(map=np.array([[0.0, 1.0], [0.5, 0.0]]), target=0, method="a test")
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(found.save(tmp_path / "m.png")))).tolist() == [
        [0, 255],
        [128, 0],
    ]
    with pytest.raises(DataError, match=r"use \.nii\.gz"):
        found.save(tmp_path / "m.txt")
    with pytest.raises(DataError, match="no folder"):
        found.save(tmp_path / "absent" / "m.nii.gz")
    volume = dataclasses.replace(found, map=np.zeros((2, 2, 2)))
    with pytest.raises(DataError, match="3 dimensions"):
        volume.save(tmp_path / "m.png")


@pytest.mark.parametrize("name", ["monai_resnet10", "monai_vit_tiny", "parametric3d"])
def test_cubes_of_few_layers_are_explained_too(name: str, runtime: Runtime, tmp_path: Path) -> None:
    from autoonco.nets.architecture import Architecture
    from autoonco.nets.builders import build_parametric

    spec = dataclasses.replace(SPEC, view=VolumeView(size=SIZE, depth=8, extent_mm=48.0))
    sizes = {"n_classes": 3, "in_channels": 1, "size": spec.shape[1:]}
    if name == "parametric3d":
        network = build_parametric(name, Architecture(width=16), **sizes)
    else:
        network = build_3d(name, **sizes)
    model = TrainedNetwork(network=network.eval(), build={}, spec=spec, runtime=runtime)
    case, ball = planted(tmp_path, 3, is_bright=True, direction=np.eye(3))
    found = [model.explain([case], target)[0] for target in range(3)]
    assert {one.map.shape for one in found} == {ball.shape}
    assert max(one.map.max() for one in found) == 1
