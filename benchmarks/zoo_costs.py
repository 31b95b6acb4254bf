"""Measures what a picture costs each 2D network of the zoo: the `cost` of its YAML, seconds on one core.

Random weights cost what pretrained ones do. CPU seconds of one thread are counted, and the least of some repetitions is
told. A training step is forward, backward and a step of plain gradient descent on all weights, in batches of four.
Other work on the machine slows a core down: so each network is measured in turns with a reference, and what is told is
its multiple of the reference's seconds, times what the reference takes on an idle core by its own YAML.

    python -m benchmarks zoo_costs --networks resnet18,vit_tiny -o benchmarks/tables/zoo_costs.csv
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from autoonco.nets.builders import build_2d
from autoonco.nets.embeddings import torch_threads
from autoonco.nets.zoo import networks

SIZE, BATCH, REPEATS = 224, 4, 3
REFERENCE = "tf_efficientnet_lite0"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    arguments = _arguments(argv)
    timm = [name for name, entry in networks(2).items() if entry["builder"] == "timm"]
    names = arguments.networks.split(",") if arguments.networks else timm
    rows = []
    for name in names:
        forward, train = relative_costs(build_2d(name, n_classes=2), repeats=arguments.repeats)
        rows.append({"network": name, "size": SIZE, "forward": f"{forward:.3g}", "train": f"{train:.3g}"})
        print(" ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def relative_costs(network: nn.Module, *, repeats: int = REPEATS) -> tuple[float, float]:
    """Return the seconds of an idle core, to predict and to train on a crop of 224 pixels."""
    reference = build_2d(REFERENCE, n_classes=2)
    before, own, after = (costs(each, repeats=repeats) for each in (reference, network, reference))
    idle = networks(2)[REFERENCE]["cost"]
    forward, train = (2 * own[i] / (before[i] + after[i]) for i in (0, 1))
    return forward * idle["forward"], train * idle["train"]


def costs(network: nn.Module, *, size: int = SIZE, repeats: int = REPEATS) -> tuple[float, float]:
    """Return the seconds of one core that a crop of `size` takes, to predict and to train on."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
    crops = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8)
    crops = crops.contiguous(memory_format=torch.channels_last)

    def predict() -> None:
        with torch.inference_mode():
            network(crops[:1])

    def step() -> None:
        optimizer.zero_grad()
        network(crops).square().mean().backward()
        optimizer.step()

    with torch_threads(1):
        network.eval()
        forward = _least(predict, repeats=2 * repeats)
        network.train()
        train = _least(step, repeats=repeats)
    return forward, train / BATCH


def _least(work: Callable[[], None], *, repeats: int) -> float:
    found = []
    for _ in range(repeats + 1):  # the first one warms up, and never is the least
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks zoo_costs")
    parser.add_argument("--networks", default="", help="names, a,b; all by default")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args(argv)
