"""How a run decides, on the page and beside it: thresholds that were chosen, patients with several cases, repeats."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autoonco.evaluation.calibration import OutOfFold
from autoonco.evaluation.decisions import decide_on, with_test_figures
from autoonco.evaluation.predicted import once_each
from autoonco.evaluation.tables import EXACT, MAJORITY
from autoonco.reporting.clinical_section import clinical_section, curve_order
from autoonco.reporting.decided import decision_texts
from autoonco.reporting.families_section import curve_models, families_section
from autoonco.reporting.judged import comparison_of, evaluation_of, patients_of, verdict_of
from autoonco.reporting.key_facts import decisions_fact
from autoonco.reporting.page import write_report
from autoonco.reporting.read_run import RunData, read_run
from autoonco.reporting.summary import facts
from autoonco.settings import Settings

BuildRun = Callable[..., Path]
CLASSES = ("benign", "malignant")


def lesions(seed: int, n_patients: int) -> OutOfFold:
    """Three lesions a patient."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_patients), 3)
    y = codes % 2
    p = 1 / (1 + np.exp(-rng.normal(1.5 * y - 0.2)))
    return OutOfFold(y=y, proba=np.c_[1 - p, p], fold=codes % 5, patient=codes)


def record(*, rule: Any, tested: bool) -> dict[str, Any]:
    """Return what a run writes of its decisions."""
    decided = decide_on(lesions(0, 120), Settings(threshold=rule), CLASSES)
    if tested:
        new = lesions(1, 40)
        decided = with_test_figures(decided, replace(new, proba=decided.decisions.calibrator(new.proba)))
    return dict(decided.record)


def with_decisions(run: Path, decisions: dict[str, Any]) -> RunData:
    (run / "evaluation" / "decisions.json").write_text(json.dumps(decisions))
    return read_run(run)


def test_what_is_decided_on_patients_stands_on_the_page_and_beside_it(build_run: BuildRun) -> None:
    told = record(rule="youden", tested=True)
    run = build_run(n_trials=20)
    with_decisions(run, told)
    text = write_report(run).read_text()
    own = told["patients"]
    assert own["threshold"]["value"] != told["threshold"]["value"]
    assert f"The threshold is {own['threshold']['value']:.2f}. That was learned on 120 patients" in text
    assert "the probabilities of their cases become one, their mean" in text
    table = pd.read_csv(run / "report" / "tables" / "patient_decisions.csv")
    assert table["Patients"].tolist() == ["test patients", "patients of the inner folds, who chose it"]
    assert table["n"].tolist() == [40, 120]
    shares = [f"{100 * own['threshold'][f'{part}_sensitivity']:.0f} %" for part in ("test", "inner")]
    assert table["Sensitivity"].tolist() == shares
    sets = pd.read_csv(run / "report" / "tables" / "prediction_sets.csv").set_index("Of")
    assert sets.loc["test patients", "n"] == 40
    assert sets.loc["test cases", "n"] == 120
    assert sets.loc["test patients", "Coverage"] == pytest.approx(
        own["conformal"]["test"]["coverage"], abs=1e-3
    )
    blocks = {
        block["id"]: block
        for section in json.loads((run / "report" / "report.json").read_text())["sections"]
        for block in section["blocks"]
    }
    assert blocks["patient-decisions"]["rows"][0][1] == 40
    assert blocks["patient-decisions"]["rows"][0][2] == own["threshold"]["test_sensitivity"]
    card = json.loads((run / "report" / "model_card.json").read_text())
    assert card["decisions"]["patients"]["n"] == 120


def test_of_outer_folds_nothing_is_said_of_test_patients(build_run: BuildRun) -> None:
    run = build_run(n_trials=5, evaluation="nested", n_folds=5)
    section = clinical_section(with_decisions(run, record(rule="youden", tested=False)), "ensemble")
    table = next(block for block in section.blocks if getattr(block, "id", "") == "patient-decisions")
    assert [row[0].text for row in table.rows] == ["patients of the inner folds, who chose it"]
    assert "Test patients of outer folds were not decided on by it" in table.note


def test_a_run_whose_patients_have_one_case_says_nothing_of_it(build_run: BuildRun) -> None:
    told = record(rule="youden", tested=True)
    del told["patients"]
    section = clinical_section(with_decisions(build_run(n_trials=5), told), "ensemble")
    assert not any("Patients with several cases" in text for text in section.paragraphs)
    assert "patient-decisions" not in [getattr(block, "id", "") for block in section.blocks]


@pytest.mark.parametrize("of_folds", [None, [0.3, 0.4, 0.5, 0.6, 0.7]])
def test_what_the_test_cases_had_no_part_in_is_said_of_nothing_else(
    build_run: BuildRun, of_folds: list[float] | None
) -> None:
    told = record(rule="youden", tested=of_folds is None)
    if of_folds is not None:
        told["threshold"]["of_folds"] = of_folds
    n_folds = len(of_folds or [0])
    evaluation = "external" if of_folds is None else "nested"
    run = build_run(n_trials=2, evaluation=evaluation, n_folds=n_folds, n_test=60)
    data = with_decisions(run, told)
    text = " ".join(decision_texts(told, "classification"))
    assert ("No test case took part in that choice" in text) == (of_folds is None)
    assert ("no test patient took part in it" in text) == (of_folds is None)
    assert ("learned on all training cases, those that judge in outer folds too" in text) == bool(of_folds)
    whose = "the delivered model's threshold" if of_folds is None else "each outer fold's own threshold"
    fact = decisions_fact(data, "ensemble")
    assert fact is not None
    assert fact.note.endswith(f"at {whose}")
    section = clinical_section(data, "ensemble")
    note = next(block.note for block in section.blocks if getattr(block, "id", "") == "operating")
    assert note.startswith(f"Ensemble at {whose}")


