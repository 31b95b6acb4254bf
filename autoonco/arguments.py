"""What users hand in, made ours: times, datasets, cases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from autoonco.data.arrays import ArrayScan, written
from autoonco.data.case import Case
from autoonco.data.columns import SPREADSHEETS
from autoonco.data.contract import read_as
from autoonco.data.feature_table import FeatureTable
from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError, DataError

if TYPE_CHECKING:
    from autoonco.data.checks import CaseFacts, Finding
    from autoonco.features.spec import ExtractionSpec
    from autoonco.nets.access import Access
    from autoonco.settings import Settings

Labelled = Dataset | pd.DataFrame | str | Path
Unlabelled = Labelled | Sequence[Case] | Sequence[str | Path] | ArrayScan | Sequence[ArrayScan]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds(time_limit: str | float) -> float:
    """Return a time limit in seconds.

    Raises
    ------
    AutoOncoError
        If it is no positive time.

    Examples
    --------
    >>> seconds("1h30min"), seconds("90s"), seconds(60)
    (5400.0, 90.0, 60.0)
    """
    try:
        value = float(time_limit)
    except ValueError:
        try:
            value = float(pd.Timedelta(str(time_limit)).total_seconds())
        except ValueError:
            value = float("nan")
    if not 0 < value < float("inf"):
        raise AutoOncoError(
            f"Time limit {time_limit!r} is no time: write seconds, or text like 90s, 10min or 2h."
        )
    return value


def with_labels(data: Any, y: ArrayLike, *, clinical: Sequence[str] = ()) -> Dataset:
    """Return the cases of `data` with the labels `y`, as scikit-learn hands both over; splits are dropped.

    Raises
    ------
    DataError
        If they don't fit together.
    """
    dataset = (
        data
        if isinstance(data, Dataset)
        else Dataset(cases=as_cases(data, clinical=clinical), clinical=tuple(clinical))
    )
    return replace(dataset, split=None, is_clean=None).labelled(y)


def as_labelled(
    data: Labelled,
    *,
    clinical: Sequence[str] = (),
    features: FeatureTable | None = None,
    complete: bool = True,
) -> Dataset:
    """Return a `Dataset` with labels, and with the features of the user's own table where one is given.

    Not `complete`, faulty rows are kept for the data check to tell, see `Dataset.from_frame`.

    Raises
    ------
    DataError
        If there are none.
    """
    if isinstance(data, str | Path):
        data = Dataset.from_path(data, clinical=tuple(clinical), complete=complete)
    if isinstance(data, pd.DataFrame):
        data = Dataset.from_frame(data, clinical=tuple(clinical), complete=complete)
    if not isinstance(data, Dataset):
        raise DataError(f"A Dataset, a manifest file or a table is needed, got {type(data).__name__}.")
    if data.y is None:
        raise DataError("This dataset has no labels: read its manifest with the label column.")
    return data if features is None else data.with_features(features)


def as_cases(
    data: Unlabelled,
    *,
    clinical: Sequence[str] = (),
    image: Sequence[str] | None = None,
    mask: Sequence[str] | None = None,
    features: FeatureTable | None = None,
    reading: Mapping[str, Any] | None = None,
) -> tuple[Case, ...]:
    """Return the cases to predict, in the order given: of a dataset, a manifest, a table, a folder, or image files.

    The columns are those of `Dataset.from_frame`, `reading` holds further arguments of `Dataset.from_path`; `features`
    is a table as for `Dataset.with_features`.
    """
    columns: dict[str, Any] = {"clinical": tuple(clinical), "image": image or None, "mask": mask or None}
    columns |= {name: value for name, value in (reading or {}).items() if value is not None}
    cases = _as_cases(data, columns)
    return cases if features is None else Dataset(cases=cases).with_features(features).cases


def _listed(data: Any) -> list[Any]:
    """Return what a list or an array of paths holds, as scikit-learn hands them over."""
    if not isinstance(data, np.ndarray):
        return list(data)
    if data.dtype.kind not in "UO" or data.ndim != 1:
        raise DataError(
            f"An array {data.shape} of {data.dtype} names no scan, and has no spacing: give image files, or "
            f"ArrayScan(pixels, spacing_mm=...) to predict."
        )
    return list(data.tolist())


@contextmanager
def as_read(data: Unlabelled, *, clinical: Sequence[str] = ()) -> Iterator[tuple[Case, ...]]:
    """Give `as_cases` of `data`, or the cases of `ArrayScan`s, which are in files as long as the block runs."""
    scans = [data] if isinstance(data, ArrayScan) else data
    is_array = isinstance(scans, Sequence) and not isinstance(scans, str) and len(scans) > 0
    if is_array and all(isinstance(scan, ArrayScan) for scan in scans):  # type: ignore[union-attr]
        with TemporaryDirectory(prefix="autoonco-") as folder:
            yield written(scans, Path(folder))  # type: ignore[arg-type]
    else:
        yield as_cases(data, clinical=clinical)


def fitted_to(
    case: Case, channels: Sequence[str], repair: str | None, contract: Mapping[str, Any] | None = None
) -> Case:
    """Return a case to predict as a model reads its own: its one image under the model's name, its mask repaired."""
    return read_as(_named_as(case, channels, repair), contract)


def _named_as(case: Case, channels: Sequence[str], repair: str | None) -> Case:
    if repair == "resample-mask":
        case = replace(case, resample_mask=True)
    if len(channels) != 1 or list(case.images) != ["image"] or channels[0] == "image":
        return case
    masks = {"mask": mask} if (mask := case.mask_of("image")) is not None else {}
    return replace(
        case,
        images={channels[0]: case.images["image"]},
        masks=masks,
        image_picks={channels[0]: case.image_pick("image")},
        mask_picks={"mask": case.mask_pick("image")},
    )


