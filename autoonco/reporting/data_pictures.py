"""Pictures and tables of the data themselves: flow, sizes, grey values, sites, a gallery, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from autoonco.reporting import plots_data as plots
from autoonco.reporting.blocks import (
    Block,
    Cell,
    Gallery,
    Picture,
    Shot,
    count,
    listing,
    picture,
    table,
    without_paths,
)
from autoonco.reporting.explanations_section import case_name
from autoonco.reporting.read_run import RunData

MOST_EXCLUDED = 50
PICTURES_SAID = (
    "The pictures show pixels of patients, and whatever is written into them: a page without them is made with "
    "`autoonco report RUN --no-pictures`."
)


def flow_picture(data: RunData) -> Picture:
    """Return the flow of cases as a diagram."""
    n = {str(name): int(value) for name, value in data.run["n"].items()}
    return picture(
        plots.flow(n),
        name="flow-diagram",
        heading="Flow of cases",
        description="; ".join(f"{name}: {value}" for name, value in n.items()) + ".",
        caption="Flow of cases. What was left out, and why, is below and in the findings of the checks.",
    )


def shown_blocks(data: RunData, ids: Mapping[int, str]) -> list[Block]:
    """Return sizes, grey values, sites and the gallery, as far as the run has them."""
    cases, told = data.evidence.cases, data.evidence.explained
    blocks: list[Block] = []
    if cases is not None and len(cases):
        if bool((cases["size"] > 0).any()):
            blocks += [_sizes(data, cases)]
        blocks += _parts(data, cases)
    histograms = [found for found in told.get("histograms") or () if any(map(sum, found["counts"]))]
    if histograms:
        where = "of the lesions' pixels" if histograms[0]["where"] == "lesion" else "of all pixels"
        blocks.append(
            picture(
                plots.grey_values(histograms, data.classes),
                name="grey-values",
                heading="Grey values by class",
                description=f"Histograms {where} for {listing([str(h['channel']) for h in histograms])}.",
                caption=f"Grey values {where}, by class, of at most 25 cases a class drawn at random.",
            )
        )
    shots = tuple(
        Shot(
            png=data.evidence.pictures[item["picture"]],
            alt=f"Case of class {_class(data, item['class'])}, {case_name(int(item['row']), ids)}, lesion outlined.",
            caption=f"{_class(data, item['class'])}, {case_name(int(item['row']), ids)}",
        )
        for item in told.get("gallery") or ()
        if isinstance(item, Mapping) and item.get("picture") in data.evidence.pictures
    )
    if shots:
        note = (
            "Drawn at random. Orange: outline of the mask. A volume shows three planes through its lesion: axial, "
            "coronal and sagittal by the axes of its file."
        )
        blocks.append(Gallery(id="gallery", caption="Some of the cases", shots=shots, note=note))
    return blocks


def excluded_blocks(data: RunData, ids: Mapping[int, str]) -> list[Block]:
    """Return the cases that were left out, with reasons."""
    errors = data.checks[data.checks["severity"] == "error"]
    if not len(errors) or not (data.run.get("n") or {}).get("excluded"):
        return []
    rows = []
    for found in errors.head(MOST_EXCLUDED).to_dict("records"):
        place = str(found["row"])
        is_row = place.replace(".", "", 1).isdigit()
        row = (
            Cell(text=case_name(int(float(place)), ids), number=float(place))
            if is_row
            else Cell(text=place or "–")
        )
        rows.append((row, str(found["code"]), without_paths(str(found["message"]))))
    more = len(errors) - len(rows)
    note = f"The first {len(rows)} of {len(errors)}; all are in tables/checks.csv." if more else ""
    return [table("excluded", "Cases left out", ["Case", "Code", "Why"], rows, note)]


def _class(data: RunData, k: int) -> str:
    return data.classes[int(k)] if int(k) < len(data.classes) else f"class {k}"


def _size_unit(data: RunData) -> str:
    return "mm³" if data.fingerprint is not None and data.fingerprint.ndim == 3 else "mm²"


def _sizes(data: RunData, cases: pd.DataFrame) -> Picture:
    known = cases[cases["size"] > 0]
    medians = {k: known.loc[known["class"] == k, "size"].median() for k in sorted(set(known["class"]))}
    said = "; ".join(f"{_class(data, k)}: median {value:.4g}" for k, value in medians.items())
    return picture(
        plots.sizes(cases, data.classes, 2 if data.fingerprint is None else data.fingerprint.ndim),
        name="lesion-sizes",
        heading="Sizes of the lesions by class",
        description=f"{said} {_size_unit(data)}.",
        caption=(
            f"Sizes of the lesions by class, {count(len(known), 'case')}. Where they differ, size alone tells much: "
            "see the baseline."
        ),
    )


def _parts(data: RunData, cases: pd.DataFrame) -> list[Block]:
    """Return training and test cases side by side, and counts by site where sites are named."""
    rows = []
    for part, own in cases.groupby("part", sort=False):
        for k in sorted(set(own["class"])):
            some = own[own["class"] == k]
            sizes = some["size"].dropna()
            median = None if sizes.empty else Cell(text=f"{sizes.median():.4g}", number=float(sizes.median()))
            share = len(some) / len(own)
            rows.append(
                (
                    str(part),
                    _class(data, k),
                    len(some),
                    Cell(text=f"{100 * share:.0f} %", number=share),
                    median,
                )
            )
    columns = ["Part", "Class", "Cases", "Share of the part", f"Median lesion size, {_size_unit(data)}"]
    blocks: list[Block] = [table("parts", "Training and test cases side by side", columns, rows)]
    if cases["site"].max() > 1:
        tally = pd.crosstab(cases["site"], [cases["class"]])
        names = [_class(data, int(k)) for k in tally.columns]
        body = [
            (
                Cell(text=f"site {site}" if site else "not named", number=float(site)),
                *map(int, row),
                int(row.sum()),
            )
            for site, row in zip(tally.index, tally.to_numpy(), strict=True)
        ]
        note = (
            "Sites are numbered in the order of their names. Classes that differ by site invite a shortcut."
        )
        blocks.append(table("sites", "Cases by site and class", ["Site", *names, "All"], body, note))
    return blocks
