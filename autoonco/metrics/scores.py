"""The scores a search may maximise: functions of labels and probabilities, higher is always better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
)

from autoonco.errors import AutoOncoError, DataError, UnknownNameError
from autoonco.metrics.reliability import calibration_error, calibration_intercept, calibration_slope

Labels = NDArray[np.int64]
Values = NDArray[np.float64]
Probabilities = Values


_NEGATIVE = " (negative)"
_FARTHEST = 10.0  # a slope that is undefined or beyond all measure counts as this far from its target


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score by name. Call it with labels and probabilities; higher is better.

    Attributes
    ----------
    name
        What the user types.
    title
        What a table prints.
    scorer
        Checked labels ``(n_cases,)`` and probabilities ``(n_cases, n_classes)`` to a float.
    best, worst
        The ends of its range; `worst` may be ``-inf``, and `best` ``inf`` of a function whose range is not known.
    negated
        Whether users know the figure without its sign, lower being better: the log loss.
    target
        What a figure should be that is best in the middle, as a slope of 1; the score is minus the distance to it.
    code
        Of a user's function, a hash of what it does; empty for those that come with autoonco.
    """

    name: str
    title: str
    scorer: Callable[[Labels, Probabilities], float]
    best: float = 1.0
    worst: float = 0.0
    negated: bool = False
    target: float | None = None
    code: str = ""

    def __call__(self, y: ArrayLike, proba: ArrayLike) -> float:
        """Return the score of `proba` ``(n_cases, n_classes)`` for class indices `y` ``(n_cases,)``.

        Raises
        ------
        DataError
            If the shapes don't agree, a probability isn't one, or the score is undefined for these labels.
        """
        return float(self.scorer(*checked(y, proba)))

    def loss(self, score: float) -> float:
        """Return what a search minimises: the distance to the best score, in ``[0, inf)``.

        Examples
        --------
        >>> get_metric("roc_auc").loss(0.75)
        0.25
        >>> get_metric("log_loss").loss(-0.5)
        0.5
        """
        return -score if math.isinf(self.best) else max(0.0, self.best - score)

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value of the figure in `weighted.STATISTICS`."""
        return (self.worst, self.best) if self.target is None else (-math.inf, math.inf)

    @property
    def heading(self) -> str:
        """What a table calls the figure as users know it, without the sign that a search needs."""
        return self.title.removesuffix(_NEGATIVE)

    @property
    def identity(self) -> str:
        """What has to stay the same for a run to be continued."""
        return f"{self.name} {self.code}".strip()


def checked(y: ArrayLike, proba: ArrayLike) -> tuple[Labels, Probabilities]:
    """Return `y` as integers and `proba` as float64, or say what is wrong with them."""
    labels, values = np.asarray(y), np.asarray(proba, dtype=np.float64)
    if values.ndim != 2 or labels.shape != values.shape[:1] or not labels.size or values.shape[1] < 2:
        raise DataError(
            "Scoring needs labels (n_cases,) and probabilities (n_cases, n_classes) of at least one case and "
            f"two classes; got shapes {labels.shape} and {values.shape}."
        )
    if not np.isin(labels, np.arange(values.shape[1])).all():
        raise DataError(f"Labels must be class indices 0 to {values.shape[1] - 1}; got {np.unique(labels)}.")
    sums = values.sum(axis=1)
    bad = ~(np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1) & (np.abs(sums - 1) < 1e-3))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"Probabilities must be finite, not negative and sum to 1; got {int(bad.sum())} of {len(values)} "
            f"cases that are not, the first at position {first}: {values[first]}."
        )
    return labels.astype(np.int64), values


def one_vs_rest_classes(y: Labels, n_classes: int) -> list[int]:
    """Return the classes to average a one-against-rest score over: the last of two, or all that have a rest.

    Raises
    ------
    DataError
        If `y` holds only one class: nothing can be ranked.
    """
    present = np.unique(y)
    if present.size < 2:
        raise DataError(
            f"Ranking scores need cases of two classes; all {y.size} cases are of class {present[0]}. "
            "Add cases of another class, or choose accuracy or log_loss."
        )
    return [1] if n_classes == 2 else [int(k) for k in present]


def _one_vs_rest(score: Callable[[Any, Any], float]) -> Callable[[Labels, Probabilities], float]:
    def macro(y: Labels, proba: Probabilities) -> float:
        classes = one_vs_rest_classes(y, proba.shape[1])
        return float(np.mean([score(y == k, proba[:, k]) for k in classes]))

    return macro


def _area(positive: NDArray[np.bool_], scores: Values) -> float:
    # By midranks (Mann and Whitney 1947), in a twentieth of scikit-learn's time: an ensemble's choice asks it thousands
    # of times.
    n = int(positive.sum())
    above = float(rankdata(scores)[positive].sum()) - n * (n + 1) / 2
    return above / (n * (positive.size - n))


def _balanced_accuracy(y: Labels, proba: Probabilities) -> float:
    # recall over the classes that occur: balanced_accuracy_score warns when a prediction is of another class
    return float(recall_score(y, proba.argmax(1), labels=np.unique(y), average="macro", zero_division=0))


def _brier(y: Labels, proba: Probabilities) -> float:
    # Brier (1950) sums over classes, 0..2; for two classes the usual half of it is (p - y)^2
    total = float(((proba - np.eye(proba.shape[1])[y]) ** 2).sum(axis=1).mean())
    return -total / 2 if proba.shape[1] == 2 else -total


def _f1_macro(y: Labels, proba: Probabilities) -> float:
    return float(f1_score(y, proba.argmax(1), average="macro", zero_division=0))


def _log_loss(y: Labels, proba: Probabilities) -> float:
    # float32 rows sum to one within 1e-6 only, which scikit-learn warns of
    exact = proba / proba.sum(axis=1, keepdims=True)
    return -float(log_loss(y, exact, labels=range(proba.shape[1])))


def _called(proba: Probabilities) -> Labels:
    called: Labels = proba.argmax(axis=1)
    return called


def _recall(y: Labels, proba: Probabilities) -> float:
    classes = one_vs_rest_classes(y, proba.shape[1])
    return float(recall_score(y, _called(proba), labels=classes, average="macro", zero_division=0))


def _precision(y: Labels, proba: Probabilities) -> float:
    classes = one_vs_rest_classes(y, proba.shape[1])
    return float(precision_score(y, _called(proba), labels=classes, average="macro", zero_division=0))


def _of_the_rest(score: Callable[..., float]) -> Callable[[Labels, Probabilities], float]:
    """Return the macro mean of a score of "not this class": a specificity is the recall of the rest."""

    def macro(y: Labels, proba: Probabilities) -> float:
        called, classes = _called(proba), one_vs_rest_classes(y, proba.shape[1])
        return float(np.mean([score(y != k, called != k, zero_division=0) for k in classes]))

    return macro


def _f1(y: Labels, proba: Probabilities) -> float:
    classes = one_vs_rest_classes(y, proba.shape[1])
    return float(f1_score(y, _called(proba), labels=classes, average="macro", zero_division=0))


def _alone(statistic: Callable[..., Values]) -> Callable[[Any, Any], float]:
    return lambda positive, p: float(statistic(positive, p, np.ones((1, len(p))))[0])


def _ece(y: Labels, proba: Probabilities) -> float:
    return -_one_vs_rest(_alone(calibration_error))(y, proba)


def _near(statistic: Callable[..., Values], target: float) -> Callable[[Labels, Probabilities], float]:
    """Return minus the distance of a macro figure to its target, bounded: a search can't use an infinity."""

    def score(y: Labels, proba: Probabilities) -> float:
        value = _one_vs_rest(_alone(statistic))(y, proba)
        return -min(_FARTHEST, abs(value - target)) if math.isfinite(value) else -_FARTHEST

    return score


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="roc_auc", title="ROC AUC", scorer=_one_vs_rest(_area)),
        Metric(
            name="average_precision", title="Average precision", scorer=_one_vs_rest(average_precision_score)
        ),
        Metric(name="balanced_accuracy", title="Balanced accuracy", scorer=_balanced_accuracy),
        Metric(name="accuracy", title="Accuracy", scorer=lambda y, p: accuracy_score(y, p.argmax(1))),
        Metric(name="sensitivity", title="Sensitivity", scorer=_recall),
        Metric(name="specificity", title="Specificity", scorer=_of_the_rest(recall_score)),
        Metric(name="ppv", title="PPV", scorer=_precision),
        Metric(name="npv", title="NPV", scorer=_of_the_rest(precision_score)),
        Metric(name="f1", title="F1", scorer=_f1),
        Metric(name="f1_macro", title="F1 (macro)", scorer=_f1_macro),
        Metric(name="mcc", title="MCC", scorer=lambda y, p: matthews_corrcoef(y, p.argmax(1)), worst=-1.0),
        Metric(
            name="log_loss",
            title="Log loss (negative)",
            scorer=_log_loss,
            best=0.0,
            worst=-np.inf,
            negated=True,
        ),
        Metric(
            name="brier", title="Brier score (negative)", scorer=_brier, best=0.0, worst=-2.0, negated=True
        ),
        Metric(
            name="ece",
            title="Expected calibration error (negative)",
            scorer=_ece,
            best=0.0,
            worst=-1.0,
            negated=True,
        ),
        Metric(
            name="calibration_slope",
            title="Calibration slope",
            scorer=_near(calibration_slope, 1.0),
            best=0.0,
            worst=-_FARTHEST,
            target=1.0,
        ),
        Metric(
            name="calibration_intercept",
            title="Calibration intercept",
            scorer=_near(calibration_intercept, 0.0),
            best=0.0,
            worst=-_FARTHEST,
            target=0.0,
        ),
    )
}
"""Every metric by name. With two classes the positive one is the last; more are macro one-against-rest.

A case is called what it is most probable to be. A predictive value of what is never called counts as 0 here, where a
search needs a number; in a table it is undefined. ``f1`` is that of the positive class, ``f1_macro`` the mean of both.
"""


def get_metric(name: str) -> Metric:
    """Return the metric called `name`.

    A name with a dot is that of a function of the user's, as a run folder holds it: such a metric has a title and
    can't be called.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists the valid names.

    Examples
    --------
    >>> get_metric("roc_auc")([0, 0, 1], [[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    0.5
    """
    from autoonco.metrics.ordinal import ORDINAL_METRICS  # which is made of these

    for known in (METRICS, ORDINAL_METRICS):
        if name in known:
            return known[name]
    if "." not in name:
        raise UnknownNameError("metric", name, METRICS)

    def absent(y: Labels, proba: Probabilities) -> float:  # noqa: ARG001 - a scorer's form
        raise AutoOncoError(
            f"The metric of this run is your function {name}, which a run folder can't hold: use Python and give "
            "metric= the function itself."
        )

    return Metric(name=name, title=name.rpartition(".")[2], scorer=absent, best=math.inf, worst=-math.inf)