def _as_cases(data: Unlabelled, columns: dict[str, Any]) -> tuple[Case, ...]:
    if isinstance(data, Dataset):
        return data.cases
    if isinstance(data, pd.DataFrame):
        return Dataset.from_frame(data, labelled=False, **columns).cases
    if isinstance(data, str | Path):
        if Path(data).is_dir() or Path(data).suffix.lower() in {".csv", ".tsv", *SPREADSHEETS}:
            return Dataset.from_path(data, labelled=False, **columns).cases
        return Dataset.from_scans([data]).cases
    if isinstance(data, ArrayScan):
        raise DataError("An ArrayScan is predicted by itself or in a list of them, with no other way in.")
    items = _listed(data)
    if all(isinstance(item, Case) for item in items):
        return tuple(item for item in items if isinstance(item, Case))
    if all(isinstance(item, str | Path) for item in items):
        paths = [item for item in items if isinstance(item, str | Path)]
        return Dataset.from_scans(paths, must_exist=False).cases
    raise DataError(
        "To predict, give a Dataset, a manifest (.csv), a table, or image files; got a mixed list."
    )


def reading(observer: object, *others: Callable[[int, int], object]) -> Callable[[int, int], None]:
    """Return what is called with (cases read, all cases): the `others`, and `reading` of an observer that has it."""
    shown = getattr(observer, "reading", None)
    called = [*others, *([] if shown is None else [shown])]

    def told(done: int, n_cases: int) -> None:
        for one in called:
            one(done, n_cases)

    return told


def usable(
    dataset: Dataset, facts: Sequence[CaseFacts], bad: Sequence[Finding], settings: Settings
) -> tuple[Dataset, list[CaseFacts]]:
    """Return the cases, with their facts, that no finding in `bad` rules out.

    Of the columns that have no part in the task those stay that figures of subgroups are by.

    Raises
    ------
    DataError
        With ``on_bad_case="raise"``, or if a finding is about the whole dataset: the finding's own words.
    """
    for finding in bad:
        if finding.row is None or settings.on_bad_case == "raise":
            raise DataError(f"{finding.message} {finding.remedy}")
    from autoonco.evaluation.subgroups import NAMES

    rows = {finding.row for finding in bad}
    keep = [i for i, case in enumerate(dataset.cases) if case.row not in rows]
    left = dataset.subset(keep)
    known = frozenset[str]().union(
        *NAMES.values()
    )  # of the rest, which may tell the label, none goes further
    left = replace(left, others={name: cells for name, cells in left.others.items() if name.lower() in known})
    assert left.y is not None
    if len(set(left.y.tolist())) < len(dataset.classes):
        first = bad[0]
        raise DataError(
            f"No usable case of some class is left, {len(rows)} were excluded: {first.message} {first.remedy}"
        )
    return left, [facts[i] for i in keep]


def with_weights_given(
    settings: Settings,
    *,
    weights_dir: str | Path | None,
    allow_licences: Sequence[str] | None,
    networks: Sequence[str] | None,
) -> Settings:
    """Return `settings` with what was said beside them of pretrained weights; None says nothing.

    What neither says is as the environment of the process does, see `nets.access`; the settings then hold it.
    """
    from autoonco.nets.access import Access

    given = Access.of(
        weights_dir=weights_dir if weights_dir is not None else settings.weights_dir,
        allow_licences=(
            allow_licences
            if allow_licences is not None
            else settings.allow_licences
            if "allow_licences" in settings.model_fields_set
            else None
        ),
        networks=networks if networks is not None else settings.networks,
    )
    changes = {
        "weights_dir": None if given.folder is None else str(given.folder),
        "allow_licences": given.licences,
        "networks": given.networks,
    }
    return settings.model_copy(update=changes)


def access_of(settings: Settings) -> Access:
    """Return which pretrained weights `settings` allow.

    Raises
    ------
    AutoOncoError
        If there is no such folder.
    """
    from autoonco.nets.access import Access

    folder = None if settings.weights_dir is None else Path(settings.weights_dir)
    if folder is not None and not folder.is_dir():
        raise AutoOncoError(
            f"There is no folder {folder} with weights; `autoonco weights fetch NAME --weights-dir DIR` makes one."
        )
    return Access(folder=folder, licences=settings.allow_licences, networks=settings.networks)


def run_path(run_dir: str | Path | None, name: str) -> Path:
    """Return the run folder: the one given, or one under ``runs/`` named by what identifies the run."""
    return Path(run_dir) if run_dir is not None else Path("runs") / name


def feature_table(
    dataset: Dataset, settings: str, *, n_threads: int = 1
) -> tuple[pd.DataFrame, ExtractionSpec]:
    """Return the features of every case of `dataset` and the settings that they were made with.

    Parameters
    ----------
    settings
        A preset or a file, see `autoonco.features.export.settings_of`; presets start from the first default of
        the radiomics family on these data.

    Raises
    ------
    AutoOncoError
        If the settings are none, or no case can be read.
    """
    from autoonco.data.cache import ArtefactCache
    from autoonco.data.checks import inspect
    from autoonco.data.fingerprint import fingerprint
    from autoonco.families import get_family
    from autoonco.features.export import feature_frame, settings_of

    facts = inspect(dataset, n_jobs=n_threads)
    known = fingerprint(dataset, facts)
    spec = settings_of(settings, known, default=get_family("radiomics").defaults(known)[0])
    bad = {case.row: each.error for case, each in zip(dataset.cases, facts, strict=True) if each.error}
    table = feature_frame(dataset.cases, spec, artefacts=ArtefactCache(), n_threads=n_threads, known_bad=bad)
    return table, spec
