from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.data.facts import CaseFacts
from autoonco.errors import DataError
from autoonco.evaluation import modes
from autoonco.evaluation.inner import check_inner
from autoonco.evaluation.modes import Mode
from autoonco.evaluation.split_table import SplitTable
from autoonco.evaluation.splits import groups_of, is_unseen, outer_splits
from autoonco.evaluation.tasks import get_task
from autoonco.settings import Settings

SETTINGS = Settings(outer_folds=5)
PLAIN = get_task("classification")


def splits(dataset, kind, *, settings=SETTINGS, **options):
    given = {name: options.pop(name) for name in ("repeats",) if name in options}
    return outer_splits(dataset, Mode(kind=kind, **given), settings=settings, seed=0, **options)


def with_patients(dataset, names, sites=None):
    cases = tuple(
        replace(case, patient=str(name), site=None if sites is None else str(sites[i]))
        for i, (case, name) in enumerate(zip(dataset.cases, names, strict=True))
    )
    return replace(dataset, cases=cases)


@pytest.fixture
def external(dataset):
    split = np.array(["train"] * 40 + ["val"] * 8 + ["test"] * 12)
    return replace(dataset, split=split)


@pytest.fixture
def sites(dataset):
    """Four sites, the last of one class; patient 0 was seen at two of them."""
    where = np.repeat(["a", "b", "c", "d"], 15)
    y = np.where(where == "d", 1, dataset.y)
    return replace(with_patients(dataset, [0 if i in (0, 20) else i for i in range(60)], where), y=y)


def test_validation_cases_are_learned_from_and_test_cases_only_judge(external):
    (split,) = splits(external, "external")
    assert split.train.tolist() == list(range(48))
    assert split.test.tolist() == list(range(48, 60))


@pytest.mark.parametrize("repeats", [1, 3])
def test_nested_judges_with_every_case_once_a_repeat_and_delivers_from_all(dataset, repeats):
    *outer, final = splits(dataset, "nested", repeats=repeats)
    assert [split.scope for split in outer] == [f"outer{i}" for i in range(5 * repeats)]
    for repeat in range(repeats):
        own = [split for split in outer if split.repeat == repeat]
        assert sorted(np.concatenate([split.test for split in own])) == list(range(60))
    for split in outer:
        assert sorted([*split.train, *split.test]) == list(range(60))
        assert not set(dataset.groups[split.train]) & set(dataset.groups[split.test])
        assert set(dataset.y[split.test]) == {0, 1}
    assert (final.scope, len(final.train), len(final.test)) == ("final", 60, 0)
    assert len({tuple(split.test) for split in outer}) == 5 * repeats


def test_a_repeat_more_changes_nothing_of_those_before(dataset):
    once, twice = (splits(dataset, "nested", repeats=n) for n in (1, 2))
    for one, again in zip(once[:-1], twice, strict=False):
        assert (one.scope, one.train.tolist()) == (again.scope, again.train.tolist())


def test_each_site_judges_once_and_its_patients_are_learned_from_nowhere(sites):
    *outer, final = splits(sites, "leave_one_site_out")
    assert len(outer) == 4
    for split, site in zip(outer, "abcd", strict=True):
        assert set(sites.sites[split.test]) == {site}
        assert site not in set(sites.sites[split.train])
        assert not set(sites.groups[split.train]) & set(sites.groups[split.test])
    # the second case of patient 0, at b, is neither learned from nor judged without site a
    assert 20 not in set(outer[0].train) | set(outer[0].test)
    assert len(final.train) == 60


def test_ready_splits_are_taken_as_they_are(dataset):
    roles = {
        i + 1: ("train" if i < 40 else "test", "" if i < 10 else "test" if i < 20 else "train")
        for i in range(60)
    }
    table = SplitTable(names=("one", "two"), roles=roles)
    one, two, final = splits(dataset, "splits", table=table)
    assert (one.train.tolist(), one.test.tolist()) == (list(range(40)), list(range(40, 60)))
    assert (two.train.tolist(), two.test.tolist()) == (list(range(20, 60)), list(range(10, 20)))
    assert (final.scope, len(final.train), len(final.test)) == ("final", 60, 0)
    # of a single one its own training part makes the model, as with a split in the manifest
    (only,) = splits(
        dataset, "splits", table=SplitTable(names=("one",), roles={k: v[:1] for k, v in roles.items()})
    )
    assert (only.scope, len(only.train), len(only.test)) == ("final", 40, 20)


