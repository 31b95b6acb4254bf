"""Importing autoonco is quick and quiet: nothing heavy is loaded and nobody is called."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "monai",
    "pandas",
    "sklearn",
    "scipy",
    "SimpleITK",
    "smac",
    "ConfigSpace",
)

NO_NETWORK = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError(f"the network was asked for: {args[1:]}")
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
"""

LOADED = """
import sys
print(*sorted(name for name in sys.modules if "." not in name))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that are loaded after `code`."""
    done = run(code + LOADED)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_autoonco_loads_nothing_heavy() -> None:
    loaded = loaded_by("import autoonco; dir(autoonco)")
    assert "autoonco" in loaded
    assert not loaded & set(HEAVY)


def test_listing_the_families_loads_no_network_library() -> None:
    loaded = loaded_by("from autoonco.families import all_families; assert all_families()")
    assert not loaded & {"torch", "torchvision", "timm", "monai"}


def test_the_probe_sees_what_is_loaded() -> None:
    assert "wave" in loaded_by("import wave")


@pytest.mark.parametrize(
    "code",
    [
        "import autoonco; [getattr(autoonco, name) for name in dir(autoonco)]",
        "from autoonco.families import all_families; assert all_families()",
        "from autoonco.resources import load_zoo; assert load_zoo()",
        "import autoonco.cli",
    ],
    ids=["surface", "families", "zoo", "cli"],
)
def test_nothing_is_called_over_the_network(code: str) -> None:
    done = run(NO_NETWORK + code)
    assert done.returncode == 0, done.stderr


def test_the_refusal_works() -> None:
    done = run(NO_NETWORK + "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')")
    assert "the network was asked for" in done.stderr
