"""The choices that give one feature several values: whose definition, and how directions and slices are joined."""

from __future__ import annotations

from enum import StrEnum


class Definition(StrEnum):
    """Whose definition a feature follows where they differ.

    Among first-order and texture features these differ: kurtosis (IBSI subtracts 3), voxels without a
    neighbour in the NGTDM (IBSI leaves them out) and the origin of bins of a fixed width (pyradiomics'
    lie at multiples of the width, IBSI's begin at the lowest grey value or the re-segmentation's bound).
    """

    PYRADIOMICS = "pyradiomics"
    IBSI = "ibsi"


class Aggregation(StrEnum):
    """How matrices of directions and slices become one value (IBSI, section 3.6 and following).

    ``2d`` and ``3d`` mean each feature over the matrices of all directions, ``_merged`` sums these matrices
    first. In ``2d`` each slice has matrices of its own and features are averaged over slices; in ``2.5d``
    neighbours lie within slices and the matrices of all slices are summed: that is pyradiomics' ``force2D``.
    GLSZM, GLDM and NGTDM have no directions, so that merging changes nothing for them.
    """

    SLICES = "2d"  # IBSI BTW3
    SLICES_MERGED = "2d_merged"  # IBSI SUJT
    IN_PLANE = "2.5d"  # IBSI JJUI
    IN_PLANE_MERGED = "2.5d_merged"  # IBSI ZW7Z
    VOLUME = "3d"  # IBSI ITBB
    VOLUME_MERGED = "3d_merged"  # IBSI IAZD

    @property
    def is_by_slice(self) -> bool:
        """Whether each slice has features of its own."""
        return self in (Aggregation.SLICES, Aggregation.SLICES_MERGED)

    @property
    def is_in_plane(self) -> bool:
        """Whether neighbours are sought within a slice only."""
        return self not in (Aggregation.VOLUME, Aggregation.VOLUME_MERGED)

    @property
    def is_merged(self) -> bool:
        """Whether the matrices of all directions are summed."""
        return self.value.endswith("_merged")
