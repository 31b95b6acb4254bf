"""The clinical family: columns read by what the fold held, and errors that say what to do."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.errors import AutoOncoError, DataError, MissingDependencyError
from autoonco.families.clinical import BOTH, family
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.tabular.clinical_columns import ClinicalEncoder, ColumnKind

FIDELITY = Fidelity(folds=1)


def rows_of(*values: dict) -> list[Case]:
    return [
        Case(case=f"c{i}", patient=f"p{i}", images={}, clinical=row, row=i)
        for i, row in enumerate(values, start=1)
    ]


def column(name: str, *values) -> list[Case]:
    return rows_of(*({name: value} for value in values))


@pytest.fixture
def setting(problem, tmp_path):
    """Forty cases whose label follows the stage and, less, the age."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 20)
    stage = np.where(rng.random(40) < 0.9, y, 1 - y)
    cases = rows_of(
        *(
            {"stage": ["early", "late"][s], "age": float(50 + 9 * k + rng.normal())}
            for s, k in zip(stage, y, strict=True)
        )
    )
    print_ = replace(problem.fingerprint, clinical=("stage", "age"), classes=("no", "yes"))
    context = FitContext(
        runtime=Runtime(artefacts=ArtefactCache(tmp_path / "cache")), fingerprint=print_, seed=0
    )
    return cases, y, context


def fitted(setting, **changes):
    cases, y, context = setting
    config = {**family.defaults(context.fingerprint)[0], **changes}
    return family.fit(config, cases[:30], y[:30], fidelity=FIDELITY, context=context)


def test_it_learns_and_names_no_case(setting):
    cases, y, _ = setting
    model = fitted(setting)
    proba = model.predict_proba(cases[30:])
    assert ((proba[:, 1] > 0.5) == y[30:]).mean() >= 0.9
    text = json.dumps(model.state().meta)
    assert "stage" in text
    assert "p1" not in text


def test_what_is_learned_is_learned_from_the_fold(setting):
    cases, y, context = setting
    other = [*cases[:30], *(replace(c, clinical={"stage": "else", "age": 1e6}) for c in cases[30:])]
    one, two = fitted(setting), fitted((other, y, context))
    np.testing.assert_array_equal(one.predict_proba(cases[30:]), two.predict_proba(cases[30:]))


def test_new_categories_and_missing_values_are_predicted(setting):
    odd = rows_of(
        {"stage": "never seen", "age": 60.0},
        {"stage": None, "age": None},
        {"stage": "late", "age": float("nan")},
    )
    proba = fitted(setting, missing="flagged").predict_proba(odd)
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_a_case_without_the_column_is_told_with_its_row_and_the_remedy(setting):
    lacking = [replace(case, clinical={"age": 50.0}) for case in rows_of({}, {})]
    with pytest.raises(DataError, match=r"row 1: the clinical column 'stage' .* stage, age: add the column"):
        fitted(setting).predict_proba(lacking)
    with pytest.raises(DataError, match=r"row 2: .*'age' says 'old', expected a number"):
        fitted(setting).predict_proba(rows_of({"stage": "late", "age": 3.0}, {"stage": "late", "age": "old"}))


def test_a_class_without_a_training_case_gets_nothing(setting):
    cases, y, context = setting
    three = replace(context, fingerprint=replace(context.fingerprint, classes=("no", "rare", "yes")))
    proba = fitted((cases, 2 * y, three)).predict_proba(cases[30:])
    assert proba.shape == (10, 3)
    assert (proba[:, 1] == 0).all()


def test_columns_that_say_nothing_are_an_error_of_their_own(setting):
    cases, y, context = setting
    same = [
        replace(case, clinical={"stage": "late", "age": 50.0 if i else None}) for i, case in enumerate(cases)
    ]
    with pytest.raises(DataError, match="one value each"):
        fitted((same, y, context))


def test_it_applies_where_columns_were_named(setting):
    print_ = setting[2].fingerprint
    assert family.why_not(print_) is None
    assert "--clinical" in family.why_not(replace(print_, clinical=()))
    assert "features" not in family.space(print_)
    assert "features" in family.space(replace(print_, has_mask=True))
    assert [d.get("features") for d in family.defaults(replace(print_, has_mask=True))].count(BOTH) == 1


