"""The rules of the house, read from the sources: who may import whom, and what is never written.

Each rule is a function from a parsed module to the list of its violations, so that the tests can also feed it
a module that breaks the rule.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from autoonco.resources import load_space, load_zoo

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 350

# From the bottom up: a part imports from itself and from the rows above it, never from its own row or below.
ORDER = (
    ("errors",),
    ("settings", "resources"),
    ("data", "metrics"),
    ("features", "tabular"),
    ("nets",),  # frozen embeddings end in the learners of tabular; otherwise a neighbour of features
    ("families",),
    ("search",),
    ("evaluation",),
    ("archive", "card"),
    ("bundle", "prediction"),
    ("reporting",),
    ("terminal", "completing"),
    ("arguments", "options", "progress", "patient_prediction"),
    ("exporting",),
    ("predictor", "commands", "requests", "run_commands"),
    ("classifier",),
    ("export_command",),
    ("cli",),
    ("__init__", "__main__"),
)
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}
NEVER = {("nets", "features")}
DATA_PACKAGES = {"spaces", "zoo", "reports"}
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "monai",
    "skops",
}  # skops.io walks through scikit-learn and meets torch


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported name, dotted, with where it stands."""

    target: str
    line: int
    at_import_time: bool


def modules() -> list[Path]:
    return sorted((ROOT / "autoonco").rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(module: str) -> str:
    """Return the part of the house a dotted name belongs to: autoonco.data.case → data."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def dotted_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def is_type_checking(node: ast.If) -> bool:
    return ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"


def imports(tree: ast.AST, *, at_import_time: bool = True) -> Iterator[Import]:
    """Yield every import of a module: at the top, in functions, for types only, and through importlib."""
    for node in ast.iter_child_nodes(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            constants = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            names = [value for value in constants if isinstance(value, str)]
        line = getattr(node, "lineno", 0)
        yield from (Import(target=name, line=line, at_import_time=at_import_time) for name in names)
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(node, ast.If) and is_type_checking(node)
        )
        yield from imports(node, at_import_time=at_import_time and not later)


def order_violations(tree: ast.AST, path: str) -> list[str]:
    """Imports that go up the house or sideways; imports in functions and for types count too."""
    here = part_of(dotted_name(path))
    if here not in LEVEL:
        return [f"{path}: {here!r} has no place in ORDER"]
    found = []
    for item in imports(tree):
        where = f"{path}:{item.line}: {here} imports {item.target}"
        if item.target.startswith("."):
            found.append(f"{where}: write the whole name")
        elif item.target.split(".")[0] == "autoonco":
            there = part_of(item.target)
            if there in DATA_PACKAGES or there == here:
                continue
            if there not in LEVEL:
                found.append(f"{where}: only submodules may be imported from inside the package")
            elif LEVEL[there] >= LEVEL[here] or (here, there) in NEVER:
                found.append(f"{where}, which is not below it")
    return found


@cache
def sources() -> dict[str, ast.Module]:
    """Return the parsed modules of the engine by their dotted names."""
    return {dotted_name(relative(path)): ast.parse(path.read_text(encoding="utf-8")) for path in modules()}


def loaded_with(tree: ast.AST, known: Collection[str]) -> set[str]:
    """Return what is loaded together with a module: modules of `known`, and the top names of other packages."""
    found = set()
    for item in imports(tree):
        if item.at_import_time:
            parts = item.target.split(".")
            prefixes = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
            found |= {prefix for prefix in prefixes if prefix in known} or {parts[0]}
    return found


def way_to_torch(name: str, trees: Mapping[str, ast.AST], seen: set[str] | None = None) -> list[str]:
    """Return a chain of imports from module `name` to torch and its company that runs on import, or nothing.

    `seen` are modules that were looked at: what one leads to doesn't hang on how it was reached.
    """
    seen = {name} if seen is None else seen
    for target in sorted(loaded_with(trees[name], trees)):
        if target in HEAVY:
            return [name, target]
        if target in trees and target not in seen:
            seen.add(target)
            if rest := way_to_torch(target, trees, seen):
                return [name, *rest]
    return []


PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle"}
HARMLESS = {"pickle.UnpicklingError"}  # what torch.load raises for a file with more than tensors
FORBIDDEN_CALLS = {
    "eval", "exec", "joblib.dump", "joblib.load", "torch.save", "torch.jit.load", "torch.hub.load",
    "pandas.read_pickle", "yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all", "yaml.full_load_all",
}  # fmt: skip
FORBIDDEN_METHODS = {"extractall", "to_pickle"}


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(item.value) for item in call.keywords if item.arg == name), None)


def unsafe_call(call: ast.Call, name: str) -> bool:
    """Tell whether the call of the resolved `name` may run code or write a file that does when it is read."""
    if name in FORBIDDEN_CALLS or name.split(".")[0] in PICKLES:
        return True
    if isinstance(call.func, ast.Attribute) and call.func.attr in FORBIDDEN_METHODS:
        return True
    match name:
        case "torch.load":
            return keyword(call, "weights_only") != "True"
        case "yaml.load" | "yaml.load_all":
            loader = keyword(call, "Loader") or (ast.unparse(call.args[1]) if len(call.args) > 1 else "")
            return not re.search(r"\bC?SafeLoader$", loader)
        case "numpy.load":
            return keyword(call, "allow_pickle") not in (None, "False") or len(call.args) > 2
        case "numpy.save" | "numpy.savez" | "numpy.savez_compressed":
            return keyword(call, "allow_pickle") != "False"
    return False


def unsafe_constructs(tree: ast.AST, path: str) -> list[str]:
    """Pickle in any dress, code from strings, and archives unpacked by the names they bring."""
    aliases: dict[str, str] = {}
    found = [
        f"{path}:{item.line}: {item.target}"
        for item in imports(tree)
        if item.target.split(".")[0] in PICKLES and item.target not in HARMLESS
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {
                a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0]
                for a in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, dot, rest = ast.unparse(node.func).partition(".")
            name = aliases.get(head, head) + dot + rest
            if unsafe_call(node, name):
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return found


def untold(tree: ast.Module, path: str, n_lines: int) -> list[str]:
    """Modules without a docstring, or too long to say one thing."""
    found = [] if ast.get_docstring(tree) else [f"{path}: no docstring"]
    return found + ([f"{path}: {n_lines} lines, at most {MAX_LINES}"] if n_lines > MAX_LINES else [])


# The patterns are put together here so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w./~$}-])/(?:work|home|Users|root|mnt|srv|opt|media)/|\b[A-Z]:\\+Users\b")
REGISTRY_NAMES = (
    ("pypi", ".org"),
    ("python", "hosted.org"),
    ("registry", ".npmjs"),
    ("download", ".pytorch.org"),
    ("anaconda", ".org"),
    ("crates", ".io"),
    ("proxy", ".golang"),
    ("ghcr", ".io"),
    ("docker", ".io"),
    ("-", "-index-url"),
    ("-", "-extra-index"),
)
REGISTRY = re.compile("|".join(re.escape(first + second) for first, second in REGISTRY_NAMES))


def leaks(text: str, path: str) -> list[str]:
    """Paths of one machine, and hosts of package registries: which one serves is for the user to say."""
    return [
        f"{path}:{number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), start=1)
        for pattern in (MACHINE_PATH, REGISTRY)
        if (match := pattern.search(line))
    ]


def tracked_files() -> list[Path]:
    """Return the files that git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the tracked files are unknown without git: {error}")
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_module_keeps_the_house_rules(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree, name = ast.parse(text), relative(path)
    found = (
        order_violations(tree, name) + unsafe_constructs(tree, name) + untold(tree, name, text.count("\n"))
    )
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "autoonco/families").glob("*.py")), ids=lambda path: path.stem
)
def test_listing_a_family_needs_no_torch(path: Path) -> None:
    chain = way_to_torch(dotted_name(relative(path)), sources())
    assert not chain, f"{' imports '.join(chain)} on import; import it in the function that needs it"


