"""Answers as DICOM structured reports: TID 1500 measurement reports in Comprehensive 3D SR, in the images' own study.

A report belongs to a patient: it repeats who that is from the headers of the images, and is the one output of autoonco
that holds identifiers. It is written on request alone. Its content names the case by its row and gives probabilities
(numeric, as `predict_table` has them), the class that is told, the prediction set, whether the case is ambiguous or
unlike the training cases, what computed it (version, SHA-256 of the model file), and that it is for research.
PS3.16 TID 1500, 1501, 4019; the report is preliminary and unverified (PS3.3 C.17.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from autoonco.data.cache import write_atomically
from autoonco.data.case import Case
from autoonco.data.files import is_dicom_source
from autoonco.data.pick import Pick
from autoonco.errors import AutoOncoError, DataError
from autoonco.exporting.sr_content import STATEMENT, Origin, content_of

if TYPE_CHECKING:
    import pydicom

COLUMN = "report"
"""What `with_reports` adds to a table: the name of each case's report, empty where there is none."""
SERIES_NUMBER = 9900
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_MAY_BE_EMPTY = (  # type 2 in the modules of patient and study: there, but without a value
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_SEXES = ("M", "F", "O")


def check_sources(cases: Sequence[Case]) -> None:
    """Raise `DataError` for the first case with an image that is there and not DICOM, or with the row of another."""
    named: dict[int, Case] = {}
    for case in cases:
        if (
            named.setdefault(case.row, case).images != case.images
        ):  # one's report would take the other's place
            raise DataError(
                f"row {case.row}: two cases have this row, and a report is called by it: predict each data set into a "
                "folder of its own."
            )
        for channel, path in case.images.items():
            if path.exists() and not is_dicom_source(path):
                raise DataError(
                    f"row {case.row}, image {channel!r}: a DICOM report refers to DICOM images, got another format. "
                    "Predict the DICOM series itself, or leave --dicom-sr out."
                )


def with_reports(
    tables: Iterator[pd.DataFrame], cases: Sequence[Case], folder: Path, origin: Origin
) -> Iterator[pd.DataFrame]:
    """Yield tables of predictions with the column `COLUMN`, the report of each row written to `folder` before.

    A case without a prediction has no report; one whose report can't be written says why in its message.

    Raises
    ------
    AutoOncoError
        If the rows are of patients.
    """
    waiting = iter(cases)
    for table in tables:
        if "case" not in table:
            raise AutoOncoError(
                "A DICOM report is of one case, not of a patient: ask for a row a case (by='case')."
            )
        names, messages = [], []
        for values in table.itertuples(index=False, name=None):
            row = dict(zip(map(str, table.columns), values, strict=True))
            name, problem = _written(next(waiting), row, folder, origin)
            names.append(name)
            messages.append(" ".join(filter(None, (row["message"], problem))))
        yield table.assign(message=messages, **{COLUMN: names})


def _written(case: Case, row: Mapping[str, Any], folder: Path, origin: Origin) -> tuple[str, str]:
    """Return the name of a row's report and why there is none, each empty where it does not apply."""
    if row["status"] == "error":
        return "", ""
    try:
        report = report_of(case, row, origin)
    except AutoOncoError as error:
        return "", f"No report: {error}"
    name = f"row-{case.row}.dcm"
    write_atomically(folder / name, lambda new: report.save_as(new, enforce_file_format=True))
    return name, ""


def report_of(case: Case, row: Mapping[str, Any], origin: Origin) -> pydicom.Dataset:
    """Return the report of a case: a `highdicom.sr.Comprehensive3DSR`.

    Parameters
    ----------
    case
        The case; its images are DICOM.
    row
        Its row of `predict_table`.
    origin
        What computed it.

    Raises
    ------
    DataError
        If the headers of its images lack what a report needs, or are of several patients.
    """
    images, drawn = sources_of(case)
    try:
        return _document(content_of(case, row, origin, images), [*images, *drawn], origin)
    except (KeyError, ValueError, TypeError, AttributeError) as error:  # its text may repeat what identifies
        raise DataError(
            f"row {case.row}: the headers of its DICOM images are of no kind that a report can be made for "
            f"({type(error).__name__}): export them again from their archive."
        ) from error


def _document(
    content: pydicom.Dataset, evidence: Sequence[pydicom.Dataset], origin: Origin
) -> pydicom.Dataset:
    from highdicom.sr import Comprehensive3DSR
    from pydicom.uid import generate_uid

    document: pydicom.Dataset = Comprehensive3DSR(
        evidence=evidence,
        content=content,
        series_instance_uid=generate_uid(),
        series_number=SERIES_NUMBER,
        series_description=STATEMENT,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="autoonco",
        manufacturer_model_name="autoonco",
        software_versions=origin.version,
        device_serial_number=origin.sha256[:16],
        is_complete=True,
        is_final=False,
        is_verified=False,
        specific_character_set="ISO_IR 192",
    )
    return document


def sources_of(case: Case) -> tuple[list[pydicom.Dataset], list[pydicom.Dataset]]:
    """Return the headers of a case's DICOM images, and of the DICOM objects that its lesion was drawn in.

    Raises
    ------
    DataError
        If one lacks an identifier that a report has to name, or they are of several patients.
    """
    images = [
        header
        for channel, path in case.images.items()
        for header in _headers(path, case.image_pick(channel), of_masks=False)
    ]
    drawn = [
        header
        for name, path in case.masks.items()
        for pick in (case.mask_picks.get(name, Pick()),)
        for one in (path, *pick.also)
        if is_dicom_source(one)
        for header in _headers(one, pick, of_masks=True)
    ]
    if not images:
        raise DataError(f"row {case.row}: it has no image, expected DICOM that a report can refer to.")
    for header in (*images, *drawn):
        _complete(header, case)
    if len({str(header.PatientID) for header in (*images, *drawn)}) > 1:
        raise DataError(
            f"row {case.row}: its DICOM images are of several patients, expected one: correct the row."
        )
    return images, drawn


def _headers(path: Path, pick: Pick, *, of_masks: bool) -> list[pydicom.Dataset]:
    from autoonco.data.dicom_index import one_series, read_header

    files = one_series(path, pick.series, of_masks=of_masks).files if path.is_dir() else (path,)
    return [read_header(file) for file in files]


def _complete(header: pydicom.Dataset, case: Case) -> None:
    """Give a header the elements that have to be there, though they may be empty."""
    for name in _NEEDED:
        if not header.get(name):
            raise DataError(
                f"row {case.row}: a DICOM image of it has no {name}, which a report has to name. Export it again from "
                "its archive."
            )
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, None)
    if header.PatientSex not in _SEXES:
        header.PatientSex = None
