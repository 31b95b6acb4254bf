"""How much the artefact cache saves: the same crops and features of all cases made, then found.

    python -m benchmarks preprocessing ../shared/data/lidc3d/labels.csv

The second use is that of a new process: it hashes every file again, and knows nothing of the first but its folder.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from autoonco.data.cache import ArtefactCache, _bytes_hash
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Fingerprint, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.preprocessing import SliceView, VolumeView
from autoonco.families import get_family
from autoonco.features import blocks
from autoonco.features.blocks import extract_table
from autoonco.features.choices import spec_of
from autoonco.nets.inputs import InputSpec, crops

BAR = 20.0


def works(dataset: Dataset, known: Fingerprint) -> dict[str, Callable[[ArtefactCache], object]]:
    """Return what the families ask of a case before they learn: crops of volume and slice, and radiomic features."""
    views = {
        "crop of 64³ voxels": VolumeView(size=64, focus="lesion"),
        "slice of 224² pixels": SliceView(size=224, focus="lesion", use_mask=True),
    }
    specs = {
        name: InputSpec(intensity=known.intensity, view=view, ndim=known.ndim) for name, view in views.items()
    }
    radiomics = spec_of(get_family("radiomics").defaults(known)[0], known)
    found: dict[str, Callable[[ArtefactCache], object]] = {
        name: lambda cache, spec=spec: crops(dataset.cases, spec, cache) for name, spec in specs.items()
    }
    return found | {
        "radiomic features": lambda cache: extract_table(dataset.cases, radiomics, artefacts=cache)
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks preprocessing", description=__doc__)
    parser.add_argument("data", type=Path, help="manifest with masks")
    parser.add_argument("--n", type=int, default=None, help="only so many cases")
    given = parser.parse_args(arguments)
    dataset = Dataset.from_csv(given.data)
    dataset = dataset.subset(range(min(len(dataset), given.n or len(dataset))))
    known = fingerprint(dataset, inspect(dataset))
    slowest = float("inf")
    print(f"{len(dataset)} cases, one thread\n")
    print("| what | first (s) | second (s) | times faster |\n| --- | --- | --- | --- |")
    for name, work in works(dataset, known).items():
        with tempfile.TemporaryDirectory() as folder:
            seconds = []
            for _ in range(2):
                for kept in (_bytes_hash, blocks._stored, blocks._stored_row):
                    kept.cache_clear()
                started = time.perf_counter()
                work(ArtefactCache(Path(folder), files_rest=True))
                seconds.append(time.perf_counter() - started)
        slowest = min(slowest, seconds[0] / seconds[1])
        print(f"| {name} | {seconds[0]:.2f} | {seconds[1]:.3f} | {seconds[0] / seconds[1]:.0f} |", flush=True)
    print(
        f"\nBar: {BAR:.0f} times faster; the least gain is {slowest:.0f}: {'kept' if slowest >= BAR else 'MISSED'}."
    )
