"""DICOM images: values in their unit, slices where they lie, and every doubtful series refused with its reason."""

from __future__ import annotations

import base64
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import HTJ2KLosslessDecoder
from pydicom.uid import JPEGLSLossless, RLELossless

from autoonco.data.dicom_index import series_in
from autoonco.data.files import read_image
from autoonco.data.pick import Pick
from autoonco.errors import ImageReadError
from tests.dicom_files import (
    AXIAL,
    ENHANCED_CT,
    SECONDARY,
    SECRETS,
    base,
    noise,
    save,
    slices,
    with_pixels,
    write_series,
)

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
c, s = np.cos(0.3), np.sin(0.3)
OBLIQUE = (c, s, 0.0, -s * c, c * c, s)
HTJ2K = (
    "/0//UQApQAAAAAAKAAAADAAAAAAAAAAAAAAACgAAAAwAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCI"
    "kJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAKYAAf+TwAAmXfMFB3QAAMAAE0AAE0AAEoA0"
    "/gIHdAC29gOHdADzAId0AMAAE0AAE0AAEoCV/QALdAAc4AAiNAD3AMd0AMAAE8AAFZAABUBD/ACI4nUA3p5Omu0KELP5b9cAnN0A"
    "IIwD1gDAACvgABaUAAKgSARBwlDP/NgCF9fgi3gAXbyLu7iLzUcj/fQ4fnOB7LgAoA/o+gDjtQD/2Q=="
)


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def local_file(name: str) -> Path:
    """One of pydicom's own test files, of those that come with the package."""
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"pydicom has no {name} in its package")
    return Path(str(found))


