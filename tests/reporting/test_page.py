"""The page of synthetic runs: whole, self-contained, inert, and nothing of the user's files in it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from autoonco.evaluation.tables import evaluation_table
from autoonco.evaluation.verdict import title
from autoonco.reporting.data_section import data_section
from autoonco.reporting.page import write_report
from autoonco.reporting.read_run import read_run
from autoonco.reporting.result import Result

ATTACK = "<script>alert(1)</script>"
SECTIONS = (
    "families", "search", "clinical", "explanations", "data", "reproducibility", "checklists", "model-card",
)  # fmt: skip
VOID = {"meta", "link", "img", "br", "hr", "input"}
BuildRun = Callable[..., Path]


class Page(HTMLParser):
    """Parses a page strictly enough for these tests: every tag closed in order, attributes kept."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.size = len(text.encode())
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def report(folder: Path, out: Path | None = None) -> Page:
    return Page(write_report(folder, out).read_text(encoding="utf-8"))


KINDS: dict[str, dict[str, Any]] = {
    "binary": {},
    "three classes": {"classes": ("a", "b", "c"), "ndim": 3},
    "nested": {"evaluation": "nested", "n_folds": 5},
    "none": {"evaluation": "none"},
    "running": {"status": "running"},
    "just started": {"status": "running", "n_trials": 0},
    "failed": {"status": "failed", "n_trials": 4},
    "stopped": {"status": "stopped"},
    "hostile": {"classes": (ATTACK, '"><img src=x onerror=alert(2)>'), "note": ATTACK},
}


@pytest.fixture(scope="module")
def made() -> dict[str, Page]:
    return {}


@pytest.fixture
def page_of(
    made: dict[str, Page], run_writer: BuildRun, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Page]:
    """Return a function from a kind of run to its page, made once."""

    def make(kind: str) -> Page:
        if kind not in made:
            made[kind] = report(run_writer(tmp_path_factory.mktemp("runs") / "run", **KINDS[kind]))
        return made[kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_gives_one_whole_page(page_of: Callable[[str], Page], kind: str) -> None:
    page = page_of(kind)
    assert page.size < 5_000_000
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert {*SECTIONS, "summary"} <= set(ids)
    assert len(ids) == len(set(ids))
    assert "Research use only" in page.text
    assert "nan" not in page.text.lower().split()
    assert "None" not in page.text


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_loaded_from_anywhere(page_of: Callable[[str], Page], kind: str) -> None:
    page = page_of(kind)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "image", "base")
        assert tag == "img" or "src" not in attributes
        if tag == "img":  # pixels are in the page itself
            assert str(attributes["src"]).startswith("data:image/png;base64,")
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
        style = attributes.get("style") or ""
        assert not [url for url in re.findall(r"url\(([^)]*)\)", style) if not url.startswith("#")]
    targets = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert {str(attributes["href"]) for attributes in page.all("a")} <= targets
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy)


def test_figures_and_tables_can_be_read_out(page_of: Callable[[str], Page]) -> None:
    page = page_of("binary")
    figures = page.all("svg")
    assert len(figures) > 10
    ids = {attributes.get("id") for _, attributes in page.tags}
    for figure in figures:
        assert figure["role"] == "img"
        assert set(str(figure["aria-labelledby"]).split()) <= ids
    heads = page.all("th")
    assert heads
    assert all(head.get("scope") in ("col", "row") for head in heads)
    assert all(set(str(table["aria-labelledby"]).split()) <= ids for table in page.all("table"))
    assert "Ensemble: AUC 0.9" in page.text  # the description of the curves


def test_hostile_text_is_shown_and_inert(build_run: BuildRun) -> None:
    hostile = '"><img src=x onerror=alert(2)>'
    folder = build_run(classes=(ATTACK, hostile), note=ATTACK)
    for name in ("run.json", "evaluation/models.json"):
        text = (
            (folder / name)
            .read_text()
            .replace('"cpu"', json.dumps(ATTACK))
            .replace('"svm"', json.dumps(hostile))
        )
        (folder / name).write_text(text.replace("scikit-learn", ATTACK.replace('"', "")))
    page = report(folder)
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert f"Telling {ATTACK} and {hostile} apart" in page.text
    assert f"ended as failed: {ATTACK}" in page.text
    assert ATTACK not in (folder / "report" / "index.html").read_text()
    for file in [folder / "report" / "model_card.md", *(folder / "report" / "figures").iterdir()]:
        text = file.read_bytes().decode("utf-8", "replace")
        assert "<script" not in text
        assert "<img" not in text


def test_no_path_of_the_user_leaves(build_run: BuildRun) -> None:
    folder = build_run(note="can't open /data/Jane Doe/patient_0042.nii.gz of '/scans/Jane Doe/patient_7'")
    report(folder)
    for path in (folder / "report").rglob("*.*"):
        text = path.read_bytes().decode("utf-8", "replace")
        assert "Jane" not in text
        assert "patient_" not in text
        assert str(folder) not in text


