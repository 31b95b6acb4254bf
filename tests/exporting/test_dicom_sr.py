"""Reports say what the table says, belong to the study of the images, and are read by pydicom and highdicom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pandas as pd
import pydicom
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import autoonco
from autoonco.bundle import Bundle
from autoonco.cli import app
from autoonco.data.case import Case
from autoonco.errors import DataError
from autoonco.exporting.dicom_sr import COLUMN, report_of
from autoonco.exporting.sr_content import SCHEME, STATEMENT, Origin
from tests.dicom_files import noise, read_back, slices, write_seg, write_series
from tests.exporting.kinds import VOLUMES

CLASSES = ("benign", "größer")  # a name that needs more than ASCII


class Member:
    """Knows the probability of each row; row 3 can't be predicted."""

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
        if any(case.row == 3 for case in cases):
            raise DataError("row 3: it is too dark.")
        yes = np.array([1 / 3 + 0.1 * case.row for case in cases])
        return np.column_stack([1 - yes, yes])


@pytest.fixture
def model(tmp_path: Path) -> autoonco.AutoOncoClassifier:
    (tmp_path / "m.onco").write_bytes(b"a model")
    found = autoonco.AutoOncoClassifier()
    fingerprint = replace(VOLUMES, classes=CLASSES)
    bundle = Bundle(classes=CLASSES, fingerprint=fingerprint, members=((1.0, Member()),), facts={})
    found._predict_with(bundle, tmp_path / "m.onco")
    return found


def write_patient(root: Path, number: int, **elements: Any) -> Path:
    uid = f"1.2.99.{number}"
    own = {"StudyInstanceUID": f"{uid}.1", "SeriesInstanceUID": f"{uid}.2", "PatientID": f"P{number}"}
    return write_series(root / str(number), slices(noise(), **own | elements))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        write_patient(tmp_path, number)
    (tmp_path / "scans.csv").write_text("image\n1\n2\n3\n")
    return tmp_path / "scans.csv"


def group_of(report: pydicom.Dataset) -> Any:
    document = highdicom.sr.Comprehensive3DSR.from_dataset(report)
    (group,) = document.content.get_image_measurement_groups()
    return group


def told(report: pydicom.Dataset) -> list[tuple[str, str]]:
    """Name and value of each evaluation, in words."""
    found = group_of(report).get_qualitative_evaluations()
    return [(one.name.meaning, one.value.meaning) for one in found]


def test_a_report_says_what_the_table_says(
    model: autoonco.AutoOncoClassifier, manifest: Path, tmp_path: Path
) -> None:
    table = model.to_dicom_sr(manifest, tmp_path / "sr")
    pd.testing.assert_frame_equal(table.drop(columns=[COLUMN]), model.predict_table(manifest))
    assert table[COLUMN].tolist() == ["row-1.dcm", "row-2.dcm", ""]
    assert table["status"].tolist() == ["ok", "ok", "error"]
    assert sorted(item.name for item in (tmp_path / "sr").iterdir()) == ["row-1.dcm", "row-2.dcm"]
    for number in (1, 2):
        report = read_back(tmp_path / "sr" / f"row-{number}.dcm")
        row = table.iloc[number - 1]
        measured = {one.name.meaning: float(one.value) for one in group_of(report).get_measurements()}
        assert measured == {f"Probability of {name}": row[f"probability_{name}"] for name in CLASSES}
        assert ("Predicted class", row["prediction"]) in told(report)
        assert ("Intended use", STATEMENT) in told(report)
        assert ("Ambiguous between classes", "not known") in told(report)


def test_a_report_belongs_to_the_study_of_its_images(
    model: autoonco.AutoOncoClassifier, manifest: Path, tmp_path: Path
) -> None:
    model.to_dicom_sr(manifest, tmp_path / "sr")
    report = read_back(tmp_path / "sr" / "row-2.dcm")
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "2").iterdir())]
    for name in (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "StudyInstanceUID",
        "StudyDate",
        "AccessionNumber",
    ):
        assert report[name].value == images[0][name].value
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert study.StudyInstanceUID == images[0].StudyInstanceUID
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    expected = {str(image.SOPInstanceUID) for image in images}
    assert {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence} == expected
    group = group_of(report)
    assert {str(item.referenced_sop_instance_uid) for item in group.source_images} == expected
    assert report.SeriesInstanceUID not in {image.SeriesInstanceUID for image in images}
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE", "UNVERIFIED", "PRELIMINARY",
    )  # fmt: skip
    assert report.SeriesDescription == STATEMENT
    sha256 = hashlib.sha256(b"a model").hexdigest()
    text = report.to_json()
    assert sha256 in text
    assert autoonco.__version__ in text
    assert str(tmp_path) not in text


def row_of(**changes: Any) -> dict[str, Any]:
    plain = {
        "probability_benign": 0.25,
        "probability_größer": 0.75,
        "prediction": "größer",
        "prediction_set": "",
    }
    trust = {"uncertain": "", "out_of_distribution": "", "status": "ok", "message": ""}
    return {**plain, **trust, **changes}


