"""How well a column tells the label, against a loop; and what is no hint."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoonco.data.case import Case
from autoonco.data.facts import CaseFacts
from autoonco.data.hints import _auc, _balanced_accuracy, _cramers_v, telling_columns, telling_inputs
from autoonco.data.manifest import Dataset


def slowly(given, asked, owners) -> float:
    """Leave each patient out in turn, and give a row the value most over-represented among the others."""
    patients = {value: len(set(owners[asked == value])) for value in set(asked)}
    kept = [value for value in sorted(patients) if patients[value] >= 5 and value >= 0]
    rows = [i for i in range(len(asked)) if asked[i] in kept]
    total = Counter(asked[i] for i in rows)
    right = Counter()
    for i in rows:
        others = [j for j in rows if owners[j] != owners[i] and given[j] == given[i]]
        shares = [sum(asked[j] == value for j in others) / total[value] for value in kept]
        right[asked[i]] += bool(others) and kept[int(np.argmax(shares))] == asked[i]
    return float(np.mean([right[value] / total[value] for value in kept]))


@pytest.mark.parametrize("seed", range(8))
def test_balanced_accuracy_is_that_of_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 60
    owners = rng.integers(0, 40, n)
    asked = rng.integers(0, 3, n)
    given = np.where(rng.random(n) < 0.7, asked, rng.integers(-1, 4, n))
    assert _balanced_accuracy(given, asked, owners) == pytest.approx(slowly(given, asked, owners))


def test_area_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 9, 50).astype(float), rng.random(50) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in values[positive] for b in values[~positive]]
    assert _auc(values, positive) == pytest.approx(max(np.mean(pairs), 1 - np.mean(pairs)))


def test_cramers_v_is_none_by_chance_and_one_for_the_same() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    assert _cramers_v(y, y) == pytest.approx(1, abs=0.01)
    assert np.mean([_cramers_v(rng.integers(0, 5, 400), y) for _ in range(50)]) < 0.05


def data(others=None, features=None, n: int = 80) -> Dataset:
    rows = [
        Case(
            case=str(i),
            patient=str(i),
            images={"image": Path("x.png")},
            features={name: float(values[i]) for name, values in (features or {}).items()},
            row=i + 1,
        )
        for i in range(n)
    ]
    found = Dataset(
        cases=tuple(rows), classes=("no", "yes"), y=np.arange(n) % 2, features=tuple(features or {})
    )
    return replace(found, others={name: tuple(map(str, cells)) for name, cells in (others or {}).items()})


NO_FACTS: list[CaseFacts] = []


def test_a_measure_tells_wherever_the_classes_part() -> None:
    """Also where that is in the middle of a tenth of the cases, and with gaps in a feature table."""
    rng = np.random.default_rng(0)
    for share in (0.08, 0.35, 0.5, 0.93):
        y = (np.arange(80) >= share * 80).astype(np.int64)
        measure = np.where(y == 1, 10.0, 0.0) + rng.random(80)
        found = replace(data(others={"dose": measure}), y=y)
        assert len(list(telling_columns(found, NO_FACTS))) == (1 if min(y.sum(), 80 - y.sum()) >= 5 else 0)
    y = np.arange(80) % 2
    feature = y * 10.0 + rng.random(80)
    feature[::9] = np.nan
    found = data(features={"leak": feature, "noise": rng.random(80)})
    assert ["'leak'" in message for _, message in telling_inputs(found, NO_FACTS)] == [True]


def test_a_good_feature_is_no_leak_and_neither_are_names_nor_constants() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    columns = {
        "good": y + rng.normal(0, 0.6, 80),  # AUC about 0.88
        "id": [f"case-{i}" for i in range(80)],
        "number": np.arange(80),
        "constant": ["x"] * 80,
        "empty": [""] * 80,
        "rare": ["" if i else "yes" for i in range(80)],
    }
    assert list(telling_columns(data(others=columns), NO_FACTS)) == []


@pytest.mark.slow
def test_none_of_many_features_of_noise_is_a_hint() -> None:
    """How long that takes is measured by ``benchmarks/check.py``."""
    rng = np.random.default_rng(0)
    many = data(features={f"f{k}": rng.normal(size=300) for k in range(1000)}, n=300)
    assert list(telling_inputs(many, NO_FACTS)) == []
