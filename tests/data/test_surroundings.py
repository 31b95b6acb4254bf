"""What is kept of a scan around its lesion: it gives the same cubes as the scan, and the scan is read once."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data import surroundings as module
from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Intensity
from autoonco.data.greys import Scaling
from autoonco.data.preprocessing import VolumeView
from autoonco.data.surroundings import Surroundings, cut
from autoonco.nets.inputs import InputSpec, crop, crops

VIEWS = [
    VolumeView(size=16, extent_mm=40.0, mask="channel"),
    VolumeView(size=24, margin=0.5, mask="attention"),
    VolumeView(size=16, extent_mm=150.0),  # beyond what is kept at first
    VolumeView(size=32, depth=8, extent_mm=60.0, scaling=Scaling(relative="scan")),
    VolumeView(size=16, focus="whole"),
]


def a_case(
    folder: Path, *, whole_numbers: bool, spacing: tuple[float, float, float] = (0.8, 0.8, 2.5)
) -> Case:
    rng = np.random.default_rng(0)
    shape = (60, 140, 150)
    values = rng.normal(0, 300, shape)
    z, y, x = np.indices(shape)
    mask = ((x - 100) / 12) ** 2 + ((y - 30) / 9) ** 2 + ((z - 22) / 3) ** 2 < 1
    turn = np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, -1]])
    paths = {}
    for name, array in {"image": np.rint(values) if whole_numbers else values, "mask": mask}.items():
        image = sitk.GetImageFromArray(array.astype(np.uint8 if name == "mask" else np.float32))
        image.SetSpacing(spacing)
        image.SetDirection(turn.ravel().tolist())
        image.SetOrigin((3.0, -70.0, 11.0))
        paths[name] = folder / f"{name}.nii.gz"
        sitk.WriteImage(image, str(paths[name]))
    return Case(case="a", patient="a", images={"image": paths["image"]}, masks={"mask": paths["mask"]}, row=1)


def spec_of(view: VolumeView) -> InputSpec:
    return InputSpec(intensity={"image": Intensity.ARBITRARY}, view=view, ndim=3)


@pytest.mark.parametrize("whole_numbers", [True, False])
def test_cubes_of_what_is_kept_equal_those_of_the_scan(whole_numbers: bool, tmp_path: Path) -> None:
    case, cache = a_case(tmp_path, whole_numbers=whole_numbers), ArtefactCache(tmp_path / "cache")
    for view in (*VIEWS, *VIEWS[:2]):
        expected = crop(case, spec_of(view)).astype(int)
        found = crop(case, spec_of(view), cache).astype(int)
        # smoothing begins at another voxel's edge: a rounding step of 255 at most
        assert np.abs(found - expected).max() <= 1


def test_a_second_view_does_not_read_the_scan_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, cache, reads = a_case(tmp_path, whole_numbers=True), ArtefactCache(tmp_path / "cache"), []
    monkeypatch.setattr(
        module, "read_scan", lambda *given, read=module.read_scan: reads.append(given) or read(*given)
    )
    for size, extent in itertools.product((16, 24), (10.0, 20.0, 40.0)):
        crops([case], spec_of(VolumeView(size=size, extent_mm=extent, mask="channel")), cache)
    assert len(reads) == 1
    crops([case], spec_of(VIEWS[2]), cache)
    assert len(reads) == 2
    crops([case], spec_of(dataclasses.replace(VIEWS[2], size=24)), cache)
    assert len(reads) == 2, "what was read for the larger cube is kept"


def test_little_of_a_large_scan_is_kept(tmp_path: Path) -> None:
    from autoonco.data.readers import read_scan

    scan = read_scan(a_case(tmp_path, whole_numbers=True), "image")
    part = cut(scan)
    assert np.prod(part.scan.image.GetSize()) < 0.5 * np.prod(scan.image.GetSize())
    stored = part.to_arrays()
    assert stored["image"].dtype == np.int16
    again = Surroundings.of_arrays(stored)
    assert (sitk.GetArrayFromImage(again.scan.image) == sitk.GetArrayFromImage(part.scan.image)).all()
    np.testing.assert_allclose(again.scan.image.GetDirection(), part.scan.image.GetDirection())
    assert again.value_range == part.value_range == Surroundings.whole(scan).value_range


def test_without_a_lesion_all_of_the_scan_is_kept(tmp_path: Path) -> None:
    from autoonco.data.readers import Scan, read_scan

    scan = read_scan(a_case(tmp_path, whole_numbers=True), "image")
    assert cut(Scan(image=scan.image, mask=None)).scan.image.GetSize() == scan.image.GetSize()
