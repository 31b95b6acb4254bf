"""The page in a real headless Chromium without a network. Skips where there is no browser or no driver for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoonco.data.thumbnails import SIDE
from autoonco.reporting.page import write_report

BuildRun = Callable[..., Path]
ATTACK = "<script>alert(1)</script>"
KINDS: dict[str, dict[str, Any]] = {
    "finished": {},
    "hostile": {"classes": (ATTACK, "x" * 300), "note": ATTACK + "y" * 300},
    "running": {"status": "running", "n_trials": 30},
}
# Before the page's own script: everything that goes wrong is kept.
LISTEN = """
window.problems = [];
window.addEventListener("error", (event) => window.problems.push(String(event.message)));
document.addEventListener("securitypolicyviolation", (event) => window.problems.push(event.violatedDirective));
window.alert = (text) => window.problems.push("alert " + text);
"""


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    control = shutil.which("chromedriver")
    if browser is None or control is None:
        pytest.skip("no Chromium with its driver here: install Debian's `chromium` and `chromium-driver`")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(control))
    made.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    made.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTEN})
    made.set_script_timeout(240)
    made.command_executor.client_config.timeout = (
        300  # axe on a loaded machine: longer than a script may take
    )
    yield made
    made.quit()


@pytest.fixture(scope="module")
def pages() -> dict[str, Path]:
    return {}


@pytest.fixture
def page_of(
    pages: dict[str, Path],
    run_writer: BuildRun,
    tmp_path_factory: pytest.TempPathFactory,
    real_figures: None,
) -> Callable[[str], Path]:
    def make(kind: str) -> Path:
        if kind not in pages:
            pages[kind] = write_report(run_writer(tmp_path_factory.mktemp("runs") / "run", **KINDS[kind]))
        return pages[kind]

    return make


def open_page(driver: Any, page: Path, *, width: int, dark: bool = False) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 1600, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get_log("browser")  # of the page before
    driver.get(page.as_uri())


def check(driver: Any, page: Path, *, width: int, dark: bool = False) -> None:
    """Open a page and hold it to everything that a page has to be."""
    open_page(driver, page, width=width, dark=dark)
    assert driver.execute_script("return window.problems") == []
    assert [line for line in driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []
    requests = driver.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [name for name in requests if not name.startswith("data:")] == []
    assert driver.execute_script("return window.innerWidth") == width
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    figures = driver.execute_script(
        "return [...document.querySelectorAll('main svg')].map((svg) => [svg.getBoundingClientRect().width,"
        "svg.querySelector('title').textContent, svg.querySelector('desc').textContent])"
    )
    assert figures
    assert all(size > 250 and title and said for size, title, said in figures)
    pictures = driver.execute_script(
        "return [...document.querySelectorAll('main img')].map((img) => [img.complete && img.naturalWidth, img.alt])"
    )
    assert all(size > 0 and alt for size, alt in pictures)


def sort_by(driver: Any, column: int) -> tuple[list[float], str]:
    """Press the head of a column of the leaderboard; return its numbers as they then stand, and the order told."""
    told: list[Any] = driver.execute_script(
        "const head = document.querySelectorAll('#leaderboard th[scope=col]')[arguments[0]];"
        "head.querySelector('button').click();"
        "const rows = [...document.querySelectorAll('#leaderboard tbody tr')];"
        "return [rows.map((row) => row.cells[arguments[0]].dataset.value), head.getAttribute('aria-sort')]",
        column,
    )
    return [float(value) for value in told[0] if value is not None], told[1]


def violations(driver: Any) -> list[str]:
    """Return what axe-core finds that is serious or worse, with the first place of each."""
    source = Path(pytest.importorskip("axe_core_python").__file__).parent / "axe.min.js"
    driver.execute_script(source.read_text(encoding="utf-8"))
    # a figure is one picture to a screen reader; its thousands of strokes need no look each
    found = driver.execute_async_script(
        "axe.run({include: [['html']], exclude: [['svg > g']]}, {resultTypes: ['violations']})"
        ".then(arguments[arguments.length - 1])"
    )
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(
    ("kind", "width"),
    [("finished", 1280), ("finished", 390), ("hostile", 390), ("running", 390)],
)
def test_a_page_is_whole_at_every_width(
    driver: Any, page_of: Callable[[str], Path], kind: str, width: int
) -> None:
    check(driver, page_of(kind), width=width)
    down, order = sort_by(driver, 2)
    assert (down, order) == (sorted(down, reverse=True), "descending")
    up, order = sort_by(driver, 2)
    assert (up, order) == (sorted(up), "ascending")


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_serious_is_found_by_axe(driver: Any, page_of: Callable[[str], Path], dark: bool) -> None:
    open_page(driver, page_of("finished"), width=1280, dark=dark)
    assert violations(driver) == []
    back = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in back[4:-1].split(",")]
    assert (max(channels) < 60) if dark else (min(channels) > 200)


def test_a_model_is_switched_off_and_on_again(driver: Any, page_of: Callable[[str], Path]) -> None:
    open_page(driver, page_of("finished"), width=1280)
    box = driver.find_element("css selector", "#figure-roc .switch input")
    shown = (
        "return [...document.querySelectorAll('#figure-roc svg [id*=\"-model-\"]')]"
        ".filter((part) => part.style.display !== 'none').length"
    )
    before = driver.execute_script(shown)
    box.click()
    assert driver.execute_script(shown) == before - 2  # its curve and its band
    box.click()
    assert driver.execute_script(shown) == before


@pytest.fixture(scope="module")
def few(shared_data: Path) -> Callable[[str], Any]:
    """Return a function to a few real cases of both classes: enough for a run with networks, in seconds."""
    from autoonco import Dataset

    def make(task: str) -> Any:
        data = Dataset.from_csv(shared_data / task, classes=("benign", "malignant"))
        data = data.subset(np.flatnonzero(data.y >= 0))
        return data.subset(np.sort(np.concatenate([np.flatnonzero(data.y == k)[:20] for k in (0, 1)])))

    return make


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("task", "planes"), [("busi/lesions.csv", 1), ("lidc3d/labels.csv", 3)])
def test_the_page_of_a_real_run(
    driver: Any, few: Callable[[str], Any], tmp_path: Path, task: str, planes: int, real_figures: None
) -> None:
    """A search of four trials, of both families: what a page looks like does not hang on how many there were."""
    from autoonco import Settings, fit

    found = fit(
        few(task),
        time_limit="2h",  # the number of trials ends it
        families=["radiomics", "pretrained2d"],
        evaluation="external" if task.startswith("busi") else "holdout",
        run_dir=tmp_path / "run",
        settings=Settings(inner_folds=2, max_trials=4, finalists=0, shortcuts=False),
    )
    page = found.report(tmp_path / "report")
    assert page.stat().st_size < 5_000_000
    for width, dark in ((1280, False), (390, True)):
        check(driver, page, width=width, dark=dark)
    assert violations(driver) == []
    for part in (
        "#gallery img",
        "#maps-pretrained2d img",
        "#figure-shap-summary svg",
        "#figure-differences svg",
    ):
        assert driver.find_elements("css selector", part), part
    height = driver.execute_script("return document.querySelector('#maps-pretrained2d img').naturalHeight")
    assert (height > SIDE) == (planes == 3)  # three planes with the map below them, a picture beside it
