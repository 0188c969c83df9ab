"""The kinds of record a stream holds, with their fields, and a check with a readable verdict.

f8 is float64; M points, D variables, C constants.  Unknown further fields are passed through.
"""

from __future__ import annotations

import numpy as np

from fansr.errors import DataError

MAX_TOKENS = 4096  # of one expression; a sum of some hundred terms, and little enough for any loop over it
ALSO = {"candidate": ("problem",)}  # kinds that may stand in a stream of another: a problem before its candidates

# kind -> field -> (required, test, what is wanted)
KINDS: dict[str, dict[str, tuple]] = {}


def _kind(name: str, **fields):
    """Fields of a kind, each (test, what is wanted); one whose name ends in _ may be missing."""
    KINDS[name] = {field.removesuffix("_"): (not field.endswith("_"), *what) for field, what in fields.items()}


def _is_number(value) -> bool:
    return type(value) is float or type(value) is int


def _is_vector(value) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "f"


def _is_matrix(value) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind == "f"


def _is_texts(value) -> bool:
    return type(value) is list and _TEXT.issuperset(map(type, value))


def _is_tokens(value) -> bool:
    return _is_texts(value) and len(value) <= MAX_TOKENS


def _is_law(value) -> bool:
    """A map with an expression, its constants and more; each of them may be missing."""
    return type(value) is dict and all(
        value.get(name) is None or test(value[name])
        for name, test in (("expr", _is_tokens), ("consts", _is_vector), ("infix", _is_text), ("fvu", _is_number))
    )


def _is_front(value) -> bool:
    return type(value) is list and all(_is_law(law) and law.get("expr") is not None for law in value)


def _is_text(value) -> bool:
    return type(value) is str


_TEXT = frozenset((str,))
_TOKENS = (_is_tokens, f"a list of at most {MAX_TOKENS} token strings")
_VECTOR = (_is_vector, "a float64 array of shape (M,)")
_COLUMN = (_is_vector, "a float64 array of shape (D,)")
_CONSTS = (_is_vector, "a float64 array of shape (C,)")
_MATRIX = (_is_matrix, "a float64 array of shape (M, D)")
_ID = (lambda v: type(v) is int and 0 <= v < 1 << 64, "an unsigned 64-bit integer")
_NUM = (_is_number, "a number")
_STR = (_is_text, "a string")
_WORD = (lambda v: type(v) in (str, int, float, bool), "a string or a number")
_LAW = (_is_law, "a map with expr (tokens), consts (C,) and infix")
_FRONT = (_is_front, "a list of maps with expr (tokens), consts (C,) and fvu")
_NAMES = (_is_texts, "a list of strings")

_kind("skeleton", id=_ID, expr=_TOKENS, raw_len_=_ID, n_=_ID)
_kind(
    "problem", id=_ID, X=_MATRIX, y=_VECTOR, X_val_=_MATRIX, y_val_=_VECTOR, weights_=_VECTOR, weights_val_=_VECTOR,
    names=_NAMES, target_=_STR, noise_=_NUM, truth_=_LAW, source_=_STR, group_=_WORD, law_=_WORD,
)  # fmt: skip
_kind("candidate", problem=_ID, expr=_TOKENS, n_=_ID, logp_=_NUM, source_=_STR)
_kind(
    "fit", problem=_ID, expr=_TOKENS, consts=_CONSTS, fvu=_NUM, fvu_val_=_NUM, length_=_NUM, status_=_STR, source_=_STR,
    logp_=_NUM, draw_=_TOKENS, seconds_=_NUM, points_=_NUM, names_=_NAMES, target_=_STR, truth_=_LAW, front_=_FRONT, X_=_MATRIX,
    y_=_VECTOR, weights_=_VECTOR, X_val_=_MATRIX, y_val_=_VECTOR, low_=_COLUMN, high_=_COLUMN, group_=_WORD, law_=_WORD,
)  # fmt: skip
_kind("score", problem=_ID, best=_LAW, front_=_FRONT)
_kind("metric", step=_ID, split=_STR, loss=_NUM)


