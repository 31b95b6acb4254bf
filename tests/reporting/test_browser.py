"""The page in a real browser, without a network. Skips where there is no Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoonco.reporting.page import write_report

BuildRun = Callable[..., Path]

# Runs after the page's own script and tells the page around it what it saw.
PROBE = """
<script>
const seen = { errors: [], overflow: 0, sorted: null };
const done = () => {
  seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const head = document.querySelectorAll("#leaderboard th")[2];
  if (head && head.querySelector("button")) {
    const read = () => [...document.querySelectorAll("#leaderboard tbody tr")].map((row) => row.cells[2].textContent);
    const before = read();
    head.querySelector("button").click();
    const down = read();
    head.querySelector("button").click();
    seen.sorted = { before, down, up: read(), aria: head.getAttribute("aria-sort") };
  }
  seen.width = window.innerWidth;
  seen.figures = [...document.querySelectorAll("svg")].map((svg) => svg.getBoundingClientRect().width);
  seen.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  parent.postMessage(JSON.stringify(seen), "*");
};
window.addEventListener("load", () => setTimeout(done, 50));
</script>
"""
# Chromium's window is never narrower than 500 pixels; a frame may be. --dump-dom shows the attribute.
FRAME = """<!DOCTYPE html><body><script>
window.addEventListener("message", (event) => { document.body.dataset.seen = event.data; });
</script><iframe src="probed.html" width="%d" height="1500" style="border:0"></iframe></body>
"""
LISTENER = """
<script>
window.problems = [];
window.addEventListener("error", (event) => window.problems.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => window.problems.push(event.violatedDirective));
window.alert = (text) => window.problems.push("alert " + text);
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine: install Debian's package `chromium` to run this test")
    return found


def run(browser: str, page: Path, tmp_path: Path, *flags: str) -> str:
    profile = tmp_path / "profile"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--hide-scrollbars", "--virtual-time-budget=5000", f"--user-data-dir={profile}", *flags, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


def probed(page: Path, tmp_path: Path) -> None:
    """Write a copy of the page with the probe in it; its policy is opened to scripts, and to nothing else."""
    text = page.read_text(encoding="utf-8")
    opened, n = re.subn(r"script-src 'sha256-[^']*'", "script-src 'unsafe-inline'", text)
    assert n == 1
    listening = opened.replace("<title>", LISTENER + "<title>", 1)
    probe = PROBE.replace("errors: []", "errors: window.problems")
    (tmp_path / "probed.html").write_text(listening.replace("</body>", probe + "</body>"), encoding="utf-8")


def look(browser: str, page: Path, tmp_path: Path, width: int) -> dict[str, Any]:
    probed(page, tmp_path)
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME % width)
    dom = run(browser, frame, tmp_path, "--window-size=1400,1600", "--dump-dom")
    found = re.search(r'data-seen="([^"]*)"', dom)
    assert found is not None
    seen: dict[str, Any] = json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&"))
    return seen


ATTACK = "<script>alert(1)</script>"


HOSTILE: dict[str, Any] = {"classes": (ATTACK, "x" * 300), "note": ATTACK + "y" * 300}
RUNNING: dict[str, Any] = {"status": "running", "n_trials": 30}


@pytest.mark.parametrize(
    ("choices", "width"),
    [({}, 1280), ({}, 390), (HOSTILE, 390), (RUNNING, 390)],
    ids=["wide", "narrow", "hostile", "running"],
)
def test_loads_sorts_and_does_not_overflow(
    browser: str, build_run: BuildRun, tmp_path: Path, choices: dict[str, Any], width: int
) -> None:
    seen = look(browser, write_report(build_run(**choices)), tmp_path, width)
    assert seen["errors"] == []
    assert seen["requests"] == []
    assert seen["width"] == width
    assert seen["overflow"] <= 0
    assert len(seen["figures"]) == (2 if choices.get("status") == "running" else 4)
    assert min(seen["figures"]) > 250
    scores = {name: [float(text) for text in seen["sorted"][name] if text != "–"] for name in ("down", "up")}
    assert scores["down"] == sorted(scores["down"], reverse=True)
    assert scores["up"] == sorted(scores["up"])
    assert seen["sorted"]["aria"] == "ascending"


def test_its_own_policy_lets_its_script_run(browser: str, build_run: BuildRun, tmp_path: Path) -> None:
    dom = run(browser, write_report(build_run()), tmp_path, "--dump-dom")
    assert "<button" in dom  # the script makes the heads of tables buttons


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_is_not_empty(browser: str, build_run: BuildRun, tmp_path: Path, dark: bool) -> None:
    shot = tmp_path / "shot.png"
    flags = ["--blink-settings=preferredColorScheme=0"] if dark else []
    run(
        browser,
        write_report(build_run()),
        tmp_path,
        *flags,
        "--window-size=1280,1600",
        f"--screenshot={shot}",
    )
    pixels = np.asarray(Image.open(shot).convert("L"), dtype=float)
    assert pixels.shape == (1600, 1280)
    assert pixels.std() > 15
    corner = pixels[200:1400, 2].mean()
    assert (corner < 60) if dark else (corner > 200)
