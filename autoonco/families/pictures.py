"""Which pictures of a case may be tried: the hyperparameters of a view, as far as a dataset has use for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoonco.data.fingerprint import Fingerprint
from autoonco.families.networks import add_component

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

BAGS = ("several", "all")
"""The values of `slices` whose pictures are alike, and are pooled."""


def add_pictures(space: ConfigurationSpace, fingerprint: Fingerprint) -> None:
    """Add what a pretrained network may see of a case, and how what it says of several pictures is joined.

    Around a lesion where there are masks, slices of a volume, sequences where there are several. `space` has `mode`
    and `classifier` already.
    """
    from ConfigSpace import AndConjunction, EqualsCondition, InCondition

    mode = space["mode"]
    if fingerprint.has_mask:
        add_component(space, "lesion_slice")
        space.add(EqualsCondition(space["mask"], mode, "finetune"))
    if len(fingerprint.channels) > 1:
        add_component(space, "sequences")
    if fingerprint.ndim == 2:
        return
    add_component(space, "slices")
    add_component(space, "bags")
    for name, parent, value in (
        ("slice_pooling", space["classifier"], "pipeline"),
        ("bag_pooling", mode, "finetune"),
    ):
        child = space[name]
        several = InCondition(child, space["slices"], list(BAGS))
        space.add(AndConjunction(several, EqualsCondition(child, parent, value)))
