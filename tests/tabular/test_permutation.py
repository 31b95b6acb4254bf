"""Labels that mean nothing are not learned by the whole pipeline, every step on; and a leak would be seen.

The AUC is taken of each fold, for pooled ones lean below one half; its mean over folds once a permutation; a z-test of
thirty of them. Grey values are drawn anew with each permutation: of one and the same table, what a class has more of
among training cases it has less of among the others.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from autoonco.tabular.pipeline import STEPS, build_pipeline, complete, fit_pipeline, tabular_space
from autoonco.tabular.resampling import SAMPLERS
from autoonco.tabular.steps import TopShare

N_PERMUTATIONS = 30
REJECTED = 2.9
"""|z| at p = 0.004, for each of seventeen pipelines."""
N_PATIENTS, N_COLUMNS = 40, 30
NAMES = [f"original_{('glcm', 'gldm', 'shape')[column % 3]}_{column}" for column in range(N_COLUMNS)]
SPACE = tabular_space(steps=tuple(STEPS))
SELECTIONS = [name for name in SPACE["selection"].choices if name != "none"]
SMALL = {"random_forest:n_estimators": 10, "xgboost:n_estimators": 10, "xgboost:stopping": "early"}
LEARNERS = ("logistic_regression", "svm", "random_forest", "xgboost", "lda", "naive_bayes")


def pipelines() -> dict[str, dict]:
    """A config for each selection, every other step on, their choices in turn; learners that judge scales scaled."""
    turns = {
        "impute": cycle(SPACE["impute"].choices),
        "scale": cycle(SPACE["scale"].choices),
        "icc_form": cycle(SPACE["icc_form"].choices),
        "balance": cycle([*SAMPLERS, "balanced"]),
        "learner": cycle(LEARNERS),
    }
    found = {}
    for selection in ["none", *SELECTIONS]:
        turn = {name: next(values) for name, values in turns.items()}
        balance = turn.pop("balance")
        chosen = {"class_weight": balance} if balance == "balanced" else {"sampler": balance}
        always = {"combat": "combat", "robustness": "icc", "groups": "chosen", "correlation": 0.9}
        values = {"selection": selection, "n_selected": 10, **always, **turn, **chosen}
        own = {name: value for name, value in SMALL.items() if name.startswith(turn["learner"])}
        found[selection] = complete(SPACE, values | own)
    return found


def made(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two cases a patient, alike; four sites; gaps; labels drawn by patient: table, labels, patients, perturbed."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(N_PATIENTS), 2)
    X = rng.normal(size=(N_PATIENTS, N_COLUMNS))[groups] + 0.3 * rng.normal(size=(len(groups), N_COLUMNS))
    X[:, 1::4] += X[:, : X[:, 1::4].shape[1]]
    X[rng.random(X.shape) < 0.03] = np.nan
    perturbed = np.stack([X, X + rng.uniform(0, 1, N_COLUMNS) * rng.normal(size=X.shape)])
    y = (rng.permutation(N_PATIENTS) % 5 < 2).astype(int)[groups]
    return np.column_stack([X, groups % 4]), y, groups, perturbed


def z_of(auc_of_fold, n_folds: int = 3) -> float:
    """Return z of the mean AUC against one half, `auc_of_fold` judging (permuted data, training rows, test rows)."""
    means = []
    for permutation in range(N_PERMUTATIONS):
        data = made(permutation)
        _, y, groups, _ = data
        folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=permutation).split(y, y, groups)
        means.append(np.mean([auc_of_fold(data, *fold) for fold in folds]))
    return float((np.mean(means) - 0.5) / (np.std(means, ddof=1) / np.sqrt(len(means))))


def fitted_auc(config: dict, data, train: np.ndarray, test: np.ndarray) -> float:
    X, y, groups, perturbed = data
    pipeline = build_pipeline(
        config, n_features=N_COLUMNS, n_classes=2, n_train=len(train), seed=0, names=NAMES
    )
    if config["selection"] == "boruta":
        pipeline.set_params(select__n_trees=8)
    fit_pipeline(pipeline, X[train], y[train], groups=groups[train], perturbed=perturbed[:, train])
    return roc_auc_score(y[test], pipeline.predict_proba(X[test])[:, 1])


def test_every_choice_of_every_step_is_among_the_pipelines():
    configs = pipelines().values()
    for step in ("impute", "scale", "selection", "sampler", "class_weight", "icc_form"):
        # Trees and naive Bayes need no scale: where it is absent, it is none of the choices that were asked for.
        assert {config[step] for config in configs if step in config} == set(SPACE[step].choices), step
    for config in configs:
        built = build_pipeline(config, n_features=N_COLUMNS, n_classes=2, n_train=50, seed=0, names=NAMES)
        assert {"combat", "groups", "robustness", "impute", "correlation"} <= set(built.named_steps)
        assert ("select" in built.named_steps) == (config["selection"] != "none")


@pytest.mark.slow
@pytest.mark.parametrize("selection", pipelines())
def test_labels_that_mean_nothing_are_not_learned(selection):
    config = pipelines()[selection]
    assert abs(z_of(lambda data, train, test: fitted_auc(config, data, train, test))) < REJECTED


@pytest.mark.parametrize("selection", ["anova", "mann_whitney"])
def test_a_selection_fitted_before_the_split_is_rejected(selection):
    """The one step that sees test cases' labels: five of thirty columns, chosen on all cases."""
    config = complete(SPACE, {"learner": "naive_bayes", "selection": "none"})

    def leaking(data, train: np.ndarray, test: np.ndarray) -> float:
        X, y, groups, perturbed = data
        seen = np.nan_to_num(X[:, :-1])
        chosen = TopShare(selection, share=5 / N_COLUMNS).fit(seen, y).get_support()
        return fitted_auc(config, (seen[:, chosen], y, groups, perturbed), train, test)

    assert z_of(leaking) > 2 * REJECTED


def test_labels_of_test_patients_in_training_are_rejected():
    """Folds that part a patient's two cases."""
    config = complete(SPACE, {"learner": "knn", "knn:n_neighbors": 1, "knn:weights": "distance"})

    def parted(data, train: np.ndarray, test: np.ndarray) -> float:
        X, y, groups, _ = data
        seen = np.nan_to_num(X[:, :-1])
        return fitted_auc(config, (seen, y, groups, seen[None]), np.arange(0, 80, 2), np.arange(1, 80, 2))

    assert z_of(parted, n_folds=2) > 2 * REJECTED
