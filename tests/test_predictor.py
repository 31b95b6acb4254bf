"""Explanations of a whole model: members by their weight, and a sentence where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.exceptions import NotFittedError

import autoonco
from autoonco.bundle import Bundle
from autoonco.data.case import Case
from autoonco.errors import DataError, ExplanationError, UnknownNameError
from autoonco.families.clinical import ClinicalModel
from autoonco.families.contract import Explains, Explanation
from autoonco.families.frozen import FrozenModel
from autoonco.families.networks import TrainedNetwork
from autoonco.families.own_features import OwnFeaturesModel
from autoonco.families.radiomics import RadiomicsModel
from tests.fingerprints import PICTURES

FINGERPRINT = replace(PICTURES, n_cases=2, n_patients=2, class_counts=(1, 1), shape=(4, 3))


class Table:
    no_map = "It sees a table."

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
        return np.tile([0.2, 0.8], (len(cases), 1))


class Looks(Table):
    """Sees class 1 in one column of pixels, and class 0 nowhere it could tell."""

    def __init__(self, column: int) -> None:
        self.column = column

    def explain(self, cases: Sequence[Case], target: int) -> list[Explanation]:
        if target == 0:
            raise ExplanationError("Never saw this class.")
        seen = np.zeros((3, 4))
        seen[:, self.column] = 1
        return [Explanation(map=seen, target=target, method=f"column {self.column}") for _ in cases]


def model(*members: tuple[float, Any]) -> autoonco.AutoOncoClassifier:
    found = autoonco.AutoOncoClassifier()
    bundle = Bundle(classes=("no", "yes"), fingerprint=FINGERPRINT, members=members, facts={})
    found._predict_with(bundle, Path("x.onco"))
    return found


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_members_are_weighed_and_the_predicted_class_is_explained(picture: Path) -> None:
    found = model((0.5, Table()), (0.375, Looks(0)), (0.125, Looks(3))).explain(picture)
    assert (found.target, found.share, found.method) == (1, 0.5, "column 0, column 3")
    np.testing.assert_allclose(found.map, [[0.75, 0, 0, 0.25]] * 3)
    assert np.asarray(found).shape == (3, 4)
    assert np.asarray(found, dtype=np.float32).dtype == np.float32


def test_nothing_to_show_is_told_with_each_reason(picture: Path) -> None:
    with pytest.raises(ExplanationError, match=r"It sees a table\.$"):
        model((0.5, Table()), (0.5, Table())).explain(picture)
    with pytest.raises(ExplanationError, match=r"table\. Never saw"):
        model((0.5, Table()), (0.5, Looks(0))).explain(picture, "no")


def test_a_class_that_is_a_number_is_named_as_it_stands_in_classes(picture: Path) -> None:
    clf = model((1.0, Looks(0)))
    clf._bundle = replace(clf._fitted(), classes=("0", "1"))
    clf.classes_ = np.array([0.0, 1.0])  # of a model that was fitted to such labels
    for target in (clf.classes_[1], 1, "1"):
        assert clf.explain(picture, target).target == 1
    with pytest.raises(UnknownNameError, match="'2'"):
        clf.explain(picture, 2)


def test_a_wrong_class_several_cases_and_no_model_are_told(picture: Path) -> None:
    with pytest.raises(UnknownNameError, match="yes"):
        model((1.0, Looks(0))).explain(picture, "yess")
    other = picture.with_name("b.png")
    other.write_bytes(picture.read_bytes())
    with pytest.raises(DataError, match="got 2"):
        model((1.0, Looks(0))).explain([picture, other])
    with pytest.raises(NotFittedError):
        autoonco.AutoOncoClassifier().explain(picture)


def test_every_kind_of_model_explains_or_says_why_not() -> None:
    for kind in (TrainedNetwork, FrozenModel):
        assert issubclass(kind, Explains)
    for kind in (RadiomicsModel, ClinicalModel, OwnFeaturesModel):
        assert not issubclass(kind, Explains)
        assert kind.no_map.endswith(".")
