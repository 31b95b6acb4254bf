"""What a fitted model can be written as, beside its own file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from autoonco.arguments import Unlabelled, as_read
from autoonco.bundle import Bundle
from autoonco.data.case import Case
from autoonco.exporting.dicom_sr import check_sources, with_reports
from autoonco.exporting.folder import write_folder
from autoonco.exporting.monai_bundle import write_monai_bundle
from autoonco.exporting.networks import write_onnx
from autoonco.exporting.sr_content import Origin


class Exports:
    """The forms of others that a model which was fitted or loaded can take."""

    _path: Path
    clinical_: Sequence[str]

    @abstractmethod
    def _fitted(self) -> Bundle:
        """Return the model."""

    @abstractmethod
    def predict_tables(self, *args: Any, **how: Any) -> Iterator[pd.DataFrame]:
        """Yield a row a case, a batch at a time."""

    def to_folder(self, folder: str | Path) -> Path:
        """Write the model as plain files: weights (safetensors), JSON, model card, requirements, ``predict.py``.

        `autoonco.load` reads the folder again, after each file was checked against its hash, and ``save`` packs it.

        Raises
        ------
        AutoOncoError
            If something is in the folder already.
        """
        self._fitted()
        return write_folder(self._path, Path(folder))

    def to_onnx(self, folder: str | Path) -> tuple[Path, ...]:
        """Write the network of each member of the ensemble that has one to an ONNX file in `folder`.

        A file takes what the network sees of a case, bytes 0..255, and gives logits, or, where the network is frozen
        and a learner decides, the features of one picture that this learner sees. Its metadata say which, with the
        weight of the member and how the crop is made, and what the file leaves out: in ``features`` how those of
        several pictures are joined, ``views`` whose probabilities the member averages. Each was compared with its
        network, see `nets.onnx_export`.

        Raises
        ------
        ExportError
            If no member has a network, or one can't be written in ONNX.
        MissingDependencyError
            If the packages for it are not installed.
        """
        return write_onnx(self._fitted(), Path(folder))

    def to_monai_bundle(self, folder: str | Path) -> tuple[Path, ...]:
        """Write each member of the ensemble that has a network as a MONAI bundle, ``member-<n>`` in `folder`.

        A bundle's network takes crops of cases and gives the member's probabilities, its learner included. It is built
        by MONAI's `ConfigParser`, needs autoonco installed, and brings weights as safetensors and no code: see
        `exporting.monai_bundle`.

        Raises
        ------
        ExportError
            If no member has a network.
        AutoOncoError
            If such a folder holds something already.
        """
        return write_monai_bundle(self._fitted(), Path(folder))

    def to_dicom_sr(self, X: Unlabelled, folder: str | Path, **how: Any) -> pd.DataFrame:
        """Predict cases and write each one's answer as a DICOM structured report; return `predict_table`.

        Its column ``report`` names the file of each case in `folder`. This is the one output that holds identifiers:
        a report belongs to a patient and a study, which are those of the case's DICOM images.

        Parameters
        ----------
        X
            As for `predict_proba`; every image has to be DICOM.
        folder
            Where the reports go, ``row-<n>.dcm``.
        **how
            As for `predict_table`.

        Raises
        ------
        DataError
            If an image is not DICOM; the message names the row.
        """
        with as_read(X, clinical=self.clinical_) as cases:
            found = list(self.reported(self.predict_tables(cases, **how), cases, folder))
        return pd.concat(found, ignore_index=True)

    def reported(
        self, tables: Iterator[pd.DataFrame], cases: Sequence[Case], folder: str | Path
    ) -> Iterator[pd.DataFrame]:
        """Return `tables` of `predict_tables` for `cases`, a DICOM report written for each row as it comes.

        Raises
        ------
        DataError
            If an image is not DICOM; told before anything is predicted.
        """
        bundle = self._fitted()
        check_sources(cases)
        return with_reports(tables, cases, Path(folder), Origin.of(bundle, self._path))
