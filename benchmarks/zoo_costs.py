"""Measures what a picture or a volume costs each network of the zoo: the `cost` of its YAML, seconds on one core.

Random weights cost what pretrained ones do. CPU seconds of one thread are counted, and the least of some repetitions is
told. A training step is forward, backward and a step of plain gradient descent on all weights, in batches of four.
Other work on the machine slows a core down: so each network is measured in turns with a reference, and what is told is
its multiple of the reference's seconds, times what the reference takes on an idle core by its own YAML.

    python -m benchmarks zoo_costs --networks resnet18,vit_tiny -o benchmarks/tables/zoo_costs.csv
    python -m benchmarks zoo_costs --dimensions 3 -o benchmarks/tables/zoo_costs_3d.csv
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from autoonco.nets.builders import build_2d, build_3d
from autoonco.nets.embeddings import memory_order, torch_threads
from autoonco.nets.network import Network
from autoonco.nets.zoo import entry_of, networks

SIZES, BATCH, REPEATS = {2: 224, 3: 32}, 4, 3
REFERENCES = {2: "tf_efficientnet_lite0", 3: "monai_resnet10"}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    arguments = _arguments(argv)
    dimensions = arguments.dimensions
    fixed = [name for name, entry in networks(dimensions).items() if entry["builder"] != "parametric"]
    names = arguments.networks.split(",") if arguments.networks else fixed
    rows = []
    for name in names:
        size = SIZES[int(entry_of(name)["dimensions"])]
        forward, train = relative_costs(name, repeats=arguments.repeats)
        rows.append({"network": name, "size": size, "forward": f"{forward:.2g}", "train": f"{train:.2g}"})
        print(" ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def empty(name: str) -> Network:
    """Return a network of the zoo with random weights and two classes."""
    entry = entry_of(name)
    if entry["dimensions"] == 2:
        return build_2d(name, n_classes=2)
    return build_3d(name, n_classes=2, in_channels=int(entry.get("in_channels", 1)), size=SIZES[3])


def relative_costs(name: str, *, repeats: int = REPEATS) -> tuple[float, float]:
    """Return the seconds of an idle core, to predict and to train on a crop of `SIZES`."""
    dimensions = int(entry_of(name)["dimensions"])
    reference, network = empty(REFERENCES[dimensions]), empty(name)
    before, own, after = (costs(each, repeats=repeats) for each in (reference, network, reference))
    idle = entry_of(REFERENCES[dimensions])["cost"]
    forward, train = (2 * own[i] / (before[i] + after[i]) for i in (0, 1))
    return forward * idle["forward"], train * idle["train"]


def costs(network: Network, *, repeats: int = REPEATS) -> tuple[float, float]:
    """Return the seconds of one core that a crop takes, to predict and to train on."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
    dimensions = int(network.entry["dimensions"])
    channels = 3 if dimensions == 2 else int(network.entry.get("in_channels", 1))
    crops = torch.randint(0, 256, (BATCH, channels, *(SIZES[dimensions],) * dimensions), dtype=torch.uint8)
    crops = crops.contiguous(memory_format=memory_order(crops))

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
    parser.add_argument("--dimensions", type=int, choices=(2, 3), default=2)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args(argv)