def test_every_part_of_the_house_exists() -> None:
    parts = {
        path.stem
        for path in (ROOT / "autoonco").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert parts <= set(LEVEL), f"without a place in ORDER: {parts - set(LEVEL)}"
    assert set(LEVEL) - {"__main__"} <= parts, f"in ORDER but not there: {set(LEVEL) - parts}"


def test_tracked_files_name_no_machine_and_no_registry() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += leaks(text, relative(path))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", sorted((ROOT / "spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_space_parses(path: Path) -> None:
    assert len(load_space(path.stem)) > 0


@pytest.mark.parametrize("path", sorted((ROOT / "zoo").glob("*.yaml")), ids=lambda path: path.stem)
def test_zoo_entry_parses(path: Path) -> None:
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(entry, dict)
    assert load_zoo()[path.stem] == entry


def test_there_are_spaces_and_networks_to_parse() -> None:
    assert list((ROOT / "spaces").glob("*.yaml"))
    assert list((ROOT / "zoo").glob("*.yaml"))


BAD_ORDER = {
    "up at the top": ("autoonco/data/x.py", "from autoonco.search.space import build"),
    "up in a function": ("autoonco/tabular/x.py", "def f():\n    import autoonco.families.contract"),
    "up for types": (
        "autoonco/metrics/x.py",
        "if TYPE_CHECKING:\n    from autoonco.families import contract",
    ),
    "up by package": ("autoonco/nets/x.py", "from autoonco import families"),
    "up by importlib": ("autoonco/features/x.py", "importlib.import_module('autoonco.cli')"),
    "sideways": ("autoonco/data/x.py", "from autoonco.metrics.scores import auc"),
    "sideways, other way": ("autoonco/metrics/x.py", "from autoonco.data.case import Case"),
    "nets to features": ("autoonco/nets/x.py", "from autoonco.features.spec import Spec"),
    "tabular to nets": ("autoonco/tabular/x.py", "from autoonco.nets.heads import Head"),
    "errors to settings": ("autoonco/errors.py", "from autoonco.settings import Settings"),
    "the public surface": ("autoonco/reporting/x.py", "from autoonco import fit"),
    "relative": ("autoonco/data/x.py", "from ..search import space"),
    "unknown part": ("autoonco/utils/x.py", ""),
}
GOOD_ORDER = {
    "down": ("autoonco/search/x.py", "from autoonco.families.contract import Family"),
    "own package": ("autoonco/data/x.py", "from autoonco.data.case import Case"),
    "nets to tabular": ("autoonco/nets/x.py", "from autoonco.tabular.learners import build"),
    "others": ("autoonco/data/x.py", "import autooncology, numpy.linalg"),
    "the top": ("autoonco/__init__.py", "from autoonco.classifier import AutoOncoClassifier"),
}


@pytest.mark.parametrize(("path", "source"), BAD_ORDER.values(), ids=BAD_ORDER)
def test_order_rule_sees_a_breach(path: str, source: str) -> None:
    assert len(order_violations(ast.parse(source), path)) == 1


@pytest.mark.parametrize(("path", "source"), GOOD_ORDER.values(), ids=GOOD_ORDER)
def test_order_rule_lets_pass(path: str, source: str) -> None:
    assert order_violations(ast.parse(source), path) == []


@pytest.mark.parametrize(
    "line",
    [
        "import torch",
        "import torch.nn as nn",
        "from timm import create_model",
        "try:\n    import monai\nexcept ImportError: pass",
        "class Net:\n    import torch",
        "from autoonco.nets import training",
        "from autoonco.nets.training import train",
        "import autoonco.nets.training as training",
        "from autoonco.light import thing",
    ],
)
def test_torch_rule_sees_a_breach(line: str) -> None:
    trees = {
        "autoonco.families.x": ast.parse(line),
        "autoonco.nets": ast.parse(""),
        "autoonco.nets.training": ast.parse("from torch import nn"),
        "autoonco.light": ast.parse("from autoonco.nets.training import train"),
    }
    chain = way_to_torch("autoonco.families.x", trees)
    assert chain[0] == "autoonco.families.x"
    assert chain[-1] in HEAVY


def test_torch_rule_tells_import_time_from_later() -> None:
    source = dedent(
        """
        import torchmetrics
        from typing import TYPE_CHECKING
        from autoonco.nets.zoo import networks
        if TYPE_CHECKING:
            import torch
        def fit():
            import monai
            from autoonco.nets.training import train
        """
    )
    trees = {
        "autoonco.families.x": ast.parse(source),
        "autoonco.nets": ast.parse(""),
        "autoonco.nets.training": ast.parse("import torch"),
        "autoonco.nets.zoo": ast.parse("import autoonco.families.x"),  # a circle ends
    }
    assert way_to_torch("autoonco.families.x", trees) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import cloudpickle",
        "import joblib\njoblib.dump(x, p)",
        "from joblib import load\nload(p)",
        "import joblib as j\nj.load(p)",
        "import torch\ntorch.save(x, p)",
        "import torch\ntorch.load(p)",
        "import torch\ntorch.load(p, weights_only=False)",
        "from torch import load as get\nget(p, weights_only=flag)",
        "import yaml\nyaml.load(s)",
        "import yaml\nyaml.load(s, Loader=yaml.Loader)",
        "import yaml\nyaml.load(s, yaml.UnsafeLoader)",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "import numpy as np\nnp.load(p, None, True)",
        "import numpy as np\nnp.save(p, a)",
        "eval(s)",
        "exec(s)",
        "import tarfile\ntarfile.open(p).extractall(d)",
        "frame.to_pickle(p)",
    ],
)
def test_safety_rule_sees_a_breach(source: str) -> None:
    assert len(unsafe_constructs(ast.parse(source), "x.py")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import joblib\njoblib.Parallel(n_jobs=1)",
        "import torch\ntorch.load(p, map_location='cpu', weights_only=True)",
        "import yaml\nyaml.safe_load(s)",
        "import yaml\nyaml.load(s, Loader=yaml.CSafeLoader)",
        "import numpy as np\nnp.load(p, allow_pickle=False)",
        "network.eval()",
        "from pickle import UnpicklingError\ntry: f()\nexcept UnpicklingError: raise",
        "import re\nre.compile(s)",
    ],
)
def test_safety_rule_lets_pass(source: str) -> None:
    assert unsafe_constructs(ast.parse(source), "x.py") == []


def test_form_rule_sees_a_breach() -> None:
    assert untold(ast.parse("x = 1"), "x.py", 1) == ["x.py: no docstring"]
    assert untold(ast.parse('"""Say."""'), "x.py", MAX_LINES + 1) == [
        f"x.py: {MAX_LINES + 1} lines, at most {MAX_LINES}"
    ]
    assert untold(ast.parse('"""Say."""'), "x.py", MAX_LINES) == []


def test_leak_rule_tells_machine_paths_from_others() -> None:
    root, host = "/wo" + "rk", "files.python" + "hosted.org"
    for bad in (
        f"see {root}/main/x",
        f'"{"/ho" + "me"}/ann/x.csv"',
        "C" + ":\\Users\\ann",
        f"https://{host}/x",
    ):
        assert len(leaks(bad, "x")) == 1, bad
    for good in ("../work/x", "https://x.org/home/a", "/usr/bin/env", "#!/bin/sh", "a/opt/b", "${X}/opt/b"):
        assert leaks(good, "x") == [], good
