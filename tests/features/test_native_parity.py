"""Native textures and first order are pyradiomics' own, on phantoms of all kinds and on real scans."""

from __future__ import annotations

import ast
import importlib
import logging

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage

from autoonco.data.readers import read_image, read_mask
from autoonco.features.conventions import Aggregation
from autoonco.features.first_order import first_order_values
from autoonco.features.levels import bin_by_count, bin_by_width
from autoonco.features.texture_features import texture_values

radiomics = pytest.importorskip("radiomics")
radiomics.setVerbosity(60)
logging.getLogger("radiomics").setLevel(logging.CRITICAL)
CLASSES = {
    "firstorder": "FirstOrder", "glcm": "GLCM", "glrlm": "GLRLM", "glszm": "GLSZM", "gldm": "GLDM", "ngtdm": "NGTDM",
}  # fmt: skip
KINDS = ("ball", "border", "parts", "sparse", "two levels", "flat", "slice", "picture", "256 levels", "line")


def theirs(image, lesion, spacing_mm, **settings) -> dict[str, dict[str, float]]:
    pair = [sitk.GetImageFromArray(np.ascontiguousarray(array)) for array in (image, lesion.astype(np.uint8))]
    for item in pair:
        item.SetSpacing([float(s) for s in spacing_mm[::-1]])
    found = {}
    for name, suffix in CLASSES.items():
        extractor = getattr(importlib.import_module(f"radiomics.{name}"), f"Radiomics{suffix}")(
            *pair, **settings
        )
        extractor.enableAllFeatures()
        with np.errstate(all="ignore"):
            found[name] = {feature: float(value) for feature, value in extractor.execute().items()}
    return found


def ours(image, lesion, spacing_mm, *, binCount=None, binWidth=25.0, force2D=False):
    values = image[lesion]
    levels = np.zeros(image.shape, dtype=np.int64)
    levels[lesion] = bin_by_count(values, binCount) if binCount else bin_by_width(values, binWidth)
    first = first_order_values(values, spacing_mm=tuple(spacing_mm), levels=levels)
    aggregation = Aggregation.IN_PLANE if force2D else Aggregation.VOLUME
    return {"firstorder": first} | texture_values(levels, aggregation=aggregation)


def assert_parity(image, lesion, spacing_mm, **settings) -> None:
    found, expected = (f(image, lesion, spacing_mm, **settings) for f in (ours, theirs))
    n = 0
    for name, features in expected.items():
        assert set(found[name]) == set(features)
        for feature, value in features.items():
            where = f"{name} {feature} {settings}"
            assert found[name][feature] == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), where
            n += not np.isnan(value)
    assert n > 50


