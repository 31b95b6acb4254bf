"""A table of features that you have already, keyed by case, competes as a family of its own.

python examples/own_features.py manifest.csv features.csv
python examples/own_features.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import autoonco
from autoonco.data.phantoms import make_phantoms


def main() -> None:
    """Fit the table's features beside autoonco's own, and compare them on the same cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", nargs="?", type=Path)
    parser.add_argument("features", nargs="?", type=Path, help="CSV or Parquet with a column `case`")
    parser.add_argument("--time-limit", default="10min")
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp(prefix="autoonco-")))
    options = parser.parse_args()
    manifest, features = options.manifest, options.features
    if manifest is None:
        manifest = make_phantoms(options.out / "phantoms", n=60, ndim=2)
        features = made_up(manifest, options.out / "features.csv")

    clf = autoonco.fit(
        manifest,
        features=features,
        time_limit=options.time_limit,
        families=["own_features", "radiomics"],
        run_dir=options.out / "run",
    )
    print(clf.result_.evaluation())
    print(clf.result_.comparison())


def made_up(manifest: Path, path: Path) -> Path:
    """Write a table with a feature that half tells the label and nine that tell nothing."""
    table, rng = pd.read_csv(manifest), np.random.default_rng(0)
    found = pd.DataFrame(rng.normal(size=(len(table), 10)), columns=[f"f{i}" for i in range(10)])
    found["f0"] += (table["label"] == "malignant").astype(float)
    found.insert(0, "case", table["case"])
    found.to_csv(path, index=False)
    return path


if __name__ == "__main__":
    main()