# --- a series -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [AXIAL, SAGITTAL, OBLIQUE], ids=["axial", "sagittal", "oblique"])
def test_a_series_is_what_itk_reads(tmp_path: Path, turn: tuple[float, ...]) -> None:
    stored = noise()
    folder = write_series(tmp_path, slices(stored, turn=turn, RescaleSlope=2, RescaleIntercept=-1024))
    image = read_image(folder)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    oracle = sitk.ReadImage(names)
    assert np.array_equal(values(image), stored * 2.0 - 1024)
    assert image.GetSize() == oracle.GetSize()
    for mine, theirs in zip(
        (image.GetSpacing(), image.GetOrigin(), image.GetDirection()),
        (oracle.GetSpacing(), oracle.GetOrigin(), oracle.GetDirection()),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_slices_are_ordered_by_place_and_rescaled_each_by_its_own(tmp_path: Path) -> None:
    stored = np.abs(noise())
    made = slices(stored)
    for index, ds in enumerate(made):
        ds.InstanceNumber = len(made) - index  # numbered against their places
        ds.RescaleSlope, ds.RescaleIntercept = 0.5 + index, -3.0 * index
    found = values(read_image(write_series(tmp_path, made)))
    factors = np.arange(len(made))[:, None, None]
    np.testing.assert_allclose(found, stored * (0.5 + factors) - 3.0 * factors, rtol=1e-6)


def test_a_slice_there_twice_counts_once(tmp_path: Path) -> None:
    made = slices(noise())
    folder = write_series(tmp_path, made)
    save(made[2], folder / "copy.dcm")
    assert np.array_equal(values(read_image(folder)), noise())


def test_a_slice_there_twice_with_other_pixels_is_refused(tmp_path: Path) -> None:
    made = slices(noise())
    folder = write_series(tmp_path, made)
    save(with_pixels(made[2], noise(seed=1)[2]), folder / "copy.dcm")
    with pytest.raises(ImageReadError, match="more than once with different pixels"):
        read_image(folder)


def test_of_several_volumes_one_is_named(tmp_path: Path) -> None:
    first, second = noise(), noise(seed=1)
    made = slices(first, EchoTime=10) + slices(second, EchoTime=80)
    folder = write_series(tmp_path, made)
    with pytest.raises(ImageReadError, match=r"2 volumes.*folder\[1\]"):
        read_image(folder)
    assert np.array_equal(values(read_image(folder, Pick(index=0))), first)
    assert np.array_equal(values(read_image(folder, Pick(index=1))), second)
    with pytest.raises(ImageReadError, match="Number 2 is asked for"):
        read_image(folder, Pick(index=2))


def test_missing_slices_are_told(tmp_path: Path) -> None:
    made = slices(noise((9, 4, 4)))
    del made[3:5]
    with pytest.raises(
        ImageReadError, match=r"7\.50 mm after slice 3 of 7, expected 2\.50 mm \(about 2 slices"
    ):
        read_image(write_series(tmp_path, made))


def test_float_noise_of_positions_is_no_uneven_spacing(tmp_path: Path) -> None:
    heights = [2.5 * index + 0.05 * (-1) ** index for index in range(6)]
    image = read_image(write_series(tmp_path, slices(noise(), heights=heights)))
    assert np.array_equal(values(image), noise())
    assert image.GetSpacing()[2] == pytest.approx(2.5, abs=0.03)


def test_uneven_slices_are_interpolated_onto_an_even_grid(tmp_path: Path) -> None:
    heights = [0.0, 2.0, 4.5, 6.5, 8.5, 11.0]
    ramp = np.round(np.array(heights) * 100).astype(np.int16)[:, None, None] * np.ones((1, 4, 5), np.int16)
    image = read_image(write_series(tmp_path, slices(ramp, heights=heights)))
    step = image.GetSpacing()[2]
    assert step == pytest.approx(2.0)
    expected = np.arange(image.GetSize()[2]) * step * 100
    np.testing.assert_allclose(values(image)[:, 2, 2], expected, atol=1e-3)


def test_a_tilted_gantry_is_straightened(tmp_path: Path) -> None:
    """A ball in the patient stays where it is, though each slice is shifted against the next."""
    spacing, step, lean = (0.8, 0.7), 1.5, (0.0, 0.3, 0.0)
    origin, centre = np.array([-10.0, -20.0, 30.0]), np.array([-1.0, -3.0, 45.0])
    z, y, x = np.meshgrid(np.arange(20), np.arange(40), np.arange(26), indexing="ij")
    places = origin + np.stack([0.7 * x, 0.8 * y, 0.0 * z], -1) + np.array([lean]) * (z * step)[..., None]
    places[..., 2] += z * step
    ball = (np.linalg.norm(places - centre, axis=-1) * -10).astype(
        np.int16
    )  # a cone of distance, steep everywhere
    image = read_image(
        write_series(tmp_path, slices(ball, spacing=spacing, step=step, lean=lean, origin=tuple(origin)))
    )
    assert np.allclose(image.GetDirection(), np.eye(3).ravel())
    for moved in ([0.0, 0.0, 0.0], [2.0, 3.0, -4.0], [-3.0, -2.0, 6.0]):
        place = centre + np.array(moved)
        index = image.TransformPhysicalPointToContinuousIndex(place.tolist())
        found = sitk.GetArrayFromImage(image)[tuple(np.rint(index).astype(int)[::-1])]
        there = np.array(image.TransformIndexToPhysicalPoint(np.rint(index).astype(int).tolist()))
        assert found == pytest.approx(-10 * np.linalg.norm(there - centre), abs=3.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImageOrientationPatient": list(SAGITTAL)}, "different directions"),
        ({"PixelSpacing": [0.5, 0.5]}, "different pixel spacings"),
        ({"ImagePositionPatient": None}, "1 of 6 slices don't say where they lie"),
    ],
)
def test_slices_that_are_no_volume_are_refused(tmp_path: Path, changes: dict, words: str) -> None:
    made = slices(noise())
    for name, value in changes.items():
        if value is None:
            delattr(made[4], name)
        else:
            setattr(made[4], name, value)
    with pytest.raises(ImageReadError, match=words):
        read_image(write_series(tmp_path, made))


def test_of_several_series_one_is_named(tmp_path: Path) -> None:
    write_series(tmp_path / "a", slices(noise(), SeriesNumber=2, SeriesDescription="T1 post Jane"))
    other = slices(noise(seed=1), SeriesInstanceUID="1.2.3.5", SeriesNumber=7, SeriesDescription="scout")
    write_series(tmp_path / "b", other)
    (tmp_path / "notes.txt").write_text("no DICOM")
    with pytest.raises(
        ImageReadError, match=r"2 series.*number 2 \(CT, 6 images\), number 7 \(CT, 6 images\)"
    ) as caught:
        read_image(tmp_path)
    assert "Jane" not in str(caught.value)
    for wanted in ("1.2.3.5", "7", "Scout", "sco"):
        assert np.array_equal(values(read_image(tmp_path, Pick(series=wanted))), noise(seed=1))
    with pytest.raises(ImageReadError, match="No series of the folder"):
        read_image(tmp_path, Pick(series="T2"))
    assert np.array_equal(values(read_image(tmp_path / "a")), noise())


