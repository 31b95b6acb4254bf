"""What the benchmarks of pretrained 2D networks count: folds once each, paired gains, the median seed, ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.manifest import Dataset
from autoonco.families.pretrained2d import family
from autoonco.metrics.comparison import compare_folds
from autoonco.tabular.pipeline import complete
from benchmarks import pretrained2d_speed as speed
from benchmarks.pretrained2d_quality import (
    FIXED,
    cross_validate,
    development,
    judged,
    method,
    summary,
)

PARTS = np.array(["train", "val", "test"])


def dataset(n: int = 24) -> Dataset:
    """Two cases a patient, two classes, every third pair of pairs in the test split."""
    cases = tuple(
        Case(case=str(i), patient=str(i // 2), images={"image": Path("none.png")}, row=i + 1)
        for i in range(n)
    )
    numbers = np.arange(n)
    return Dataset(cases=cases, y=(numbers // 2) % 2, classes=("no", "yes"), split=PARTS[(numbers // 4) % 3])


def guess(sign: float, seen: list[tuple[int, int]]) -> Callable[..., Any]:
    """Return a method whose score is the case's number, up or down, and which notes what it was fitted on."""

    def fit(data: Dataset, seed: int) -> Callable[[Sequence[Case]], NDArray[Any]]:
        seen.append((len(data), seed))
        return lambda cases: np.array(
            [[0.5 - sign * int(case.case) / 99, 0.5 + sign * int(case.case) / 99] for case in cases]
        )

    return fit


def test_test_cases_are_left_out_and_a_finished_fold_is_not_run_again(tmp_path: Path) -> None:
    data = development(dataset())
    assert set(data.split.tolist()) == {"train", "val"}
    path, seen = tmp_path / "x.csv", []
    methods = {"probe": guess(1, seen)}
    cross_validate(data, methods, path, task="x", repeats=1, folds=2)
    assert len(seen) == 2
    methods["search"] = guess(-1, seen)
    cross_validate(data, methods, path, task="x", repeats=2, folds=2)
    assert len(seen) == 2 + 2 + 4
    cross_validate(data, methods, path, task="x", repeats=2, folds=2)
    assert len(seen) == 8
    table = pd.read_csv(path)
    assert not table.duplicated(["method", "repeat", "fold"]).any()
    both = table.pivot(index=["repeat", "fold"], columns="method", values="auc")
    np.testing.assert_allclose(both["probe"] + both["search"], 1)  # the same cases, the order turned


def test_gains_are_paired_and_of_folds_that_all_have() -> None:
    rows = [
        ("x", name, 0, fold, 8, 8, auc, 1.0)
        for name, values in {"probe": [0.7, 0.8, 0.6, 0.9], "search": [0.8, 0.85, 0.7]}.items()
        for fold, auc in enumerate(values)
    ]
    columns = ["task", "method", "repeat", "fold", "n_train", "n_test", "auc", "seconds"]
    said = summary(pd.DataFrame(rows, columns=columns), folds=4)
    expected = compare_folds([0.1, 0.05, 0.1], 1 / 3)
    assert "3 folds" in said
    assert f"+0.083 [{expected.lower:+.3f}, {expected.upper:+.3f}]" in said
    assert "| probe | 0.700" in said


def test_the_median_seed_is_judged_on_the_cases_asked_for() -> None:
    y, rows = np.arange(20) % 2, np.arange(24) < 20
    rng = np.random.default_rng(0)

    def proba(signal: float) -> NDArray[Any]:
        score = signal * np.r_[y, 0, 0, 1, 1] + rng.normal(size=24)
        return np.c_[1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))]

    strong, middle, weak = proba(9.0), proba(1.5), proba(0.0)
    probe, search = judged(
        {"probe": [weak] * 3, "search": [strong, weak, middle]}, y, np.arange(20).astype(str), rows
    )
    assert (
        search.split(" | ")[2]
        == judged({"x": [middle]}, y, np.arange(20).astype(str), rows)[0].split(" | ")[2]
    )
    assert probe.endswith("|  |")
    assert "+" in search.split(" | ")[3]


def test_the_fastest_turn_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = {"ours": iter([4.0, 3.0, 5.0]), "slow": iter([9.0] * 3), "quick": iter([2.0, 8.0, 8.0])}
    monkeypatch.setattr(speed, "timed", lambda job: (next(turns[job]),) * 2)
    found = speed.in_turns("x", "ours", ["slow", "quick"])  # type: ignore[arg-type, list-item]
    assert (found.ours_s, found.bare_s, found.ratio, found.cpu_ratio) == (3.0, 2.0, 1.5, 1.5)
    table = speed.as_table([found])
    assert speed.to_markdown(table).splitlines()[2].startswith("| x | 3.000 | 2.000 | 1.500 |")


@pytest.mark.shared
def test_fixed_methods_are_valid_configs_of_the_family(shared_data: Path) -> None:
    data = development(Dataset.from_csv(shared_data / "busi" / "labels.csv"), 8)
    assert np.bincount(data.y).tolist() == [4, 4]
    assert len(set(speed.busi(12).y.tolist())) == 2
    space = family.space(fingerprint(data, inspect(data)))
    for config in FIXED.values():
        found = complete(space, config)
        assert {key: found[key] for key in config} == dict(config)


@pytest.mark.slow
@pytest.mark.shared
def test_figures_and_folds_of_a_few_real_pictures(shared_data: Path, tmp_path: Path) -> None:
    data = development(Dataset.from_csv(shared_data / "busi" / "labels.csv"), 8)
    found = speed.embedding(data.unlabelled(), tmp_path, n_threads=1)
    assert found.ours_s > 0
    assert found.bare_cpu_s > 0
    methods = {"probe": method("probe", "1min")}
    cross_validate(data, methods, tmp_path / "busi.csv", task="busi", repeats=1, folds=2)
    table = pd.read_csv(tmp_path / "busi.csv")
    assert table["auc"].between(0, 1).all()
    assert len(table) == 2
