"""One row to classify. A case carries no label: what predicts never sees one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autoonco.data.mark import Mark
from autoonco.data.pick import WHOLE, Pick


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row to classify: image(s), optional mask(s), optional clinical values, patient.

    Parameters
    ----------
    case
        The user's identifier of the row. It is shown to the user and never written to a run folder.
    patient
        Identifier of the patient; a patient is never on both sides of a split.
    images
        Channel name → file, or folder of a DICOM series, in a fixed order. A single-image task has the one channel
        ``"image"``.
    masks
        Channel name → file. A lone mask has the key ``"mask"`` and belongs to every channel.
    clinical
        The values of the columns that the user named as clinical.
    features
        The values of the user's own feature table, NaN for an empty cell; none without such a table.
    image_picks, mask_picks
        Key of `images` and `masks` → what to take of that file; by default the whole of it.
    site
        Hospital, scanner or collection, where the manifest says so.
    resample_mask
        Whether a mask on another grid than its image is put onto it (nearest neighbour) instead of refused.
    mark
        Where the lesion is, of a case to predict whose lesion isn't drawn; of several drawn ones, which is meant.
    problem
        Why the row of a case to predict can't be understood: readers and predictions raise it, and others go on.
    row
        Line of the manifest, header not counted, from 1: how logs and files name a case.
    """

    case: str
    patient: str
    images: Mapping[str, Path]
    masks: Mapping[str, Path] = field(default_factory=dict)
    clinical: Mapping[str, float | str | None] = field(default_factory=dict)
    features: Mapping[str, float] = field(default_factory=dict)
    image_picks: Mapping[str, Pick] = field(default_factory=dict)
    mask_picks: Mapping[str, Pick] = field(default_factory=dict)
    site: str | None = None
    resample_mask: bool = False
    mark: Mark | None = None
    problem: str | None = None
    row: int = 0

    def mask_of(self, channel: str) -> Path | None:
        """Return the mask file that belongs to `channel`, or None."""
        return self.masks.get(channel, self.masks.get("mask"))

    def image_pick(self, channel: str) -> Pick:
        """Return what to take of the image file of `channel`."""
        return self.image_picks.get(channel, WHOLE)

    def mask_pick(self, channel: str) -> Pick:
        """Return what to take of the mask file that belongs to `channel`."""
        return self.mask_picks.get(channel if channel in self.masks else "mask", WHOLE)