def test_a_new_slice_in_a_folder_is_noticed(tmp_path: Path) -> None:
    made = slices(noise())
    folder = write_series(tmp_path, made[:5], seed=None)
    assert read_image(folder).GetSize()[2] == 5
    save(made[5], folder / "late.dcm")
    assert read_image(folder).GetSize()[2] == 6


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ImageReadError, match="no DICOM file"):
        read_image(tmp_path)


GDCM_NAMES = {
    "JPEG 2000": "JPEG2000Lossless",
    "JPEG, process 14": "JPEGLosslessProcess14",
    "JPEG, first-order prediction": "JPEGLosslessProcess14_1",
    "JPEG-LS": "JPEGLSLossless",
}


@pytest.mark.parametrize("name", GDCM_NAMES.values(), ids=GDCM_NAMES)
def test_a_series_that_gdcm_compressed_is_the_same(tmp_path: Path, name: str) -> None:
    made = slices(np.abs(noise((3, 32, 24))), RescaleSlope=1, RescaleIntercept=-100)
    plain = write_series(tmp_path / "plain", made, seed=None)
    for path in plain.iterdir():
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        (tmp_path / "packed").mkdir(exist_ok=True)
        writer.SetFileName(str(tmp_path / "packed" / path.name))
        assert writer.Write()
    syntax = pydicom.dcmread(tmp_path / "packed" / "IM0000.dcm").file_meta.TransferSyntaxUID
    assert syntax.is_compressed
    assert np.array_equal(values(read_image(tmp_path / "packed")), values(read_image(plain)))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda uid: uid.name)
def test_a_compressed_series_is_the_same(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    made = slices(noise((4, 32, 24)), RescaleSlope=1, RescaleIntercept=-100)
    plain = values(read_image(write_series(tmp_path / "plain", made)))
    for ds in made:
        ds.compress(syntax, generate_instance_uid=False)
    assert np.array_equal(values(read_image(write_series(tmp_path / "packed", made))), plain)


# --- single objects -----------------------------------------------------------------------------------------


def test_a_single_file_is_a_picture_with_its_spacing(tmp_path: Path) -> None:
    ds = slices(noise((1, 12, 10)), RescaleSlope=1, RescaleIntercept=-5)[0]
    image = read_image(save(ds, tmp_path / "a.dcm"))
    assert image.GetDimension() == 2
    assert image.GetSpacing() == (0.7, 0.8)
    assert np.array_equal(values(image), noise((1, 12, 10))[0] - 5.0)
    folder = write_series(tmp_path / "one", [ds])
    assert read_image(folder).GetSize() == (10, 12, 1)
    assert read_image(folder).GetSpacing() == (0.7, 0.8, 2.5)


def test_a_file_is_known_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    for name in ("IM000001", "1.2.840.113619", "scan.IMA"):
        path = save(slices(noise((1, 12, 10)))[0], tmp_path / name)
        assert read_image(path).GetSize() == (10, 12)


def test_dark_for_much_is_turned_round(tmp_path: Path) -> None:
    stored = np.arange(120, dtype=np.uint16).reshape(12, 10)
    ds = base(
        SECONDARY, Modality="DX", PhotometricInterpretation="MONOCHROME1", ImagerPixelSpacing=[0.1, 0.2]
    )
    image = read_image(save(with_pixels(ds, stored, bits=12), tmp_path / "a.dcm"))
    assert np.array_equal(values(image), 4095.0 - stored)
    assert image.GetSpacing() == (0.2, 0.1)
    ct = slices(stored[None].astype(np.int16), PhotometricInterpretation="MONOCHROME1")[0]
    assert np.array_equal(values(read_image(save(ct, tmp_path / "b.dcm"))), stored)  # HU stay HU


def test_colour_is_colour_and_equal_channels_are_grey(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3)).astype(np.uint8)
    image = read_image(save(with_pixels(base(SECONDARY, Modality="OT"), pixels), tmp_path / "a.dcm"))
    assert image.GetNumberOfComponentsPerPixel() == 3
    assert np.array_equal(values(image), pixels)
    grey = np.repeat(pixels[..., :1], 3, axis=-1)
    image = read_image(save(with_pixels(base(SECONDARY, Modality="OT"), grey), tmp_path / "b.dcm"))
    assert np.array_equal(values(image), grey[..., 0])


