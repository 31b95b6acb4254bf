"""The best radiomics model for reviewers: settings, features by IBSI code, tests with FDR, robustness."""

from __future__ import annotations

from typing import Any

import pandas as pd

from autoonco.features.methods import described_classes
from autoonco.features.nomenclature import describe, nomenclature_table
from autoonco.reporting.blocks import Cell, Picture, Section, Table, count, listing, p_value, scrubbed, table
from autoonco.reporting.read_run import RunData

MOST_FEATURES = 30
GOOD_ICC = 0.75
"""Good reliability (Koo and Li, J Chiropr Med 2016;15:155)."""
_DISCOVERY = 0.05
_LITERATURE = {"channel", "filter", "feature_class", "class_code", "name", "code", "note"}


def radiomics_section(data: RunData) -> tuple[Section, ...]:
    """Return the section, or nothing where the run has no radiomics model."""
    if data.radiomics is None:
        return ()
    kept, blocks = data.radiomics, [_settings_block(data.radiomics)]
    features = data.radiomic_features
    if features is not None and len(features):
        blocks += [_classes_block(features), _kept_block(features, kept), _tests_block(features)]
        blocks += [_icc_block(features, kept)] if features["icc"].notna().any() else []
    folded = {
        "Extraction settings as stored": _lines(kept["settings"]),
        "Pipeline of the model": _lines(kept["config"]),
    }
    paragraphs = (str(kept["sentence"]), *_said(features, kept))
    return (
        Section(
            id="radiomics", title="Radiomics", paragraphs=paragraphs, blocks=tuple(blocks), folded=folded
        ),
    )


def features_table(features: pd.DataFrame) -> pd.DataFrame:
    """Return the tests of each feature beside its names and codes in the literature."""
    names = nomenclature_table(features["feature"].tolist())
    names = names[[name for name in names if name in _LITERATURE]]
    return pd.concat([features.reset_index(drop=True), names], axis=1)


def _lines(value: Any) -> str:
    import json

    return json.dumps(scrubbed(value), indent=1, ensure_ascii=False)


def _said(features: pd.DataFrame | None, kept: Any) -> tuple[str, ...]:
    if features is None or not len(features):
        return ()
    tested = int(features["p"].notna().sum())
    found = int((features["q"] < _DISCOVERY).sum())
    text = (
        f"Of {count(len(features), 'feature')}, {kept['n_kept']} reach the learner of the best radiomics model. "
        f"By itself, {found} of {tested} that vary tell the classes apart at a false discovery rate of "
        f"{_DISCOVERY:g} ({features['test'].iloc[0]}, {count(int(kept['n_cases']), 'development case')}, no test case)."
    )
    if features["icc"].notna().any():
        robust = int((features["icc"] >= GOOD_ICC).sum())
        text += f" {robust} have an ICC of {GOOD_ICC:g} or more over perturbed masks."
    return (text,)


def _settings_block(kept: Any) -> Table | Picture:
    return table("extraction", "Extraction settings", ["Setting", "Value"], kept["rows"])


def _classes_block(features: pd.DataFrame) -> Table | Picture:
    rows = [
        (name, image, n, codes)
        for (name, image, n), codes in zip(
            described_classes(features["feature"].tolist()), _class_codes(features), strict=True
        )
    ]
    columns = ["Feature class", "Filter", "Features", "IBSI code"]
    return table("feature-classes", "Features by class and filter", columns, rows)


def _class_codes(features: pd.DataFrame) -> list[str | None]:
    """Return the code of each class and filter, in the order of `described_classes`."""
    found: dict[tuple[str, str, str], str | None] = {}
    for name in features["feature"]:
        item = describe(name)
        found.setdefault((item.feature_class or "other", item.channel, item.filter), item.class_code)
    return list(found.values())


def _named(name: str) -> tuple[str, str, str | None]:
    """Return a feature's name in the literature with its class, its filtered image, and its code."""
    item = describe(name)
    said = f"{item.feature_class}: {item.name}" if item.feature_class else item.name
    return said, f"{item.channel}: {item.filter}" if item.channel else item.filter, item.code


def _kept_block(features: pd.DataFrame, kept: Any) -> Table | Picture:
    weight = features["weight"].fillna(0.0).abs()
    order = features.assign(weight_=weight, q_=features["q"].fillna(1.0))
    order = order[order["kept"] == 1].sort_values(["weight_", "q_"], ascending=[False, True], kind="stable")
    rows = [(*_named(row.feature), _number(row.weight), _number(row.auc)) for row in _first(order)]
    note = (
        f"The first {min(MOST_FEATURES, len(order))} of {kept['n_kept']}, by the weight that the learner gives "
        "(absolute coefficient or importance), else by q; codes are those of the IBSI reference manual."
    )
    columns = ["Feature", "Filter", "IBSI code", "Weight", "AUC alone"]
    return table("kept-features", "Features that the model uses", columns, rows, note)


def _tests_block(features: pd.DataFrame) -> Table | Picture:
    order = features.sort_values("p", kind="stable", na_position="last")
    rows = [
        (*_named(row.feature), int(row.n), _number(row.auc), p_value(row.p), p_value(row.q))
        for row in _first(order)
    ]
    note = (
        f"The {min(MOST_FEATURES, len(order))} smallest p of {len(order)}; all are in the table file. "
        f"{features['test'].iloc[0]}; q: false discovery rate by Benjamini and Hochberg."
    )
    columns = ["Feature", "Filter", "IBSI code", "n", "AUC", "p", "q"]
    return table("univariate", "Features by themselves, on development cases", columns, rows, note)


def _icc_block(features: pd.DataFrame, kept: Any) -> Table | Picture:
    classes = [describe(name).feature_class or "other" for name in features["feature"]]
    rows = []
    for name, group in features.assign(class_=classes).groupby("class_", sort=False):
        known = group["icc"].dropna()
        if len(known):
            low, middle, high = known.quantile([0.25, 0.5, 0.75])
            good = int((known >= GOOD_ICC).sum())
            rows.append((str(name), len(known), float(middle), float(low), float(high), good))
    note = (
        f"ICC(2,1) over the mask as drawn and masks changed by {listing(list(kept.get('icc_masks', [])))}, "
        f"{count(int(kept['icc_cases']), 'development case')}."
    )
    columns = ["Feature class", "Features", "Median ICC", "1st quartile", "3rd quartile", f"≥ {GOOD_ICC:g}"]
    return table("icc", "Robustness under other masks", columns, rows, note)


def _first(order: pd.DataFrame) -> Any:
    return order.head(MOST_FEATURES).itertuples(index=False)


def _number(value: float) -> Cell:
    """Return a figure with three decimals, a dash where there is none."""
    return Cell(text="–") if pd.isna(value) else Cell(text=f"{value:.3f}", number=float(value))
