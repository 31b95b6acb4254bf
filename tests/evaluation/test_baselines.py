from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError
from autoonco.evaluation import baselines, fixed_radiomics
from autoonco.evaluation.splits import FINAL, OuterSplit

Y = np.tile([0, 1], 20)
TRAIN, TEST = np.arange(24), np.arange(24, 40)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    """Discs and stars of the same mean area: the outline tells them apart, the size can't."""
    folder, rng, cases = tmp_path_factory.mktemp("lesions"), np.random.default_rng(0), []
    x, y = np.meshgrid(np.arange(80) - 40, np.arange(80) - 40)
    for i, label in enumerate(Y):
        radius, phase = rng.uniform(14, 22), rng.uniform(0, 2 * np.pi)
        edge = radius * (1 + 0.3 * label * np.sin(7 * np.arctan2(y, x) + phase)) / np.sqrt(1 + 0.045 * label)
        Image.fromarray(((np.hypot(x, y) < edge) * 255).astype(np.uint8)).save(folder / f"mask{i}.png")
        Image.fromarray(rng.integers(0, 255, (80, 80)).astype(np.uint8)).save(folder / f"{i}.png")
        cases.append(
            Case(
                case=str(i), patient=str(i), images={"image": folder / f"{i}.png"},
                masks={"mask": folder / f"mask{i}.png"}, row=i + 1,
            )
        )  # fmt: skip
    return Dataset(cases=tuple(cases), classes=("disc", "star"), y=Y)


def auc(x):
    return roc_auc_score(Y[TEST], baselines.baseline_proba(x, Y, TRAIN, TEST)[:, 1])


def test_the_outline_tells_stars_from_discs_and_the_size_does_not(lesions, tmp_path):
    outlines = baselines.lesion_outlines(lesions.cases, artefacts=ArtefactCache(tmp_path), n_threads=2)
    assert auc(outlines) == 1.0
    assert auc(baselines.lesion_sizes(inspect(lesions))) < 0.85


def test_sizes_are_areas_in_square_millimetres(lesions):
    sizes = np.exp(baselines.lesion_sizes(inspect(lesions))[:, 0])
    counted = [np.count_nonzero(np.asarray(Image.open(case.masks["mask"]))) for case in lesions.cases]
    np.testing.assert_allclose(sizes, counted)


def test_without_a_mask_there_is_no_baseline(lesions, tmp_path):
    bare = replace(lesions, cases=(replace(lesions.cases[0], masks={}), *lesions.cases[1:]))
    assert baselines.lesion_outlines(bare.cases, artefacts=ArtefactCache(tmp_path), n_threads=1) is None
    assert baselines.lesion_sizes(inspect(bare)) is None


def test_labels_of_test_cases_are_not_used(lesions):
    x = np.random.default_rng(0).normal(size=(40, 3))
    first = baselines.baseline_proba(x, Y, TRAIN, TEST)
    turned = np.where(np.isin(np.arange(40), TEST), 1 - Y, Y)
    np.testing.assert_array_equal(baselines.baseline_proba(x, turned, TRAIN, TEST), first)


def made(data, folder, **changes):
    facts = inspect(data)
    known = fingerprint(data.subset(TRAIN), [facts[row] for row in TRAIN])
    how = {"artefacts": ArtefactCache(folder), "n_threads": 2, "seed": 0, "limit_s": math.inf, "notes": []}
    return baselines.Baselines(dataset=data, facts=facts, fingerprint=known, **(how | changes))


def with_ages(data, *, lead=20.0):
    rng = np.random.default_rng(5)
    ages = rng.normal(60 + lead * data.y, 5)
    cases = tuple(
        replace(case, clinical={"age": None if row % 9 == 0 else float(age), "sex": "fm"[row % 2]})
        for row, (case, age) in enumerate(zip(data.cases, ages, strict=True))
    )
    return replace(data, cases=cases, clinical=("age", "sex"))


SPLIT = OuterSplit(scope=FINAL, train=TRAIN, test=TEST)


def test_all_five_are_judged_on_the_test_cases_with_their_seconds(lesions, tmp_path):
    runner = made(with_ages(lesions), tmp_path)
    found = {each.name: each for each in runner.judged(SPLIT)}
    assert list(found) == [
        baselines.MAJORITY, baselines.CLINICAL, baselines.LESION_SIZE, baselines.LESION_OUTLINE, baselines.RADIOMICS
    ]  # fmt: skip
    assert runner.notes == []
    for each in found.values():
        assert each.kind == "baseline"
        assert each.proba.shape == (len(TEST), 2)
        np.testing.assert_allclose(each.proba.sum(axis=1), 1)
        assert each.refit_s >= 0

    def score(name):
        return roc_auc_score(Y[TEST], found[name].proba[:, 1])

    assert score(baselines.MAJORITY) == 0.5
    assert score(baselines.CLINICAL) > 0.9
    assert score(baselines.RADIOMICS) > 0.9  # its shape features tell stars from discs
    assert made(lesions, tmp_path).judged(OuterSplit(scope=FINAL, train=TRAIN, test=TEST[:0])) == []


