"""What a page is made of (tables and figures as plain text), and how figures become text."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from autoonco.data.redaction import without_paths as without_paths
from autoonco.reporting.svg import to_svg

NARROW_INCHES = 5.2


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: its text, the number it sorts by (None: by its text), and the part of the page it leads to."""

    text: str
    number: float | None = None
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for the page. The first column heads its row; `numeric` says which columns align to the right."""

    id: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers only."""
        return tuple(
            bool(self.rows) and all(row[k].number is not None or row[k].text == "–" for row in self.rows)
            for k in range(len(self.columns))
        )


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure for the page: its SVG, which carries title and description, and a visible caption."""

    name: str
    caption: str
    heading: str
    description: str
    figure: Figure = field(compare=False, repr=False)

    @cached_property
    def svg(self) -> Markup:
        """The figure drawn and described; drawn when it is first asked for, since tables alone need no drawing."""
        return to_svg(self.figure, name=self.name, heading=self.heading, description=self.description)

    @property
    def is_narrow(self) -> bool:
        """Whether two of its kind fit side by side on a wide page."""
        return self.figure.get_figwidth() <= NARROW_INCHES


@dataclass(frozen=True, kw_only=True)
class Shot:
    """Pixels of a case: a PNG with what a screen reader says of it and what stands below it."""

    png: bytes
    alt: str
    caption: str

    @property
    def uri(self) -> str:
        """The picture as a part of the page itself."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures of cases side by side."""

    id: str
    caption: str
    shots: tuple[Shot, ...]
    note: str = ""


Block = Table | Picture | Gallery


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: paragraphs first, then tables and pictures in order, then texts to unfold."""

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    folded: Mapping[str, str] | None = None


def picture(figure: Figure, *, name: str, heading: str, description: str, caption: str) -> Picture:
    """Return `figure`, described and captioned."""
    return Picture(name=name, caption=caption, heading=heading, description=description, figure=figure)


def table(
    id_: str, caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], note: str = ""
) -> Table:
    """Return a table of plain values: a `Cell` stays, a number gets three figures, None becomes a dash."""
    cells = tuple(tuple(as_cell(value) for value in row) for row in rows)
    return Table(id=id_, caption=caption, columns=tuple(columns), rows=cells, note=note)


def as_cell(value: Any) -> Cell:
    """Return a value as a cell."""
    if isinstance(value, Cell):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell(text="–")
    if isinstance(value, float):
        return Cell(text=f"{value:.3f}", number=value)
    if isinstance(value, int):
        return Cell(text=str(value), number=value)
    return Cell(text=without_paths(str(value)))


def bounds(value: float, lower: float, upper: float) -> Cell:
    """Return a figure with its interval; one that nothing could change, whose bounds are itself, is called exact.

    Examples
    --------
    >>> bounds(0.91, 0.8512, 0.9567).text, bounds(0.5, 0.5, 0.5).text
    ('0.91 [0.85, 0.96]', '0.50 (exact)')
    """
    if math.isnan(value):
        return Cell(text="–")
    if math.isnan(lower) or math.isnan(upper):
        return Cell(text=number(value), number=float(value))
    if lower == value == upper:
        return Cell(text=f"{number(value)} (exact)", number=float(value))
    return Cell(text=f"{number(value)} [{number(lower)}, {number(upper)}]", number=float(value))


def number(value: float) -> str:
    """Return two decimals, more where these would hide the number, with a true minus sign.

    Examples
    --------
    >>> number(0.913), number(-0.004), number(float("inf")), number(0.0)
    ('0.91', '−0.004', '∞', '0.00')
    """
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.2f}" if abs(value) >= 0.01 or abs(value) < 0.0005 else f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def p_value(value: float) -> Cell:
    """Return a p value as it is printed."""
    if math.isnan(value):
        return Cell(text="–")
    return Cell(text="< 0.001" if value < 0.001 else f"{value:.3f}", number=float(value))


def duration(seconds: float | None) -> str:
    """Return seconds as people say them.

    Examples
    --------
    >>> duration(0.4), duration(95), duration(7260), duration(None)
    ('0.4 s', '1 min 35 s', '2 h 1 min', 'unknown')
    """
    if seconds is None or math.isnan(seconds):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def count(n: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count(1, "case"), count(3, "case")
    ('1 case', '3 cases')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}".replace(",", " ")


def listing(names: Sequence[str]) -> str:
    """Return names joined as in a sentence.

    Examples
    --------
    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def scrubbed(value: Any) -> Any:
    """Return JSON-able `value` with the paths in its texts put out."""
    if isinstance(value, Mapping):
        return {str(key): scrubbed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(item) for item in value]
    return without_paths(value) if isinstance(value, str) else value
