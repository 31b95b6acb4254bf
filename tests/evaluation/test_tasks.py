from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.data.folds import stratified_group_folds
from autoonco.errors import DataError, UnknownNameError
from autoonco.evaluation.tasks import TASKS, get_task, metric_of

ORDINAL = get_task("ordinal")


def graded(dataset, classes, y=None, **changes):
    return replace(dataset, classes=classes, y=np.arange(60) % len(classes) if y is None else y, **changes)


def test_grades_are_ordered_by_number_not_as_text(dataset):
    found = ORDINAL.labelled(graded(dataset, ("-1", "10", "2")))
    assert found.classes == ("-1", "2", "10")
    before = graded(dataset, ("-1", "10", "2"))
    unlabelled = ORDINAL.labelled(replace(before, y=np.where(np.arange(60) == 5, -1, before.y)))
    assert np.flatnonzero(unlabelled.y < 0).tolist() == [5]
    names = [before.classes[k] for k in before.y]
    assert [found.classes[k] for k in found.y] == names


def test_an_order_that_was_named_is_kept_and_an_unknown_one_refused(dataset):
    named = graded(dataset, ("low", "high", "highest"), is_ordered=True)
    assert ORDINAL.labelled(named) is named
    with pytest.raises(DataError, match=r"Class 'low' is no number.*--classes"):
        ORDINAL.labelled(graded(dataset, ("low", "high", "highest")))


@pytest.mark.parametrize("seed", range(8))
def test_strata_of_grades_are_neighbours_of_enough_patients_and_folds_can_be_made(seed):
    rng = np.random.default_rng(seed)
    y = np.sort(np.concatenate([np.repeat(np.arange(5), 2), rng.choice(5, 50, p=rng.dirichlet(np.ones(5)))]))
    groups = np.arange(60).astype(str)
    strata = ORDINAL.strata(y, groups, 5)
    assert (np.diff(strata) >= 0).all()  # y is sorted: neighbours stay neighbours
    for stratum in np.unique(strata):
        assert len(set(groups[strata == stratum])) >= 5
    assert all(len(set(strata[y == grade])) == 1 for grade in range(5))
    for train, test in stratified_group_folds(strata, groups, 5, seed=seed):
        assert set(strata[train]) == set(strata[test]) == set(strata)


def test_grades_of_too_few_patients_in_all_are_told_as_classes_are():
    y, groups = np.repeat([0, 1], [3, 20]), np.arange(23).astype(str)
    assert ORDINAL.strata(y, groups, 5) is None
    with pytest.raises(DataError, match="'g1' has 3 patient"):
        stratified_group_folds(y, groups, 5, seed=0, class_names=["g1", "g2"])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_task_has_a_score_that_ranks_and_tells_a_class(task):
    proba = np.array([[0.4, 0.15, 0.45], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])
    y = np.array([1, 2, 0])
    assert metric_of(task, None).loss(metric_of(task, None)(y, np.eye(3)[y])) == 0
    told = task.told(proba).tolist()
    assert told == ([2, 2, 0] if task.name == "classification" else [1, 2, 0])


def test_scores_of_grades_are_no_scores_of_classes():
    assert metric_of(ORDINAL, "log_loss").name == "log_loss"
    with pytest.raises(UnknownNameError, match="quadratic_kappa"):
        metric_of(get_task("classification"), "quadratic_kappa")
    with pytest.raises(UnknownNameError, match="Did you mean 'ordinal'"):
        get_task("ordinl")
