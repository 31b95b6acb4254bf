"""What mattered in a search is found in trials whose score is known to hang on one hyperparameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autoonco.reporting.importance import FEWEST, best_trials, encode, importances


def trials(n: int = 120, family: str = "radiomics") -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(n):
        config: dict[str, Any] = {
            "C": float(10 ** rng.uniform(-3, 3)),
            "idle": float(rng.uniform()),
            "kind": str(rng.choice(["a", "b"])),
        }
        if config["kind"] == "b":
            config["only_b"] = int(rng.integers(1, 9))
        score = 0.8 - 0.03 * abs(np.log10(config["C"])) + 0.002 * rng.normal()
        found.append(
            {
                "id": i,
                "family": family,
                "scope": "final",
                "config": config,
                "budget": 1.0,
                "status": "success",
                "score": score,
                "origin": "search",
            }
        )
    return found


def test_the_one_that_matters_leads_and_shares_are_shares() -> None:
    space = {"radiomics:C": {"log": True}}
    found = importances(trials(), ["radiomics"], space).set_index("hyperparameter")
    assert found.index[0] == "C"
    assert found.loc["C", "importance"] > 0.6
    assert found.drop(index="C")["importance"].max() < 0.1
    assert found["importance"].between(0, 1).all()
    assert found["importance"].sum() < 1.15
    assert found.loc["only_b", "n"] == sum("only_b" in t["config"] for t in trials())


def test_the_best_tenth_lies_where_the_score_is_high() -> None:
    best = best_trials(trials())
    assert len(best) == 12
    assert all(abs(np.log10(t["config"]["C"])) < 1.2 for t in best)
    assert [t["score"] for t in best] == sorted((t["score"] for t in trials()), reverse=True)[:12]


def test_few_trials_say_nothing_and_unused_values_are_gaps() -> None:
    assert importances(trials(FEWEST - 1), ["radiomics"], None).empty
    codes, names = encode(trials(), "radiomics", "only_b", None)
    assert names == []
    assert np.isnan(codes).sum() == sum(t["config"]["kind"] == "a" for t in trials())
    codes, names = encode(trials(), "radiomics", "kind", None)
    assert names == ["a", "b"]
    assert set(codes) == {0.0, 1.0}


def test_logarithms_are_taken_where_the_space_says_so() -> None:
    plain, _ = encode(trials(), "radiomics", "C", None)
    log, _ = encode(trials(), "radiomics", "C", {"radiomics:C": {"log": True}})
    np.testing.assert_allclose(log, np.log10(plain))
    assert np.ptp(log) == pytest.approx(6, abs=0.3)
