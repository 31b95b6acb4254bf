"""IBSI-1's CT phantom under configurations B to E, and its morphology under A: what the native features make of it.

The preparation (grid, interpolation, re-segmentation) is written out here after section 2 of the IBSI manual,
so that these tests judge the features alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage

from autoonco.data.grids import lesion_box
from autoonco.features.conventions import Aggregation, Definition
from autoonco.features.first_order import first_order_values
from autoonco.features.images import Roi
from autoonco.features.levels import bin_by_count, bin_by_width
from autoonco.features.shape import shape_values
from autoonco.features.texture_features import texture_values
from tests.features.test_ibsi_textures import FIRST_ORDER, NOT_COMPUTED, TEXTURES, assert_consensus

pytestmark = pytest.mark.shared

MORPHOLOGY = {
    "volume": "MeshVolume", "vol_approx": "VoxelVolume", "area_mesh": "SurfaceArea", "av": "SurfaceVolumeRatio",
    "sphericity": "Sphericity", "diam": "Maximum3DDiameter", "pca_maj_axis": "MajorAxisLength",
    "pca_min_axis": "MinorAxisLength", "pca_least_axis": "LeastAxisLength", "pca_elongation": "Elongation",
    "pca_flatness": "Flatness",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """How the CT is prepared: its grid, what is left of the lesion, and its bins."""

    spacing_mm: tuple[float | None, float, float] | None
    order: int = 1
    low: float = -np.inf
    high: float = np.inf
    sigmas: float = np.inf
    bin_width: float | None = None


CONFIGURATIONS = {
    "a": Configuration(spacing_mm=None, low=-500, high=400, bin_width=25.0),
    "b": Configuration(spacing_mm=(None, 2, 2), low=-500, high=400),
    "c": Configuration(spacing_mm=(2, 2, 2), low=-1000, high=400, bin_width=25.0),
    "d": Configuration(spacing_mm=(2, 2, 2), sigmas=3),
    "e": Configuration(spacing_mm=(2, 2, 2), order=3, low=-1000, high=400, sigmas=3),
}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The scan, the whole lesion, values and levels of what re-segmentation left, and the consensus by tag."""

    grey: np.ndarray
    lesion: np.ndarray
    spacing_mm: tuple[float, ...]
    values: np.ndarray
    levels: np.ndarray
    references: dict[str, tuple[float, float]]

    def tags(self, prefix: str) -> set[str]:
        return {tag for tag in self.references if tag.startswith(f"{prefix}_")} - NOT_COMPUTED


def resampled(array, old_mm, new_mm, order: int):
    """Interpolate on a grid of the same centre, of as many voxels as cover the old one (IBSI, section 2.4)."""
    scale = np.array(new_mm) / np.array(old_mm)
    old = np.array(array.shape)
    new = np.ceil(np.round(old / scale, 6)).astype(int)
    offset = (old - 1) / 2 - (new - 1) / 2 * scale
    return ndimage.affine_transform(
        array.astype(np.float64), scale, offset, output_shape=tuple(new), order=order, mode="nearest"
    )


@cache
def ct(folder: Path):
    """Return grey values and mask as floats, and the voxel sides in their order."""
    images = [
        sitk.ReadImage(str(folder / "ibsi_1_ct_radiomics_phantom" / "nifti" / file))
        for file in ("image/phantom.nii.gz", "mask/mask.nii.gz")
    ]
    arrays = tuple(sitk.GetArrayFromImage(image).astype(np.float64) for image in images)
    return arrays, images[0].GetSpacing()[::-1]


@cache
def prepared(folder: Path, name: str) -> Prepared:
    configuration = CONFIGURATIONS[name]
    table = pd.read_csv(folder / "ibsi1_reference_values.csv")
    rows = table[(table["config"] == f"ct_config_{name}") & table["reference"].notna()]
    references = dict(zip(rows["tag"], zip(rows["reference"], rows["tolerance"], strict=True), strict=True))
    (grey, mask), old = ct(folder)
    spacing = old
    if configuration.spacing_mm is not None:
        spacing = tuple(new or side for new, side in zip(configuration.spacing_mm, old, strict=True))
        grey = np.round(resampled(grey, old, spacing, configuration.order))
        mask = resampled(mask > 0, old, spacing, 1)
    lesion = np.round(mask, 6) >= 0.5  # half of a voxel is half, whatever the interpolation rounds
    mean, spread = grey[lesion].mean(), grey[lesion].std()
    low, high = configuration.low, configuration.high
    if np.isfinite(configuration.sigmas):
        low = max(low, mean - configuration.sigmas * spread)
        high = min(high, mean + configuration.sigmas * spread)
    kept = lesion & (grey >= low) & (grey <= high)
    levels = np.zeros(grey.shape, dtype=np.int64)
    if configuration.bin_width is None:
        levels[kept] = bin_by_count(grey[kept], 32)
    else:
        levels[kept] = bin_by_width(
            grey[kept], configuration.bin_width, definition=Definition.IBSI, lowest=configuration.low
        )
    return Prepared(
        grey=grey, lesion=lesion, spacing_mm=spacing, values=grey[kept], levels=levels, references=references
    )