def test_the_summary_says_what_the_figures_say(build_run: BuildRun) -> None:
    folder = build_run()
    page = report(folder)
    data = read_run(folder)
    assert data.predictions is not None
    table = evaluation_table(data.predictions, data.classes).set_index(["model", "subset"])
    clean = table.loc[("ensemble", "test, clean")]
    assert f"{clean['auc']:.2f} [{clean['auc_lower']:.2f}, {clean['auc_upper']:.2f}]" in page.text
    assert "on the 137 clean ones" in page.text
    assert "Pretrained 2D networks are better than radiomics here: AUC difference" in page.text
    assert "3D networks took no part: 2D images" in page.text
    assert "13 test cases marked as not clean" in page.text
    assert "2 cases could not be used" in page.text
    assert "autoonco fit [path] --time-limit 8min" in page.text


@pytest.mark.parametrize(
    ("kind", "said", "unsaid"),
    [
        ("running", "This run has not finished", "This run failed"),
        ("failed", "This run failed", "has not finished"),
        ("none", "No model was judged on cases it never saw", "has not finished"),
        ("binary", "better than radiomics", "No model was judged"),
        ("just started", "No trial of the final search has finished", "This run failed"),
    ],
)
def test_what_is_missing_is_said_first(
    page_of: Callable[[str], Page], kind: str, said: str, unsaid: str
) -> None:
    page = page_of(kind)
    assert said in page.text
    assert unsaid not in page.text
    if kind != "binary":
        assert "not measured" in page.text


def test_a_stopped_run_says_so_and_has_its_figures(page_of: Callable[[str], Page]) -> None:
    text = page_of("stopped").text
    assert text.index("This run was stopped after 100 s of 480 s.") < text.index("Does deep learning beat")
    assert "better than radiomics" in text
    assert "not measured" not in text


def test_what_explains_is_no_warning_and_nothing_is_said_twice(build_run: BuildRun) -> None:
    folder = build_run()
    run = json.loads((folder / "run.json").read_text())
    power = "With 150 test patients, the smallest difference is 0.11."
    torn = "13 test cases have their patient or their very picture among the cases learned from: they are not clean."
    chosen, grave = "How models are judged was chosen: the data name test cases.", "No worker was left."
    run |= {
        "notes": [chosen, torn, power, grave],
        "networks_left_out": {"resnet18": "its weights are absent"},
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "evaluation" / "power.json").write_text(json.dumps({"difference": 0.11, "sentence": power}))
    same = [
        {"code": "AO408", "severity": "warning", "row": k, "message": f"like {k + 1}", "remedy": "look"}
        for k in range(5)
    ]
    pd.DataFrame(same).to_csv(folder / "checks.csv", index=False)
    page = report(folder)
    assert "AO408 warning 5 Row 0: like 1. Row 1: like 2. Row 2: like 3. And 2 more. look" in page.text
    told = json.loads((folder / "report" / "report.json").read_text())
    assert {chosen, power} <= set(told["remarks"])
    assert grave in told["warnings"]
    assert "1 pretrained network took no part" in " ".join(told["warnings"])
    every = [*told["remarks"], *told["warnings"]]
    assert len(every) == len(set(every))
    assert torn not in every
    assert sum("not clean" in sentence for sentence in every) == 1


def test_of_grades_the_page_says_which_auc_it_is_and_how_a_case_is_called(build_run: BuildRun) -> None:
    folder = build_run(classes=("1", "2", "3"))
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"task": "ordinal", "metric": "ordinal_auc"}))
    text = report(folder).text
    assert "Ordinal AUC of the delivered model" in text
    assert "share of pairs of cases of unlike grades" in text
    assert "else by the median grade" in text
    for of_classes in ("Macro AUC", "The AUC is the mean over classes", "most probable class"):
        assert of_classes not in text


def test_cases_left_out_beyond_the_first_are_told(build_run: BuildRun) -> None:
    folder = build_run(n_trials=0, status="running")
    bad = [
        {"code": "AO101", "severity": "error", "row": k, "message": f"row {k} is cut off", "remedy": "mend"}
        for k in range(1, 61)
    ]
    pd.DataFrame(bad).to_csv(folder / "checks.csv", index=False)
    text = report(folder).text
    assert "The first 50 of 60; all are in tables/checks.csv" in text
    assert "and the model card" not in text  # there is none yet


def test_checks_that_could_not_be_read_found_not_nothing(build_run: BuildRun) -> None:
    folder = build_run(n_trials=0, status="running")
    path, nothing = folder / "checks.csv", "found nothing to report"

    def said() -> str:
        return " ".join(data_section(read_run(folder), {}).paragraphs)

    assert nothing not in said()
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert nothing in said()
    path.write_text("damage")
    assert "is not known" in said()
    assert nothing not in said()
    path.unlink()
    assert "is not known" in said()
    assert nothing not in said()


