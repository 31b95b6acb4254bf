"""Options of the commands, in groups that commands share: each option has its words and its default here alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args, get_type_hints

import typer
from typer.models import OptionInfo, ParameterInfo

from autoonco.completing import OFFERS
from autoonco.errors import AutoOncoError, MissingDependencyError

if TYPE_CHECKING:
    from distributed import Client

    from autoonco.data.manifest import Dataset

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Manifest (.csv), paths relative to it; or folders by class, DICOM, nnU-Net, TotalSegmentator, MedMNIST.",
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL.onco", help="Model file.")]
Scans = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA|SCAN...",
        help="A manifest (.csv), a folder (DICOM too), or image files and DICOM folders.",
    ),
]
TimeLimit = Annotated[str, typer.Option(help="Time for everything: 90s, 10min, 2h.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto.")]
Own = Annotated[
    Path | None,
    typer.Option("--features", help="Table of your own features, keyed by case: .csv or .parquet."),
]
External = Annotated[Path | None, typer.Option(help="A second manifest that judges, never learned from.")]
Repair = Annotated[str, typer.Option(help="resample-mask puts a mask on another grid onto its image's.")]
Folder = Annotated[
    Path | None, typer.Option("--weights-dir", help="Folder of pretrained weights; made by `weights fetch`.")
]
Licences = Annotated[
    str,
    typer.Option(
        "--allow-licences", help="Licences of weights: a,b; permissive and any are words for several."
    ),
]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Which columns are images and masks, and what of their files is read; empty leaves the choice to the data."""

    PANEL: ClassVar[str] = "The scans"

    image: Annotated[str, typer.Option(help="Image column(s); by default image and image_*.")] = ""
    mask: Annotated[str, typer.Option(help="Mask column(s); by default mask and mask_*.")] = ""
    channels: Annotated[
        str, typer.Option(help="Images of a case in a folder: t1,flair; for DICOM ct=CT,pet=PT, or CT.")
    ] = ""
    mask_label: Annotated[str, typer.Option(help="Value(s) of the masks that are lesion: 2, or 1,3.")] = ""
    mask_roi: Annotated[
        str,
        typer.Option(
            help="DICOM segment or ROI, or structure of TotalSegmentator, that is lesion: GTV-1 | GTV-2."
        ),
    ] = ""
    suv: Annotated[str, typer.Option(help="Channel(s) of PET in DICOM to read as SUV by body weight.")] = ""

    def reading(self) -> dict[str, Any]:
        """Return the arguments of `Dataset.from_path` that they stand for."""
        return {
            "image": names_of(self.image) or None,
            "mask": names_of(self.mask) or None,
            "channels": names_of(self.channels) or None,
            "mask_label": self.mask_label or None,
            "mask_roi": self.mask_roi or None,
            "suv": names_of(self.suv) or None,
        }


@dataclass(frozen=True, kw_only=True)
class Cohort(Pictures):
    """How labelled cases are read."""

    PANEL: ClassVar[str] = "The data"

    label: Annotated[str, typer.Option(help="Column of classes.")] = "label"
    classes: Annotated[str, typer.Option(help="Classes to keep, in this order: a,b.")] = ""
    clinical: Annotated[str, typer.Option(help="Clinical columns to use as inputs: a,b.")] = ""
    split: Annotated[str, typer.Option(help="Column that says train, val or test.")] = "split"
    own: Own = None
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Table of labels of a folder, keyed by case, or for DICOM by patient, study or series."
        ),
    ] = None

    def dataset(self, data: Path, *, complete: bool = True) -> Dataset:
        """Return the labelled dataset of a manifest or a folder.

        Not `complete`, faulty rows are left for the data check to tell, see `Dataset.from_frame`.
        """
        from autoonco.data.manifest import Dataset

        dataset = Dataset.from_path(
            data,
            label=self.label,
            classes=names_of(self.classes) or None,
            clinical=names_of(self.clinical),
            split=self.split,
            labels=self.labels,
            complete=complete,
            **self.reading(),
        )
        return dataset if self.own is None else dataset.with_features(self.own)

    def external(self, data: Path | None) -> Dataset | None:
        """Return the dataset of a second manifest, read as the first but for classes and splits; None without one."""
        if data is None:
            return None
        return replace(self, classes="", split="split", labels=None, channels="").dataset(data)


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How models are judged."""

    PANEL: ClassVar[str] = "The judging"

    evaluation: Annotated[
        str, typer.Option(help="auto, external, holdout, nested, leave_one_site_out, splits or none.")
    ] = "auto"
    external: External = None
    splits: Annotated[
        Path | None, typer.Option(help="Table of ready splits: a column a repeat that says train or test.")
    ] = None
    task: Annotated[str, typer.Option(help="classification, or ordinal for grades in an order.")] = (
        "classification"
    )
    metric: Annotated[
        str, typer.Option(help="Score to maximise; by default ROC AUC, of grades the ordinal AUC.")
    ] = ""


@dataclass(frozen=True, kw_only=True)
class Searching:
    """What is searched, and how."""

    PANEL: ClassVar[str] = "The search"

    families: Annotated[str, typer.Option(help="Families to search: a,b. All that apply by default.")] = ""
    preset: Annotated[str, typer.Option(help="quick, standard or thorough.")] = "standard"
    allocation: Annotated[
        str, typer.Option(help="shared: spend where it pays; equal: the same compute for each family.")
    ] = "shared"
    max_trials: Annotated[int | None, typer.Option(help="Stop after so many trials.")] = None
    portfolio: Annotated[str | None, typer.Option(help="File of start configs, or none.")] = None
    weights_dir: Folder = None
    allow_licences: Licences = ""
    networks: Annotated[str, typer.Option(help="The only pretrained networks to search: a,b.")] = ""
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What does the work."""

    PANEL: ClassVar[str] = "The machine"

    jobs: Annotated[int, typer.Option(help="Trials at the same time.")] = 1
    device: Device = "auto"
    dask: Annotated[str, typer.Option(help="Dask scheduler that does the work: HOST:PORT.")] = ""


