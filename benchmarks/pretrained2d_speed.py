"""What is around the network's own arithmetic: embedding, a second head, a training step, memory.

    python -m benchmarks pretrained2d_speed [--cases 780] [--threads 2] [--out FOLDER]

Each figure is a ratio to bare torch on the same network, crops and threads. Bare embedding starts from crops in memory
and takes the faster of batches of 32 and single crops on threads; ours starts from the files and ends in the cache. A
bare training step is forward, backward and AdamW; ours augments, clips, weighs classes and watches for divergence too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Fingerprint, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.families.contract import Config, FitContext, Runtime
from autoonco.families.networks import picture_spec
from autoonco.families.pretrained2d import family
from autoonco.families.training_space import recipe_of
from autoonco.nets.builders import build_2d
from autoonco.nets.embeddings import embed, torch_threads, weights_id
from autoonco.nets.inputs import InputSpec, crops
from autoonco.nets.training import train
from benchmarks.memory import status_kb

SHARED = Path(os.environ.get("AUTOONCO_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
NETWORK = "tf_efficientnet_lite0"
SIZE, BATCH = 224, 32
REPEATS = 3
"""Ours and bare take turns so often; the fastest of each counts, so that other work on the machine counts little."""
EPOCHS = (1, 3)
"""A training step is timed as the difference of these: what happens once a training is no step."""
STEP_CASES = 96


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A line of the table: seconds of ours and of bare torch, wall and CPU."""

    what: str
    ours_s: float
    bare_s: float
    ours_cpu_s: float
    bare_cpu_s: float

    @property
    def ratio(self) -> float:
        """Ours over bare, wall."""
        return self.ours_s / self.bare_s

    @property
    def cpu_ratio(self) -> float:
        """Ours over bare, CPU seconds."""
        return self.ours_cpu_s / self.bare_cpu_s


