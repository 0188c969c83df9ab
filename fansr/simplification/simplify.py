"""Simplify expressions to a canonical form: the stage between generation and everything else.

    fansr-gen -n 100000 | fansr-simplify > skeletons.zst

The rewriting engine is simplipy's, with rules that fansr-mine found (rules/).  It reads Table 5; its
tagged output is spelled in Table 5 again by translation.py, which also lets free constants absorb what
they can.  Both take turns until nothing changes, so that equivalent skeletons end in one form and a
simplified expression stays as it is.

`<constant>` stands for almost every real number: a rewrite may turn a function of constants, or a
number without a spelling in Table 5, into a new `<constant>`, but never the other way.  Rewrites
hold wherever the original is finite; the simplified form may be defined on more points, for
example x1/x1 becomes a constant.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Sequence

import click

from fansr.cli import command
from fansr.errors import DataError
from fansr.expressions import (
    ARITY,
    CONSTANT,
    FOREIGN,
    OPERATORS,
    from_tree,
    literal_value,
    problems,
    sort_commutative,
    to_tree,
    variables,
)
from fansr.simplification.ordering import shorter
from fansr.simplification.rule_sets import DEFAULT_TIER, load_engine, rules_name, with_rules
from fansr.simplification.translation import NonFinite, Respeller, finite_powers
from fansr.streams import parallel, reader_writer

MAX_TOKENS = 128  # the engine needs seconds for a few thousand; the paper's prior ends at 35
TOGETHER = 512  # expressions that the engine and the speller take turns on: few enough to stay in the cache
REMEMBERED = 4096  # answers of the engine and of the speller that are kept: cuts of one law come to few forms
ROUNDS = 6  # engine passes at most; two are enough for 99.9 % of skeletons
_NODE_BUDGET = 48  # outer rewrite iterations of the engine, its own default
_KNOWN = ARITY
_BAGS = frozenset("+-*/")
_FUNCTIONS = frozenset(row.token for row in OPERATORS if row.precedence == 5 and not row.token.startswith("pow"))
_RELAXED = {f"{way}{k}": ("*", CONSTANT) for way in ("mult", "div") for k in (2, 3, 4, 5)}


class Rejected(ValueError):
    """An expression has no simplified form; `reason` is one of nonfinite, too_long, empty, invalid, unresolved."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Simplifier:
    """The engine with one set of rules (a tier's name or a folder; `longest`: the most tokens of a pattern, the paper's L_max),
    and the speller.  Not to be shared by threads.

    A rule for a sum or product costs time in every expression, since it is tried on every choice of
    operands.  Those of the rules that need certain functions (sin(x)^2 + cos(x)^2) therefore stand in
    engines of their own, taken only for expressions that have the functions; those that need none
    (x/x = 1, x + C*x = C*x) are what the engine's canonical form and translation.py do without a rule.
    """

    def __init__(self, rules: str | None = None, longest: int | None = None):
        self._whole = load_engine(rules, longest)
        self._needs = _needed_functions(self._whole.simplification_rules)
        self._triggers = frozenset(token for need in self._needs for token in need)
        self._full = self._whole._core.ac_simplify
        self._light = self._engine(None)
        self._special: dict = {}  # one need met -> the engine with its rules, made when it is first met
        self._respell = Respeller()
        self._known_simplify = _Known(self._simplify)
        self._known_spelled = _Known(self._spelled)

    def _engine(self, need: Counter | None):
        """The engine without the rules of sums and products, except those that need just these functions."""
        chosen = [
            rule
            for rule in self._whole.simplification_rules
            if rule[0][0] not in _BAGS or not _has_slot(rule[0]) or (need and _functions(rule[0]) == need)
        ]
        return with_rules(self._whole, chosen)._core.ac_simplify

    def _simplify(self, expr) -> list[str]:
        """One pass of the engine, tagged."""
        present = self._triggers.intersection(expr)
        if not present:
            return self._light(expr, _NODE_BUDGET, False, "tagged")
        met = [
            i
            for i, need in enumerate(self._needs)
            if need.keys() <= present and all(expr.count(token) >= n for token, n in need.items())
        ]
        if not met:
            return self._light(expr, _NODE_BUDGET, False, "tagged")
        if len(met) > 1:
            return self._full(expr, _NODE_BUDGET, False, "tagged")
        engine = self._special.get(met[0])
        if engine is None:
            engine = self._special[met[0]] = self._engine(self._needs[met[0]])
        return engine(expr, _NODE_BUDGET, False, "tagged")

    def _spelled(self, tagged) -> tuple[tuple[str, ...], bool]:
        """A tagged form in Table 5, and whether the engine may find more to do with that."""
        try:
            spelled = self._respell(tagged)
        except NonFinite:
            finite = finite_powers(tagged)
            if finite is None:
                raise
            spelled = self._respell(finite)
        return spelled, self._respell.changed

    def __call__(self, expr, relax: bool = False) -> list[str]:
        """The canonical form of a prefix expression; Rejected says why there is none.

        relax: every multiplication or division by a small integer (mult2 .. div5) first becomes one by
        a free constant, as the paper does with candidates before their constants are fitted.
        """
        (found,) = self.many([expr], relax)
        if isinstance(found, Rejected):
            raise found
        return found

    def many(self, exprs, relax: bool = False, akin: bool = False) -> list:
        """For each expression its canonical form, or the Rejected that says why there is none.

        akin: they are cuts of one law and the like, many of which come to the same; what they came to is then remembered.
        """
        found: list = []
        for start in range(0, len(exprs), TOGETHER):
            found += self._some(exprs[start : start + TOGETHER], relax, akin)
        return found

    def _around(self, expr, akin: bool) -> list[str] | Rejected:
        """The canonical form of an expression with operators that the engine does not know (min, step, a definition).

        What stands under one is simplified by itself; the whole is a variable for the engine, the same for the same.
        """
        parts: list[list[str]] = []

        def lifted(tree):
            """The tree with (None, number) in the place of each unknown operator, which goes into `parts`."""
            if not isinstance(tree, tuple):
                return tree
            if tree[0] not in FOREIGN:
                return (tree[0], *map(lifted, tree[1:]))
            forms = self._some([from_tree(kid) for kid in tree[1:]], False, akin)
            # An operand without a finite form stays: min(x, 1/0) is finite.
            forms = [from_tree(kid) if isinstance(form, Rejected) else form for form, kid in zip(forms, tree[1:])]
            if not any(map(variables, forms)):
                return CONSTANT
            whole = sort_commutative([tree[0], *itertools.chain(*forms)])
            if CONSTANT in whole or whole not in parts:
                parts.append(whole)
                return (None, len(parts) - 1)
            return (None, parts.index(whole))

        def put(tree):
            if not isinstance(tree, tuple):
                return tree
            return names[tree[1]] if tree[0] is None else (tree[0], *map(put, tree[1:]))

        tree = lifted(to_tree(expr))
        first = max(variables(expr), default=-1) + 2  # the number of the first variable that is free
        order = sorted(
            range(len(parts)), key=parts.__getitem__
        )  # by what they are, so that a second pass changes nothing
        names = {number: f"x{first + rank}" for rank, number in enumerate(order)}
        (form,) = self._some([from_tree(put(tree))], False, akin)
        if isinstance(form, Rejected):
            return form
        back = {name: parts[number] for number, name in names.items()}
        return [word for token in form for word in back.get(token, (token,))]

    def _some(self, exprs, relax: bool, akin: bool) -> list:
        """As `many`.  The engine and the speller take turns on all expressions rather than on each: a processor
        that goes to and fro between the two takes a seventh longer."""
        found: list = list(map(_check, exprs))
        before = [free_coefficients(expr) if relax and fault is None else expr for expr, fault in zip(exprs, found)]
        now = list(before)
        engine, speller = (self._known_simplify, self._known_spelled) if akin else (self._simplify, self._spelled)
        going = []
        for i, fault in enumerate(found):
            if fault is None and not FOREIGN.isdisjoint(before[i]):
                found[i] = self._around(before[i], akin)
            elif fault is None:
                going.append(i)
        for _ in range(ROUNDS):
            tagged = []
            for i in going:
                try:
                    tagged.append((i, engine(now[i])))
                except ValueError as error:
                    found[i] = Rejected("unresolved", str(error))
            going = []
            for i, form in tagged:
                try:
                    tokens, changed = speller(form)
                except NonFinite as error:
                    found[i] = Rejected("nonfinite", str(error))
                    continue
                except ValueError as error:
                    found[i] = Rejected("unresolved", str(error))
                    continue
                spelled = list(tokens)
                if changed and spelled != now[i]:
                    going.append(i)
                now[i] = spelled
            if not going:
                break
        for i, fault in enumerate(found):
            if fault is None:
                tidy = shorter(before[i], now[i])
                if tidy is None:
                    found[i] = now[i]
                else:  # simplified for its part, so that it stays as it is next time
                    found[i] = tidy if tidy == before[i] else self._some([tidy], False, akin)[0]
        return found