@dataclass(frozen=True, kw_only=True)
class Care:
    """What becomes of cases that can't be used, and by what the classes are told apart."""

    PANEL: ClassVar[str] = "Cases and classes"

    on_bad_case: Annotated[
        str, typer.Option(help="What to do about a case that can't be used: raise, exclude.")
    ] = "raise"
    repair: Repair = "none"
    threshold: Annotated[
        str, typer.Option(help="How two classes are told apart: most_probable, youden or sensitivity.")
    ] = "most_probable"
    sensitivity: Annotated[float, typer.Option(help="Sensitivity to keep, with --threshold sensitivity.")] = (
        0.9
    )


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the lesion of a scan without a mask is."""

    PANEL: ClassVar[str] = "A lesion that nobody drew"

    missing_mask: Annotated[
        str,
        typer.Option(
            help="Of a case without a mask where the model needs one: raise, or partial for its other members."
        ),
    ] = "raise"
    lesion: Annotated[
        str, typer.Option(help="Where the lesion of one scan without a mask is: x,y,z in millimetres.")
    ] = ""
    box: Annotated[
        str, typer.Option(help="A box around it by two opposite corners: x,y,z,x,y,z in millimetres.")
    ] = ""
    axes: Annotated[
        str, typer.Option(help="What these numbers mean: LPS (DICOM), or RAS (NIfTI, 3D Slicer).")
    ] = "LPS"

    def places(self) -> dict[str, Any]:
        """Return the arguments of `Predictor.predict_tables` that they stand for."""
        return {
            "missing_mask": self.missing_mask,
            "lesion": names_of(self.lesion) or None,
            "box": names_of(self.box) or None,
            "axes": self.axes,
        }


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with each parameter that is a group of options (a dataclass) spread into these options.

    A group that is a context manager is open while the command runs. A shell offers the values of those in `OFFERS`.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}

    @wraps(command)
    def spread(**given: Any) -> None:
        with ExitStack() as stack:
            for name, group in groups.items():
                own = {option.name: given.pop(option.name) for option in _options(group)}
                made = group(**own)
                given[name] = made
                if isinstance(made, AbstractContextManager):
                    stack.enter_context(made)
            command(**given)

    parameters = map(_offering, _parameters(command, hints, groups))
    spread.__signature__ = inspect.Signature(list(parameters))  # type: ignore[attr-defined]
    return spread


def _offering(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter of a command with what a shell offers for its value, if there is something."""
    kind, *infos = get_args(parameter.annotation) or (None,)
    if parameter.name not in OFFERS or not infos or not isinstance(infos[0], ParameterInfo):
        return parameter
    info = copy(infos[0])
    info.autocompletion = OFFERS[parameter.name]
    return parameter.replace(annotation=Annotated[kind, info])


def _parameters(
    command: Callable[..., None], hints: dict[str, Any], groups: dict[str, type]
) -> Iterator[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            yield from _options(groups[name])
        else:
            yield inspect.Parameter(name, kind, default=parameter.default, annotation=hints[name])


def _options(group: type) -> Iterator[inspect.Parameter]:
    """Yield the options of a group as parameters, its own before its bases', under its heading in the help."""
    hints = get_type_hints(group, include_extras=True)
    for one in sorted(fields(group), key=lambda field: field.name not in group.__annotations__):
        infos = [info for info in get_args(hints[one.name])[1:] if isinstance(info, OptionInfo)]
        if infos:
            info = copy(infos[0])
            info.rich_help_panel = getattr(group, "PANEL", None)
            default = inspect.Parameter.empty if one.default is MISSING else one.default
            yield inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[get_args(hints[one.name])[0], info],
            )


def names_of(text: str) -> list[str]:
    """Return the names in a comma-separated text."""
    return [name.strip() for name in text.split(",") if name.strip()]


def names_in(text: str) -> tuple[str, ...] | None:
    """Return the names in a comma-separated text; None for an empty one."""
    return tuple(names_of(text)) or None


def case_names(manifest: Path) -> dict[int, str]:
    """Return what a manifest calls the case of each row, whatever its other columns are called."""
    from autoonco.data.columns import as_text, read_table
    from autoonco.data.rows import names_of_rows

    return dict(enumerate(names_of_rows(as_text(read_table(manifest))), start=1))


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
