"""Odd scans through the whole extraction, from the files on: a value, NaN or an error that names the row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.errors import DataError
from autoonco.features.blocks import column_names, extract_table
from autoonco.features.conventions import Aggregation
from autoonco.features.lesions import LesionMode
from autoonco.features.spec import (
    Binning,
    ChannelSpec,
    ExtractionSpec,
    Filter,
    Margin,
    Normalise,
    Preparation,
)

OTHERS = tuple(
    Filter(name=name) for name in ("square", "squareroot", "logarithm", "exponential", "gradient", "lbp")
)
PREPARATIONS = {
    "as it is": Preparation(),
    "regridded": Preparation(spacing_mm=2.0, cubic=True, sigmas=3.0),
    "eroded": Preparation(margin=Margin.ERODED, margin_mm=2.0, lesions=LesionMode.MEAN),
    "ring": Preparation(margin=Margin.RING, margin_mm=2.0, value_range=(-50.0, 50.0)),
}


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A scan with a lesion, and whether grey values and neighbourhoods of it can be told."""

    image: np.ndarray
    mask: np.ndarray
    spacing: float = 1.0
    first_order: bool = True
    textures: bool = True


def odd(kind: str, ndim: int) -> Odd:
    rng = np.random.default_rng(0)
    image = rng.normal(0, 40, (14, 18, 20)[-ndim:])
    mask = np.zeros(image.shape, np.uint8)
    mask[tuple(slice(4, 11) for _ in range(ndim))] = 1
    middle = (7,) * ndim
    match kind:
        case "single voxel":
            mask[:] = 0
            mask[middle] = 1
            return Odd(image=image, mask=mask, textures=False)
        case "one slice":
            mask[:7] = mask[8:] = 0
        case "disconnected":
            mask[6:9] = 0
        case "constant region":
            image[mask > 0] = 5.0
        case "constant image":
            image[:] = 5.0
        case "nan":
            image[middle] = np.nan
            return Odd(image=image, mask=mask, first_order=False, textures=False)
        case "label 255":
            mask *= 255
        case "4 um":
            return Odd(image=image, mask=mask, spacing=0.004)
        case "5 mm":
            return Odd(image=image, mask=mask, spacing=5.0)
        case "negative":
            image -= 5000.0
        case "whole image":
            mask[:] = 1
    return Odd(image=image, mask=mask)


KINDS = (
    "single voxel", "one slice", "disconnected", "constant region", "constant image", "nan", "label 255", "4 um",
    "5 mm", "negative", "whole image",
)  # fmt: skip


def write(folder: Path, image: np.ndarray, mask: np.ndarray, spacing: float = 1.0) -> Case:
    """Write a scan, or a colour picture where the image has an axis more than the mask."""
    is_colour = image.ndim > mask.ndim
    paths = {name: folder / f"{name}.{'png' if is_colour else 'nrrd'}" for name in ("image", "mask")}
    for name, array in (("image", image), ("mask", mask)):
        found = sitk.GetImageFromArray(array, isVector=array.ndim > mask.ndim)
        found.SetSpacing((spacing,) * mask.ndim)
        sitk.WriteImage(found, paths[name])
    return Case(case="c", patient="p", images={"image": paths["image"]}, masks={"mask": paths["mask"]}, row=3)


def everything(
    ndim: int, unit: float, how: Preparation, *, binning: Binning, by_colour: bool = False
) -> ExtractionSpec:
    channel = ChannelSpec(
        name="image",
        binning=binning,
        normalise=Normalise.PERCENTILE,
        preparation=how,
        by_colour=by_colour,
    )
    return ExtractionSpec(
        ndim=ndim,
        channels=(channel,),
        log_sigmas_mm=(unit,),
        wavelet="coif1",
        other_filters=(*OTHERS, Filter(name="gabor", sigma_mm=unit)),
        aggregation=Aggregation.VOLUME if ndim == 2 else Aggregation.IN_PLANE,
        location=True,
    )


def extract(case: Case, spec: ExtractionSpec, folder: Path) -> dict[str, float]:
    table, names = extract_table([case], spec, artefacts=ArtefactCache(folder / "cache"))
    assert names == column_names(spec)
    assert not np.isinf(table).any()
    return dict(zip(names, table[0].tolist(), strict=True))


COUNT = Binning(kind="count", value=16)
WIDTH = Binning(kind="width", value=25.0)


@pytest.mark.parametrize("how", PREPARATIONS.values(), ids=PREPARATIONS)
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_odd_lesions_have_values_or_gaps(tmp_path, kind, ndim, how):
    scan = odd(kind, ndim)
    case = write(tmp_path, scan.image.astype(np.float32), scan.mask, scan.spacing)
    binning = COUNT if how.value_range is None else WIDTH
    found = extract(case, everything(ndim, scan.spacing, how, binning=binning), tmp_path)
    outline = [value for name, value in found.items() if "_VoxelVolume" in name or "_PixelSurface" in name]
    assert np.isfinite(outline).all()
    assert len(outline) == 1
    assert outline[0] > 0
    if how == PREPARATIONS["as it is"]:
        first, textures = (found[f"original_{name}"] for name in ("firstorder_Mean", "glcm_JointEntropy"))
        assert np.isfinite(first) == scan.first_order
        assert np.isfinite(textures) == scan.textures


