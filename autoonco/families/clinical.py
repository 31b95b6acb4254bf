"""The clinical columns that the user named, alone or beside handcrafted features, then classical learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.errors import DataError, MissingDependencyError
from autoonco.families.contract import Config, Fidelity, FitContext, ModelState, Runtime
from autoonco.families.tables import plan_folds, spread
from autoonco.features.backend import BACKEND
from autoonco.features.blocks import column_names, extract_table
from autoonco.features.choices import absent_settings, spec_of
from autoonco.features.spec import ExtractionSpec
from autoonco.resources import load_space
from autoonco.tabular.clinical_columns import ClinicalEncoder

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from sklearn.pipeline import Pipeline

BOTH = "radiomics_and_clinical"
EXTRACTION = "extraction"
"""Prefix of the settings of ``spaces/radiomics.yaml``."""
SECONDS_TO_EXTRACT = 0.1
"""A case and channel, where features weren't extracted before."""
SECONDS_TO_ENCODE = 2e-5
"""A case and column."""
DEFAULTS: tuple[dict[str, Any], ...] = (
    {"scale": "zscore", "learner": "logistic_regression", "logistic_regression:C": 1.0},
    {
        "features": BOTH,
        "scale": "quantile",
        "correlation": 0.9,
        "learner": "logistic_regression",
        "logistic_regression:C": 0.05,
    },
    {"learner": "additive"},
)
"""A plain regression first: what a clinician would fit, and hard to beat on a handful of columns."""


@dataclass(frozen=True, kw_only=True)
class HandcraftedFeatures:
    """Which radiomic features stand beside the clinical columns, and what they were made with."""

    spec: ExtractionSpec
    names: tuple[str, ...]
    backend: str

    def table(self, cases: Sequence[Case], runtime: Runtime) -> NDArray[np.float64]:
        """Return the features of `cases` ``(n_cases, n_features)``.

        Raises
        ------
        MissingDependencyError
            If what is installed gives other features than those the model was fitted with.
        """
        if column_names(self.spec) != self.names:
            raise MissingDependencyError(
                f"The model was made with the features of {self.backend} and this autoonco computes {BACKEND}: "
                "predict with the version of autoonco that it was made with."
            )
        table, _ = extract_table(cases, self.spec, artefacts=runtime.artefacts, n_threads=runtime.n_threads)
        return table

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"spec": self.spec.to_json(), "names": list(self.names), "backend": self.backend}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> HandcraftedFeatures:
        """Read what `to_json` wrote."""
        return cls(
            spec=ExtractionSpec.from_json(plain["spec"]),
            names=tuple(plain["names"]),
            backend=plain["backend"],
        )


@dataclass(frozen=True, kw_only=True)
class ClinicalModel:
    """A fitted clinical pipeline: how columns are read, and what is made of them.

    `labels` are the classes of the training cases, which `pipeline` numbers 0, 1, ...; `radiomics` is None for
    clinical columns alone.
    """

    encoder: ClinicalEncoder
    radiomics: HandcraftedFeatures | None
    pipeline: Pipeline
    labels: tuple[int, ...]
    n_classes: int
    runtime: Runtime
    no_map: ClassVar[str] = "The clinical model sees columns of the table, not pixels."

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``.

        Raises
        ------
        DataError
            If a case lacks a clinical column, or its scan or mask where radiomics is used; names its row.
        """
        table = _table(cases, self.encoder, self.radiomics, self.runtime)
        return spread(self.pipeline.predict_proba(table), self.labels, self.n_classes)

    def state(self) -> ModelState:
        """Return the columns and their categories, the extraction's settings and the pipeline as skops bytes."""
        from autoonco.tabular.serialise import to_parts

        meta = {
            "columns": self.encoder.to_json(),
            "radiomics": None if self.radiomics is None else self.radiomics.to_json(),
            "labels": list(self.labels),
            "n_classes": self.n_classes,
        }
        return ModelState(meta=meta, parts={"pipeline": to_parts(self.pipeline)})


def _table(
    cases: Sequence[Case], encoder: ClinicalEncoder, radiomics: HandcraftedFeatures | None, runtime: Runtime
) -> NDArray[np.float64]:
    clinical = encoder.transform(cases)  # first: a missing column is told before hours of extraction
    return clinical if radiomics is None else np.hstack([clinical, radiomics.table(cases, runtime)])


