"""Options in groups: each command has them all, with one default each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, get_origin, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from autoonco import options
from autoonco.cli import app
from autoonco.options import Care, Cohort, Judging, Machine, Pictures, Place, Searching, grouped
from autoonco.terminal import Answering, Showing, Talking


@dataclass(frozen=True, kw_only=True)
class Base:
    far: Annotated[int, typer.Option(help="Far.")] = 1
    unseen: bool = True


@dataclass(frozen=True, kw_only=True)
class Group(Base):
    PANEL = "A panel"

    near: Annotated[str, typer.Option("-n", "--near", help="Near.")] = "x"


def run(*words: str) -> tuple[int, list[object]]:
    seen: list[object] = []

    @grouped
    def command(path: Annotated[Path, typer.Argument()], group: Group, flag: bool = False) -> None:
        seen.extend([path, group, flag])

    made = typer.Typer()
    made.command()(command)
    found = CliRunner().invoke(made, list(words))
    return found.exit_code, seen or [found.output]


def test_a_group_is_spread_into_its_options():
    assert run("a", "--far", "3", "-n", "y", "--flag") == (0, [Path("a"), Group(far=3, near="y"), True])
    assert run("a") == (0, [Path("a"), Group(), False])
    code, (text,) = run("--help")
    assert code == 0
    assert "A panel" in str(text)
    assert "unseen" not in str(text)
    assert str(text).index("--near") < str(text).index("--far")


GROUPS = {
    "fit": (Cohort, Searching, Judging, Care, Machine, Answering),
    "check": (Cohort, Answering),
    "replay": (Cohort, Talking),
    "features": (Pictures, Talking),
    "predict": (Pictures, Place, Answering),
    "status": (Showing,),
    "leaderboard": (Showing,),
    "look": (Showing,),
    "report": (Talking,),
    "demo": (Talking,),
}


@pytest.mark.parametrize("name", GROUPS)
def test_a_command_has_all_options_of_its_groups_with_their_defaults(name):
    command = typer.main.get_command(app).commands[name]
    known = {parameter.name: parameter.default for parameter in command.params}
    for group in GROUPS[name]:
        hints = get_type_hints(group, include_extras=True)
        told = {one.name: one.default for one in fields(group) if get_origin(hints[one.name]) is Annotated}
        assert told
        assert told.items() <= known.items()


def test_an_option_has_words_and_the_same_default_everywhere():
    seen: dict[str, object] = {}
    for name, command in typer.main.get_command(app).commands.items():
        for parameter in getattr(command, "params", ()):
            if parameter.name != "help":
                assert getattr(parameter, "help", None), f"{name} {parameter.name}"
            if parameter.name in {one.name for one in fields(Cohort)}:
                assert seen.setdefault(parameter.name, parameter.default) == parameter.default


def test_names_are_split_at_commas():
    assert options.names_of(" a, b,,") == ["a", "b"]
    assert options.names_in("") is None
