"""How long a case's cube takes to make, and how much of a training's time is spent waiting for batches.

    python -m benchmarks volume_loading [--size 32] [--cases 48] [--repeats 3]

The first table is of a CT of 512 x 512 x 60 with a lesion of 40 mm: resampling all of it, the region of interest first,
from what is kept around the lesion, and from the kept cube; milliseconds, the least of the repetitions. The second is a
training of a ResNet-10 and of a transformer with every kind of augmentation on: seconds, and the share of them for
which the network waited, with batches made ahead and without. Bar: less than 5 % of the time is waiting. Batches are
made by the CPU that trains where there is no GPU: then a second core has to be free for it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Intensity
from autoonco.data.preprocessing import VolumeView, volume_grid
from autoonco.data.readers import read_scan
from autoonco.data.surroundings import surroundings
from autoonco.nets.appearance import Look
from autoonco.nets.augmentation import Augmentation
from autoonco.nets.builders import build_3d
from autoonco.nets.inputs import InputSpec, crop, crops
from autoonco.nets.loading import AHEAD, Loader
from autoonco.nets.pace import Pace
from autoonco.nets.recipe import Recipe
from autoonco.nets.training_run import TrainingRun

NETWORKS = ("monai_resnet10", "monai_vit_tiny")
BAR = 0.05
EVERYTHING = Augmentation(strength=0.5, elastic=0.3, intensity=0.5, noise=0.3, looks=(Look.CT,))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--cases", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds in reading(Path(folder), size=arguments.size, repeats=arguments.repeats).items():
            print(f"{name:<28}{1000 * seconds:>10.2f} ms", flush=True)
    print(
        f"\n{'network':<18}{'batches':<14}{'s an epoch':>11}{'waiting':>9}   (bar {BAR:.0%}, {cores()} cores)"
    )
    for name in NETWORKS:
        for ahead in (0, AHEAD):
            seconds, share = training(name, size=arguments.size, n_cases=arguments.cases, ahead=ahead)
            how = "made ahead" if ahead else "in turn"
            print(f"{name:<18}{how:<14}{seconds:>11.2f}{share:>9.1%}", flush=True)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reading(
    folder: Path, *, size: int, repeats: int, shape: tuple[int, int, int] = (60, 512, 512)
) -> dict[str, float]:
    """Return the seconds of each way from a scan on disk to its cube."""
    case = write_ct(folder, shape)
    view = VolumeView(size=size, extent_mm=80.0, mask="channel")
    spec = InputSpec(intensity={"image": Intensity.HOUNSFIELD}, view=view, ndim=3)
    scan = read_scan(case, "image")
    kept = ArtefactCache(folder / "cache")
    surroundings(case, "image", kept)
    crops([case], spec, kept)
    return {
        "reading the scan": least(lambda: read_scan(case, "image"), repeats),
        "all of it resampled": least(lambda: whole(scan.image, volume_grid([scan], view)), repeats),
        "from the file": least(lambda: crop(case, spec), repeats),
        "from the surroundings": least(lambda: crop(case, spec, kept), repeats),
        "from the kept cube": least(lambda: crops([case], spec, kept), repeats),
    }


def whole(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """Resample all of a scan to cubic voxels of the grid's spacing, the usual first step of a pipeline."""
    spacing = grid.GetSpacing()
    size = [
        round(n * own / new) for n, own, new in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)
    ]
    smooth = sitk.SmoothingRecursiveGaussian(image, sigma=[max(spacing) / 2] * 3)
    return sitk.Resample(
        smooth,
        size,
        sitk.Transform(),
        sitk.sitkLinear,
        image.GetOrigin(),
        spacing,
        image.GetDirection(),
        -1000.0,
    )


def training(name: str, *, size: int, n_cases: int, ahead: int, n_epochs: int = 2) -> tuple[float, float]:
    """Return the seconds of an epoch and the share of them for which the network waited, the first epoch left out."""
    rng = np.random.default_rng(0)
    data = torch.from_numpy(rng.integers(0, 255, (n_cases, 2, size, size, size), dtype=np.uint8))
    labels = torch.from_numpy(np.arange(n_cases) % 2)
    recipe = Recipe(epochs=n_epochs + 1, learning_rate=1e-3, batch_size=8, augmentation=EVERYTHING)
    network = build_3d(name, n_classes=2, in_channels=2, size=size)
    run = TrainingRun(network, recipe, pace=Pace.prior(5, on_gpu=False), n_cases=n_cases)
    run.loader = Loader(ahead=ahead)
    start = waited = 0.0
    for epoch in range(n_epochs + 1):
        run.epoch(data, labels, epoch=epoch, seed=0, weights=None, n_classes=2, n_image_channels=1)
        if epoch == 0:
            start, waited = time.monotonic(), run.loader.waited_s
    seconds = time.monotonic() - start
    return seconds / n_epochs, (run.loader.waited_s - waited) / seconds


def write_ct(folder: Path, shape: tuple[int, int, int]) -> Case:
    """Write a CT of noise with a ball of 40 mm, and its mask."""
    spacing = (0.8, 0.8, 3.0)
    values = np.random.default_rng(0).normal(-100, 60, shape).astype(np.int16)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    away = (z - shape[0] / 2) ** 2 * 9.0 + ((y - shape[1] / 2) ** 2 + (x - shape[2] / 2) ** 2) * 0.64
    paths = {}
    for kind, array in (("image", values), ("mask", (away < 400).astype(np.uint8))):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        paths[kind] = folder / f"{kind}.nii.gz"
        sitk.WriteImage(image, str(paths[kind]))
    return Case(case="a", patient="a", images={"image": paths["image"]}, masks={"mask": paths["mask"]}, row=1)


def least(work: Callable[[], object], repeats: int) -> float:
    """Return the least seconds of some repetitions."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


if __name__ == "__main__":
    main()
