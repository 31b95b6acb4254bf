"""What a command says and where, and what its log file holds."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import autoonco
from autoonco.data.case import Case
from autoonco.data.plain import plain, records
from autoonco.errors import AutoOncoError, DataError
from autoonco.terminal import Terminal, screen, table_of

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 (INFO|WARNING|ERROR) +\S")
LOG = logging.getLogger("autoonco.somewhere")
CASES = [Case(case="Doe_J", patient="Jane Doe", images={"image": Path("/scans/Doe Jane.nii.gz")}, row=7)]


def rendered(frame: pd.DataFrame, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table_of(frame, "Title", width=width))
    return console.file.getvalue().splitlines()


def test_a_log_file_has_times_and_levels_and_no_name_path_or_escape_code(tmp_path):
    path = tmp_path / "a.log"

    def work():
        with Terminal(log_file=path) as terminal:
            terminal.keep_out(CASES)
            LOG.debug("too much")
            LOG.info("%s of %s is \x1b[31mread\x1b[0m\nfrom /scans/Doe Jane.nii.gz", "Doe_J", "Jane Doe")
            LOG.warning("a trial failed", exc_info=ValueError("Jane Doe"))
            raise DataError("row 3: label 'Janet Roe' in /other/Roe.csv and in (benign/Roe_Janet) is none.")

    with pytest.raises(DataError):
        work()
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert [LINE.match(line)[1] for line in lines] == ["INFO", "WARNING", "ERROR"]
    assert "row 7 of row 7" in lines[0]
    assert "DataError: row 3" in lines[2]
    assert not re.search(r"Doe|Roe|Jane|scans|\x1b", text)


def test_a_log_is_added_to_and_ends_with_its_command(tmp_path):
    path = tmp_path / "a.log"
    for _ in range(2):
        with Terminal(log_file=path):
            LOG.info("said")
    LOG.warning("said outside")
    assert path.read_text(encoding="utf-8").count("said") == 2
    package = logging.getLogger("autoonco")
    assert [type(handler) for handler in package.handlers] == [logging.NullHandler]
    assert package.level == logging.NOTSET
    with pytest.raises(AutoOncoError, match=r"log file .* can't be written"), Terminal(log_file=tmp_path):
        raise AssertionError


def test_the_package_logs_to_whom_listens_and_to_nobody_else(capsys, caplog):
    LOG.warning("unheard")
    assert capsys.readouterr() == ("", "")
    with caplog.at_level(logging.INFO, logger=autoonco.__name__):
        LOG.info("heard")
    assert "heard" in caplog.messages


def test_others_are_not_heard_in_the_log(tmp_path, capsys):
    with Terminal(log_file=tmp_path / "a.log", verbose=True):
        logging.getLogger("pydicom").warning("PatientName is Jane Doe")
        LOG.info("a step")
    assert (tmp_path / "a.log").read_text(encoding="utf-8").count("\n") == 1
    assert "a step" in capsys.readouterr().err


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("quiet", [False, True])
def test_results_messages_and_json_go_where_they_belong(capsys, as_json, quiet):
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        terminal.tell("a message [red]")
        terminal.say("a result [red]")
        terminal.table(pd.DataFrame({"model": ["m [red]"]}), "Table")
        terminal.document({"result": 1.5})
    out, err = capsys.readouterr()
    assert err == ("" if quiet else "a message [red]\n")
    if as_json:
        assert json.loads(out) == {"result": 1.5}
    else:
        assert out.startswith("a result [red]\n")
        assert "m [red]" in out
    assert "\x1b" not in out + err


def test_json_holds_no_value_that_json_has_not():
    frame = pd.DataFrame({"auc": [0.1 + 0.2, float("nan")], "n": pd.array([1, None], dtype="Int64")})
    assert records(frame) == [{"auc": 0.3, "n": 1}, {"auc": None, "n": None}]
    odd = {"a": float("inf"), 2: [float("nan"), Path("x")], "b": (True, None, "t")}
    assert json.loads(json.dumps(plain(odd), allow_nan=False)) == {
        "a": None,
        "2": [None, "x"],
        "b": [True, None, "t"],
    }


@pytest.mark.parametrize("width", [16, 30, 45, 60, 80, 200])
def test_a_table_fits_its_terminal_and_says_what_it_left_out(width):
    frame = pd.DataFrame(
        {"family": ["pretrained2d"], "score": [0.91234], "status": ["success"], "config": ["c" * 300]}
    )
    lines = rendered(frame, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "pret" in text
    for name, value in {"score": "0.912", "status": "success"}.items():
        assert (name in text.partition("no place for")[2]) != (value in text)
    if width == 200:
        assert "no place" not in text
        assert "cccc…" in text


def test_what_is_not_known_is_a_dash():
    frame = pd.DataFrame(
        {"a": [float("nan"), 1.0], "b": [None, "x"], "c": pd.array([None, 2], dtype="Int64")}
    )
    assert [line.split() for line in rendered(frame, 80)][4:6] == [["–", "–", "–"], ["1.000", "x", "2"]]


def test_a_file_gets_whole_lines_and_a_window_its_own_width(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert screen(io.StringIO()).width == 200
    monkeypatch.setenv("COLUMNS", "50")
    assert screen(io.StringIO()).width == 50
