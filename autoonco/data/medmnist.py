"""MedMNIST: arrays of small pictures and volumes in one ``.npz`` a data set, its own splits kept.

Yang et al., Sci Data 2023;10:41. The files are read with `allow_pickle=False`, and a picture at a time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from autoonco.data.columns import SPLITS
from autoonco.data.formats import decoding
from autoonco.data.numpy_files import arrays_in, member
from autoonco.errors import DataError, MissingDependencyError

ROOT_VARIABLE = "MEDMNIST_ROOT"
_SMALLEST = 28


def medmnist_file(
    name: str | Path, *, size: int = _SMALLEST, root: Path | None = None, download: bool = False
) -> Path:
    """Return the file of a data set of MedMNIST.

    Parameters
    ----------
    name
        ``"breastmnist"``, or the path of a ``.npz``.
    size
        Side of the pictures in pixels: 28, 64, 128 or 224.
    root
        Folder of the files; by default the environment's ``MEDMNIST_ROOT``, else ``~/.medmnist`` as the package
        medmnist has it.
    download
        Whether the package medmnist may fetch a file that isn't there.

    Raises
    ------
    DataError
        If there is no such file.
    MissingDependencyError
        If it is to be fetched and the package is not installed.
    """
    if Path(name).suffix == ".npz":
        if not Path(name).is_file():
            raise DataError(f"There is no file {name}: give the path of a .npz of MedMNIST.")
        return Path(name)
    folder = root or Path(os.environ.get(ROOT_VARIABLE) or Path.home() / ".medmnist")
    path = folder / (f"{name}.npz" if size == _SMALLEST else f"{name}_{size}.npz")
    if not path.is_file() and download:
        _fetch(str(name), size, folder)
    if not path.is_file():
        raise DataError(
            f"There is no file {path}: put it there, name its folder with root=, or have it fetched with download=True."
        )
    return path


def _fetch(name: str, size: int, folder: Path) -> None:
    try:
        import medmnist  # the only place where a data set is asked for over the network, and only when asked to
    except ImportError:
        raise MissingDependencyError(
            "Fetching MedMNIST needs the package medmnist: pip install 'autoonco[medmnist]'."
        ) from None
    if name not in medmnist.INFO:
        raise DataError(f"MedMNIST has no data set {name!r}; it has {', '.join(sorted(medmnist.INFO))}.")
    folder.mkdir(parents=True, exist_ok=True)
    getattr(medmnist, medmnist.INFO[name]["python_class"])(
        split="train", download=True, size=size, root=str(folder)
    )


def medmnist_table(path: Path, names: Mapping[int, str] | None = None) -> pd.DataFrame:
    """Return the manifest of a file of MedMNIST, a row a picture.

    Parameters
    ----------
    names
        Label → name of the class; by default the label itself.

    Raises
    ------
    DataError
        If the file is none of MedMNIST, or a picture has several labels.
    """
    with decoding("a file of MedMNIST"):
        entries = arrays_in(path)
        splits = [split for split in SPLITS if f"{split}_images" in entries and f"{split}_labels" in entries]
        labels = {split: member(path, f"{split}_labels") for split in splits}
    if not splits:
        raise DataError("The .npz holds no train_images and train_labels: give a file of MedMNIST.")
    parts = []
    for split, values in labels.items():
        if values.ndim == 2 and values.shape[1] > 1:
            raise DataError(
                f"The data set has {values.shape[1]} labels a picture, expected one: it is no task of classes."
            )
        numbers = np.asarray(values).reshape(-1)
        if numbers.dtype.kind not in "iu":
            raise DataError(
                f"The labels are {numbers.dtype}, expected whole numbers: the data set has no classes."
            )
        unknown = sorted(set(numbers.tolist()) - set(names)) if names is not None else []
        if unknown:
            raise DataError(
                f"Label {unknown[0]} has no name in names=, which has {len(names or {})}: add it."
            )
        parts.append(
            pd.DataFrame(
                {
                    "case": [f"{split}-{row}" for row in range(len(numbers))],
                    "image": [f"{path.name}::{split}_images[{row}]" for row in range(len(numbers))],
                    "label": [str(names[one] if names is not None else one) for one in numbers.tolist()],
                    "split": split,
                },
                dtype=object,
            )
        )
    return pd.concat(parts, ignore_index=True)
