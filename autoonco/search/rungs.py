"""How well partial trainings foretell the full one: rank correlations of each rung with full budget, by family."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy.stats import spearmanr

from autoonco.search.space import config_key
from autoonco.search.trial import Origin, Status, Trial

_FEWEST = 4
COLUMNS = ("family", "budget", "n", "spearman")


def rung_correlations(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return Spearman's correlation of the losses at each smaller budget with those at full budget.

    Over the configs of one search that were tried at both; fewer than four tell nothing and give no row.

    Returns
    -------
    DataFrame
        ``family``, ``budget``, ``n`` (configs), ``spearman`` (not a number where all losses are equal).
    """
    losses: dict[tuple[str, float], dict[str, float]] = {}
    for trial in trials:
        counts = trial.status is Status.SUCCESS and trial.origin is not Origin.FINALIST and not trial.dear
        if trial.loss is not None and counts:
            key = config_key(trial.family, trial.config)
            losses.setdefault((trial.family, round(trial.budget, 4)), {})[key] = trial.loss
    rows = []
    for (family, budget), partial in sorted(losses.items()):
        full = losses.get((family, 1.0), {})
        both = sorted(partial.keys() & full.keys())
        if budget < 1 and len(both) >= _FEWEST:
            pairs = [partial[key] for key in both], [full[key] for key in both]
            varied = all(len(set(side)) > 1 for side in pairs)
            rho = float(spearmanr(*pairs).statistic) if varied else float("nan")
            rows.append((family, budget, len(both), rho))
    return pd.DataFrame(rows, columns=list(COLUMNS))
