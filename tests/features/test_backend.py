"""Crops give the numbers that pyradiomics gives on whole images; odd lesions give NaN, never a crash."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from autoonco.data.grids import lesion_box
from autoonco.data.readers import Scan, read_image, read_mask
from autoonco.features.backend import MAX_LEVELS, block_names, compute_blocks, discretise
from autoonco.features.images import Roi, roi_of
from autoonco.features.spec import Binning, ChannelSpec, ExtractionSpec, Kind, Normalise

radiomics = pytest.importorskip("radiomics")
COUNT = Binning(kind="count", value=32)
WIDTH = Binning(kind="width", value=25)
CLASSES = ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")


def features(
    roi: Roi, binning: Binning, *, normalise: Normalise = Normalise.NONE, **filters
) -> dict[str, float]:
    channel = ChannelSpec(name="image", binning=binning, normalise=normalise)
    spec = ExtractionSpec(ndim=roi.image.ndim, channels=(channel,), **filters)
    blocks = spec.blocks(channel)
    found = compute_blocks(roi, blocks)
    names = [name for block in blocks for name in block_names(block)]
    values = np.concatenate([found[block] for block in blocks])
    assert len(set(names)) == len(names) == len(values)
    return dict(zip(names, values.tolist(), strict=True))


def plain_pyradiomics(
    scan: Scan, binning: Binning, *, sigmas=(), wavelet=False, **settings
) -> dict[str, float]:
    """The package's own extractor on the whole image."""
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    how = {"binCount": int(binning.value)} if binning.kind == "count" else {"binWidth": binning.value}
    extractor = RadiomicsFeatureExtractor(additionalInfo=False, minimumROIDimensions=1, **how, **settings)
    extractor.disableAllFeatures()
    is_flat = scan.image.GetDimension() == 2 or settings.get("force2D")
    for name in (*CLASSES, "shape2D" if is_flat else "shape"):
        extractor.enableFeatureClassByName(name)
    if sigmas:
        extractor.enableImageTypeByName("LoG", customArgs={"sigma": list(sigmas)})
    if wavelet:
        extractor.enableImageTypeByName("Wavelet")
    return {name: float(value) for name, value in extractor.execute(scan.image, scan.mask).items()}


def assert_same(found: dict[str, float], expected: dict[str, float], rel: float) -> None:
    ours = {name for name in found if not name.startswith("contour_")}
    assert ours == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=rel, abs=1e-9), name


