from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from autoonco.arguments import as_cases, as_labelled, reading, seconds, usable, with_labels
from autoonco.data.checks import Finding, Severity
from autoonco.errors import AutoOncoError, DataError
from autoonco.progress import ProgressTable
from autoonco.settings import Settings


@pytest.mark.parametrize("text", ["soon", "-5min", "0", "nan", "inf", ""])
def test_a_time_limit_that_is_none_is_told(text):
    with pytest.raises(AutoOncoError, match="is no time"):
        seconds(text)


def test_what_can_not_be_cases_is_told(dataset, tmp_path):
    with pytest.raises(DataError, match="mixed list"):
        as_cases([dataset.cases[0], "scan.nii.gz"])
    with pytest.raises(DataError, match="There is no image in"):
        as_cases(tmp_path)
    with pytest.raises(DataError, match="no labels"):
        as_labelled(dataset.unlabelled())


def test_a_row_that_can_be_predicted_is_not_always_one_to_learn_from(dataset, tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    for changes, words in (
        ({"patient": ["p", ""]}, r"^row 2: column 'patient' is empty"),
        ({"case": ["a", "a"]}, "^row 2: the case identifier is that of row 1"),
        ({"image": [path, path], "lesion_x": ["", "left"]}, "^row 2, columns lesion_x"),
    ):
        frame = pd.DataFrame({"image": [path, path]} | changes).astype(str)
        assert len(as_cases(frame)) == 2
        with pytest.raises(DataError, match=words):
            with_labels(frame, ["no", "yes"])
    with pytest.raises(DataError, match=r"^row 2: the case identifier"):
        with_labels([path, path], ["no", "yes"])
    again = with_labels([dataset.cases[0], dataset.cases[1], dataset.cases[0]], ["no", "yes", "no"])
    assert len(again) == 3  # a bootstrap draws a case twice


def finding(row):
    return Finding(
        code="X", severity=Severity.ERROR, row=row, message=f"Row {row} is bad.", remedy="Mend it."
    )


def test_bad_cases_are_left_out_or_stop_the_run(dataset):
    facts = list(range(60))
    kept, kept_facts = usable(dataset, facts, [finding(2), finding(60)], Settings(on_bad_case="exclude"))
    assert len(kept) == 58
    assert kept_facts == [i for i in facts if i not in (1, 59)]
    with pytest.raises(DataError, match="Row 2 is bad"):
        usable(dataset, facts, [finding(2)], Settings())
    with pytest.raises(DataError, match="Row None is bad"):
        usable(dataset, facts, [finding(None)], Settings(on_bad_case="exclude"))


def test_only_columns_that_subgroups_are_told_by_go_on(dataset):
    cells = {name: tuple(map(str, range(60))) for name in ("Gender", "scanner", "malignancy", "address")}
    kept, _ = usable(replace(dataset, others=cells), list(range(60)), [], Settings())
    assert set(kept.others) == {"Gender", "scanner"}


def test_a_class_that_is_gone_is_told(dataset):
    bad = [finding(case.row) for case, label in zip(dataset.cases, dataset.y, strict=True) if label == 1]
    with pytest.raises(DataError, match="No usable case"):
        usable(dataset, list(range(60)), bad, Settings(on_bad_case="exclude"))


def test_an_observer_that_can_is_shown_how_the_cases_are_read():
    seen, also = [], []
    told = reading(SimpleNamespace(reading=lambda *n: seen.append(n)), lambda *n: also.append(n))
    told(1, 2)
    told(2, 2)
    assert seen == also == [(1, 2), (2, 2)]
    reading(None)(1, 2)
    reading(lambda progress: 1 / 0)(1, 2)  # an observer of searches alone is not called


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_drawn_on_a_terminal_alone(is_terminal, monkeypatch):
    monkeypatch.delenv("TERM", raising=False)
    out = io.StringIO()
    with ProgressTable(Console(file=out, force_terminal=is_terminal, width=80)) as table:
        table.reading(3, 10)
        table.reading(10, 10)
    assert ("10/10" in out.getvalue()) == is_terminal
    assert is_terminal or out.getvalue() == ""
