"""A 3D network of one's own: three stages of two convolutions, each at half the resolution."""

from torch import nn

from autoonco.nets.volumes import Anatomy


def stage(before, width):
    return nn.Sequential(
        nn.Conv3d(before, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(),
        nn.Conv3d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(),
    )


class SmallCubes(nn.Module):
    def __init__(self, in_channels, width):
        super().__init__()
        self.stem = nn.Conv3d(in_channels, width, 3, padding=1)
        self.first = stage(width, width)
        self.second = stage(width, 2 * width)
        self.third = stage(2 * width, 4 * width)


def small_cubes(in_channels, size, width):
    """Return the network, and which of its parts come after each other; pooling and classifier are added to them."""
    stages = (("first",), ("second",), ("third",))
    return SmallCubes(in_channels, width), Anatomy(stem=("stem",), stages=stages, width=4 * width)
