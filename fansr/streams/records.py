"""The kinds of record a stream holds, with their fields, and a check with a readable verdict.

f8 is float64; M points, D variables, C constants.  Unknown further fields are passed through.
"""

from __future__ import annotations

import numpy as np

from fansr.errors import DataError

_NUMBER = (int, float)

# kind -> field -> (required, test, what is wanted)
KINDS: dict[str, dict[str, tuple]] = {}


def _field(kind: str, name: str, required: bool, test, wanted: str):
    KINDS.setdefault(kind, {})[name] = (required, test, wanted)


def _is_tokens(value) -> bool:
    return isinstance(value, list) and all(isinstance(token, str) for token in value)


def _is_vector(value) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "f"


def _is_matrix(value) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind == "f"


def _is_id(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _is_number(value) -> bool:
    return isinstance(value, _NUMBER) and not isinstance(value, bool)


_TOKENS = (_is_tokens, "a list of token strings")
_VECTOR = (_is_vector, "a float64 array of shape (M,)")
_MATRIX = (_is_matrix, "a float64 array of shape (M, D)")
_ID = (_is_id, "an unsigned 64-bit integer")
_NUM = (_is_number, "a number")
_STR = (lambda v: isinstance(v, str), "a string")
_MAP = (lambda v: isinstance(v, dict), "a map")

_field("skeleton", "id", True, *_ID)
_field("skeleton", "expr", True, *_TOKENS)
_field("skeleton", "raw_len", False, *_ID)

_field("problem", "id", True, *_ID)
_field("problem", "X", True, *_MATRIX)
_field("problem", "y", True, *_VECTOR)
_field("problem", "X_val", False, *_MATRIX)
_field("problem", "y_val", False, *_VECTOR)
_field("problem", "names", True, *_TOKENS)
_field("problem", "target", False, *_STR)
_field("problem", "noise", False, *_NUM)
_field("problem", "truth", False, *_MAP)
_field("problem", "source", False, *_STR)

_field("candidate", "problem", True, *_ID)
_field("candidate", "expr", True, *_TOKENS)
_field("candidate", "n", False, *_ID)
_field("candidate", "logp", False, *_NUM)
_field("candidate", "source", False, *_STR)

_field("fit", "problem", True, *_ID)
_field("fit", "expr", True, *_TOKENS)
_field("fit", "consts", True, *_VECTOR)
_field("fit", "fvu", True, *_NUM)
_field("fit", "length", False, *_NUM)
_field("fit", "status", False, *_STR)
_field("fit", "seconds", False, *_NUM)

_field("score", "problem", True, *_ID)
_field("score", "best", True, *_MAP)

_field("metric", "step", True, *_ID)
_field("metric", "split", True, *_STR)
_field("metric", "loss", True, *_NUM)


def check(record: dict, kind: str, where: str = "record") -> dict:
    """`record` itself when it is a well-formed record of `kind`; DataError names the first fault.

    Shapes are compared where two fields must agree (X with y, X_val with y_val, X with names).
    """
    if record.get("kind") != kind:
        raise DataError(f"{where}: kind {record.get('kind')!r}, wanted {kind!r}")
    for name, (required, test, wanted) in KINDS[kind].items():
        value = record.get(name)
        if value is None:
            if required:
                raise DataError(f"{where}: a {kind} record without {name}, wanted {wanted}")
            continue
        if not test(value):
            raise DataError(f"{where}: {name} is {_describe(value)}, wanted {wanted}")
    if kind == "problem":
        _check_problem(record, where)
    return record


def _check_problem(record: dict, where: str):
    where = f"{where} (id {record['id']})"
    for X, y in (("X", "y"), ("X_val", "y_val")):
        if record.get(X) is not None and record.get(y) is not None and len(record[X]) != len(record[y]):
            raise DataError(f"{where}: {X} has {len(record[X])} rows but {y} has {len(record[y])}")
    if len(record["names"]) != record["X"].shape[1]:
        raise DataError(f"{where}: {len(record['names'])} names for {record['X'].shape[1]} columns of X")
    if record.get("X_val") is not None and record["X_val"].shape[1] != record["X"].shape[1]:
        raise DataError(f"{where}: X has {record['X'].shape[1]} columns but X_val has {record['X_val'].shape[1]}")


def _describe(value) -> str:
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    text = repr(value)
    return text if len(text) < 40 else text[:37] + "..."