def test_a_constant_region_has_no_spread_and_one_level(tmp_path):
    scan = odd("constant region", 3)
    case = write(tmp_path, scan.image.astype(np.float32), scan.mask)
    found = extract(case, everything(3, 1.0, Preparation(), binning=COUNT), tmp_path)
    assert found["original_firstorder_Variance"] == pytest.approx(0, abs=1e-12)
    assert found["original_glcm_Contrast"] == 0
    assert found["original_firstorder_Uniformity"] == 1


def test_any_label_is_inside(tmp_path):
    scan = odd("label 255", 3)
    tables = []
    for label in (1, 255):
        folder = tmp_path / str(label)
        folder.mkdir()
        mask = np.where(scan.mask > 0, label, 0).astype(np.uint8)
        case = write(folder, scan.image.astype(np.float32), mask)
        tables.append(extract(case, everything(3, 1.0, Preparation(), binning=COUNT), folder))
    np.testing.assert_equal(*tables)


@pytest.mark.parametrize("spacing", [0.004, 5.0])
def test_lengths_follow_the_spacing(tmp_path, spacing):
    scan = odd("plain", 3)
    found = []
    for side in (1.0, spacing):
        folder = tmp_path / str(side)
        folder.mkdir()
        case = write(folder, scan.image.astype(np.float32), scan.mask, side)
        found.append(extract(case, everything(3, side, Preparation(), binning=COUNT), folder))
    one, other = found
    assert other["original_shape_VoxelVolume"] == pytest.approx(7**3 * spacing**3)
    assert other["original_shape_Sphericity"] == pytest.approx(one["original_shape_Sphericity"], rel=1e-5)
    assert other["original_glcm_Contrast"] == pytest.approx(one["original_glcm_Contrast"])


def test_colours_have_features_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (30, 32, 3)).astype(np.uint8)
    mask = np.zeros((30, 32), np.uint8)
    mask[8:20, 9:22] = 1
    case = write(tmp_path, picture, mask)
    spec = everything(2, 1.0, Preparation(), binning=COUNT, by_colour=True)
    found = extract(case, spec, tmp_path)
    grey = picture.astype(np.float64) @ [0.299, 0.587, 0.114]
    images = {"": grey} | {f"{name}-": picture[..., i] for i, name in enumerate(("red", "green", "blue"))}
    for prefix, image in images.items():
        low, high = np.percentile(image, [1, 99])
        expected = (image[mask > 0].mean() - low) / (high - low)
        assert found[f"{prefix}original_firstorder_Mean"] == pytest.approx(expected, rel=1e-5)
    assert sum(name.startswith("red-") for name in found) == sum(name.startswith("blue-") for name in found)
    alone = extract(case, everything(2, 1.0, Preparation(), binning=COUNT), tmp_path)
    np.testing.assert_equal({name: found[name] for name in alone}, alone)


def test_grey_among_colour_pictures_is_of_every_colour(tmp_path):
    scan = odd("plain", 2)
    case = write(tmp_path, scan.image.astype(np.float32), scan.mask)
    found = extract(case, everything(2, 1.0, Preparation(), binning=COUNT, by_colour=True), tmp_path)
    assert found["red-original_glcm_Contrast"] == found["original_glcm_Contrast"]


@pytest.mark.parametrize("fault", ["empty", "elsewhere"])
def test_what_has_no_lesion_is_named_by_row(tmp_path, fault):
    scan = odd("plain", 3)
    mask = np.zeros_like(scan.mask)
    case = write(tmp_path, scan.image.astype(np.float32), mask if fault == "empty" else scan.mask[:5])
    with pytest.raises(DataError, match="row 3"):
        extract(case, everything(3, 1.0, Preparation(), binning=COUNT), tmp_path)


@pytest.mark.slow
def test_ten_million_voxels(tmp_path):
    values = np.random.default_rng(0).normal(0, 40, (230, 230, 230)).astype(np.float32)
    mask = np.zeros(values.shape, np.uint8)
    mask[5:-5, 5:-5, 5:-5] = 1
    case = write(tmp_path, values, mask)
    channel = ChannelSpec(name="image", binning=COUNT)
    found = extract(case, ExtractionSpec(ndim=3, channels=(channel,)), tmp_path)
    assert found["original_shape_VoxelVolume"] == mask.sum() > 1e7
    assert np.isfinite(list(found.values())).mean() > 0.95
