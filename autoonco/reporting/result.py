"""A run as Python objects: every table a DataFrame, every figure a matplotlib Figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from autoonco.errors import AutoOncoError
from autoonco.evaluation.tables import comparison_table, evaluation_table, leaderboard_table
from autoonco.evaluation.verdict import Verdict, verdict
from autoonco.reporting import plots
from autoonco.reporting.read_run import RunData, read_run


class Plots:
    """The figures of a run, each made on call."""

    def __init__(self, result: Result) -> None:
        self._result = result

    def roc(self) -> Figure:
        """Return the ROC curve of each family and the ensemble on the test cases.

        Raises
        ------
        AutoOncoError
            If no test case was predicted.
        """
        run, predictions = self._judged()
        return plots.roc(predictions, self._result.evaluation(), [str(model["name"]) for model in run.models])

    def forest(self) -> Figure:
        """Return each model's test AUC with its interval; raises as `roc` does."""
        self._judged()
        return plots.forest(self._result.evaluation())

    def search_curve(self) -> Figure:
        """Return the best inner score so far against time, a line a family."""
        run = self._result.read()
        return plots.search_curve(run.trials, run.metric)

    def time_per_family(self) -> Figure:
        """Return where the time went."""
        run = self._result.read()
        return plots.time_per_family(run.trials, run.models)

    def _judged(self) -> tuple[RunData, pd.DataFrame]:
        run = self._result.read()
        if run.predictions is None:
            raise AutoOncoError("No test case was predicted in this run, so there is nothing to draw.")
        return run, run.predictions


class Result:
    """What the run folder `folder` holds; read anew on each call, so it follows a running search.

    Raises
    ------
    DataError
        From each method, if `folder` is no run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def read(self) -> RunData:
        """Return everything the report is made of."""
        return read_run(self.folder)

    def evaluation(self) -> pd.DataFrame:
        """Return the figures of each model on the test cases with 95 % intervals, see `evaluation_table`."""
        run = self.read()
        if run.predictions is None:
            return pd.DataFrame(columns=["model", "subset", "n", "auc", "auc_lower", "auc_upper"])
        return evaluation_table(run.predictions, run.classes, run.metric)

    def summary(self) -> pd.DataFrame:
        """Return the few columns of `evaluation` that are read first."""
        table = self.evaluation()
        return table[["model", "subset", "n", "auc", "auc_lower", "auc_upper"]]

    def comparison(self) -> pd.DataFrame:
        """Return the AUC difference of every pair of families and the ensemble, see `comparison_table`."""
        run = self.read()
        empty = pd.DataFrame(columns=["fold", "row", "group", "truth", "is_clean", "model"])
        return comparison_table(empty if run.predictions is None else run.predictions, run.models)

    def verdict(self) -> Verdict:
        """Return whether deep learning beats radiomics here, and how sure that is."""
        run = self.read()
        return verdict(run.predictions, run.models, run.families)

    def leaderboard(self) -> pd.DataFrame:
        """Return every trial of the final search, best first."""
        return leaderboard_table(self.read().trials)

    def excluded(self) -> list[str]:
        """Return why each case that was left out could not be used, in the words of the data check."""
        run = self.read()
        if not (run.run.get("n") or {}).get("excluded"):
            return []
        return [str(message) for message in run.checks.loc[run.checks["severity"] == "error", "message"]]

    def status(self) -> str:
        """Return in a sentence how far the run is."""
        run = self.read()
        done = sum(trial["status"] == "success" for trial in run.trials)
        spent, limit = float(run.run.get("elapsed_s", 0.0)), float(run.run.get("time_limit_s", 0.0))
        spent = max([spent, *(float(trial["elapsed_s"]) for trial in run.trials)])
        return (
            f"{run.status}: {done} of {len(run.trials)} trials succeeded, {spent:.0f} of {limit:.0f} s spent."
        )

    @property
    def plots(self) -> Plots:
        """The figures of the report."""
        return Plots(self)
