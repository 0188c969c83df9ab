"""Methods compared on the same problems: differences, and who found what the other did not.

A law's difficulty is the same for both methods, so the difference of two rates is known far better than either of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import comb

import numpy as np

from fansr.evaluation.metrics import bootstrap


def sign_test(won: int, lost: int) -> float:
    """Two-sided probability of as uneven a split of won + lost under a fair coin (McNemar's exact test)."""
    n, few = won + lost, min(won, lost)
    return 1.0 if n == 0 else min(1.0, 2.0 * sum(comb(n, k) for k in range(few + 1)) / 2.0**n)


def compared(
    groups: dict[str, Sequence[dict]], metric: str = "vnrr", n_bootstrap: int = 1000, seed: int = 0
) -> list[dict]:
    """One row for each pair of groups of score records: {"a", "b", "n" problems both have, "difference" of the means of
    `metric` (a less b), "low" and "high" of its 95 % interval over laws, "won", "lost" by a, "p" of the sign test}.

    Records are matched by problem; of several for one problem the last counts.  Pairs without a common problem are left out.
    """
    values = {
        name: {r["problem"]: (float(r[metric]), r.get("law")) for r in records if r.get(metric) is not None}
        for name, records in groups.items()
    }
    rows = []
    for a, b in itertools.combinations(values, 2):
        both = [problem for problem in values[a] if problem in values[b]]
        if not both:
            continue
        differences = np.array([values[a][problem][0] - values[b][problem][0] for problem in both])
        low, high = bootstrap(differences, [values[a][problem][1] for problem in both], "mean", n_bootstrap, seed)
        won, lost = int((differences > 0).sum()), int((differences < 0).sum())
        rows.append(
            {"a": a, "b": b, "n": len(both), "difference": float(differences.mean()), "low": low, "high": high,
             "won": won, "lost": lost, "p": sign_test(won, lost)}
        )  # fmt: skip
    return rows


def as_table(rows: list[dict], metric: str, rate: bool) -> str:
    """The rows as text, rates in percent."""
    factor, unit = (100.0, " %") if rate else (1.0, "")
    lines = [f"paired, {metric}{unit}: difference [95 %], problems won and lost, sign test"]
    wide = max(len(f"{row['a']} - {row['b']}") for row in rows)
    for row in rows:
        name = f"{row['a']} - {row['b']}"
        interval = f"[{factor * row['low']:+.1f}, {factor * row['high']:+.1f}]"
        lines.append(
            f"{name:{wide}}  {factor * row['difference']:+.1f} {interval}  {row['won']} : {row['lost']} of {row['n']}  p = {row['p']:.2g}"
        )
    return "\n".join(lines)
