"""The figures of a run, each made on call from its folder: what the report draws, as matplotlib Figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from autoonco.errors import AutoOncoError
from autoonco.evaluation.predicted import once_each
from autoonco.reporting import (
    plots,
    plots_clinical,
    plots_data,
    plots_explained,
    plots_families,
    plots_search,
    summary,
)
from autoonco.reporting.clinical_section import AUCS, curve_order, thresholds_of
from autoonco.reporting.evidence import Shap
from autoonco.reporting.explanations_section import feature_importance, group_shares, waterfall_cases
from autoonco.reporting.families_section import curve_models
from autoonco.reporting.importance import importances, scored
from autoonco.reporting.judged import comparison_of, evaluation_of
from autoonco.reporting.read_run import RunData, read_run
from autoonco.reporting.search_details import parallel_families, searched_families


class Plots:
    """The figures of the run in `folder`.

    Raises
    ------
    AutoOncoError
        From a method whose figure this run can't have; the message says what is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def roc(self) -> Figure:
        """Return the ROC curve of each family and the ensemble on the test cases, with bands."""
        data, predictions = self._judged()
        return plots.roc(predictions, evaluation_of(data), curve_models(data), auc=data.auc_name)

    def precision_recall(self) -> Figure:
        """Return the precision-recall curves of the same models."""
        data, predictions = self._judged()
        return plots_families.precision_recall(predictions, curve_models(data))

    def forest(self) -> Figure:
        """Return each model's test AUC with its interval."""
        data, _ = self._judged()
        return plots.forest(evaluation_of(data))

    def differences(self) -> Figure:
        """Return the AUC difference of each pair of models with its interval."""
        data, _ = self._judged()
        return plots_families.differences(comparison_of(data))

    def cost(self) -> Figure:
        """Return each model's test AUC against its compute, with the Pareto front."""
        data, _ = self._judged()
        return plots_families.cost(plots_families.cost_table(data.models, evaluation_of(data)))

    def search_curve(self) -> Figure:
        """Return the best inner score so far against time, a line a family."""
        data = self._read()
        return plots.search_curve(self._final(data), data.metric)

    def trials_over_time(self) -> Figure:
        """Return how many trials of each family had ended by a time."""
        return plots_search.trials_over_time(self._final(self._read()))

    def budget_rungs(self) -> Figure:
        """Return the inner scores at each budget."""
        data = self._read()
        return plots_search.rungs(self._final(data), data.metric)

    def importance(self) -> Figure:
        """Return the hyperparameters of each family by importance."""
        return plots_search.importance(self._importances()[1])

    def parallel(self) -> Figure:
        """Return the best configs across their most important hyperparameters."""
        data, found = self._importances()
        families, trials = parallel_families(found), self._final(data)
        best = [trial for family in families for trial in scored(trials, family)]
        return plots_search.parallel(best, found, data.space, data.metric, families)

    def time_per_family(self) -> Figure:
        """Return where the compute of the final search went, finalists scored again among it."""
        data = self._read()
        return plots.time_per_family([t for t in data.trials if t["scope"] == "final"], data.models)

    def confusion(self) -> Figure:
        """Return the delivered model's confusion matrix at its threshold."""
        data, predictions = self._counted()
        own = predictions[predictions["model"] == self._models(data)[0]]
        threshold = thresholds_of(data.evidence.decisions, own)
        counts = plots_clinical.confusion_counts(own, len(data.classes), threshold, task=data.task)
        return plots_clinical.confusion(counts, data.classes)

    def calibration(self) -> Figure:
        """Return reliability curves on the test cases."""
        data, predictions = self._counted()
        return plots_clinical.calibration(predictions, self._models(data), data.classes)

    def decision_curves(self) -> Figure:
        """Return the net benefit of acting on each model."""
        data, predictions = self._counted()
        return plots_clinical.decisions(predictions, self._models(data), data.classes)

    def set_sizes(self) -> Figure:
        """Return how large the prediction sets of the test cases are."""
        data = self._read()
        told = data.evidence.decisions.get("conformal") or {}
        figures = told.get("test") or told.get("cross_fitted")
        if not figures:
            raise AutoOncoError("This run made no prediction sets, so there is nothing to draw.")
        return plots_clinical.set_sizes(figures, data.classes)

    def subgroups(self) -> Figure:
        """Return the delivered model's AUC by subgroup."""
        found = self._read().evidence.subgroups
        aucs = None if found is None else found[found["metric"].isin(AUCS) & found["value"].notna()]
        if aucs is None or aucs.empty:
            raise AutoOncoError("This run has no figures by subgroup, so there is nothing to draw.")
        return plots_clinical.subgroups(aucs)

    def shap_summary(self) -> Figure:
        """Return what each radiomic feature adds to the predictions."""
        told, shap = self._shap(self._read())
        return plots_explained.summary(shap.values, shap.data, told["names"], told["unit"])

    def shap_groups(self) -> Figure:
        """Return the groups of radiomic features by importance."""
        data = self._read()
        self._shap(data)
        return plots_explained.groups(group_shares(feature_importance(data))[:12])

    def waterfall(self, case: int = 0) -> Figure:
        """Return how a prediction of radiomics comes about.

        Parameters
        ----------
        case
            Which of the chosen cases: by default the first, the most right one.
        """
        data = self._read()
        told, shap = self._shap(data)
        cases = waterfall_cases(data)
        if not 0 <= case < len(cases):
            raise AutoOncoError(
                f"{len(cases)} cases were chosen, numbered from 0; there is no number {case}."
            )
        position, _, output = cases[case]
        values = shap.values[position, :, output].astype(float)
        return plots_explained.waterfall(values, float(told["base"][output]), told["names"], told["unit"])

    def lesion_sizes(self) -> Figure:
        """Return the sizes of the lesions by class."""
        data = self._read()
        if data.evidence.cases is None or data.fingerprint is None:
            raise AutoOncoError("This run has not measured its cases yet, so there is nothing to draw.")
        return plots_data.sizes(data.evidence.cases, data.classes, data.fingerprint.ndim)

    def grey_values(self) -> Figure:
        """Return the grey values by class."""
        data = self._read()
        found = data.evidence.explained.get("histograms")
        if not found:
            raise AutoOncoError("This run has no histograms of grey values, so there is nothing to draw.")
        return plots_data.grey_values(found, data.classes)

    def flow(self) -> Figure:
        """Return the flow of cases."""
        return plots_data.flow(self._read().run.get("n") or {})

    def _read(self) -> RunData:
        return read_run(self._folder)

    def _judged(self) -> tuple[RunData, pd.DataFrame]:
        data = self._read()
        if data.predictions is None:
            raise AutoOncoError("No test case was predicted in this run, so there is nothing to draw.")
        return data, data.predictions

    def _counted(self) -> tuple[RunData, pd.DataFrame]:
        data, predictions = self._judged()
        return data, once_each(predictions)

    def _models(self, data: RunData) -> list[str]:
        return curve_order(data, summary.delivered_model(data))

    def _final(self, data: RunData) -> Sequence[Mapping[str, Any]]:
        return [t for t in data.trials if t["scope"] == "final" and t.get("origin") != "finalist"]

    def _importances(self) -> tuple[RunData, pd.DataFrame]:
        data = self._read()
        trials = self._final(data)
        found = importances(trials, searched_families(trials), data.space)
        if found.empty:
            raise AutoOncoError("No family has enough scored trials yet to learn from.")
        return data, found

    def _shap(self, data: RunData) -> tuple[Mapping[str, Any], Shap]:
        told, shap = data.evidence.explained.get("radiomics"), data.evidence.shap
        if not told or shap is None:
            raise AutoOncoError("This run has no Shapley values: no radiomics model was explained in it.")
        return told, shap
