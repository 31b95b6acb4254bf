"""A family of logistic regressions on the mean and the spread of the grey values in the lesion."""

import numpy as np
import SimpleITK as sitk
from ConfigSpace import ConfigurationSpace, Float
from sklearn.linear_model import LogisticRegression

from autoonco.data.readers import read_scan
from autoonco.families.contract import Fidelity, ModelState


def grey_levels(case):
    """Return mean and standard deviation of one case; `read_scan` gives image and mask on one grid."""
    channel = next(iter(case.images))
    scan = read_scan(case, channel)
    values = sitk.GetArrayFromImage(scan.image)[sitk.GetArrayFromImage(scan.mask) > 0]
    return values.mean(), values.std()


class Model:
    """What a fit returns: probabilities of cases, and a state of plain JSON and arrays."""

    def __init__(self, centre, spread, weights, bias):
        self.centre, self.spread, self.weights, self.bias = map(np.asarray, (centre, spread, weights, bias))

    def predict_proba(self, cases):
        x = (np.array([grey_levels(case) for case in cases]) - self.centre) / self.spread
        p = 1 / (1 + np.exp(-(x @ self.weights + self.bias)))
        return np.column_stack([1 - p, p])

    def state(self):
        return ModelState(meta={name: value.tolist() for name, value in vars(self).items()})


class GreyLevels:
    """The family: what it applies to, what varies, what a budget buys, and how it is fitted."""

    name = "grey_levels"

    def why_not(self, fingerprint):
        if not fingerprint.has_mask:
            return "it needs lesion masks"
        return None if fingerprint.n_classes == 2 else "it tells two classes apart"

    def space(self, fingerprint):
        space = ConfigurationSpace(name=self.name)
        space.add(Float("C", (1e-3, 1e3), default=1.0, log=True))
        return space

    def defaults(self, fingerprint):
        return [{"C": 1.0}]

    def plan(self, config, budget, *, inner_folds, n_train):
        return Fidelity(folds=max(1, round(budget * inner_folds)))

    def wants_gpu(self, config):
        return False

    def prior_seconds(self, config, fidelity, fingerprint):
        return 0.01 * fidelity.folds * fingerprint.n_cases

    def fit(self, config, cases, y, *, fidelity, context):
        x = np.array([grey_levels(case) for case in cases])
        centre, spread = x.mean(axis=0), x.std(axis=0) + 1e-9  # of these cases alone
        fitted = LogisticRegression(C=config["C"]).fit((x - centre) / spread, y)
        return Model(centre, spread, fitted.coef_[0], fitted.intercept_[0])

    def restore(self, state, runtime):
        return Model(**state.meta)


family = GreyLevels()
