"""flash-ansr 0.4.3's corpus, in its own interpreter: one JSON line a rate, as bin/bench-corpus prints them.

    python3 -m venv --system-site-packages peer
    peer/bin/pip install --no-deps flash-ansr==0.4.3 simplipy==0.2.15
    bin/bench-corpus speed --flash-ansr peer

simplipy 0.2.15 is the last that has the operators and the arguments flash-ansr 0.4.3 asks for.  Its rules come from a hub;
without them the engine still merges and cancels by itself, so what is timed with simplification is a lower bound of its
cost.  Only the pool is loaded, not the package's model.  Settings are section 3.3's: 17 variables, up to 17 operators.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
import types
import warnings

SECONDS, POINTS = 4.0, 128
INVERSES = {
    "+": "-",
    "-": "+",
    "*": "/",
    "/": "*",
    "neg": "neg",
    "inv": "inv",
    "exp": "log",
    "log": "exp",
    **{a + f: b + f for f in ("sin", "cos", "tan", "sinh", "cosh", "tanh") for a, b in (("", "a"), ("a", ""))},
    **{a + k: b + k for k in "2345" for a, b in (("mult", "div"), ("div", "mult"), ("pow", "pow1_"), ("pow1_", "pow"))},
}


def the_pool():
    """The class of the skeleton pool, without the package's __init__, which loads the model and all it needs."""
    package = types.ModuleType("flash_ansr")
    package.__path__ = list(importlib.util.find_spec("flash_ansr").submodule_search_locations)
    sys.modules["flash_ansr"] = package
    from flash_ansr.expressions import skeleton_pool

    return skeleton_pool


def engine():
    """simplipy over the paper's Table 5, without rules."""
    from simplipy import SimpliPyEngine

    named = {"/": "simplipy.operators.div", "+": "+", "-": "-", "*": "*"}
    precedence = {"+": 1, "-": 1, "*": 2, "/": 2}
    operators = {
        token: {
            "arity": 2 if token in (*precedence, "pow") else 1,
            "alias": [],
            "inverse": INVERSES.get(token),
            "commutative": token in ("+", "*"),
            "precedence": precedence.get(token, 3),
            "realization": named.get(token, f"simplipy.operators.{token}"),
        }
        for token in [*precedence, "pow", "abs", *(token for token in INVERSES if token not in precedence)]
    }
    return SimpliPyEngine(operators, rules=[])


def main():
    import numpy as np

    module, simplipy = the_pool(), engine()
    weights = {token: 10.0 if token in "+-*/" else 1.0 for token in simplipy.operator_arity}
    for simplify in (False, True):
        np.random.seed(0)
        pool = module.SkeletonPool(
            simplipy,
            {
                "n_operator_distribution": "length_exponential",
                "min_operators": 0,
                "max_operators": 17,
                "power": 0.7,
                "lambda": 1.0,
                "max_length": 35,
                "max_tries": 100,
                "independent_dimensions": True,
            },
            {"name": "normal", "kwargs": {"loc": 0, "scale": 5}},
            [f"x{j + 1}" for j in range(17)],
            support_sampler_config={
                "support_prior": {"name": "uniform", "kwargs": {"low": -10, "high": 10}},
                "n_support_prior": {"name": "uniform", "kwargs": {"low": POINTS, "high": POINTS}},
            },
            operator_weights=weights,
            simplify=simplify,
        )
        made, begin = [], time.process_time()
        while time.process_time() - begin < SECONDS:
            try:
                made.append(pool.sample_skeleton(new=True))
            except module.NoValidSampleFoundError:
                pass
        told = {"simplified": simplify, "simplipy_rules": 0}
        print(
            json.dumps({"what": "flash-ansr: sample_skeleton", **told, "per_cpu_second": round(len(made) / SECONDS)}),
            flush=True,
        )
        pool.sample_strategy["max_tries"] = 5  # one draw and four redraws, as in section 3.3
        accepted, seen, begin = 0, 0, time.process_time()
        while time.process_time() - begin < SECONDS:
            _, code, constants = made[seen % len(made)]
            seen += 1
            try:
                pool.sample_data(code, len(constants), POINTS)
                accepted += 1
            except module.NoValidSampleFoundError:
                pass
        print(
            json.dumps(
                {
                    "what": f"flash-ansr: sample_data, M={POINTS}",
                    **told,
                    "accepted_per_cpu_second": round(accepted / SECONDS),
                    "accepted": round(accepted / seen, 3),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