def test_frames_of_a_film_are_named_one_by_one(tmp_path: Path) -> None:
    film = np.random.default_rng(0).integers(0, 255, (5, 9, 7)).astype(np.uint8)
    path = save(with_pixels(base(SECONDARY, Modality="US"), film), tmp_path / "a.dcm")
    with pytest.raises(ImageReadError, match=r"5 frames.*file\.dcm\[0\]"):
        read_image(path)
    assert np.array_equal(values(read_image(path, Pick(index=3))), film[3])
    with pytest.raises(ImageReadError, match="Number 5 is asked for, but there are 5 frames"):
        read_image(path, Pick(index=5))


def enhanced(stored: np.ndarray, order: list[int]) -> Dataset:
    """An enhanced CT whose frames lie in `order`, each with its own rescale slope."""
    ds = base(ENHANCED_CT, Modality="CT")
    measures, turn = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.7], 2.5
    turn.ImageOrientationPatient = list(AXIAL)
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turn]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = []
    for place in order:
        group, position, unit = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [-10, -20, 30 + 2.5 * place]
        unit.RescaleSlope, unit.RescaleIntercept = 1 + place, -place
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [position], [unit]
        ds.PerFrameFunctionalGroupsSequence.append(group)
    return with_pixels(ds, stored[order])


def test_an_enhanced_object_is_a_volume_in_its_own_order(tmp_path: Path) -> None:
    stored = np.abs(noise())
    image = read_image(save(enhanced(stored, [3, 0, 5, 1, 2, 4]), tmp_path / "a.dcm"))
    places = np.arange(6)[:, None, None]
    np.testing.assert_allclose(values(image), stored * (1.0 + places) - places)
    assert image.GetSpacing() == pytest.approx((0.7, 0.8, 2.5))
    assert image.GetOrigin() == (-10, -20, 30)


def test_no_name_leaves_with_an_image(tmp_path: Path) -> None:
    image = read_image(write_series(tmp_path / "s", slices(noise())))
    assert image.GetMetaDataKeys() == ()
    target = tmp_path / "out.nrrd"
    sitk.WriteImage(image, str(target))
    held = target.read_bytes()
    assert not [name for name, value in SECRETS.items() if value.encode() in held]


def test_what_can_not_be_read_says_nothing_of_the_patient(tmp_path: Path) -> None:
    made = slices(noise((9, 4, 4)))
    del made[3]
    folder = write_series(tmp_path / "JaneDoe", made)
    path = save(slices(noise((1, 4, 4)))[0], tmp_path / "cut.dcm")
    path.write_bytes(path.read_bytes()[:-10])
    for broken in (folder, path):
        with pytest.raises(ImageReadError) as caught:
            read_image(broken)
        assert not [value for value in (*SECRETS.values(), "JaneDoe", "P1") if value in str(caught.value)]


# --- pydicom's own files ------------------------------------------------------------------------------------

SAME = [
    ("MR_small.dcm", "MR_small_RLE.dcm"),
    ("MR_small.dcm", "MR_small_jp2klossless.dcm"),
    ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm"),
    ("MR_small.dcm", "MR_small_implicit.dcm"),
    ("MR_small.dcm", "MR_small_bigendian.dcm"),
    ("MR_small.dcm", "MR_small_padded.dcm"),
    ("rtdose.dcm", "rtdose_rle.dcm"),
    ("rtdose.dcm", "rtdose_expb.dcm"),
    ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm"),
]


@pytest.mark.parametrize(("plain", "other"), SAME, ids=[other for _, other in SAME])
def test_one_image_in_two_encodings_is_the_same(plain: str, other: str) -> None:
    assert np.array_equal(values(read_image(local_file(plain))), values(read_image(local_file(other))))


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "JPEG2000.dcm",
        "693_J2KI.dcm",
        "JPEGLSNearLossless_16.dcm",
        "image_dfl.dcm",
    ],
)
def test_grey_files_are_what_itk_reads(name: str) -> None:
    oracle = sitk.GetArrayFromImage(sitk.ReadImage(str(local_file(name))))
    assert np.array_equal(values(read_image(local_file(name))), oracle.reshape(oracle.shape[-2:]))