def test_a_ready_split_that_trains_on_what_the_manifest_keeps_for_the_test_is_refused(external):
    table = SplitTable(names=("s",), roles={i + 1: ("test" if i < 20 else "train",) for i in range(60)})
    with pytest.raises(DataError, match=r"row 49: the manifest keeps the case for the test and column 's'"):
        splits(external, "splits", table=table)


@pytest.mark.parametrize("evaluation", ["external", "holdout", "nested", "none", "leave_one_site_out"])
def test_cases_kept_for_a_test_are_never_learned_from(external, evaluation):
    placed = with_patients(external, range(60), np.tile(["x", "y", "y"], 20))
    for split in splits(placed, evaluation):
        assert not set(split.train) & set(range(48, 60))
        assert not set(split.train) & set(split.test)


def test_a_class_of_few_patients_is_named_with_the_largest_possible_number_of_outer_folds(dataset):
    few = with_patients(dataset, [f"p{i % 6}" if i % 2 else i for i in range(60)])
    with pytest.raises(DataError, match=r"Class 'yes' has 3 patient.*at most 3 folds.*outer_folds"):
        splits(few, "nested")


def test_inner_folds_that_are_not_possible_are_told_before_the_search(dataset):
    """Six patients of a class make five outer folds, and leave four of them to some training part."""
    few = with_patients(dataset, [f"p{i % 12}" if i % 2 else i for i in range(60)])
    found = splits(few, "nested")
    with pytest.raises(
        DataError, match=r"outer fold \d of 5: Class 'yes' has 4 patient.*at most 4.*inner_folds"
    ):
        check_inner(few, found, few.groups, PLAIN, Settings(inner_folds=5), seed=0)
    check_inner(few, found, few.groups, PLAIN, Settings(inner_folds=4), seed=0)


def test_a_training_part_without_a_class_is_told_with_its_site(dataset):
    where = np.where(dataset.y == 1, "only here", np.repeat(["a", "b"], 30))
    placed = with_patients(dataset, range(60), where)
    found = splits(placed, "leave_one_site_out")
    with pytest.raises(
        DataError, match="Class 'yes' has no case in the training part of the search without site 'only here'"
    ):
        check_inner(placed, found, placed.groups, PLAIN, SETTINGS, seed=0)


class Picture:
    def __init__(self, content):
        self.content = content


def test_patients_who_share_a_picture_are_kept_together_through_others_too(dataset):
    """Patients 1 and 2 share one picture, 2 and 3 another."""
    same = {1: "x", 2: "x", 62: "y", 3: "y"}
    cases = (*dataset.cases, replace(dataset.cases[2], row=61))
    more = replace(dataset, cases=cases, y=np.append(dataset.y, 0))
    facts = [
        CaseFacts(row=case.row, channels={"image": Picture(same.get(i if i < 60 else 62, f"own {i}"))})
        for i, case in enumerate(more.cases)
    ]
    groups = groups_of(more, facts)
    assert len({groups[1], groups[2], groups[3], groups[60]}) == 1
    assert len(set(groups)) == 58
    for split in splits(more, "nested", groups=groups):
        assert len(set(split.test) & {1, 2, 3, 60}) in (0, 4)


def test_a_test_case_is_seen_where_its_group_is_trained_on(dataset):
    groups = np.array([str(i // 2) for i in range(60)])
    table = SplitTable(names=("torn",), roles={i + 1: ("train" if i < 31 else "test",) for i in range(60)})
    (split,) = splits(dataset, "splits", table=table, groups=groups)
    assert np.flatnonzero(~is_unseen(split, groups)).tolist() == [0]


def test_every_kind_makes_a_final_search_last(sites):
    table = SplitTable(names=("a",), roles={i + 1: ("train" if i % 3 else "test",) for i in range(60)})
    judged = replace(sites, split=np.array(["train", "train", "test"] * 20))
    for kind in modes.EVALUATIONS[1:]:
        given = {"table": table} if kind == "splits" else {}
        data = judged if kind == "external" else sites
        assert splits(data, kind, **given)[-1].scope == "final"
