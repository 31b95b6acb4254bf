"""Seeded damage to whole files, read in a process of its own: what is told, what is read, and what must not happen.

    python -m benchmarks fuzz --n 2400

A fifth each of NIfTI, NRRD and MetaImage, pictures, DICOM, and model files. Each file is damaged at one to three
random places: a bit flipped, bytes overwritten, a piece cut out, a piece doubled, a number in the first bytes replaced
by an extreme one, or the end cut off; every other model file is damaged inside, its hashes fit. A crash, a hang or
an exception that has no name of ours is a failure.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from autoonco.archive import MANIFEST
from autoonco.errors import AutoOncoError
from benchmarks.originals import PACKED, write

KINDS = {
    "NIfTI": ("nii", "nii.gz"),
    "NRRD, MetaImage": ("nrrd", "gzip.nrrd", "mha", "zlib.mha"),
    "pictures": ("png", "jpg", "bmp", "tif"),
    "DICOM": ("dcm", *PACKED),
    "model files": ("onco",),
}
READER = "from benchmarks.fuzz import _read_all; _read_all()"
SECONDS, MEMORY = 30, 6 * 2**30
EXTREMES = (
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\x00\x00\x00\x00",
    b"\x00\x00\xc0\x7f",
    b"\x00\x00\x80\x7f",
)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return `data` damaged in one to three places."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at, size = chance.randrange(len(found)), chance.randint(1, 64)
        match chance.randrange(6):
            case 0:
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                found[at : at + size] = chance.randbytes(len(found[at : at + size]))
            case 2:
                del found[at : at + size]
            case 3:
                found[at:at] = found[at : at + size]
            case 4:
                place = chance.randrange(min(len(found), 512))
                found[place : place + 4] = chance.choice(EXTREMES)
            case 5:
                del found[at:]
        if len(found) < 2:
            break
    return bytes(found)


def damaged_inside(data: bytes, chance: random.Random) -> bytes:
    """Return a model file one of whose members is damaged and whose hashes are right: made by someone who means it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    victim = chance.choice(sorted(files))
    files[victim] = damaged(files[victim], chance)
    try:
        manifest = json.loads(files[MANIFEST])
        manifest["sha256"] = {n: hashlib.sha256(files[n]).hexdigest() for n in files if n != MANIFEST}
        files[MANIFEST] = json.dumps(manifest).encode()
    except (ValueError, TypeError):
        pass  # the manifest was the victim
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def model_file(folder: Path) -> Path:
    """Write a small model file: a fitted pipeline of clinical columns."""
    import numpy as np

    from autoonco.bundle import Content, write_bundle
    from autoonco.data.cache import ArtefactCache
    from autoonco.data.case import Case
    from autoonco.data.checks import inspect
    from autoonco.data.fingerprint import fingerprint
    from autoonco.data.manifest import Dataset
    from autoonco.families import get_family
    from autoonco.families.contract import FitContext, Runtime
    from autoonco.families.state import write_state

    rng = np.random.default_rng(0)
    image = write(folder, "png")
    cases = tuple(
        Case(case=str(i), patient=str(i), images={"image": image}, clinical={"age": age}, row=i + 1)
        for i, age in enumerate(rng.normal(50 + 20 * (np.arange(40) % 2)).tolist())
    )
    data = Dataset(cases=cases, classes=("no", "yes"), y=np.arange(40) % 2, clinical=("age",))
    known = fingerprint(data, inspect(data))
    family = get_family("clinical")
    config = family.defaults(known)[0]
    fidelity = family.plan(config, 1.0, inner_folds=5, n_train=40)
    context = FitContext(
        runtime=Runtime(artefacts=ArtefactCache(folder / "cache")), fingerprint=known, seed=0
    )
    model = family.fit(config, cases, data.y, fidelity=fidelity, context=context)
    write_state(folder / "state", model.state())
    members = [("clinical", 1.0, folder / "state")]
    path = folder / "whole.onco"
    write_bundle(path, Content(members=members, classes=data.classes, fingerprint=known, facts={}))
    return path


