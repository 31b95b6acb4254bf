"""How often the verdict is wrong, on simulated comparisons of two families whose true difference is known.

    python -m benchmarks verdicts --tries 400
    python -m benchmarks verdicts --quick --tries 2000

Both families are linear models, retrained in each outer fold, on features of their own of the same cases: "radiomics"
sees eight, "deep networks" eight others that share part of their noise, drawn so that the population difference of the
two procedures is known: exactly for each pair of training sets, of which 2,000 are drawn. Every simulated study goes
through `evaluation.verdict`; with `--quick` those judged by folds go from the AUCs of the folds to the same verdict,
many times as fast, and those of one test set are left out.
Bars: a false "better" or "worse" in at most 5 % of the studies without a difference, and a false "equivalent" in at
most 5 % of those that differ by the margin.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from autoonco.evaluation.pairs import ALPHA, CHANCE, kind_of
from autoonco.evaluation.verdict import verdict
from autoonco.metrics.comparison import compare_folds
from autoonco.metrics.folds import resampled_t_interval
from benchmarks.simulated import N_FEATURES, fold_aucs, folds_of, linear_scores, true_auc

FAMILIES = {"radiomics": None, "pretrained2d": None}
MODELS = [
    {"name": name, "kind": "family", "inner_score": 0.8, "search_seconds": 1.0, "refit_seconds": 0.0}
    for name in FAMILIES
]
KINDS = ("better", "worse", "equivalent", "inconclusive")
MARGIN = 0.05
EQUAL = (1.5, 0.8, 0.0)
"""Signals that both families have where they don't differ."""
_SHARED = 0.5  # of the noise of both families' features


@dataclass(frozen=True, kw_only=True)
class Study:
    """A simulated comparison: so many cases, judged by one test set or by folds, families with these signals."""

    title: str
    n: int
    repeats: int  # of five outer folds; 0 is one held-out set of half of the cases
    signals: tuple[float, float]


