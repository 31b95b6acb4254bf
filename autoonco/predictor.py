"""What a fitted classifier answers: probabilities, classes, tables, and where it looked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score

from autoonco.archive import pack
from autoonco.arguments import Unlabelled, as_labelled, as_read, fitted_to
from autoonco.bundle import Bundle
from autoonco.card import card_text
from autoonco.data.case import Case
from autoonco.data.labels import labels_of
from autoonco.data.mark import marks_of, with_marks
from autoonco.errors import DataError, UnknownNameError
from autoonco.exporting.exports import Exports
from autoonco.families.contract import Explanation
from autoonco.patient_prediction import BY, CASE, PATIENT, patient_predictions
from autoonco.prediction import UNCERTAIN, probabilities, table_of, tables, uncertain


class Places(TypedDict, total=False):
    """Where lesions are that were not drawn, see `Predictor.predict_proba`."""

    lesion: Any
    box: Any
    axes: str


class Wishes(Places, total=False):
    """What of a table of predictions may be asked for, see `Predictor.predict_table`."""

    by: str
    missing_mask: str
    abstain: bool
    on_progress: Callable[[int, int], None] | None


class Predictor(Exports):
    """The answers of a model that was fitted or loaded.

    Attributes
    ----------
    classes_
        Names of the classes, in the order of `predict_proba`'s columns.
    clinical_
        Names of the clinical columns that the model takes.
    """

    clinical: Sequence[str]

    def _predict_with(self, bundle: Bundle, path: Path) -> None:
        """Answer with the model that `path` holds."""
        self._bundle = bundle
        self._path = path
        self.classes_ = np.array(bundle.classes)
        self.clinical_ = bundle.fingerprint.clinical

    def _fitted(self) -> Bundle:
        if not hasattr(self, "_bundle"):
            raise NotFittedError(
                "This AutoOncoClassifier is not fitted yet: call fit, or autoonco.load a model file."
            )
        return self._bundle

    def predict_proba(
        self,
        X: Unlabelled,
        *,
        missing_mask: str = "raise",
        lesion: Any = None,
        box: Any = None,
        axes: str = "LPS",
    ) -> NDArray[Any]:
        """Return probabilities ``(n_cases, n_classes)``, one row a case in the order given.

        Cases are read in batches, so that memory does not grow with their number.

        Parameters
        ----------
        X
            A `Dataset`, a manifest file (.csv), a table, a list of cases, an image file or a list of them, an
            `ArrayScan` or a list of them.
        missing_mask
            ``"partial"`` lets the members that need no mask answer for a case without one; ``"raise"`` refuses it.
        lesion
            Where the lesion is that was not drawn, ``(x, y, z)`` in millimetres, or a list of one for each case; of a
            mask with several lesions it says which is meant. Members that need an outline leave the answer to the
            others, as `predict_table` tells; where all do, a mask is asked for.
        box
            The same as two opposite corners of a box around the lesion, ``((x, y, z), (x, y, z))``.
        axes
            ``"LPS"`` (DICOM, SimpleITK) or ``"RAS"`` (NIfTI's affine, 3D Slicer): what the numbers mean.

        Raises
        ------
        DataError
            If a case can't be read or lacks what the model needs, such as a mask.
        """
        bundle = self._fitted()
        with self._cases(X, lesion=lesion, box=box, axes=axes) as cases:
            return probabilities(bundle, cases, missing_mask=missing_mask)

    @contextmanager
    def _cases(
        self, X: Unlabelled, *, lesion: Any = None, box: Any = None, axes: str = "LPS"
    ) -> Iterator[tuple[Case, ...]]:
        """Give the cases of `X`, read as those that were fitted; arrays are in files while the block runs."""
        bundle = self._fitted()
        with as_read(X, clinical=self.clinical_) as cases:
            given = [
                fitted_to(
                    case,
                    bundle.fingerprint.channels,
                    bundle.facts.get("repair"),
                    bundle.facts.get("reading"),
                )
                for case in cases
            ]
            marks = marks_of(len(given), lesion=lesion, box_mm=box, axes=axes)
            yield with_marks(given, marks, usual_mm=bundle.fingerprint.lesion_mm)

    def predict(
        self, X: Unlabelled, *, abstain: bool = False, lesion: Any = None, box: Any = None, axes: str = "LPS"
    ) -> NDArray[Any]:
        """Return the class of each case ``(n_cases,)``: the most probable one, of grades the median.

        Where the run chose a threshold (`Settings.threshold`), two classes are told apart by that.

        Parameters
        ----------
        X, lesion, box, axes
            As for `predict_proba`.
        abstain
            Whether ambiguous cases get ``"uncertain"`` in place of a class: those whose prediction set, of the
            coverage of `Settings.coverage`, is not the predicted class alone.

        Raises
        ------
        AutoOncoError
            If `abstain` is asked of a model that has no prediction sets.
        """
        bundle, proba = self._fitted(), self.predict_proba(X, lesion=lesion, box=box, axes=axes)
        names = np.asarray(self.classes_[bundle.told(proba)])
        return np.where(uncertain(bundle, proba), UNCERTAIN, names.astype(object)) if abstain else names

    def score(
        self, X: Unlabelled, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the accuracy on `X`, as scikit-learn's classifiers do; `y` may come with a labelled `X`."""
        if y is None:
            data = as_labelled(X, clinical=self.clinical)  # type: ignore[arg-type]
            assert data.y is not None
            X, y = data, np.array(data.classes)[data.y]
        return float(accuracy_score(labels_of(y), labels_of(self.predict(X)), sample_weight=sample_weight))

    def predict_table(self, X: Unlabelled, **how: Unpack[Wishes]) -> pd.DataFrame:
        """Return a row a case: case, prediction, ``probability_<class>``, and how far to trust it; status, message.

        ``prediction_set`` holds the classes that the case may be of at the coverage of `Settings.coverage`, joined by
        ``|``; ``uncertain`` is ``yes`` where that is not the predicted class alone; ``out_of_distribution`` names in
        what the case is unlike the training cases (geometry, intensity, embedding), ``no`` where in nothing. All three
        are empty where the model can't tell.

        A case that can't be predicted has the status ``"error"`` and the reason, one that was predicted without its
        mask, or from a place alone that is not enough for all members, ``"partial"``; the others are not lost.

        Parameters
        ----------
        X
            As for `predict_proba`.
        **how
            ``missing_mask``, ``lesion``, ``box`` and ``axes`` as for `predict_proba`, and

            - ``by``: ``"case"``, or ``"patient"`` for a row a patient: ``patient`` and ``n_cases`` in place of
              ``case``, the probabilities of the patient's cases made one as `Settings.patient_level` said at the fit,
              decided on by what was learned on training *patients*. A patient some of whose cases could not be
              predicted is ``"partial"``.
            - ``abstain``: whether the prediction of an ambiguous case is ``uncertain``.
            - ``on_progress``: called with (cases done, all cases).
        """
        return pd.concat(list(self.predict_tables(X, **how)), ignore_index=True)

    def predict_tables(self, X: Unlabelled, **how: Unpack[Wishes]) -> Iterator[pd.DataFrame]:
        """Yield `predict_table` a batch of cases at a time, so that none of many is lost when one stops halfway.

        With ``by="patient"`` there is one table at the end, for a patient's cases may stand anywhere.
        """
        bundle = self._fitted()
        wishes: dict[str, Any] = {**how}
        by = wishes.pop("by", CASE)
        if by not in BY:
            raise UnknownNameError("kind of row", by, BY)
        places = {name: wishes.pop(name) for name in Places.__annotations__ if name in wishes}
        with self._cases(X, **places) as cases:
            if by == PATIENT:
                yield patient_predictions(bundle, cases, **wishes)
                return
            if not cases:
                yield table_of([], bundle)
            yield from tables(bundle, cases, **wishes)

    def explain(
        self,
        X: Unlabelled,
        target: str | float | None = None,
        *,
        lesion: Any = None,
        box: Any = None,
        axes: str = "LPS",
    ) -> Explanation:
        """Return where the model looked in one case: the evidence for a class on the pixels of its first image.

        Its ``save("map.nii.gz")`` writes that for a viewer to lay over the scan.

        Parameters
        ----------
        X
            As for `predict_proba`, but a single case.
        target
            Class to explain, by name or as it stands in `classes_`; None for the one that is predicted.
        lesion, box, axes
            As for `predict_proba`; what is shown is then of the members that can do with a place.

        Raises
        ------
        UnknownNameError
            If no class has that name.
        ExplanationError
            If no member of the ensemble looks at pixels.
        """
        bundle = self._fitted()
        name = target if target is None or isinstance(target, str) else labels_of([target])[0]
        with self._cases(X, lesion=lesion, box=box, axes=axes) as cases:
            if len(cases) != 1:
                raise DataError(f"One case is explained at a time, got {len(cases)}: give a single one.")
            if name is not None and name not in bundle.classes:
                raise UnknownNameError("class", name, bundle.classes)
            if cases[0].mark is not None:
                bundle = bundle.able(cases[0]) or bundle
            told = bundle.told(bundle.predict_proba(cases))[0] if name is None else bundle.classes.index(name)
            return bundle.explain(cases[0], int(told))

    def card(self) -> str:
        """Return the model card as Markdown: what the model was made from, what it wants, how good it was."""
        return card_text(self._fitted().card)

    def save(self, path: str | Path) -> Path:
        """Write the model to a file that `autoonco.load` reads; no pickle is in it."""
        self._fitted()
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_dir():  # what `to_folder` took apart
            pack(self._path, target)
        else:
            target.write_bytes(self._path.read_bytes())
        return target