def outcome(path: Path) -> str:
    """Read a file as a user would; return ``told: NAME`` for an error of ours, or a hash of what was read."""
    try:
        if path.suffix == ".onco":
            import autoonco

            return f"read: {autoonco.load(path, device='cpu').classes_.tolist()}"
        from autoonco.data.case import Case
        from autoonco.data.facts import _measure
        from autoonco.data.readers import read_scan

        case = Case(case="x", patient="x", images={"image": path}, row=1)
        return f"read: {_measure(read_scan(case, 'image')).content}"
    except AutoOncoError as error:
        return f"told: {type(error).__name__}"
    except MemoryError:
        return "told: MemoryError"


def _read_all() -> None:
    """Read what standard input names, a line a file, and say what came of it."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        print(json.dumps({"path": line.strip(), "outcome": _tried(Path(line.strip()))}), flush=True)


def _tried(path: Path) -> str:
    try:
        return outcome(path)
    except Exception as error:
        return f"FAILURE: {type(error).__name__}: {error}"[:300]


def run(paths: list[Path]) -> dict[Path, str]:
    """Return what came of each file; the process is started anew after a crash or a hang, which are written down."""
    found: dict[Path, str] = {}
    left = list(paths)
    while left:
        process = subprocess.Popen(
            [sys.executable, "-c", READER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
        limit_s = 10 * SECONDS  # the first answer waits for the imports
        while left:
            line, limit_s = _answer(process, left[0], limit_s), SECONDS
            if line is None:
                found[left.pop(0)] = "FAILURE: the process crashed or hung"
                break
            found[left.pop(0)] = json.loads(line)["outcome"]
        process.kill()
        process.wait()
    return found


def _answer(process: subprocess.Popen[str], path: Path, limit_s: float) -> str | None:
    """Return what a process says of a file, None where it died or says nothing within the limit."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        print(path, file=process.stdin, flush=True)
    except BrokenPipeError:
        return None
    ready, _, _ = select.select([process.stdout], [], [], limit_s)
    return (process.stdout.readline() or None) if ready else None


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="folder for the files that failed")
    given = parser.parse_args(arguments)
    started, failures = time.monotonic(), 0
    print("| format | files | told by name | read, the pixels whole | read, others | failures |")
    print("| --- | --- | --- | --- | --- | --- |")
    reasons: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for kind, suffixes in KINDS.items():
            counts, bad = _fuzz(Path(name) / kind[:4], suffixes, given.n // len(KINDS), given.seed, reasons)
            failures += len(bad)
            for path, text in bad:
                print(f"{path.name}: {text}", file=sys.stderr)
                if given.keep is not None:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, given.keep / path.name)
            row = [counts[what] for what in ("files", "told", "whole", "other")]
            print(f"| {kind} | {' | '.join(map(str, row))} | {len(bad)} |", flush=True)
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    print(f"\nNames: {told}. {time.monotonic() - started:.0f} s, seed {given.seed}.")
    if failures:
        sys.exit(f"{failures} failures")


def _fuzz(
    folder: Path, suffixes: tuple[str, ...], n: int, seed: int, reasons: Counter[str]
) -> tuple[dict[str, int], list[tuple[Path, str]]]:
    make: Callable[[Path, str], Path] = lambda where, suffix: (  # noqa: E731 - one of two ways
        model_file(where) if suffix == "onco" else write(where, suffix)
    )
    whole = {suffix: make(folder / "whole" / suffix, suffix) for suffix in suffixes}
    originals = {suffix: path.read_bytes() for suffix, path in whole.items()}
    chance = random.Random(f"{seed}{suffixes}")
    paths = list(whole.values())
    for number in range(n):
        suffix = suffixes[number % len(suffixes)]
        path = folder / f"{number}.{suffix}"
        way = damaged_inside if suffix == "onco" and number % 2 else damaged
        path.write_bytes(way(originals[suffix], chance))
        paths.append(path)
    found = run(paths)
    intact = {suffix: found.pop(path) for suffix, path in whole.items()}
    assert all(text.startswith("read") for text in intact.values()), intact
    counts: dict[str, int] = defaultdict(int, files=n)
    for path, text in found.items():
        if text.startswith("told"):
            reasons[text.removeprefix("told: ")] += 1
            counts["told"] += 1
        elif text.startswith("read"):
            counts["whole" if text == intact[path.name.partition(".")[2]] else "other"] += 1
    return counts, [(path, text) for path, text in found.items() if text.startswith("FAILURE")]
