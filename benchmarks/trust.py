"""Whether prediction sets cover what they promise, and whether scans of another scanner are told to be unlike.

    python -m benchmarks trust sets [--cases 2400]
    python -m benchmarks trust scanner [--cases 900]
    python -m benchmarks trust skin
    python -m benchmarks trust alarms [--cases 400]

`sets`: on made cases of which everything is known, and on phantoms with a radiomics pipeline, how often the set holds
the true class, in all and by class, and how large sets are; thresholds come from out-of-fold cases of one half,
coverage is counted on the other. `scanner`: what tells odd cases is learned on phantoms of one scanner and asked about
new ones of the same (false alarms) and of the other. `skin`: the same on photographs of moles, one collection against
the others (AUTOONCO_SHARED_DATA). Labels have no part in the latter two. `alarms`: false alarms on `--cases` new cases
of the very same kind, made of numbers, after learning on few and on many, each 50 times: what one test set can't tell.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.folds import stratified_group_folds
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.data.signature import signatures
from autoonco.evaluation.calibration import OutOfFold
from autoonco.evaluation.decisions import decide_on, set_figures
from autoonco.evaluation.oddity import Tables, fit_oddity
from autoonco.families.contract import Fidelity, FitContext, FittedModel, Runtime
from autoonco.families.embedder import frozen_embedder
from autoonco.families.pretrained2d import family as pretrained2d
from autoonco.families.radiomics import family as radiomics
from autoonco.settings import Settings

SHARED = Path(os.environ.get("AUTOONCO_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
LEVELS = (0.8, 0.9, 0.95)
FOLDS = 5


def main(arguments: Sequence[str]) -> None:
    """Run one of the measurements and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("sets", "scanner", "skin", "alarms"))
    parser.add_argument("--cases", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime(artefacts=ArtefactCache(Path(folder) / "cache"))
        match asked.what:
            case "sets":
                table = sets(Path(folder), runtime, n=asked.cases or 2400, seed=asked.seed)
            case "scanner":
                table = scanner(Path(folder), runtime, n=asked.cases or 900, seed=asked.seed)
            case "alarms":
                table = alarms(n=asked.cases or 400, seed=asked.seed)
            case _:
                table = skin(runtime, seed=asked.seed)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3f}"))


