"""How a run is judged, chosen by the data and the time where the user leaves it open, with the reason in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError, DataError, UnknownNameError
from autoonco.evaluation.split_table import SplitTable
from autoonco.settings import Settings

AUTO, EXTERNAL, HOLDOUT, NESTED, SITES, SPLITS, NONE = EVALUATIONS = (
    "auto",
    "external",
    "holdout",
    "nested",
    "leave_one_site_out",
    "splits",
    "none",
)
# Below this a nested evaluation's searches get too little time to mean anything.
_MIN_NESTED_SEARCH_S = 120.0
# Where the time allows this for each search, the outer folds are repeated, to a number that tests have enough of.
_MIN_REPEATED_SEARCH_S, _MOST_REPEATS = 1800.0, 10
_MANY_PATIENTS = 1000


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A kind of evaluation, how often its outer folds are dealt, and why it was chosen: empty if it was asked for."""

    kind: str
    repeats: int = 1
    why: str = ""


def resolve(
    evaluation: str,
    dataset: Dataset,
    *,
    time_limit_s: float,
    settings: Settings,
    table: SplitTable | None = None,
    has_external: bool = False,
) -> Mode:
    """Return the kind of evaluation that ``"auto"`` means here; other kinds are checked and returned.

    A table of splits is replayed and a test split in the manifest, or an external dataset, is used. Else the data are
    split: one held-out part where there are 1,000 patients or more, and nested folds, which judge with every case,
    where there are fewer. Where each of the nested searches would get less than two minutes, one part is held out, and
    the reason says so.

    Parameters
    ----------
    has_external
        Whether the test split of `dataset` is a dataset of its own.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    DataError
        If the data lack what the kind needs: test cases, sites, or a table of splits.
    AutoOncoError
        If two ways to split are asked for at once.
    """
    if evaluation not in EVALUATIONS:
        raise UnknownNameError("evaluation", evaluation, EVALUATIONS)
    if table is not None and has_external:
        raise AutoOncoError("A table of splits and an external dataset can't both judge: give one of them.")
    for given, kind, name in ((table is not None, SPLITS, "splits"), (has_external, EXTERNAL, "external")):
        if given and evaluation not in (AUTO, kind):
            raise AutoOncoError(
                f"{name}= (--{name}) goes with evaluation {kind!r}, got {evaluation!r}: leave one of them out."
            )
    if evaluation == AUTO:
        return _chosen(dataset, time_limit_s=time_limit_s, settings=settings, table=table)
    _require(evaluation, dataset, table)
    repeats = _repeats(settings, time_limit_s) if evaluation == NESTED else 1
    return Mode(kind=evaluation, repeats=repeats)


def _chosen(dataset: Dataset, *, time_limit_s: float, settings: Settings, table: SplitTable | None) -> Mode:
    if table is not None:
        return Mode(kind=SPLITS, why="A table of splits was given, which is replayed.")
    if _has_test(dataset):
        return Mode(kind=EXTERNAL, why="The data name test cases, which judge.")
    n_patients = len(set(dataset.groups))
    if n_patients >= _MANY_PATIENTS:
        why = f"There are {n_patients} patients: {settings.holdout_share:.0%} of them are held out to judge."
        return Mode(kind=HOLDOUT, why=why)
    n_searches = settings.outer_folds + 1
    if time_limit_s / n_searches < _MIN_NESTED_SEARCH_S:
        why = (
            f"{settings.holdout_share:.0%} of the patients are held out to judge, for the time is too short for nested "
            f"folds: {n_searches} searches of {time_limit_s / n_searches:.0f} s each, expected "
            f"{_MIN_NESTED_SEARCH_S:.0f} s or more. A time limit of {n_searches * _MIN_NESTED_SEARCH_S / 60:.0f} min "
            "would judge with every case."
        )
        return Mode(kind=HOLDOUT, why=why)
    why = f"There are {n_patients} patients: nested folds judge with every one of them."
    return Mode(kind=NESTED, repeats=_repeats(settings, time_limit_s), why=why)


def _has_test(dataset: Dataset) -> bool:
    return dataset.split is not None and bool((dataset.split == "test").any())


def _repeats(settings: Settings, time_limit_s: float) -> int:
    """Return how often the outer folds are dealt: as asked for, else as often as leaves each search half an hour."""
    if settings.outer_repeats is not None:
        return settings.outer_repeats
    passes = int((time_limit_s / _MIN_REPEATED_SEARCH_S - 1) // settings.outer_folds)
    return max(1, min(_MOST_REPEATS, passes))


def _require(evaluation: str, dataset: Dataset, table: SplitTable | None) -> None:
    if evaluation == EXTERNAL and not _has_test(dataset):
        raise DataError(
            "evaluation 'external' needs cases whose split column says 'test'; the manifest has none. Add such a "
            "column, give a second manifest with external= (--external), or choose 'holdout' or 'nested'."
        )
    if evaluation == SPLITS and table is None:
        raise DataError(
            "evaluation 'splits' needs a table of ready splits, a column a repeat that says train or test: give it "
            "with splits= (--splits)."
        )
    if evaluation == SITES:
        if dataset.sites is None or len(set(dataset.sites) - {""}) < 2:
            raise DataError(
                "evaluation 'leave_one_site_out' needs a column 'site' with two sites or more: add it, or choose "
                "'nested'."
            )
        unknown = [case.row for case in dataset.cases if not case.site]
        if unknown:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise DataError(
                f"row {unknown[0]}{more}: column 'site' is empty, expected the site that the case is left out with: "
                "fill it, or leave the case out."
            )
