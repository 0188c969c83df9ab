"""Formulas written by compiled code against expressions.to_infix."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fansr.corpus import draw_kernels, formula_text, problem_bytes
from fansr.expressions import to_infix
from fansr.expressions.program_kernels import Tape
from fansr.expressions.tokens import CONSTANT, OPERATORS

NUMBERS = st.one_of(
    st.floats(-9, 9),
    st.floats(allow_nan=False, width=64),
    st.integers(-5, 5).map(float),
    st.sampled_from([1e-7, -1e22, 0.0, -0.0]),
)


@st.composite
def formulas(draw):
    """(prefix expression over x1, x12 and constants, values of the constants)."""
    need, found = 1, []
    while need:
        choices = (
            [CONSTANT, "x1", "x12"] if need + len(found) > 24 else [CONSTANT, "x1", *(row.token for row in OPERATORS)]
        )
        token = draw(st.sampled_from(choices))
        need += next((row.arity for row in OPERATORS if row.token == token), 0) - 1
        found.append(token)
    return found, draw(st.lists(NUMBERS, min_size=found.count(CONSTANT), max_size=found.count(CONSTANT)))


def infix(form, consts) -> str:
    """put_infix on one expression."""
    row = draw_kernels.to_rows([form])[0]
    L = len(row)
    tape = Tape(*(np.zeros(L, kind) for kind in (np.int64, np.int64, np.float64, np.int64)), *np.zeros((2, 1, 1)))
    used = draw_kernels.program(row.copy(), tape)
    texts, text_at = formula_text.texts_of(np.array(consts))
    work = (np.zeros(n, np.int64) for n in (L, L, 8 * L + 8))
    formula = formula_text.Formula(tape, np.arange(1, 18), texts, text_at, *work)
    out = np.zeros(problem_bytes.PER_TOKEN * L + len(texts), np.uint8)
    end = formula_text.put_infix(out, 0, formula, used, 0)
    return bytes(out[:end]).decode()


@settings(deadline=None, max_examples=600)
@given(formulas())
def test_formulas_are_those_of_to_infix(case):
    form, consts = case
    assert infix(form, consts) == to_infix(form, consts)


@pytest.mark.parametrize(
    "form",
    [
        ["+", "x1", "neg", "x12"],
        ["+", "x1", "+", "-", "neg", "x1", "x1", "x1"],
        ["-", "x1", "neg", "x1"],
        ["pow3", "pow1_4", "+", "x1", "x1"],
        ["+", "x1", "div2", "neg", "x1"],
        ["/", "x1", "/", "x1", "x1"],
        ["neg", "neg", "x1"],
        ["+", "x1", "-", "neg", "neg", "x1", "x1"],
        ["pow", "neg", "x1", "neg", "x1"],
        ["inv", "inv", "x1"],
        ["pow5", "pow1_2", "pow5", "pow1_2", "x1"],
        ["*", "neg", "x1", "neg", "x1"],
        ["pow2", "pow3", "x1"],
        ["/", "x1", "pow2", "pow3", "pow5", "neg", "x1"],
        ["pow2", "pow3", "pow1_2", "x1"],
        ["pow4", "pow2", "pow1_4", "+", "x1", "x2"],
    ],
)
def test_signs_and_brackets(form):
    assert infix(form, []) == to_infix(form)
