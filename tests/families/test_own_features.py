"""A model of the user's own features: it takes them by name, and says which row lacks what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from autoonco.classifier import AutoOncoClassifier, load
from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.errors import DataError
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.families.own_features import family
from autoonco.settings import Settings
from tests.families.test_radiomics import fingerprint

N = 90


@pytest.fixture(scope="module")
def cases_and_labels():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], N // 2)
    table = rng.normal(size=(N, 6))
    table[:, 2] += 3 * y
    table[4, 1] = np.nan
    cases = tuple(
        Case(
            case=f"c{i}", patient=f"p{i}", images={}, row=i + 1,
            features={f"f{k}": float(value) for k, value in enumerate(row)},
        )
        for i, row in enumerate(table)
    )  # fmt: skip
    return cases, y


@pytest.fixture(scope="module")
def fitted(cases_and_labels, tmp_path_factory):
    cases, y = cases_and_labels
    facts = fingerprint(n_cases=N, has_mask=False, own_features=tuple(f"f{k}" for k in range(6)))
    runtime = Runtime(artefacts=ArtefactCache(tmp_path_factory.mktemp("cache")))
    context = FitContext(runtime=runtime, fingerprint=facts, seed=0)
    return family.fit(
        family.defaults(facts)[0], cases[:60], y[:60], fidelity=Fidelity(folds=1), context=context
    )


def test_columns_are_taken_by_name_not_place(fitted, cases_and_labels):
    cases, y = cases_and_labels
    expected = fitted.predict_proba(cases[60:])
    assert roc_auc_score(y[60:], expected[:, 1]) > 0.9
    turned = [
        replace(case, features={"more": 1.0, **dict(reversed(case.features.items()))}) for case in cases[60:]
    ]
    np.testing.assert_array_equal(fitted.predict_proba(turned), expected)


def test_what_a_case_lacks_is_named_by_row(fitted, cases_and_labels):
    cases, _ = cases_and_labels
    without = {name: value for name, value in cases[7].features.items() if name != "f3"}
    with pytest.raises(DataError, match=r"row 8: .* no column 'f3'"):
        fitted.predict_proba([cases[6], replace(cases[7], features=without)])
    with pytest.raises(DataError, match=r"row 8: .* has none.*--features"):
        fitted.predict_proba([replace(cases[7], features={})])


def test_why_not_names_the_option():
    assert "--features" in (family.why_not(fingerprint()) or "")
    assert family.why_not(fingerprint(own_features=("a",), has_mask=False)) is None


def test_a_table_without_variation_teaches_nothing(cases_and_labels, tmp_path):
    cases, y = cases_and_labels
    flat = [replace(case, features={"a": 1.0}) for case in cases]
    context = FitContext(
        runtime=Runtime(artefacts=ArtefactCache(tmp_path)),
        fingerprint=fingerprint(own_features=("a",)),
        seed=0,
    )
    with pytest.raises(DataError, match="one value"):
        family.fit(family.defaults(fingerprint())[0], flat, y, fidelity=Fidelity(folds=1), context=context)


@pytest.mark.alone
@pytest.mark.slow
def test_a_whole_run_on_a_table_and_its_prediction(tmp_path):
    manifest = make_phantoms(tmp_path / "data", n=36, ndim=2)
    dataset = Dataset.from_csv(manifest)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"case": [case.case for case in dataset.cases], "noise": rng.normal(size=36)})
    table["signal"] = dataset.y + 0.3 * rng.normal(size=36)
    table.to_parquet(tmp_path / "own.parquet")
    model = AutoOncoClassifier(
        time_limit=120,
        families=["own_features"],
        features=tmp_path / "own.parquet",
        run_dir=tmp_path / "run",
        settings=Settings(max_trials=2, seconds="prior"),
    ).fit(manifest)
    again = load(model.save(tmp_path / "model.onco"))
    proba = again.predict_proba(dataset.with_features(table))
    assert roc_auc_score(dataset.y, proba[:, 1]) > 0.9
    alone = again.predict_table(dataset.unlabelled().with_features(table[1:]))
    assert alone["status"].tolist() == ["error"] + ["ok"] * 35
    assert "--features" in alone["message"][0]
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            assert b"own.parquet" not in path.read_bytes()
