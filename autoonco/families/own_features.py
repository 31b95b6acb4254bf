"""Features that the user brings, from another program or another modality, then classical learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.errors import DataError
from autoonco.families.contract import Config, Fidelity, FitContext, ModelState, Runtime
from autoonco.families.tables import plan_folds, spread

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from sklearn.pipeline import Pipeline

DEFAULTS: tuple[dict[str, Any], ...] = (
    {
        "scale": "quantile",
        "correlation": 0.9,
        "learner": "logistic_regression",
        "logistic_regression:C": 0.05,
    },
    {"scale": "quantile", "selection": "l1", "selection_share": 0.2, "learner": "svm", "svm:C": 0.3},
    {"learner": "xgboost"},
)
"""Those of radiomics: most tables that users bring hold radiomic features of another program."""


@dataclass(frozen=True, kw_only=True)
class OwnFeaturesModel:
    """A fitted pipeline and the columns that it takes, in order.

    `labels` are the classes of the training cases, which `pipeline` numbers 0, 1, ...
    """

    names: tuple[str, ...]
    pipeline: Pipeline
    labels: tuple[int, ...]
    n_classes: int
    no_map: ClassVar[str] = "This model sees columns of your feature table, not pixels."

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``.

        Raises
        ------
        DataError
            If a case has no features or lacks one of them; names its row.
        """
        found = self.pipeline.predict_proba(feature_matrix(cases, self.names))
        return spread(found, self.labels, self.n_classes)

    def state(self) -> ModelState:
        """Return the columns and the pipeline as skops bytes."""
        from autoonco.tabular.kept import kept_columns
        from autoonco.tabular.serialise import to_parts

        meta = {
            "names": list(self.names),
            "labels": list(self.labels),
            "n_classes": self.n_classes,
            "kept": kept_columns(self.pipeline, self.names),
        }
        return ModelState(meta=meta, parts={"pipeline": to_parts(self.pipeline)})


def feature_matrix(cases: Sequence[Case], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the columns `names` of the cases' own features ``(n_cases, n_features)``, NaN for empty cells.

    Raises
    ------
    DataError
        If a case has no features or lacks one of `names`; names its row.
    """
    for case in cases:
        if not case.features:
            raise DataError(
                f"row {case.row}: the model takes {len(names)} features of a table and this case has none: give the "
                "table with --features, or Dataset.with_features, and a row with this case in it."
            )
        lacking = next((name for name in names if name not in case.features), None)
        if lacking is not None:
            raise DataError(
                f"row {case.row}: the feature table has no column {lacking!r}, which the model takes: add it; an empty "
                "cell stands for a value that isn't known."
            )
    return np.array([[case.features[name] for name in names] for case in cases], dtype=np.float64)


class OwnFeatures:
    """The family of features that the user brings."""

    name = "own_features"

    def why_not(self, fingerprint: Fingerprint) -> str | None:
        """Return why the family does not apply: no table was given."""
        if fingerprint.own_features:
            return None
        return "no table of features was given: give one with features= (--features FILE)"

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:  # noqa: ARG002 - any table is treated alike
        """Return the space of pipelines."""
        from autoonco.tabular.pipeline import tabular_space

        return tabular_space()

    def defaults(self, fingerprint: Fingerprint) -> Sequence[Config]:
        """Return three pipelines that always compete, the most trusted first."""
        from autoonco.tabular.pipeline import complete

        space = self.space(fingerprint)
        return [complete(space, values) for values in DEFAULTS]

    def plan(self, config: Config, budget: float, *, inner_folds: int, n_train: int) -> Fidelity:  # noqa: ARG002
        """Return folds; below one fold, part of its training cases where there are thousands."""
        return plan_folds(budget, inner_folds=inner_folds, n_train=n_train)

    def wants_gpu(self, config: Config) -> bool:  # noqa: ARG002 - the contract's
        """Return False: nothing here uses one."""
        return False

    def prior_seconds(self, config: Config, fidelity: Fidelity, fingerprint: Fingerprint) -> float:
        """Return the seconds of fitting each fold."""
        from autoonco.tabular.learners import seconds_to_fit

        return fidelity.folds * seconds_to_fit(str(config["learner"]), fingerprint.n_cases)

    def fit(
        self,
        config: Config,
        cases: Sequence[Case],
        y: NDArray[Any],
        *,
        fidelity: Fidelity,  # noqa: ARG002 - a fold is always fitted in full
        context: FitContext,
    ) -> OwnFeaturesModel:
        """Fit the pipeline on the features of `cases` with labels `y` ``(n_cases,)``.

        Raises
        ------
        DataError
            If a case lacks a feature, or if no feature has two values in these cases.
        """
        from autoonco.tabular.pipeline import build_pipeline, fit_pipeline

        names = context.fingerprint.own_features
        table = feature_matrix(cases, names)
        if not any(len(np.unique(column[~np.isnan(column)])) > 1 for column in table.T):
            raise DataError(
                "Every feature of the table has one value in the training cases: there is nothing to learn from. "
                "Give other features."
            )
        labels, codes = np.unique(y, return_inverse=True)
        pipeline = build_pipeline(
            config,
            n_features=len(names),
            n_classes=len(labels),
            n_train=len(cases),
            seed=context.seed,
            n_threads=context.runtime.n_threads,
        )
        patients = np.unique([case.patient for case in cases], return_inverse=True)[1]
        return OwnFeaturesModel(
            names=names,
            pipeline=fit_pipeline(pipeline, table, codes, groups=patients),
            labels=tuple(int(label) for label in labels),
            n_classes=context.fingerprint.n_classes,
        )

    def restore(self, state: ModelState, runtime: Runtime) -> OwnFeaturesModel:  # noqa: ARG002 - the contract's
        """Return the model that `OwnFeaturesModel.state` described.

        Raises
        ------
        UnsafeBundleError
            If the stored pipeline holds a type that no model of autoonco needs.
        """
        from autoonco.tabular.serialise import from_parts

        return OwnFeaturesModel(
            names=tuple(state.meta["names"]),
            pipeline=from_parts(state.parts["pipeline"]),
            labels=tuple(state.meta["labels"]),
            n_classes=state.meta["n_classes"],
        )


family = OwnFeatures()
