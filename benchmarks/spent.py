"""What of a run's time was spent inside its families."""

from __future__ import annotations

from pathlib import Path

from autoonco.evaluation.refit import REFIT
from autoonco.search.space import config_key
from autoonco.search.store import FoldKey, read_events, read_trials


def family_seconds(run: Path) -> float:
    """Return the seconds that families took to fit and predict: of all trials, failed ones too, and of the refits."""
    trials = read_trials(run)
    refits = {
        FoldKey(
            scope=trial.scope,
            config_key=config_key(trial.family, trial.config),
            fold_key=trial.fidelity.fold_key,
            fold=REFIT,
        ).name
        for trial in trials
    }
    refitted = (event["seconds"] for event in read_events(run) if event.get("name") in refits)
    return sum(trial.seconds for trial in trials) + sum(refitted)
