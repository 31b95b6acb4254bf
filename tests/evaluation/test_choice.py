from __future__ import annotations

import numpy as np

from autoonco.evaluation import ensemble
from autoonco.evaluation.choice import choose, ladders
from autoonco.families.contract import Fidelity
from autoonco.search.space import config_key
from autoonco.search.store import FoldKey, Store
from autoonco.search.trial import Origin, Status, Trial


def test_a_family_s_best_that_is_refitted_anyway_costs_the_ensemble_nothing(toy, problem, tmp_path):
    """Else there is no time left for the best one beside itself, and the quickest is the model."""
    store, rng = Store(tmp_path), np.random.default_rng(0)

    def tried(number, strength, *, skill, fold_s):
        config, scores = {"act": "work", "strength": strength}, []
        for fold in problem.folds:
            truth = problem.y[list(fold.test)]
            p = 1 / (1 + np.exp(-(skill * (2 * truth - 1) + rng.normal(size=len(truth)))))
            proba = np.column_stack([1 - p, p])
            scores.append(problem.fold_score(fold, proba))
            key = FoldKey(
                scope="final", config_key=config_key("toy", config), fold_key="full", fold=str(fold.index)
            )
            store.add_fold(key, proba, seconds=fold_s, elapsed_s=0.0)
        store.add_trial(
            Trial(
                id=number, scope="final", family="toy", config=config, budget=1.0, fidelity=Fidelity(folds=3),
                status=Status.SUCCESS, seconds=1.0, elapsed_s=1.0, origin=Origin.SEARCH, seed=0,
                loss=1 - float(np.mean(scores)), score=float(np.mean(scores)),
            )
        )  # fmt: skip

    tried(0, 0.1, skill=2.0, fold_s=40.0)  # a refit of a minute
    tried(1, 0.2, skill=0.0, fold_s=2.0)
    own, found = ladders(problem, store, n_test=0), ensemble.candidates(problem, store)
    choice = choose(problem, own, found, rounds=1, plan_s=70.0, n_workers=1)
    assert choice.bests["toy"].trial.id == 0
    assert [member.candidate.trial.id for member in choice.members] == [0]
    assert len(choice.order) == 1
