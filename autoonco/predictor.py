"""What a fitted classifier answers: probabilities, classes, tables, and where it looked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score

from autoonco.arguments import Unlabelled, as_labelled, as_read, fitted_to
from autoonco.bundle import Bundle
from autoonco.card import card_text
from autoonco.data.case import Case
from autoonco.data.manifest import labels_of
from autoonco.data.mark import marks_of, with_marks
from autoonco.errors import DataError, ExportError, UnknownNameError
from autoonco.families.contract import Explanation
from autoonco.prediction import UNCERTAIN, probabilities, table_of, tables, uncertain


class Predictor:
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
        with self._cases(X, lesion=lesion, box_mm=box, axes=axes) as cases:
            return probabilities(bundle, cases, missing_mask=missing_mask)

    @contextmanager
    def _cases(self, X: Unlabelled, **places: Any) -> Iterator[tuple[Case, ...]]:
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
            yield with_marks(given, marks_of(len(given), **places), usual_mm=bundle.fingerprint.lesion_mm)

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
        return float(accuracy_score(labels_of(y), self.predict(X), sample_weight=sample_weight))

    def predict_table(
        self,
        X: Unlabelled,
        *,
        missing_mask: str = "raise",
        lesion: Any = None,
        box: Any = None,
        axes: str = "LPS",
        abstain: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> pd.DataFrame:
        """Return a row a case: case, prediction, ``probability_<class>``, and how far to trust it; status, message.

        ``prediction_set`` holds the classes that the case may be of at the coverage of `Settings.coverage`, joined by
        ``|``; ``uncertain`` is ``yes`` where that is not the predicted class alone, which `abstain` then replaces by
        ``uncertain``; ``out_of_distribution`` names in what the case is unlike the training cases (geometry,
        intensity, embedding), ``no`` where in nothing. All three are empty where the model can't tell.

        A case that can't be predicted has the status ``"error"`` and the reason, one that was predicted without its
        mask, or from a place alone that is not enough for all members, ``"partial"``; the others are not lost. For the
        arguments see `predict_proba`; `on_progress` is called with (cases done, all cases).
        """
        places = {"lesion": lesion, "box": box, "axes": axes, "abstain": abstain}
        found = self.predict_tables(X, missing_mask=missing_mask, on_progress=on_progress, **places)
        return pd.concat(list(found), ignore_index=True)

    def predict_tables(
        self,
        X: Unlabelled,
        *,
        missing_mask: str = "raise",
        lesion: Any = None,
        box: Any = None,
        axes: str = "LPS",
        abstain: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Yield `predict_table` a batch of cases at a time, so that none of many is lost when one stops halfway."""
        bundle = self._fitted()
        with self._cases(X, lesion=lesion, box_mm=box, axes=axes) as cases:
            if not cases:
                yield table_of([], bundle)
            yield from tables(
                bundle, cases, missing_mask=missing_mask, abstain=abstain, on_progress=on_progress
            )

    def explain(
        self,
        X: Unlabelled,
        target: str | None = None,
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
            Name of the class to explain, or None for the one that is predicted.
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
        names = [str(name) for name in self.classes_]
        with self._cases(X, lesion=lesion, box_mm=box, axes=axes) as cases:
            if len(cases) != 1:
                raise DataError(f"One case is explained at a time, got {len(cases)}: give a single one.")
            if target is not None and target not in names:
                raise UnknownNameError("class", target, names)
            if cases[0].mark is not None:
                bundle = bundle.able(cases[0]) or bundle
            wanted = (
                int(bundle.told(bundle.predict_proba(cases))[0]) if target is None else names.index(target)
            )
            return bundle.explain(cases[0], wanted)

    def card(self) -> str:
        """Return the model card as Markdown: what the model was made from, what it wants, how good it was."""
        return card_text(self._fitted().card)

    def save(self, path: str | Path) -> Path:
        """Write the model to a file that `autoonco.load` reads; no pickle is in it."""
        self._fitted()
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self._path.read_bytes())
        return target

    def to_onnx(self, folder: str | Path) -> tuple[Path, ...]:
        """Write the network of each member of the ensemble that has one to an ONNX file in `folder`.

        A file takes what the network sees of a case, bytes 0..255, and gives logits, or, where the network is frozen
        and a learner decides, its own embedding. Its metadata say which, with the weight of the member and how the
        crop is made, and what the file leaves out: ``features`` that a learner sees where these are not the network's
        own embedding, ``views`` whose probabilities the member averages. Each was compared with its network, see
        `nets.onnx_export`.

        Raises
        ------
        ExportError
            If no member has a network, or one can't be written in ONNX.
        MissingDependencyError
            If the packages for it are not installed.
        """
        bundle, written = self._fitted(), []
        for number, (weight, model) in enumerate(bundle.members):
            network, spec = getattr(model, "network", None), getattr(model, "spec", None)
            if network is None or spec is None:
                continue
            from autoonco.nets.onnx_export import to_onnx  # torch, where a member has loaded it anyway

            frozen = hasattr(model, "head")
            facts: dict[str, Any] = {
                "classes": list(bundle.classes),
                "member_weight": weight,
                "outputs": "embedding" if frozen else "logits",
                "input": spec.to_json(),
            }
            facts |= {
                key: asdict(found) for key in ("features", "views") if (found := getattr(model, key, None))
            }
            # a frozen network sees the pictures of a case one by one, a trained one all of them
            shape = (spec.in_channels, *spec.shape[1:]) if frozen else spec.shape
            Path(folder).mkdir(parents=True, exist_ok=True)
            written.append(to_onnx(network, Path(folder) / f"member-{number}.onnx", shape, facts=facts))
        if not written:
            raise ExportError("No member of this model has a network that could be written as ONNX.")
        return tuple(written)
