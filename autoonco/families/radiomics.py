"""Handcrafted features of the masked lesion, then a searched pipeline of classical learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import digest
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.errors import MissingDependencyError
from autoonco.families.contract import Config, Fidelity, FitContext, ModelState, Runtime
from autoonco.families.tables import plan_folds, spread
from autoonco.features.backend import BACKEND
from autoonco.features.blocks import column_names, extract_table
from autoonco.features.choices import absent_settings, spec_of
from autoonco.features.images import response_names
from autoonco.features.spec import ExtractionSpec

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from sklearn.pipeline import Pipeline

SECONDS_PER_RESPONSE = (0.012, 4e-6)
"""Extraction of one filtered image: a case, and a voxel of its lesion."""
DEFAULTS: tuple[dict[str, Any], ...] = (
    {
        "scale": "quantile",
        "correlation": 0.9,
        "learner": "logistic_regression",
        "logistic_regression:C": 0.05,
    },
    {"scale": "quantile", "selection": "l1", "selection_share": 0.2, "learner": "svm", "svm:C": 0.3},
    {"log_filter": "multiscale", "learner": "xgboost"},
)
"""Chosen by patient-grouped cross-validation on the training cases of two public data sets, one 2D, one 3D."""


class RadiomicsModel:
    """A fitted radiomics pipeline: what to extract, and what to make of it.

    `labels` are the classes of the training cases, which `pipeline` numbers 0, 1, ...: a rare grade may have none.
    """

    no_map = "Radiomics sees features of the lesion, not pixels: the report lists those that count."

    def __init__(
        self,
        *,
        spec: ExtractionSpec,
        names: Sequence[str],
        pipeline: Pipeline,
        labels: Sequence[int],
        n_classes: int,
        backend: str,
        runtime: Runtime,
        sites: Sequence[str] = (),
    ) -> None:
        self.spec = spec
        self.names = tuple(names)
        self.pipeline = pipeline
        self.labels = tuple(labels)
        self.n_classes = n_classes
        self.backend = backend
        self.runtime = runtime
        self.sites = tuple(sites)

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
        """Return probabilities ``(n_cases, n_classes)``.

        Raises
        ------
        DataError
            If a case can't be read or has no mask; the message names its row.
        MissingDependencyError
            If this version of autoonco computes other features than the one the model was fitted with.
        """
        if column_names(self.spec) != self.names:
            raise MissingDependencyError(
                f"The model was made with the features of {self.backend} and this autoonco computes {BACKEND}: "
                "predict with the version of autoonco that it was made with."
            )
        return spread(self.pipeline.predict_proba(self.table(cases)), self.labels, self.n_classes)

    def table(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return what the pipeline takes of cases: the features `names` and, for ComBat, a last column of sites."""
        table, _ = _table(cases, self.spec, self.runtime)
        if "combat" in self.pipeline.named_steps:
            return np.column_stack([table, _site_codes(cases, self.sites)])
        return table

    def unharmonised(self, case: Case) -> bool:
        """Return whether sites are harmonised and that of `case` had too few training cases, or none, to be known."""
        step = self.pipeline.named_steps.get("combat")
        return step is not None and not np.isin(_site_codes([case], self.sites), step.sites_).all()

    def state(self) -> ModelState:
        """Return the extraction's settings, the backend, which columns count, and the pipeline as skops bytes."""
        from autoonco.tabular.kept import kept_columns
        from autoonco.tabular.serialise import to_parts

        meta = {
            "spec": self.spec.to_json(),
            "names": list(self.names),
            "labels": list(self.labels),
            "n_classes": self.n_classes,
            "backend": self.backend,
            "sites": list(self.sites),
            "kept": kept_columns(self.pipeline, self.names),
        }
        return ModelState(meta=meta, parts={"pipeline": to_parts(self.pipeline)})


