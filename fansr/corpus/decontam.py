"""fansr-decontam: keep held-out laws out of a corpus.

    fansr-gen -n 100000 | fansr-simplify | fansr-decontam --test data/fastsrb.json > train.zst

Reads any number of test sets (benchmark JSON, text with one formula a line, streams of skeletons or problems)
and drops the skeletons that holdout_guard.py finds equal to one of their laws, counted by how it was found:
holdout_symbolic, holdout_numeric, and holdout_nan for those without a number at any check point, which by the
paper's rule agree with everything.  This file reads and writes; holdout_guard.py compares.
"""

from __future__ import annotations

import random
from collections import Counter

import click

from fansr.cli import command, kernels, resources
from fansr.corpus import law_files
from fansr.errors import DataError
from fansr.expressions import MAX_VARIABLES, drop_constants, free, from_tree, problems, rename, to_tree, variables
from fansr.streams import reader_writer

_GUARDS: dict[tuple, object] = {}  # built once in a process


def read_tests(paths) -> list[tuple[str, list[str]]]:
    """(label, expression with its numbers made <constant>) of every law in the test sets, duplicates out."""
    forms = {}
    for path in paths:
        for label, expr in _stream_laws(path) if law_files.is_stream(path) else _file_laws(path):
            fault = problems(expr, MAX_VARIABLES)
            if fault:
                raise DataError(f"{path}: {label}: {fault}")
            forms.setdefault(tuple(free(expr)[0]), label)
    return [(label, list(expr)) for expr, label in forms.items()]


def _file_laws(path):
    return [(law.id, law.expr) for law in law_files.read(path).laws]


def _stream_laws(path):
    with reader_writer.open_reader(law_files.find(path), holds=("skeleton", "problem", "fit", "candidate")) as reader:
        for record in reader:
            truth = record.get("truth") or {}
            expr = record.get("expr") or truth.get("expr")
            if not isinstance(expr, list):
                raise DataError(f"{path}: record {reader.n} (id {record.get('id')}): no expression to hold out")
            yield str(truth.get("law") or record.get("id", reader.n)), expr


def forms_of(tests, rules: str | None = None) -> list[tuple[str, list[str]]]:
    """Every form under which a law is held out: as written, pruned, simplified, and rewritten.

    Candidates come simplified, and the canonical form of a law depends on how its variables are called and on
    its sign (a - b or b - a under a free factor), so a law is simplified under several orders of its variables and
    with a minus sign too, then given its own variables back.
    """
    from fansr.simplification import simplify_many

    tests = [(label, expr) for label, expr in tests if drop_constants(expr)]
    found = [(label, form) for label, expr in tests for form in (expr, drop_constants(expr))]
    sources = [(label, *variant) for label, expr in found for variant in _spellings(expr)]
    once = list({tuple(expr): None for _, expr, _ in sources})
    simplified = dict(zip(once, simplify_many([list(expr) for expr in once], rules=rules)))
    for label, expr, back in sources:
        form, _reason = simplified[tuple(expr)]
        if form is not None and not problems(form, MAX_VARIABLES):
            found.append((label, rename(free(form)[0], back)))
    found = {tuple(form): label for label, form in found}
    for form, label in list(found.items()):
        for other in _trigonometric(form):
            found.setdefault(tuple(other), label)
    return [(label, list(form)) for form, label in found.items()]


def _spellings(expr, orders: int = 6):
    """(expression, map of columns back): the law and its negative under some orders of its variables."""
    columns = variables(expr)
    rng = random.Random(0)
    for turn in range(orders):
        order = columns if turn == 0 else rng.sample(columns, len(columns))
        there = dict(zip(columns, order))
        back = {new: old for old, new in there.items()}
        yield rename(expr, there), back
        yield ["neg", *rename(expr, there)], back


