"""A run as Python objects: every table a DataFrame, every figure a matplotlib Figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from autoonco.errors import UnknownNameError
from autoonco.evaluation.own_metric import with_own_figures
from autoonco.evaluation.run_state import RunState, run_state
from autoonco.evaluation.tables import leaderboard_table
from autoonco.evaluation.verdict import Verdict
from autoonco.reporting.board import members_table, models_table
from autoonco.reporting.content import make_content, run_tables
from autoonco.reporting.files import tables_of
from autoonco.reporting.judged import comparison_of, evaluation_of, patients_of, verdict_of
from autoonco.reporting.read_run import RunData, read_run
from autoonco.reporting.result_plots import Plots


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
        """Return the figures of each model on the test cases with 95 % intervals, see `evaluation_table`.

        A case is called the most probable class; what the delivered model finds at a threshold that was chosen for it
        is ``table("operating")``, and on patients ``table("patient_decisions")``. Where patients have several cases,
        rows whose ``subset`` begins with ``"patients"`` follow: there, a patient's cases are one, see `patient_table`;
        all other intervals keep them together. A score of the user's own, where the search maximised one, has columns
        of its name, as the run measured it.
        """
        data = self.read()
        figures = with_own_figures(evaluation_of(data), self.folder, data.metric)
        return pd.concat([figures, patients_of(data)], ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """Return the few columns of `evaluation` that are read first."""
        table = evaluation_of(self.read(), figures=())
        return table[["model", "subset", "n", "auc", "auc_lower", "auc_upper"]]

    def comparison(self) -> pd.DataFrame:
        """Return the AUC difference of every pair of families and the ensemble, see `comparison_table`."""
        return comparison_of(self.read())

    def verdict(self) -> Verdict:
        """Return whether deep learning beats radiomics here, and how sure that is."""
        return verdict_of(self.read())

    def models(self) -> pd.DataFrame:
        """Return ensemble, families and baselines with intervals, cost and seconds a case, see `models_table`."""
        return models_table(self.read())

    def members(self) -> pd.DataFrame:
        """Return the members of the delivered ensemble with their weights, see `members_table`."""
        return members_table(self.read())

    def leaderboard(self) -> pd.DataFrame:
        """Return every trial of the final search, best first."""
        return leaderboard_table(self.read().trials)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every table of the report by name, as its files in ``tables/`` have it; empty ones left out."""
        return tables_of(make_content(self.read(), pictures=False))

    def table(self, name: str) -> pd.DataFrame:
        """Return one table of the report.

        Raises
        ------
        UnknownNameError
            If this run has no table of that name; the message lists those it has.
        """
        found = run_tables(self.read())
        if name not in found:  # one of the page alone
            found = self.tables()
        if name not in found:
            raise UnknownNameError("table", name, found)
        return found[name]

    def model_card(self) -> dict[str, Any]:
        """Return the model card as plain JSON, empty while there is no model."""
        return dict(make_content(self.read(), pictures=False).card)

    def excluded(self) -> list[str]:
        """Return why each case that was left out could not be used, in the words of the data check."""
        run = self.read()
        if not (run.run.get("n") or {}).get("excluded"):
            return []
        return [str(message) for message in run.checks.loc[run.checks["severity"] == "error", "message"]]

    def stopped(self) -> str | None:
        """Return what has to be said of a run that was asked to end before its time, None of another."""
        run = self.read()
        return str(run.run["stopped"]) if run.status == "stopped" and run.run.get("stopped") else None

    def state(self) -> RunState:
        """Return how far the run is: running, finished, stopped, failed or killed, its trials, its time left."""
        return run_state(self.folder)

    def status(self) -> str:
        """Return in a sentence how far the run is."""
        return self.state().sentence()

    @property
    def plots(self) -> Plots:
        """The figures of the report."""
        return Plots(self.folder)
