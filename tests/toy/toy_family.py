"""A family whose trials succeed, fail, hang, crash or eat memory, as their config says. Needs no image."""

from __future__ import annotations

import os
import time

import numpy as np
from ConfigSpace import Categorical, ConfigurationSpace, Float

from autoonco.families.contract import Fidelity, ModelState


def acts():
    return os.environ.get("TOY_DEFAULTS", "work").split(",")


class ToyModel:
    def __init__(self, strength, prior):
        self.strength, self.prior = strength, prior

    def predict_proba(self, cases):
        # The toy's signal is in the clinical value "signal"; `strength` says how much of it the model uses.
        signal = np.array([float(case.clinical["signal"]) for case in cases])
        noise = np.array([np.random.default_rng(case.row).normal() for case in cases])
        p = 1 / (1 + np.exp(-(self.strength * signal + (1 - self.strength) * noise)))
        if self.prior == "nan":
            p = p * np.nan
        return np.column_stack([1 - p, p])

    def state(self):
        return ModelState(meta={"strength": self.strength, "prior": self.prior})


class ToyFamily:
    name = "toy"

    def why_not(self, fingerprint):
        return None if "signal" in fingerprint.clinical else "there is no column 'signal'"

    def space(self, fingerprint):
        space = ConfigurationSpace(name="toy")
        space.add(Categorical("act", acts()))
        space.add(Float("strength", (0.0, 1.0), default=0.3))
        return space

    def defaults(self, fingerprint):
        return [{"act": act, "strength": 0.3} for act in acts()]

    def wants_gpu(self, config):
        return False

    def plan(self, config, budget, *, inner_folds, n_train):
        return Fidelity(folds=max(1, round(budget * inner_folds)))

    def prior_seconds(self, config, fidelity, fingerprint):
        return 0.1 * fidelity.folds

    def fit(self, config, cases, y, *, fidelity, context):
        time.sleep(float(os.environ.get("TOY_SECONDS", "0.0")))
        context.notes["act"] = config["act"]
        match config["act"]:
            case "raise":
                raise ValueError(f"cannot fit {cases[0].case} of {cases[0].patient}")
            case "hang":
                time.sleep(3600)
            case "linger" if cases[0].row == 1:  # every fold but the first trains on the first case
                time.sleep(3600)
            case "crash":
                os.abort()
            case "eat":
                hoard = []
                while True:
                    hoard.append(np.ones(2**24))
        return ToyModel(config["strength"], config["act"])

    def restore(self, state, runtime):
        return ToyModel(state.meta["strength"], state.meta["prior"])


family = ToyFamily()