def _table(
    cases: Sequence[Case], spec: ExtractionSpec, runtime: Runtime
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    return extract_table(cases, spec, artefacts=runtime.artefacts, n_threads=runtime.n_threads)


def _perturbed_tables(
    table: NDArray[np.float64], cases: Sequence[Case], spec: ExtractionSpec, runtime: Runtime
) -> NDArray[np.float64]:
    """Return `table` and the tables of perturbed masks ``(n_masks, n_cases, n_features)``."""
    from autoonco.features.perturbation import PERTURBATIONS

    found = [
        extract_table(
            cases, spec, artefacts=runtime.artefacts, n_threads=runtime.n_threads, perturbation=how
        )[0]
        for how in PERTURBATIONS
    ]
    return np.stack([table, *found])


def _site_hash(case: Case) -> str:
    """Return what a site is called in a model: its name stays with the user."""
    return "" if case.site is None else digest(case.site)


def _site_codes(cases: Sequence[Case], sites: Sequence[str]) -> NDArray[np.float64]:
    """Return the number of each case's site in `sites` ``(n_cases,)``, -1 for one that isn't there."""
    numbers = {site: number for number, site in enumerate(sites)}
    return np.array([numbers.get(_site_hash(case), -1) for case in cases], dtype=np.float64)


class Radiomics:
    """The family of handcrafted features."""

    name = "radiomics"

    def why_not(self, fingerprint: Fingerprint) -> str | None:
        """Return why there can be no radiomics: no masks."""
        if not fingerprint.has_mask:
            return (
                "Radiomics needs a lesion mask for every case and channel, and this data has none for some."
            )
        return None

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:
        """Return extraction settings, pruned by the units of the grey values, and the space of pipelines."""
        from autoonco.resources import load_space
        from autoonco.tabular.pipeline import OF_ANY_TABLE, tabular_space

        extraction = load_space("radiomics")
        present = extraction.keys() - absent_settings(fingerprint)
        site = ("combat",) if fingerprint.has_site else ()
        space = tabular_space(steps=(*OF_ANY_TABLE, "groups", "robustness", *site))
        space.add([item for name, item in extraction.items() if name in present])
        space.add([item for item in extraction.conditions if item.child.name in present])
        return space

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
        """Return the seconds of extracting once and fitting each fold, on one core."""
        from autoonco.features.perturbation import PERTURBATIONS
        from autoonco.tabular.learners import seconds_to_fit
        from autoonco.tabular.pipeline import needs_perturbed

        spec = spec_of(config, fingerprint)
        n_responses = sum(len(response_names(item, spec.ndim)) for item in spec.filters)
        a_case, a_voxel = SECONDS_PER_RESPONSE
        voxels = fingerprint.lesion_voxels or 1000.0
        n_images = n_responses * sum(len(channel.components) for channel in spec.channels)
        extraction = fingerprint.n_cases * n_images * (a_case + a_voxel * voxels)
        if needs_perturbed(config):
            extraction *= 1 + len(PERTURBATIONS)
        return extraction + fidelity.folds * seconds_to_fit(str(config["learner"]), fingerprint.n_cases)

    def fit(
        self,
        config: Config,
        cases: Sequence[Case],
        y: NDArray[Any],
        *,
        fidelity: Fidelity,  # noqa: ARG002 - a fold is always fitted in full
        context: FitContext,
    ) -> RadiomicsModel:
        """Extract what isn't cached yet, and fit the pipeline on `cases` with labels `y` ``(n_cases,)``."""
        from autoonco.tabular.pipeline import build_pipeline, fit_pipeline, needs_perturbed, needs_site

        spec = spec_of(config, context.fingerprint)
        table, names = _table(cases, spec, context.runtime)
        labels, codes = np.unique(y, return_inverse=True)
        pipeline = build_pipeline(
            config,
            n_features=len(names),
            n_classes=len(labels),
            n_train=len(cases),
            seed=context.seed,
            n_threads=context.runtime.n_threads,
            names=names,
        )
        sites = sorted({_site_hash(case) for case in cases} - {""}) if needs_site(config) else []
        fit_pipeline(
            pipeline,
            np.column_stack([table, _site_codes(cases, sites)]) if needs_site(config) else table,
            codes,
            groups=np.unique([case.patient for case in cases], return_inverse=True)[1],
            perturbed=_perturbed_tables(table, cases, spec, context.runtime)
            if needs_perturbed(config)
            else None,
        )
        return RadiomicsModel(
            spec=spec,
            names=names,
            pipeline=pipeline,
            labels=[int(label) for label in labels],
            n_classes=context.fingerprint.n_classes,
            backend=BACKEND,
            runtime=context.runtime,
            sites=sites,
        )

    def restore(self, state: ModelState, runtime: Runtime) -> RadiomicsModel:
        """Return the model that `RadiomicsModel.state` described.

        Raises
        ------
        UnsafeBundleError
            If the stored pipeline holds a type that no model of autoonco needs.
        """
        from autoonco.tabular.serialise import from_parts

        return RadiomicsModel(
            spec=ExtractionSpec.from_json(state.meta["spec"]),
            names=state.meta["names"],
            pipeline=from_parts(state.parts["pipeline"]),
            # a model of an earlier version was fitted on every class
            labels=state.meta.get("labels", range(state.meta["n_classes"])),
            n_classes=state.meta["n_classes"],
            backend=state.meta["backend"],
            runtime=runtime,
            sites=state.meta.get("sites", ()),
        )


family = Radiomics()
