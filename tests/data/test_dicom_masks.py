"""DICOM segmentations and structure sets land on the image they were drawn on, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from autoonco.data.case import Case
from autoonco.data.dicom_index import structures_of
from autoonco.data.pick import Pick
from autoonco.data.readers import read_mask, read_scan
from autoonco.errors import AbsentLabelError, DataError, GeometryError, ImageReadError
from tests.dicom_files import PT, noise, slices, write_seg, write_series, write_structures

SHAPE = (6, 12, 10)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def lesion(low: int = 1, high: int = 4) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[low:high, 3:8, 2:7] = 1
    mask[low, 4, 4] = 0  # no symmetry hides a flip
    mask[high - 1, 3:6, 2] = 0
    return mask


def case(image: Path, mask: Path, *rois: str, **more: object) -> Case:
    return Case(
        case="c", patient="p", row=3, images={"image": image}, masks={"mask": mask},
        mask_picks={"mask": Pick(rois=rois)}, **more,
    )  # fmt: skip


def mask_of(scan_case: Case, channel: str = "image") -> np.ndarray:
    scan = read_scan(scan_case, channel)
    assert scan.mask is not None
    assert scan.mask.GetOrigin() == scan.image.GetOrigin()
    return sitk.GetArrayFromImage(scan.mask)


def outline(image_slices: list, place: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """A rectangle (first column, first row, last column, last row; indices) on a slice, in patient coordinates."""
    ds = image_slices[place]
    turn = np.asarray(ds.ImageOrientationPatient, float)
    start = np.asarray(ds.ImagePositionPatient, float)
    rows, columns = (float(step) for step in ds.PixelSpacing)
    x0, y0, x1, y1 = box
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    return np.array([start + turn[:3] * x * columns + turn[3:] * y * rows for x, y in corners])


# --- segmentations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [(1.0, 0, 0, 0, 1.0, 0), SAGITTAL], ids=["axial", "sagittal"])
@pytest.mark.parametrize("is_whole", [True, False], ids=["all slices", "slices with lesion"])
def test_a_segment_lies_where_it_was_drawn(tmp_path: Path, turn: tuple[float, ...], is_whole: bool) -> None:
    made = slices(noise(SHAPE), turn=turn)
    image = write_series(tmp_path / "image", made)
    path = write_seg(tmp_path / "seg.dcm", made, {"tumour": lesion()}, omit_empty_frames=not is_whole)
    assert np.array_equal(mask_of(case(image, path)), lesion())


def test_a_segment_is_chosen_by_name_or_number(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    image = write_series(tmp_path / "image", made)
    other = np.zeros(SHAPE, np.uint8)
    other[5, 9:, 8:] = 1
    path = write_seg(tmp_path / "seg.dcm", made, {"Tumour": lesion(), "Node of Jane": other})
    assert np.array_equal(mask_of(case(image, path, "tumour")), lesion())
    assert np.array_equal(mask_of(case(image, path, "2")), other)
    assert np.array_equal(mask_of(case(image, path, "Tumour", "node of jane")), lesion() | other)
    with pytest.raises(
        ImageReadError, match=r"^row 3, mask of 'image': The mask holds 2 segments.*mask_roi"
    ) as caught:
        mask_of(case(image, path))
    assert "Jane" not in str(caught.value)
    with pytest.raises(AbsentLabelError, match="no segment or ROI 'liver' among its 2"):
        mask_of(case(image, path, "liver"))


def test_a_fractional_segment_counts_from_a_half(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    share = np.random.default_rng(0).uniform(0, 1, SHAPE)
    path = write_seg(tmp_path / "seg.dcm", made, {"tumour": share}, kind="FRACTIONAL")
    found = mask_of(case(write_series(tmp_path / "image", made), path))
    is_clear = np.abs(share - 0.5) > 0.01
    assert np.array_equal(found[is_clear], (share > 0.5)[is_clear])


def test_image_and_mask_may_share_a_folder(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    write_series(tmp_path, made)
    write_seg(tmp_path / "seg.dcm", made, {"tumour": lesion()})
    assert np.array_equal(mask_of(case(tmp_path, tmp_path)), lesion())


def test_a_segment_lies_on_a_single_picture_too(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    write_series(tmp_path / "image", made, seed=None)
    path = write_seg(tmp_path / "seg.dcm", made, {"tumour": lesion()})
    found = mask_of(case(tmp_path / "image" / "IM0002.dcm", path))
    assert np.array_equal(found, lesion()[2])


def test_a_mask_of_another_patient_space_is_refused(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    image = write_series(tmp_path / "image", made)
    others = slices(noise(SHAPE), FrameOfReferenceUID="1.2.3.77")
    path = write_seg(tmp_path / "seg.dcm", others, {"tumour": lesion()})
    with pytest.raises(GeometryError, match=r"row 3.*another frame of reference"):
        mask_of(case(image, path))


def test_a_segment_on_a_coarser_grid_is_resampled_only_when_asked(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    image = write_series(tmp_path / "image", made)
    coarse = slices(noise((3, 6, 5)), spacing=(1.6, 1.4), step=5.0)
    drawn = np.zeros((3, 6, 5), np.uint8)
    drawn[1, 2:4, 1:3] = 1
    path = write_seg(tmp_path / "seg.dcm", coarse, {"tumour": drawn})
    with pytest.raises(GeometryError, match="resample-mask"):
        mask_of(case(image, path))
    assert mask_of(case(image, path, resample_mask=True)).sum() > 0


# --- structure sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [(1.0, 0, 0, 0, 1.0, 0), SAGITTAL], ids=["axial", "sagittal"])
def test_contours_are_filled_on_their_slices_with_holes(tmp_path: Path, turn: tuple[float, ...]) -> None:
    made = slices(noise(SHAPE), turn=turn)
    image = write_series(tmp_path / "image", made)
    contours = [outline(made, place, (1.6, 2.6, 6.4, 8.4)) for place in (1, 2, 3)]
    contours.append(outline(made, 2, (2.6, 3.6, 4.4, 5.4)))
    path = write_structures(tmp_path / "rs.dcm", made[0], {"GTV-1": contours})
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:4, 3:9, 2:7] = 1
    expected[2, 4:6, 3:5] = 0
    assert np.array_equal(mask_of(case(image, path)), expected)


def test_an_roi_is_chosen_and_several_are_joined(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    image = write_series(tmp_path / "image", made)
    rois = {
        "GTV": [outline(made, 2, (1.6, 2.6, 4.4, 5.4))],
        "Nodes": [outline(made, 4, (5.6, 7.6, 8.4, 9.4))],
    }
    path = write_structures(tmp_path / "rs.dcm", made[0], rois)
    first, second = mask_of(case(image, path, "gtv")), mask_of(case(image, path, "nodes"))
    assert first[2].sum() == 9
    assert second[4].sum() == 6
    assert np.array_equal(mask_of(case(image, path, "GTV", "Nodes")), first | second)
    with pytest.raises(ImageReadError, match="2 segments or ROIs"):
        mask_of(case(image, path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: [outline(made, 2, (1, 1, 5, 5)) + np.array([0, 0, 500])], "outside of the image"),
        (
            lambda made: [outline(made, 2, (1, 1, 5, 5)) + np.arange(4)[:, None] * [0, 0, 2]],
            "crosses the slices",
        ),
        (
            lambda made: [outline(made, place, (1, 1, 5, 5)) for place in (0, 2, 4)],
            "5.00 mm apart and the slices 2.50",
        ),
    ],
    ids=["elsewhere", "across", "of a coarser scan"],
)
def test_contours_of_another_scan_are_refused(tmp_path: Path, change, words: str) -> None:
    made = slices(noise(SHAPE))
    image = write_series(tmp_path / "image", made)
    path = write_structures(tmp_path / "rs.dcm", made[0], {"GTV": change(made)})
    with pytest.raises(GeometryError, match=f"row 3.*{words}"):
        mask_of(case(image, path))


def test_a_structure_set_without_a_file_header_is_read_as_images_are(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    image = write_series(tmp_path / "image", made)
    path = write_structures(tmp_path / "rs.dcm", made[0], {"GTV": [outline(made, 2, (1.6, 2.6, 4.4, 5.4))]})
    whole = mask_of(case(image, path))
    stored = pydicom.dcmread(path)
    stored.preamble, stored.file_meta = None, pydicom.dataset.FileMetaDataset()
    pydicom.dcmwrite(path, stored, implicit_vr=True, little_endian=True)
    assert not path.read_bytes()[128:].startswith(b"DICM")
    assert structures_of(path) == [("1", "GTV")]
    assert np.array_equal(mask_of(case(image, path)), whole)


def test_points_are_no_contour(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    image = write_series(tmp_path / "image", made)
    rois = {"GTV": [outline(made, 2, (1, 1, 5, 5))[:1]]}
    path = write_structures(tmp_path / "rs.dcm", made[0], rois, kind="POINT")
    with pytest.raises(ImageReadError, match="no closed contour"):
        mask_of(case(image, path))


def test_a_structure_set_follows_each_image_of_the_case(tmp_path: Path) -> None:
    """Drawn on CT, it is filled there and taken over to PET on another grid in the same space."""
    ct = slices(noise(SHAPE))
    pet_spacing = (1.6, 1.4)
    pet = slices(np.abs(noise((6, 6, 5))), spacing=pet_spacing, sop_class=PT, SeriesInstanceUID="1.2.3.5")
    write_series(tmp_path / "ct", ct)
    write_series(tmp_path / "pet", pet)
    contours = [outline(ct, place, (1.6, 1.6, 7.4, 9.4)) for place in (1, 2, 3)]
    path = write_structures(tmp_path / "rs.dcm", ct[0], {"GTV": contours})
    both = Case(
        case="c",
        patient="p",
        row=1,
        images={"pet": tmp_path / "pet", "ct": tmp_path / "ct"},
        masks={"mask": path},
    )
    on_ct, on_pet = mask_of(both, "ct"), mask_of(both, "pet")
    assert on_ct.sum() == 3 * 8 * 6
    assert np.array_equal(on_pet, on_ct[:, ::2, ::2])


def test_a_name_of_an_roi_for_another_kind_of_mask_is_told(tmp_path: Path) -> None:
    image = write_series(tmp_path / "image", slices(noise(SHAPE)))
    sitk.WriteImage(sitk.GetImageFromArray(lesion()), str(tmp_path / "m.nii.gz"))
    with pytest.raises(DataError, match="mask_roi names a segment or ROI, but the mask is no DICOM"):
        mask_of(case(image, tmp_path / "m.nii.gz", "GTV"))


@pytest.mark.shared
def test_the_contours_of_a_real_scan_give_the_published_mask(shared_data: Path) -> None:
    phantom = shared_data / "ibsi" / "ibsi_1_ct_radiomics_phantom"
    found = read_scan(case(phantom / "dicom" / "image", phantom / "dicom" / "mask"), "image")
    image = read_scan(
        case(phantom / "nifti/image/phantom.nii.gz", phantom / "nifti/mask/mask.nii.gz"), "image"
    )
    assert np.array_equal(sitk.GetArrayFromImage(found.image), sitk.GetArrayFromImage(image.image))
    expected = sitk.GetArrayFromImage(read_mask(phantom / "nifti/mask/mask.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(found.mask), expected)
    assert expected.sum() > 100_000


def test_masks_of_several_files_are_joined(tmp_path: Path) -> None:
    made = slices(noise(SHAPE))
    image = write_series(tmp_path / "image", made)
    low, high = np.zeros((2, *SHAPE), np.uint8)
    low[0:2, 1:4, 1:4], high[4:6, 6:9, 5:8] = 1, 1
    first = write_seg(tmp_path / "a.dcm", made, {"tumour": low})
    second = write_seg(tmp_path / "b.dcm", made, {"tumour": high})
    both = Case(
        case="c", patient="p", row=1, images={"image": image}, masks={"mask": first},
        mask_picks={"mask": Pick(also=(second,))},
    )  # fmt: skip
    assert np.array_equal(mask_of(both), low | high)
    sitk.WriteImage(sitk.GetImageFromArray(low), str(tmp_path / "m.nrrd"))
    mixed = Case(
        case="c", patient="p", row=1, images={"image": image}, masks={"mask": first},
        mask_picks={"mask": Pick(also=(tmp_path / "m.nrrd",))},
    )  # fmt: skip
    with pytest.raises(ImageReadError, match="joined with segmentations alone"):
        mask_of(mixed)
