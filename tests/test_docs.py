"""The documentation says what is so: links lead somewhere, code runs in the order of its pages' blocks.

That the site builds without a warning is a step of its own: ``make site``.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

import autoonco
from autoonco.data.phantoms import make_phantoms
from tests.test_house import ORDER

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.M | re.S)
SNIPPET = re.compile(r'^--8<-- "(?P<path>[^"]+)"\n', re.M)
# What runs here, what is a file to write, and what is for other machines (clusters, hospitals) or no code.
RUN, FILES, REST = ("python", "sh"), ("python", "toml", "yaml"), ("console", "text")
COMMAND = re.compile(r"(?P<variable>[A-Z_]+=\S+ )?autoonco ")
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<text>.+)$", re.M)
NAMED = re.compile(
    r"`(?P<path>(?:autoonco|benchmarks|containers|docs|examples|reports|spaces|tests|zoo|\.ci|\.github)/[\w./*<>-]*)`"
)
TEXTS = [*PAGES, *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY"))]
LIMIT = "40s"
"""Every time limit in the pages becomes this one."""


@dataclass(frozen=True)
class Block:
    kind: str
    title: str | None
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page; a line that takes in a file becomes that file, as in the site."""
    text = SNIPPET.sub(
        lambda m: (ROOT / m["path"]).read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    )
    found = FENCE.finditer(text)
    return [Block(kind=m["kind"], title=m["title"], text=m["text"]) for m in found]


def in_a_hurry(text: str) -> str:
    text = re.sub(r'time_limit="[^"]+"', f'time_limit="{LIMIT}"', text)
    return re.sub(r"--time-limit \S+", f"--time-limit {LIMIT}", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_are_of_a_kind_that_is_dealt_with(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks(page)), "a fence that is not understood"
    for block in blocks(page):
        assert block.kind in (RUN if block.title is None else FILES) + REST
        if block.kind == "sh":
            assert all(COMMAND.match(line) for line in block.text.splitlines() if line)


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f": {page.name}" not in text] == []


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^::: autoonco\.(?:\w+\.)*(\w+)$", text, flags=re.M))
    assert set(autoonco.__all__) - {"AutoOncoError"} <= told  # which is in `errors`, told as a whole
    assert "errors" in told


def test_the_map_names_every_part_of_the_house_in_its_order():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    house = text.partition("## The house")[2].partition("\n## ")[0]
    parts = {path.stem for path in (ROOT / "autoonco").iterdir() if path.suffix == ".py" or path.is_dir()}
    told = set(re.findall(r"^ +(\w+)(?:\.py|/) ", house, flags=re.M)) | set(re.findall(r"(\w+)\.py ", house))
    assert {name for name in parts - told if not name.startswith("__")} == set()
    (line,) = re.findall(r"^    (errors ◁ .+)$", house, flags=re.M)
    order = [set(step.split(", ")) for step in line.split(" ◁ ")]
    assert order == [set(step) for step in ORDER if not step[0].startswith("__")]


def without_code(path: Path) -> str:
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """Return what the headings of a page may be reached by, in the site as on GitHub."""
    titles = [m["text"].replace("`", "").lower() for m in HEADING.finditer(without_code(path))]
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title).strip()) for title in titles}


def dead_links(path: Path) -> list[str]:
    """Return the links of a page that lead to no file or no heading; the internet is not asked."""
    dead = []
    for link in LINK.finditer(without_code(path)):
        target, _, anchor = link["target"].partition("#")
        if target.startswith(("https://", "mailto:")):
            continue
        there = (path.parent / target).resolve() if target else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(link["target"])
        elif path.parent.name == "docs" and not there.is_relative_to(ROOT / "docs"):
            dead.append(f"{link['target']} is outside of the site")
    return dead


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    assert dead_links(path) == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_files_that_are_named_are_there(path):
    named = {re.sub(r"<[^>]*>", "*", m["path"]).strip("/") for m in NAMED.finditer(without_code(path))}
    assert [name for name in sorted(named) if not any(ROOT.glob(name))] == []


