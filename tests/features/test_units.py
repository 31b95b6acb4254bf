"""Units scale as their features do: in a voxel grid twice as wide, and in grey values ten times as large."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.families.radiomics import family
from autoonco.features.blocks import extract_table
from autoonco.features.choices import spec_of
from autoonco.features.export import PRESETS
from autoonco.features.units import unit_of
from tests.fingerprints import PICTURES

VOLUMES = replace(PICTURES, ndim=3, has_mask=True, spacing_mm=(1.0, 1.0, 1.0), shape=(20, 20, 20))


def features(folder: Path, *, spacing_mm: float, gain: float) -> dict[str, float]:
    """Original features of one lumpy lesion, its grid and grey values scaled."""
    rng = np.random.default_rng(3)
    z, y, x = np.mgrid[:20, :20, :20]
    mask = ((z - 10) / 6) ** 2 + ((y - 9) / 5) ** 2 + ((x - 10) / 7) ** 2 < 1
    files = {}
    for name, array in (("image", gain * rng.gamma(3, 10, mask.shape)), ("mask", mask.astype(np.uint8))):
        picture = sitk.GetImageFromArray(array)
        picture.SetSpacing((spacing_mm,) * 3)
        files[name] = folder / f"{name}-{spacing_mm}-{gain}.nrrd"
        sitk.WriteImage(picture, files[name])
    case = Case(case="a", patient="a", images={"image": files["image"]}, masks={"mask": files["mask"]}, row=1)
    default = family.defaults(VOLUMES)[0]
    spec = spec_of({**default, **PRESETS["original"], "normalise": "none"}, VOLUMES)
    values, names = extract_table([case], spec, artefacts=ArtefactCache(folder / "cache"))
    return dict(zip(names, values[0], strict=True))


@pytest.mark.parametrize(("what", "factor"), [("mm", 2.0), ("grey", 10.0)])
def test_a_feature_grows_as_its_unit_says(what: str, factor: float, tmp_path: Path) -> None:
    plain = features(tmp_path, spacing_mm=1.0, gain=1.0)
    scaled = (
        features(tmp_path, spacing_mm=2.0, gain=1.0)
        if what == "mm"
        else features(tmp_path, spacing_mm=1.0, gain=10.0)
    )
    pattern = re.compile(r"(1/)?mm([²³]?)" if what == "mm" else r"()grey value(²?)")
    grew = 0
    for name, value in plain.items():
        found = re.search(pattern, unit_of(name))
        power = 0 if found is None else {"": 1, "²": 2, "³": 3}[found[2]] * (-1 if found[1] else 1)
        expected = value * factor**power
        assert scaled[name] == pytest.approx(expected, rel=1e-4, abs=1e-6), (name, unit_of(name))
        grew += power != 0
    assert grew > 8