@pytest.mark.parametrize(
    "name",
    ["SC_rgb_rle.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle_16bit.dcm"],
)
def test_coloured_files_are_coloured(name: str) -> None:
    image = read_image(local_file(name))
    assert image.GetNumberOfComponentsPerPixel() == 3
    assert values(image)[5, 50].argmax() == 0  # the uppermost bar is red
    assert values(image)[5, 50, 0] > 200


def test_a_palette_is_looked_up() -> None:
    path = local_file("examples_palette.dcm")
    ds = pydicom.dcmread(path)
    expected = pydicom.pixels.apply_color_lut(ds.pixel_array, ds)
    found = values(read_image(path)).astype(int)
    assert found.max() > 200
    shift = 8 * (expected.dtype.itemsize - 1)
    assert np.array_equal(found if found.ndim == 3 else np.repeat(found[..., None], 3, -1), expected >> shift)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MR_truncated.dcm", "can't be decoded"),
        ("rtstruct.dcm", "structure set"),
        ("liver_1frame.dcm", "segmentation"),
        ("rtplan.dcm", "no pixels"),
        ("test-SR.dcm", "no pixels"),
        ("waveform_ecg.dcm", "no pixels"),
        ("no_meta.dcm", "no DICOM object"),
    ],
)
def test_files_without_a_picture_are_told(name: str, words: str) -> None:
    with pytest.raises(ImageReadError, match=words):
        read_image(local_file(name))


@pytest.mark.parametrize("name", ["JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_jpeg_of_12_bits_is_read(name: str) -> None:
    """ITK has decoders of its own, which differ from libjpeg by no more than the rounding of a cosine transform."""
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(local_file(name)))).squeeze()
    assert expected.max() > 255
    assert np.array_equal(values(read_image(local_file(name))).squeeze(), expected)


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        (pydicom.uid.HTJ2KLossless, r"High-Throughput JPEG 2000.*pip install 'autoonco\[codecs\]'"),
        (pydicom.uid.MPEG4HP41, "MPEG-4.*can't be read here: export"),
    ],
)
def test_a_compression_that_is_not_read_is_named(
    tmp_path: Path, syntax: pydicom.uid.UID, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = pydicom.dcmread(local_file("MR_small_jp2klossless.dcm"))
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(tmp_path / "x.dcm")
    if syntax == pydicom.uid.HTJ2KLossless:  # also where its decoder is installed
        monkeypatch.setattr(HTJ2KLosslessDecoder, "_available", {})
    with pytest.raises(ImageReadError, match=words):
        read_image(tmp_path / "x.dcm")


def test_high_throughput_jpeg_2000_is_read_with_the_extra_of_codecs(tmp_path: Path) -> None:
    """Counted numbers, encoded by OpenJPH 0.26.3."""
    pytest.importorskip("openjpeg", reason="autoonco[codecs] is not installed")
    ds = pydicom.dcmread(local_file("MR_small_jp2klossless.dcm"))
    ds.Rows, ds.Columns, ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 12, 10, 0, 16, 15
    ds.PixelData = encapsulate([base64.b64decode(HTJ2K)])
    ds.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
    ds.save_as(tmp_path / "x.dcm")
    expected = np.arange(120).reshape(12, 10) * 37 % 4001
    assert np.array_equal(values(read_image(tmp_path / "x.dcm")), expected)


def test_a_dose_is_in_its_unit() -> None:
    ds = pydicom.dcmread(local_file("rtdose.dcm"))
    np.testing.assert_allclose(
        values(read_image(local_file("rtdose.dcm"))), ds.pixel_array * float(ds.DoseGridScaling), rtol=1e-6
    )


def test_a_header_whose_number_of_frames_is_none_is_told_where_a_folder_is_looked_into(
    tmp_path: Path,
) -> None:
    made = slices(noise((2, 4, 4)))
    made[1].NumberOfFrames = 7
    folder = write_series(tmp_path, made)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"IS\x02\x007 ", b"IS\x02\x00x7"))
    with pytest.raises(ImageReadError, match="can't be decoded as DICOM"):
        series_in(folder)
