"""How often 95 % intervals hold the truth, on simulated test sets and cross-validations whose truth is known.

    python -m benchmarks coverage --tries 1000

Three parts: the AUC of a fixed model (binormal scores; also with several lesions a patient), the other figures of a
fixed model by the patient bootstrap, and the mean AUC of repeated folds, whose truth is the mean AUC of models trained
on so many cases. The bar is 93 to 97 %; what lies outside is marked.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr
from scipy.stats import norm

from autoonco.metrics.folds import resampled_t_interval
from autoonco.metrics.intervals import (
    FIGURES,
    STATISTIC_OF,
    auc_interval,
    bootstrap_intervals,
    newcombe_bounds,
)
from benchmarks.simulated import SHIFT, gaussian_cases, repeated_aucs, true_auc

LOW, HIGH = 0.93, 0.97
SIZES = (30, 50, 100, 200, 500)
REPEATS = (1, 2, 4, 10)
SIGNALS = (0.0, 0.7, SHIFT, 2.5)
"""How far apart the classes of a cross-validated model are: nothing to learn, little, some, much."""
FIGURES_TRIED = (
    "average_precision", "balanced_accuracy", "accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "mcc",
    "log_loss", "brier", "ece", "calibration_slope", "calibration_intercept",
)  # fmt: skip
_TRUTH_CASES = 400_000
Array = NDArray[np.float64]


def main(arguments: Sequence[str]) -> None:
    """Print the coverage of each kind of interval."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks coverage", description=__doc__)
    parser.add_argument("--tries", type=int, default=1000, help="simulated test sets a cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", default="auc,patients,bootstrap,folds")
    options = parser.parse_args(arguments)
    parts: dict[str, Callable[[int, int], None]] = {
        "auc": of_the_auc,
        "patients": of_patients,
        "bootstrap": of_the_bootstrap,
        "folds": of_folds,
    }
    for name in options.parts.split(","):
        parts[name](options.tries, options.seed)


def said(share: float, tries: int) -> str:
    """Return a share; with a mark where it is outside the bar by more than its own error of simulation."""
    error = 2 * np.sqrt(0.05 * 0.95 / tries)
    outside = share < LOW - error or share > HIGH + error
    return f"{share:.3f}{' !' if outside else ''}"


def of_the_auc(tries: int, seed: int) -> None:
    """Print the coverage of `auc_interval` over sizes, prevalences and AUCs."""
    print("AUC of a fixed model, independent cases; columns are true AUCs")
    aucs = (0.6, 0.7, 0.8, 0.9, 0.95)
    print(f"{'n':>5}{'prevalence':>12}" + "".join(f"{auc:>9}" for auc in aucs))
    for n, prevalence in itertools.product(SIZES, (0.5, 0.3)):
        cells = [auc_coverage(n, prevalence, auc, tries=tries, seed=seed) for auc in aucs]
        print(f"{n:>5}{prevalence:>12}" + "".join(f"{said(cell, tries):>9}" for cell in cells), flush=True)


def auc_coverage(n: int, prevalence: float, auc: float, *, tries: int, seed: int) -> float:
    """Return how often the interval of the AUC of `n` independent cases holds the true one."""
    rng = np.random.default_rng([seed, n, round(100 * prevalence), round(100 * auc)])
    y = (np.arange(n) < round(prevalence * n)).astype(int)
    inside = 0
    for _ in range(tries):
        p = ndtr(rng.normal(np.sqrt(2) * norm.ppf(auc) * y) / 3)
        found = auc_interval(y, np.column_stack([1 - p, p]))
        inside += found.lower <= auc <= found.upper
    return inside / tries


def of_patients(tries: int, seed: int) -> None:
    """Print the coverage where each patient has three lesions, with and without telling the patients."""
    print("AUC of a fixed model, three lesions a patient: patients told, and not")
    auc = float(norm.cdf(1.2 / np.sqrt(2)))
    for n_patients in (20, 50, 150):
        rng = np.random.default_rng([seed, n_patients])
        groups = np.repeat(np.arange(n_patients), 3)
        y = groups % 2
        inside = np.zeros(2)
        for _ in range(tries):
            own, each = rng.normal(size=n_patients)[groups], rng.normal(size=groups.size)
            p = ndtr((1.2 * y + np.sqrt(0.7) * own + np.sqrt(0.3) * each) / 3)
            proba = np.column_stack([1 - p, p])
            both = (auc_interval(y, proba, groups), auc_interval(y, proba))
            inside += [found.lower <= auc <= found.upper for found in both]
        print(
            f"{n_patients:>5} patients: {said(inside[0] / tries, tries)}   ignored: {inside[1] / tries:.3f}",
            flush=True,
        )


