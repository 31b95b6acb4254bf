from __future__ import annotations

import json

import numpy as np
import pytest

from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.evaluation.power import foreseen
from autoonco.evaluation.splits import FINAL, OuterSplit
from autoonco.evaluation.tasks import TASKS
from autoonco.metrics.power import power_of_folds, power_of_test

TASK = TASKS["classification"]


def dataset(n: int, k: int = 2, *, cases_a_patient: int = 1) -> Dataset:
    cases = tuple(
        Case(case=f"c{i}", patient=f"p{i // cases_a_patient}", images={}, row=i + 1) for i in range(n)
    )
    y = np.arange(n) // cases_a_patient % k
    return Dataset(cases=cases, classes=tuple(f"class {j}" for j in range(k)), y=y)


def folds(n: int, k: int, repeats: int = 1) -> list[OuterSplit]:
    rows = np.arange(n)
    return [
        OuterSplit(scope=f"outer{r}{i}", train=rows[rows % k != i], test=rows[rows % k == i], repeat=r)
        for r in range(repeats)
        for i in range(k)
    ] + [OuterSplit(scope=FINAL, train=rows, test=rows[:0])]


def test_one_test_set_is_counted_by_patient() -> None:
    data = dataset(120, cases_a_patient=3)
    split = OuterSplit(scope=FINAL, train=np.arange(60), test=np.arange(60, 120))
    found = foreseen(data, data.groups, [split], TASK, margin=0.05)
    assert found is not None
    assert found["patients"] == {"class 0": 10, "class 1": 10}
    assert found["n_patients"] == 20
    assert found["margin"] == power_of_test([(10, 10)]).margin
    assert found["n_folds"] == 1
    assert "20 test patients (10 class 0, 10 class 1)" in found["sentence"]
    assert "can't be expected to be shown as equivalent within 0.05" in found["sentence"]
    json.dumps(found, allow_nan=False)


def test_folds_and_their_repeats_count() -> None:
    data = dataset(600, 2)
    once, often = (foreseen(data, data.groups, folds(600, 5, r), TASK, margin=0.05) for r in (1, 10))
    assert once is not None
    assert often is not None
    assert (often["n_folds"], often["n_repeats"], often["n_patients"]) == (50, 10, 600)
    assert often["difference"] == pytest.approx(power_of_folds([(60, 60)], 50, 1 / 4).difference)
    assert once["difference"] > often["difference"]
    assert f"at least {often['difference']:.2f}" in often["sentence"]
    assert (
        f"dealt 10 times (outer_repeats), which takes as many times longer, would rather show {often['difference']:.2f}"
        in once["sentence"]
    )
    assert "outer_repeats" not in often["sentence"]
    # where sites or a table of splits are the folds, they can't be dealt anew
    given = foreseen(data, data.groups, folds(600, 5), TASK, margin=0.05, can_repeat=False)
    assert given is not None
    assert given["difference"] == once["difference"]
    assert "outer_repeats" not in given["sentence"]


def test_many_cases_can_show_equivalence() -> None:
    data = dataset(8000)
    split = OuterSplit(scope=FINAL, train=np.arange(4000), test=np.arange(4000, 8000))
    found = foreseen(data, data.groups, [split], TASK, margin=0.05)
    assert found is not None
    assert found["sentence"].endswith("can be shown to be, within 0.05.")


@pytest.mark.parametrize("task", TASKS)
def test_several_classes(task: str) -> None:
    data = dataset(600, 3)
    found = foreseen(data, data.groups, folds(600, 5), TASKS[task], margin=0.05)
    assert found is not None
    assert 0.05 < found["difference"] < 0.15


def test_a_handful_says_that_nothing_can_be_shown() -> None:
    data = dataset(10)
    split = OuterSplit(scope=FINAL, train=np.arange(4), test=np.arange(4, 10))
    found = foreseen(data, data.groups, [split], TASK, margin=0.05)
    assert found is not None
    assert found["difference"] is None
    assert "no difference in AUC between two families is likely to be shown" in found["sentence"]


def test_nothing_judges() -> None:
    data = dataset(10)
    nobody = OuterSplit(scope=FINAL, train=np.arange(10), test=np.arange(0))
    lone = OuterSplit(scope=FINAL, train=np.arange(9), test=np.array([9]))
    assert foreseen(data, data.groups, [nobody], TASK, margin=0.05) is None
    assert foreseen(data, data.groups, [lone], TASK, margin=0.05) is None