def test_a_run_that_goes_on_shows_no_baseline_as_its_model(build_run: BuildRun) -> None:
    run = build_run(n_trials=2, evaluation="nested", n_folds=2, n_test=60)
    assert curve_order(read_run(run), "ensemble")[0] == "ensemble"
    (run / "evaluation" / "models.json").unlink()
    data = read_run(run)
    assert curve_order(data, None) == curve_models(data) == ["ensemble", "pretrained2d", "radiomics"]
    headings = [getattr(block, "heading", "") for block in clinical_section(data, None).blocks]
    assert "Confusion matrix of Ensemble on the test cases" in headings


@pytest.mark.parametrize("rule", ["most_probable", "youden"])
def test_figures_of_the_most_probable_class_say_that_the_model_decides_otherwise(
    build_run: BuildRun, rule: str
) -> None:
    data = with_decisions(build_run(n_trials=5), record(rule=rule, tested=True))
    section = families_section(data, evaluation_of(data), comparison_of(data), patients_of(data))
    notes = {getattr(block, "id", ""): getattr(block, "note", "") for block in section.blocks}
    assert "call the most probable class" in notes["evaluation"]
    assert ("decides otherwise, by a threshold" in notes["evaluation"]) == (rule == "youden")
    assert ("threshold of their own" in notes["patients"]) == (rule == "youden")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            {"parts": ["geometry", "intensity"], "allowed_false_alarms": 0.05, "test": {"n": 40, "odd": 0.1}},
            "told by geometry and intensity, so that about 5 % of cases like these are told wrongly. 10 % of 40 test",
        ),
        ({"parts": ["geometry"], "allowed_false_alarms": 0.05}, "5 % of cases like these are told wrongly."),
        ({"reason": "too few cases"}, "can't be told: too few cases"),
    ],
)
def test_how_cases_unlike_the_training_cases_are_told_is_said(record: dict[str, Any], said: str) -> None:
    (text,) = decision_texts({"out_of_distribution": record}, "classification")
    assert said in text


@pytest.mark.parametrize(("evaluation", "n_folds"), [("external", 1), ("nested", 5), ("nested", 1)])
def test_a_figure_of_outer_folds_is_not_told_as_that_of_the_delivered_model(
    build_run: BuildRun, evaluation: str, n_folds: int
) -> None:
    data = read_run(build_run(n_trials=5, evaluation=evaluation, n_folds=n_folds))
    figures, comparison = evaluation_of(data, figures=()), comparison_of(data)
    fact = facts(data, figures, comparison, verdict_of(data), "ensemble")[0]
    assert ("it is itself not judged" in fact.note) == (evaluation == "nested")
    section = families_section(data, figures, comparison, pd.DataFrame())
    note = next(block.note for block in section.blocks if getattr(block, "id", "") == "comparison")
    assert ("fitted models are compared" in note) == (n_folds == 1)


def test_whether_the_better_one_beats_a_guess_stands_beside_the_verdict(build_run: BuildRun) -> None:
    run = build_run(n_trials=5)
    write_report(run)
    table = pd.read_csv(run / "report" / "tables" / "comparison.csv")
    shown = table["above_chance"].map({True: "yes", False: "no", "True": "yes", "False": "no"}).fillna("–")
    sections = json.loads((run / "report" / "report.json").read_text())["sections"]
    block = next(b for s in sections for b in s["blocks"] if b["id"] == "comparison")
    place = block["columns"].index("Beats a guess")
    assert [row[place] for row in block["rows"]] == shown.tolist()
    assert "yes" in shown.tolist()
    assert "AUC above 0.5" in block["note"]


def test_repeats_of_outer_folds_count_a_case_once(build_run: BuildRun) -> None:
    run = build_run(n_trials=5, evaluation="nested", n_folds=5)
    path = run / "evaluation" / "predictions.csv"
    once = pd.read_csv(path).assign(repeat=0, n_train=120)
    again = once.assign(repeat=1, fold=once["fold"] + 5)
    before = decisions_fact(read_run(run), "ensemble")
    pd.concat([once, again], ignore_index=True).to_csv(path, index=False)
    data = read_run(run)
    assert decisions_fact(data, "ensemble") == before
    assert data.predictions is not None
    assert len(once_each(data.predictions)) == len(once)
    section = clinical_section(data, "ensemble")
    table = next(block for block in section.blocks if getattr(block, "id", "") == "operating")
    assert [row[4].number for row in table.rows[:2]] == [75, 75]
    assert any("each counts once" in text for text in section.paragraphs)
    assert not any(
        "each counts once" in text
        for text in clinical_section(replace(data, predictions=once), "ensemble").paragraphs
    )


def test_what_the_majority_class_has_by_construction_is_called_exact(build_run: BuildRun) -> None:
    run = build_run(n_trials=5, evaluation="nested", n_folds=3)
    path = run / "evaluation" / "predictions.csv"
    table = pd.read_csv(path)
    own = table[table["model"] == "radiomics"].assign(model=MAJORITY, p_0=0.6, p_1=0.4)
    pd.concat([table, own], ignore_index=True).to_csv(path, index=False)
    data = read_run(run)
    section = families_section(data, evaluation_of(data), pd.DataFrame(), pd.DataFrame())
    block = next(block for block in section.blocks if getattr(block, "id", "") == "evaluation")
    rows = {row[0].text: [cell.text for cell in row] for row in block.rows}
    assert "0.50 (exact)" in rows["Baseline: majority class"]
    assert not any("exact" in cell for cell in rows["Radiomics"])
    assert "Exact is what follows from telling every case the same" in block.note
    assert EXACT not in block.note
