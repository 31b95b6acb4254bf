"""Volumes: a 3D run whose result shows where the model looked, as a NIfTI on the scan's own grid.

python examples/ct_3d.py nodules/manifest.csv
python examples/ct_3d.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import autoonco
from autoonco.data.phantoms import make_phantoms


def main() -> None:
    """Fit on volumes, and write a map for one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", nargs="?", type=Path)
    parser.add_argument("--time-limit", default="20min")
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp(prefix="autoonco-")))
    options = parser.parse_args()
    manifest = options.manifest or make_phantoms(options.out / "phantoms", n=48, ndim=3)

    dataset = autoonco.Dataset.from_csv(manifest)
    clf = autoonco.fit(
        dataset,
        time_limit=options.time_limit,
        families=["pretrained2d", "volumetric3d"],
        evaluation="holdout",
        run_dir=options.out / "run",
    )
    print(clf.result_.evaluation())
    shown = clf.explain(dataset.subset([0]).unlabelled())
    print(f"{shown.method}, on a grid of {shown.map.shape}")
    shown.save(options.out / "where.nii.gz")


if __name__ == "__main__":
    main()
