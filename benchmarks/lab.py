"""A simulated machine that trains recorded configs: results and seconds come from the table."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.recorded import RUNGS, Recorded, Table

SHARE_IN_BUDGET = 0.2
"""The budget is the time in which random search trains this share of a table in full on average, 40 configs of 200.

It was fixed before any replay. Much more and random search sees most of the table, so that nothing can be told
apart; much less and it ends with the defaults.
"""
CHANCE_LOSS = 0.5
"""Loss (one minus the area under the ROC curve) that counts until a config was scored on all its folds."""


@dataclass(kw_only=True)
class Outcome:
    """What came of a trial; `loss` is None where the time was over before its end."""

    loss: float | None
    seconds: float


@dataclass(eq=False)
class Lab:
    """A machine that trains recorded configs, one at a time, on a simulated clock."""

    table: Table
    limit_s: float
    elapsed_s: float = 0.0
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds by family."""
    trace: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, loss) of every config scored on all folds."""
    finished: set[str] = field(default_factory=set)
    """Keys of those configs."""
    n_trials: int = 0

    def __post_init__(self) -> None:
        self._made: set[str] = set()
        self._done: set[tuple[str, int, int | None]] = set()
        self._trained: Counter[str] = Counter()
        self._best, self._worst_fold = np.inf, np.inf

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.elapsed_s >= self.limit_s

    def missing(self, config: Recorded, rung: int) -> list[tuple[int, int | None]]:
        """Return the steps of a trial that were never done."""
        return [step for step in config.plan(rung) if (config.key, *step) not in self._done]

    def run(self, config: Recorded, rung: int, *, racing: bool) -> Outcome:
        """Do a trial, fold by fold; what was done before is free.

        With `racing` it is stopped when the mean of its folds is worse than the worst fold of the best config.
        """
        start, losses = self.elapsed_s, []
        missing = self.missing(config, rung)
        for step in config.plan(rung):
            if step in missing and not self._work(config, self._seconds(config, rung, step)):
                return Outcome(loss=None, seconds=self.elapsed_s - start)
            self._done.add((config.key, *step))
            losses.append(config.folds[step][0])
            is_raced = racing and step in missing and rung == len(RUNGS) - 1
            if is_raced and np.mean(losses) > self._worst_fold:
                break
        loss = float(np.mean(losses))
        self.n_trials += self.elapsed_s > start
        if rung == len(RUNGS) - 1 and len(losses) == config.n_folds:
            self._finish(config, losses)
        return Outcome(loss=loss, seconds=self.elapsed_s - start)

    def _seconds(self, config: Recorded, rung: int, step: tuple[int, int | None]) -> float:
        """Return what a step takes, with artefacts not made yet; only a lone fold has a checkpoint."""
        artefacts = sum(self.table.artefact_s[name] for name in config.artefacts if name not in self._made)
        self._made.update(config.artefacts)
        epochs = step[1] or 0
        trained = self._trained[config.key] if step[0] == 0 else 0
        if rung < len(RUNGS) - 1:
            self._trained[config.key] = max(self._trained[config.key], epochs)
        return artefacts + config.seconds(step, trained=trained if trained <= epochs else 0)

    def _work(self, config: Recorded, seconds: float) -> bool:
        """Let `seconds` pass, or what is left of the time; return whether they were left."""
        left_s = self.limit_s - self.elapsed_s
        self.elapsed_s = self.limit_s if seconds >= left_s else self.elapsed_s + seconds
        self.spent[config.family] += min(seconds, left_s)
        return seconds < left_s

    def _finish(self, config: Recorded, losses: Sequence[float]) -> None:
        self.finished.add(config.key)
        self.trace.append((self.elapsed_s, config.full_loss))
        if config.full_loss < self._best:
            self._best, self._worst_fold = config.full_loss, max(losses)

    def regret(self, fraction: float) -> float:
        """Return the regret after a fraction of the time."""
        known = [loss for seconds, loss in self.trace if seconds <= fraction * self.limit_s]
        return min(known, default=max(CHANCE_LOSS, self.table.best_loss)) - self.table.best_loss


def time_budget(table: Table) -> float:
    """Return the seconds that every search on `table` gets, see `SHARE_IN_BUDGET`; the mean over 200 shuffles."""
    times = []
    for seed in range(200):
        lab = Lab(table, limit_s=float("inf"))
        for config in random.Random(seed).sample(table.configs, round(SHARE_IN_BUDGET * len(table.configs))):
            lab.run(config, len(RUNGS) - 1, racing=False)
        times.append(lab.elapsed_s)
    return float(np.mean(times))
