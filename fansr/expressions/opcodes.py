"""The opcodes of programs under names that kernels can be read by: `from fansr.expressions import opcodes as op`.

0..37 are the operators in the order of the table (tokens.py), binary ones first; then MORE_OPERATORS, binary ones last, and
JOIN; then the kinds of leaf.  An opcode below LITERAL has two operands when it is at most LAST_BINARY or from MIN to MOD.
numba folds a module's numbers as constants.
"""

from fansr.expressions.tokens import (
    CONSTANT_OPCODE,
    COPY_OPCODE,
    JOIN_OPCODE,
    LITERAL_OPCODE,
    MORE_OPERATORS,
    OPERATOR,
    OPERATORS,
    VARIABLE_OPCODE,
)

ADD, SUB, MUL, DIV, POW = (OPERATOR[t].opcode for t in ("+", "-", "*", "/", "pow"))
ABS, INV, NEG = (OPERATOR[t].opcode for t in ("abs", "inv", "neg"))
POW2, POW3, POW4, POW5 = (OPERATOR[f"pow{k}"].opcode for k in (2, 3, 4, 5))
ROOT2, ROOT3, ROOT4, ROOT5 = (OPERATOR[f"pow1_{k}"].opcode for k in (2, 3, 4, 5))
SIN, COS, TAN, ASIN, ACOS, ATAN = (OPERATOR[t].opcode for t in ("sin", "cos", "tan", "asin", "acos", "atan"))
SINH, COSH, TANH = (OPERATOR[t].opcode for t in ("sinh", "cosh", "tanh"))
ASINH, ACOSH, ATANH = (OPERATOR[t].opcode for t in ("asinh", "acosh", "atanh"))
EXP, LOG = OPERATOR["exp"].opcode, OPERATOR["log"].opcode
MULT2, MULT5, DIV2, DIV5 = (OPERATOR[t].opcode for t in ("mult2", "mult5", "div2", "div5"))
STEP, SIGN, FLOOR, LOGISTIC = (OPERATOR[t].opcode for t in ("step", "sign", "floor", "logistic"))
MIN, MAX, MOD = (OPERATOR[t].opcode for t in ("min", "max", "mod"))
JOIN, LITERAL, FREE, COLUMN, COPY = JOIN_OPCODE, LITERAL_OPCODE, CONSTANT_OPCODE, VARIABLE_OPCODE, COPY_OPCODE
LAST_BINARY = POW
assert [row.arity for row in OPERATORS] == [2] * (POW + 1) + [1] * (len(OPERATORS) - POW - 1)
assert [row.arity for row in MORE_OPERATORS] == [1] * (MIN - STEP) + [2] * (JOIN - MIN)
