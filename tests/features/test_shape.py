"""Native shape features are pyradiomics' own, on phantoms of all kinds and on real lesions; IBSI's on its phantom."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.distance import pdist

from autoonco.data.readers import read_mask
from autoonco.errors import AutoOncoError
from autoonco.features.conventions import Definition
from autoonco.features.mesh import largest_distance, vertices
from autoonco.features.shape import NAMES_2D, NAMES_3D, shape_values

KINDS = ("blob", "thin", "single", "border", "parts")


def theirs(mask, spacing_mm) -> dict[str, float]:
    radiomics = pytest.importorskip("radiomics")
    radiomics.setVerbosity(60)
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    # Cropped as its extractor does: its meshes may have holes, and then its volume depends on the origin.
    mask = mask[ndimage.find_objects(mask.astype(np.uint8))[0]]
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(side) for side in spacing_mm[::-1]])
    from radiomics.shape import RadiomicsShape
    from radiomics.shape2D import RadiomicsShape2D

    extractor = (
        RadiomicsShape(image, image) if mask.ndim == 3 else RadiomicsShape2D(image, image, force2D=True)
    )
    extractor.enableAllFeatures()
    with np.errstate(all="ignore"):
        return {name: float(value) for name, value in extractor.execute().items()}


def assert_parity(mask, spacing_mm) -> None:
    found, expected = shape_values(mask, spacing_mm), theirs(mask, spacing_mm)
    # Of a flat lesion its least axis is the root of a rounding error, so that 1e-6 mm is none.
    assert tuple(sorted(expected)) == (NAMES_3D if mask.ndim == 3 else NAMES_2D) == tuple(found)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True), name


def phantom(seed: int, kind: str, ndim: int):
    rng = np.random.default_rng(seed)
    size = rng.integers(3, 14, ndim)
    if kind == "thin":
        size[rng.integers(ndim)] = 1
    noise = ndimage.gaussian_filter(rng.normal(size=size), 0.3 if kind == "parts" else 1.2)
    mask = noise >= np.quantile(noise, rng.uniform(0.3, 0.9))
    if kind == "single":
        mask = np.zeros(size, dtype=bool)
        mask[tuple(size // 2)] = True
    elif kind != "border":
        mask = np.pad(mask, 1)
    return mask, tuple(float(side) for side in rng.uniform(0.3, 4, ndim))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_phantoms(seed, kind, ndim):
    assert_parity(*phantom(seed, kind, ndim))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_phantoms(seed):
    for ndim in (2, 3):
        assert_parity(*phantom(seed, KINDS[seed % len(KINDS)], ndim))


@pytest.mark.parametrize("code", range(1, 256))
def test_every_neighbourhood_of_eight_voxels(code):
    mask = np.array([code >> bit & 1 for bit in range(8)], dtype=bool).reshape(2, 2, 2)
    assert_parity(mask, (0.7, 1.1, 1.9))


@pytest.mark.shared
@pytest.mark.parametrize("task", ["busi/lesions.csv", "lidc3d/labels.csv"])
def test_lesions_of_tables(shared_data, task):
    table = pd.read_csv(shared_data / task)
    for name in table["mask"].dropna().iloc[:: max(1, len(table) // 5)]:
        image = read_mask((shared_data / task).parent / name)
        assert_parity(sitk.GetArrayFromImage(image) != 0, image.GetSpacing()[::-1])


@pytest.mark.shared
@pytest.mark.parametrize("modality", ["mr_t1", "pet", "ct"])
def test_sarcoma(shared_data, modality):
    folder = shared_data / "sarcoma3d"
    image = read_mask(folder / pd.read_csv(folder / "labels.csv")[f"mask_{modality}"].iloc[0])
    assert_parity(sitk.GetArrayFromImage(image) != 0, image.GetSpacing()[::-1])


@pytest.mark.shared
@pytest.mark.parametrize("name", ["brain1", "brain2", "breast1", "lung1"])
def test_cases_of_pyradiomics(shared_data, name):
    image = sitk.ReadImage(str(shared_data / "pyradiomics_cases" / f"{name}_label.nrrd"))
    assert_parity(sitk.GetArrayFromImage(image) == 1, image.GetSpacing()[::-1])


@pytest.mark.shared
def test_ibsi_digital_phantom(shared_data):
    folder = shared_data / "ibsi"
    reference = pd.read_csv(folder / "ibsi1_reference_values.csv")
    reference = reference[reference["config"] == "digital_phantom"].set_index("tag")
    path = next((folder / "ibsi_1_digital_phantom").rglob("mask.nii*"))
    image = sitk.ReadImage(str(path))
    found = shape_values(
        sitk.GetArrayFromImage(image) != 0, image.GetSpacing()[::-1], definition=Definition.IBSI
    )
    tags = {
        "volume": "MeshVolume", "vol_approx": "VoxelVolume", "area_mesh": "SurfaceArea", "av": "SurfaceVolumeRatio",
        "sphericity": "Sphericity", "diam": "Maximum3DDiameter", "pca_maj_axis": "MajorAxisLength",
        "pca_min_axis": "MinorAxisLength", "pca_least_axis": "LeastAxisLength", "pca_elongation": "Elongation",
        "pca_flatness": "Flatness",
    }  # fmt: skip
    for tag, name in tags.items():
        value, tolerance = reference.loc[f"morph_{tag}", ["reference", "tolerance"]]
        assert abs(float(f"{found[name]:.3g}") - value) <= tolerance + 1e-9, tag


def test_the_farthest_vertices_are_those_of_all_pairs():
    mask, spacing = phantom(5, "blob", 3)
    points = vertices(mask)
    expected = pdist(points * np.array(spacing) / 2).max()
    assert largest_distance(points, spacing) == pytest.approx(expected, rel=1e-12)
    grown = np.kron(mask, np.ones((3, 3, 3), dtype=bool))  # so many vertices that their hull is taken
    points = vertices(grown)
    expected = pdist(points * np.array(spacing) / 2).max()
    assert len(points) > 1500
    assert largest_distance(points, spacing) == pytest.approx(expected, rel=1e-12)


def test_moving_and_scaling_change_what_they_should():
    mask, spacing = phantom(3, "blob", 3)
    moved = shape_values(np.pad(mask, ((5, 0), (0, 2), (3, 1))), spacing)
    doubled = shape_values(mask, tuple(2 * side for side in spacing))
    for name, value in shape_values(mask, spacing).items():
        assert moved[name] == pytest.approx(value, rel=1e-9)
        power = {"MeshVolume": 3, "VoxelVolume": 3, "SurfaceArea": 2, "SurfaceVolumeRatio": -1}.get(
            name, 1 if name.endswith(("Length", "Diameter", "Column", "Row", "Slice")) else 0
        )
        assert doubled[name] == pytest.approx(value * 2.0**power, rel=1e-9), name


@pytest.mark.slow
def test_a_mask_of_ten_million_voxels():
    side = np.linspace(-1, 1, 270)
    mask = side[:, None, None] ** 2 + side[None, :, None] ** 2 + side[None, None, :] ** 2 <= 1
    found = shape_values(mask, (1.0, 1.0, 1.0))
    assert mask.sum() > 10**7
    radius = (270 - 1) / 2
    assert found["MeshVolume"] == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)
    assert found["Maximum3DDiameter"] == pytest.approx(2 * radius, rel=0.01)


def test_an_empty_mask_is_named():
    with pytest.raises(AutoOncoError, match="at least one voxel"):
        shape_values(np.zeros((3, 3), dtype=bool), (1.0, 1.0))


def test_a_mask_that_is_no_picture_and_no_volume_is_named():
    with pytest.raises(AutoOncoError, match="2 or 3 axes"):
        shape_values(np.ones((3, 3, 3), dtype=bool), (1.0, 1.0))


def test_any_label_is_inside():
    mask, spacing = phantom(4, "blob", 3)
    assert shape_values(255 * mask.astype(np.uint8), spacing) == shape_values(mask, spacing)
