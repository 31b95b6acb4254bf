"""A run on a cluster from Python: workers come and go as SLURM grants them.

Start it on a login node or in a small job of its own; it holds the run folder and asks SLURM for the workers. Needs
``pip install 'autoonco[dask]'`` on all nodes. Only the scans have to be readable everywhere under the same paths.
"""

from __future__ import annotations

import argparse

from dask_jobqueue import SLURMCluster
from distributed import Client

import autoonco

# One job of SLURM is one Dask worker. It names a GPU as a resource, which is how autoonco knows that networks belong
# there; SLURM shows each job the one GPU that it granted, so nothing has to be pinned by hand. The second thread is
# for trials that need no GPU.
GPU_JOBS = {
    "cores": 2,
    "processes": 1,
    "memory": "24GB",
    "job_extra_directives": ["--gpus=1"],
    "worker_extra_args": ["--resources", "GPU=1"],
    "walltime": "04:00:00",
    "local_directory": "$TMPDIR",
    # autoonco watches the memory of its own processes: see memory_limit_gb
    "job_script_prologue": ["export OMP_NUM_THREADS=1", "export AUTOONCO_CACHE_DIR=$TMPDIR/autoonco-cache"],
}


def main() -> None:
    """Fit a classifier on a table of scans with up to `--jobs` jobs at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="a CSV with a row for each case; see the README")
    parser.add_argument("run", help="folder of the run; given again, the run continues")
    parser.add_argument("--model", default="model.onco", help="file to write the classifier to")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--queue", help="SLURM partition")
    options = parser.parse_args()
    with SLURMCluster(queue=options.queue, **GPU_JOBS) as cluster, Client(cluster) as client:
        # A job that SLURM ends costs its trial a second start on another worker, no more.
        cluster.adapt(minimum_jobs=1, maximum_jobs=options.jobs)
        classifier = autoonco.fit(options.table, time_limit="6h", run_dir=options.run, client=client)
        classifier.save(options.model)


# Workers are started by SLURM and do not import this file, but a LocalCluster in its place would.
if __name__ == "__main__":
    main()
