"""PET as standardised uptake value by body weight: activity concentration over injected activity per gram.

The rules are those of the vendor-neutral SUV calculation of the Quantitative Imaging Biomarkers Alliance (QIBA
FDG-PET/CT profile, appendix G): SUV = c [Bq/ml] · weight [g] / dose [Bq], where the dose is that of the time to
which the image is corrected for decay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pydicom

from autoonco.errors import ImageReadError

TAGS = (
    "Units", "SUVType", "CorrectedImage", "DecayCorrection", "SeriesDate", "SeriesTime", "AcquisitionDate",
    "AcquisitionTime", "PatientWeight", "RadiopharmaceuticalInformationSequence",
)  # fmt: skip
"""Elements of a header that are looked at."""

_GE_SCAN = (0x0009, "GEMS_PETD_01", 0x0D)  # scan date and time: to which GE corrects for decay
_PHILIPS_FACTOR = (0x7053, "Philips PET Private Group", 0x00)  # from counts to SUV by body weight
_DAY = timedelta(days=1)
_LEAST_DOSE_BQ, _MOST_DOSE_BQ = 1e6, 1e11  # 1 MBq to 100 GBq; a dose of 370 was meant in MBq
_WEIGHTS_KG = (1.0, 400.0)


def suv_factor(headers: Sequence[pydicom.Dataset]) -> float:
    """Return what turns the rescaled values of a PET series into SUV by body weight.

    Parameters
    ----------
    headers
        Of all its files.

    Raises
    ------
    ImageReadError
        If it is no PET series, an element is missing or implausible, or the image is not corrected for decay and
        attenuation; the message names the element.
    """
    first = headers[0]
    if first.get("Modality") != "PT":
        raise ImageReadError(
            f"SUV was asked for on a series of modality {first.get('Modality') or 'unknown'}, expected PT: name "
            "the PET channel with suv= (--suv)."
        )
    units = str(_needed(first, "Units"))
    if units == "GML":
        if first.get("SUVType") not in (None, "", "BW"):
            raise ImageReadError(f"The PET holds SUV of type {first.SUVType}, expected BW (body weight).")
        return 1.0
    if units == "CNTS":
        return _philips_factor(first)
    if units != "BQML":
        raise ImageReadError(
            f"The PET is in units {units}, expected BQML, GML or CNTS: SUV can't be computed."
        )
    corrections = {str(one) for one in _several(first.get("CorrectedImage"))}
    if lacking := {"ATTN", "DECY"} - corrections:
        raise ImageReadError(
            f"CorrectedImage of the PET lacks {', '.join(sorted(lacking))}: SUV needs the corrected series."
        )
    return _weight_g(first) / _dose_bq(headers)


def _several(value: Any) -> Sequence[Any]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _needed(header: pydicom.Dataset, name: str) -> Any:
    value = header.get(name)
    if value is None or value == "":
        raise ImageReadError(f"SUV needs the element {name}, which the PET lacks: read it without suv.")
    return value


def _within(value: Any, name: str, unit: str, low: float, high: float) -> float:
    number = float(value)
    # the number itself is a patient's: a finding in a run folder must not hold it
    if not low <= number <= high:
        raise ImageReadError(
            f"{name} of the PET is not from {low:g} to {high:g} {unit}: SUV can't be computed."
        )
    return number


def _weight_g(header: pydicom.Dataset) -> float:
    return 1000 * _within(_needed(header, "PatientWeight"), "PatientWeight", "kg", *_WEIGHTS_KG)


def _philips_factor(header: pydicom.Dataset) -> float:
    value = _private(header, *_PHILIPS_FACTOR)
    if value is None or not float(value) > 0:
        raise ImageReadError("The PET is in counts without the scanner's SUV factor: SUV can't be computed.")
    return float(value)


def _private(header: pydicom.Dataset, group: int, creator: str, element: int) -> Any:
    try:
        return header.private_block(group, creator)[element].value
    except KeyError:
        return None


def _dose_bq(headers: Sequence[pydicom.Dataset]) -> float:
    """Return the activity at the time to which the image is corrected."""
    first = headers[0]
    drug = _needed(first, "RadiopharmaceuticalInformationSequence")[0]
    dose = _within(
        _needed(drug, "RadionuclideTotalDose"), "RadionuclideTotalDose", "Bq", _LEAST_DOSE_BQ, _MOST_DOSE_BQ
    )
    correction = str(_needed(first, "DecayCorrection"))
    if correction == "ADMIN":
        return dose
    if correction != "START":
        raise ImageReadError(f"DecayCorrection of the PET is {correction}, expected START or ADMIN.")
    half_life_s = _within(_needed(drug, "RadionuclideHalfLife"), "RadionuclideHalfLife", "seconds", 1.0, 1e7)
    scan = _scan_time(headers)
    waited = scan - _injection_time(drug, scan)
    if not timedelta(0) <= waited < _DAY:
        raise ImageReadError(
            f"The PET was scanned {waited.total_seconds() / 60:.0f} minutes after the injection, expected 0 to 1440: "
            "its times are wrong."
        )
    return dose * math.pow(2.0, -waited.total_seconds() / half_life_s)


def _scan_time(headers: Sequence[pydicom.Dataset]) -> datetime:
    """Return when the scan began.

    That is the series' time, unless it is after the first acquisition: then somebody processed the series, and the
    scanner's own note or the first acquisition counts.
    """
    acquired = min(
        _moment(_needed(header, "AcquisitionDate"), _needed(header, "AcquisitionTime")) for header in headers
    )
    series = _moment(_needed(headers[0], "SeriesDate"), _needed(headers[0], "SeriesTime"))
    if series <= acquired:
        return series
    noted = _private(headers[0], *_GE_SCAN)
    return acquired if not noted else _moment(str(noted)[:8], str(noted)[8:])


def _injection_time(drug: pydicom.Dataset, scan: datetime) -> datetime:
    """Return when the tracer was given; without a date it was within the day before the scan."""
    whole = str(drug.get("RadiopharmaceuticalStartDateTime") or "")
    if whole:
        return _moment(whole[:8], whole[8:])
    given = _moment(scan.strftime("%Y%m%d"), _needed(drug, "RadiopharmaceuticalStartTime"))
    return given - _DAY if given > scan else given


def _moment(date: Any, time: Any) -> datetime:
    """Return a DICOM date and time (DA YYYYMMDD, TM HHMMSS.FFFFFF; a time zone is the same for all and left out)."""
    clock = str(time).split("+")[0].split("-")[0]
    whole, _, fraction = clock.partition(".")
    try:
        moment = datetime.strptime(f"{date}{whole.ljust(6, '0')}", "%Y%m%d%H%M%S")
        return moment + timedelta(seconds=float(f"0.{fraction or 0}"))
    except ValueError:
        raise ImageReadError(
            "A date or time of the PET can't be understood: SUV can't be computed."
        ) from None
