"""A plain fingerprint, for tests to change where theirs differs."""

from __future__ import annotations

from autoonco.data.fingerprint import Fingerprint, Intensity

PICTURES = Fingerprint(
    n_cases=16,
    n_patients=16,
    classes=("no", "yes"),
    class_counts=(8, 8),
    ndim=2,
    channels=("image",),
    is_colour=False,
    has_mask=False,
    clinical=(),
    has_site=False,
    spacing_mm=(1.0, 1.0),
    shape=(64, 64),
    lesion_mm=None,
    lesion_voxels=None,
    intensity={"image": Intensity.BYTE},
)
