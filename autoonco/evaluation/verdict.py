"""Does deep learning beat radiomics here? One sentence, made from the figures and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from autoonco.evaluation.pairs import (
    ALPHA,
    BEST_SINGLE,
    Kind,
    chosen_by_fold,
    compare_models,
    kind_of,
    seconds_by_model,
)
from autoonco.evaluation.tables import probability_columns
from autoonco.evaluation.tasks import ORDINAL
from autoonco.metrics.comparison import MARGIN

RADIOMICS = "radiomics"
DEEP = ("pretrained2d", "volumetric3d", "scratch2d")
BEST_DEEP = "best deep family of each fold"
TITLES = {
    "ensemble": "Ensemble",
    RADIOMICS: "Radiomics",
    "pretrained2d": "Pretrained 2D networks",
    "volumetric3d": "3D networks",
    "scratch2d": "2D networks from scratch",
    "clinical": "Clinical variables",
    "own_features": "Own features",
    "fusion": "Fusion",
    BEST_DEEP: "Deep networks (2D or 3D, as each fold's inner score chose)",
    BEST_SINGLE: "Best single family (as each fold's inner score chose)",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What can be said of deep networks against radiomics, in a sentence made from the figures.

    Attributes
    ----------
    kind
        Better, worse, equivalent or inconclusive.
    sentence
        The same in words, with the figures and the compute that both sides spent.
    figures
        The row of `compare_models`; None where there is nothing to compare.
    seconds
        Compute of search and refits, of all outer folds, by family.
    """

    kind: Kind
    sentence: str
    figures: Mapping[str, Any] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


def title(model: str) -> str:
    """Return what a page calls a model.

    Examples
    --------
    >>> title("pretrained2d"), title("baseline: lesion size")
    ('Pretrained 2D networks', 'Baseline: lesion size')
    """
    return TITLES.get(model) or model[:1].upper() + model[1:]


def verdict(
    predictions: pd.DataFrame | None,
    models: Sequence[Mapping[str, Any]],
    families: Mapping[str, str | None],
    *,
    margin: float = MARGIN,
    seed: int = 0,
    allocation: str | None = None,
    task: str = "classification",
) -> Verdict:
    """Return whether the best deep family is better or worse than radiomics on the clean test cases.

    The deep family is the one of the best inner score, in each outer fold that fold's own, so that the test
    cases choose nothing. It is the one primary test of a run, so its p is not adjusted for others. Better or
    worse is a two-sided p below 0.05, where the better one is also shown to be better than a guess (see
    `pairs.kind_of`); equivalent only what two one-sided tests show to lie within `margin`; anything else is
    inconclusive, which isn't "no difference".

    Parameters
    ----------
    predictions
        As `read_predictions` returns them.
    models
        The content of ``evaluation/models.json``.
    families
        ``run.json``'s families: None for those that took part, else the reason why not.
    margin
        What difference in AUC is too small to matter, stated before the run: `Settings.equivalence_margin`.
    allocation
        How the search shared its compute between families (`Settings.allocation`), None where it is not known.
    """
    predicted = set() if predictions is None else set(predictions["model"])
    judged = {str(m["name"]): m for m in models if m["name"] in predicted}
    deep_families = [name for name in DEEP if name in judged]
    if predictions is None or RADIOMICS not in judged or not deep_families:
        return Verdict(kind=Kind.INCONCLUSIVE, sentence=_why_none(predicted, set(judged), families))
    predictions, chosen = chosen_by_fold(predictions, list(judged.values()), deep_families, BEST_DEEP)
    figures = compare_models(predictions, BEST_DEEP, RADIOMICS, margin=margin, seed=seed, task=task)
    if figures is None:
        sentence = "Deep networks and radiomics can't be compared: the clean test cases are all of one class."
        return Verdict(kind=Kind.INCONCLUSIVE, sentence=sentence)
    shown = figures["p"], figures["p_equivalent"]
    kind = kind_of(figures["difference"], *shown, above_chance=figures["above_chance"])
    deep = next(iter(chosen)) if len(chosen) == 1 else BEST_DEEP
    by_model = seconds_by_model(models)
    seconds = {name: by_model[name] for name in (*sorted(chosen), RADIOMICS) if by_model[name] > 0}
    some_unclean = bool((predictions["is_clean"] != 1).any())
    auc = auc_name(len(probability_columns(predictions)), task)
    sentence = _sentence(kind, deep, figures, auc=auc, some_unclean=some_unclean)
    return Verdict(
        kind=kind, sentence=f"{sentence}{_compute(seconds, allocation)}", figures=figures, seconds=seconds
    )


