"""SymbolicRegressor in scikit-learn's own cross-validation, over joblib's backends: seconds and scaling by workers.

    bin/bench-joblib-backends                               loky and threading, and dask and ray where they are installed
    bin/bench-joblib-backends --backends dask --workers 1 2 --rows 400

Nothing here knows of fansr but the estimator: cross_val_score gets it, and joblib hands its fits out.  Each fit searches
for --time seconds of work (clock="cpu" would count a worker's alone), so the scores of all backends must be equal, and are
compared; a backend whose scores differ is named and the exit status is 1.
"""

import argparse
import contextlib
import importlib.util
import json
import resource
import sys
import time

import joblib
import numpy as np
from sklearn.model_selection import KFold, cross_val_score

from fansr import SymbolicRegressor


def table(rows: int, seed: int = 0):
    """A law of two columns with one per cent of noise."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.5, 3.0, (rows, 2))
    y = 2.5 * X[:, 0] * np.exp(-0.7 * X[:, 1]) + 0.3 * X[:, 0] ** 2
    return X, y * (1 + 0.01 * rng.normal(size=rows))


@contextlib.contextmanager
def backend(name: str, workers: int):
    """joblib told to use a backend with so many workers."""
    if name == "dask":
        from dask.distributed import Client, LocalCluster

        with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
            with joblib.parallel_config(backend="dask"):
                yield
        return
    if name == "ray":
        import ray
        from ray.util.joblib import register_ray

        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        register_ray()
        try:
            with joblib.parallel_config(backend="ray", n_jobs=workers):
                yield
        finally:
            ray.shutdown()
        return
    with joblib.parallel_config(
        backend=name, n_jobs=workers, **({"inner_max_num_threads": 1} if name == "loky" else {})
    ):
        yield


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def measure(name: str, workers: int, model, X, y, folds: int) -> dict:
    """Cross-validation twice on one backend: the first time workers start and load, the second they are there."""
    split = KFold(folds, shuffle=True, random_state=0)
    began = processor_seconds()
    with backend(name, workers):
        seconds, scores = [], []
        for _ in range(2):
            start = time.monotonic()
            scores.append(cross_val_score(model, X, y, cv=split, n_jobs=workers))
            seconds.append(time.monotonic() - start)
    return {
        "backend": name,
        "workers": workers,
        "first_seconds": seconds[0],
        "seconds": seconds[1],
        "processor_seconds": processor_seconds() - began,
        "scores": scores[1].tolist(),
    }


def installed(name: str) -> bool:
    needs = {"dask": "distributed", "ray": "ray"}.get(name, "joblib")
    return importlib.util.find_spec(needs) is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["loky", "threading", "dask", "ray"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--folds", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    X, y = table(args.rows)
    # Without --time a search is a fixed amount of work, so that every backend has the same to do and the same answer.
    model = SymbolicRegressor(proposers=("power", "rational"))
    rows, odd = [], []
    for name in args.backends:
        if not installed(name):
            print(f"{name}: not installed, left out", file=sys.stderr)
            continue
        for workers in args.workers:
            rows.append(measure(name, workers, model, X, y, args.folds))
            if not np.allclose(rows[-1]["scores"], rows[0]["scores"], rtol=1e-9):
                odd.append(f"{name} with {workers}")
    if args.json:
        print(json.dumps(rows))
    else:
        print(
            f"{'backend':10} {'workers':>7} {'first, s':>9} {'then, s':>8} {'times':>6}   mean R2 of {args.folds} folds"
        )
        for row in rows:
            one = next(r["seconds"] for r in rows if r["backend"] == row["backend"])
            print(
                f"{row['backend']:10} {row['workers']:7} {row['first_seconds']:9.2f} {row['seconds']:8.2f} "
                f"{one / row['seconds']:6.2f}   {np.mean(row['scores']):.6f}"
            )
    if odd:
        sys.exit(f"other scores than {rows[0]['backend']} with {rows[0]['workers']}: {', '.join(odd)}")


if __name__ == "__main__":
    main()