class Clinical:
    """The family of clinical columns."""

    name = "clinical"

    def why_not(self, fingerprint: Fingerprint) -> str | None:
        """Return why the family does not apply: no clinical columns were named."""
        if fingerprint.clinical:
            return None
        return "no clinical columns were named: name them with clinical= (--clinical age,sex)"

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:
        """Return what may be made of the columns, and the space of pipelines."""
        from autoonco.tabular.pipeline import tabular_space

        absent = set() if fingerprint.has_mask else {"features"}
        space = tabular_space()
        space.add([item for name, item in load_space("clinical").items() if name not in absent])
        if fingerprint.has_mask:
            below = {"parent": space["features"], "value": BOTH}
            space.add_configuration_space(
                EXTRACTION, extraction_space(fingerprint), parent_hyperparameter=below
            )
        return space

    def defaults(self, fingerprint: Fingerprint) -> Sequence[Config]:
        """Return pipelines that always compete: clinical regression, then with radiomics where there is any."""
        from autoonco.tabular.pipeline import complete

        space = self.space(fingerprint)
        return [complete(space, values) for values in DEFAULTS if set(values) <= set(space)]

    def plan(self, config: Config, budget: float, *, inner_folds: int, n_train: int) -> Fidelity:  # noqa: ARG002
        """Return folds; below one fold, part of its training cases where there are thousands."""
        return plan_folds(budget, inner_folds=inner_folds, n_train=n_train)

    def wants_gpu(self, config: Config) -> bool:  # noqa: ARG002 - the contract's
        """Return False: nothing here uses one."""
        return False

    def prior_seconds(self, config: Config, fidelity: Fidelity, fingerprint: Fingerprint) -> float:
        """Return the seconds of reading the columns, extracting once where asked for, and fitting each fold."""
        from autoonco.tabular.learners import seconds_to_fit

        n_cases = fingerprint.n_cases
        fit = seconds_to_fit(str(config["learner"]), n_cases)
        before = n_cases * len(fingerprint.clinical) * SECONDS_TO_ENCODE
        if config.get("features") == BOTH:
            before += n_cases * len(fingerprint.channels) * SECONDS_TO_EXTRACT
        else:
            fit /= 10  # a few columns, where that guess is for a thousand
        return before + fidelity.folds * fit

    def fit(
        self,
        config: Config,
        cases: Sequence[Case],
        y: NDArray[Any],
        *,
        fidelity: Fidelity,  # noqa: ARG002 - a fold is always fitted in full
        context: FitContext,
    ) -> ClinicalModel:
        """Learn categories, encode, extract what isn't cached yet, and fit the pipeline on `cases`.

        Raises
        ------
        DataError
            If a case lacks a column, or if no column has two values in these cases.
        """
        from autoonco.tabular.pipeline import build_pipeline, fit_pipeline

        columns = context.fingerprint.clinical
        encoder = ClinicalEncoder.fitted(
            cases,
            columns,
            min_share=float(config["min_share"]),
            flag_missing=config["missing"] == "flagged",
        )
        radiomics = handcrafted(config, context.fingerprint) if config.get("features") == BOTH else None
        table = _table(cases, encoder, radiomics, context.runtime)
        if not varies(table):
            raise DataError(
                f"The clinical columns {', '.join(columns)} have one value each in the training cases: "
                "name others with clinical= (--clinical)."
            )
        patients = np.array([case.patient for case in cases])
        labels, codes = np.unique(y, return_inverse=True)
        pipeline = build_pipeline(
            config,
            n_features=table.shape[1],
            n_classes=len(labels),
            n_train=len(cases),
            seed=context.seed,
            n_threads=context.runtime.n_threads,
        )
        return ClinicalModel(
            encoder=encoder,
            radiomics=radiomics,
            pipeline=fit_pipeline(pipeline, table, codes, groups=patients),
            labels=tuple(int(label) for label in labels),
            n_classes=context.fingerprint.n_classes,
            runtime=context.runtime,
        )

    def restore(self, state: ModelState, runtime: Runtime) -> ClinicalModel:
        """Return the model that `ClinicalModel.state` described.

        Raises
        ------
        UnsafeBundleError
            If the stored pipeline holds a type that no model of autoonco needs.
        """
        from autoonco.tabular.serialise import from_parts

        stored = state.meta["radiomics"]
        radiomics = None if stored is None else HandcraftedFeatures.from_json(stored)
        return ClinicalModel(
            encoder=ClinicalEncoder.from_json(state.meta["columns"]),
            radiomics=radiomics,
            pipeline=from_parts(state.parts["pipeline"]),
            labels=tuple(state.meta["labels"]),
            n_classes=state.meta["n_classes"],
            runtime=runtime,
        )


def extraction_space(fingerprint: Fingerprint) -> ConfigurationSpace:
    """Return the settings of extraction that change something on these data."""
    from ConfigSpace import ConfigurationSpace

    every = load_space("radiomics")
    present = every.keys() - absent_settings(fingerprint)
    space = ConfigurationSpace()
    space.add([item for name, item in every.items() if name in present])
    space.add([item for item in every.conditions if item.child.name in present])
    return space


def handcrafted(config: Config, fingerprint: Fingerprint) -> HandcraftedFeatures:
    """Return which features a config asks for by its settings under `EXTRACTION`."""
    prefix = f"{EXTRACTION}:"
    own = {name.removeprefix(prefix): value for name, value in config.items() if name.startswith(prefix)}
    spec = spec_of(own, fingerprint)
    return HandcraftedFeatures(spec=spec, names=column_names(spec), backend=BACKEND)


def varies(table: NDArray[np.float64]) -> bool:
    """Tell whether some column has two values, missing ones aside."""
    return any(len(np.unique(column[~np.isnan(column)])) > 1 for column in table.T)


family = Clinical()