def phantom(seed: int, kind: str):
    """Grey values, a lesion and a spacing; the lesion has at least two adjacent voxels."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(side) for side in rng.integers(6, 22, 2 if kind == "picture" else 3))
    if kind == "slice":
        axis = seed % 3
        shape = tuple(1 if i == axis else side for i, side in enumerate(shape))
    image = ndimage.gaussian_filter(rng.normal(0, 900, shape), 1.0).astype((np.float32, np.float64)[seed % 2])
    centre = [side / 2 if kind == "ball" else rng.uniform(0, side) for side in shape]
    away = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True)))
    lesion = away + rng.normal(0, 0.7, shape) < rng.uniform(3, 8)
    if kind == "parts":
        lesion |= np.roll(lesion, 9, axis=-1)
        lesion[tuple(side // 2 for side in shape)] = False
    elif kind in ("sparse", "two levels"):
        lesion = rng.random(shape) < rng.uniform(0.15, 0.5)
    elif kind == "line":
        lesion = np.zeros(shape, dtype=bool)
        lesion[1, 2] = True
    if kind == "flat":
        image[:] = seed
    lesion[(0,) * (len(shape) - 1)][:2] = True
    return image, lesion, rng.uniform(0.4, 4, len(shape))


def settings_for(seed: int, kind: str) -> dict[str, object]:
    count = {"two levels": 2, "256 levels": 256}.get(kind, (8, 32, 64)[seed % 3])
    # Of a flat lesion pyradiomics' bin count makes the level in the middle of the range, ours is level 1.
    is_count = count in (2, 256) or (seed % 2 and kind != "flat")
    how = {"binCount": count} if is_count else {"binWidth": (5.0, 12.5, 25.0)[seed % 3]}
    return how if kind == "picture" else {**how, "force2D": seed % 4 == 0 and kind != "slice"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_phantoms(seed, kind):
    assert_parity(*phantom(seed, kind), **settings_for(seed, kind))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 203))
def test_many_phantoms(seed):
    kind = KINDS[seed % len(KINDS)]
    assert_parity(*phantom(seed, kind), **settings_for(seed // len(KINDS), kind))


def lesion_of(image_path, mask_path):
    """The scan and its lesion, cropped to the lesion."""
    image, mask = read_image(image_path), read_mask(mask_path)
    grey, lesion = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(mask) > 0
    box = ndimage.find_objects(lesion.astype(int))[0]
    return grey[box], lesion[box], image.GetSpacing()[::-1]


def sarcoma(folder, modality):
    row = pd.read_csv(folder / "sarcoma3d" / "labels.csv").iloc[1]
    return lesion_of(*(folder / "sarcoma3d" / row[f"{kind}_{modality}"] for kind in ("image", "mask")))


@pytest.mark.shared
@pytest.mark.parametrize(("modality", "bin_width"), [("ct", 25.0), ("mr_t1", 12.5), ("pet", 0.5)])
def test_sarcoma(shared_data, modality, bin_width):
    scan = sarcoma(shared_data, modality)
    assert_parity(*scan, binWidth=bin_width)
    assert_parity(*scan, binCount=64, force2D=True)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["brain1", "brain2", "breast1", "lung1"])
def test_cases_of_pyradiomics(shared_data, name):
    folder = shared_data / "pyradiomics_cases"
    scan = lesion_of(folder / f"{name}_image.nrrd", folder / f"{name}_label.nrrd")
    assert_parity(*scan, binWidth=25)
    assert_parity(*scan, binCount=32)


@pytest.mark.shared
@pytest.mark.parametrize(("task", "manifest"), [("lidc3d", "labels.csv"), ("busi", "lesions.csv")])
def test_nodules_and_pictures(shared_data, task, manifest):
    rows = pd.read_csv(shared_data / task / manifest).iloc[:6]
    for image, mask in zip(rows["image"], rows["mask"], strict=True):
        scan = lesion_of(shared_data / task / image, shared_data / task / mask)
        assert_parity(*scan, binCount=32)


@pytest.mark.shared
@pytest.mark.parametrize("variant", ["", "_FBN", "_2d"])
@pytest.mark.parametrize("case", ["brain1", "brain2", "breast1", "lung1"])
def test_published_baselines_of_pyradiomics(shared_data, case, variant):
    """The values that pyradiomics' own tests expect, from the settings written beside them."""
    folder, n = shared_data / "pyradiomics_cases", 0
    image, lesion, spacing_mm = lesion_of(folder / f"{case}_image.nrrd", folder / f"{case}_label.nrrd")
    for name in CLASSES:
        table = pd.read_csv(folder / "baseline" / f"baseline_{name}.csv", index_col=0)
        if case + variant not in table:
            assert name == "firstorder"
            continue
        column = table[case + variant]
        settings = ast.literal_eval(column["diagnostics_Configuration_Settings"])
        assert not any(settings.get(key) for key in ("resampledPixelSpacing", "normalize", "weightingNorm"))
        assert settings.get("force2Ddimension", 0) == 0
        how = {key: settings[key] for key in ("binCount", "binWidth", "force2D") if settings.get(key)}
        found = ours(image, lesion, spacing_mm, **how)[name]
        shifted = image[lesion] + settings.get("voxelArrayShift", 0)
        energy = first_order_values(shifted, spacing_mm=tuple(spacing_mm))
        for feature, text in column.items():
            feature = feature.removeprefix(f"original_{name}_")
            if feature in found:
                is_energy = feature in ("Energy", "TotalEnergy", "RootMeanSquared")
                value = energy[feature] if is_energy else found[feature]
                assert value == pytest.approx(float(text), rel=1e-6, abs=1e-9), f"{name} {feature}"
                n += 1
    assert n >= 74
