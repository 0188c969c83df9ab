"""Genomes and prefix expressions: codes to tokens and back, top-level terms, sums written as products."""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import CONSTANT, OPERATOR, OPERATORS, Programs, literal_value, opcodes as op, variable_index
from fansr.proposers.local_search.genome_compiler import spell
from fansr.proposers.local_search.genomes import WIDTH, Genomes


def to_codes(expr, consts=None) -> tuple[list[int], list[float]]:
    """Genome codes and values of a prefix expression; literals become free constants."""
    consts = iter(() if consts is None else consts)
    codes, values = [], []
    for token in expr:
        column = variable_index(token)
        if token in OPERATOR:
            codes.append(OPERATOR[token].opcode)
            values.append(0.0)
        elif column is not None:
            codes.append(op.COLUMN + column)
            values.append(0.0)
        else:
            codes.append(op.FREE)
            values.append(float(next(consts, 1.0)) if token == CONSTANT else literal_value(token))
    return codes, values


def to_tokens(codes) -> list[str]:
    """The prefix expression of genome codes."""
    codes = codes.tolist() if isinstance(codes, np.ndarray) else codes
    return [_TOKENS[q] if q < op.COLUMN else f"x{q - op.COLUMN + 1}" for q in codes]


# Tokens of the codes below a column's.
_TOKENS = [row.token for row in OPERATORS] + [CONSTANT] * (op.COLUMN - len(OPERATORS))


def terms_of(g) -> list[tuple[int, int]]:
    """(first, stop) of each top-level term of a genome or of a whole expression without its summand."""
    plus, spans, i = op.ADD, [], 0
    while True:
        more = g[i] == plus
        i += int(more)
        stop = stop_of(g, i) if more else len(g)
        spans.append((i, stop))
        if not more:
            return spans
        i = stop


def stop_of(g, i: int) -> int:
    """Index after the subtree at i."""
    open_slots = 1
    while open_slots:
        q = g[i]
        open_slots += -1 if q >= len(OPERATORS) else OPERATORS[q].arity - 1
        i += 1
    return i


def product_of_powers(codes, values):
    """(tokens, consts) of exp(c0 + c1*t1 + ...) as a product, where t = log u gives u to a power.

    Powers within 0.02 of a multiple of 1/2 are taken to be that; the fit that follows says whether they are.
    """
    expr, consts = [], [math.exp(min(700.0, values[len(codes) - 1]))]
    for first, stop in terms_of(codes)[:-1]:
        c, term, inner = (
            values[first + 1],
            to_tokens(codes[first + 2 : stop]),
            values[first + 2 : stop][codes[first + 2 : stop] == op.FREE],
        )
        if codes[first] == op.MUL and term[0] == "log":
            half = round(2 * c)
            if half == 0 and abs(c) < 0.02:
                continue
            if abs(c - half / 2) < 0.02 and _POWERS.get(abs(half)) is not None:
                factor, own = [*(["inv"] if half < 0 else []), *_POWERS[abs(half)], *term[1:]], inner
            else:
                factor, own = ["pow", *term[1:], CONSTANT], [*inner, c]
        else:
            factor, own = ["exp", to_tokens(codes[first : first + 1])[0], CONSTANT, *term], [c, *inner]
        expr += ["*", *factor]
        consts = [*consts, *own]
    # expr reads * f1 * f2 ...; the leading factor closes it.
    return [*expr, CONSTANT], np.array([*consts[1:], consts[0]])


# Tokens that raise to half of the key.
_POWERS = {
    1: ["pow1_2"],
    2: [],
    3: ["pow3", "pow1_2"],
    4: ["pow2"],
    5: ["pow5", "pow1_2"],
    6: ["pow3"],
    8: ["pow4"],
    10: ["pow5"],
}


def without_summand(codes):
    """The codes of c1*t1 + (c2*t2 + (... + c0)) without c0: the last operand of the innermost top-level sum."""
    # The ADD whose second operand is the final constant is the last top-level one; dropping both closes the gap.
    plus = op.ADD
    place, at = 0, 0
    while at < len(codes) - 1 and codes[at] == plus:
        place = at
        at = stop_of(codes, at + 1)
    return np.concatenate([codes[:place], codes[place + 1 : -1]])


def spelled(genomes: Genomes) -> tuple[Programs, np.ndarray, np.ndarray, np.ndarray]:
    """(Programs, given (n, 16), homes (n, 16), codes (n, 2*WIDTH)) of genomes' whole expressions c0 + c1*term1 + ...; see spell()."""
    n = len(genomes.lengths)
    room = int(genomes.lengths.sum()) + 24 * n + 1
    codes, link = np.empty(room, np.int64), np.empty(room, np.int64)
    start, n_constants = np.empty(n + 1, np.int64), np.empty(n, np.int64)
    given, homes, full = np.ones((n, 16)), np.full((n, 16), -1, np.int64), np.empty((n, 2 * WIDTH), np.int64)
    used = spell(genomes, 1, codes, link, start, n_constants, given, homes, full)
    return Programs(codes[:used], link[:used], np.zeros(used), start, n_constants), given, homes, full
