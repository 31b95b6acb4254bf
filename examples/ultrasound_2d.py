"""Pictures with lesion masks: which family wins here, and a model that predicts new pictures.

python examples/ultrasound_2d.py breast/manifest.csv      # your own
python examples/ultrasound_2d.py                          # made-up lesions
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import autoonco
from autoonco.data.phantoms import make_phantoms


def main() -> None:
    """Check, fit, compare families and predict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", nargs="?", type=Path)
    parser.add_argument("--time-limit", default="10min")
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp(prefix="autoonco-")))
    options = parser.parse_args()
    manifest = options.manifest or make_phantoms(options.out / "phantoms", n=60, ndim=2)

    dataset = autoonco.Dataset.from_csv(manifest)
    print(dataset.check())  # what is wrong or doubtful

    clf = autoonco.fit(dataset, time_limit=options.time_limit, run_dir=options.out / "run")
    print(clf.result_.evaluation())
    print(clf.result_.verdict().sentence)
    print("Report:", clf.report(options.out / "report"))

    model = clf.save(options.out / "model.onco")
    new = dataset.subset([0, 1, 2]).unlabelled()
    print(autoonco.load(model).predict_table(new))


if __name__ == "__main__":
    main()
