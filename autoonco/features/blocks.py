"""Feature tables out of blocks that are computed once a case, in parallel, and cached by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache, content_hash, digest
from autoonco.data.case import Case
from autoonco.data.grids import lesion_box
from autoonco.data.readers import Scan, read_scan
from autoonco.errors import DataError, OutlineNeededError
from autoonco.features.backend import BACKEND, block_names, compute_blocks
from autoonco.features.delta import delta_names, delta_table
from autoonco.features.images import Roi, roi_of
from autoonco.features.perturbation import Perturbation, perturb
from autoonco.features.spec import Block, Component, ExtractionSpec, Kind

CODE_VERSION = 4
"""Raised whenever a block's values change for equal settings: what older code stored is then never read."""
_KIND = "radiomics"


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A block of one channel: which columns of the table it fills, and how its artefacts are called."""

    channel: str
    block: Block
    start: int
    stop: int
    suffix: str
    perturbation: Perturbation | None = None


def column_names(spec: ExtractionSpec) -> tuple[str, ...]:
    """Return the names of the table's columns; with several channels each begins with ``channel:``."""
    channels = {
        channel.name: tuple(name for block in spec.blocks(channel) for name in block_names(block))
        for channel in spec.channels
    }
    if len(channels) == 1:
        return next(iter(channels.values()))
    columns = tuple(f"{channel}:{name}" for channel, names in channels.items() for name in names)
    if spec.delta is None:
        return columns
    return columns + delta_names(channels, next(iter(channels.values())), spec.delta)