def phantom(ndim: int, seed: int, side: int = 40) -> Scan:
    """A rough lesion of random size and place, at times touching the border, on correlated noise."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(side - 5, side + 6, ndim))
    noise = sitk.GetImageFromArray(rng.normal(0, 400, shape).astype(np.float32))
    image = sitk.RecursiveGaussian(noise, 1.0)
    axes = np.indices(shape) - np.reshape([rng.integers(0, n) for n in shape], (ndim,) + (1,) * ndim)
    inside = np.sqrt((axes**2).sum(axis=0)) + rng.normal(0, 1, shape) < rng.uniform(4, 9)
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    spacing = rng.uniform(0.5, 2.5, ndim).tolist()
    image.SetSpacing(spacing)
    mask.SetSpacing(spacing)
    return Scan(image=image, mask=mask)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("binning", [COUNT, WIDTH])
def test_volumes_match_pyradiomics(seed, binning):
    scan = phantom(3, seed, side=30)
    expected = plain_pyradiomics(scan, binning)
    assert len(expected) == 107
    assert_same(features(roi_of(scan), binning), expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("binning", [COUNT, WIDTH])
def test_pictures_match_pyradiomics_and_its_one_slice_volumes(seed, binning):
    scan = phantom(2, seed)
    found = features(roi_of(scan), binning)
    assert_same(found, plain_pyradiomics(scan, binning), rel=1e-10)
    slab = Scan(image=sitk.JoinSeries(scan.image), mask=sitk.JoinSeries(scan.mask))
    assert_same(found, plain_pyradiomics(slab, binning, force2D=True), rel=1e-10)
    for name in ("Sphericity", "PerimeterSurfaceRatio", "Elongation", "MeshSurface"):
        assert np.isfinite(found[f"original_shape2D_{name}"])


@pytest.mark.parametrize("ndim", [2, 3])
def test_filters_match_pyradiomics(ndim):
    scan = phantom(ndim, 5, side=24)
    doubled = Scan(
        image=sitk.Cast(scan.image, sitk.sitkFloat64), mask=scan.mask
    )  # its wavelet works in float32
    found = features(roi_of(scan), COUNT, log_sigmas_mm=(1.0,), wavelet="coif1")
    expected = plain_pyradiomics(doubled, COUNT, sigmas=(1.0,), wavelet=True)
    assert found.keys() >= expected.keys()
    close = [found[name] == pytest.approx(value, rel=1e-3, abs=1e-6) for name, value in expected.items()]
    assert np.mean(close) > 0.99  # a voxel at a bin's edge may fall to the other side


@pytest.mark.parametrize("ndim", [2, 3])
def test_textures_of_a_bin_count_ignore_an_affine_map(ndim):
    roi = roi_of(phantom(ndim, 7))
    image = np.round(roi.image)
    one = Roi(image=image, mask=roi.mask, box=roi.box, spacing_mm=roi.spacing_mm)
    other = Roi(image=4 * image - 512, mask=roi.mask, box=roi.box, spacing_mm=roi.spacing_mm)
    left, right = features(one, COUNT), features(other, COUNT)
    assert left["original_firstorder_Mean"] != right["original_firstorder_Mean"]
    for name, value in left.items():
        if "_firstorder_" not in name or name.endswith(("Entropy", "Uniformity", "Skewness", "Kurtosis")):
            assert right[name] == pytest.approx(value, rel=1e-9), name


def test_normalised_first_order_is_the_z_score_of_the_image():
    roi = roi_of(phantom(2, 3))
    values = roi.image.astype(float)
    z = (values - values.mean()) / values.std(ddof=1)
    found = features(roi, COUNT, normalise=Normalise.ZSCORE)
    assert found["original_firstorder_Mean"] == pytest.approx(z[roi.mask].mean(), rel=1e-9)
    assert found["original_firstorder_Maximum"] == pytest.approx(z[roi.mask].max(), rel=1e-9)
    assert found["original_glcm_Contrast"] == features(roi, COUNT)["original_glcm_Contrast"]


def test_levels_against_a_loop():
    rng = np.random.default_rng(0)
    image = rng.integers(-700, 900, (9, 8, 7)).astype(np.float32)
    lesion = rng.random(image.shape) < 0.4
    by_width, by_count = discretise(image, lesion, WIDTH), discretise(image, lesion, COUNT)
    low, high = image[lesion].min(), image[lesion].max()
    for index in np.ndindex(image.shape):
        value = image[index]
        if not lesion[index]:
            assert by_width[index] == by_count[index] == 0
            continue
        assert by_width[index] == value // 25 - low // 25 + 1
        assert by_count[index] == min(32, int(32 * (value - low) / (high - low)) + 1)


@pytest.mark.parametrize("scale", [1.0, 37.0, 1e4, 1e7])
def test_a_narrow_width_is_widened_to_a_multiple(scale):
    image = np.random.default_rng(0).normal(0, 1000 * scale, (20, 20, 20))
    lesion = np.ones(image.shape, dtype=bool)
    levels = discretise(image, lesion, WIDTH)
    assert levels.min() == 1
    assert MAX_LEVELS / 3 < levels.max() <= MAX_LEVELS


def lesion_of(name: str, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    shape = (16,) * ndim
    image = np.random.default_rng(1).normal(100, 20, shape)
    mask = np.zeros(shape, bool)
    centre = (8,) * (ndim - 1)
    if name in ("one voxel", "two parts"):
        mask[(8,) * ndim] = True
        mask[(2,) * ndim] = name == "two parts"
    elif name in ("two voxels", "a line"):
        mask[(*centre, slice(3, 5 if name == "two voxels" else 12))] = True
    else:
        mask[(slice(0, 6),) * ndim] = True
    if name == "constant":
        image[...] = 1000.0
    if name in ("nan", "infinite"):
        image[(2,) * ndim] = np.nan if name == "nan" else np.inf
    if name == "far below 0":
        image -= 1e5
    return image.astype(np.float32), mask


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    "name",
    [
        "one voxel",
        "two voxels",
        "two parts",
        "a line",
        "corner",
        "constant",
        "nan",
        "infinite",
        "far below 0",
    ],
)
def test_odd_lesions_give_numbers_or_nan(name, ndim, capfd):
    image, mask = lesion_of(name, ndim)
    warnings.simplefilter("error")  # 0/0 is no news to the user
    for spacing in (1.0, 0.004, 5.0):
        roi = Roi(image=image, mask=mask, box=lesion_box(mask), spacing_mm=(spacing,) * ndim)
        found = features(roi, COUNT, log_sigmas_mm=(spacing,), wavelet="coif1")
        values = np.array(list(found.values()))
        assert not np.isinf(values).any()
        textures = [value for key, value in found.items() if "_gl" in key]
        if name in ("one voxel", "nan", "infinite"):
            assert np.isnan(textures).all()
        else:
            assert np.isfinite(textures).mean() > 0.5
        assert np.isfinite(found["contour_Solidity"])
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""  # pyradiomics logs to stderr by itself


def test_the_shape_is_kept_when_grey_values_are_not_numbers():
    image, mask = lesion_of("nan", 3)
    found = features(Roi(image=image, mask=mask, box=lesion_box(mask), spacing_mm=(1.0,) * 3), COUNT)
    shape = [value for name, value in found.items() if "_shape_" in name]
    assert len(shape) == 14
    assert np.isfinite(shape).all()


def baseline(folder: Path, case: str) -> dict[str, float]:
    found = {}
    for name in ("shape", *CLASSES):
        column = pd.read_csv(folder / "baseline" / f"baseline_{name}.csv", index_col=0)[case]
        found |= {key: float(value) for key, value in column.items() if key.startswith("original_")}
    return found


def unshifted(values: dict[str, float], mean: float, n_voxels: int, voxel_mm3: float) -> dict[str, float]:
    """The baseline adds 2000 to grey values in three features: sum (x + c)^2 = sum x^2 + 2 c n mean + c^2 n."""
    energy = values["original_firstorder_Energy"] - 2 * 2000 * n_voxels * mean - 2000**2 * n_voxels
    return values | {
        "original_firstorder_Energy": energy,
        "original_firstorder_TotalEnergy": energy * voxel_mm3,
        "original_firstorder_RootMeanSquared": (energy / n_voxels) ** 0.5,
    }


def shared_case(folder: Path, case: str) -> Scan:
    """A scan of pyradiomics, its array as it lies: so pyradiomics takes it, and a mirrored mesh has other sides."""
    image = read_image(folder / f"{case}_image.nrrd")
    mask = read_mask(folder / f"{case}_label.nrrd", label=1)
    for one in (image, mask):
        one.SetDirection(np.eye(3).ravel().tolist())
    return Scan(image=image, mask=mask)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["lung1", "brain1", "breast1", "brain2"])
def test_pyradiomics_own_baseline(shared_data, case):
    folder = shared_data / "pyradiomics_cases"
    roi = roi_of(shared_case(folder, case))
    found = features(roi, WIDTH)
    volume = float(np.prod(roi.spacing_mm))
    expected = unshifted(
        baseline(folder, case), found["original_firstorder_Mean"], int(roi.mask.sum()), volume
    )
    assert len(expected) == 107
    for name, value in expected.items():
        loose = case == "brain1" and "_shape_" in name  # its baseline was made with another mesh
        assert found[name] == pytest.approx(value, rel=1e-3 if loose else 1e-6), name


@pytest.mark.shared
def test_a_real_picture_matches_plain_pyradiomics(shared_data):
    folder = shared_data / "busi"
    row = pd.read_csv(folder / "lesions.csv").query("split == 'train'").iloc[7]
    scan = Scan(image=read_image(folder / row["image"]), mask=read_mask(folder / row["mask"]))
    expected = plain_pyradiomics(scan, COUNT)
    assert_same(features(roi_of(scan), COUNT), expected, rel=1e-10)
    slab = Scan(image=sitk.JoinSeries(scan.image), mask=sitk.JoinSeries(scan.mask))
    assert_same(features(roi_of(scan), COUNT), plain_pyradiomics(slab, COUNT, force2D=True), rel=1e-10)


@pytest.mark.shared
def test_log_on_a_whole_ct_matches_plain_pyradiomics(shared_data):
    scan = shared_case(shared_data / "pyradiomics_cases", "lung1")
    found = features(roi_of(scan), WIDTH, log_sigmas_mm=(2.0,))
    expected = plain_pyradiomics(scan, WIDTH, sigmas=(2.0,))
    assert_same(found, expected, rel=1e-4)


def test_kinds_cover_the_columns_once():
    channel = ChannelSpec(name="image", binning=COUNT)
    blocks = ExtractionSpec(ndim=3, channels=(channel,)).blocks(channel)
    counts = {block.kind: len(block_names(block)) for block in blocks}
    assert counts[Kind.SHAPE] == 14
    assert counts[Kind.FIRSTORDER] == 16
    assert counts[Kind.TEXTURE] == 2 + 24 + 16 + 16 + 14 + 5
