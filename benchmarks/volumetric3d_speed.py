"""What is around a 3D network's own arithmetic while it trains: seconds of a step, and peak memory.

    python -m benchmarks volumetric3d_speed [--networks monai_resnet10,monai_vit_tiny] [--size 32] [--out FOLDER]

Each figure is a ratio to a plain loop on the same network, crops and threads, taken in turns in one run. The bare loop
is MONAI's network, MONAI's transforms (turn, scale, shift, flip, contrast) on each crop, forward, backward and AdamW.
Ours is the training that a fit runs with its defaults: augmentation of a whole batch, gradient clipping, averaged
weights and a watch for divergence. A second line leaves augmentation out of both. Memory is the peak of a process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from autoonco.families.training_space import recipe_of
from autoonco.nets.augmentation import Augmentation
from autoonco.nets.builders import build_3d
from autoonco.nets.embeddings import torch_threads
from autoonco.nets.network import Network
from autoonco.nets.recipe import Recipe
from autoonco.nets.training import train
from autoonco.resources import load_space
from benchmarks.memory import status_kb
from benchmarks.pretrained2d_speed import EPOCHS, Figure, as_table, in_turns, to_markdown

NETWORKS = ("monai_resnet10", "monai_vit_tiny", "monai_densenet121", "monai_swin24")
CASES, BATCH = 48, 16
STILL = Augmentation(strength=0.0, flips="none")


def main(arguments: Sequence[str]) -> None:
    """Print the table of steps and the ratios of memory; write the table to ``speed3d.csv`` where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--alone", choices=("ours", "bare"), help="train once, print the peak memory in kB")
    options = parser.parse_args(arguments)
    names = options.networks.split(",")
    if options.alone:
        work = _ours if options.alone == "ours" else _bare
        work(names[0], options.size, EPOCHS[1], _recipe())
        print(status_kb("VmHWM"))
        return
    figures = [step(name, options.size, augmented=augmented) for name in names for augmented in (True, False)]
    table = as_table(figures)
    print(to_markdown(table))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out / "speed3d.csv", index=False)
    if not options.no_memory:
        print(to_markdown(pd.DataFrame([memory(name, options.size) for name in names])))


def step(name: str, size: int, *, augmented: bool) -> Figure:
    """Return the seconds of a step of our training beside one of the bare loop, on one thread.

    Both are the difference of two trainings, so that what happens once a training is no part of it.
    """
    recipe = _recipe() if augmented else replace(_recipe(), augmentation=STILL)
    n_steps = (EPOCHS[1] - EPOCHS[0]) * (CASES // BATCH)
    long, short = (
        in_turns(
            f"step of {name}, {size} voxels a side{'' if augmented else ', nothing changed'}",
            lambda epochs=epochs: _ours(name, size, epochs, recipe),  # type: ignore[misc]
            [lambda epochs=epochs: _bare(name, size, epochs, recipe)],  # type: ignore[misc]
        )
        for epochs in (EPOCHS[1], EPOCHS[0])
    )
    return Figure(
        what=long.what,
        ours_s=(long.ours_s - short.ours_s) / n_steps,
        bare_s=(long.bare_s - short.bare_s) / n_steps,
        ours_cpu_s=(long.ours_cpu_s - short.ours_cpu_s) / n_steps,
        bare_cpu_s=(long.bare_cpu_s - short.bare_cpu_s) / n_steps,
    )


def memory(name: str, size: int) -> dict[str, str | float]:
    """Return the peak memory of a training of ours and of the bare loop, each in a process of its own."""
    peaks = {}
    for kind in ("ours", "bare"):
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks", "volumetric3d_speed", "--alone", kind]
        done = subprocess.run(
            [*command, "--networks", name, "--size", str(size)],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        peaks[kind] = int(done.stdout.split()[-1]) / 1024
    return {
        "memory of": name,
        "ours_mb": peaks["ours"],
        "bare_mb": peaks["bare"],
        "ratio": peaks["ours"] / peaks["bare"],
    }


def _recipe() -> Recipe:
    """Return the family's default recipe."""
    config = {"epochs": EPOCHS[1]}
    for component in ("training", "augmentation"):
        defaults = dict(load_space(component).get_default_configuration())
        config |= {f"{component}:{name}": value for name, value in defaults.items()}
    return replace(recipe_of(config), batch_size=BATCH)


def _data(size: int) -> tuple[np.ndarray, np.ndarray]:
    volumes = np.random.default_rng(0).integers(0, 256, (CASES, 1, size, size, size), np.uint8)
    return volumes, np.arange(CASES) % 2


def _network(name: str, size: int) -> Network:
    return build_3d(name, n_classes=2, in_channels=1, size=size)


def _ours(name: str, size: int, epochs: int, recipe: Recipe) -> None:
    volumes, y = _data(size)
    train(
        _network(name, size), volumes, y, recipe, n_classes=2, n_image_channels=1, until_epoch=epochs, seed=0
    )


def _bare(name: str, size: int, epochs: int, recipe: Recipe) -> None:
    volumes, labels = _data(size)
    x, y = torch.from_numpy(volumes), torch.from_numpy(labels)
    network, change = _network(name, size).train(), _monai(augmented=recipe.augmentation != STILL)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    with torch_threads(1):
        for _ in range(epochs):
            for rows in torch.randperm(CASES).split(BATCH):
                batch = torch.stack([change(volume) for volume in x[rows].float() / 255])
                optimizer.zero_grad(set_to_none=True)
                torch.nn.functional.cross_entropy(network(batch), y[rows]).backward()
                optimizer.step()
        network.eval()
        with torch.no_grad():  # as ours ends: statistics of norms over all cases
            for part in x.split(BATCH):
                network(part)


def _monai(*, augmented: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return MONAI's transforms of what our defaults change."""
    if not augmented:
        return lambda volume: volume
    from monai.transforms import Compose, RandAdjustContrast, RandAffine, RandFlip, RandScaleIntensity

    turn = RandAffine(
        prob=1.0,
        rotate_range=[0.22] * 3,
        scale_range=[0.1] * 3,
        translate_range=[2] * 3,
        padding_mode="zeros",
    )
    steps = [turn, RandFlip(0.5, spatial_axis=2), RandAdjustContrast(1.0), RandScaleIntensity(0.2, prob=1.0)]
    made = Compose(steps)
    return lambda volume: torch.as_tensor(made(volume)).as_subclass(torch.Tensor)