def cases_of(
    rng: np.random.Generator, n: int, signals: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the features of both families and the labels of `n` cases."""
    y = (np.arange(n) < n // 2).astype(np.int64)
    shared = rng.normal(size=(n, N_FEATURES))
    tables = [
        np.sqrt(_SHARED) * shared
        + np.sqrt(1 - _SHARED) * rng.normal(size=(n, N_FEATURES))
        + signal / np.sqrt(N_FEATURES) * y[:, None]
        for signal in signals
    ]
    return tables[0], tables[1], y


def true_difference(n_train: int, signals: tuple[float, float], *, seed: int, draws: int = 2000) -> float:
    """Return the mean AUC of the second procedure minus that of the first, trained on `n_train` cases."""
    rng = np.random.default_rng([seed, n_train, 11])
    found = []
    for _ in range(draws):
        *tables, y = cases_of(rng, n_train, signals)
        aucs = [true_auc(x, y, signal) for x, signal in zip(tables, signals, strict=True)]
        found.append(aucs[1] - aucs[0])
    return float(np.mean(found))


def signal_for(n_train: int, difference: float, first: float, *, seed: int) -> float:
    """Return the second family's signal with which it is better by `difference`, by bisection."""
    low, high = first, first + 4.0
    for _ in range(10):
        middle = (low + high) / 2
        if true_difference(n_train, (first, middle), seed=seed, draws=400) < difference:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def predictions_of(rng: np.random.Generator, study: Study) -> pd.DataFrame:
    """Return what a run would have written of one simulated study."""
    *tables, y = cases_of(rng, study.n, study.signals)
    parts = list(_parts(rng, y, study.repeats))
    rows = np.concatenate([test for _, test in parts])
    fixed = {
        "fold": np.repeat(np.arange(len(parts)), [len(test) for _, test in parts]),
        "n_train": np.repeat([len(train) for train, _ in parts], [len(test) for _, test in parts]),
        "row": rows,
        "group": rows,
        "truth": y[rows],
        "is_clean": 1,
    }
    frames = []
    for name, x in zip(FAMILIES, tables, strict=True):
        p = expit(np.concatenate([linear_scores(x[train], y[train], x[test]) for train, test in parts]))
        frames.append(pd.DataFrame(fixed | {"model": name, "p_0": 1 - p, "p_1": p}))
    return pd.concat(frames, ignore_index=True)


def _parts(
    rng: np.random.Generator, y: NDArray[np.int64], repeats: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    if repeats:
        return folds_of(rng, y, 5, repeats)
    return iter([next(folds_of(rng, y, 2, 1))])


def verdicts_of(study: Study, *, tries: int, seed: int) -> Counter[str]:
    """Return how often each verdict was given in `tries` simulated studies."""
    rng = np.random.default_rng([seed, study.n, study.repeats])
    return Counter(
        str(verdict(predictions_of(rng, study), MODELS, FAMILIES, margin=MARGIN).kind) for _ in range(tries)
    )


def quick_verdicts_of(study: Study, *, tries: int, seed: int) -> Counter[str]:
    """Return the same as `verdicts_of` of other cases, from the AUCs of the folds."""
    rng = np.random.default_rng([seed, study.n, study.repeats, round(10 * sum(study.signals))])
    at_once = max(1, 50_000 // (study.n * study.repeats))
    found: Counter[str] = Counter()
    for start in range(0, tries, at_once):
        radiomics, deep = _aucs_of(rng, study, min(at_once, tries - start))
        found.update(verdict_of_folds(*pair) for pair in zip(deep, radiomics, strict=True))
    return found


def verdict_of_folds(deep: Sequence[float], radiomics: Sequence[float]) -> str:
    """Return the verdict that AUCs of the same folds give, as `evaluation.pairs` and `evaluation.verdict` do."""
    found = compare_folds(np.subtract(deep, radiomics).tolist(), 1 / 4, margin=MARGIN)
    better = deep if found.difference > 0 else radiomics
    above = resampled_t_interval(better, 1 / 4, level=1 - 2 * ALPHA).lower > CHANCE
    return str(kind_of(found.difference, found.p, found.p_equivalent, above_chance=above))


def _aucs_of(rng: np.random.Generator, study: Study, studies: int) -> list[NDArray[np.float64]]:
    """Return the AUCs ``(studies, n_folds)`` of both families on cases like those of `cases_of`."""
    half = study.n // 2
    shared = [rng.normal(size=(studies, half, N_FEATURES)) for _ in range(2)]
    orders = [np.argsort(rng.random((studies, study.repeats, half)), axis=2) for _ in range(2)]
    found = []
    for signal in study.signals:
        classes = [
            np.sqrt(_SHARED) * both
            + np.sqrt(1 - _SHARED) * rng.normal(size=both.shape)
            + signal / np.sqrt(N_FEATURES) * y
            for y, both in enumerate(shared)
        ]
        found.append(fold_aucs(classes, orders, 5).reshape(studies, -1))
    return found


def studies(seed: int, *, sizes: Sequence[int], repeats: Sequence[int]) -> Iterator[Study]:
    """Yield the studies: each way to judge, small and larger, with no difference, one of the margin, a large one.

    Families without a difference have learned something, little, or nothing: then their folds go up and down together.
    """
    for n, number in itertools.product(sizes, repeats):
        if n > 200 and number:
            continue
        n_train = n // 2 if number == 0 else n - n // 5
        how = "held out" if number == 0 else f"5 folds x {number}"
        for signal in EQUAL:
            yield Study(title=f"{how}, signal {signal:g}", n=n, repeats=number, signals=(signal, signal))
        for difference in () if n == 60 else (MARGIN, 0.15):
            second = signal_for(n_train, difference, 1.5, seed=seed)
            yield Study(title=f"{how}, {difference:g}", n=n, repeats=number, signals=(1.5, second))


def main(arguments: Sequence[str]) -> None:
    """Print the share of each verdict for each study."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks verdicts", description=__doc__)
    parser.add_argument("--tries", type=int, default=400, help="simulated studies a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="those judged by folds, from their AUCs")
    parser.add_argument("--sizes", default="60,200,800", help="cases of a study; of 800 held out alone")
    parser.add_argument(
        "--repeats", default="0,1,10", help="how often five folds are dealt; 0 is one held-out half"
    )
    options = parser.parse_args(arguments)
    sizes, repeats = ([int(each) for each in given.split(",")] for given in (options.sizes, options.repeats))
    repeats = [number for number in repeats if number or not options.quick]
    judge = quick_verdicts_of if options.quick else verdicts_of
    print(f"{'judged by, asked for':<24}{'n':>5}{'true':>8}" + "".join(f"{kind:>14}" for kind in KINDS))
    for study in studies(options.seed, sizes=sizes, repeats=repeats):
        n_train = study.n // 2 if study.repeats == 0 else study.n - study.n // 5
        truth = true_difference(n_train, study.signals, seed=options.seed + 1)
        counts = judge(study, tries=options.tries, seed=options.seed)
        shares = "".join(f"{counts[kind] / options.tries:>14.3f}" for kind in KINDS)
        print(f"{study.title:<24}{study.n:>5}{truth:>8.3f}{shares}", flush=True)
