"""SymPy on the same skeletons: its seconds and the lengths of what it makes, kept in a file as they come."""

import signal
import time

import numpy as np

from fansr.expressions.infix import to_infix
from fansr.expressions.prefix import bind
from fansr.expressions.tokens import CONSTANT


class TimeOut(Exception):
    pass


def _alarm(signum, frame):
    raise TimeOut


def sympy_length(tree) -> int:
    """Prefix tokens of a SymPy expression: n-ary sums and products as chains, numbers as one constant each, a
    reciprocal, a negative and an integer power or root as one unary operator, like Table 5's."""
    import sympy

    if tree.is_Number or tree.is_Symbol or tree.is_NumberSymbol:
        return 1
    lengths = [sympy_length(part) for part in tree.args]
    if tree.is_Pow:
        exponent = tree.args[1]
        if (
            exponent.is_Rational
            and abs(exponent) != 1
            and max(abs(exponent.p), exponent.q) <= 5
            and 1 in (abs(exponent.p), exponent.q)
        ):
            return lengths[0] + 1 + (exponent < 0)
        if exponent == -1:
            return lengths[0] + 1
    if tree.is_Mul and tree.args[0] == -1 and len(tree.args) == 2:
        return lengths[1] + 1
    if len(lengths) == 1:
        return lengths[0] + 1
    joined = sum(lengths) + len(lengths) - 1
    if isinstance(tree, (sympy.Add, sympy.Mul)):
        # x + (-1)*y and x * y**-1 are one binary operator in Table 5.
        spared = sum(
            1
            for part in tree.args
            if (part.is_Mul and part.args[0] == -1 and len(part.args) == 2)
            or (part.is_Pow and part.args[1] == -1 and tree.is_Mul)
        )
        return joined - min(spared, len(lengths) - 1)
    return joined


def with_sympy(exprs, limit=1.0, kept=None, most=None):
    """(seconds, lengths) of sympy.simplify on the first of {number: skeleton}; unfinished ones cost `limit` and keep their length.

    kept: a file of rows that earlier calls made, which are taken over and added to.  most: processor seconds of this call, its
    reading of expressions included.  Ctrl-C ends it with those done.
    """
    import sympy

    known, rows = _read_rows(kept) if kept else {}, []
    local = {f"x{j}": sympy.Symbol(f"x{j}", real=True) for j in range(1, 18)}
    local.update(
        inv=lambda a: 1 / a,
        root4=lambda a: a ** sympy.Rational(1, 4),
        cbrt=sympy.real_root and (lambda a: sympy.real_root(a, 3)),
        root5=lambda a: sympy.real_root(a, 5),
    )
    signal.signal(signal.SIGPROF, _alarm)
    begin = time.process_time()
    for number, expr in exprs.items():
        text = " ".join(expr)
        if (number, text) in known:
            rows.append(known[number, text])
            continue
        if most is not None and time.process_time() - begin > most:
            break
        bound = bind(expr, np.round(np.random.default_rng([0, number]).uniform(-10, 10, expr.count(CONSTANT)), 3))
        seconds, length = limit, len(expr)
        try:
            signal.setitimer(signal.ITIMER_PROF, 10 * limit)
            parsed = sympy.sympify(to_infix(bound), locals=local)
            signal.setitimer(signal.ITIMER_PROF, limit)
            start = time.thread_time()
            result = sympy.simplify(parsed)
            seconds = min(limit, time.thread_time() - start)
            signal.setitimer(signal.ITIMER_PROF, 0)
            length = sympy_length(result)
        except KeyboardInterrupt:
            break
        except Exception:  # noqa: BLE001, S110 - SymPy fails in many ways on such input; the expression stays as it is
            pass
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        rows.append((seconds, length))
        if kept:
            with open(kept, "a") as file:
                print(number, text, f"{seconds:.6f}", length, sep="\t", file=file)
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)


def _read_rows(path) -> dict:
    """{(number, skeleton): (seconds, length)} of a file that with_sympy wrote."""
    if not path.exists():
        return {}
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return {(int(number), text): (float(seconds), int(length)) for number, text, seconds, length in lines}
