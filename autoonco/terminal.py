"""What a command says and where: results to standard output, messages to standard error, a record to a log file."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import typer
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

from autoonco.errors import AutoOncoError

if TYPE_CHECKING:
    import pandas as pd

    from autoonco.data.case import Case

_LOG = logging.getLogger("autoonco")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_WIDE = 10_000
"""Characters a line where nobody's window ends it: in a file or a pipe nothing is cut."""

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Results and errors only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Each step too, as in the log file.")]
LogFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Add a record with times to this file; it names no patient and no path."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document in place of the text.")]


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """Where a command writes; a context manager, open while the command runs.

    The classes below say which of its fields are options.
    """

    PANEL: ClassVar[str] = "What is said"

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    log_file: Path | None = None

    def __enter__(self) -> Self:
        self._stack.enter_context(self._heard())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, AutoOncoError):
            _LOG.error("%s: %s", type(error).__name__, _QUOTED.sub("'…'", str(error)))
        elif isinstance(error, KeyboardInterrupt):
            _LOG.warning("stopped by a signal")
        elif isinstance(error, Exception) and not isinstance(error, typer.Exit):
            _LOG.error("ended by an unforeseen %s", type(error).__name__)
        self._stack.close()

    @cached_property
    def out(self) -> Console:
        """Standard output."""
        return screen(sys.stdout)

    @cached_property
    def err(self) -> Console:
        """Standard error; silent where the user wants it quiet."""
        return screen(sys.stderr, quiet=self.quiet)

    def say(self, line: str) -> None:
        """Print a line of the result, unless that is JSON."""
        if not self.as_json:
            print_line(self.out, line)

    def tell(self, line: str) -> None:
        """Print a message."""
        print_line(self.err, line)

    def table(self, frame: pd.DataFrame, title: str) -> None:
        """Print a table of the result, unless that is JSON."""
        if not self.as_json:
            print_frame(self.out, frame, title)

    def document(self, content: Mapping[str, Any]) -> None:
        """Print `content` as JSON, where that is wanted; what is no number becomes null."""
        if self.as_json:
            self.out.file.write(json.dumps(plain(content), indent=1, allow_nan=False) + "\n")

    def keep_out(self, cases: Sequence[Case]) -> None:
        """Keep the names and files of `cases` out of the log file."""
        self._names.update(_identifiers(cases) if self.log_file is not None else {})

    @contextmanager
    def reading(self) -> Iterator[Callable[[int, int], None]]:
        """Show how many cases are read while the block runs; what it gives is called with (cases done, all cases)."""
        with Bar(console=self.err, transient=True, disable=not is_live(self.err)) as bar:
            task = bar.add_task("Reading the cases", total=None)
            yield lambda done, n: bar.update(task, completed=done, total=n)

    @cached_property
    def _names(self) -> dict[str, int]:
        return {}

    @cached_property
    def _stack(self) -> ExitStack:
        return ExitStack()

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Let the package's log be heard while the block runs: in the file, and on a talkative screen."""
        handlers: list[logging.Handler] = []
        if self.log_file is not None:
            handlers.append(log_to(self.log_file, self._names))
        if self.verbose:
            handlers.append(_ToScreen(self))
        before = _LOG.level, logging.root.manager.disable
        if handlers:
            # of others' loggers none is heard: what they say is for developers, and may name a file
            logging.disable(logging.NOTSET)
            _LOG.setLevel(logging.INFO)
        for handler in handlers:
            _LOG.addHandler(handler)
        try:
            yield
        finally:
            for handler in handlers:
                _LOG.removeHandler(handler)
                handler.close()
            _LOG.setLevel(before[0])
            logging.disable(before[1])


@dataclass(frozen=True, kw_only=True)
class Talking(Terminal):
    """Of a command that takes long."""

    quiet: Quiet = False
    verbose: Verbose = False
    log_file: LogFile = None


@dataclass(frozen=True, kw_only=True)
class Answering(Talking):
    """Of a command that takes long and gives what a script may want."""

    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Showing(Terminal):
    """Of a command that is quick and shows what a script may want."""

    as_json: AsJson = False


class _ToScreen(logging.Handler):
    """Prints what is logged as a message."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.INFO)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        self._terminal.tell(record.getMessage())


class _Nameless(logging.Formatter):
    """A line a record, without escape codes, paths and names of patients."""

    converter = time.gmtime

    def __init__(self, names: Mapping[str, int]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S+00:00")
        self._names = names

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        from autoonco.data.redaction import redact, without_paths

        line = "".join(c if c.isprintable() else " " for c in super().format(record))
        return without_paths(redact(line, self._names))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        """Return the kind of the exception alone: a traceback quotes what it met."""
        return "" if ei[0] is None else f"({ei[0].__name__})"


def log_to(path: Path, names: Mapping[str, int]) -> logging.Handler:
    """Return what adds the package's log to a file, without the `names` (name → row).

    Raises
    ------
    AutoOncoError
        If the file can't be written.
    """
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise AutoOncoError(
            f"The log file {path} can't be written ({error.strerror}): choose another one for --log-file."
        ) from None
    handler.setLevel(logging.INFO)
    handler.setFormatter(_Nameless(names))
    return handler


def _identifiers(cases: Sequence[Case]) -> dict[str, int]:
    from autoonco.data.redaction import identifiers

    return identifiers(cases)


def screen(stream: Any, *, quiet: bool = False) -> Console:
    """Return a console on a standard stream; where no terminal reads it, no line is cut or broken."""
    console = Console(file=stream, quiet=quiet)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE
    return console


def is_live(console: Console) -> bool:
    """Return whether what was drawn on `console` can be drawn anew."""
    return console.is_terminal and not console.is_dumb_terminal and not console.quiet


def print_line(console: Console, line: str) -> None:
    """Print a line as it is: no word of it is markup, and a path in it stays whole."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_frame(console: Console, frame: pd.DataFrame, title: str) -> None:
    """Print a table; where the terminal is narrow, the last column is cut."""
    cells = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    table = Table(title=title)
    names = [str(name) for name in frame.columns]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(names)]
    left = console.width - sum(widths[:-1]) - 3 * len(names) - 1  # three characters a border and its padding
    widths[-1] = max(min(widths[-1], left), len(names[-1]))
    for name, width in zip(names, widths, strict=True):
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
    for row in cells:
        table.add_row(*row)
    console.print(table, markup=False)


def _cell(value: Any) -> str:
    if value is None or value != value:  # only NaN is unlike itself
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain JSON, null where a value is missing."""
    found: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return found


def plain(value: Any) -> Any:
    """Return `value` as JSON has it: paths as texts, and null for what is no number.

    Examples
    --------
    >>> plain({"auc": float("nan"), "files": (Path("a"),)})
    {'auc': None, 'files': ['a']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