def auc_name(n_classes: int, task: str) -> str:
    """Return what the AUC of a task is called.

    Examples
    --------
    >>> auc_name(2, "classification"), auc_name(3, "classification"), auc_name(4, "ordinal")
    ('AUC', 'macro AUC', 'ordinal AUC')
    """
    if task == ORDINAL:
        return "ordinal AUC"
    return "macro AUC" if n_classes > 2 else "AUC"


def _compute(seconds: Mapping[str, float], allocation: str | None) -> str:
    """Return a sentence on the compute of both sides, and whether they had the same; empty where it is not known."""
    if RADIOMICS not in seconds or len(seconds) < 2:
        return ""
    spent = ", ".join(f"{_plain(name)} {_duration(value)}" for name, value in seconds.items())
    how = {
        "equal": ", with equal shares of the search",
        "shared": ": the search spent where it paid, so the compute differed",
    }
    return f" Compute spent: {spent}{how.get(allocation or '', '')}."


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _plain(name: str) -> str:
    """Return a title as it stands within a sentence."""
    return title(name) if name == "volumetric3d" else title(name)[0].lower() + title(name)[1:]


def _sentence(kind: Kind, deep: str, figures: Mapping[str, Any], *, auc: str, some_unclean: bool) -> str:
    difference, lower, upper = (_signed(figures[name]) for name in ("difference", "lower", "upper"))
    folds = f" in {figures['n_folds']} outer folds" if figures["n_folds"] > 1 else ""
    n = f"n = {figures['n']}{' clean test cases' if some_unclean else ''}{folds}"
    numbers = f"{auc} difference {difference} [{lower}, {upper}], {_p(figures['p'])}, {n}"
    names, margin = title(deep), f"{figures['margin']:g}"
    if kind is Kind.EQUIVALENT:
        guess = (
            ""
            if figures["above_chance"]
            else " Yet the better of them is not shown to be better than a guess."
        )
        return (
            f"{names} and radiomics are equivalent within {margin} {auc} here: {numbers} "
            f"(equivalence: {_p(figures['p_equivalent'])}).{guess}"
        )
    if kind is Kind.INCONCLUSIVE and figures["p"] < ALPHA:
        return (
            f"No difference shown between {_plain(deep)} and radiomics: {numbers}, but the better of them is not shown "
            "to be better than a guess."
        )
    if kind is Kind.INCONCLUSIVE:
        return (
            f"No difference shown between {_plain(deep)} and radiomics, and no equivalence either: {numbers}."
        )
    small = f" Yet the difference is smaller than {margin}." if figures["p_equivalent"] < ALPHA else ""
    return f"{names} are {kind.value} than radiomics here: {numbers}.{small}"


def _why_none(predicted: set[str], judged: set[str], families: Mapping[str, str | None]) -> str:
    """Return why nothing is compared; folds are predicted before a run that goes on has a record of its models."""
    if not predicted:
        return "Deep networks and radiomics were not compared: no test case has been predicted."
    absent = [] if RADIOMICS in predicted else [RADIOMICS]
    absent += [] if predicted & set(DEEP) else DEEP
    if not absent:
        return (
            "Deep networks and radiomics are not compared yet: both predicted test cases, but there is no record of "
            "their models, which a run writes when its searches have ended."
        )
    at_end = predicted & {RADIOMICS, *DEEP} <= judged
    none = f"took part, but gave no model for the test cases{'' if at_end else ' so far'}"
    return "Deep networks and radiomics were not compared. " + " ".join(
        f"{title(name)}: {_reason(name, families, none)}." for name in absent
    )


def _reason(name: str, families: Mapping[str, str | None], none: str) -> str:
    if name not in families:
        return "not asked for"
    return (families[name] or none).rstrip(".")


def _signed(value: float) -> str:
    """Return a difference with two decimals, three where two would hide it; a true minus sign."""
    if math.isnan(value):
        return "unknown"
    text = f"{value:.2f}" if abs(value) >= 0.01 or value == 0 else f"{value:.3f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def _p(value: float) -> str:
    if math.isnan(value):
        return "p unknown"
    return "p < 0.001" if value < 0.001 else f"p = {value:.2f}" if value >= 0.095 else f"p = {value:.2g}"
