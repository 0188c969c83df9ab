"""How fast laws are in a block's place: eight laws of twelve tokens between bases, beside the block and a linear map.

    bin/bench-law-layer                 # 4,096 rows, one thread, float32: processor time, all in turn in one run
    bin/bench-law-layer --rows 64 --threads 2

The block is an MLP of d -> 4 d -> d with GELU, as in a transformer; the laws stand on the 16 leading principal components of its
input and give 8 of its output's.  Laws over the raw columns and the plain torch modules of single laws are shown beside.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from fansr.distillation.input_columns import InputColumns
from fansr.distillation.law_layer import LawLayer
from fansr.expressions import export

TURNS = 15
# Laws of twelve tokens as searches find them; two of them share a part.
LAWS = (
    ("+ * <constant> sin * <constant> x1 * <constant> pow2 x2", 3),
    ("+ * <constant> tanh x3 * <constant> * x4 + x5 <constant>", 3),
    ("- * <constant> x6 / <constant> + <constant> exp * <constant> x7", 4),
    ("+ <constant> * <constant> * tanh x3 + x8 * <constant> x9", 3),
    ("* <constant> * exp neg pow2 x10 + <constant> * <constant> x11", 3),
    ("+ * <constant> abs + x12 <constant> * <constant> pow2 x13", 3),
    ("/ * <constant> x14 + <constant> pow2 + x15 * <constant> x16", 3),
    ("+ * <constant> logistic * <constant> x1 * <constant> * x2 x3", 3),
)


def candidates(d, k, out, rng):
    """{name: function of X}: the block and what may stand for it."""
    laws = [(text.split(), rng.normal(0, 1, n)) for text, n in LAWS]
    assert all(abs(len(expr) - 12) <= 2 for expr, _ in laws)
    P, Q = rng.normal(size=(k, d)) / d, rng.normal(size=(out, d))
    names = [f"x{j + 1}" for j in range(d)]
    ranges = np.full(k, -3.0), np.full(k, 3.0)
    values = np.full(out, -9.0), np.full(out, 9.0), np.zeros(out)

    def layer(engine, guard="clip", raw=False):
        columns = InputColumns(names[:k] if raw else names, None, *(() if raw else (np.zeros(d), P)), keep_raw=raw)
        basis = None if raw else (np.zeros(d), Q)
        return LawLayer(laws, columns, ranges, values, guard, basis, engine=engine)

    mlp = torch.nn.Sequential(torch.nn.Linear(d, 4 * d), torch.nn.GELU(), torch.nn.Linear(4 * d, d))
    singles = [export.torch_module(expr, consts) for expr, consts in laws]
    p, q = torch.as_tensor(P, dtype=torch.float32).t().contiguous(), torch.as_tensor(Q, dtype=torch.float32)
    return {
        f"MLP {d}-{4 * d}-{d}": mlp,
        f"linear map {d} x {d}": torch.nn.Linear(d, d),
        "laws, engine chosen": layer("auto"),
        "laws, torch": layer("torch"),
        "laws, compiled kernel": layer("numba"),
        "laws without guard": layer("auto", "none"),
        f"laws over {k} raw columns": (lambda one: lambda X: one(X[:, :k]))(layer("auto", raw=True)),
        "single laws, projected once": lambda X: (lambda Z: torch.stack([law(Z) for law in singles], 1) @ q)(X @ p),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    found = candidates(options.width, 16, 8, np.random.default_rng(options.seed))
    X = torch.randn(options.rows, options.width)
    took = {name: [] for name in found}
    with torch.no_grad():
        for function in found.values():
            function(X)
        calls = {name: max(1, int(0.02 / once(function, X))) for name, function in found.items()}
        for _ in range(TURNS):  # in turn, so that a busy machine is busy for all of them
            for name, function in found.items():
                begun = time.process_time()
                for _ in range(calls[name]):
                    function(X)
                took[name].append((time.process_time() - begun) / calls[name])
    first = None
    print(f"{options.rows} rows, float32, {options.threads} thread(s); processor time, median of {TURNS}")
    for name, times in took.items():
        middle = statistics.median(times)
        first = first or middle
        print(f"  {name:30s}{1e3 * middle:8.2f} ms  {first / middle:6.1f} times as fast as the MLP")


def once(function, X):
    """Seconds of one call."""
    begun = time.process_time()
    function(X)
    return max(1e-6, time.process_time() - begun)


if __name__ == "__main__":
    main()
