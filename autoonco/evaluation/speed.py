"""How long the fitted models take to predict a case, measured at the end of a run within what is left of its time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoonco.data.case import Case
from autoonco.evaluation.delivered import seconds_a_case
from autoonco.evaluation.outcome import Judged
from autoonco.families.contract import Runtime
from autoonco.search.interrupt import stop_asked
from autoonco.search.space import config_key

SPEED_FILE = "evaluation/speed.json"
_CASES = 3


def speeds(
    models: Sequence[Judged], states: Path, cases: Sequence[Case], runtime: Runtime, *, limit_s: float
) -> dict[str, Any]:
    """Return the seconds a case of each fitted config, and of each model that is made of them, as plain JSON.

    Each is restored and predicts a few training cases anew, without any cache, see `seconds_a_case`. What ``limit_s``
    leaves no time for is not in it, nor what was asked to end: the one that was begun is finished.

    Parameters
    ----------
    models
        The ensemble, the families' best, and baselines, of which nothing is measured.
    states
        Folder of the fitted states, by the keys of their configs.
    cases
        Training cases; the first few are predicted.

    Returns
    -------
    dict
        ``configs`` (key → seconds) and ``models`` (name → seconds: the sum over the members).
    """
    began = time.monotonic()
    configs: dict[str, float] = {}
    keys = {model.name: [config_key(m["family"], m["config"]) for m in model.members] for model in models}
    wanted = {
        key: m["family"] for model in models for key, m in zip(keys[model.name], model.members, strict=True)
    }
    for key, family in wanted.items():
        if time.monotonic() - began > limit_s or stop_asked():
            break
        if (states / key / "meta.json").is_file():
            configs[key] = seconds_a_case(family, states / key, cases[:_CASES], runtime)
    whole = {name: own for name, own in keys.items() if own and all(key in configs for key in own)}
    return {
        "configs": configs,
        "models": {name: sum(configs[key] for key in own) for name, own in whole.items()},
    }
