"""What is believed about configs never tried: a forest over all rungs, asked about the full budget.

SMAC trains on one rung alone, the highest with any result: after 35 trials that is one row. Here every result counts,
with the logarithm of its budget as one more feature, so that the many cheap trials say which region is good and the
few dear ones how a rung's losses relate to those of full training, family by family.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ConfigSpace import Configuration, ConfigurationSpace
from numpy.typing import NDArray
from smac.model.random_forest import RandomForest

Floats = NDArray[np.float64]

_DECIMALS = 9
_TREES = 10


def vector_key(config: Configuration) -> bytes:
    """Return what equal configs share, from the config's vector.

    ConfigSpace's own hash prints the whole config, at 0.2 ms. A float that went through JSON comes back
    within 1e-10.
    """
    vector = config.get_array().round(_DECIMALS) + 0.0  # + 0.0: there is one zero
    vector[np.isnan(vector)] = -1.0  # and one NaN
    return bytes(vector.tobytes())


class Observations:
    """Every result so far: vector of the config, budget, loss. A second result of a trial replaces the first."""

    def __init__(self) -> None:
        self._rows: dict[tuple[bytes, float], int] = {}
        self._configs: dict[bytes, Configuration] = {}
        self._vectors: list[Floats] = []
        self._budgets: list[float] = []
        self._losses: list[float] = []
        self.version = 0
        """Grows with every result, so that who has learned from them knows whether there is anything new."""

    def __len__(self) -> int:
        return len(self._losses)

    def add(self, config: Configuration, budget: float, loss: float) -> None:
        """Take note of a finite loss."""
        key = vector_key(config)
        row = self._rows.setdefault((key, budget), len(self._losses))
        self._configs.setdefault(key, config)
        if row == len(self._losses):
            self._vectors.append(np.asarray(config.get_array(), dtype=np.float64))
            self._budgets.append(budget)
            self._losses.append(loss)
        self._losses[row] = loss
        self.version += 1

    @property
    def configs(self) -> list[Configuration]:
        """The configs with a result, in the order of their first."""
        return list(self._configs.values())

    def training_set(self, *, all_rungs: bool) -> tuple[Floats, Floats]:
        """Return X ``(n, n_hyperparameters + 1)``, the last column log(budget), and losses ``(n, 1)``.

        Without `all_rungs` only the highest budget with a result counts, as SMAC has it, and the last column is 0.
        """
        x, budgets, y = np.array(self._vectors), np.array(self._budgets), np.array(self._losses)
        if not all_rungs:
            top = budgets == budgets.max()
            x, budgets, y = x[top], np.ones(top.sum()), y[top]
        return np.column_stack([x, np.log(budgets)]), _without_outliers(y)[:, None]


def _without_outliers(losses: Floats) -> Floats:
    """Pull losses above Tukey's upper fence down to it.

    How bad a bad config is says nothing about where good ones are, but a few huge losses (a failure, a diverged
    training) would rule the splits and the spread of the trees. Not a logarithm: ties at loss 0 are common here.
    """
    lower, upper = np.percentile(losses, [25, 75])
    return np.minimum(losses, upper + 1.5 * (upper - lower)) if upper > lower else losses


class BudgetForest(RandomForest):  # type: ignore[misc]  # SMAC has no types
    """SMAC's random forest with the budget as a feature; what it predicts is always the loss at full budget.

    To SMAC the budget is a feature of the "instance", of which there is one: full training, log(1) = 0. A leaf limit,
    SMAC's default, makes each fit of a small forest fifty times slower; one thread is faster than starting several.
    The leaves are those of SMAC's facade for hyperparameters, one result each; the class's own default is three.
    """

    def __init__(self, space: ConfigurationSpace, *, seed: int) -> None:
        super().__init__(
            space,
            instance_features={"full training": [0.0]},
            n_trees=_TREES,
            ratio_features=1.0,
            min_samples_split=2,
            min_samples_leaf=1,
            max_leaf_nodes=None,
            n_jobs=1,
            log_y=False,
            seed=seed,
        )
        self._fill: Floats | None = None

    def _impute_inactive(self, X: Floats) -> Floats:
        """Do as SMAC does, all columns at once: this is called for every step of the local search."""
        if self._fill is None:
            super()._impute_inactive(X[:1])  # finds out the values that stand for "inactive"
            self._fill = np.zeros(self._n_hps)
            for column, value in self._impute_values.items():
                self._fill[column] = value
        X = X.copy()
        known = X[:, : self._n_hps]
        np.copyto(known, self._fill, where=~np.isfinite(known))
        return X

    def predict_marginalized(self, X: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance ``(n, 1)`` over the trees at full budget, of vectors `X` ``(n, n_hyperparameters)``.

        SMAC's own does the same through joblib, whose overhead is larger than the work.
        """
        rows = np.column_stack([self._impute_inactive(X), np.zeros(len(X))]).astype(np.float32)
        each = np.column_stack([tree.tree_.predict(rows)[:, 0] for tree in self._rf.estimators_])
        return each.mean(axis=1, keepdims=True), np.maximum(
            each.var(axis=1, keepdims=True), self._var_threshold
        )


class Surrogate:
    """The forest and what it is trained on; it is trained anew when it is asked for and something new is known."""

    def __init__(self, space: ConfigurationSpace, *, seed: int, all_rungs: bool) -> None:
        self.observations = Observations()
        self.forest = BudgetForest(space, seed=seed)
        self._all_rungs = all_rungs
        self._trained_on = 0

    def refresh(self) -> BudgetForest:
        """Return the forest, trained on everything there is.

        Raises
        ------
        ValueError
            If there is no result yet.
        """
        if not len(self.observations):
            raise ValueError("The surrogate has no result to learn from yet.")
        if self._trained_on != self.observations.version:
            self.forest.train(*self.observations.training_set(all_rungs=self._all_rungs))
            self._trained_on = self.observations.version
        return self.forest

    def predict(self, configs: Sequence[Configuration]) -> tuple[Floats, Floats]:
        """Return mean and standard deviation ``(n,)`` of the loss at full budget."""
        mean, variance = self.refresh().predict_marginalized(vectors(configs))
        return mean[:, 0], np.sqrt(variance[:, 0])

    def mean(self, configs: Sequence[Configuration]) -> Floats:
        """Return the mean ``(n,)`` of the loss at full budget."""
        return self.predict(configs)[0]


def vectors(configs: Sequence[Configuration]) -> NDArray[Any]:
    """Return the configs' vectors ``(n, n_hyperparameters)``, NaN where a hyperparameter is inactive."""
    return np.array([config.get_array() for config in configs], dtype=np.float64)
