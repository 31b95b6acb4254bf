"""What a command says and where: results to standard output, messages to standard error, a record to a log file."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from autoonco.data.plain import plain
from autoonco.errors import AutoOncoError

if TYPE_CHECKING:
    import pandas as pd

    from autoonco.data.case import Case

_LOG = logging.getLogger("autoonco")
_NAMING = re.compile(r"'[^']*'|\"[^\"]*\"|(?<![^\s'\"(])[^\s'\"(]*[\\/][^\s'\")]*")
"""What of an error may name a patient: what is in quotes, as names of the user's are, and what looks like a place."""
_LEAST = 12
"""Characters that a cut column has at least."""
_WIDE = 200
"""Characters of the lines of a table in a file or a pipe, where no window ends them."""

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
            _LOG.error("%s: %s", type(error).__name__, _NAMING.sub("…", str(error)))
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

    def __init__(self, names: Mapping[str, int]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")
        self._names = names

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        from autoonco.data.redaction import redact, without_paths

        line = "".join(c if c.isprintable() else " " for c in super().format(record))
        return without_paths(redact(line, self._names))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """Return the time as the run folder's own log has it."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds")

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
    """Return a console on a standard stream."""
    console = Console(file=stream, quiet=quiet)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE
    return console


def is_live(console: Console) -> bool:
    """Return whether what was drawn on `console` can be drawn anew."""
    return console.is_terminal and not console.is_dumb_terminal and not console.quiet


def print_line(console: Console, line: str) -> None:
    """Print a line as it is: no word of it is markup; a window breaks it between words, if at all."""
    whole = not console.is_terminal or any(len(word) >= console.width for word in line.split())
    console.print(line, markup=False, highlight=False, soft_wrap=whole)


def print_frame(console: Console, frame: pd.DataFrame, title: str) -> None:
    """Print a table, see `table_of`."""
    console.print(table_of(frame, title, width=console.width))


def table_of(frame: pd.DataFrame, title: str, *, width: int) -> Table:
    """Return a table for `width` characters a line; no cell of it is markup.

    Its last column is cut to what the others leave. Where that is next to nothing it is left out, and so are those
    before it that have no place whole: what is read first has to stand first.
    """
    names = [str(name) for name in frame.columns]
    cells = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(names)]
    shown, left = 0, width - 1
    while shown < len(names):
        place = left - 3  # a border and its padding
        if widths[shown] > place:
            is_last = shown == len(names) - 1
            if shown == 0 or (is_last and place >= _LEAST):
                widths[shown] = max(1, place)
                shown += 1
            break
        left = place - widths[shown]
        shown += 1
    hidden = ", ".join(names[shown:])
    table = Table(
        title=title,
        title_justify="left",
        caption=f"no place for: {hidden}" if hidden else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for i, name in enumerate(names[:shown]):
        is_number = frame.dtypes.iloc[i].kind in "iuf"
        table.add_column(
            name,
            no_wrap=True,
            overflow="ellipsis",
            width=widths[i],
            justify="right" if is_number else "left",
        )
    for row in cells:
        table.add_row(*map(Text, row[:shown]))
    return table


def _cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return "–" if text in ("nan", "<NA>", "None") else text


def clock(seconds: float) -> str:
    """Return seconds as a clock has them.

    Examples
    --------
    >>> clock(75), clock(3661)
    ('1:15', '1:01:01')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
