"""Simplified forms beside what they came from, by the values that tests/soundness.py computes."""

import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from scipy import stats

TESTS = Path(__file__).resolve().parent.parent.parent / "tests"
OPEN = (
    "wrong",
    "undecided",
)  # verdicts that leave a doubt; a form with constants of its own is never shown wrong, only undecided


def judged(exprs, forms: dict, n: int, variables: int, seconds: float | None = None):
    """{tier: Counter of what tests/soundness.py says} of n skeletons drawn at random, {tier: the same of up to n forms that are others
    than the first tier's}, and the examples that were not found sound.

    The skeletons are the same for all tiers, and a form that two tiers share is judged once.  seconds: of the processor, for either.
    """
    sys.path.append(str(TESTS))
    import soundness

    order, names, known, examples = np.random.default_rng(2).permutation(len(exprs)).tolist(), list(forms), {}, []

    def verdict(i, name):
        form = forms[name][i]
        if (i, tuple(form)) not in known:
            with np.errstate(all="ignore"):
                found, example = soundness.judge(exprs[i], form, np.random.default_rng([2, i]), variables, 12)
                if found == "undecided":  # once more, with other points and more starts for its constants
                    found, example = soundness.judge(exprs[i], form, np.random.default_rng([3, i]), variables, 40)
            known[i, tuple(form)] = found
            if found in OPEN:
                examples.append((found, name, " ".join(exprs[i]), " ".join(form), example))
        return known[i, tuple(form)]

    def tally(places):
        """Verdicts of (skeleton, tiers) in turn until the time is over; a skeleton counts for all of its tiers or none."""
        found, begin = {name: Counter() for name in names}, time.process_time()
        for i, tiers in places:
            for name in tiers:
                found[name][verdict(i, name)] += 1
            if seconds is not None and time.process_time() - begin > seconds:
                break
        return found

    whole = [i for i in order if all(forms[name][i] is not None for name in names)]
    others = ((i, [name for name in names[1:] if forms[name][i] != forms[names[0]][i]]) for i in whole)
    drawn = tally((i, names) for i in whole[:n])
    return drawn, tally([(i, tiers) for i, tiers in others if tiers][:n]), examples


def told_of(verdicts: Counter) -> str:
    """The verdicts as text, with the share of forms that may be unsound: 95 % bound over those wrong or undecided."""
    total, unsure = sum(verdicts.values()), sum(verdicts[word] for word in OPEN)
    words = [f"wrong {verdicts['wrong']}", *(f"{k} {v}" for k, v in verdicts.most_common() if k != "wrong")]
    bound = stats.beta.ppf(0.95, unsure + 1, total - unsure) if unsure < total else 1.0
    return f"{total}: {', '.join(words)}; wrong or undecided are {unsure / total:.3%}, with 95 % at most {bound:.3%}"