def check_in(record: dict, holds: str, where: str = "record") -> dict:
    """`record` itself when it may stand in a stream that holds `holds`; DataError names the first fault.

    Of a kind that is none of ours the fields are not looked at.
    """
    kind = record.get("kind")
    if type(kind) is not str:
        raise DataError(f"{where}: kind is {_describe(kind)}, wanted a string")
    if kind != holds and kind not in ALSO.get(holds, ()):
        raise DataError(f"{where}: kind {kind!r} in a stream of {holds} records")
    return check(record, kind, where) if kind in KINDS else record


def check(record: dict, kind: str, where: str = "record") -> dict:
    """`record` itself when it is a well-formed record of `kind`; DataError names the first fault.

    Also compared is what must agree: X with y, X_val with y_val and X with names in their shapes, constants with the
    places an expression has for them, the columns an expression names with those there are.
    """
    if record.get("kind") != kind:
        raise DataError(f"{where}: kind {record.get('kind')!r}, wanted {kind!r}")
    for name, (required, test, wanted) in KINDS[kind].items():
        value = record.get(name)
        if value is None:
            if required:
                raise DataError(f"{where}: a {kind} record without {name}, wanted {wanted}")
        elif not test(value):
            raise DataError(f"{where}: {name} is {_describe(value)}, wanted {wanted}")
    if kind in ("problem", "fit"):
        _check_shapes(record, f"{where} (id {record['id' if kind == 'problem' else 'problem']})")
    return record


def _check_shapes(record: dict, where: str):
    X, names = record.get("X"), record.get("names")
    for X_name, *others in (("X", "y", "weights"), ("X_val", "y_val", "weights_val")):
        for name in others:
            if record.get(X_name) is not None and record.get(name) is not None:
                rows, found = len(record[X_name]), len(record[name])
                if rows != found:
                    raise DataError(f"{where}: {X_name} has {rows} rows but {name} has {found}")
    if X is not None and not len(X):
        raise DataError(f"{where}: X has no rows")
    if X is not None and names is not None and len(names) != X.shape[1]:
        raise DataError(f"{where}: {len(names)} names for {X.shape[1]} columns of X")
    if X is not None and record.get("X_val") is not None and record["X_val"].shape[1] != X.shape[1]:
        raise DataError(f"{where}: X has {X.shape[1]} columns but X_val has {record['X_val'].shape[1]}")
    low, high = record.get("low"), record.get("high")
    if (low is None) != (high is None) or (low is not None and high is not None and len(low) != len(high)):
        raise DataError(f"{where}: low and high are not of the same columns")
    columns = len(names) if names is not None else X.shape[1] if X is not None else None if low is None else len(low)
    if low is not None and len(low) != columns:
        raise DataError(f"{where}: low has {len(low)} columns, but there are {columns}")
    for what, law in (
        (None, record),
        ("truth", record.get("truth") or {}),
        *(("front", f) for f in record.get("front") or ()),
    ):
        expr = law.get("expr")
        if expr is None:
            continue
        at = "" if what is None else f"{what}: "
        consts = law.get("consts")
        if consts is not None and len(consts) != expr.count("<constant>"):
            raise DataError(f"{where}: {at}{len(consts)} consts for {expr.count('<constant>')} <constant> in expr")
        named = [token[1:] for token in expr if token[:1] == "x" and token[1:].isdecimal()]
        beyond = next((n for n in named if columns is not None and (len(n) > 9 or int(n) > columns)), None)
        if beyond is not None:
            raise DataError(f"{where}: {at}expr names x{beyond[:12]}, but there are {columns} columns")


def _describe(value) -> str:
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    if type(value) is list and len(value) > MAX_TOKENS:
        return f"a list of {len(value)}"
    text = repr(value) if not isinstance(value, (list, dict)) or len(value) < 20 else f"a {type(value).__name__}"
    return text if len(text) < 40 else text[:37] + "..."
