"""Single cases: what radiomics added up, where networks looked, and who is typical of a class and who isn't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from autoonco.evaluation.chosen_cases import typicality
from autoonco.evaluation.verdict import title
from autoonco.features.nomenclature import NOT_FILTERED, describe, meaning
from autoonco.reporting import plots_explained as plots
from autoonco.reporting.blocks import (
    Block,
    Cell,
    Gallery,
    Section,
    Shot,
    count,
    number,
    picture,
    table,
    without_paths,
)
from autoonco.reporting.read_run import RunData

TOP = 20


def explanations_section(data: RunData, ids: Mapping[int, str]) -> Section:
    """Return the section; `ids` are names of cases by row, for those who asked for them."""
    told = data.evidence.explained
    paragraphs = [without_paths(str(note)) for note in told.get("notes") or ()]
    if told.get("seen"):
        paragraphs.insert(
            0,
            "The models shown here were fitted on all cases, these among them: they show what the models use, not how "
            "good they are. Cases were chosen by predictions of models that had not seen them.",
        )
    blocks = [*_radiomics(data, ids), *_networks(data, ids), *_typical(data, ids)]
    if not blocks:
        paragraphs.append("Explanations are made at the end of a run; there are none in this one.")
    return Section(
        id="explanations", title="Explanations", paragraphs=tuple(paragraphs), blocks=tuple(blocks)
    )


def case_name(row: int, ids: Mapping[int, str]) -> str:
    """Return how a case is called: by its row, and by its name where that was asked for.

    Examples
    --------
    >>> case_name(7, {}), case_name(7, {7: "P-12"})
    ('row 7', 'row 7 (P-12)')
    """
    return f"row {row} ({ids[row]})" if row in ids else f"row {row}"


def feature_importance(data: RunData) -> pd.DataFrame:
    """Return the mean absolute Shapley value of each column of the best radiomics model, the largest first.

    Returns
    -------
    DataFrame
        ``feature``, ``name``, ``filter``, ``code``, ``importance``, ``share`` (of all), ``meaning``.
    """
    columns = ["feature", "name", "filter", "code", "importance", "share", "meaning"]
    shap, told = data.evidence.shap, data.evidence.explained.get("radiomics")
    if shap is None or not told:
        return pd.DataFrame(columns=columns)
    means = np.abs(shap.values).mean(axis=(0, 2))
    total = float(means.sum()) or 1.0
    rows = []
    for k in plots.importance_order(shap.values):
        column = str(told["names"][k])
        found = describe(column)
        name = f"{found.feature_class}: {found.name}" if found.feature_class else column
        share = float(means[k]) / total
        rows.append((column, name, found.filter, found.code, float(means[k]), share, meaning(column)))
    return pd.DataFrame(rows, columns=columns)


def group_shares(importance: pd.DataFrame) -> list[tuple[str, float]]:
    """Return the share of each class of features, and of all that were filtered, the largest first."""
    if importance.empty:
        return []
    classes = [describe(name).feature_class or "Other" for name in importance["feature"]]
    plain = importance["filter"] == NOT_FILTERED
    names = [f"{one}{'' if own else ', filtered image'}" for one, own in zip(classes, plain, strict=True)]
    shares = importance["share"].groupby(names).sum().sort_values(ascending=False, kind="stable")
    return [(str(name), float(share)) for name, share in shares.items()]


def output_name(data: RunData, output: int) -> str:
    """Return the class that an output of the Shapley values is of."""
    told = data.evidence.explained.get("radiomics") or {}
    labels = list(told.get("outputs") or [])
    label = int(labels[output]) if output < len(labels) else output
    return data.classes[label] if label < len(data.classes) else f"class {label}"


def waterfall_cases(data: RunData) -> list[tuple[int, str, int]]:
    """Return (position among the Shapley values, why chosen, output) of each chosen case."""
    told, shap = data.evidence.explained.get("radiomics"), data.evidence.shap
    if not told or shap is None:
        return []
    rows, outputs = list(told["rows"]), list(told["outputs"])
    found = []
    for one in told.get("chosen") or ():
        if one["row"] in rows:
            predicted = int(np.argmax(one["proba"]))
            output = outputs.index(predicted) if len(outputs) > 1 and predicted in outputs else 0
            found.append((rows.index(one["row"]), str(one["why"]), output))
    return found


def _radiomics(data: RunData, ids: Mapping[int, str]) -> list[Block]:
    shap, told = data.evidence.shap, data.evidence.explained.get("radiomics")
    if shap is None or not told or not len(shap.values):
        return []
    names, unit = [str(name) for name in told["names"]], str(told["unit"])
    importance = feature_importance(data)
    first = [plots.feature_label(name) for name in importance["feature"].head(5)]
    toward = output_name(data, 0)
    blocks: list[Block] = [
        picture(
            plots.summary(shap.values, shap.data, names, unit),
            name="shap-summary",
            heading="What each radiomic feature adds to the predictions",
            description=f"The features that count most: {'; '.join(first)}.",
            caption=(
                f"Shapley values of the best radiomics model ({told['method']}): a point is a case, to the right a "
                f"feature speaks for {toward}. {count(len(shap.values), 'case')}, at most 120 drawn."
            ),
        )
    ]
    groups = group_shares(importance)
    blocks.append(
        picture(
            plots.groups(groups[:12]),
            name="shap-groups",
            heading="Groups of radiomic features by importance",
            description="; ".join(f"{name}: {100 * share:.0f} %" for name, share in groups[:12]) + ".",
            caption="Groups of features by their share of the mean absolute Shapley values.",
        )
    )
    blocks.append(_importance_table(importance))
    base = [float(value) for value in told["base"]]
    for number_, (position, why, output) in enumerate(waterfall_cases(data)):
        values = shap.values[position, :, output].astype(float)
        parts = [f"{plots.feature_label(names[k])} {values[k]:+.2g}" for k in np.argsort(-np.abs(values))[:5]]
        blocks.append(
            picture(
                plots.waterfall(values, base[output], names, unit),
                name=f"waterfall-{number_ + 1}",
                heading=f"How the prediction of the {why} case comes about",
                description=f"From {number(base[output])}; the largest parts: {'; '.join(parts)}.",
                caption=(
                    f"{why[:1].upper()}{why[1:]} case of radiomics, {case_name(int(told['rows'][position]), ids)}: how "
                    f"its features add up to the {unit} of {output_name(data, output)}."
                ),
            )
        )
    return blocks


def _importance_table(importance: pd.DataFrame) -> Block:
    rows = [
        (
            row["name"],
            row["filter"],
            row["code"],
            Cell(text=f"{100 * row['share']:.1f} %", number=row["share"]),
            row["meaning"],
        )
        for row in importance.head(TOP).to_dict("records")
    ]
    columns = ["Feature", "Filter", "IBSI code", "Share", "A high value means"]
    note = f"The first {min(TOP, len(importance))} of {len(importance)}; all are in tables/feature_importance.csv."
    return table("feature-importance", "What the model's features are", columns, rows, note)


def _networks(data: RunData, ids: Mapping[int, str]) -> list[Block]:
    blocks: list[Block] = []
    maps = [item for item in data.evidence.explained.get("networks") or () if _shown(data, item)]
    for family in dict.fromkeys(str(item["family"]) for item in maps):
        own = [item for item in maps if item["family"] == family]
        shots = tuple(_map_shot(data, item, ids) for item in own)
        methods = ", ".join(dict.fromkeys(str(item["method"]) for item in own))
        planes = ""
        if own[0].get("planes") == 3:
            planes = "; three planes through the lesion, axial, coronal and sagittal by the axes of the file, map below"
            planes += ", a line where the slice that the network saw lies edge on" if "2d" in family else ""
        note = (
            f"{title(family)}, {without_paths(str(own[0].get('network') or 'own architecture'))}: {methods} for the "
            f"predicted class{planes}. The line is the outline of the lesion. A bright place raised the "
            "class; a map says where a network looked, not what it saw there."
        )
        caption = f"Where {_mid_sentence(family)} looked"
        blocks.append(Gallery(id=f"maps-{_slug(family)}", caption=caption, shots=shots, note=note))
    return blocks


def _mid_sentence(family: str) -> str:
    name = title(family)
    return name if name[:2].isupper() or name[:1].isdigit() else name[:1].lower() + name[1:]


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)


def _shown(data: RunData, item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("picture") in data.evidence.pictures


def _class(data: RunData, k: Any) -> str:
    return data.classes[int(k)] if int(k) < len(data.classes) else f"class {k}"


def _map_shot(data: RunData, item: Mapping[str, Any], ids: Mapping[int, str]) -> Shot:
    proba = [float(p) for p in item["proba"]]
    predicted = int(np.argmax(proba))
    said = f"{_class(data, predicted)} with {number(proba[predicted])}, truly {_class(data, item['truth'])}"
    name, why = case_name(int(item["row"]), ids), str(item["why"])
    return Shot(
        png=data.evidence.pictures[item["picture"]],
        alt=f"Map of {_mid_sentence(str(item['family']))} on the {why} case, {name}: predicted {said}.",
        caption=f"{why[:1].upper()}{why[1:]}, {name}: {said}",
    )


def _typical(data: RunData, ids: Mapping[int, str]) -> list[Block]:
    blocks: list[Block] = []
    shots = tuple(
        Shot(
            png=data.evidence.pictures[item["picture"]],
            alt=f"A case that is {item['why']} of {_class(data, item['class'])}, {case_name(int(item['row']), ids)}.",
            caption=f"{_class(data, item['class'])}, {item['why']}: {case_name(int(item['row']), ids)}",
        )
        for item in data.evidence.explained.get("typical") or ()
        if _shown(data, item)
    )
    if shots:
        blocks.append(
            Gallery(id="typical-cases", caption="Typical and atypical cases of each class", shots=shots)
        )
    if data.predictions is not None:
        ranked = typicality(data.predictions, [str(m["name"]) for m in data.models if m["kind"] == "family"])
        if len(ranked):
            blocks.append(_typical_table(data, ranked, ids))
    return blocks


def _typical_table(data: RunData, ranked: pd.DataFrame, ids: Mapping[int, str]) -> Block:
    parts = [
        pd.concat([own.head(5), own.tail(max(0, min(5, len(own) - 5)))]) for _, own in ranked.groupby("truth")
    ]
    rows = [
        (
            Cell(text=case_name(int(row["row"]), ids), number=float(row["row"])),
            _class(data, row["truth"]),
            int(row["rank"]),
            float(row["probability"]),
            f"{number(float(row['lowest']))} to {number(float(row['highest']))}",
            f"{int(row['n_wrong'])} of {int(row['n_models'])}",
        )
        for row in pd.concat(parts).to_dict("records")
    ]
    columns = ["Case", "Class", "Rank in class", "Probability of its class", "Over models", "Models wrong"]
    note = (
        "The five most typical and the five most atypical test cases of each class, by the probability that the "
        "families' models give their true class; all are in tables/typicality.csv. An atypical case is worth a second "
        "look: it is a rare presentation or a wrong label."
    )
    return table("typicality", "Typical and atypical cases", columns, rows, note)
