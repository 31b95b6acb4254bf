"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoonco.errors import AutoOncoError, MissingDependencyError

if TYPE_CHECKING:
    from distributed import Client

    from autoonco.data.manifest import Dataset

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Manifest (.csv): a row a case, paths relative to it; or class folders, DICOM, nnU-Net, MedMNIST.",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="Table of labels of a folder, keyed by case, or for DICOM by patient, study or series.",
    ),
]
Channels = Annotated[
    str,
    typer.Option("--channels", help="Images of a case in a folder: t1,flair; for DICOM ct=CT,pet=PT, or CT."),
]
MaskLabel = Annotated[
    str, typer.Option("--mask-label", help="Value(s) of the masks that are lesion: 2, or 1,3.")
]
MaskRoi = Annotated[
    str, typer.Option("--mask-roi", help="Segment or ROI of DICOM masks that is lesion: GTV-1 | GTV-2.")
]
Suv = Annotated[str, typer.Option("--suv", help="Channel(s) of PET in DICOM to read as SUV by body weight.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Label = Annotated[str, typer.Option("--label", help="Column of classes.")]
Classes = Annotated[str, typer.Option("--classes", help="Classes to keep, in this order: a,b.")]
Image = Annotated[str, typer.Option("--image", help="Image column(s); by default image and image_*.")]
Mask = Annotated[str, typer.Option("--mask", help="Mask column(s); by default mask and mask_*.")]
Clinical = Annotated[str, typer.Option("--clinical", help="Clinical columns to use as inputs: a,b.")]
Split = Annotated[str, typer.Option("--split", help="Column that says train, val or test.")]
Evaluation = Annotated[
    str, typer.Option(help="auto, external, holdout, nested, leave_one_site_out, splits or none.")
]
External = Annotated[Path | None, typer.Option(help="A second manifest that judges, never learned from.")]
Splits = Annotated[
    Path | None, typer.Option(help="Table of ready splits: a column a repeat that says train or test.")
]
TaskName = Annotated[str, typer.Option("--task", help="classification, or ordinal for grades in an order.")]
Metric = Annotated[
    str, typer.Option(help="Score to maximise; by default ROC AUC, of grades the ordinal AUC.")
]
Own = Annotated[
    Path | None,
    typer.Option("--features", help="Table of your own features, keyed by case: .csv or .parquet."),
]
Allocation = Annotated[
    str, typer.Option(help="shared: spend where it pays; equal: the same compute for each family.")
]
OnBadCase = Annotated[str, typer.Option(help="What to do about a case that can't be used: raise, exclude.")]
Repair = Annotated[
    str, typer.Option("--repair", help="resample-mask puts a mask on another grid onto its image's.")
]
Threshold = Annotated[
    str, typer.Option(help="How two classes are told apart: most_probable, youden or sensitivity.")
]
Sensitivity = Annotated[float, typer.Option(help="Sensitivity to keep, with --threshold sensitivity.")]
Abstain = Annotated[
    bool, typer.Option("--abstain", help="Call ambiguous cases 'uncertain' instead of naming a class.")
]
MissingMask = Annotated[
    str,
    typer.Option(
        help="Of a case without a mask where the model needs one: raise, or partial for its other members."
    ),
]
Lesion = Annotated[
    str,
    typer.Option("--lesion", help="Where the lesion of one scan without a mask is: x,y,z in millimetres."),
]
Box = Annotated[
    str, typer.Option("--box", help="A box around it by two opposite corners: x,y,z,x,y,z in millimetres.")
]
Axes = Annotated[
    str, typer.Option("--axes", help="What these numbers mean: LPS (DICOM), or RAS (NIfTI, 3D Slicer).")
]
Model = Annotated[Path, typer.Argument(metavar="MODEL.onco", help="Model file.")]
Scans = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA|SCAN...",
        help="A manifest (.csv), a folder (DICOM too), or image files and DICOM folders.",
    ),
]
FeatureFile = Annotated[Path, typer.Option("-o", "--out", help="Table to write: .csv or .parquet.")]
Extraction = Annotated[
    str, typer.Option(help="default, original or full, or a .json or .yaml file of settings.")
]


def names_of(text: str) -> list[str]:
    """Return the names in a comma-separated text."""
    return [name.strip() for name in text.split(",") if name.strip()]


def case_names(manifest: Path) -> dict[int, str]:
    """Return what a manifest calls the case of each row, whatever its other columns are called."""
    from autoonco.data.columns import as_text, read_table
    from autoonco.data.rows import names_of_rows

    return dict(enumerate(names_of_rows(as_text(read_table(manifest))), start=1))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What to read of files and folders, as the options say; empty leaves the choice to the data."""

    labels: Path | None = None
    channels: str = ""
    mask_label: str = ""
    mask_roi: str = ""
    suv: str = ""

    def options(self) -> dict[str, Any]:
        """Return the arguments of `Dataset.from_path` that it stands for."""
        return {
            "labels": self.labels,
            "channels": names_of(self.channels) or None,
            "mask_label": self.mask_label or None,
            "mask_roi": self.mask_roi or None,
            "suv": names_of(self.suv) or None,
        }


def dataset_of(
    data: Path,
    *,
    label: str,
    classes: str,
    image: str,
    mask: str,
    clinical: str,
    split: str,
    own: Path | None = None,
    complete: bool = True,
    reading: Reading | None = None,
) -> Dataset:
    """Return the labelled dataset of a manifest or a folder; empty texts leave the choice to it.

    Not `complete`, faulty rows are left for the data check to tell, see `Dataset.from_frame`.
    """
    from autoonco.data.manifest import Dataset

    dataset = Dataset.from_path(
        data,
        label=label,
        classes=names_of(classes) or None,
        image=names_of(image) or None,
        mask=names_of(mask) or None,
        clinical=names_of(clinical),
        split=split,
        complete=complete,
        **(reading or Reading()).options(),
    )
    return dataset if own is None else dataset.with_features(own)


def external_of(
    data: Path | None,
    *,
    label: str,
    image: str,
    mask: str,
    clinical: str,
    own: Path | None,
    reading: Reading | None = None,
) -> Dataset | None:
    """Return the dataset of a second manifest, read as the first but for its classes and splits; None without one."""
    if data is None:
        return None
    return dataset_of(
        data,
        label=label,
        classes="",
        image=image,
        mask=mask,
        clinical=clinical,
        split="split",
        own=own,
        reading=None if reading is None else replace(reading, labels=None, channels=""),
    )


def client_of(address: str) -> Client:
    """Return a client of the Dask scheduler at `address`."""
    try:
        from distributed import Client
    except ImportError:
        raise MissingDependencyError(
            "--dask needs the package distributed: pip install 'autoonco[dask]'."
        ) from None
    try:
        return Client(address, timeout="10s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise AutoOncoError(f"No Dask scheduler answers at {address!r}: {error}") from None
