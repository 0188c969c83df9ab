"""Sums and products flattened and sorted without the engine: what an expression is where the engine's answer is longer than it."""

from __future__ import annotations

from fansr.expressions import ARITY, CONSTANT, variable_index


def shorter(expr, spelled) -> list[str] | None:
    """The expression much as it came, where that is shorter than `spelled`: one skeleton in a thousand, mostly for a
    common factor that the engine multiplies out; None where it is not."""
    # Signs, inverses and constants may go when it is ordered, so the lengths are compared after that.  As many constants
    # as in `spelled` are taken to stay, which is the same for every other spelling of the expression.
    gone = max(expr.count(CONSTANT) - max(spelled.count(CONSTANT), 1), 0)
    least = len(expr) - expr.count("neg") - expr.count("inv") - 2 * gone
    if len(spelled) > least:
        tidy = ordered(expr)
        if len(tidy) < len(spelled):
            return tidy
    return None


_SUM, _PRODUCT, _OTHER = "+-", "*/", ""


def ordered(expr) -> list[str]:
    """The expression with its sums and products flat and sorted, a + neg b as a - b, a * inv b as a / b, and one
    free constant for what has no variables: never longer, the same for any order and bracketing."""
    stack: list[tuple[str, list, list]] = []  # (kind, operands added or multiplied, subtracted or divided by)
    for token in reversed(expr):
        kind = _KIND.get(token)
        if kind is not None:
            more, less = _parts(stack.pop(), kind)
            if token in ("neg", "inv"):
                more, less = less, more
            elif token in ("+", "*"):
                a, b = _parts(stack.pop(), kind)
                more, less = more + a, less + b
            else:
                a, b = _parts(stack.pop(), kind)
                more, less = more + b, less + a
            stack.append((kind, more, less))
        elif ARITY.get(token) == 1:
            a = _flat(stack.pop())
            stack.append((_OTHER, [a if a == (CONSTANT,) else (token, *a)], []))
        elif ARITY.get(token) == 2:  # pow, and what the engine does not know
            a, b = _flat(stack.pop()), _flat(stack.pop())
            stack.append((_OTHER, [a if a == b == (CONSTANT,) else (token, *a, *b)], []))
        else:
            stack.append((_OTHER, [(token,) if variable_index(token) is not None else (CONSTANT,)], []))
    return list(_flat(stack[0]))


_KIND = {"+": _SUM, "-": _SUM, "neg": _SUM, "*": _PRODUCT, "/": _PRODUCT, "inv": _PRODUCT}


def _parts(node, kind):
    """Operands of a node as one of `kind`: its own where it is one, else itself."""
    return (node[1], node[2]) if node[0] == kind else ([_flat(node)], [])


def _flat(node) -> tuple[str, ...]:
    """Tokens of a node, operands sorted, constants merged into one at the end."""
    kind, more, less = node
    if kind == _OTHER:
        return more[0]
    constant = (CONSTANT,)
    free = constant in more or constant in less
    more = sorted(part for part in more if part != constant)
    less = sorted(part for part in less if part != constant)
    if free:
        more.append(constant)
    join, split = kind
    tokens = sum(more, (join,) * (len(more) - 1))
    if not less:
        return tokens
    under = sum(less, (join,) * (len(less) - 1))
    return (split, *tokens, *under) if more else ("neg" if kind == _SUM else "inv", *under)
