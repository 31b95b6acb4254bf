"""PET in SUV by body weight: the formula by hand, each vendor's time, and a named error for each missing element."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from autoonco.data.files import read_image
from autoonco.data.pick import Pick
from autoonco.errors import ImageReadError
from tests.dicom_files import PT, noise, slices, write_series

HALF_LIFE_S = 6586.2
DOSE_BQ, WEIGHT_KG = 370e6, 74.0
STORED = np.abs(noise((4, 6, 5)))


def pet(**changes: Any) -> list[Dataset]:
    """A series scanned an hour after the injection; an element of value None is left out."""
    drug = Dataset()
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = DOSE_BQ, HALF_LIFE_S
    drug.RadiopharmaceuticalStartTime = "090000"
    named: dict[str, Any] = {
        "Units": "BQML", "CorrectedImage": ["ATTN", "DECY", "SCAT"], "DecayCorrection": "START",
        "SeriesDate": "20260102", "SeriesTime": "100000", "AcquisitionDate": "20260102", "AcquisitionTime": "100000",
        "PatientWeight": WEIGHT_KG, "RadiopharmaceuticalInformationSequence": [drug], "RescaleSlope": 7.0,
        "RescaleIntercept": 0,
    }  # fmt: skip
    for name, value in changes.items():
        if name in ("RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime"):
            delattr(drug, name) if value is None else setattr(drug, name, value)
        elif name == "RadiopharmaceuticalStartDateTime":
            setattr(drug, name, value)
        else:
            named[name] = value
    given = {name: value for name, value in named.items() if value is not None}
    made = slices(STORED, sop_class=PT, **given)
    for index, ds in enumerate(made):  # bed by bed
        if given["AcquisitionTime"] == "100000":
            ds.AcquisitionTime = f"10{index:02d}00"
    return made


def suv(folder: Path, made: list[Dataset]) -> np.ndarray:
    return sitk.GetArrayFromImage(read_image(write_series(folder, made), Pick(suv=True)))


def by_hand(minutes: float) -> np.ndarray:
    return STORED * 7.0 * WEIGHT_KG * 1000 / (DOSE_BQ * 0.5 ** (minutes * 60 / HALF_LIFE_S))


@pytest.mark.parametrize(
    ("changes", "minutes"),
    [
        ({}, 60),
        ({"RadiopharmaceuticalStartTime": "090000.500000"}, 60 - 0.5 / 60),
        ({"RadiopharmaceuticalStartDateTime": "20260102083000.000000+0100"}, 90),
        ({"DecayCorrection": "ADMIN"}, 0),
        # somebody processed the series: its time is after the first bed's
        ({"SeriesTime": "173000"}, 60),
        # over midnight, without a date of the injection
        ({"RadiopharmaceuticalStartTime": "233000", "SeriesTime": "003000", "AcquisitionTime": "003500"}, 60),
    ],
    ids=["plain", "fraction", "with date", "to injection", "processed", "midnight"],
)
def test_it_is_activity_over_dose_per_gram(tmp_path: Path, changes: dict[str, Any], minutes: float) -> None:
    np.testing.assert_allclose(suv(tmp_path, pet(**changes)), by_hand(minutes), rtol=1e-5)


def test_without_being_asked_it_stays_activity(tmp_path: Path) -> None:
    image = read_image(write_series(tmp_path, pet()))
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), STORED * 7.0)


def test_a_scanners_own_scan_time_counts_where_the_series_was_processed(tmp_path: Path) -> None:
    made = pet(SeriesTime="173000")
    for ds in made:
        block = ds.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x0D, "DT", "20260102095000.00")
    np.testing.assert_allclose(suv(tmp_path, made), by_hand(50), rtol=1e-5)


def test_counts_take_the_scanners_factor(tmp_path: Path) -> None:
    made = pet(Units="CNTS", PatientWeight=None)
    for ds in made:
        ds.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.00125")
    np.testing.assert_allclose(suv(tmp_path, made), STORED * 7.0 * 0.00125, rtol=1e-5)


def test_what_is_suv_already_stays(tmp_path: Path) -> None:
    np.testing.assert_allclose(suv(tmp_path, pet(Units="GML", SUVType="BW")), STORED * 7.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Units": None}, "needs the element Units"),
        ({"Units": "PROPCPS"}, "units PROPCPS"),
        ({"Units": "CNTS"}, "without the scanner's SUV factor"),
        ({"Units": "GML", "SUVType": "LBM"}, "type LBM"),
        ({"CorrectedImage": ["ATTN"]}, "lacks DECY"),
        ({"CorrectedImage": None}, "lacks ATTN, DECY"),
        ({"DecayCorrection": "NONE"}, "DecayCorrection of the PET is NONE"),
        ({"PatientWeight": None}, "PatientWeight"),
        ({"PatientWeight": 0}, "PatientWeight of the PET is not from"),
        ({"RadiopharmaceuticalInformationSequence": None}, "RadiopharmaceuticalInformationSequence"),
        ({"RadionuclideTotalDose": None}, "RadionuclideTotalDose"),
        ({"RadionuclideTotalDose": 370.0}, "RadionuclideTotalDose of the PET is not from"),
        ({"RadionuclideHalfLife": None}, "RadionuclideHalfLife"),
        ({"RadiopharmaceuticalStartTime": None}, "RadiopharmaceuticalStartTime"),
        ({"RadiopharmaceuticalStartDateTime": "20260104083000"}, "minutes after the injection"),
        ({"SeriesTime": None}, "SeriesTime"),
        ({"Modality": "CT"}, "modality CT, expected PT"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_missing_or_can_not_be_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    made = pet(**{name: value for name, value in changes.items() if name != "Modality"})
    for ds in made:
        ds.Modality = changes.get("Modality", "PT")
    with pytest.raises(ImageReadError, match=words):
        suv(tmp_path, made)


def test_suv_of_anything_but_dicom_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(STORED), str(tmp_path / "pet.nii.gz"))
    with pytest.raises(ImageReadError, match="SUV can be computed of DICOM alone"):
        read_image(tmp_path / "pet.nii.gz", Pick(suv=True))