def main(arguments: Sequence[str]) -> None:
    """Print a Markdown table and the seconds of a second head; write the table to ``speed.csv`` where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=780)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--alone", choices=("ours", "bare"), help="embed once, print the peak memory in kB")
    options = parser.parse_args(arguments)
    data = busi(options.cases).unlabelled()
    with tempfile.TemporaryDirectory() as folder:
        if options.alone:
            _alone(options.alone, data, Path(folder), n_threads=options.threads)
            return
        figures = [embedding(data, Path(folder), n_threads=options.threads), training_step(data)]
    table = as_table(figures)
    print(to_markdown(table))
    second_head(options.cases, n_threads=options.threads)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out / "speed.csv", index=False)
    if not options.no_memory:
        memory(options.cases, options.threads)


def busi(n: int) -> Dataset:
    """Return `n` breast lesions spread over the manifest, which is sorted by class."""
    data = Dataset.from_csv(SHARED / "busi" / "labels.csv")
    return data.subset(np.unique(np.linspace(0, len(data) - 1, n).round().astype(int)))


def as_table(figures: Sequence[Figure]) -> pd.DataFrame:
    """Return a row a figure."""
    return pd.DataFrame(
        [
            {
                "what": one.what,
                "ours_s": one.ours_s,
                "bare_s": one.bare_s,
                "ratio": one.ratio,
                "ours_cpu_s": one.ours_cpu_s,
                "bare_cpu_s": one.bare_cpu_s,
                "cpu_ratio": one.cpu_ratio,
            }
            for one in figures
        ]
    )


def to_markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown, numbers with three digits after the point."""
    rows = [list(table.columns), ["---"] * len(table.columns)]
    rows += [
        [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in table.itertuples(index=False)
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def timed(job: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of this process for `job`."""
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(what: str, ours: Callable[[], object], bares: Sequence[Callable[[], object]]) -> Figure:
    """Return the fastest of `REPEATS` of ours and of any of `bares`, in wall and in CPU seconds."""
    mine, theirs = [], []
    for _ in range(REPEATS):
        mine.append(timed(ours))
        theirs += [timed(bare) for bare in bares]
    (ours_s, ours_cpu_s), (bare_s, bare_cpu_s) = np.min(mine, axis=0), np.min(theirs, axis=0)
    return Figure(
        what=what,
        ours_s=float(ours_s),
        bare_s=float(bare_s),
        ours_cpu_s=float(ours_cpu_s),
        bare_cpu_s=float(bare_cpu_s),
    )


def _fingerprint(data: Dataset) -> Fingerprint:
    return fingerprint(data, inspect(data, n_jobs=1))


def _spec(data: Dataset, size: int = SIZE) -> InputSpec:
    return picture_spec({"size": size}, _fingerprint(data))


def embedding(data: Dataset, folder: Path, *, n_threads: int) -> Figure:
    """Return the seconds from files to stored embeddings, beside those of bare forward passes of ready crops."""
    network, spec = build_2d(NETWORK, n_classes=0, pretrained=True).eval(), _spec(data)
    name = f"{NETWORK}:{weights_id(network)}"
    ready = torch.from_numpy(crops(data.cases, spec, None, n_threads=n_threads)).float() / 255
    ready = ready.contiguous(memory_format=torch.channels_last)
    numbers = iter(range(REPEATS))

    def ours() -> None:
        cache = ArtefactCache(folder / str(next(numbers)))
        embed(data.cases, network, spec, cache, network_id=name, device="cpu", n_threads=n_threads)

    def in_batches() -> None:
        with torch_threads(n_threads), torch.inference_mode():
            for batch in ready.split(BATCH):
                network(batch)

    def one_by_one() -> None:
        def run(crop: torch.Tensor) -> None:
            with torch.inference_mode():
                network(crop)

        with torch_threads(1), ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(run, ready.split(1)))

    return in_turns(f"embedding {len(data)} images", ours, [in_batches, one_by_one])


def training_step(data: Dataset, size: int = 128) -> Figure:
    """Return the seconds of a step of our training beside one of a plain loop, on one thread."""
    spec = _spec(data, size)
    data = data.subset(np.arange(len(data)) < STEP_CASES)
    pictures, y = crops(data.cases, spec, None), np.arange(len(data)) % 2
    n_steps = (EPOCHS[1] - EPOCHS[0]) * (len(data) // BATCH)
    config = {"epochs": EPOCHS[1], **_training_defaults()}
    recipe = replace(recipe_of(config), batch_size=BATCH)

    def ours(epochs: int) -> None:
        network = build_2d(NETWORK, n_classes=2)
        train(
            network,
            pictures,
            y,
            recipe,
            n_classes=2,
            n_image_channels=3,
            until_epoch=epochs,
            seed=0,
            n_threads=1,
        )

    def bare(epochs: int) -> None:
        _plain_loop(torch.from_numpy(pictures), torch.from_numpy(y), epochs)

    spans = [in_turns("", lambda n=n: ours(n), [lambda n=n: bare(n)]) for n in EPOCHS]  # type: ignore[misc]
    short, long = spans
    return Figure(
        what=f"training step, {BATCH} images of {size} px",
        ours_s=(long.ours_s - short.ours_s) / n_steps,
        bare_s=(long.bare_s - short.bare_s) / n_steps,
        ours_cpu_s=(long.ours_cpu_s - short.ours_cpu_s) / n_steps,
        bare_cpu_s=(long.bare_cpu_s - short.bare_cpu_s) / n_steps,
    )


def _training_defaults() -> Config:
    """Return the default training of the family, without early stopping or mixing, which a plain loop hasn't."""
    from autoonco.resources import load_space

    found: dict[str, str | int | float | bool] = {}
    for name in ("training", "augmentation"):
        defaults = load_space(name).get_default_configuration()
        found |= {f"{name}:{key}": value for key, value in dict(defaults).items()}
    return found


def _plain_loop(pictures: torch.Tensor, y: torch.Tensor, epochs: int) -> None:
    network = build_2d(NETWORK, n_classes=2).train()
    optimizer = torch.optim.AdamW(network.parameters())
    with torch_threads(1):
        for _ in range(epochs):
            for rows in torch.randperm(len(y)).split(BATCH):
                batch = pictures[rows].contiguous(memory_format=torch.channels_last)
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(batch), y[rows]).backward()
                optimizer.step()


def second_head(n_cases: int, *, n_threads: int) -> tuple[float, float]:
    """Print and return the seconds of a first config, and of a second one on the same embeddings."""
    data = busi(n_cases)
    assert data.y is not None
    known = _fingerprint(data)
    first = dict(family.defaults(known)[0])
    second = first | {"head:logistic_regression:C": 0.2}
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime(artefacts=ArtefactCache(Path(folder)), n_threads=n_threads)
        context = FitContext(runtime=runtime, fingerprint=known, seed=0)
        seconds = []
        for config in (first, second):
            fidelity = family.plan(config, 1.0, inner_folds=5, n_train=len(data))
            job = lambda c=config, f=fidelity: family.fit(c, data.cases, data.y, fidelity=f, context=context)  # type: ignore[misc] # noqa: E731
            seconds.append(timed(job)[0])
    print(f"first config {seconds[0]:.2f} s, second on the same embeddings {seconds[1]:.2f} s", flush=True)
    return seconds[0], seconds[1]


def memory(n_cases: int, n_threads: int) -> None:
    """Print the peak resident memory of a process that embeds, ours and bare."""
    for who in ("ours", "bare"):
        command = [sys.executable, "-m", "benchmarks", "pretrained2d_speed", "--alone", who]
        command += ["--cases", str(n_cases), "--threads", str(n_threads)]
        found = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
        )
        before, peak = (int(word) / 1024 for word in found.stdout.split()[-2:])
        print(f"memory of {who}: {before:.0f} MB after imports, {peak:.0f} MB at the peak", flush=True)


def _alone(who: str, data: Dataset, folder: Path, *, n_threads: int) -> None:
    """Embed once in this process and print resident kB before, and at the peak."""
    network, spec = build_2d(NETWORK, n_classes=0, pretrained=True).eval(), _spec(data)
    before = status_kb("VmRSS")
    if who == "ours":
        cache = ArtefactCache(folder)
        embed(data.cases, network, spec, cache, network_id="x", device="cpu", n_threads=n_threads)
    else:
        with torch_threads(n_threads), torch.inference_mode():
            for start in range(0, len(data), BATCH):
                network(torch.from_numpy(crops(data.cases[start : start + BATCH], spec, None)))
    print(before, status_kb("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1:])
