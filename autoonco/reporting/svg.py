"""A matplotlib Figure as an SVG that can stand inside a page: no external reference, no script, described."""

from __future__ import annotations

import re
from io import StringIO

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from autoonco.reporting.plots import STYLE

_ROOT = re.compile(r"<svg\b[^>]*>")
_DROPPED = (
    re.compile(r"^.*?(?=<svg\b)", re.DOTALL),  # XML and document type declarations
    re.compile(r"<metadata>.*?</metadata>", re.DOTALL),
    re.compile(r"<!--.*?-->", re.DOTALL),
)


def to_svg(figure: Figure, *, name: str, heading: str, description: str) -> Markup:
    """Return `figure` as one SVG element with a title and a description that a screen reader reads out.

    Equal figures give equal text. `name` is put before every identifier, so that several may share a page.
    """
    buffer = StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")  # as placed now: laid out anew for a PDF it would take as long again
    text = buffer.getvalue()
    for part in _DROPPED:
        text = part.sub("", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None  # matplotlib always writes one
    width = float(box[1].split()[2])
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box[1]}" style="width:100%;max-width:{width * 1.7:.0f}px;height:auto" '
        f'role="img" aria-labelledby="{name}-title {name}-description">'
        f'<title id="{name}-title">{escape(heading)}</title>'
        f'<desc id="{name}-description">{escape(description)}</desc>'
    )
    return Markup(_ROOT.sub(lambda _: opening, text, count=1).strip())  # noqa: S704 - made here, text escaped