class _Known:
    """A function of a list of tokens with its last answers, which are not to be changed."""

    def __init__(self, function):
        self.function = function
        self.answers: dict = {}

    def __call__(self, tokens):
        key = tuple(tokens)
        answer = self.answers.get(key)
        if answer is None:
            answer = self.function(tokens)
            if len(self.answers) >= REMEMBERED:
                self.answers.clear()
            self.answers[key] = answer
        return answer


def _check(expr) -> Rejected | None:
    """What is wrong with what is no expression of ours; the engine would take an unknown token for a variable and
    says no more than "malformed" of the rest."""
    if len(expr) > MAX_TOKENS:
        return Rejected("too_long", f"{len(expr)} tokens, at most {MAX_TOKENS}")
    if _is_plain(expr):
        return None
    problem = problems(expr)
    if problem:
        return Rejected("empty" if not expr else "invalid", problem)
    for token in expr:
        value = None if token in _KNOWN else literal_value(token)
        if value is not None and not math.isfinite(value):
            return Rejected("nonfinite", f"literal {token}")
    return None


def _is_plain(expr) -> bool:
    """Whether it is a whole expression over the vocabulary: no literals, no x18."""
    slots = 1
    try:
        for arity in map(ARITY.get, expr):
            if arity is None or not slots:
                return False
            slots += arity - 1
    except TypeError:  # something that is no token at all
        return False
    return not slots


