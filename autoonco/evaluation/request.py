"""What a run was asked to do, and what of it must stay the same for the run to be continued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autoonco.data.cache import digest
from autoonco.data.manifest import Dataset
from autoonco.evaluation.modes import Mode
from autoonco.evaluation.run_folder import versions
from autoonco.evaluation.split_table import SplitTable
from autoonco.evaluation.tasks import TASKS, Task
from autoonco.metrics.scores import Metric
from autoonco.search.portfolio_file import load_portfolio
from autoonco.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a run was asked to do, names resolved.

    `table` holds the splits to replay; `client` is a `distributed.Client` where a cluster does the work.
    """

    time_limit_s: float
    families: tuple[str, ...]
    mode: Mode
    metric: Metric
    n_jobs: int
    n_threads: int
    device: str
    seed: int
    settings: Settings
    task: Task = TASKS["classification"]
    table: SplitTable | None = None
    client: Any = None

    @property
    def evaluation(self) -> str:
        """How the run is judged, by the name that the user knows."""
        return self.mode.kind


_MAY_CHANGE = {
    "calibration",
    "threshold",
    "sensitivity",
    "coverage",
    "shortcuts",
    "max_predict_seconds",
    "max_trials",
    "trial_share",
    "memory_limit_gb",
    "gpu_rate",
    "portfolio",
    "weights_dir",
    "outer_repeats",
    "patient_level",
}
"""Settings that a continued run may change: they change how far it gets, not what a trial means. (Of the portfolio the
content counts, not the path, which belongs to the machine; so do the networks that a folder of weights brings, which
the space names.)"""


def settings_json(settings: Settings) -> dict[str, Any]:
    """Return the settings as a run folder holds them: without paths of this machine."""
    return settings.model_dump(mode="json", exclude={"portfolio", "weights_dir"})


def identity_of(dataset: Dataset, request: Request) -> dict[str, Any]:
    """Return what must stay the same for a run to be continued, by the name a message uses for it."""
    return {
        "data": dataset.identity(),
        "classes": list(dataset.classes),
        "families": list(request.families),
        "task": request.task.name,
        "evaluation": request.evaluation,
        "table of splits": None if request.table is None else digest(request.table.to_json()),
        "metric": request.metric.identity,
        "seed": request.seed,
        "version of autoonco": versions()["autoonco"],
        "settings": request.settings.model_dump(mode="json", exclude=_MAY_CHANGE),
        "portfolio": digest(load_portfolio(request.settings.portfolio)),
    }
