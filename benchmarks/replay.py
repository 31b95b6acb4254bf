"""Replays searches on recorded tables: the same decisions as in a run, results and seconds from the table.

Every method searches the same finite list of recorded configs with a simulated clock. A trial takes the seconds that
were recorded; a promoted network pays only for the epochs it hasn't had, and an artefact (a block of features, an
embedding, crops) is paid once. After 10, 30 and 100 % of the budget the regret is noted: the cross-validated loss of
the best config so far that was scored on all its folds, minus the least loss of the table. Simulated seconds never
depend on the machine that replays.

    python -m benchmarks.replay --seeds 20
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import wilcoxon

from autoonco.search.optimizer import OptimizerSettings
from benchmarks.lab import CHANCE_LOSS, SHARE_IN_BUDGET, Lab, time_budget
from benchmarks.recorded import Table, portfolio, read_table, without
from benchmarks.searches import BASE, Method, Ours, RandomSearch, Stock

FRACTIONS = (0.1, 0.3, 1.0)
FULL_ONLY = 0.5
"""A least budget that leaves Hyperband a single rung, full training."""


def _with(**changes: Any) -> OptimizerSettings:
    return replace(BASE, **changes)


OURS = Ours(settings=_with(min_budget=1 / 9), order="cheapest", affordable=0.05, completing=True)
"""What a run does by default: second defaults are trained in full beforehand only up to 5 % of the time."""
FORTY = replace(OURS, affordable=0.4, dear=0.4)
"""The former default: second defaults up to 40 % of the time; firsts that take more wait until its middle."""
EARLIER = Ours()
"""What it did before these tables were there: each family's default before anyone's second, smallest budget 1/27."""


def _ours(**changes: Any) -> Ours:
    """Return `OURS` with other settings of the optimiser."""
    return replace(OURS, settings=replace(OURS.settings, **changes))


METHODS: dict[str, Method] = {
    "ours": OURS,
    "random": RandomSearch(),
    "random, defaults first": RandomSearch(defaults=True),
    "stock Hyperband": Stock(),
    "stock Hyperband, defaults first": Stock(defaults=True),
    "one SMAC a family": Stock(per_family=True),
    "one SMAC a family, defaults first": Stock(per_family=True, defaults=True),
    "ours, no cooling": _ours(cooling=False),
    "ours, stock forest": _ours(all_rungs=False),
    "ours, stock promotion": _ours(family_promotion=False),
    "ours, no portfolio": replace(OURS, portfolio=False),
    "ours, no defaults first": replace(OURS, defaults=False),
    "ours, no racing": replace(OURS, racing=False),
    "ours, no floor": replace(OURS, floor=0.0),
    "ours, no completing": replace(OURS, completing=False),
    "ours, min_budget 1/27": _ours(min_budget=1 / 27),
    "ours, min_budget 1/3": _ours(min_budget=1 / 3),
    "ours, full budget only": _ours(min_budget=FULL_ONLY),
    "ours, dear defaults later": replace(OURS, dear=0.1),
    "40 %, dear defaults later": FORTY,
    "earlier default": EARLIER,
}
VARIANTS: dict[str, Method] = {
    "earlier, no cooling": Ours(settings=_with(cooling=False)),
    "earlier, stock forest": Ours(settings=_with(all_rungs=False)),
    "earlier, stock promotion": Ours(settings=_with(family_promotion=False)),
    "earlier, no portfolio": Ours(portfolio=False),
    "earlier, no defaults first": Ours(defaults=False),
    "earlier, no racing": Ours(racing=False),
    "earlier, no floor": Ours(floor=0.0),
    "earlier, min_budget 1/9": Ours(settings=_with(min_budget=1 / 9)),
    "earlier, min_budget 1/3": Ours(settings=_with(min_budget=1 / 3)),
    "earlier, full budget only": Ours(settings=_with(min_budget=FULL_ONLY)),
    "earlier, one default a family first": Ours(order="firsts"),
    "earlier, random share 0": Ours(settings=_with(random_share=0.0)),
    "earlier, random share 0.5": Ours(settings=_with(random_share=0.5)),
    "earlier, retrain after 1": Ours(settings=_with(retrain_after=1)),
    "earlier, half cooling": Ours(alpha=0.5),
    "earlier, cooling ends at 30 %": Ours(alpha_end=0.3),
    "cheapest defaults first, 1/27": Ours(order="cheapest"),
    "cheapest defaults first, 1/9": Ours(order="cheapest", settings=_with(min_budget=1 / 9)),
    "cheapest defaults first, 1/3": Ours(order="cheapest", settings=_with(min_budget=1 / 3)),
    "cheapest defaults first, full budget only": Ours(order="cheapest", settings=_with(min_budget=FULL_ONLY)),
    "dear defaults not later, 1/27": Ours(order="cheapest", affordable=0.05),
    "dear defaults not later, 1/3": Ours(order="cheapest", affordable=0.05, settings=_with(min_budget=1 / 3)),
    "dear defaults not later, full budget only": Ours(
        order="cheapest", affordable=0.05, settings=_with(min_budget=FULL_ONLY)
    ),
    "ours, min_budget 1/3, no cooling": _ours(min_budget=1 / 3, cooling=False),
}
"""Settings that were tried when the defaults were chosen, on these tables: what is best of many flatters itself."""


def replay(tables: Sequence[Table], methods: Mapping[str, Method], *, n_seeds: int) -> pd.DataFrame:
    """Return one row a method, table, seed and fraction of the budget."""
    rows = []
    for table in tables:
        limit_s = time_budget(table)
        starts = portfolio(table, [other for other in tables if other is not table])
        for name, method in methods.items():
            began = time.perf_counter()
            for seed in range(n_seeds):
                lab = Lab(table, limit_s=limit_s)
                method(lab, seed=seed, starts=starts)
                rows += [(name, table.name, seed, fraction, lab.regret(fraction)) for fraction in FRACTIONS]
            print(f"{table.name}: {name}: {time.perf_counter() - began:.0f} s", flush=True)
    return pd.DataFrame(rows, columns=["method", "table", "seed", "fraction", "regret"])


def compare(frame: pd.DataFrame, *, reference: str = "ours") -> pd.DataFrame:
    """Return the median regret of each method and fraction, and the p-value of `reference` against it.

    Wilcoxon's signed-rank test, paired by table and seed, two-sided; ties are split.
    """
    rows = []
    for (method, fraction), part in frame.groupby(["method", "fraction"], sort=False):
        own = frame[(frame["method"] == reference) & (frame["fraction"] == fraction)]
        pairs = part.merge(own, on=["table", "seed"])
        difference = (pairs["regret_x"] - pairs["regret_y"]).to_numpy()
        p = 1.0 if not difference.any() else float(wilcoxon(difference, zero_method="zsplit").pvalue)
        rows.append((method, fraction, part["regret"].median(), part["regret"].mean(), p))
    return pd.DataFrame(rows, columns=["method", "fraction", "median", "mean", "p"])


def markdown(frame: pd.DataFrame, tables: Sequence[Table]) -> str:
    """Return the comparison of each table, and of both together, as Markdown."""
    parts = [
        "# Recorded configs replayed\n",
        f"Median regret × 1000 over {frame['seed'].nunique()} seeds (mean in brackets) at a fraction of the time "
        "budget; p is Wilcoxon's, paired by seed, of `ours` against the row. Until a config was scored on all its "
        f"folds the loss is that of chance, {CHANCE_LOSS}. Budget: the time in which random search trains "
        f"{SHARE_IN_BUDGET:.0%} of the table in full.\n",
    ]
    for table in [*tables, None]:
        everywhere = frame.groupby("method")["table"].transform("nunique") == len(tables)
        part = frame[everywhere] if table is None else frame[frame["table"] == table.name]
        if table is None:
            title = "All tables together"
        else:
            title = f"{table.name}: {len(table.configs)} configs, budget {time_budget(table):.0f} s"
        parts.append(f"## {title}\n\n{_grid(compare(part))}\n")
    return "\n".join(parts)


def _grid(found: pd.DataFrame) -> str:
    lines = [
        "| method | " + " | ".join(f"{fraction:.0%}" for fraction in FRACTIONS) + " |",
        "| --- |" + " --- |" * len(FRACTIONS),
    ]
    for method, part in found.groupby("method", sort=False):
        cells = []
        for median, mean, p in zip(part["median"], part["mean"], part["p"], strict=True):
            against = "" if method == "ours" else f", p {p:.2g}"
            cells.append(f"{1000 * median:.1f} ({1000 * mean:.1f}){against}")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay, print the comparison and write it beside the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tables", type=Path, default=Path(__file__).parent / "tables")
    parser.add_argument("--without", help="leave out a family, or `defaults`, of every table")
    parser.add_argument("--variants", action="store_true", help="try further settings as well")
    parser.add_argument("--only", nargs="*", help="methods to replay, by name; nothing is written then")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="smac")
    tables = [
        read_table(path.with_name(path.name.removesuffix("_configs.csv")))
        for path in sorted(options.tables.glob("*_configs.csv"))
    ]
    if options.without:
        tables = [without(table, options.without) for table in tables]
    methods = METHODS | (VARIANTS if options.variants else {})
    if options.only:
        methods = {name: (METHODS | VARIANTS)[name] for name in options.only}
    frame = replay(tables, methods, n_seeds=options.seeds)
    text = markdown(frame, tables)
    print(text)
    if not options.only:
        stem = "replay" + (f"_without_{options.without}" if options.without else "")
        frame.round(6).to_csv(options.tables / f"{stem}.csv", index=False, lineterminator="\n")
        (options.tables / f"{stem}.md").write_text(text)


if __name__ == "__main__":
    main()
