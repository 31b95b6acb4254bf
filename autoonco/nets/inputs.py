"""What a network sees of a case, made once, cached as bytes, described by a JSON-able `InputSpec`."""

from __future__ import annotations

import math
import os
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache, content_hash, digest
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.data.greys import Scaling
from autoonco.data.preprocessing import SliceView, VolumeView, volume_3d, volume_grid
from autoonco.data.readers import Scan, read_scan
from autoonco.data.surroundings import surroundings
from autoonco.errors import DataError, OutlineNeededError
from autoonco.nets.views import pictures

VERSION = 4
"""Raised whenever `data` would give other pixels for the same file: old crops are then not read."""
MAPPED_FROM = 2**28
"""Bytes of crops from which on they are kept in a mapped file: 128 cubes of 128 voxels a side."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Which channels of a case a network sees, the unit of each one's grey values, and through which view.

    `ndim` is that of the images, 2 or 3: a slice of a volume is not what a picture is.
    """

    intensity: Mapping[str, Intensity]
    view: SliceView | VolumeView
    ndim: int

    @classmethod
    def of(cls, fingerprint: Fingerprint, view: SliceView | VolumeView) -> InputSpec:
        """Return the spec of all channels of a dataset, in its order."""
        units = {name: fingerprint.intensity[name] for name in fingerprint.channels}
        return cls(intensity=units, view=view, ndim=fingerprint.ndim)

    @property
    def n_sequences(self) -> int:
        """Sequences that are seen one by one; 1 where they are channels of the same picture."""
        late = isinstance(self.view, SliceView) and self.view.sequences == "late"
        return len(self.intensity) if late else 1

    @property
    def n_pictures(self) -> int:
        """Pictures of a case; a cube counts as one."""
        if isinstance(self.view, VolumeView):
            return 1
        return self.n_sequences * (self.view.n_positions if self.ndim == 3 else 1)

    @property
    def grey_channels(self) -> int:
        """Channels of grey values (or colours) of one picture or cube."""
        n = len(self.intensity)
        if isinstance(self.view, VolumeView):
            return sum(self.channels_each)
        layers = 3 if self.ndim == 3 and self.view.slices == "adjacent" else 1
        return max(3, layers * n // self.n_sequences)

    @property
    def channels_each(self) -> tuple[int, ...]:
        """Channels of a cube that each scan becomes (a CT may be three, one a window); none for pictures."""
        if isinstance(self.view, SliceView):
            return ()
        return tuple(self.view.scaling.n_layers(unit) for unit in self.intensity.values())

    @property
    def n_masks(self) -> int:
        """Channels of one picture or cube that hold its mask, 0 or 1."""
        shows = self.view.mask_channel if isinstance(self.view, SliceView) else self.view.mask == "channel"
        return int(shows)

    @property
    def in_channels(self) -> int:
        """Channels of one picture or cube, with its mask's."""
        return self.grey_channels + self.n_masks

    @property
    def needs_outline(self) -> bool:
        """Whether the lesion's outline is shown, not only its place and size: then a point or a box can't do."""
        if isinstance(self.view, SliceView):
            return self.view.mask_channel or self.view.background == "blank"
        return self.view.needs_mask

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what is kept of a case: ``(n_pictures * in_channels, size, size)`` or ``(in_channels, *sides)``.

        The grey channels of all pictures come first, then their masks: `split_pictures` undoes it.
        """
        sides = (self.view.size,) * 2 if isinstance(self.view, SliceView) else self.view.sides
        return (self.n_pictures * self.in_channels, *sides)

    @property
    def voxel_ratio(self) -> tuple[float, ...]:
        """Edges of a voxel along each axis of the array ``(layers, rows, columns)``, the shortest being 1.

        What strides have to know: an axis of thick voxels must not be reduced as early as the others. Of pictures,
        whose pixels are square, or count as such where a box is stretched, it is ``(1.0, 1.0)``.
        """
        if isinstance(self.view, SliceView):
            return (1.0, 1.0)
        most = max(self.view.sides)
        return tuple(most / side for side in self.view.sides)

    @property
    def n_image_channels(self) -> int:
        """Channels that hold grey values; mask channels come after them."""
        return self.n_pictures * self.grey_channels

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        kind = "slice" if isinstance(self.view, SliceView) else "volume"
        units = [
            [name, str(unit)] for name, unit in self.intensity.items()
        ]  # a list: the order of channels counts
        return {"kind": kind, "intensity": units, "view": asdict(self.view), "ndim": self.ndim}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> InputSpec:
        """Read what `to_json` wrote."""
        view = (_slice_view if plain["kind"] == "slice" else _volume_view)(dict(plain["view"]))
        units = {name: Intensity(unit) for name, unit in plain["intensity"]}
        return cls(intensity=units, view=view, ndim=plain["ndim"])


def halved(spec: InputSpec) -> InputSpec:
    """Return the spec of the same cube in half as many voxels a side; layers that are few already stay.

    Examples
    --------
    >>> view = VolumeView(size=64, depth=8, extent_mm=40.0)
    >>> halved(InputSpec(intensity={"ct": Intensity.HOUNSFIELD}, view=view, ndim=3)).shape
    (1, 8, 32, 32)
    """
    if isinstance(spec.view, SliceView):
        raise TypeError("Cubes are halved, not pictures.")
    size, depth = spec.view.size // 2, spec.view.depth
    view = replace(spec.view, size=size, depth=depth if depth is not None and depth < size else None)
    return replace(spec, view=view)


def _slice_view(plain: dict[str, Any]) -> SliceView:
    return SliceView(**plain)


def _volume_view(plain: dict[str, Any]) -> VolumeView:
    """Read a view; model files of version 0.1 say `with_mask`, which was the mask as a channel or none."""
    if plain.pop("with_mask", False):
        plain["mask"] = "channel"
    return VolumeView(**plain | {"scaling": Scaling(**plain.get("scaling", {}))})


def crop(case: Case, spec: InputSpec, artefacts: ArtefactCache | None = None) -> NDArray[np.uint8]:
    """Return a case's crop `spec.shape` in 0..255, of its scans or of what `artefacts` has kept of them.

    Raises
    ------
    DataError
        If a scan can't be read or has another number of dimensions than `spec` says, or the view needs a mask
        and the case has none; the message names the row.
    """
    try:
        if isinstance(spec.view, SliceView):
            scans = [read_scan(case, channel) for channel in spec.intensity]
            _check(case, scans, spec)
            values = _in_a_row(pictures(scans, list(spec.intensity.values()), spec.view), spec)
        else:
            values = _cube(case, spec, spec.view, artefacts)
    except DataError as error:
        named = str(error).startswith(f"row {case.row}")
        raise type(error)(str(error) if named else f"row {case.row}: {error}") from None
    if values.shape != spec.shape:  # would be broadcast into place
        raise DataError(f"row {case.row}: the crop has shape {values.shape}, expected {spec.shape}.")
    return np.rint(values * 255).astype(np.uint8)


def _cube(
    case: Case, spec: InputSpec, view: VolumeView, artefacts: ArtefactCache | None
) -> NDArray[np.float32]:
    """Return the cube of a case, sampled from its lesion's surroundings where that is all the view shows."""
    kept = artefacts if view.focus == "lesion" else None
    parts = [surroundings(case, channel, kept) for channel in spec.intensity]
    _check(case, [part.scan for part in parts], spec)
    grid = volume_grid([part.scan for part in parts], view)
    parts = [
        part if part.holds(grid) else surroundings(case, channel, kept, grid=grid)
        for channel, part in zip(spec.intensity, parts, strict=True)
    ]
    return volume_3d(
        [part.scan for part in parts],
        list(spec.intensity.values()),
        view,
        value_ranges=[part.value_range for part in parts],
    )


def _check(case: Case, scans: Sequence[Scan], spec: InputSpec) -> None:
    for scan in scans:
        if (ndim := scan.image.GetDimension()) != spec.ndim:
            raise DataError(
                f"row {case.row}: the image is {ndim}D, expected {spec.ndim}D as the cases that the model was made for."
            )
    if spec.needs_outline and not all(scan.is_drawn for scan in scans):
        raise OutlineNeededError(
            f"row {case.row}: this network sees the lesion's outline, and only its place is known: give a mask."
        )


def _in_a_row(seen: NDArray[np.float32], spec: InputSpec) -> NDArray[np.float32]:
    """Return pictures ``(n, channels, size, size)`` as channels of one: the grey ones first, then the masks.

    So that what is done to a case while training (turns, flips, grey values) is done to all its pictures alike.
    """
    parts = (seen[:, : spec.grey_channels], seen[:, spec.grey_channels :])
    return np.concatenate([part.reshape(-1, *seen.shape[2:]) for part in parts])


def split_pictures(kept: Any, spec: InputSpec) -> Any:
    """Return crops ``(n_cases, n_pictures * in_channels, ...)`` as ``(n_cases, n_pictures, in_channels, ...)``.

    Takes and gives arrays or tensors.

    Examples
    --------
    >>> view = SliceView(size=8, slices="several", n_slices=2, mask_channel=True)
    >>> spec = InputSpec(intensity={"ct": Intensity.HOUNSFIELD}, view=view, ndim=3)
    >>> kept = np.zeros((1, *spec.shape))
    >>> kept[:, 6:] = 1  # both masks
    >>> split_pictures(kept, spec).mean(axis=(3, 4)).tolist()
    [[[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]]
    """
    order: list[int] = []
    for picture in range(spec.n_pictures):
        order += range(picture * spec.grey_channels, (picture + 1) * spec.grey_channels)
        order += range(spec.n_image_channels + picture, spec.n_image_channels + picture + spec.n_masks)
    return kept[:, order].reshape(-1, spec.n_pictures, spec.in_channels, *kept.shape[2:])


def _room(shape: tuple[int, ...], artefacts: ArtefactCache | None) -> NDArray[np.uint8]:
    """Return an array to be filled, in a file without a name where it is large."""
    n_bytes = math.prod(shape)
    if artefacts is None or n_bytes < MAPPED_FROM:
        return np.empty(shape, np.uint8)
    artefacts.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(
        dir=artefacts.folder
    ) as stream:  # numpy holds the file open by a handle of its own
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(
                stream.fileno(), 0, n_bytes
            )  # a full disk says so now, not when a page is written
        return np.memmap(stream, dtype=np.uint8, mode="w+", shape=shape)


def crops(
    cases: Sequence[Case], spec: InputSpec, artefacts: ArtefactCache | None, *, n_threads: int = 1
) -> NDArray[np.uint8]:
    """Return the crops of all cases ``(n_cases, *spec.shape)``; a crop made before is only read.

    Without `artefacts` all are made anew and none is stored. With them crops of more than `MAPPED_FROM` bytes lie in a
    file that is mapped into memory and gone with the array: pages that aren't needed now need not stay.
    """
    out, asked = _room((len(cases), *spec.shape), artefacts), spec.to_json()

    def fill(row: int) -> None:
        if artefacts is None:
            out[row] = crop(cases[row], spec)
            return
        key = digest("crop", VERSION, content_hash(cases[row]), asked)
        out[row] = artefacts.get_or_make("crops", key, lambda: {"x": crop(cases[row], spec, artefacts)})["x"]

    # Decoding, resampling and disk release Python's lock, so threads do.
    with ThreadPoolExecutor(n_threads) as pool:
        deque(pool.map(fill, range(len(cases))), maxlen=0)
    return out
