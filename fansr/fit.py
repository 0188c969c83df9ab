"""fansr-fit, the main job: a table, problems or candidates in; ranked laws out.

    fansr-fit data/planets.csv
    fansr-render data/fastsrb.json | fansr-fit --time 10 | fansr-score --by difficulty

A table gives one answer, printed for a person or as JSON; a stream gives one fit record a problem.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import contextlib
import difflib
import json
import os
import sys
import time
from dataclasses import replace

import click

from fansr.cli import command, resources
from fansr.errors import DataError, NoAnswer
from fansr.evaluation import result
from fansr.fit_rules import rules_options
from fansr.fit_stream import fit_stream
from fansr.fit_table import PAGES, Wanted, check_plot, fit_table
from fansr.fitting import losses
from fansr.network import DECODERS
from fansr.search import selection, turns
from fansr.streams import files, reader_writer
from fansr.tables import column_options
from fansr.written_fit import SELECTORS


def _is_stream(head: bytes) -> bool:
    """True for the first plain bytes of a fansr stream: a msgpack map whose first key is kind."""
    return bool(head) and 0x80 <= head[0] <= 0x8F and b"kind" in head[:8]


def _peek(source: str):
    """(bytes of a table or None, source for a stream reader): told apart by content, not by name."""
    from fansr.tables import loading

    file = files.open_file(source, "a table or a stream")
    if source == "-":
        head = file.peek(1 << 16)
    else:
        with file:
            head = file.read(1 << 18)
    if _is_stream(files.plain_head(head)):
        return None, source
    return loading.read_bytes(source), source


def _proposers(context, param, value):
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if names == ("none",):
        return ()
    unknown = [name for name in names if name not in turns.PROPOSERS]
    if unknown or not names:
        near = difflib.get_close_matches(unknown[0], turns.PROPOSERS, 1) if unknown else []
        meant = f"; did you mean {near[0]}? Known" if near else "; known"
        raise click.UsageError(
            f"--proposers {value}: unknown {', '.join(unknown) or '(empty)'}{meant} are {', '.join(turns.PROPOSERS)}, "
            "or none to rank what the stream brings"
        )
    return names


def _loss(context, param, value):
    try:
        losses.parse(value)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    return value


GROUPS = {  # of --help
    "Table": "--target --inputs --ignore --derive --lag --categories --group --dates --units --val --predict",
    "Time": "--time --deadline --jobs",
    "Answer": "--select --within --gamma --tidy --constants --physics --strict",
    "Noise": "--sigma --weights --loss --robust",
    "Laws": "--operators --without --max-length --max-constants --max-depth --nest --arguments --price --positive --bounds --define",
    "Form": "--form --guess",
    "Shape": "--through --monotone --even --odd --periodic --convex --limit",
    "Search": "--proposers --restarts --starts --samples --model --decoder --temperature --top-p --device --seed",
    "Output": "--json --output --save --report --plot --verbose --quiet",
}


@command.command(example="fansr-fit data/planets.csv --samples 4096", groups=GROUPS)
@click.argument("data", nargs=-1, metavar="[DATA.csv ... | STREAM]")
@column_options.column_options
@click.option(
    "--samples", type=click.IntRange(0), default=4096, show_default=True, help="Skeletons drawn from the model."
)
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(0.0),
    default=None,
    metavar="SECONDS",
    help="Seconds of search for one table or problem; loading comes before, and the commonest laws are tried whatever the time.  "
    "[default: none, work goes by counts and is repeatable]",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0.0),
    default=None,
    metavar="SECONDS",
    help="End the whole process by then, counted from its beginning (a table only).",
)
@click.option(
    "--proposers",
    default=",".join(turns.DEFAULT_PROPOSERS),
    show_default=True,
    callback=_proposers,
    metavar="LIST",
    help="Who proposes laws; none: only what a stream of candidates brings.",
)
@click.option(
    "--gamma",
    type=click.FloatRange(0),
    default=selection.GAMMA,
    show_default=True,
    help="Price of a token in log10 FVU (equation 3).",
)
@click.option(
    "--restarts", type=click.IntRange(1, 1024), default=8, show_default=True, help="Starts for the constants."
)
@click.option(
    "--starts",
    type=click.Choice(turns.STARTS),
    default="mixed",
    show_default=True,
    help="Where they begin. mixed: N(0, 5), and by the size of what stands beside them. paper: all N(0, 5), by SciPy.",
)
@click.option(
    "--tidy/--no-tidy",
    default=True,
    show_default=True,
    help="Cut down, respell and round the laws that are found; without, the law is one as it was proposed.",
)
@click.option(
    "--constants",
    type=click.Choice(("refine", "keep")),
    default="refine",
    show_default=True,
    help="Of a stream's candidates. refine: fitted. keep: as they are written, and nothing else is tried (--proposers none).",
)
@click.option(
    "--select",
    type=click.Choice(selection.SELECTORS),
    default="mdl",
    show_default=True,
    help="How the law is chosen: description length, equation 3 (score), BIC, AICc, FVU alone, or the steepest drop of log FVU a token.",
)
@click.option(
    "--within",
    type=click.FloatRange(1.0),
    default=None,
    metavar="TIMES",
    help="With --select drop: only laws whose FVU is at most so many times the least (1.5 is PySR's choice).  [default: any law]",
)
@click.option("--model", metavar="FILE", default=None, help="Checkpoint of the model.  [default: the shipped one]")
@click.option(
    "--device", default="cpu", show_default=True, metavar="NAME", help="Of the model: cpu, cuda, cuda:N, torch-cpu."
)
@command.drawing_options(DECODERS)
@click.option(
    "--physics/--no-physics",
    default=True,
    show_default=True,
    help="Recognise products of CODATA values among the constants.",
)
@rules_options
@click.option(
    "--form",
    metavar="FORMULA",
    multiple=True,
    help="The law's form, such as 'A*exp(-k*t) + f(x)': letters are constants, f, g, ... laws to be found, of which 'f: max-length 6' "
    "may follow after a semicolon.",
)
@click.option(
    "--guess",
    metavar="LAW",
    multiple=True,
    help="A law to start from, 'a*sin(b*x) + 2', or a file of laws: lines, the JSON of --json or --save, a stream of fits.",
)
@click.option(
    "--loss",
    default="auto",
    show_default=True,
    callback=_loss,
    metavar="NAME",
    help="What is made small: squares of the errors, absolute, huber, relative, poisson (counts), binomial (classes 0 and 1), "
    "quantile:0.9; auto: squares, of relative errors where the residuals ask for it.",
)
@click.option("--robust", "is_robust", is_flag=True, help="Set rows aside that no law explains, and say which.")
@click.option(
    "--val", type=click.FloatRange(0, 0.9), default=0.0, help="Share of the rows held out and only reported on."
)
@click.option("--strict", is_flag=True, help="Exit status 3 where the verdict is that there is no law.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "--predict", "predict_path", metavar="NEW.csv", help="Write the law's values for these rows to stdout as CSV."
)
@click.option("--save", "save_path", metavar="LAW.json", help="Save the laws of the front for fansr-predict.")
@click.option("--plot", "plot_path", metavar="FILE", help="Draw fit, residuals, slices and front (png, svg or pdf).")
@click.option(
    "--report",
    "report_path",
    metavar="FILE",
    help="Write all of the answer as one page (html) to read, show and print.",
)
@click.option(
    "-o",
    "--output",
    default=None,
    metavar="FILE",
    help="Record stream of the result.  [default: stdout for a stream, none for a table]",
)
@command.jobs_option()
@command.seed_option()
@command.resume_option()
@command.max_record_option()
@command.quiet_option()
@click.option("-v", "--verbose", is_flag=True, help="On a terminal, show the front while it is searched.")
@command.config_option()
def fit(
    data,
    columns,
    samples,
    seconds,
    deadline,
    proposers,
    gamma,
    restarts,
    starts,
    tidy,
    constants,
    select,
    within,
    model,
    device,
    decoder,
    temperature,
    top_p,
    physics,
    rules,
    rule_texts,
    form,
    guess,
    loss,
    is_robust,
    val,
    strict,
    as_json,
    predict_path,
    plot_path,
    report_path,
    save_path,
    output,
    jobs,
    seed,
    resume,
    quiet,
    verbose,
    config,
):
    """Find the law behind a table (CSV, TSV, ...), behind each of several, or behind every problem of a stream.

    A name such as planets that is no file is one of the example tables.
    """
    if within is not None and select != "drop":
        raise click.UsageError(f"--within {within:g} goes with --select drop, not with {select}")
    options = turns.Options(
        samples=samples,
        proposers=proposers,
        gamma=gamma,
        restarts=restarts,
        starts=starts,
        tidy=tidy,
        select=select,
        within=within,
        seed=seed,
        jobs=jobs,
        model=model,
        device=device,
        decoder=decoder,
        temperature=temperature,
        top_p=top_p,
        physics=physics,
        rules=rules,
        form=form,
        guess=_laws(guess),
        loss=loss,
        robust=is_robust,
        deadline=deadline,
        quiet=quiet,
    )
    if plot_path:
        check_plot(plot_path)
    if report_path:
        check_plot(report_path, "--report", PAGES)
    entry = command.history_entry(
        seed=seed,
        config={
            "samples": samples,
            "time": seconds,
            "deadline": deadline,
            "proposers": list(proposers),
            "gamma": gamma,
            "restarts": restarts,
            "starts": starts,
            "tidy": tidy,
            "constants": constants,
            "select": select,
            "within": within,
            "model": model,
            "device": device,
            "decoder": decoder,
            "temperature": temperature,
            "top_p": top_p,
            "physics": physics,
            "loss": loss,
            "robust": is_robust,
            **rule_texts,
            **({"form": list(form)} if form else {}),
            **({"guess": list(guess)} if guess else {}),
        },
    )
    if "model" in proposers and (model is not None or device != "cpu"):
        from fansr.network import check_model

        check_model(model, device)
    if loss == "relative" and (columns.weights or columns.sigma):
        raise click.UsageError("--loss relative gives every row the weight 1/value^2: leave out --weights and --sigma")
    if is_robust and loss not in ("auto", "squares", "relative"):
        raise click.UsageError(
            f"--robust sets rows aside for squares of the errors: leave out one of it and --loss {loss}"
        )
    if form and guess:
        raise click.UsageError("--guess: a law to start from cannot be told to be of the --form; give one of them")
    if save_path:
        _check_folder("--save", save_path)
    wanted = Wanted(
        columns=columns,
        val=val,
        seconds=seconds,
        deadline=deadline,
        strict=strict,
        as_json=as_json,
        predict=predict_path,
        plot=plot_path,
        report=report_path,
        save=save_path,
        output=output,
        quiet=quiet,
        verbose=verbose,
    )
    if len(data) > 1:
        _only(
            wanted, ("deadline", "predict", "plot", "report", "save"), "goes with one table", f"{len(data)} were given"
        )
        _fit_tables(data, options, wanted, entry)
        return
    table_bytes, source = _peek(resources.example_table(data[0] if data else "-"))
    if table_bytes is None:
        for name in column_options.given(columns):
            raise click.UsageError(f"{name} goes with a table, but {source} is a stream")
        table = ("predict", "plot", "report", "save", "val", "as_json", "strict", "deadline")
        _only(wanted, table, "goes with a table", f"{source} is a stream")
        for name, given in (("form", form), ("guess", guess)):
            if given:
                raise click.UsageError(f"--{name} goes with a table, whose columns it names, but {source} is a stream")
        options.jobs = 1  # the problems themselves are spread over the workers
        if constants == "keep" and (proposers or select not in SELECTORS):
            wanted = "--proposers none" if proposers else f"--select {' or '.join(SELECTORS)}"
            raise click.UsageError(f"--constants keep only ranks what the stream brings: add {wanted}")
        fit_stream(source, output or "-", options, seconds, jobs, quiet, entry, resume, constants == "keep")
        return
    if constants == "keep":
        raise click.UsageError(f"--constants keep goes with a stream of candidates, but {source} is a table")
    if not proposers:
        raise click.UsageError(f"--proposers none goes with a stream of candidates, but {source} is a table")
    with _kept(output, entry) as keep:
        fit_table(table_bytes, "stdin" if source == "-" else source, options, wanted, entry, keep)


def _laws(guess: tuple[str, ...]) -> tuple[str, ...]:
    """The laws of --guess, those of files read."""
    if not guess:
        return ()
    from fansr.search import guesses

    return guesses.texts_of(guess)


def _only(wanted: Wanted, names: tuple[str, ...], where: str, but: str) -> None:
    """UsageError for what was given of these options: it goes elsewhere."""
    for name in names:
        if getattr(wanted, name):
            raise click.UsageError(f"--{'json' if name == 'as_json' else name} {where}, but {but}")


@contextlib.contextmanager
def _kept(output: str | None, entry: dict):
    """A function that takes fit records, which are written to `output` at the end, an end by Ctrl-C too."""
    records: list[dict] = []
    try:
        yield records.append
    finally:
        if output and records:
            with reader_writer.open_writer(output, "fit", [entry]) as writer:
                for i, record in enumerate(records):
                    writer.write({**record, "problem": i})


def _fit_tables(sources: tuple[str, ...], options: turns.Options, wanted: Wanted, entry: dict) -> None:
    """One table after another; one that cannot be used is said, with --json by an object in its place, and passed over.

    Exit status 1 where there was one, else 3 where one of them has no law.
    """
    if sources.count("-"):
        raise click.UsageError("- (stdin) goes alone: one table, or one stream")
    worst = 0
    with _kept(wanted.output, entry) as keep:
        for i, name in enumerate(sources):
            begun = time.monotonic()
            try:
                data, source = _peek(resources.example_table(name))
                if data is None:
                    raise DataError(f"{source}: is a stream, which goes alone; fansr-cat --merge joins several")
                titled = replace(wanted, title=f"{i + 1}/{len(sources)}")
                fit_table(data, source, options, titled, entry, keep, begun)
                if not wanted.as_json and i + 1 < len(sources):
                    click.echo("")
            except (DataError, NoAnswer) as error:
                status = 1 if isinstance(error, DataError) else 3
                command.remark(f"fansr-fit: {error}")
                if wanted.as_json and not getattr(error, "answered", False):
                    click.echo(json.dumps(result.failure_dict(name, str(error), status), ensure_ascii=False))
                worst = 1 if 1 in (status, worst) else 3
    if worst:
        sys.exit(worst)


def _check_folder(option: str, path: str) -> None:
    """UsageError before the search for a file that cannot be written after it."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise click.UsageError(f"{option} {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise click.UsageError(f"{option} {path}: that is a folder; wanted the name of a file")


main = fit
