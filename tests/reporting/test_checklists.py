"""Checklists as data: whole, honest about what a run doesn't show, and METRICS counted as published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoonco.reporting.checklists import Checklist, Status, checklists, facts_of, metrics_score
from autoonco.reporting.content import make_content, run_tables
from autoonco.reporting.judged import evaluation_of
from autoonco.reporting.read_run import read_run
from autoonco.resources import load_checklists

BuildRun = Callable[..., Path]
NUMBERS = {"claim2024": 44, "tripod_ai": 27, "clear": 58, "metrics": 30}


def test_every_item_of_every_checklist_is_there_once() -> None:
    assert set(load_checklists()) == set(NUMBERS)
    for key, plain in load_checklists().items():
        numbers = [str(item["number"]) for item in plain["items"]]
        assert max(Counter(numbers).values()) == 1
        assert {int(number.rstrip("abcdefg")) for number in numbers} == set(range(1, NUMBERS[key] + 1))


def test_weights_of_metrics_add_up_to_one() -> None:
    weights = [item["weight"] for item in load_checklists()["metrics"]["items"]]
    assert sum(weights) == pytest.approx(1, abs=1e-9)


def test_sections_of_metrics_weigh_whole_parts_by_rank() -> None:
    """The rank-sum rule of its authors: the nine sections share 89 parts, the items of each share theirs by rank."""
    sections: dict[str, list[float]] = {}
    for item in load_checklists()["metrics"]["items"]:
        sections.setdefault(item["section"], []).append(item["weight"])
    parts = {name: 89 * sum(weights) for name, weights in sections.items()}
    assert {name: round(part) for name, part in parts.items()} == pytest.approx(parts, abs=0.02)
    assert sum(map(round, parts.values())) == 89
    for name, weights in sections.items():
        unit = next(u for u in range(1, 40) if all(_is_whole(w * u / sum(weights)) for w in weights))
        assert unit <= 23, name


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 0.02 and round(value) > 0


def test_facts_are_known_and_places_are_on_the_page(build_run: BuildRun) -> None:
    content = make_content(read_run(build_run()))
    facts = facts_of(content.data, run_tables(content.data))
    for plain in load_checklists().values():
        for item in plain["items"]:
            assert {item[name] for name in ("fact", "when") if name in item} <= set(facts)
    table = content.tables["checklists"]
    filled = table[table["status"] == "filled"]
    assert len(filled) > 30
    assert set(table["status"]) <= {str(status) for status in Status}
    assert not table.loc[table["status"] != "filled", "place"].any()


def test_an_empty_run_fills_nothing_that_needs_one(build_run: BuildRun) -> None:
    data = read_run(build_run(status="running", n_trials=0))
    found = checklists(facts_of(data, run_tables(data)), ())
    claim = next(one for one in found if one.key == "claim2024")
    by_number = {item.no: item.status for item in claim.items}
    assert by_number["28"] is by_number["37"] is Status.NOT_MET  # no test case was predicted
    assert by_number["1"] is Status.AUTHOR
    assert by_number["24"] is Status.NOT_APPLICABLE


def test_a_patient_torn_by_a_table_of_splits_is_not_called_apart(build_run: BuildRun) -> None:
    data = read_run(build_run())
    tables = {"evaluation": evaluation_of(data, figures=())}
    note = "3 test cases have their patient or their very picture among the cases learned from: not clean."
    torn = replace(data, run={**data.run, "notes": [note]})
    facts = [facts_of(each, tables) for each in (data, torn)]
    for name in ("patients_apart", "split_well"):
        assert [each[name] for each in facts] == [True, False]


def test_the_score_counts_what_applies() -> None:
    facts = dict.fromkeys(_facts(), False) | {"always": True}
    nothing = metrics_score(_metrics(facts))
    assert {item.no for item in nothing.counted} & {"8", "11", "14", "17"} == set()
    assert nothing.shown == pytest.approx(100 * 0.0368 / sum(item.weight for item in nothing.counted))
    assert nothing.shown < nothing.possible < 100
    everything = metrics_score(_metrics(dict.fromkeys(_facts(), True)))
    assert len(everything.counted) == 30
    assert everything.possible == pytest.approx(100)


def _facts() -> set[str]:
    items = [item for plain in load_checklists().values() for item in plain["items"]]
    return {item[name] for item in items for name in ("fact", "when") if name in item}


def _metrics(facts: dict[str, bool]) -> Checklist:
    return next(one for one in checklists(facts, ()) if one.key == "metrics")
