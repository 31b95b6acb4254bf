"""Ways into a `Dataset` beside a manifest: each looks at what lies on disk and writes the manifest itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from autoonco.data.files import is_dicom_source
from autoonco.data.folders import class_folders, image_folder, is_image_file
from autoonco.data.label_tables import LabelTable, read_labels
from autoonco.data.medmnist import medmnist_file, medmnist_table
from autoonco.data.nnunet import DESCRIPTION, label_values, nnunet_table, read_description
from autoonco.data.numpy_files import arrays_in
from autoonco.data.pick import parse_rois
from autoonco.data.totalsegmentator import is_totalsegmentator, totalsegmentator_table
from autoonco.errors import DataError


class Ways:
    """The constructors of a `Dataset` that need no manifest.

    Their ``**options`` are those of `Dataset.from_frame`. No pixel is read by them.
    """

    @classmethod
    @abstractmethod
    def from_frame(cls, *args: Any, **options: Any) -> Self:
        """Read a manifest from a table, one row a case."""

    @classmethod
    @abstractmethod
    def from_csv(cls, path: str | Path, **options: Any) -> Self:
        """Read a manifest from a CSV file."""

    @classmethod
    def from_folders(
        cls,
        root: str | Path,
        *,
        labels: LabelTable | None = None,
        channels: Sequence[str] = (),
        labelled: bool = True,
        **options: Any,
    ) -> Self:
        """Read folders: named by class, or a folder of images with a table of labels.

        Parameters
        ----------
        root
            ``root/class/file``, ``root/class/patient/file``, ``root/split/class/file`` or, with `labels`,
            ``root/file``. A folder of DICOM files is a case. ``x_mask.png`` and ``x_mask_1.png`` beside ``x.png``,
            or ``masks/x.png`` beside ``images/x.png``, are its mask. Without a folder a patient, each image is
            counted as a patient.
        labels
            Table (or CSV file) with the columns ``case``, the file's name without its end, and label.
        channels
            Where each case is a folder: how its images end, ``("t1", "flair")``.

        Raises
        ------
        DataError
            If the folders aren't like that, or the table names a case that isn't there.
        """
        folder = Path(root)
        if labels is None and labelled:
            frame = class_folders(folder, channels=channels)
            options = {"label": "label"} | options
        else:
            frame = image_folder(folder, labels, channels=channels)
        return cls.from_frame(frame, root=folder, labelled=labelled, **options)

    @classmethod
    def from_dicom(
        cls,
        root: str | Path,
        labels: LabelTable | None = None,
        *,
        channels: Mapping[str, str] | str | None = None,
        mask_roi: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Read a tree of DICOM studies, whatever its folders and files are called, and a table of labels.

        Segmentations (SEG) and structure sets (RTSTRUCT) in the tree are the masks of the series that they refer to.

        Parameters
        ----------
        root
            Folder of the tree.
        labels
            Table (or CSV file) with a column ``series``, ``study`` or ``patient`` and the label; ``case`` may name
            folders instead, or tell cases of a patient apart. None for cases to predict, each series of images one,
            or each study where `channels` is given.
        channels
            Which series of a case are its images, by modality or description: ``"CT"``, or ``{"ct": "CT", "pet":
            "PT"}``.
        mask_roi
            Name(s) of the segments or ROIs that are lesion.

        Raises
        ------
        DataError
            If the table names what isn't there, or several series or masks fit.
        """
        from autoonco.data.dicom_tree import dicom_table  # pydicom, which other ways need not

        rois = parse_rois(mask_roi) if isinstance(mask_roi, str) else tuple(mask_roi or ())
        frame = dicom_table(Path(root), labels, channels=channels, rois=rois)
        options = {"labelled": labels is not None, "mask_roi": rois or None} | options
        return cls.from_frame(frame, root=root, **options)

    @classmethod
    def from_nnunet(
        cls,
        root: str | Path,
        labels: LabelTable | None = None,
        *,
        part: str = "Tr",
        mask_label: str | int | Sequence[int] | None = None,
        **options: Any,
    ) -> Self:
        """Read a data set of nnU-Net, its segmentations as masks, and a table of labels.

        Parameters
        ----------
        root
            Folder with ``dataset.json``, ``imagesTr`` and ``labelsTr``.
        labels
            Table (or CSV file) with the columns ``case`` and label; None for cases to predict.
        part
            ``"Tr"`` or ``"Ts"``.
        mask_label
            The structure that is the lesion, by its name in ``dataset.json`` or by value; by default all of them.

        Raises
        ------
        DataError
            If it is no such folder, or the table names a case that isn't there.
        UnknownNameError
            If no structure has this name.
        """
        folder = Path(root)
        values = label_values(read_description(folder), mask_label)
        frame = nnunet_table(folder, labels, part=part)
        options = {"labelled": labels is not None, "mask_label": values or None} | options
        return cls.from_frame(frame, root=folder, **options)

    @classmethod
    def from_totalsegmentator(
        cls,
        images: str | Path,
        segmentations: str | Path | None = None,
        labels: LabelTable | None = None,
        *,
        structures: str | Sequence[str],
        **options: Any,
    ) -> Self:
        """Read scans with structures of TotalSegmentator as masks, and a table of labels.

        Parameters
        ----------
        images
            Folder with ``name.nii.gz`` of each case, or with a folder a case that holds its scan, NIfTI or DICOM.
        segmentations
            Folder that TotalSegmentator wrote: a folder a case with a file a structure, or a file a case with all of
            them (``--ml``). By default `images`, of folders like ``name/ct.nii.gz`` and ``name/segmentations/``.
        labels
            Table (or CSV file) with the columns ``case`` and label; None for cases to predict.
        structures
            Name(s) of what is lesion: ``"liver_tumor"``, or ``"kidney_left | kidney_right"``.

        Raises
        ------
        DataError
            If there are no such folders, a scan has no segmentation, or the table names a case that isn't there.
        UnknownNameError
            If no structure of a case has this name.
        """
        home = Path(images)
        drawn = home if segmentations is None else Path(segmentations)
        frame = totalsegmentator_table(home, drawn, structures, labels)
        return cls.from_frame(frame, root=home, **{"labelled": labels is not None} | options)

    @classmethod
    def from_medmnist(
        cls,
        name: str | Path,
        *,
        size: int = 28,
        root: str | Path | None = None,
        download: bool = False,
        names: Mapping[int, str] | None = None,
        **options: Any,
    ) -> Self:
        """Read a data set of MedMNIST with its own splits; a picture is read when it is needed.

        Parameters
        ----------
        name
            ``"breastmnist"``, or the path of its ``.npz``.
        size
            Side of its pictures: 28, 64, 128 or 224.
        root
            Folder of the files; by default ``MEDMNIST_ROOT`` of the environment, else ``~/.medmnist``.
        download
            Whether the optional package medmnist may fetch the file where it is missing.
        names
            Label → name of the class, ``{0: "malignant", 1: "other"}``; by default the label.

        Raises
        ------
        DataError
            If there is no such file, or a picture has several labels.
        MissingDependencyError
            If the file is to be fetched and the package is not installed.
        """
        path = medmnist_file(name, size=size, root=None if root is None else Path(root), download=download)
        return cls.from_frame(medmnist_table(path, names), root=path.parent, **options)

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        *,
        labels: LabelTable | None = None,
        channels: Mapping[str, str] | Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Read whatever lies at `path`: a manifest, a MedMNIST file, or a folder of scans.

        Parameters
        ----------
        path
            A manifest (.csv, .tsv), a ``.npz`` of MedMNIST, a folder with ``dataset.json`` (nnU-Net), folders with
            ``segmentations`` (TotalSegmentator), a tree of DICOM, or folders of images.
        labels
            Table of labels for a folder that doesn't say them: keyed by ``case``, or for DICOM by ``patient``,
            ``study`` or ``series``.
        channels
            As for `from_dicom` and `from_folders`.

        Raises
        ------
        DataError
            If there is nothing at `path`, or it can't be used.
        """
        place = Path(path)
        if place.is_file() and place.suffix.lower() == ".npz" and "train_images" in arrays_in(place):
            return cls.from_medmnist(place, **options)
        if not place.is_dir():
            if labels is not None or channels:
                raise DataError(
                    "Labels and channels of their own are for folders: a manifest has columns for them."
                )
            return cls.from_csv(place, **options)
        if (place / DESCRIPTION).is_file():
            return cls._of_nnunet(place, labels, options)
        if not channels and is_totalsegmentator(place):
            return cls._of_totalsegmentator(place, labels, options)
        is_new = labels is None and not options.get("labelled", True)
        if (
            (is_new or labels is not None)
            and _is_dicom_tree(place)
            and not _names_files(place, labels, channels)
        ):
            given = (
                channels if channels is None or isinstance(channels, str | Mapping) else _by_name(channels)
            )
            return cls.from_dicom(place, labels, channels=given, **options)
        return cls.from_folders(place, labels=labels, channels=tuple(channels or ()), **options)

    @classmethod
    def _of_nnunet(cls, place: Path, labels: LabelTable | None, options: dict[str, Any]) -> Self:
        if labels is None and options.get("labelled", True):
            raise DataError(
                f"{place} is a data set of nnU-Net: give a table with the columns case and label (labels=, --labels)."
            )
        part = "Ts" if labels is None and (place / "imagesTs").is_dir() else "Tr"
        return cls.from_nnunet(place, labels, part=part, **options)

    @classmethod
    def _of_totalsegmentator(cls, place: Path, labels: LabelTable | None, options: dict[str, Any]) -> Self:
        structures = options.pop("mask_roi", None)
        if not structures:
            raise DataError(
                f"{place} holds segmentations of TotalSegmentator: name the structure that is lesion (mask_roi=, "
                "--mask-roi)."
            )
        if labels is None and options.get("labelled", True):
            raise DataError(
                f"{place} says no labels: give a table with the columns case and label (labels=, --labels)."
            )
        return cls.from_totalsegmentator(place, None, labels, structures=structures, **options)


def _by_name(channels: Sequence[str]) -> dict[str, str]:
    """Return channel → what names its series, of texts like ``ct=CT`` or ``CT``."""
    return {(name or what).lower(): what for name, _, what in (text.rpartition("=") for text in channels)}


def _names_files(
    root: Path, labels: LabelTable | None, channels: Mapping[str, str] | Sequence[str] | None
) -> bool:
    """Return whether every case of a table of labels is a file or folder of images, as `from_folders` calls them."""
    table = {} if labels is None else read_labels(labels)
    if "case" not in table or isinstance(channels, Mapping):
        return False
    try:
        found = image_folder(root, None, channels=tuple(channels or ()))
    except DataError:  # no folders of that kind
        return False
    return set(table["case"]) <= set(found["case"])


def _is_dicom_tree(root: Path) -> bool:
    """Return whether the first image found in a folder or below is DICOM."""
    first = next((item for item in sorted(root.rglob("*")) if item.is_file() and is_image_file(item)), None)
    return first is not None and is_dicom_source(first)
