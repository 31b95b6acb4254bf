"""The cases of a task: a table of files, labels, patients and splits; no pixel is read here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from autoonco.data import columns as cols
from autoonco.data.cache import content_hash, digest
from autoonco.data.case import Case
from autoonco.data.feature_table import FeatureTable, read_features, values_of
from autoonco.data.labels import labels_of
from autoonco.data.pick import Always
from autoonco.data.redaction import identifiers, redact
from autoonco.data.rows import make_cases, pick_clinical, read_splits, refuse_rows, scan_cases
from autoonco.data.ways import Ways
from autoonco.errors import DataError, UnknownNameError


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset(Ways):
    """Cases with their labels, patients and splits; immutable and lazy.

    Attributes
    ----------
    cases
        One for each row.
    classes
        Names of the classes, sorted or in the order asked for; empty where there are no labels.
    y
        Index into `classes` ``(n_cases,)``, or None.
    split
        ``train``, ``val`` or ``test`` ``(n_cases,)``, or None.
    is_clean
        False ``(n_cases,)`` where the column ``split_clean`` says ``excluded``, or None without that column.
    clinical
        Names of the clinical columns that were asked for.
    features
        Names of the features of the user's own table, see `with_features`.
    others
        Cells of the columns that have no part in the task ``(n_cases,)``, for the data check and figures of subgroups
        alone: one may tell the label.
    is_ordered
        Whether the user named the classes, in an order that may mean something.
    """

    cases: tuple[Case, ...]
    classes: tuple[str, ...] = ()
    y: NDArray[np.int64] | None = None
    split: NDArray[np.str_] | None = None
    is_clean: NDArray[np.bool_] | None = None
    clinical: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_ordered: bool = False

    def __post_init__(self) -> None:
        for name in ("y", "split", "is_clean"):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != len(self.cases):
                raise DataError(
                    f"{name} has {len(values)} values, expected one for each of {len(self)} cases."
                )
            fixed = np.array(values)
            fixed.setflags(write=False)
            object.__setattr__(self, name, fixed)

    @classmethod
    def from_csv(cls, path: str | Path, **options: Any) -> Self:
        """Read a manifest from a CSV file; paths in it count from its folder.

        Parameters
        ----------
        path
            A CSV file, UTF-8, comma, semicolon or tab separated.
        **options
            As for `from_frame`, `root` aside.

        Raises
        ------
        DataError
            If the file can't be used; the message names the row or the column and the remedy.
        """
        path = Path(path)
        return cls.from_frame(cols.read_table(path), root=path.parent, **options)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        root: str | Path = ".",
        label: str = "label",
        classes: Sequence[str] | None = None,
        image: cols.Names = None,
        mask: cols.Names = None,
        clinical: cols.Names = (),
        split: str = "split",
        labelled: bool = True,
        complete: bool = True,
        mask_label: int | str | Sequence[int] | None = None,
        mask_roi: str | Sequence[str] | None = None,
        suv: cols.Names = None,
    ) -> Self:
        """Read a manifest from a table, one row a case.

        Columns that are neither ``case``, ``patient``, ``site``, ``split_clean`` nor named here are no inputs, for they
        may be derived from the label: see `others`.

        Parameters
        ----------
        frame
            Without a column ``case`` the row's number names the case; without ``patient`` each case is one. What a
            cell of files may say is told in `autoonco.data.pick`.
        root
            Folder that relative paths count from.
        label
            Column of classes.
        classes
            Classes to keep, in this order; rows of others are left out. By default all, sorted.
        image
            Column(s) of image files, by default ``image`` or all ``image_*``; the channel is what follows.
        mask
            Column(s) of mask files, by default ``mask`` and ``mask_*``; an empty cell means no mask.
        clinical
            Columns to use as inputs beside the images.
        split
            Column that says train, val or test; without one there is no split.
        labelled
            False leaves the labels unread, for cases to predict; what is wrong with a row is then told when it is read.
        complete
            False keeps rows without a label (`y` is -1) or without their files, and a single class, for `check` to
            tell of; they can't be fitted.
        mask_label
            Value(s) of the masks that are lesion, by default all but 0; a column ``mask_label`` says it row by row.
        mask_roi
            Name(s) of the segment or ROI of DICOM masks; a column ``mask_roi`` says it row by row.
        suv
            Channel(s) of PET in DICOM to read as standardised uptake values by body weight.

        Raises
        ------
        DataError
            If the table can't be used; the message names the row or the column and the remedy.
        """
        table = cols.as_text(frame)
        images = cols.image_columns(table, image)
        masks = cols.mask_columns(table, mask, images)
        taken = {label, split, *images.values(), *masks.values()}
        names = pick_clinical(table, clinical, taken=taken, labelled=labelled)
        always = Always.of(mask_label=mask_label, mask_roi=mask_roi, suv=suv, channels=images)
        dataset = cls(
            cases=make_cases(
                table,
                images,
                masks,
                names,
                Path(root),
                must_exist=labelled and complete,
                always=always,
                to_predict=not labelled,
            ),
            clinical=names,
            others={
                name: tuple(cells)
                for name, cells in table.items()
                if name not in {*taken, *names, *cols.RESERVED} and not cols.is_option(name, images)
            },
        )
        splits, is_clean = read_splits(table, split, to_predict=not labelled)
        dataset = replace(dataset, split=splits, is_clean=is_clean)
        return dataset._with_labels(table, label, classes, complete=complete) if labelled else dataset

    @classmethod
    def from_scans(cls, paths: Sequence[str | Path], *, must_exist: bool = True) -> Self:
        """Return image files alone, to predict: no masks, no labels; a case is named by its file's stem.

        Without `must_exist` a missing file among others is told when its case is read.
        """
        return cls(cases=scan_cases(paths, must_exist=must_exist))

    def _with_labels(
        self, table: Mapping[str, list[str]], label: str, classes: Sequence[str] | None, *, complete: bool
    ) -> Self:
        cols.require(table, label, "Name the column of classes with label= (--label).")
        names = cols.class_labels(table[label], label, may_be_many=classes is not None, may_miss=not complete)
        given = [classes] if isinstance(classes, str) else classes
        wanted = tuple(map(str, given)) if given is not None else tuple(sorted(set(names) - {""}))
        for name in wanted:
            if name not in names:
                raise DataError(
                    f"{UnknownNameError('class', name, set(names))} Correct classes= (--classes)."
                )
        if len(set(wanted)) < max(2 if complete else 1, len(wanted)):
            raise DataError(
                f"Column {label!r} gives the class {', '.join(wanted)}, expected two different ones or more: "
                f"name another column with label= (--label)."
            )
        y = np.array([wanted.index(name) if name in wanted else -1 for name in names], dtype=np.int64)
        labelled = replace(self, classes=wanted, y=y, is_ordered=given is not None)
        return labelled.subset((y >= 0) | (np.array(names, dtype=object) == ""))

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, position: int) -> Case:
        """Return the case at `position`: with it scikit-learn's `cross_val_score` and its like take a dataset apart."""
        return self.cases[position]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the image channels, in order."""
        return tuple(self.cases[0].images) if self.cases else ()

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """Patient of each case ``(n_cases,)``."""
        return np.array([case.patient for case in self.cases], dtype=np.str_)

    @cached_property
    def sites(self) -> NDArray[np.str_] | None:
        """Site of each case ``(n_cases,)``, empty where unknown; None where no case has one."""
        if all(case.site is None for case in self.cases):
            return None
        return np.array([case.site or "" for case in self.cases], dtype=np.str_)

    def subset(self, rows: ArrayLike) -> Self:
        """Return the cases at positions `rows` (integers or a boolean mask); the classes stay as they are."""
        picked = np.arange(len(self))[np.asarray(rows)]
        return replace(
            self,
            cases=tuple(self.cases[row] for row in picked),
            y=None if self.y is None else self.y[picked],
            split=None if self.split is None else self.split[picked],
            is_clean=None if self.is_clean is None else self.is_clean[picked],
            others={name: tuple(cells[row] for row in picked) for name, cells in self.others.items()},
        )

    def labelled(self, y: ArrayLike) -> Self:
        """Return the same cases with the classes `y` ``(n_cases,)``, sorted, in place of those they had.

        Raises
        ------
        DataError
            If `y` is not of their number, has a gap, or is of one class, or a row can't be learned from.
        """
        names = labels_of(y)
        for case in self.cases:
            if case.problem is not None:
                raise DataError(case.problem)
        refuse_rows([c.case for c in self.cases], self.groups.tolist(), [c.row for c in self.cases])
        if len(names) != len(self):
            raise DataError(f"y has {len(names)} labels, expected one for each of {len(self)} cases.")
        classes = tuple(sorted(set(names)))
        if len(classes) < 2:
            raise DataError(
                f"y holds the class {', '.join(classes)} alone, expected two different ones or more."
            )
        index = np.array([classes.index(name) for name in names], dtype=np.int64)
        return replace(self, classes=classes, y=index, is_ordered=False)

    def unlabelled(self) -> Self:
        """Return the same cases without labels and classes."""
        return replace(self, y=None, classes=())

    def with_features(self, table: FeatureTable) -> Self:
        """Return the same cases with the features of a table of the user's, matched by the column ``case``.

        Parameters
        ----------
        table
            A table, or a .csv or .parquet file, with a column ``case`` and columns of numbers. With labels, every case
            has to be in it; a case to predict that isn't is told when it is predicted.

        Raises
        ------
        DataError
            If the table can't be used; the message names the row or the column and the remedy.
        """
        found = read_features(table)
        names = [case.case for case in self.cases]
        values = values_of(found, names, rows=[case.row for case in self.cases], must_have=self.y is not None)
        cases = tuple(replace(case, features=mine) for case, mine in zip(self.cases, values, strict=True))
        return replace(self, cases=cases, features=tuple(found.columns))

    def identity(self) -> str:
        """Return a hash of labels, patients, splits, clinical values, own features and the bytes of every file."""
        rows = [
            [content_hash(case), case.patient, case.site, dict(case.clinical), sorted(case.images)]
            + ([dict(case.features)] if self.features else [])
            for case in self.cases
        ]
        arrays = [
            None if values is None else values.tolist() for values in (self.y, self.split, self.is_clean)
        ]
        return digest(rows, arrays, self.classes, self.clinical)

    def check(self, *, n_jobs: int = 1) -> pd.DataFrame:
        """Read every case once and tell what is wrong or doubtful, a row a finding, errors first.

        Parameters
        ----------
        n_jobs
            Threads that read.

        Returns
        -------
        pandas.DataFrame
            Columns ``code``, ``severity`` (error, warning, note), ``row`` (of the manifest, missing where a finding
            is about all data), ``case``, ``found``, ``expected`` and ``remedy``.
        """
        from autoonco.data.checks import findings, findings_frame, inspect  # which need a dataset

        return findings_frame(findings(self, inspect(self, n_jobs=n_jobs)), self)

    def repaired(self, repair: str) -> Self:
        """Return the cases to be read with a `repair`: ``"none"``, or ``"resample-mask"`` onto the image's grid."""
        cases = tuple(replace(case, resample_mask=repair == "resample-mask") for case in self.cases)
        return replace(self, cases=cases)

    def redact(self, text: str) -> str:
        """Return `text` with every path, file name, case and patient identifier replaced by ``row N``."""
        return redact(text, self._identifiers)

    @cached_property
    def _identifiers(self) -> Mapping[str, int]:
        return identifiers(self.cases)
