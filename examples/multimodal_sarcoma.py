"""Several sequences of one lesion, each on its own grid, with clinical columns.

    python examples/multimodal_sarcoma.py sarcoma/labels.csv --clinical age,sex
    python examples/multimodal_sarcoma.py

The manifest names them ``image_t1``, ``image_pet`` and ``image_ct``, with ``mask_t1``, ``mask_pet`` and ``mask_ct``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

import autoonco
from autoonco.data.phantoms import make_phantoms


def main() -> None:
    """Fit on all sequences and clinical columns, and compare with the clinical columns alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", nargs="?", type=Path)
    parser.add_argument("--clinical", default="age,sex")
    parser.add_argument("--time-limit", default="30min")
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp(prefix="autoonco-")))
    options = parser.parse_args()
    manifest = options.manifest or made_up(options.out / "phantoms")

    dataset = autoonco.Dataset.from_csv(manifest, clinical=options.clinical.split(","))
    print("Sequences:", ", ".join(dataset.channels))
    clf = autoonco.fit(
        dataset,
        time_limit=options.time_limit,
        families=["radiomics", "clinical"],
        evaluation="holdout",
        run_dir=options.out / "run",
    )
    print(clf.result_.evaluation())
    print(clf.result_.comparison())


def made_up(folder: Path) -> Path:
    """Write phantoms as two sequences, the second one coarser and shifted, with an age and a sex."""
    table = pd.read_csv(make_phantoms(folder, n=40, ndim=3))
    rng = np.random.default_rng(0)
    for row, (image, mask) in enumerate(zip(table["image"], table["mask"], strict=True)):
        for kind, name, method in (
            ("image", image, sitk.sitkLinear),
            ("mask", mask, sitk.sitkNearestNeighbor),
        ):
            scan = sitk.ReadImage(str(folder / name))
            grid = sitk.Image([side // 2 for side in scan.GetSize()], scan.GetPixelID())
            grid.SetSpacing([2 * step for step in scan.GetSpacing()])
            grid.SetOrigin(
                [place + 0.5 * step for place, step in zip(scan.GetOrigin(), scan.GetSpacing(), strict=True)]
            )
            grid.SetDirection(scan.GetDirection())
            other = f"{kind}_pet_{row}.nii.gz"
            sitk.WriteImage(sitk.Resample(scan, grid, sitk.Transform(), method), folder / other)
            table.loc[row, f"{kind}_pet"] = other
    table = table.rename(columns={"image": "image_t1", "mask": "mask_t1"})
    table["age"] = rng.normal(55, 12, len(table)).round()
    table["sex"] = rng.choice(["female", "male"], len(table))
    table.to_csv(folder / "sequences.csv", index=False)
    return folder / "sequences.csv"


if __name__ == "__main__":
    main()
