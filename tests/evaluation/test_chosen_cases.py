"""Cases are chosen by what was predicted of them, none twice, and ranked within their class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from autoonco.evaluation.chosen_cases import Why, choose_cases, typicality


def predictions() -> pd.DataFrame:
    p = [0.01, 0.2, 0.48, 0.97, 0.99, 0.6, 0.3, 0.04]
    truth = [0, 0, 0, 0, 1, 1, 1, 1]
    frames = [
        pd.DataFrame(
            {"fold": 0, "row": range(11, 19), "truth": truth, "model": name, "p_1": np.array(p) ** power}
        )
        for name, power in (("radiomics", 1.0), ("volumetric3d", 1.5))
    ]
    table = pd.concat(frames, ignore_index=True)
    return table.assign(p_0=1 - table["p_1"])


def test_the_surest_and_the_least_sure_are_chosen() -> None:
    found = {
        why: [one.row for one in choose_cases(predictions(), "radiomics") if one.why is why] for why in Why
    }
    assert found[Why.RIGHT] == [11, 15]
    assert found[Why.WRONG] == [14, 18]  # 0.97 for class 0, 0.04 for class 1
    assert found[Why.UNCERTAIN] == [13, 16]
    assert {one.row: one.predicted for one in choose_cases(predictions(), "radiomics")}[14] == 1


def test_no_case_is_chosen_twice_and_who_is_never_wrong_has_no_wrong_case() -> None:
    rows = [one.row for one in choose_cases(predictions(), "radiomics", n_each=8)]
    assert sorted(rows) == list(range(11, 19))
    right = predictions()
    right = right[right["row"].isin([11, 12, 15, 16])]
    assert not [one for one in choose_cases(right, "radiomics") if one.why is Why.WRONG]
    assert choose_cases(predictions(), "nobody") == []


def test_typicality_ranks_by_the_mean_over_models() -> None:
    found = typicality(predictions(), ["radiomics", "volumetric3d"])
    for truth, own in found.groupby("truth"):
        assert own["rank"].tolist() == [1, 2, 3, 4]
        assert own["probability"].is_monotonic_decreasing
        assert own["row"].iloc[0] == (11 if truth == 0 else 15)
    row = found.set_index("row").loc[14]
    assert row["n_wrong"] == 2
    np.testing.assert_allclose(row["probability"], np.mean([1 - 0.97, 1 - 0.97**1.5]))
    assert row["lowest"] <= row["probability"] <= row["highest"]
    assert typicality(predictions(), []).empty
