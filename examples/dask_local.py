"""The same search on a Dask cluster: here workers of this machine, elsewhere any client of yours.

python examples/dask_local.py manifest.csv --workers 4
python examples/dask_local.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from distributed import Client, LocalCluster

import autoonco
from autoonco.data.phantoms import make_phantoms


def main() -> None:
    """Fit with two workers, each a process with a scratch folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", nargs="?", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--time-limit", default="10min")
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp(prefix="autoonco-")))
    options = parser.parse_args()
    manifest = options.manifest or make_phantoms(options.out / "phantoms", n=60, ndim=2)

    with (
        LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        clf = autoonco.fit(
            manifest,
            time_limit=options.time_limit,
            families=["radiomics"],
            client=client,
            run_dir=options.out / "run",
        )
    print(clf.leaderboard().head())


if __name__ == "__main__":  # the workers import this file
    main()
