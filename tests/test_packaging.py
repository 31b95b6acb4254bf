"""What is on disk is what is packed, and what is packed works where the repository is not."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import autoonco
from autoonco.resources import load_zoo

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
DATA_FOLDERS = ("spaces", "zoo", "reports")


def folders_with_code() -> set[str]:
    """Return the dotted names of the folders of the engine, and of the data folders as they are mapped."""
    engine = {path.parent.relative_to(ROOT) for path in (ROOT / "autoonco").rglob("*.py")}
    return {".".join(folder.parts) for folder in engine} | {f"autoonco.{name}" for name in DATA_FOLDERS}


def folder_of(package: str) -> Path:
    mapped: str = SETUPTOOLS["package-dir"].get(package, package.replace(".", "/"))
    return ROOT / mapped


def data_files() -> dict[Path, str]:
    """Return every file of the packages that is not Python, with the package it belongs to."""
    return {
        path: package
        for package in SETUPTOOLS["packages"]
        for path in files_of(folder_of(package))
        if path.suffix not in (".py", ".pyc", ".nbi", ".nbc")
    }


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files of a package, those in folders of it that are no packages themselves among them."""
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.name != "__pycache__" and not (path / "__init__.py").exists():
            yield from files_of(path)


def requirements(*extras: str) -> list[Requirement]:
    project = PYPROJECT["project"]
    lines = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in project["dependencies"] + lines]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_packages_are_the_folders_on_disk() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders_with_code())


def test_every_package_is_importable_as_a_package() -> None:
    for package in SETUPTOOLS["packages"]:
        assert (folder_of(package) / "__init__.py").is_file(), f"{package} has no __init__.py"


def test_every_data_file_is_packed() -> None:
    globs = SETUPTOOLS["package-data"]
    unpacked = [path for path, name in data_files().items() if not any(map(path.match, globs.get(name, ())))]
    assert data_files()
    assert not unpacked, f"no package-data pattern takes {unpacked}"


@pytest.mark.parametrize(
    "requirement", requirements(*PYPROJECT["project"]["optional-dependencies"]), ids=lambda item: item.name
)
def test_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    pin = pins().get(canonicalize_name(requirement.name))
    assert pin is not None, f"constraints.txt does not name {requirement.name}"
    assert requirement.specifier.contains(pin), f"{requirement} does not allow the tested {pin}"


def extras() -> set[str]:
    return set(PYPROJECT["project"]["optional-dependencies"])


def test_extras_that_messages_and_pages_name_exist() -> None:
    texts = [*(ROOT / "autoonco").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    named = {
        (path.name, extra.strip())
        for path in texts
        for found in re.findall(r"(?:autoonco|\.)\[([a-z, ]+)\]'", path.read_text(encoding="utf-8"))
        for extra in found.split(",")
    }
    assert len(named) >= 4
    assert {name for name in named if name[1] not in extras()} == set()


def test_start_here_tells_every_extra_for_users() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| .*\|$", text, flags=re.M)) >= extras() - {"dev"}


def test_version_is_told_once() -> None:
    version = PYPROJECT["project"]["version"]
    assert importlib.metadata.version("autoonco") == autoonco.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_containers_take_in_what_a_build_needs() -> None:
    docker = (ROOT / "containers" / "Dockerfile").read_text(encoding="utf-8")
    apptainer = (ROOT / "containers" / "autoonco.def").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", docker, flags=re.M) for name in line.split()}
    listed = set(re.findall(r"^    (\S+) /src/\1$", apptainer, flags=re.M))
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert ignore.splitlines()[1] == "*"
    let_in = set(re.findall(r"^!(\S+)$", ignore, flags=re.M))
    needed = {"autoonco", *DATA_FOLDERS, "pyproject.toml", "README.md", "LICENSE", "constraints.txt"}
    assert copied == listed == let_in == needed
    assert all((ROOT / name).exists() for name in needed)
    for text in (docker, apptainer):
        (line,) = re.findall(r'EXTRAS="?([\w,]+)', text)
        assert set(line.split(",")) <= extras()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, so that neither the tree nor an old build/ is touched."""
    pytest.importorskip(
        "setuptools", minversion="77", reason="needs setuptools >= 77 to build without a download"
    )
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("autoonco", *DATA_FOLDERS):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(out), str(source)], check=True, capture_output=True, text=True)
    (built,) = out.glob("*.whl")
    return built


def test_wheel_holds_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    code = {path for folder in ("autoonco", *DATA_FOLDERS) for path in (ROOT / folder).rglob("*.py")}
    names = {path: path.relative_to(ROOT).as_posix() for path in code | data_files().keys()}
    expected = {name if name.startswith("autoonco/") else f"autoonco/{name}" for name in names.values()}
    assert expected <= packed, f"missing in the wheel: {sorted(expected - packed)}"
    stray = {name for name in packed - expected if ".dist-info/" not in name}
    assert not stray, f"in the wheel by accident: {sorted(stray)}"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in packed)


# Site is not run (-S), so the .pth file of an editable install is not read and cannot stand in for the wheel.
PROBE = """
import json, sys
sys.path[:0] = [sys.argv[1]]
sys.path.append(sys.argv[2])
import autoonco
from autoonco.families import all_families
from autoonco.resources import load_zoo
print(json.dumps({"file": autoonco.__file__, "zoo": load_zoo(), "families": sorted(all_families())}))
"""


def test_wheel_works_away_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            archive.extract(name, unpacked)
    command = [sys.executable, "-I", "-S", "-c", PROBE, str(unpacked), sysconfig.get_path("purelib")]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert Path(told["file"]).is_relative_to(unpacked)
    assert told["zoo"] == json.loads(json.dumps(load_zoo()))
    assert {"radiomics", "pretrained2d", "volumetric3d"} <= set(told["families"])
