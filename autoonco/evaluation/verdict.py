"""Does deep learning beat radiomics here? One sentence, made from the figures and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from autoonco.evaluation.tables import compare_models
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
}
_ALPHA = 0.05


class Kind(StrEnum):
    """What the figures allow to say of deep networks against radiomics."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The kind, the sentence, and the figures of `compare_models` (None: nothing to compare)."""

    kind: Kind
    sentence: str
    figures: Mapping[str, Any] | None = None


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
) -> Verdict:
    """Return whether the best deep family is better or worse than radiomics on the clean test cases.

    The deep family is the one of the best inner score, in each outer fold that fold's own, so that the test
    cases choose nothing. Better or
    worse is a two-sided p below 0.05; equivalent only what two one-sided tests show to lie within `margin`;
    anything else is inconclusive, which isn't "no difference".

    Parameters
    ----------
    predictions
        As `read_predictions` returns them.
    models
        The content of ``evaluation/models.json``.
    families
        ``run.json``'s families: None for those that took part, else the reason why not.
    """
    predicted = set() if predictions is None else set(predictions["model"])
    judged = {str(m["name"]): m for m in models if m["name"] in predicted}
    if predictions is None or RADIOMICS not in judged or not predicted & set(DEEP):
        return Verdict(kind=Kind.INCONCLUSIVE, sentence=_why_none(predictions, set(judged), families))
    predictions, deep = _with_best_deep(predictions, judged)
    figures = compare_models(predictions, deep, RADIOMICS, margin=margin, seed=seed)
    if figures is None:
        sentence = "Deep networks and radiomics can't be compared: the clean test cases are all of one class."
        return Verdict(kind=Kind.INCONCLUSIVE, sentence=sentence)
    kind = _kind(figures)
    macro = "macro AUC" if any(str(name) == "p_2" for name in predictions) else "AUC"
    n_test = int((predictions["model"] == deep).sum())
    sentence = _sentence(kind, deep, figures, auc=macro, n_test=n_test)
    return Verdict(kind=kind, sentence=sentence, figures=figures)


def _with_best_deep(
    predictions: pd.DataFrame, models: Mapping[str, Mapping[str, Any]]
) -> tuple[pd.DataFrame, str]:
    """Return the predictions and the name in them of the deep family that each fold's inner score chooses."""
    folds = sorted(predictions["fold"].unique())
    chosen = {fold: _best_deep(models, fold) for fold in folds}
    if len(set(chosen.values())) == 1:
        return predictions, chosen[folds[0]]
    rows = predictions[predictions["model"] == predictions["fold"].map(chosen)].assign(model=BEST_DEEP)
    return pd.concat([predictions, rows], ignore_index=True), BEST_DEEP


def _best_deep(models: Mapping[str, Mapping[str, Any]], fold: int) -> str:
    def inner_score(name: str) -> float:
        scores = models[name].get("fold_scores") or []
        score = scores[fold] if fold < len(scores) else models[name].get("inner_score")
        return -math.inf if score is None or math.isnan(score) else float(score)

    return max((name for name in DEEP if name in models), key=inner_score)


def _kind(figures: Mapping[str, Any]) -> Kind:
    if figures["p"] < _ALPHA:
        return Kind.BETTER if figures["difference"] > 0 else Kind.WORSE
    return Kind.EQUIVALENT if figures["p_equivalent"] < _ALPHA else Kind.INCONCLUSIVE


def _sentence(kind: Kind, deep: str, figures: Mapping[str, Any], *, auc: str, n_test: int) -> str:
    difference, lower, upper = (_signed(figures[name]) for name in ("difference", "lower", "upper"))
    folds = f" in {figures['n_folds']} outer folds" if figures["n_folds"] > 1 else ""
    n = f"n = {figures['n']}{' clean test cases' if figures['n'] < n_test else ''}{folds}"
    numbers = f"{auc} difference {difference} [{lower}, {upper}], {_p(figures['p'])}, {n}"
    names, margin = title(deep), f"{figures['margin']:g}"
    if kind is Kind.EQUIVALENT:
        return (
            f"{names} and radiomics are equivalent within {margin} {auc} here: {numbers} "
            f"(equivalence: {_p(figures['p_equivalent'])})."
        )
    if kind is Kind.INCONCLUSIVE:
        plain = title(deep) if deep == "volumetric3d" else title(deep)[0].lower() + title(deep)[1:]
        return f"No difference shown between {plain} and radiomics, and no equivalence either: {numbers}."
    small = f" Yet the difference is smaller than {margin}." if figures["p_equivalent"] < _ALPHA else ""
    return f"{names} are {kind.value} than radiomics here: {numbers}.{small}"


def _why_none(predictions: pd.DataFrame | None, judged: set[str], families: Mapping[str, str | None]) -> str:
    if predictions is None:
        return "Deep networks and radiomics were not compared: no test case has been predicted."
    absent = [] if RADIOMICS in judged else [RADIOMICS]
    absent += [] if judged & set(DEEP) else DEEP
    return "Deep networks and radiomics were not compared. " + " ".join(
        f"{title(name)}: {_reason(name, families)}" for name in absent
    )


def _reason(name: str, families: Mapping[str, str | None]) -> str:
    if name not in families:
        return "not asked for."
    reason = families[name]
    return (reason.rstrip(".") if reason else "took part, but gave no model for the test cases") + "."


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
