"""What a case's artefacts are kept under: the bytes of all its files, those that its headers name included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoonco.data.cache import content_hash
from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.data.readers import read_image
from autoonco.errors import DataError, ImageReadError

MHD = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementDataFile = {}\n"
NRRD = "NRRD0004\n# data file: none.raw\ntype: int16\ndimension: 3\nsizes: 4 3 2\nencoding: raw\nendian: little\n{}\n"
HEADERS = {
    "scan.mhd": MHD.format("scan.raw"),
    "scan.mha": MHD.format("scan.raw"),
    "scan.nrrd": NRRD.format("data file: scan.raw"),
    "short.nrrd": NRRD.format("datafile: ./scan.raw"),
}


def case(path: Path, row: int = 1, **more) -> Case:
    return Case(case=f"c{row}", patient=f"p{row}", images={"image": path}, row=row, **more)


def write(folder: Path, name: str, seed: int) -> Path:
    """A patient's folder: a header that all share, and voxels of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(HEADERS[name])
    voxels = np.random.default_rng(seed).integers(-900, 900, (2, 3, 4)).astype("<i2")
    (folder / "scan.raw").write_bytes(voxels.tobytes())
    return folder / name


@pytest.mark.parametrize("name", HEADERS)
def test_patients_with_equal_headers_share_nothing(tmp_path: Path, name: str) -> None:
    one, other, copy = (
        write(tmp_path / folder, name, seed) for folder, seed in (("a", 1), ("b", 2), ("c", 1))
    )
    assert one.read_bytes() == other.read_bytes()
    assert not np.array_equal(read_image(one), read_image(other))
    assert content_hash(case(one)) != content_hash(case(other))
    assert content_hash(case(one)) == content_hash(case(copy))
    as_mask = [content_hash(case(one, masks={"mask": path})) for path in (one, other)]
    assert as_mask[0] != as_mask[1]
    identities = [Dataset(cases=(case(path),)).identity() for path in (one, other, copy)]
    assert identities[0] == identities[2] != identities[1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scan.mhd", MHD.format("LIST") + "1.raw\n2.raw\n"),
        ("scan.mhd", MHD.format("%02d.raw 1 2 1")),
        ("scan.nrrd", NRRD.format("data file: LIST") + "1.raw\n2.raw\n"),
        ("scan.nrrd", NRRD.format("data file: %d.raw 1 2 1")),
    ],
)
def test_voxels_in_several_files_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    for number in ("1", "2", "01", "02"):
        (tmp_path / f"{number}.raw").write_bytes(bytes(24))
    with pytest.raises(ImageReadError, match="several files"):
        read_image(tmp_path / name)
    with pytest.raises(ImageReadError, match=r"^row 12: .*several files"):
        content_hash(case(tmp_path / name, row=12))


@pytest.mark.parametrize("victim", ["scan.mhd", "scan.raw"])
def test_a_file_that_vanished_is_told_by_row_and_without_its_path(tmp_path: Path, victim: str) -> None:
    path = write(tmp_path, "scan.mhd", 0)
    (tmp_path / victim).unlink()
    with pytest.raises(DataError, match=r"^row 12: ") as caught:
        content_hash(case(path, row=12))
    assert str(tmp_path) not in str(caught.value)
