from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autoonco.data.facts import CaseFacts
from autoonco.evaluation.experiment import _splits
from autoonco.evaluation.modes import HOLDOUT, NESTED, SPLITS, Mode
from autoonco.evaluation.replay import splits_again
from autoonco.evaluation.request import Request
from autoonco.evaluation.run_folder import RunFolder
from autoonco.evaluation.split_table import SPLITS_FILE, read_split_table, splits_frame
from autoonco.evaluation.splits import groups_of
from autoonco.metrics.scores import get_metric
from autoonco.settings import Settings

ONE = {"a": ["train"] * 40 + ["test"] * 20}


@pytest.mark.parametrize("share", [0.0, 0.25])
@pytest.mark.parametrize(
    ("kind", "ready"),
    [(HOLDOUT, None), (NESTED, None), (SPLITS, ONE), (SPLITS, ONE | {"b": ["test"] * 20 + ["train"] * 40})],
    ids=["holdout", "nested", "one ready split", "two ready splits"],
)
def test_a_trial_is_replayed_on_the_cases_that_it_had(dataset, tmp_path, kind, ready, share):
    """Of a single ready split, what was kept apart is left out of the table that the run wrote already."""
    facts, rows = [CaseFacts(row=case.row) for case in dataset.cases], [case.row for case in dataset.cases]
    table = None if ready is None else read_split_table(pd.DataFrame({"row": rows, **ready}), dataset)
    settings = Settings(conformal_share=share, outer_folds=3, inner_folds=3)
    request = Request(
        time_limit_s=60.0, families=("toy",), mode=Mode(kind=kind), metric=get_metric("roc_auc"), n_jobs=1, n_threads=1,
        device="cpu", seed=3, settings=settings, table=table,
    )  # fmt: skip
    splits, kept = _splits(dataset, groups_of(dataset, facts), request)
    assert (len(kept) > 0) == (share > 0)
    folder = RunFolder(tmp_path, identity={})
    tested = {each.scope: (each.train, each.test) for each in splits if len(each.test)}
    folder.write(SPLITS_FILE, splits_frame(rows, tested))
    run = {
        "task": "classification",
        "evaluation": kind,
        "repeats": 1,
        "seed": 3,
        "settings": settings.model_dump(),
    }
    again = splits_again(folder.path, run, dataset, facts)
    folder.close()
    assert [each.scope for each in again] == [each.scope for each in splits]
    for one, other in zip(again, splits, strict=True):
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.test, other.test)
