"""A row a patient: cases made one as they were judged, decided on by what was learned on patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autoonco.classifier import AutoOncoClassifier
from autoonco.errors import UnknownNameError, UnsafeBundleError
from autoonco.evaluation.decisions import Decisions, PatientLevel
from autoonco.evaluation.trust import Trust
from tests.test_prediction import Mean, model, write

LEVELS = {"a": (25, 230), "b": (51,), "c": (204, 51, 153)}
OWN = Decisions(threshold=0.3, level=0.9, set_thresholds=(0.5, 0.75))


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """Cases of three patients in turn: the first case of each, then the second, and so on."""
    cases = [(i, name, level) for name, levels in LEVELS.items() for i, level in enumerate(levels)]
    rows = [
        {"case": f"{name}{i}", "patient": name, "image": str(write(tmp_path / f"{name}{i}.png", level))}
        for i, name, level in sorted(cases)
    ]
    return pd.DataFrame(rows)


def deciding(patients: PatientLevel | None, **more: Any) -> AutoOncoClassifier:
    found = model((1.0, Mean()))
    decisions = Decisions(threshold=0.9, set_thresholds=(0.95, 0.4), patients=patients, **more)
    found._bundle = replace(found._fitted(), trust=Trust(decisions=decisions))
    return found


@pytest.mark.parametrize(("how", "merge"), [("mean", np.mean), ("max", np.max)])
def test_a_patient_s_row_is_that_of_a_loop_over_the_cases(frame: pd.DataFrame, how: str, merge: Any) -> None:
    table = deciding(PatientLevel(how=how, decisions=OWN)).predict_table(frame, by="patient")
    assert table["patient"].tolist() == ["a", "b", "c"]
    assert table["n_cases"].tolist() == [2, 1, 3]
    expected = np.array([merge(levels) / 255 for levels in LEVELS.values()])
    np.testing.assert_allclose(table["probability_yes"], expected, atol=1e-6)
    np.testing.assert_allclose(table["probability_no"], 1 - expected, atol=1e-6)
    assert (table["prediction"] == "yes").tolist() == (expected >= 0.3).tolist()  # that of patients, not 0.9
    within = [["no"] * int(p <= 0.5) + ["yes"] * int(1 - p <= 0.75) for p in expected]
    assert table["prediction_set"].tolist() == ["|".join(names) for names in within]
    assert (table["status"] == "ok").all()


def test_a_case_that_fails_does_not_count_and_its_patient_is_told_in_part(frame: pd.DataFrame) -> None:
    Path(frame.loc[frame["case"] == "c0", "image"].item()).write_bytes(b"no picture")
    Path(frame.loc[frame["case"] == "b0", "image"].item()).unlink()
    done: list[tuple[int, int]] = []
    model_ = deciding(PatientLevel(how="max", decisions=OWN))
    table = model_.predict_table(frame, by="patient", on_progress=lambda *at: done.append(at))
    assert table["status"].tolist() == ["ok", "error", "partial"]
    assert table["probability_yes"].tolist() == pytest.approx([230 / 255, np.nan, 153 / 255], nan_ok=True)
    assert table["message"][2].startswith("1 of 3 cases could not be predicted and don't count. row 3")
    assert table["prediction"].isna().tolist() == [False, True, False]
    assert done[-1] == (6, 6)


def test_where_no_training_patient_had_several_a_lone_case_is_decided_on_as_such(frame: pd.DataFrame) -> None:
    cases = deciding(None).predict_table(frame)
    for level in (PatientLevel(how="mean"), None):  # None: a model of an earlier version
        table = deciding(level).predict_table(frame, by="patient", abstain=True)
        lone = cases[cases["case"] == "b0"].iloc[0]
        same = ["prediction", "prediction_set", "uncertain", "probability_yes"]
        assert table.loc[1, same].tolist() == lone[same].tolist()
        assert table.loc[[0, 2], "prediction_set"].tolist() == ["", ""]
        assert table["prediction"].tolist() == ["yes", "no", "yes"]  # the most probable class
        assert table["message"].str.contains("never judged").tolist() == [True, False, True]


def test_ambiguous_patients_are_left_open_where_asked(frame: pd.DataFrame) -> None:
    told = deciding(PatientLevel(how="mean", decisions=OWN))
    plain, open_ = (told.predict_table(frame, by="patient", abstain=wanted) for wanted in (False, True))
    assert plain["uncertain"].tolist() == open_["uncertain"].tolist()
    assert (open_["prediction"] == "uncertain").tolist() == (plain["uncertain"] == "yes").tolist()
    assert "yes" in plain["uncertain"].tolist()


def test_cases_without_a_patient_are_one_each_and_no_cases_no_rows(frame: pd.DataFrame) -> None:
    told = deciding(PatientLevel(how="mean", decisions=OWN))
    nobody = told.predict_table(frame.assign(patient=""), by="patient")
    assert nobody["n_cases"].tolist() == [1] * 6
    assert nobody["patient"].tolist() == frame["case"].tolist()
    with pytest.raises(UnknownNameError, match="lesion"):
        told.predict_table(frame, by="lesion")


def test_how_patients_are_decided_on_is_read_back_and_nothing_else_is() -> None:
    found = Decisions(patients=PatientLevel(how="max", decisions=OWN))
    assert Decisions.from_json(found.to_json()) == found
    damaged = found.to_json()
    damaged["several"]["how"] = "median"
    with pytest.raises(UnsafeBundleError, match="median"):
        Decisions.from_json(damaged)
    older = {name: value for name, value in found.to_json().items() if name != "several"}
    assert Decisions.from_json(older).patients is None