def extract_table(
    cases: Sequence[Case],
    spec: ExtractionSpec,
    *,
    artefacts: ArtefactCache,
    n_threads: int = 1,
    perturbation: Perturbation | None = None,
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the features of `cases` and their names, computing only what was never computed before.

    Parameters
    ----------
    cases
        Every case needs an image and a mask for each channel of `spec`.
    artefacts
        Where blocks are kept, by the hash of the case's files, the block's settings and the backend.
    n_threads
        Threads that compute missing cases, one case at a time each: kernels and filters release Python's lock.
    perturbation
        How each mask is changed first, if at all; such blocks are kept beside those of the mask as it is.

    Returns
    -------
    table
        ``(n_cases, n_features)``, NaN where a feature is undefined.
    names
        ``n_features`` names, see `column_names`.

    Raises
    ------
    DataError
        If a case can't be read, has no mask or an empty one, or not the dimensions of `spec`; names the row.
    """
    table = _fill(cases, _columns(spec, perturbation), artefacts, n_threads)
    if spec.delta is not None:
        table = np.hstack([table, delta_table(table, len(spec.channels), spec.delta)])
    return table, column_names(spec)


def extract_outlines(
    cases: Sequence[Case], channel: str, *, artefacts: ArtefactCache, n_threads: int = 1
) -> NDArray[np.float64]:
    """Return the contour features ``(n_cases, n_features)`` of the masks of `channel`.

    They are those of `extract_table`, and kept in the same place.

    Raises
    ------
    DataError
        As for `extract_table`; all cases need the dimensions of the first.
    """
    ndim = read_scan(cases[0], channel).image.GetDimension()
    column = _column(channel, Block(kind=Kind.CONTOUR, ndim=ndim), start=0)
    return _fill(cases, (column,), artefacts, n_threads)


def _fill(
    cases: Sequence[Case], columns: Sequence[_Column], artefacts: ArtefactCache, n_threads: int
) -> NDArray[np.float64]:
    """Return the table of `columns`, computing what isn't stored yet."""
    hashes = [artefacts.hash_of(case) for case in cases]
    table = np.empty((len(cases), columns[-1].stop), dtype=np.float64)
    suffixes = tuple(column.suffix for column in columns)
    missing: dict[int, list[_Column]] = {}
    for row, case_hash in enumerate(hashes):
        try:
            table[row] = _stored_row(artefacts.folder, case_hash, suffixes)
        except KeyError:
            missing[row] = _fill_known(table[row], case_hash, columns, artefacts)
    jobs = [(cases[row], hashes[row], wanted, artefacts) for row, wanted in missing.items()]
    for (row, wanted), values in zip(missing.items(), _run(jobs, n_threads), strict=True):
        for column, part in zip(wanted, values, strict=True):
            table[row, column.start : column.stop] = part
    return table


def _fill_known(
    values: NDArray[np.float64], case_hash: str, columns: Sequence[_Column], artefacts: ArtefactCache
) -> list[_Column]:
    """Put the stored blocks of a case into its row, and return the columns of those that aren't stored."""
    absent = []
    for column in columns:
        try:
            values[column.start : column.stop] = _stored(artefacts.folder, case_hash + column.suffix)
        except KeyError:
            absent.append(column)
    return absent


@lru_cache(maxsize=64)
def _columns(spec: ExtractionSpec, perturbation: Perturbation | None = None) -> tuple[_Column, ...]:
    found: list[_Column] = []
    for channel in spec.channels:
        for block in spec.blocks(channel):
            start = found[-1].stop if found else 0
            found.append(_column(channel.name, block, start=start, perturbation=perturbation))
    return tuple(found)


def _column(channel: str, block: Block, *, start: int, perturbation: Perturbation | None = None) -> _Column:
    suffix = "-" + digest(channel, block.key, BACKEND, CODE_VERSION)
    if perturbation is not None:
        suffix += f"-{perturbation.key}"
    stop = start + len(block_names(block))
    return _Column(
        channel=channel, block=block, start=start, stop=stop, suffix=suffix, perturbation=perturbation
    )


def forget() -> None:
    """Let go of the blocks that are kept in memory: the next table is read from the cache's files."""
    _stored_row.cache_clear()
    _stored.cache_clear()


@lru_cache(maxsize=10_000)
def _stored_row(folder: Any, case_hash: str, suffixes: tuple[str, ...]) -> NDArray[np.float64]:
    """Return all blocks of a case in one piece; a miss raises KeyError and is not remembered."""
    return np.concatenate([_stored(folder, case_hash + suffix) for suffix in suffixes])


@lru_cache(maxsize=50_000)
def _stored(folder: Any, key: str) -> NDArray[np.float64]:
    """Return a stored block, kept in memory from then on; a miss raises KeyError and is not remembered."""
    found = ArtefactCache(folder).get(_KIND, key)
    if found is None:
        raise KeyError(key)
    values: NDArray[np.float64] = found["values"]
    values.flags.writeable = False
    return values


def _run(jobs: Sequence[tuple[Any, ...]], n_threads: int) -> list[list[NDArray[np.float64]]]:
    if n_threads == 1 or len(jobs) == 1:
        return [_extract_case(*job) for job in jobs]
    # Not processes: each would import and load the kernels for seconds, and hold them in memory beside this one.
    run = Parallel(n_jobs=n_threads, backend="threading")
    return list(run(delayed(_extract_case)(*job) for job in jobs))


def _extract_case(
    case: Case, case_hash: str, wanted: Sequence[_Column], artefacts: ArtefactCache
) -> list[NDArray[np.float64]]:
    """Compute and store the wanted blocks of a case; each scan is read once, each filter applied once.

    Nothing is stored of files that are not, or no more, those of the hash: it would be found for ever.
    """
    values: dict[_Column, NDArray[np.float64]] = {}
    for channel in dict.fromkeys(column.channel for column in wanted):
        columns = [column for column in wanted if column.channel == channel]
        scan = _read(case, channel, columns[0].block.ndim)
        for component in dict.fromkeys(column.block.component for column in columns):
            roi = _roi(scan, case, channel, component)
            if (how := columns[0].perturbation) is not None:
                roi = _perturbed(roi, how)
            of_it = [column for column in columns if column.block.component is component]
            found = compute_blocks(roi, [column.block for column in of_it])
            values |= {column: found[column.block] for column in of_it}
        if content_hash(case) != case_hash:
            raise DataError(
                f"row {case.row}: a file of this case was changed while its features were computed: "
                "leave the files alone, or begin a new run."
            )
        for column in columns:
            artefacts.put(_KIND, case_hash + column.suffix, {"values": values[column]})
    return [values[column] for column in wanted]


def _perturbed(roi: Roi, how: Perturbation) -> Roi:
    mask = perturb(roi.mask, roi.spacing_mm, how.kind, how.seed)
    return replace(roi, mask=mask, box=lesion_box(mask) or roi.box)


def _read(case: Case, channel: str, ndim: int) -> Scan:
    scan = read_scan(case, channel)
    if scan.image.GetDimension() != ndim:
        raise DataError(
            f"row {case.row}, image {channel!r}: the image is {scan.image.GetDimension()}D, expected {ndim}D "
            "as the cases that the model was made for."
        )
    if not scan.is_drawn:
        raise OutlineNeededError(
            f"row {case.row}: radiomic features are measured within the lesion's outline, and only its place is "
            "known: give a mask."
        )
    return scan


def _roi(scan: Scan, case: Case, channel: str, component: Component) -> Roi:
    try:
        return roi_of(scan, component)
    except DataError as error:
        raise DataError(f"row {case.row}, channel {channel!r}: {error}") from error