@pytest.fixture
def folder(shared_data) -> Path:
    return shared_data / "ibsi"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_preparation_leaves_the_voxels_of_the_consensus(folder, name):
    found = prepared(folder, name)
    for stage, count in (("interp", found.lesion.sum()), ("reseg", found.values.size)):
        tag = f"int_mask_vox_count_{stage}_roi"
        assert abs(count - found.references[tag][0]) <= found.references[tag][1], tag


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_morphology(folder, name):
    found = prepared(folder, name)
    values = shape_values(found.lesion, found.spacing_mm, definition=Definition.IBSI)
    for tag, feature in MORPHOLOGY.items():
        assert_consensus(values[feature], found.references[f"morph_{tag}"], tag)


@pytest.mark.parametrize("name", ["b", "c", "d", "e"])
@pytest.mark.parametrize("prefix", ["stat", "ih"])
def test_first_order(folder, name, prefix):
    """Statistics of the grey values, and of the levels: the intensity histogram."""
    case = prepared(folder, name)
    inside = case.levels[case.levels > 0]
    values = case.values if prefix == "stat" else inside
    found = first_order_values(values, spacing_mm=case.spacing_mm, levels=inside, definition=Definition.IBSI)
    names = {**FIRST_ORDER, "entropy": "Entropy", "uniformity": "Uniformity"}
    tags = case.tags(prefix)
    for tag in sorted(tags):
        assert_consensus(found[names[tag.removeprefix(f"{prefix}_")]], case.references[tag], tag)
    assert len(tags) == 15


@pytest.mark.parametrize("prefix", TEXTURES)
@pytest.mark.parametrize("name", ["b", "c", "d", "e"])
def test_textures(folder, name, prefix):
    case = prepared(folder, name)
    kind, features, aggregations = TEXTURES[prefix]
    tags = case.tags(prefix)
    assert len(tags) >= len(features)
    for suffix, aggregation in aggregations.items():
        if not any(tag.endswith(f"_{suffix}") for tag in tags):
            continue
        how = Aggregation(aggregation)
        found = texture_values(case.levels, definition=Definition.IBSI, aggregation=how)[kind]
        for short, feature in features.items():
            tag = f"{prefix}_{short}_{suffix}"
            assert_consensus(found[feature], case.references[tag], tag)
            tags.remove(tag)
    assert not tags


@pytest.mark.parametrize("name", ["c", "d", "e"])
def test_the_package_prepares_the_same_voxels(folder, name):
    """Its grid is that of the whole image though only the lesion's part is made; it doesn't round to whole HU."""
    from autoonco.features.preparation import prepare
    from autoonco.features.spec import Preparation

    configuration, expected = CONFIGURATIONS[name], prepared(folder, name)
    (grey, mask), spacing = ct(folder)
    roi = Roi(image=grey, mask=mask > 0, box=lesion_box(mask), spacing_mm=spacing)
    is_ranged = np.isfinite(configuration.low)
    how = Preparation(
        spacing_mm=2.0,
        cubic=configuration.order == 3,
        value_range=(configuration.low, configuration.high) if is_ranged else None,
        sigmas=configuration.sigmas if np.isfinite(configuration.sigmas) else None,
    )
    (whole,) = prepare(roi, replace(how, value_range=None, sigmas=None))
    found = np.round(whole.image[whole.mask])
    assert np.array_equal(whole.mask[whole.box], expected.lesion[lesion_box(expected.lesion)])
    assert np.abs(found - expected.grey[expected.lesion]).max() <= 1  # where half a HU is rounded
    (kept,) = prepare(roi, how)
    assert np.count_nonzero(kept.mask) == pytest.approx(expected.values.size, rel=1e-3)
