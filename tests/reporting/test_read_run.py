from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autoonco.errors import DataError
from autoonco.reporting.read_run import read_run

BuildRun = Callable[..., Path]


def test_a_finished_run_is_read_whole(build_run: BuildRun) -> None:
    found = read_run(build_run(n_trials=30))
    assert found.problems == ()
    assert found.status == "finished"
    assert found.classes == ("benign", "malignant")
    assert len(found.trials) == 30  # and not the line on a fold
    assert len(found.checks) == 3
    assert found.predictions is not None
    assert {model["name"] for model in found.models} == set(found.predictions["model"])


def test_a_half_written_last_line_is_nobodys_mistake(build_run: BuildRun) -> None:
    folder = build_run(n_trials=5, status="running")
    with (folder / "journal.jsonl").open("a") as stream:
        stream.write('{"event": "trial", "scope": "fin')
    found = read_run(folder)
    assert len(found.trials) == 5
    assert found.problems == ()


def test_damaged_lines_in_the_middle_are_counted(build_run: BuildRun) -> None:
    folder = build_run(n_trials=5)
    journal = folder / "journal.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([lines[0], "nonsense", '{"event": "trial"}', *lines[1:]]) + "\n")
    found = read_run(folder)
    assert len(found.trials) == 5
    assert found.problems == ("journal.jsonl has 2 damaged lines, left out.",)


@pytest.mark.parametrize(
    "name", ["fingerprint.json", "evaluation/models.json", "evaluation/predictions.csv", "checks.csv"]
)
@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"a": 1}', ""])
def test_a_damaged_file_is_told_and_the_rest_is_read(build_run: BuildRun, name: str, content: str) -> None:
    folder = build_run(n_trials=5)
    (folder / name).write_text(content)
    found = read_run(folder)
    assert len(found.trials) == 5
    if not (name.endswith("predictions.csv") and not content):
        assert [problem for problem in found.problems if name in problem]


@pytest.mark.parametrize("name", ["fingerprint.json", "journal.jsonl", "evaluation/models.json"])
def test_a_missing_file_is_told_of_a_finished_run_only(build_run: BuildRun, name: str) -> None:
    for status, said in (("finished", (f"{name} is missing.",)), ("running", ())):
        folder = build_run(n_trials=5, status=status)
        (folder / name).unlink(missing_ok=True)
        assert read_run(folder).problems == said


def test_classes_without_a_fingerprint_are_numbered(build_run: BuildRun) -> None:
    folder = build_run(classes=("a", "b", "c"), n_trials=5)
    (folder / "fingerprint.json").unlink()
    assert read_run(folder).classes == ("class 0", "class 1", "class 2")


def test_only_run_json_is_needed(build_run: BuildRun, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "run.json").write_text("{}")
    found = read_run(alone)
    assert (found.status, found.evaluation, found.trials, found.predictions) == ("running", "none", (), None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no run folder"),
        ("{", "damaged"),
        ("[]", "damaged"),
        (json.dumps({"format": 99}), "update autoonco"),
    ],
)
def test_no_run_folder(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_run(tmp_path)