def _trigonometric(expr) -> list[list[str]]:
    """The same law up to constants by half and double angles, each rule used wherever it fits:

    sin(A)**2 = (1 - cos(2A)) / 2 both ways, and sin(A) cos(A) = sin(2A) / 2 both ways.  A's own factor is a constant,
    so A stays as it is.
    """

    def rewrite(tree, rule):
        if not isinstance(tree, tuple):
            return tree
        return rule((tree[0], *(rewrite(child, rule) for child in tree[1:])))

    def is_wave(tree):
        return isinstance(tree, tuple) and tree[0] in ("sin", "cos")

    def square_to_double(tree):
        return ("cos", tree[1][1]) if tree[0] == "pow2" and is_wave(tree[1]) else tree

    def product_to_double(tree):
        both = tree[0] == "*" and is_wave(tree[1]) and is_wave(tree[2]) and tree[1][1] == tree[2][1]
        return ("sin", tree[1][1]) if both and tree[1][0] != tree[2][0] else tree

    def cosine_to_square(tree):
        return ("pow2", ("sin", tree[1])) if tree[0] == "cos" else tree

    def sine_to_product(tree):
        return ("*", ("sin", tree[1]), ("cos", tree[1])) if tree[0] == "sin" else tree

    found = [
        from_tree(rewrite(to_tree(expr), rule))
        for rule in (square_to_double, product_to_double, cosine_to_square, sine_to_product)
    ]
    return [form for form in found if form != list(expr)]


def guard_for(forms: tuple, renaming: bool):
    """The process's guard over these forms; workers build it once."""
    key = (forms, renaming)
    if key not in _GUARDS:
        from fansr.corpus.holdout_guard import Guard

        _GUARDS.clear()
        _GUARDS[key] = Guard([(label, list(expr)) for label, expr in forms], renaming)
    return _GUARDS[key]


class Decontaminator:
    """Skeleton records to those that no held-out law equals."""

    def __init__(self, forms, renaming: bool):
        self.forms = tuple((label, tuple(expr)) for label, expr in forms)
        self.renaming = renaming

    def __call__(self, records):
        """(records kept, drops by reason)."""
        from fansr.corpus.skeleton_rows import rows_of

        kept, dropped = self._kept(*rows_of(records))
        return [records[i] for i in kept], dropped

    def batch(self, batch):
        """A Batch of records to those kept, packed as they came: what command.filter_stream asks of a stage that packs."""
        from fansr.corpus.skeleton_rows import of_batch

        kept, dropped = self._kept(*of_batch(batch)[:2])
        return *batch.chosen(kept), dropped

    def _kept(self, rows, usable):
        """Places of the rows to keep, ascending, and the drops by reason."""
        guard = guard_for(self.forms, self.renaming)
        dropped = Counter({"outside_vocabulary": int((~usable).sum())})
        found = guard.match(rows[usable])
        dropped.update(f"holdout_{hit[1]}" for hit in found if hit)
        return [i for i, hit in zip(usable.nonzero()[0].tolist(), found) if hit is None], +dropped


@command.command(
    example="fansr-gen -n 1000 | fansr-simplify | fansr-decontam --test data/fastsrb.json | fansr-cat --check"
)
@click.argument("inputs", nargs=-1, metavar="[IN]...")
@click.option(
    "--test",
    "tests",
    multiple=True,
    metavar="FILE",
    help="What to hold out: benchmark JSON, text with a formula a line, or a stream.  May be repeated.  "
    "[default: every catalogue that comes with fansr]",
)
@click.option(
    "--renaming/--no-renaming",
    default=True,
    show_default=True,
    help="Hold a law out under every order of variables, or (the paper's guard) as it names them.",
)
@click.option(
    "--rules", default=None, metavar="DIR", help="Rules that simplify the held-out laws.  [default: the shipped]"
)
@command.output_option()
@command.jobs_option()
@command.resume_option()
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def decontam(inputs, tests, renaming, rules, output, jobs, resume, quiet, config):
    """Drop skeletons that equal a held-out law up to constants."""
    kernels.ensure("guarding", quiet=quiet)
    told = list(tests) or [f"data/{name}" for name in resources.CATALOGUES]
    forms = forms_of(read_tests(tests or resources.catalogues()), rules)
    entry = command.history_entry(config={"test": told, "renaming": renaming, "forms": len(forms)})
    stage = Decontaminator(forms, renaming)
    guard = guard_for(stage.forms, renaming)  # before workers are forked, which then share it
    if guard.shallow:
        command.remark(
            f"{len(guard.shallow)} laws of more than 8 variables are compared in their own order only", quiet
        )
    if guard.blind:
        command.remark(
            f"laws without a value at any check point are held out as written only: {', '.join(guard.blind)}", quiet
        )
    command.filter_stream(
        inputs, output, stage.batch, reads="skeleton", jobs=jobs, entry=entry, quiet=quiet, resume=resume, packs=True
    )


def main():
    """Entry point of fansr-decontam."""
    decontam()


if __name__ == "__main__":
    main()
