"""Pictures and explanations of a run folder: shown, named by row alone, left out on request, and never trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from autoonco.evaluation.pairs import COLUMNS, FAMILIES
from autoonco.reporting.blocks import Table
from autoonco.reporting.cautions import warnings
from autoonco.reporting.clinical_section import thresholds_of
from autoonco.reporting.families_section import _comparison_block
from autoonco.reporting.key_facts import shortcut_fact
from autoonco.reporting.page import write_report
from autoonco.reporting.plots_clinical import confusion_counts
from autoonco.reporting.read_run import read_run
from autoonco.reporting.result import Result

BuildRun = Callable[..., Path]
NAME = "Jane Doe <b>"


def add_explanations(run: Path) -> Path:
    """Add what a fit explains, as `evaluation.explained` writes it."""
    folder = run / "explanations"
    folder.mkdir()
    for name in ("case-3", "case-4", "pretrained2d-5"):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(folder / f"{name}.png")
    chosen = {"row": 3, "why": "most right", "truth": 1, "proba": [0.1, 0.9]}
    network = {"row": 5, "why": "most wrong", "truth": 0, "proba": [0.2, 0.8], "method": "Grad-CAM"}
    network |= {"family": "pretrained2d", "network": "net", "picture": "pretrained2d-5.png", "planes": 1}
    histogram = {"edges": [0, 1, 2], "counts": [[3, 4], [5, 6]], "cases": [2, 2]}
    radiomics = {"names": ["original_glcm_Contrast", "original_shape2D_Sphericity"], "rows": [3, 4]}
    radiomics |= {
        "base": [0.4],
        "unit": "probability",
        "method": "TreeSHAP",
        "chosen": [chosen],
        "outputs": [1],
    }
    told = {
        "format": 1,
        "seen": False,
        "notes": ["Maps of x could not be made: '/data/Jane Doe/scan.nii'"],
        "gallery": [
            {"row": 3, "class": 0, "picture": "case-3.png"},
            {"row": 4, "class": 1, "picture": "../../secret.png"},
        ],
        "typical": [{"row": 4, "class": 1, "why": "atypical", "picture": "case-4.png"}],
        "networks": [network],
        "histograms": [{"channel": "image", "where": "lesion"} | histogram],
        "radiomics": radiomics,
    }
    (folder / "explanations.json").write_text(json.dumps(told))
    values = np.array([[[0.3], [-0.1]], [[0.1], [0.0]]], np.float32)
    np.savez_compressed(folder / "shap.npz", values=values, data=values[..., 0])
    cases = {"row": [3, 4], "part": ["train", "test"], "class": [0, 1], "site": [1, 2], "size": [10.0, 30.0]}
    pd.DataFrame(cases | {"longest_mm": 5.0, "lowest": 0.0, "highest": 1.0}).to_csv(
        folder / "cases.csv", index=False
    )
    return run


def text_of(folder: Path) -> str:
    return "".join(
        path.read_bytes().decode("utf-8", "replace") for path in folder.rglob("*.*") if path.suffix != ".png"
    )


def test_pictures_and_explanations_are_shown_by_row(build_run: BuildRun, tmp_path: Path) -> None:
    run = add_explanations(build_run())
    page = write_report(run, tmp_path / "a").read_text()
    assert page.count("data:image/png;base64,") == 3
    for part in (
        "gallery",
        "typical-cases",
        "maps-pretrained2d",
        "figure-shap-summary",
        "figure-waterfall-1",
        "sites",
    ):
        assert f'id="{part}"' in page
    assert "near to a circle" in page
    assert "row 3" in page
    assert "Jane" not in text_of(tmp_path / "a")
    assert "secret" not in text_of(tmp_path / "a")


def test_names_appear_only_where_they_are_asked_for(build_run: BuildRun, tmp_path: Path) -> None:
    run = add_explanations(build_run())
    write_report(run, tmp_path / "plain")
    assert NAME not in text_of(tmp_path / "plain")
    page = write_report(run, tmp_path / "named", ids={3: NAME}).read_text()
    assert "row 3 (Jane Doe &lt;b&gt;)" in page
    assert NAME not in page
    assert NAME in (tmp_path / "named" / "tables" / "cases.csv").read_text()


def test_a_page_without_pictures_holds_none(build_run: BuildRun, tmp_path: Path) -> None:
    page = write_report(add_explanations(build_run()), tmp_path / "a", pictures=False)
    assert "data:image" not in page.read_text()
    assert not list((tmp_path / "a").rglob("*.png"))


@pytest.mark.parametrize("content", ["{", "[]", '{"radiomics": 3}', ""])
def test_damaged_explanations_cost_themselves_alone(
    build_run: BuildRun, tmp_path: Path, content: str
) -> None:
    run = add_explanations(build_run(status="running", n_trials=0))
    (run / "explanations" / "explanations.json").write_text(content)
    (run / "explanations" / "shap.npz").write_bytes(b"nonsense")
    assert write_report(run, tmp_path / "a").is_file()
    assert any("explanations" in problem for problem in read_run(run).problems)


def test_every_figure_and_table_is_had_from_python(build_run: BuildRun) -> None:
    result = Result(add_explanations(build_run(n_trials=80)))
    makers = [name for name in dir(result.plots) if not name.startswith("_")]
    absent = {"set_sizes", "subgroups"}
    for name in sorted(set(makers) - absent):
        assert getattr(result.plots, name)().axes, name
    tables = result.tables()
    assert {"evaluation", "comparison", "cost", "checklists", "feature_importance", "typicality"} <= set(
        tables
    )
    assert result.table("feature_importance")["share"].sum() == pytest.approx(1)
    assert result.model_card()["statement"].startswith("For research")


def test_a_model_that_keeps_its_auc_under_another_mask_has_no_shortcut(build_run: BuildRun) -> None:
    run = build_run()
    rows = [("lesion masked out", 0.55), ("mask dilated", 0.93), ("box in place of mask", 0.95)]
    table = pd.DataFrame([{"probe": name, "n": 60, "value": v, "lower": v, "upper": v} for name, v in rows])
    table.to_csv(run / "evaluation" / "shortcuts.csv", index=False)
    fact = shortcut_fact(read_run(run), pd.DataFrame())
    assert fact is not None
    assert "0.55" in fact.value
    assert "lesion masked out" in fact.note


@pytest.mark.parametrize(("lower", "is_told"), [(0.45, False), (0.61, True)])
def test_a_model_that_does_without_the_lesion_is_warned_of(
    lower: float, is_told: bool, build_run: BuildRun
) -> None:
    run = build_run()
    rows = [("background only", lower), ("mask shifted", 0.9)]
    table = pd.DataFrame(
        [{"probe": name, "n": 32, "value": 0.84, "lower": v, "upper": 1.0} for name, v in rows]
    )
    table.to_csv(run / "evaluation" / "shortcuts.csv", index=False)
    told = [line for line in warnings(read_run(run), pd.DataFrame(), None) if "Without the lesion" in line]
    assert len(told) == is_told
    assert all("background only" in line and "0.84" in line for line in told)


def test_outer_folds_are_called_by_their_own_thresholds() -> None:
    cases = pd.DataFrame({"fold": [0, 0, 1, 1], "truth": [0, 1, 0, 1], "p_0": 0.7, "p_1": 0.3})
    told = {"threshold": {"rule": "youden", "value": 0.9, "of_folds": [0.2, 0.4]}}
    counts = confusion_counts(cases, 2, thresholds_of(told, cases))
    assert counts.tolist() == [[1, 1], [1, 1]]  # the first fold's all positive, the second's all negative
    del told["threshold"]["of_folds"]
    assert confusion_counts(cases, 2, thresholds_of(told, cases)).tolist() == [[2, 0], [2, 0]]


def test_grades_are_called_by_their_median() -> None:
    cases = pd.DataFrame({"fold": [0], "truth": [1], "p_0": 0.4, "p_1": 0.2, "p_2": 0.4})
    assert confusion_counts(cases, 3, None, task="ordinal")[1].tolist() == [0, 1, 0]
    assert confusion_counts(cases, 3, None)[1].tolist() == [1, 0, 0]


@pytest.mark.parametrize("verdict", ["inconclusive", "better"])
def test_a_small_p_without_a_verdict_is_explained(verdict: str) -> None:
    row = dict.fromkeys(COLUMNS, 0.001) | {"first": "radiomics", "second": "ensemble", "kind": FAMILIES}
    row |= {"n": 40, "n_folds": 5, "verdict": verdict, "method": "corrected resampled t, 5 folds"}
    block = _comparison_block(pd.DataFrame([row]))
    assert isinstance(block, Table)
    assert ("better than a guess" in block.note) == (verdict == "inconclusive")
