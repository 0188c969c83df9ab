"""One law spelled differently, and simplified twice over: do all end in one form?"""

import numpy as np

from fansr.corpus.gen import sample_skeletons
from fansr.corpus.prior import Prior
from fansr.expressions.prefix import from_tree, to_tree
from fansr.expressions.tokens import CONSTANT
from fansr.simplification.simplify import Rejected, Simplifier


def report_again(n, first, variables):
    """Simplify n fresh skeletons twice over, as the command does, and say how many change the second time."""
    exprs = sample_skeletons(Prior(variables=variables), np.arange(first, first + n), seed=0)
    simplifier = Simplifier()
    kept = [(expr, form) for expr, form in zip(exprs, simplifier.many(exprs)) if not isinstance(form, Rejected)]
    again = simplifier.many([form for _expr, form in kept])
    changed = [(expr, form, second) for (expr, form), second in zip(kept, again) if second != form]
    print(
        f"{len(kept)} of {n} skeletons, {variables} variables, from id {first}: mean length ratio "
        f"{np.mean([len(form) / len(expr) for expr, form in kept]):.4f}, longer {sum(len(form) > len(expr) for expr, form in kept)}, "
        f"changed when simplified again {len(changed)}"
    )
    for expr, form, second in changed[:20]:
        print("", " ".join(expr), " ".join(form), spelled(second), sep="\n  ")


def respellings(rng):
    """Ways to write an expression differently: name -> function of a node of a tree."""

    def of(node, *tokens):
        return isinstance(node, tuple) and node[0] in tokens

    def commute(t):
        return (t[0], t[2], t[1]) if of(t, "+", "*") and rng.random() < 0.5 else t

    def associate(t):
        if of(t, "+", "*") and of(t[1], t[0]):
            return (t[0], t[1][1], (t[0], t[1][2], t[2]))
        if of(t, "+", "*") and of(t[2], t[0]):
            return (t[0], (t[0], t[1], t[2][1]), t[2][2])
        return t

    return {
        "commuting": commute,
        "re-associating": associate,
        "a-b as a+neg b": lambda t: ("+", t[1], ("neg", t[2])) if of(t, "-") else t,
        "a/b as a*inv b": lambda t: ("*", t[1], ("inv", t[2])) if of(t, "/") else t,
        "C as C+C": lambda t: ("+", CONSTANT, CONSTANT) if t == CONSTANT else t,
        "C as -C": lambda t: ("neg", CONSTANT) if t == CONSTANT else t,
        "x/C as x*C": lambda t: ("*", t[1], CONSTANT) if of(t, "/") and t[2] == CONSTANT else t,
    }


def walk(tree, change):
    """`change` applied to every node, leaves first."""
    if isinstance(tree, tuple):
        tree = (tree[0], *(walk(child, change) for child in tree[1:]))
    return change(tree)


def count_forms(exprs, seed=0):
    """way -> [pairs spelled differently, those that do not end in one form, as (expression, its form, the other's)]."""
    one, counts = Simplifier(), {}
    for way, change in respellings(np.random.default_rng(seed)).items():
        pairs = [(expr, other) for expr in exprs if (other := from_tree(walk(to_tree(expr), change))) != expr]
        forms = zip(pairs, one.many([expr for expr, _ in pairs]), one.many([other for _, other in pairs]))
        counts[way] = len(pairs), [(expr, a, b) for (expr, _), a, b in forms if spelled(a) != spelled(b)]
    return counts


def spelled(form):
    return form.reason if isinstance(form, Rejected) else " ".join(form)


def report_forms(n, first, variables):
    """Write n fresh skeletons in seven other ways and say how many of the pairs end in one form."""
    counts = count_forms(sample_skeletons(Prior(variables=variables), np.arange(first, first + n), seed=0))
    print(
        f"{n} skeletons, {variables} variables, from id {first}: {sum(pairs for pairs, _ in counts.values())} pairs, "
        f"{sum(len(different) for _, different in counts.values())} end in two forms"
    )
    for way, (pairs, different) in counts.items():
        print(f"  {way:15s} {pairs} pairs, {len(different)} different")
        for expr, a, b in different[:10]:
            print("", " ".join(expr), spelled(a), spelled(b), sep="\n    ")