def test_dead_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c\n[1](#a-b-c) [2](#nope) [3](gone.md) [4](page.md#x)", encoding="utf-8")
    assert dead_links(page) == ["#nope", "gone.md", "page.md#x"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with what the pages speak of: manifests of made-up pictures, and a run."""
    folder = tmp_path_factory.mktemp("docs")
    make_phantoms(folder, n=60, ndim=2, seed=3)
    table = pd.read_csv(folder / "manifest.csv")
    table.to_csv(folder / "data.csv", index=False)
    table.drop(columns="label").iloc[:5].to_csv(folder / "new.csv", index=False)
    names = {"image": "scan", "mask": "roi", "label": "diagnosis"}
    table.assign(age=50 + table.index % 30, sex="f").rename(columns=names).to_csv(
        folder / "clinic.csv", index=False
    )
    other_ways(folder, table)
    call(folder, f"autoonco fit data.csv --time-limit {LIMIT} --families radiomics -o run")
    return folder


def other_ways(folder: Path, table: pd.DataFrame) -> None:
    """Write what `data.md` reads without a manifest: folders of classes, DICOM, nnU-Net, MedMNIST."""
    for row in table.iloc[:12].itertuples():
        target = folder / "lesions" / row.label
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / row.image, target / f"{row.case}.png")
        shutil.copy(folder / row.mask, target / f"{row.case}_mask.png")
    volumes = make_phantoms(folder / "volumes", n=24, ndim=3)
    whole = pd.read_csv(volumes)
    whole.assign(image="volumes/" + whole.image, mask="volumes/" + whole["mask"]).to_csv(
        folder / "volumes.csv", index=False
    )
    scans = whole.iloc[:6]
    example = runpy.run_path(str(ROOT / "examples" / "dicom_folder.py"))
    for part in ("imagesTr", "labelsTr"):
        (folder / "nnunet" / part).mkdir(parents=True)
    for row in scans.itertuples():
        scan = sitk.ReadImage(str(volumes.parent / row.image))
        example["write_series"](scan, folder / "studies" / row.case, row.patient)
        shutil.copy(volumes.parent / row.image, folder / "nnunet" / "imagesTr" / f"{row.case}_0000.nii.gz")
        shutil.copy(volumes.parent / row.mask, folder / "nnunet" / "labelsTr" / f"{row.case}.nii.gz")
        structures = folder / "totalseg" / row.case / "segmentations"
        structures.mkdir(parents=True)
        shutil.copy(volumes.parent / row.image, structures.parent / "ct.nii.gz")
        shutil.copy(volumes.parent / row.mask, structures / "liver_tumor.nii.gz")
        empty = sitk.ReadImage(str(volumes.parent / row.mask)) * 0
        sitk.WriteImage(empty, str(structures / "liver_cyst.nii.gz"))
    scans[["patient", "label"]].to_csv(folder / "labels.csv", index=False)
    for part in ("nnunet", "totalseg"):
        scans[["case", "label"]].to_csv(folder / part / "labels.csv", index=False)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumour": 1},
        "file_ending": ".nii.gz",
    }
    (folder / "nnunet" / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    rng, sizes = np.random.default_rng(0), {"train": 12, "val": 4, "test": 4}
    arrays = {
        f"{part}_images": rng.integers(0, 255, (n, 28, 28)).astype(np.uint8) for part, n in sizes.items()
    }
    arrays |= {f"{part}_labels": (np.arange(n) % 2)[:, None] for part, n in sizes.items()}
    (folder / "mnist").mkdir()
    np.savez(folder / "mnist" / "madeupmnist.npz", **arrays)


def call(folder: Path, line: str) -> None:
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words[: words.index("autoonco")])
    command = [str(Path(sys.executable).with_name("autoonco")), *words[len(variables) + 1 :]]
    execute(folder, command, line, variables)


def execute(folder: Path, command: list[str], what: str, variables: Mapping[str, str] | None = None) -> None:
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": paths, **(variables or {})},
    )
    assert done.returncode == 0, f"{what}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def write(folder: Path, block: Block) -> None:
    """Write a block's file; a project's table is installed as pip would install it: by its entry points."""
    assert block.title is not None
    target = folder / block.title
    target.parent.mkdir(exist_ok=True)
    target.write_text(block.text, encoding="utf-8")
    if block.title == "pyproject.toml":
        import tomllib

        project = tomllib.loads(block.text)["project"]
        info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(exist_ok=True)
        header = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(header, encoding="utf-8")
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs(page, workplace):
    found = blocks(page)
    if page.stem == "index":  # a newcomer has no run yet
        shutil.rmtree(workplace / "run")
    for block in found:
        if block.title is not None:
            write(workplace, block)
    done = ""  # the Python blocks of a page go on from each other
    for number, block in enumerate(found):
        if block.title is not None or block.kind not in RUN:
            continue
        text = in_a_hurry(block.text)
        if block.kind == "sh":
            for line in filter(None, text.splitlines()):
                call(workplace, line.partition("#")[0])
        else:
            script = workplace / f"{page.stem}_{number}.py"
            script.write_text(done + text, encoding="utf-8")
            execute(workplace, [sys.executable, "-W", "error:::autoonco", str(script)], textwrap.dedent(text))
            done += text if "fit(" not in text else "import autoonco\n"