def test_a_damaged_list_of_an_earlier_report_stops_no_new_one(build_run: BuildRun) -> None:
    folder = build_run(n_trials=0, status="running")
    for damage in ("[1", "[]", '{"files": 3}', '{"files": ["../run.json", 1]}'):
        (folder / "report").mkdir(exist_ok=True)
        (folder / "report" / "report.json").write_text(damage)
        report(folder)
    assert (folder / "run.json").is_file()


def test_a_simple_model_inside_the_interval_is_a_warning(build_run: BuildRun) -> None:
    folder = build_run()
    path = folder / "evaluation" / "predictions.csv"
    table = pd.read_csv(path)
    own = table["model"] == "baseline: lesion size"
    table.loc[own, ["p_0", "p_1"]] = table.loc[table["model"] == "ensemble", ["p_0", "p_1"]].to_numpy()
    assert "Baseline: lesion size reaches an AUC" not in report(folder).text
    table.to_csv(path, index=False)
    assert "Baseline: lesion size reaches an AUC" in report(folder).text


@pytest.mark.slow
@pytest.mark.usefixtures("real_figures")
def test_the_same_run_gives_the_same_bytes(build_run: BuildRun, tmp_path: Path) -> None:
    folder = build_run()
    one, two = write_report(folder, tmp_path / "a"), write_report(folder, tmp_path / "b")
    names = sorted(path.relative_to(one.parent) for path in one.parent.rglob("*.*"))
    assert len(names) > 40
    assert any(name.suffix == ".pdf" for name in names)
    for name in names:
        assert (one.parent / name).read_bytes() == (two.parent / name).read_bytes()


def test_tables_stand_beside_the_page(build_run: BuildRun) -> None:
    folder = build_run(n_trials=50)
    write_report(folder)
    tables = {path.stem: pd.read_csv(path) for path in (folder / "report" / "tables").iterdir()}
    assert {"patients", "more_figures", "left_out"} & set(tables) == {"patients", "more_figures"}
    assert {"evaluation", "comparison", "leaderboard", "checks", "checklists", "cost", "typicality"} <= set(
        tables
    )
    assert len(tables["leaderboard"]) == 50
    assert set(Result(folder).tables()) == set(tables)
    assert set(tables["evaluation"]["subset"]) == {"test", "test, clean"}


def test_a_second_report_replaces_the_first(build_run: BuildRun) -> None:
    folder = build_run()
    write_report(folder)
    (folder / "evaluation" / "predictions.csv").unlink()
    (folder / "evaluation" / "models.json").unlink()
    (folder / "journal.jsonl").unlink()
    page = report(folder)
    assert "evaluation/predictions.csv is missing" in page.text
    assert [path.name for path in (folder / "report").rglob("*.*")].count("roc.svg") == 0
    assert not (folder / "report" / "tables" / "evaluation.csv").exists()


def test_reasons_that_differ_in_numbers_only_are_one_row(build_run: BuildRun) -> None:
    folder = build_run(n_trials=40)
    journal = folder / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    for number, event in enumerate(events):
        if event["event"] == "trial":
            event |= {"status": "skipped", "score": None, "reason": f"Predicted to take {number} s."}
    journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    page = report(folder)
    assert page.text.count("Predicted to take") == 2  # one a family
    assert "20 Predicted to take 1 s. (numbers vary)" in page.text
    assert "0 trials 0 with a result; 40 more not started" in page.text
    assert "ended without a result" not in page.text


def test_a_run_json_of_few_words_is_enough(build_run: BuildRun) -> None:
    folder = build_run(n_trials=10)
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(
        json.dumps({"format": 1, "status": run["status"], "evaluation": "external"})
    )
    assert "Telling benign and malignant apart" in report(folder).text


@pytest.mark.slow
def test_three_hundred_trials_take_seconds(build_run: BuildRun) -> None:
    folder = build_run(n_trials=300, classes=("a", "b", "c"), ndim=3)
    started = time.process_time()
    write_report(folder)
    assert time.process_time() - started < 15


def test_a_family_whose_every_trial_failed_says_why_before_anything_else(build_run: BuildRun) -> None:
    folder = build_run(n_trials=40)
    journal = folder / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    family = next(event["family"] for event in events if event["event"] == "trial")
    for event in events:
        if event.get("family") == family:
            event |= {"status": "failed", "score": None, "reason": "ValueError: no such thing"}
    journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    page = report(folder)
    said = "ended without a result: ValueError: no such thing"
    assert page.text.count(f"Every trial of {title(family)} {said}") == 1
    assert page.text.index(said) < page.text.index("Searched")