def _has_slot(pattern) -> bool:
    """Whether a rule's pattern holds a placeholder such as _0 or !1, in other words is no single expression."""
    return any(token[0] in "_?!$" and token[1:].isdigit() for token in pattern)


def _functions(pattern) -> Counter:
    return Counter(token for token in pattern if token in _FUNCTIONS)


def _needed_functions(rules) -> list[Counter]:
    """For the rules of sums and products: the functions, with counts, that an expression must have to match one."""
    needs: list[Counter] = []
    for pattern, _ in rules:
        if pattern[0] in _BAGS and _has_slot(pattern):
            need = _functions(pattern)
            if need and need not in needs:
                needs.append(need)
    return needs


@functools.lru_cache(maxsize=4)
def simplifier(rules: str | None = None, longest: int | None = None) -> Simplifier:
    """The process's Simplifier for a set of rules, made once."""
    return Simplifier(rules, longest)


def simplify(expr, relax: bool = False, rules: str | None = None) -> list[str]:
    """The canonical form of one prefix expression (tokens in, tokens out); raises Rejected with a reason."""
    return simplifier(rules)(expr, relax)


def simplify_many(
    exprs: Sequence[Sequence[str]], relax: bool = False, rules: str | None = None
) -> list[tuple[list[str] | None, str | None]]:
    """For each expression (its canonical form, None), or (None, reason) where it is rejected."""
    found = simplifier(rules).many(exprs, relax, akin=True)
    return [(None, form.reason) if isinstance(form, Rejected) else (form, None) for form in found]


def canonical_key(expr, rules: str | None = None) -> tuple[str, ...]:
    """Something equal for equivalent expressions, to find duplicates by: the canonical form where there is
    one, else the tokens themselves."""
    try:
        return tuple(simplifier(rules)(expr))
    except Rejected:
        return tuple(expr)


def free_coefficients(expr) -> list[str]:
    """mult2 .. div5 as a product with a free constant: [mult2, x1] -> [*, <constant>, x1]."""
    if _RELAXED.keys().isdisjoint(expr):
        return list(expr)
    freed: list[str] = []
    for token in expr:
        freed.extend(_RELAXED.get(token, (token,)))
    return freed


# ---- command ----------------------------------------------------------------------------------


class _Stage:
    """What a worker process does with a chunk of records."""

    def __init__(self, rules, relax, longest=None):
        self.rules, self.relax, self.longest = rules, relax, longest

    def __call__(self, records):
        kept, dropped = [], Counter()
        exprs = [record["expr"] for record in records if "expr" in record]
        forms = iter(simplifier(self.rules, self.longest).many(exprs, self.relax))
        for record in records:
            if "expr" not in record:  # a problem before its candidates
                kept.append(record)
                continue
            expr, form = record["expr"], next(forms)
            if isinstance(form, Rejected):
                if form.reason in ("empty", "invalid"):
                    raise DataError(f"record {_name(record)}: {form}")
                dropped[form.reason] += 1
                continue
            if record["kind"] == "skeleton":
                record.setdefault("raw_len", len(expr))
            record["expr"] = form
            kept.append(record)
        return kept, dropped


