from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from autoonco.evaluation.verdict import DEEP, Kind, Verdict, title, verdict

TOOK_PART = {"pretrained2d": None, "radiomics": None, "volumetric3d": None}


def predictions(
    leads: dict[str, float], *, n: int = 300, k: int = 2, noise: float = 0.3, seed: int = 0
) -> pd.DataFrame:
    """Every model sees the same cases with nearly the same errors; `leads` is the strength of its signal."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    shared = rng.normal(size=(n, k))
    frames = []
    for name, lead in leads.items():
        logits = lead * np.eye(k)[truth] + shared + noise * rng.normal(size=(n, k))
        proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        rows = np.arange(n)
        fixed = {"fold": 0, "row": rows, "group": rows, "truth": truth, "is_clean": 1, "model": name}
        frames.append(pd.DataFrame(fixed | {f"p_{j}": proba[:, j] for j in range(k)}))
    return pd.concat(frames, ignore_index=True)


def models(**scores: float | None) -> list[dict[str, Any]]:
    return [{"name": name, "kind": "family", "inner_score": score} for name, score in scores.items()]


def judge(leads: dict[str, float], **choices: Any) -> Verdict:
    return verdict(predictions(leads, **choices), models(**dict.fromkeys(leads, 0.9)), TOOK_PART)


def test_better() -> None:
    found = judge({"radiomics": 1.0, "pretrained2d": 2.0})
    figures = found.figures
    assert found.kind is Kind.BETTER
    assert figures is not None
    assert found.sentence.startswith(
        "Pretrained 2D networks are better than radiomics here: AUC difference 0."
    )
    numbers = f"difference {figures['difference']:.2f} [{figures['lower']:.2f}, {figures['upper']:.2f}], p"
    assert numbers in found.sentence
    assert "n = 300" in found.sentence


def test_worse_has_a_negative_difference() -> None:
    found = judge({"radiomics": 2.0, "volumetric3d": 1.0})
    assert found.kind is Kind.WORSE
    assert found.sentence.startswith("3D networks are worse than radiomics here: AUC difference −0.")


def test_equivalent_only_by_the_two_one_sided_tests() -> None:
    found = judge({"radiomics": 2.0, "pretrained2d": 2.0}, n=1000)
    assert found.kind is Kind.EQUIVALENT
    assert "equivalent within 0.05 AUC" in found.sentence
    assert found.figures is not None
    assert found.figures["p_equivalent"] < 0.05 <= found.figures["p"]


def test_equal_guesses_are_told_as_guesses() -> None:
    guesses = judge({"radiomics": 0.0, "pretrained2d": 0.0}, n=2000, noise=0.1, seed=1)
    useful = judge({"radiomics": 2.0, "pretrained2d": 2.0}, n=1000)
    assert guesses.kind is useful.kind is Kind.EQUIVALENT
    assert "is not shown to be better than a guess" in guesses.sentence
    assert "guess" not in useful.sentence


def test_few_cases_are_inconclusive_and_never_called_equal() -> None:
    found = judge({"radiomics": 2.0, "pretrained2d": 2.0}, n=30, noise=1.5)
    assert found.kind is Kind.INCONCLUSIVE
    assert found.sentence.startswith("No difference shown between pretrained 2D networks and radiomics")
    assert "no equivalence either" in found.sentence


def test_a_difference_too_small_to_matter_is_told() -> None:
    found = judge({"radiomics": 2.0, "pretrained2d": 2.1}, n=4000, noise=0.1)
    assert found.kind is Kind.BETTER
    assert found.sentence.endswith("Yet the difference is smaller than 0.05.")


def test_three_classes() -> None:
    found = judge({"radiomics": 0.5, "pretrained2d": 2.0}, k=3)
    assert found.kind is Kind.BETTER
    assert "macro AUC difference" in found.sentence


def test_the_inner_score_chooses_the_deep_family_and_not_the_test() -> None:
    table = predictions({"radiomics": 1.0, "pretrained2d": 1.0, "volumetric3d": 3.0})
    found = verdict(table, models(radiomics=0.9, pretrained2d=0.8, volumetric3d=0.7), TOOK_PART)
    assert "retrained 2D networks" in found.sentence
    found = verdict(table, models(radiomics=0.9, pretrained2d=None, volumetric3d=0.7), TOOK_PART)
    assert found.sentence.startswith("3D networks are better")


def test_unclean_cases_do_not_count() -> None:
    table = predictions({"radiomics": 1.0, "pretrained2d": 1.0})
    cheats = (table["model"] == "pretrained2d") & (table["row"] >= 150)
    table.loc[cheats, "p_1"] = table.loc[cheats, "truth"].clip(0.01, 0.99)
    table["p_0"] = 1 - table["p_1"]
    fooled = verdict(table, models(radiomics=0.9, pretrained2d=0.9), TOOK_PART)
    table["is_clean"] = (table["row"] < 150).astype(int)
    found = verdict(table, models(radiomics=0.9, pretrained2d=0.9), TOOK_PART)
    assert fooled.kind is Kind.BETTER
    assert found.kind is not Kind.BETTER
    assert "n = 150 clean test cases" in found.sentence


@pytest.mark.parametrize(
    ("leads", "families", "said"),
    [
        ({"pretrained2d": 1.0}, TOOK_PART | {"radiomics": "no masks."}, "Radiomics: no masks."),
        ({"pretrained2d": 1.0}, TOOK_PART, "Radiomics: took part, but gave no model for the test cases."),
        ({"pretrained2d": 1.0}, {"pretrained2d": None}, "Radiomics: not asked for."),
        (
            {"radiomics": 1.0},
            {"radiomics": None, "pretrained2d": "no weights", "volumetric3d": "2D images"},
            "Pretrained 2D networks: no weights. 3D networks: 2D images.",
        ),
    ],
)
def test_a_missing_side_is_told_with_its_reason(
    leads: dict[str, float], families: dict[str, str | None], said: str
) -> None:
    found = verdict(predictions(leads), models(**dict.fromkeys(leads, 0.9)), families)
    assert found.kind is Kind.INCONCLUSIVE
    assert found.figures is None
    assert found.sentence.startswith("Deep networks and radiomics were not compared.")
    assert said in found.sentence


def test_folds_that_are_predicted_before_their_models_are_recorded_are_not_compared_yet() -> None:
    table = predictions({"radiomics": 1.0, "pretrained2d": 1.0})
    for recorded in ([], models(radiomics=0.9), models(pretrained2d=0.9)):  # a stopped run's, which goes on
        found = verdict(table, recorded, TOOK_PART)
        assert (found.kind, found.figures) == (Kind.INCONCLUSIVE, None)
        assert found.sentence.startswith("Deep networks and radiomics are not compared yet: ")
        assert "gave no model" not in found.sentence
    alone = verdict(predictions({"pretrained2d": 1.0}), [], TOOK_PART).sentence
    assert alone.endswith("Radiomics: took part, but gave no model for the test cases so far.")


def test_cases_are_called_clean_only_where_some_are_not() -> None:
    table = predictions({"radiomics": 1.0, "pretrained2d": 1.0}).assign(fold=lambda t: t["row"] // 100)
    lost = (table["model"] == "radiomics") & (table["fold"] == 2)
    known = models(radiomics=0.9, pretrained2d=0.9)
    assert "n = 200 in 2 outer folds" in verdict(table[~lost], known, TOOK_PART).sentence
    table["is_clean"] = (table["row"] > 0).astype(int)
    assert "n = 199 clean test cases in 2 outer folds" in verdict(table[~lost], known, TOOK_PART).sentence


def test_nothing_predicted() -> None:
    found = verdict(None, [], TOOK_PART)
    assert found.kind is Kind.INCONCLUSIVE
    assert "no test case" in found.sentence


def test_one_class_cannot_be_compared() -> None:
    table = predictions({"radiomics": 1.0, "pretrained2d": 1.0})
    found = verdict(table[table["truth"] == 0], models(radiomics=0.9, pretrained2d=0.9), TOOK_PART)
    assert "all of one class" in found.sentence


def test_unknown_names_are_their_own_title() -> None:
    assert title("fusion") == "Fusion"
    assert title("something new") == "Something new"


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 200])
def test_false_verdicts_are_rare(n: int) -> None:
    said = [
        judge({"radiomics": 1.5, "pretrained2d": 1.5}, n=n, noise=0.7, seed=seed).kind for seed in range(400)
    ]
    wrong = sum(kind in (Kind.BETTER, Kind.WORSE) for kind in said)
    print(f"n = {n}: {wrong / 400:.3f} false better or worse")
    assert wrong / 400 <= 0.075  # 0.05 and two standard errors


def test_each_outer_fold_has_the_deep_family_that_its_own_inner_score_chose() -> None:
    frames = []
    for fold in range(5):
        # The better deep family alternates; choosing by the final search would take one of them throughout.
        leads = {"radiomics": 1.0, DEEP[fold % 2]: 3.0, DEEP[1 - fold % 2]: 0.0}
        frames.append(predictions(leads, n=60, seed=fold).assign(fold=fold))
    table = pd.concat(frames, ignore_index=True)
    table["row"] += 60 * table["fold"]
    inner = {name: [0.9 if name == DEEP[fold % 2] else 0.6 for fold in range(5)] for name in DEEP}
    found = verdict(
        table,
        [{"name": "radiomics", "inner_score": 0.8}]
        + [{"name": name, "inner_score": 0.9, "fold_scores": inner[name]} for name in DEEP],
        TOOK_PART,
    )
    assert found.kind is Kind.BETTER
    assert found.sentence.startswith("Deep networks (2D or 3D")


@pytest.mark.parametrize(
    ("allocation", "said"),
    [
        ("equal", "with equal shares of the search."),
        ("shared", "the search spent where it paid, so the compute differed."),
        (None, "radiomics 30 s."),
    ],
)
def test_the_compute_of_both_sides_stands_beside_the_verdict(allocation: str | None, said: str) -> None:
    table = predictions({"radiomics": 1.0, "pretrained2d": 2.0, "volumetric3d": 1.5})
    spent = {"radiomics": [10.0, 20.0], "pretrained2d": [400.0, 80.0], "volumetric3d": [9000.0]}
    described = [
        model | {"fold_seconds": spent[model["name"]]}
        for model in models(radiomics=0.9, pretrained2d=0.9, volumetric3d=0.5)
    ]
    found = verdict(table, described, TOOK_PART, allocation=allocation)
    assert found.seconds == {"pretrained2d": 480.0, "radiomics": 30.0}
    assert "Compute spent: pretrained 2D networks 8 min, radiomics 30 s" in found.sentence
    assert found.sentence.endswith(said)


def test_the_margin_is_the_one_that_was_stated() -> None:
    table = predictions({"radiomics": 2.0, "pretrained2d": 2.0}, n=300)
    described = models(radiomics=0.9, pretrained2d=0.9)
    narrow, wide = (verdict(table, described, TOOK_PART, margin=margin) for margin in (0.01, 0.1))
    assert narrow.kind is Kind.INCONCLUSIVE
    assert wide.kind is Kind.EQUIVALENT
    assert "equivalent within 0.1 AUC" in wide.sentence


def test_grades_are_judged_by_the_ordinal_auc() -> None:
    table = predictions({"radiomics": 0.0, "pretrained2d": 3.0}, n=120, k=4)
    found = verdict(table, models(radiomics=0.9, pretrained2d=0.9), TOOK_PART, task="ordinal")
    assert found.kind is Kind.BETTER
    assert "ordinal AUC difference" in found.sentence


@pytest.mark.parametrize("n", [4, 10])
def test_a_handful_of_cases_decides_nothing(n: int) -> None:
    for leads in ({"radiomics": 1.0, "pretrained2d": 1.0}, {"radiomics": 0.0, "pretrained2d": 0.0}):
        assert judge(leads, n=n).kind is Kind.INCONCLUSIVE
    constant = predictions({"radiomics": 1.0, "pretrained2d": 1.0}, n=n).assign(p_0=0.5, p_1=0.5)
    found = verdict(constant, models(radiomics=0.9, pretrained2d=0.9), TOOK_PART)
    assert found.kind in (Kind.EQUIVALENT, Kind.INCONCLUSIVE)