def test_a_case_without_a_mask_rules_out_what_measures_lesions_and_that_is_told_once(lesions, tmp_path):
    bare = replace(lesions, cases=(replace(lesions.cases[0], masks={}), *lesions.cases[1:]))
    runner = made(bare, tmp_path)
    for _ in range(2):
        found = [each.name for each in runner.judged(SPLIT)]
        assert not {baselines.LESION_SIZE, baselines.LESION_OUTLINE} & set(found)
        assert baselines.MAJORITY in found
    told = [note for note in runner.notes if "1 of 40 cases have no lesion mask to measure" in note]
    assert [note.partition(":")[2][:13] for note in told] == [" lesion size:", " lesion outli"]


def test_without_masks_or_clinical_columns_the_majority_is_left(lesions, tmp_path):
    bare = replace(lesions, cases=tuple(replace(case, masks={}) for case in lesions.cases))
    runner = made(bare, tmp_path)
    assert [each.name for each in runner.judged(SPLIT)] == [baselines.MAJORITY]
    assert runner.notes == []


def test_test_labels_and_test_rows_teach_no_baseline(lesions, tmp_path):
    """Labels and columns of test cases are changed: what was learned, and predictions of the others, stay."""
    data = with_ages(lesions)
    first = {each.name: each.proba for each in made(data, tmp_path).judged(SPLIT)}
    turned = replace(data, y=np.where(np.isin(np.arange(40), TEST), 1 - Y, Y))
    again = {each.name: each.proba for each in made(turned, tmp_path).judged(SPLIT)}
    for name, proba in first.items():
        np.testing.assert_array_equal(again[name], proba)
    odd = tuple(
        replace(case, clinical={"age": 1e6, "sex": "x"}) if row == TEST[-1] else case
        for row, case in enumerate(data.cases)
    )
    other = {each.name: each.proba for each in made(replace(data, cases=odd), tmp_path).judged(SPLIT)}
    np.testing.assert_array_equal(other[baselines.CLINICAL][:-1], first[baselines.CLINICAL][:-1])


def test_what_takes_too_long_is_left_out_with_a_note(lesions, tmp_path, monkeypatch):
    ticks = iter(range(0, 100_000, 7))
    monkeypatch.setattr(baselines.time, "monotonic", lambda: float(next(ticks)))
    runner = made(lesions, tmp_path, limit_s=30.0, n_threads=1)
    names = [each.name for each in runner.judged(SPLIT)]
    assert baselines.RADIOMICS not in names
    assert baselines.MAJORITY in names
    assert any("radiomics, LASSO" in note and "time limit" in note for note in runner.notes)


def test_a_damaged_case_costs_one_baseline_and_names_no_file(lesions, tmp_path):
    facts = inspect(lesions)
    (broken := tmp_path / "mask of Jane Doe.png").write_bytes(b"no picture")
    cases = (replace(lesions.cases[0], masks={"mask": broken}), *lesions.cases[1:])
    known = fingerprint(lesions, facts)
    runner = baselines.Baselines(
        dataset=replace(lesions, cases=cases), facts=facts, fingerprint=known, artefacts=ArtefactCache(tmp_path),
        n_threads=1, seed=0, limit_s=math.inf,
    )  # fmt: skip
    names = [each.name for each in runner.judged(SPLIT)]
    assert names == [baselines.MAJORITY, baselines.LESION_SIZE]
    assert len(runner.notes) == 2
    assert not any("Jane" in note for note in runner.notes)


@pytest.mark.parametrize("k", [2, 3])
def test_lasso_finds_the_planted_feature_and_learns_nothing_of_the_test(k):
    rng = np.random.default_rng(1)
    y, groups = np.arange(90) % k, np.arange(90) // 2 * 2 + np.arange(90) % 2
    x = rng.normal(size=(90, 40))
    x[:, 7] += 2.5 * y
    x[3, 2], x[:, 5] = np.nan, 4.0
    train, test = np.arange(60), np.arange(60, 90)

    def proba(table, labels=y):
        return fixed_radiomics.lasso_proba(table, labels, groups, train, test, n_classes=k, seed=0)

    found = proba(x)
    score = roc_auc_score(y[test], found if k > 2 else found[:, 1], multi_class="ovr")
    assert score > 0.85
    other = np.where(np.isin(np.arange(90), test), (y + 1) % k, y)
    np.testing.assert_array_equal(proba(x, other), found)
    shifted = x.copy()
    shifted[test[1:]] *= 50
    np.testing.assert_array_equal(proba(shifted)[0], found[0])


def test_lasso_that_keeps_nothing_predicts_the_shares_of_the_classes():
    y, rows = np.repeat([0, 1], [20, 10]), np.arange(30)
    for x in (np.full((30, 3), np.nan), np.ones((30, 3))):
        found = fixed_radiomics.lasso_proba(x, y, rows, rows, rows[:4], n_classes=3, seed=0)
        np.testing.assert_allclose(found, np.tile([2 / 3, 1 / 3, 0], (4, 1)))


def test_lasso_needs_two_patients_of_a_class():
    y, rows = np.repeat([0, 1], [20, 3]), np.arange(23)
    x = np.random.default_rng(0).normal(size=(23, 3))
    groups = np.where(y == 1, 99, rows)
    with pytest.raises(DataError, match="patient"):
        fixed_radiomics.lasso_proba(x, y, groups, rows, rows, n_classes=2, seed=0)
