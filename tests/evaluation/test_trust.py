"""What a model brings beside its probabilities: learned, told on test cases, stored, and asked of a model file."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from autoonco.bundle import Bundle
from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.errors import AutoOncoError
from autoonco.evaluation.calibration import Calibrator, OutOfFold
from autoonco.evaluation.decisions import (
    INNER,
    KEPT,
    OUTER,
    Decided,
    Decisions,
    decide_on,
    with_sets,
    with_test_figures,
)
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.evaluation.tasks import TASKS
from autoonco.evaluation.told import DECISIONS_FILE, kept_apart, tell_trust, trust_folder
from autoonco.evaluation.trust import Trust, learn_trust, without
from autoonco.families.contract import Runtime
from autoonco.families.state import state_of, write_state
from autoonco.prediction import UNCERTAIN, Answer, table_of, uncertain
from autoonco.settings import Settings
from tests.fingerprints import PICTURES


class Bright:
    """A model that looks at how bright a picture is, and embeds that."""

    def embed(self, cases):
        from autoonco.data.signature import signatures

        found = signatures(cases, artefacts=self.artefacts)["intensity"]
        return np.array(found)[:, :3]

    def predict_proba(self, cases):
        p = 1 / (1 + np.exp(-(self.embed(cases)[:, 2] - 4)))
        return np.c_[1 - p, p]


def known(n=400, seed=0, k=2):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 2 * np.eye(k)[y]
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return OutOfFold(y=y, proba=proba, fold=np.arange(n) % 5)


def test_a_sensitivity_that_is_asked_for_is_kept_on_new_cases():
    settings = Settings(threshold="sensitivity", sensitivity=0.95)
    decided = decide_on(known(2000), settings, ("no", "yes"))
    new = known(4000, seed=1)
    called = decided.decisions.decide(decided.decisions.calibrator(new.proba)) == 1
    assert called[new.y == 1].mean() == pytest.approx(0.95, abs=0.02)
    assert decided.record["threshold"]["inner_sensitivity"] >= 0.95
    found = with_test_figures(decided, replace(new, proba=decided.decisions.calibrator(new.proba)))
    assert found.record["threshold"]["test_sensitivity"] == called[new.y == 1].mean()
    assert "test" not in decided.record["conformal"]  # what was recorded before stays as it was


def test_by_default_the_most_probable_class_is_told_and_several_classes_have_no_threshold():
    for k, rule in ((2, "most_probable"), (3, "youden")):
        decided = decide_on(known(k=k), Settings(threshold=rule), [str(c) for c in range(k)])
        assert decided.decisions.threshold is None
        new = known(50, seed=2, k=k).proba
        np.testing.assert_array_equal(decided.decisions.decide(new), new.argmax(axis=1))


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_sets_of_new_cases_cover_what_was_asked_and_the_record_says_so(level):
    decided = decide_on(known(3000), Settings(coverage=level), ("no", "yes"))
    new = known(4000, seed=3)
    tested = replace(new, proba=decided.decisions.calibrator(new.proba))
    found = with_test_figures(decided, tested).record["conformal"]
    assert found["test"]["coverage"] == pytest.approx(level, abs=0.02)
    assert found["cross_fitted"]["coverage"] == pytest.approx(level, abs=0.02)
    assert found["calibrated_on"] == INNER
    assert sum(found["test"]["sizes"].values()) == 4000


def test_decisions_come_back_from_json_as_they_were():
    decided = decide_on(known(k=3), Settings(calibration="isotonic"), ("a", "b", "c"))
    again = Decided.from_json(json.loads(json.dumps(decided.to_json())))
    new = known(60, seed=4, k=3).proba
    calibrated = again.decisions.calibrator(new)
    np.testing.assert_array_equal(calibrated, decided.decisions.calibrator(new))
    np.testing.assert_array_equal(again.decisions.sets(calibrated), decided.decisions.sets(calibrated))


def bundle_of(**changes):
    decisions = Decisions(threshold=0.3, set_thresholds=(0.6, 0.6), **changes)
    return Bundle(
        classes=("no", "yes"),
        fingerprint=PICTURES,
        members=(),
        facts={},
        trust=Trust(decisions=decisions),
    )


def test_ambiguous_cases_are_called_uncertain_and_what_is_sure_is_not():
    proba = np.array([[0.95, 0.05], [0.5, 0.5], [0.65, 0.35], [0.05, 0.95]])
    bundle = bundle_of()
    # the third: the set is the first class alone, the threshold says the second
    assert uncertain(bundle, proba).tolist() == [False, True, True, False]
    some = [
        Answer(case=Case(case=str(i), patient=str(i), images={}), proba=row) for i, row in enumerate(proba)
    ]
    plain, held = (table_of(some, bundle, abstain=abstain) for abstain in (False, True))
    assert plain["prediction"].tolist() == ["no", "yes", "yes", "yes"]
    assert held["prediction"].tolist() == ["no", UNCERTAIN, UNCERTAIN, "yes"]
    assert held["prediction_set"].tolist() == ["no", "no|yes", "no", "yes"]
    assert held["uncertain"].tolist() == ["no", "yes", "yes", "no"]
    assert held["out_of_distribution"].tolist() == [""] * 4  # nothing was learned of what is usual


def test_a_model_without_sets_does_not_pretend_to_know():
    old = replace(bundle_of(), trust=Trust())
    with pytest.raises(AutoOncoError, match="no prediction sets"):
        uncertain(old, np.array([[0.5, 0.5]]))
    some = [Answer(case=Case(case="a", patient="a", images={}), proba=np.array([0.4, 0.6]))]
    assert table_of(some, old, abstain=True).iloc[0]["prediction"] == "yes"


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    """Sixty phantoms in two outer folds and a final scope, with a model that sees brightness."""
    folder = tmp_path_factory.mktemp("trust")
    data = Dataset.from_csv(make_phantoms(folder, n=60, ndim=2, test_share=0.4))
    runtime = Runtime(artefacts=ArtefactCache(folder / "cache"))
    model = Bright()
    model.artefacts = runtime.artefacts
    rows = np.arange(60)

    def scope(name, train, test):
        decided = decide_on(known(), Settings(), data.classes)
        proba = model.predict_proba([data.cases[row] for row in test]) if len(test) else np.empty((0, 2))
        judged = Judged(name="ensemble", kind="ensemble", proba=proba)
        result = ScopeResult(judged=(judged,), delivered=(), fingerprint=PICTURES, decided=decided)
        return OuterSplit(scope=name, train=train, test=test), result

    outer = [scope(f"outer{k}", rows[rows % 2 != k], rows[rows % 2 == k]) for k in range(2)]
    return data, runtime, model, [*outer, scope(FINAL, rows, rows[:0])]


def learned(trusted, monkeypatch, scopes, kept=(), limit_s=np.inf):
    data, runtime, model, _ = trusted
    scopes = [(split, replace(result)) for split, result in scopes]
    monkeypatch.setattr("autoonco.evaluation.trust.restored", lambda *_: model)
    delivered = [type("Member", (), {"family": "x", "folder": None, "weight": 1.0})()]
    scopes[-1] = scopes[-1][0], replace(scopes[-1][1], delivered=tuple(delivered))
    splits, results = zip(*scopes, strict=True)
    return learn_trust(data, splits, results, np.array(kept, dtype=np.int64), runtime, limit_s=limit_s)


def test_sets_are_calibrated_on_cases_that_chose_nothing_where_there_are_any(trusted, monkeypatch):
    _, _, _, scopes = trusted
    nested = learned(trusted, monkeypatch, scopes).record["conformal"]
    assert nested["calibrated_on"] == OUTER
    assert sum(nested["n"].values()) == 60
    alone = learned(trusted, monkeypatch, scopes[-1:]).record["conformal"]
    assert alone["calibrated_on"] == INNER
    apart = learned(trusted, monkeypatch, scopes, kept=range(12)).record["conformal"]
    assert apart["calibrated_on"] == KEPT
    assert sum(apart["n"].values()) == 12


def test_odd_cases_are_told_by_a_model_file_and_nothing_in_it_names_a_case(trusted, monkeypatch, tmp_path):
    data, runtime, model, scopes = trusted
    found = learned(trusted, monkeypatch, scopes)
    assert found.record["out_of_distribution"]["cross_fitted_false_alarms"] <= 0.05
    write_state(tmp_path, found.trust.state())
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    text = b"".join(files.values())
    assert b"case_0" not in text
    assert b"patient" not in text
    again = Trust.from_state(state_of(files))
    bundle = Bundle(
        classes=data.classes,
        fingerprint=PICTURES,
        members=((1.0, model),),
        facts={},
        trust=again,
        runtime=runtime,
    )
    told = bundle.odd_parts(data.cases)
    assert told == found.trust.odd_parts(data.cases, ((1.0, model),), runtime)
    assert np.mean([bool(parts) for parts in told]) < 0.1
    volume = Dataset.from_csv(make_phantoms(tmp_path / "others", n=4, ndim=3, test_share=0.5)).cases[0]
    assert "geometry" in bundle.odd_parts([volume])[0]
    missing = replace(data.cases[0], images={"image": tmp_path / "nowhere.png"})
    assert bundle.odd_parts([data.cases[0], missing])[1] is None


def test_test_cases_are_told_in_parts_as_they_are_together(trusted, monkeypatch):
    monkeypatch.setattr("autoonco.evaluation.oddity.FEWEST", 20)
    found = learned(trusted, monkeypatch, trusted[3][:1])
    told = found.record["out_of_distribution"]["test"]
    data, runtime, model, scopes = trusted
    cases = [data.cases[row] for row in scopes[0][0].test]
    odd = found.trust.odd_parts(cases, ((1.0, model),), runtime)
    assert told["n"] == len(cases) == 30  # more than are looked at together
    assert told["odd"] == np.mean([bool(parts) for parts in odd])


def test_without_time_nothing_is_learned_of_what_is_usual_and_it_says_so(trusted, monkeypatch):
    _, _, _, scopes = trusted
    found = learned(trusted, monkeypatch, scopes, limit_s=-1.0)
    assert found.trust.oddity is None
    assert "in time" in found.record["out_of_distribution"]["reason"]


def test_a_failure_at_the_end_leaves_the_model_calibrated_as_it_was_judged(trusted, monkeypatch, tmp_path):
    data, runtime, _, scopes = trusted
    split, result = scopes[-1]
    write_state(tmp_path / "decisions", Trust(decisions=Decisions(threshold=0.1)).state())  # of another model

    def fails(*_, **__):
        raise ValueError(f"cannot look at {data.cases[0].case}")

    monkeypatch.setattr("autoonco.evaluation.told.learn_trust", fails)
    written = {}
    run = SimpleNamespace(path=tmp_path, write=written.__setitem__)
    none = np.empty(0, dtype=np.int64)
    groups = data.groups
    task = TASKS["classification"]
    (note,) = tell_trust(run, data, [], groups, [split], [result], none, runtime, task, limit_s=1.0)
    assert "ValueError: cannot look at row 1" in note
    files = {path.name: path.read_bytes() for path in trust_folder(tmp_path).iterdir()}
    assert Trust.from_state(state_of(files)).decisions == result.decided.decisions
    assert written[DECISIONS_FILE] == result.decided.record


def test_patients_kept_apart_are_in_no_training_part(trusted):
    data, *_ = trusted
    split = OuterSplit(scope=FINAL, train=np.arange(50), test=np.arange(50, 60))
    kept = kept_apart(data, split, data.groups, 0.2, seed=0)
    assert 8 <= len(kept) <= 12
    assert len(np.unique(data.y[kept])) == 2
    left = without(split, kept)
    assert not set(left.train) & set(kept)
    assert set(left.train) | set(kept) == set(range(50))
    assert not len(kept_apart(data, split, data.groups, 0.0, seed=0))


def test_a_set_of_one_fold_is_not_told_as_covered_by_itself():
    cases = replace(known(40), fold=np.zeros(40, dtype=int))
    base = Decided(decisions=Decisions(calibrator=Calibrator()), record={"classes": ["no", "yes"]})
    found = with_sets(base, cases, calibrated_on=INNER).record["conformal"]["cross_fitted"]
    assert found["mean_size"] == 2  # nothing was held out to count on: nothing is ruled out