def _name(record):
    return record.get("id", record.get("problem"))


def merge_equal(records, merged: dict | None = None) -> dict:
    """Merge records of one `expr` (within one problem, for candidates) into the first of them.

    Their `n` add up (a record without n counts once) and logp becomes the best.  Returns the dict
    (problem, tokens) -> record, in order of first appearance; give it back as `merged` to go on.
    """
    merged = {} if merged is None else merged
    for record in records:
        if "expr" not in record:  # a problem before its candidates
            merged.setdefault((record.get("id"), None), record)
            continue
        kept = merged.setdefault((record.get("problem"), tuple(record["expr"])), record)
        if kept is record:
            kept["n"] = kept.get("n") or 1
            continue
        kept["n"] += record.get("n") or 1
        logp, best = record.get("logp"), kept.get("logp")
        if logp is not None and (best is None or logp > best):
            kept["logp"] = logp
    return merged


@command.command(example="fansr-gen -n 10000 | fansr-simplify > skeletons.zst", name="simplify")
@click.argument("inputs", nargs=-1, metavar="[IN ...]")
@click.option(
    "--rules",
    type=click.Path(file_okay=False),
    default=DEFAULT_TIER,
    show_default=True,
    metavar="TIER|DIR",
    help="Rules: a tier that comes with fansr, called by the most tokens of its mined patterns and replacements, or a folder of fansr-mine.",
)
@click.option(
    "--max-pattern",
    type=click.IntRange(0),
    default=None,
    metavar="N",
    help="Leave out rules with patterns of more tokens (the paper's L_max).  [default: none are]",
)
@click.option("--relax", is_flag=True, help="First make every factor 2..5 and divisor 2..5 a free constant.")
@click.option("--dedup", is_flag=True, help="Merge records of equal form (per problem) and add up their counts n.")
@command.output_option()
@command.jobs_option()
@command.resume_option()
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def simplify_command(inputs, rules, max_pattern, relax, dedup, output, jobs, resume, quiet, config):
    """Bring skeletons or candidates to their canonical form.

    Records whose form holds an infinity (nonfinite), or that are longer than 128 tokens (too_long), are
    dropped and counted by reason.  A token that is neither operator, variable, constant nor number is an error.
    """
    load_engine(rules)  # a wrong folder is said here, not by a worker
    told = {"relax": relax, "dedup": dedup, **({} if max_pattern is None else {"max_pattern": max_pattern})}
    entry = command.history_entry(config=told, rules=rules_name(rules))
    stage = _Stage(rules, relax, max_pattern)
    if dedup and resume:
        raise click.UsageError("--resume cannot go on with --dedup, which writes only when it has read everything")
    if dedup:
        return _dedup(inputs, output, stage, entry, jobs, quiet)
    command.filter_stream(
        inputs, output, stage, reads=("skeleton", "candidate"), jobs=jobs, entry=entry, quiet=quiet, resume=resume
    )
    return None


def _dedup(inputs, output, stage, entry, jobs, quiet):
    """The command with --dedup: everything is read before anything is written, since counts add up over all."""
    inputs = list(inputs) or ["-"]
    first = reader_writer.open_reader(inputs[0], holds=("skeleton", "candidate"))
    merged: dict = {}
    dropped: Counter = Counter()
    lost, cut = command.Lost(), []
    with first:
        chunks = command.batches(first, inputs[1:], first.header["holds"], cut=cut)
        results = parallel.ordered_map(
            _Unpacked(stage), chunks, jobs, lost=lambda batch: ([], {"worker_died": lost.add(batch)})
        )
        for kept, tally in command.progress(results, quiet=quiet, unit="chunk"):
            merge_equal(kept, merged)
            dropped.update(tally)
    with reader_writer.open_writer(output, first.header["holds"], [*first.history, entry]) as writer:
        writer.dropped.update(dropped)
        for record in merged.values():
            writer.write(record)
        writer.interrupted = next(iter(cut), None)
    lost.complain(output)


class _Unpacked:
    """The stage over the records of a batch, which stay records; runs in worker processes."""

    def __init__(self, stage):
        self.stage = stage

    def __call__(self, batch):
        return self.stage(batch.records())


main = simplify_command