def case_of(folder: Path, *more: Path, **changes: Any) -> Case:
    images = {f"c{number}": path for number, path in enumerate((folder, *more))}
    return Case(case="SECRETCASE", patient="SECRETPATIENT", images=images, row=7, **changes)


ORIGIN = Origin(version="0", sha256="00", classes=CLASSES)


def test_what_is_doubtful_is_told(tmp_path: Path) -> None:
    row = row_of(
        prediction="uncertain",
        prediction_set="benign|größer",
        uncertain="yes",
        out_of_distribution="geometry, embedding",
        status="partial",
        message="row 7: predicted without a mask, by radiomics alone, not by the model that was judged; and so on.",
    )
    found = told(report_of(case_of(write_patient(tmp_path, 1)), row, ORIGIN))
    assert found[1:] == [
        ("Predicted class", "uncertain"),
        ("Class within the prediction set", "benign"),
        ("Class within the prediction set", "größer"),
        ("Ambiguous between classes", "yes"),
        ("Unlike the training cases in", "geometry"),
        ("Unlike the training cases in", "embedding"),
        ("Status of the prediction", "partial"),
        ("Note on the prediction", f"{row['message'][:63]}…"),
    ]
    plain = told(report_of(case_of(write_patient(tmp_path, 2)), row_of(out_of_distribution="no"), ORIGIN))
    assert ("Unlike the training cases in", "no") in plain
    assert "SECRETCASE" not in str(found)


def test_the_objects_that_the_lesion_was_drawn_in_are_evidence(tmp_path: Path) -> None:
    made = slices(noise())
    folder = write_series(tmp_path / "ct", made)
    seg = write_seg(tmp_path / "seg.dcm", made, {"tumour": np.ones((6, 12, 10), np.uint8)})
    report = report_of(case_of(folder, masks={"mask": seg}), row_of(), ORIGIN)
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    named = {
        str(item.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert named == {str(one.SOPInstanceUID) for one in made} | {str(read_back(seg).SOPInstanceUID)}


def test_headers_that_lack_what_may_be_empty_do(tmp_path: Path) -> None:
    made = slices(noise())
    for one in made:
        for name in (
            "PatientBirthDate",
            "PatientSex",
            "AccessionNumber",
            "StudyID",
            "ReferringPhysicianName",
        ):
            delattr(one, name)
    report = report_of(case_of(write_series(tmp_path / "ct", made)), row_of(), ORIGIN)
    report.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    assert not read_back(tmp_path / "sr.dcm").PatientBirthDate


def test_several_patients_and_missing_identifiers_are_told(
    model: autoonco.AutoOncoClassifier, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"row 7: .*several patients"):
        report_of(case_of(write_patient(tmp_path, 1), write_patient(tmp_path, 2)), row_of(), ORIGIN)
    bare = Case(case="x", patient="x", images={}, row=7)
    with pytest.raises(DataError, match="row 7: it has no image"):
        report_of(bare, row_of(), ORIGIN)
    private = slices(noise(), sop_class="1.2.3.4.5")
    with pytest.raises(DataError, match=r"row 7: .*no kind .*KeyError"):
        report_of(case_of(write_series(tmp_path / "private", private)), row_of(), ORIGIN)
    made = slices(noise())
    for one in made:
        del one.StudyInstanceUID
    folder = write_series(tmp_path / "ct", made)
    with pytest.raises(DataError, match=r"row 7: .*no StudyInstanceUID"):
        report_of(case_of(folder), row_of(), ORIGIN)
    table = model.to_dicom_sr([folder], tmp_path / "sr")
    assert table.loc[0, "status"] == "ok"
    assert table.loc[0, COLUMN] == ""
    assert "No report: row 1" in table.loc[0, "message"]


def test_other_formats_are_refused_before_anything_is_predicted(
    model: autoonco.AutoOncoClassifier, scans: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"row 1, image 'image': .*DICOM.*--dicom-sr"):
        model.to_dicom_sr(scans, tmp_path / "sr")
    assert not (tmp_path / "sr").exists()


def test_no_report_takes_the_place_of_another(
    model: autoonco.AutoOncoClassifier, manifest: Path, tmp_path: Path
) -> None:
    cases = autoonco.Dataset.from_csv(manifest, labelled=False).cases
    with pytest.raises(DataError, match="row 2: two cases"):
        model.to_dicom_sr([*cases[:2], replace(cases[0], row=2)], tmp_path / "sr")
    assert not (tmp_path / "sr").exists()


def test_the_command_writes_them_on_request_alone(
    model: autoonco.AutoOncoClassifier, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoonco.classifier.load", lambda *_, **__: model)
    out = tmp_path / "out.csv"
    words = ["predict", str(tmp_path / "m.onco"), str(manifest), "-o", str(out)]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert COLUMN not in pd.read_csv(out)
    found = CliRunner().invoke(app, [*words, "--dicom-sr", str(tmp_path / "sr")])
    assert found.exit_code == 0, found.output
    assert pd.read_csv(out)[COLUMN].fillna("").tolist() == ["row-1.dcm", "row-2.dcm", ""]
    assert SCHEME in str(read_back(tmp_path / "sr" / "row-1.dcm"))