# --- reading columns ------------------------------------------------------------------------------------------


def test_kinds_are_told_by_the_training_cases():
    names = ("a", "b", "c")
    cases = rows_of(*({"a": float(i), "b": "xy"[i % 2], "c": None} for i in range(4)))
    encoder = ClinicalEncoder.fitted(cases, names, flag_missing=True)
    assert [item.kind for item in encoder.columns] == [
        ColumnKind.NUMBER,
        ColumnKind.CATEGORY,
        ColumnKind.EMPTY,
    ]
    assert encoder.names == ("a", "b=x", "b=y")
    assert ClinicalEncoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder
    # a fold in which nobody has a value leaves the column out, whatever it turns out to hold
    assert encoder.transform(rows_of({"a": 1.0, "b": "x", "c": "text"})).tolist() == [[1, 1, 0]]


def test_a_number_is_the_same_category_however_it_is_written():
    encoder = ClinicalEncoder.fitted(column("grade", "1", "1.0", "2", "2", "x", "x"), ("grade",))
    assert encoder.names == ("grade=1", "grade=2", "grade=x")
    assert encoder.transform(column("grade", 1.0, 2.0)).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_rare_categories_are_not_kept_and_a_lone_one_never():
    cases = column("site", *["a"] * 16, *["b"] * 3, "c")
    assert ClinicalEncoder.fitted(cases, ("site",)).names == ("site=a", "site=b")
    assert ClinicalEncoder.fitted(cases, ("site",), min_share=0.2).names == ("site=a",)


def test_a_missing_value_is_flagged_only_where_one_was_missing():
    cases = rows_of(*({"a": None if i == 2 else float(i), "b": float(i)} for i in range(4)))
    encoder = ClinicalEncoder.fitted(cases, ("a", "b"), flag_missing=True)
    assert encoder.names == ("a", "a is missing", "b")
    np.testing.assert_array_equal(encoder.transform(cases)[:, 1], [0, 0, 1, 0])


# --- beside radiomics -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    data = Dataset.from_csv(make_phantoms(folder, n=12, ndim=2))
    cases = tuple(replace(case, clinical={"age": 50.0 + i % 5}) for i, case in enumerate(data.cases))
    data = replace(data, cases=cases, clinical=("age",))
    runtime = Runtime(artefacts=ArtefactCache(folder / "cache"))
    return data, FitContext(runtime=runtime, fingerprint=fingerprint(data, inspect(data)), seed=0)


def test_radiomics_stands_beside_the_columns(phantoms):
    data, context = phantoms
    config = next(d for d in family.defaults(context.fingerprint) if d["features"] == BOTH)
    model = family.fit(config, data.cases, data.y, fidelity=FIDELITY, context=context)
    assert model.radiomics is not None
    assert model.pipeline.n_features_in_ == 1 + len(model.radiomics.names)
    alone = family.fit(
        {**config, "features": "clinical"}, data.cases, data.y, fidelity=FIDELITY, context=context
    )
    assert alone.pipeline.n_features_in_ == 1
    assert alone.state().meta["radiomics"] is None


def test_features_of_another_backend_are_refused(phantoms):
    data, context = phantoms
    config = next(d for d in family.defaults(context.fingerprint) if d["features"] == BOTH)
    model = family.fit(config, data.cases, data.y, fidelity=FIDELITY, context=context)
    state = model.state()
    meta = {**state.meta, "radiomics": {**state.meta["radiomics"], "names": ["other"], "backend": "old-0"}}
    with pytest.raises(MissingDependencyError, match="old-0"):
        family.restore(replace(state, meta=meta), context.runtime).predict_proba(data.cases)


def test_a_manifest_to_predict_without_the_column_says_how_to_add_it(tmp_path):
    pd.DataFrame({"image": ["a.png"], "age": [3]}).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(AutoOncoError, match=r"'sex'.*add the column"):
        Dataset.from_csv(tmp_path / "new.csv", labelled=False, clinical=("age", "sex"))
