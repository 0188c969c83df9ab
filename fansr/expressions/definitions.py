"""Functions of one's own, written in terms of the others: `gauss(x) = exp(-x**2)` becomes one token.

    token = define("gauss(x) = exp(-x**2)")      # "gauss=exp,neg,pow2,x1"
    evaluate(["*", "<constant>", token, "x1"], X, [2.0])

The token holds the whole definition (its name, "=" and the prefix expression with x1 and x2 for the arguments), so a stream
that holds it can be read anywhere.  What has been met once in a process stands in ARITY and OPERATOR like any operator.
It counts as one token, prints by its name, and is evaluated as what it stands for.
"""

from __future__ import annotations

import re

from fansr.expressions.infix import FUNCTIONS, from_infix
from fansr.expressions.prefix import Expr, from_tree, problems, to_tree, variables
from fansr.expressions.tokens import ARITY, CONSTANT, FOREIGN, OPERATOR, Operator, literal_value, variable_index

MOST = 256  # definitions that a process may meet; a stream cannot fill the memory with them
LONGEST = 64  # tokens of a definition
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_TEXT = re.compile(r"\s*(\w+)\s*\(\s*(\w+)\s*(?:,\s*(\w+)\s*)?\)\s*=(.+)", re.S)


def name_of(token: str) -> str:
    """What a token is called: "gauss" for a defined one, itself for others."""
    return token.partition("=")[0]


def body_of(token: str) -> Expr:
    """The prefix expression that a defined token stands for, over x1 and x2."""
    return token.partition("=")[2].split(",")


def register(token: str) -> bool:
    """Make a token such as "gauss=exp,neg,pow2,x1" known to this process; False where it is no definition."""
    name, equals, text = token.partition("=")
    if not equals:
        return False
    body = text.split(",")
    taken = name in OPERATOR or "=" not in FUNCTIONS.get(name, "=")
    if not _NAME.fullmatch(name) or taken or len(body) > LONGEST or any("=" in word for word in body):
        return False
    if problems(body) is not None or CONSTANT in body or variables(body) not in ([0], [0, 1]):
        return False
    if sum("=" in known for known in OPERATOR) >= MOST:
        raise ValueError(f"more than {MOST} definitions")
    from fansr.expressions import export

    arity = len(variables(body))
    operands = ("{a}", "{b}")[:arity]
    numpy, sympy = export.templates(body)
    head = name.replace("_", r"\_")
    latex = rf"\operatorname{{{{{head}}}}}\left({', '.join(operands)}\right)"
    infix = f"{name}({', '.join(operands)})"
    # The kernels never see it: it is evaluated as what it stands for, hence no opcode and no derivative.
    OPERATOR[token] = Operator(token, arity, -1, 0.0, f"({numpy})", (), infix, 5, latex)
    export.SYMPY[token] = (f"({sympy})", 5)
    ARITY[token] = arity
    FOREIGN.add(token)
    FUNCTIONS[name] = token  # formulas read from now on mean this one
    return True


def define(text: str) -> str:
    """The token of a definition such as ``gauss(x) = exp(-x**2)`` or ``hill(x, k) = x/(x + k)``.

    ValueError says what is wrong: the name of an operator, an unknown function (with the nearest known one), a free constant,
    an argument that is not used.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read the definition {text!r}: wanted one such as 'gauss(x) = exp(-x**2)'")
    name, first, second, formula = match.groups()
    formula = formula.strip()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be a function's name: wanted a letter, then at most 31 letters, digits or _")
    if name in OPERATOR or name == "pow" or "=" not in FUNCTIONS.get(name, "="):
        raise ValueError(f"{name!r} is a function already: call yours otherwise")
    parameters = [first] if second is None else [first, second]
    if len(set(parameters)) < len(parameters):
        raise ValueError(f"{text!r} names the argument {first!r} twice")
    body = expanded(from_infix(formula, parameters))
    if CONSTANT in body:
        raise ValueError(f"{text!r} holds a free constant C: wanted numbers; constants belong around {name}(...)")
    missing = [p for j, p in enumerate(parameters) if j not in variables(body)]
    if missing:
        raise ValueError(f"{text!r} does not use its argument {missing[0]!r}")
    if len(body) > LONGEST:
        raise ValueError(f"{text!r} is {len(body)} tokens long, at most {LONGEST} can be")
    token = f"{name}={','.join(body)}"
    if token not in OPERATOR and not register(token):
        raise ValueError(f"cannot read the definition {text!r}")
    FUNCTIONS[name] = token
    return token


def expanded(expr: Expr) -> Expr:
    """The expression with every defined token replaced by what it stands for; its free constants come out once a use."""
    if not any("=" in token for token in expr):
        return expr

    def walk(tree, arguments):
        if not isinstance(tree, tuple):
            column = variable_index(tree)
            return tree if arguments is None or column is None else arguments[column]
        kids = tuple(walk(child, arguments) for child in tree[1:])
        return walk(to_tree(body_of(tree[0])), kids) if "=" in tree[0] else (tree[0], *kids)

    return from_tree(walk(to_tree(expr), None))


def folded(expr: Expr, token: str) -> Expr:
    """The expression with the token wherever its definition stands written out, inside first; operands in the same order."""
    pattern, n = to_tree(body_of(token)), len(variables(body_of(token)))

    def match(form, tree, found):
        column = variable_index(form) if isinstance(form, str) else None
        if column is not None:
            return found.setdefault(column, tree) == tree and not (_holds_constant(tree) and form in repeated)
        if not isinstance(form, tuple):
            return form == tree or (isinstance(tree, str) and _same_number(form, tree))
        if not isinstance(tree, tuple) or tree[0] != form[0]:
            return False
        return all(match(a, b, found) for a, b in zip(form[1:], tree[1:]))

    def walk(tree):
        if not isinstance(tree, tuple):
            return tree
        tree = (tree[0], *map(walk, tree[1:]))
        found: dict[int, object] = {}
        return (token, *(found[j] for j in range(n))) if match(pattern, tree, found) else tree

    body = body_of(token)
    repeated = {word for word in body if variable_index(word) is not None and body.count(word) > 1}
    return from_tree(walk(to_tree(expr)))


def _holds_constant(tree) -> bool:
    return any(map(_holds_constant, tree[1:])) if isinstance(tree, tuple) else tree == CONSTANT


def _same_number(a: str, b: str) -> bool:
    return literal_value(a) is not None and literal_value(a) == literal_value(b)