def of_the_bootstrap(tries: int, seed: int) -> None:
    """Print the coverage of the BCa patient bootstrap (2,000 resamples) of the other figures."""
    print("Other figures of a fixed model, BCa bootstrap of patients; columns are sizes")
    tries = max(100, tries // 3)
    truth = _truths(seed)
    counts = {name: [] for name in truth}  # type: dict[str, list[float]]
    for n in SIZES:
        rng = np.random.default_rng([seed, n])
        inside, defined = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
        for number in range(tries):
            y, proba = _overconfident(rng, n)
            for name, found in bootstrap_intervals(list(truth), y, proba, seed=number).items():
                defined[name] += bool(np.isfinite(found.value))
                inside[name] += bool(found.lower <= truth[name] <= found.upper)
        for name in truth:
            counts[name].append(inside[name] / max(1, defined[name]))
    print(f"{'':<24}" + "".join(f"{n:>9}" for n in SIZES))
    for name, shares in counts.items():
        print(f"{name:<24}" + "".join(f"{said(share, tries):>9}" for share in shares), flush=True)


def _overconfident(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], Array]:
    """Return cases of two classes and probabilities whose logits are a third too large."""
    y = (rng.random(n) < 0.4).astype(np.int64)  # patients come as they do: a fixed share would narrow a PPV
    logits = 1.33 * (1.5 * rng.normal(1.5 * y) - 1.5**2 / 2 - 0.4)
    p = expit(logits)
    return y, np.column_stack([1 - p, p])


def _truths(seed: int) -> dict[str, float]:
    y, proba = _overconfident(np.random.default_rng([seed, 1]), _TRUTH_CASES)
    weight = np.ones((1, _TRUTH_CASES))
    assert set(FIGURES_TRIED) <= set(FIGURES)
    return {name: float(STATISTIC_OF[name](y, proba, weight)[0]) for name in FIGURES_TRIED}


def of_folds(tries: int, seed: int) -> None:
    """Print the coverage of the corrected resampled t over repeated stratified folds of a linear model."""
    print("Mean AUC of outer folds, corrected resampled t; 5 folds, columns are repeats")
    print(f"{'signal':>8}{'n':>5}{'truth':>8}" + "".join(f"{r:>9}" for r in REPEATS))
    for signal, n in itertools.product(SIGNALS, SIZES):
        truth = expected_fold_auc(n - n // 5, signal=signal, seed=seed)
        inside = np.zeros(len(REPEATS))
        rng = np.random.default_rng([seed, n, round(10 * signal)])
        at_once = max(1, 100_000 // (n * max(REPEATS)))
        for start in range(0, tries, at_once):
            studies = min(at_once, tries - start)
            every = repeated_aucs(rng, n, signal=signal, k=5, repeats=max(REPEATS), studies=studies)
            for aucs in every:
                inside += [_holds(aucs[:number].ravel(), truth, n // 10) for number in REPEATS]
        cells = "".join(f"{said(share, tries):>9}" for share in inside / tries)
        print(f"{signal:>8}{n:>5}{truth:>8.3f}{cells}", flush=True)


def _holds(scores: Array, truth: float, n_test: int) -> bool:
    """Return whether the interval of folds of `n_test` cases a class holds the truth."""
    if np.ptp(scores) == 0:  # as `evaluation.tables` has it: a fold's own interval
        lower, upper = newcombe_bounds(float(scores[0]), n_test, n_test)
        return lower <= truth <= upper
    found = resampled_t_interval(scores.tolist(), 1 / 4)
    return found.lower <= truth <= found.upper


def expected_fold_auc(n_train: int, *, seed: int, signal: float = SHIFT, draws: int = 2000) -> float:
    """Return the mean AUC, over training sets of a size, of the linear model on all cases there could be."""
    rng = np.random.default_rng([seed, n_train, 7])
    return float(
        np.mean([true_auc(*gaussian_cases(rng, n_train, shift=signal), signal) for _ in range(draws)])
    )