def sets(folder: Path, runtime: Runtime, *, n: int, seed: int) -> pd.DataFrame:
    """Return coverage and sizes of prediction sets on `n` cases made of numbers, and on `n` phantoms."""
    rows = []
    for name, k in (("made, two classes", 2), ("made, three classes", 3)):
        rng = np.random.default_rng(seed)
        repeats = [_counted(_made(rng, n // 2, k), _made(rng, n // 2, k)) for _ in range(20)]
        mean = pd.concat(repeats).groupby("level", as_index=False).mean()
        rows.append(mean.assign(task=f"{name}, mean of 20"))
    rows.append(_phantoms(folder, runtime, n=n, seed=seed).assign(task="phantoms, radiomics"))
    found = pd.concat(rows)
    return found[["task", *[name for name in found if name != "task"]]]


def _made(rng: np.random.Generator, n: int, k: int) -> OutOfFold:
    """Return cases of classes of unequal size, whose model is too sure of itself."""
    y = rng.choice(k, n, p=np.array([0.7, 0.3]) if k == 2 else np.array([0.5, 0.3, 0.2]))
    logits = 2 * (rng.normal(size=(n, k)) + 1.2 * np.eye(k)[y])
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return OutOfFold(y=y, proba=proba, fold=np.arange(n) % FOLDS)


def _counted(known: OutOfFold, new: OutOfFold) -> pd.DataFrame:
    """Return coverage and set sizes on `new` cases, by level, of what was decided on the `known` ones."""
    classes = [str(k) for k in range(known.proba.shape[1])]
    rows = []
    for level in LEVELS:
        decisions = decide_on(known, Settings(coverage=level), classes).decisions
        found = set_figures(new.y, decisions.sets(decisions.calibrator(new.proba)), classes)
        by_class = [value for value in found["coverage_by_class"].values() if value is not None]
        rows.append(
            {
                "level": level,
                "coverage": found["coverage"],
                "worst class": min(by_class),
                "mean size": found["mean_size"],
                "single": found["single"],
                "empty": found["empty"],
                "n": found["n"],
            }
        )
    return pd.DataFrame(rows)


def _phantoms(folder: Path, runtime: Runtime, *, n: int, seed: int) -> pd.DataFrame:
    data = Dataset.from_csv(
        make_phantoms(folder / "sets", n=n, ndim=2, seed=seed, test_share=0.5, difficulty=1.5)
    )
    print_ = fingerprint(data, inspect(data))
    context = FitContext(runtime=runtime, fingerprint=print_, seed=seed)
    config, fidelity = radiomics.defaults(print_)[0], Fidelity(folds=1)
    assert data.y is not None
    assert data.split is not None
    train, test = (np.flatnonzero((data.split == "test") == is_test) for is_test in (False, True))

    def proba(fit_on: np.ndarray, asked: np.ndarray) -> np.ndarray:
        cases = [data.cases[row] for row in fit_on]
        model: FittedModel = radiomics.fit(config, cases, data.y[fit_on], fidelity=fidelity, context=context)
        return np.asarray(model.predict_proba([data.cases[row] for row in asked]))

    known, fold = np.zeros((len(train), 2)), np.zeros(len(train), dtype=np.int64)
    folds = stratified_group_folds(data.y[train], data.groups[train], FOLDS, seed=seed)
    for number, (rows, held) in enumerate(folds):
        known[held], fold[held] = proba(train[rows], train[held]), number
    new = OutOfFold(y=data.y[test], proba=proba(train, test), fold=np.zeros(len(test), dtype=np.int64))
    return _counted(OutOfFold(y=data.y[train], proba=known, fold=fold), new)


def scanner(folder: Path, runtime: Runtime, *, n: int, seed: int) -> pd.DataFrame:
    """Return who is told odd among phantoms, having learned on the northern scanner's."""
    rows = []
    for ndim in (2, 3):
        size = n if ndim == 2 else n // 3
        data = Dataset.from_csv(make_phantoms(folder / f"scan{ndim}", n=size, ndim=ndim, seed=seed))
        rows.append(_by_site(data, "north", runtime, seed=seed).assign(task=f"phantoms {ndim}D, {size}"))
    return pd.concat(rows)


def skin(runtime: Runtime, *, seed: int) -> pd.DataFrame:
    """Return who is told odd among photographs of moles, having learned on one collection after the other."""
    data = Dataset.from_csv(SHARED / "skin" / "labels.csv")
    assert data.sites is not None
    big = [site for site in sorted(set(data.sites.tolist())) if (data.sites == site).sum() >= 200]
    return pd.concat([_by_site(data, site, runtime, seed=seed).assign(task="skin") for site in big])


def alarms(*, n: int, seed: int) -> pd.DataFrame:
    """Return how many of `n` new cases are told odd where none is, by how many were learned from: mean and spread."""
    rng, rows = np.random.default_rng(seed), []
    mixing = rng.normal(size=(20, 200)) * np.linspace(2, 0.3, 20)[:, None]
    for n_train in (67, 100, 200, 300, 600):
        shares = []
        for _ in range(50):
            fitted = fit_oddity(_alike(rng, n_train, mixing), np.arange(n_train))
            assert fitted is not None
            oddity, crossed = fitted
            odd = np.mean([bool(parts) for parts in oddity.odd_parts(_alike(rng, n, mixing))])
            shares.append((odd, crossed))
        new, crossed_by = np.array(shares).T
        row = {
            "learned on": n_train,
            "cross-fitted": crossed_by.mean(),
            "new": new.mean(),
            "spread": new.std(),
        }
        rows.append(row | {"90th percentile": np.quantile(new, 0.9)})
    return pd.DataFrame(rows)


def _alike(rng: np.random.Generator, n: int, mixing: np.ndarray) -> Tables:
    """Return cases of one kind: a grid that hardly varies, skewed grey values, an embedding with few directions."""
    grid = np.column_stack([np.full((n, 4), 5.0), rng.normal(8, 1, n)])
    grey = np.column_stack([rng.lognormal(0, 0.4, (n, 4)), rng.normal(size=(n, 7)) + rng.normal(size=(n, 1))])
    seen = np.maximum(rng.normal(size=(n, len(mixing))) @ mixing + rng.normal(size=(n, mixing.shape[1])), 0)
    return {"geometry": list(grid), "intensity": list(grey), "embedding": list(seen)}


def _by_site(data: Dataset, home: str, runtime: Runtime, *, seed: int) -> pd.DataFrame:
    """Return the share of odd cases by site: learned on two thirds of `home`'s patients, asked of all others."""
    assert data.sites is not None
    own = np.flatnonzero(data.sites == home)
    patients = np.unique(data.groups[own])
    asked = np.random.default_rng(seed).permutation(patients)[: len(patients) // 3]
    held = np.isin(data.groups, asked)
    learned = own[~held[own]]
    known = data.subset(learned)
    context = FitContext(runtime=runtime, fingerprint=fingerprint(known, inspect(known)), seed=seed)

    def look(rows: np.ndarray) -> Tables:
        cases = [data.cases[row] for row in rows]
        found = dict(signatures(cases, artefacts=runtime.artefacts, n_threads=runtime.n_threads))
        return {**found, "embedding": list(eyes.embed(cases))}

    eyes = frozen_embedder(pretrained2d.defaults(context.fingerprint)[0], context)
    fitted = fit_oddity(look(learned), data.groups[learned])
    assert fitted is not None
    oddity, rate = fitted
    rows = [{"learned on": home, "asked": f"{home}, cross-fitted", "n": len(learned), "odd": rate}]
    others = [site for site in sorted(set(data.sites.tolist())) if site != home]
    for site in (home, *others):
        members = np.flatnonzero(
            (data.sites == site) & (held if site == home else ~np.isin(data.groups, patients))
        )
        if not len(members):
            continue
        parts = oddity.odd_parts(look(members))
        row = {"learned on": home, "asked": site, "n": len(members), "odd": np.mean([bool(p) for p in parts])}
        rows.append(row | {name: np.mean([name in p for p in parts]) for name in oddity.detectors})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
