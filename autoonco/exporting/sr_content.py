"""What a DICOM report says of a case: probabilities as numbers, everything else as coded evaluations.

PS3.16 TID 1500 (measurement report), TID 1501 (measurement and qualitative evaluation group), TID 4019 (algorithm
identification). Concepts that no standard has are ours, in a private coding scheme.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoonco.archive import MANIFEST
from autoonco.bundle import Bundle
from autoonco.data.case import Case
from autoonco.prediction import SEPARATOR

if TYPE_CHECKING:
    import pydicom

STATEMENT = "Research use only, not a medical device"
SCHEME = "99AUTOONCO"
"""The coding scheme of our own concepts; a name that begins with 99 is private (PS3.16 8.2)."""
_LONG_STRING = 64
_PROCEDURES = {
    "CT": ("77477000", "Computed tomography"),
    "MR": ("113091000", "Magnetic resonance imaging"),
    "US": ("16310003", "Ultrasonography"),
    "PT": ("82918005", "Positron emission tomography"),
    "MG": ("71651007", "Mammography"),
}
_ANY_PROCEDURE = ("363679005", "Imaging")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What computed the answers.

    Attributes
    ----------
    version
        Of autoonco.
    sha256
        Of the model file, or of the manifest of an exported folder, which lists the hashes of all its files.
    classes
        Names of the classes.
    """

    version: str
    sha256: str
    classes: tuple[str, ...]

    @classmethod
    def of(cls, bundle: Bundle, path: Path) -> Origin:
        """Return the origin of what the model in `path` answers."""
        file = path / MANIFEST if path.is_dir() else path
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        return cls(version=version("autoonco"), sha256=sha256, classes=tuple(bundle.classes))


def content_of(
    case: Case, row: Mapping[str, Any], origin: Origin, images: Sequence[pydicom.Dataset]
) -> pydicom.Dataset:
    """Return the content of a case's report: the root container of a measurement report (TID 1500).

    Parameters
    ----------
    case
        The case, of which the row is named.
    row
        Its row of `predict_table`.
    origin
        What computed it.
    images
        Headers of its DICOM images.
    """
    from highdicom.sr import MeasurementReport

    report = MeasurementReport(
        observation_context=_observer(origin),
        procedure_reported=_procedure(str(images[0].get("Modality", ""))),
        imaging_measurements=[_group(case, row, origin, images)],
    )
    content: pydicom.Dataset = report[0]
    return content


def _observer(origin: Origin) -> Any:
    from highdicom.sr import (
        CodedConcept,
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.uid import generate_uid

    device = DeviceObserverIdentifyingAttributes(
        uid=generate_uid(
            entropy_srcs=["autoonco", origin.version, origin.sha256]
        ),  # the same model, the same device
        name="autoonco",
        manufacturer_name="autoonco",
        model_name=f"autoonco {origin.version}",
        serial_number=origin.sha256,
    )
    kind = CodedConcept("121007", "DCM", "Device")
    return ObservationContext(
        observer_device_context=ObserverContext(observer_type=kind, observer_identifying_attributes=device)
    )


def _procedure(modality: str) -> Any:
    from highdicom.sr import CodedConcept

    code, meaning = _PROCEDURES.get(modality, _ANY_PROCEDURE)
    return CodedConcept(code, "SCT", meaning)


def _group(case: Case, row: Mapping[str, Any], origin: Origin, images: Sequence[pydicom.Dataset]) -> Any:
    """Return the measurement group (TID 1501): probabilities as numbers, everything else as coded evaluations."""
    from highdicom.sr import (
        AlgorithmIdentification,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=generate_uid(), identifier=f"row {case.row}"),
        algorithm_id=AlgorithmIdentification(
            name="autoonco", version=origin.version, parameters=[f"model SHA-256 {origin.sha256}"]
        ),
        measurements=[
            Measurement(
                name=_own(f"PROB{number}", f"Probability of {name}"),
                value=float(row[f"probability_{name}"]),
                unit=codes.UCUM.NoUnits,
            )
            for number, name in enumerate(origin.classes)
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(name=name, value=value) for name, value in _evaluations(row, origin)
        ],
        source_images=[SourceImageForMeasurementGroup.from_source_image(image) for image in images],
    )


def _evaluations(row: Mapping[str, Any], origin: Origin) -> Iterator[tuple[Any, Any]]:
    """Yield name and value of what is told of a case beside numbers."""
    yield _own("USE", "Intended use"), _own("RESEARCH", STATEMENT)
    yield _own("PREDICTION", "Predicted class"), _class(str(row["prediction"]), origin)
    for name in filter(None, str(row["prediction_set"]).split(SEPARATOR)):
        yield _own("SET", "Class within the prediction set"), _class(name, origin)
    yield _own("UNCERTAIN", "Ambiguous between classes"), _answer(str(row["uncertain"]))
    for part in str(row["out_of_distribution"]).split(", "):
        yield _own("OOD", "Unlike the training cases in"), _answer(part)
    yield _own("STATUS", "Status of the prediction"), _own(str(row["status"]).upper(), str(row["status"]))
    if row["message"]:
        yield _own("NOTE", "Note on the prediction"), _own("MESSAGE", str(row["message"]))


def _class(name: str, origin: Origin) -> Any:
    """Return the code of a class by its position; ``uncertain``, told where a model abstains, has one of its own."""
    code = f"CLASS{origin.classes.index(name)}" if name in origin.classes else "ABSTAINED"
    return _own(code, name)


def _answer(text: str) -> Any:
    """Return yes, no, a part that is unlike, or that it is not known."""
    return _own(text.upper().replace(" ", "")[:16] or "UNKNOWN", text or "not known")


def _own(code: str, meaning: str) -> Any:
    """Return a concept of ours; a meaning that is too long for DICOM ends in an ellipsis (PS3.5, LO: 64 characters)."""
    from highdicom.sr import CodedConcept

    short = meaning if len(meaning) <= _LONG_STRING else meaning[: _LONG_STRING - 1] + "…"
    return CodedConcept(code, SCHEME, short.replace("\\", "/"))
