"""Find the rewriting rules of fansr-simplify: Algorithm 2 of the paper (appendix E).

    fansr-mine --config rules/mine.yaml --out rules/

simplipy's miner enumerates every expression of the source lengths over the engine's operators and
some leaves, and looks for a shorter equivalent of each that the rules so far do not reach
(Algorithm 1, natively).  What it finds is confirmed on other points, judged by a symbolic verifier,
pruned where the rest covers it, and generalised.  Proposals (identities too long to be enumerated)
go through the same certification.  This module adds what the miner lacks: it goes on after an
interruption, says how far it is, and writes a provenance that names no machine.

The miner's length loop is one blocking call a length.  Here it is cut into slices of sources whose
results are kept in OUT/mine.part/; a source's random numbers depend on its place alone, so that the
slices, in any number of runs, give the rules of one uninterrupted run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import threading
import warnings
from pathlib import Path

import click

from fansr.cli import command, resources
from fansr.errors import DataError
from fansr.expressions import UNARY
from fansr.streams import files
from fansr.version import __version__

SLICE = 64  # sources mined at once: under a second, so Ctrl-C is heard in time
MAX_YAML = 1 << 20  # bytes of a configuration
# Settings a mine.yaml may hold, with the value each has if it does not.
DEFAULTS = {
    "extra_internal_terms": ["<constant>", "0", "1"],
    "dummy_variables": 2,
    "max_source_pattern_length": 3,
    "max_target_pattern_length": 2,
    "n_samples": 1024,
    "constants_fit_challenges": 16,
    "constants_fit_retries": 16,
    "rtol": 1e-11,
    "atol": 1e-12,
    "seed": 42,
    "confirm": True,
    "candidate_fold_filter": True,
    "relaxed_kruskal": True,
    "prune": "covered",
    "promote_sorts": True,
    "symbolic_gate": True,
    "proposals": None,
}
# Table 5's short spellings: the engine reads them, rules are written without them.
SHORT = frozenset(token for token in UNARY if token[:4] in ("mult", "pow1") or token[:3] in ("div", "pow"))


def _read_yaml(path: str | os.PathLike):
    """What a YAML file holds; DataError where it is none."""
    import yaml

    raw = files.read_file(path, "a YAML file", MAX_YAML, packed=False)
    try:
        return yaml.safe_load(raw)
    except RecursionError:
        raise DataError(f"{path}: not a YAML file: nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:  # the last two for dates and keys that are none
        raise DataError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None


def read_settings(path: str | os.PathLike) -> dict:
    """The settings in a mine.yaml over DEFAULTS; DataError for an unknown key or an unreadable file."""
    table = _read_yaml(path) or {}
    if not isinstance(table, dict):
        raise DataError(f"{path}: holds a {type(table).__name__}, wanted settings by name")
    unknown = sorted(set(map(str, table)) - set(DEFAULTS))
    if unknown:
        raise DataError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(sorted(DEFAULTS))}")
    settings = {**DEFAULTS, **table}
    for name in ("max_source_pattern_length", "max_target_pattern_length", "n_samples", "dummy_variables"):
        if type(settings[name]) is not int or settings[name] < 1:
            raise DataError(f"{path}: {name} is {settings[name]!r}, wanted a positive whole number")
    return settings


def read_operators(path: str | os.PathLike) -> dict:
    """The operators rules are mined over: those of an engine's config.yaml that it also writes and can evaluate itself.

    One whose realization is not the engine's own is known to it by name only.
    """
    table = _read_yaml(path)
    operators = table.get("operators") if isinstance(table, dict) else None
    try:
        own = {name for name, row in operators.items() if row["realization"].split(".")[0] in ("simplipy", name)}
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: no engine config with operators") from None
    return {name: row for name, row in operators.items() if name in own - SHORT}


def mine(
    settings: dict,
    operators: dict,
    proposals: list | None = None,
    part: Path | None = None,
    report=None,
    stop: threading.Event | None = None,
) -> tuple[list, dict]:
    """Mine a rule set: (rules as [pattern tokens, replacement tokens], provenance).

    settings: as DEFAULTS.  proposals: objects with `source` and `target` token lists.
    part: folder for intermediate results, so that a later call goes on where this one stopped.
    report: called with (length, sources done, sources) after each slice.  stop: set it to stop after
    the slice at work; the call then raises KeyboardInterrupt.
    """
    engine = _Engine(operators, [])
    engine.slices = _Slices(part, _fingerprint(settings, operators, proposals), report, stop or threading.Event())
    call = {name: settings[name] for name in DEFAULTS if name not in ("n_samples", "proposals")}
    # The verifier prints what it rejects, which provenance says too, and leaves files to the garbage collector.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        scratch = None if part is None else str(part / "miner.json")
        engine.find_rules(X=settings["n_samples"], output_file=scratch, proposals=proposals, **call)
        provenance = {} if scratch is None else json.loads(Path(scratch + ".provenance.json").read_text())
    rules = [[list(left), list(right)] for left, right in engine.simplification_rules]
    return rules, _provenance(settings, provenance, engine.slices.found, rules)


def _fingerprint(*things) -> str:
    text = json.dumps(things, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _provenance(settings, raw, found, rules) -> dict:
    """What made a rule set, and what became of each candidate; the same for the same settings on any machine."""
    import simplipy

    proposals = raw.get("proposals") or {}
    return {
        "fansr": __version__,
        "simplipy": simplipy.__version__,
        "settings": settings,
        "measure": raw.get("measure"),
        "seeds": {k: raw.get("params", {}).get(k) for k in ("mine_seed", "confirm_seed")},
        "sources": {length: row.get("used") for length, row in (raw.get("universe") or {}).items()},
        # Rules as first found, by source length, before confirmation and pruning.
        "mined": {str(length): {"rules": len(rows), "digest": _fingerprint(rows)} for length, rows in found.items()},
        "proposals": {
            "count": proposals.get("count", 0),
            "outcomes": proposals.get("outcomes", {}),
            "rejected": [
                f"{' '.join(row['source'])}: {row['stage']}"
                for row in proposals.get("trail", [])
                if row["verdict"] == "rejected"
            ],
        },
        "symbolic_gate": [
            " ".join(left) + " -> " + " ".join(right)
            for left, right in (raw.get("symbolic_gate") or {}).get("killed", [])
        ],
        "sort_promotion": raw.get("sort_promotion"),
        "soundness": raw.get("soundness"),
        "rules": len(rules),
        "digest": _fingerprint(rules),
    }


class _Slices:
    """Results of mined slices, kept in a folder; the folder of other settings is emptied."""

    def __init__(self, folder: Path | None, fingerprint: str, report, stop):
        self.folder, self.report, self.stop = folder, report, stop
        self.found: dict[int, list] = {}
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / "settings"
        if not mark.exists() or mark.read_text() != fingerprint:
            for old in folder.glob("*.json"):
                old.unlink()
            mark.write_text(fingerprint)

    def get(self, length: int, start: int, compute) -> list:
        if self.stop.is_set():
            raise KeyboardInterrupt
        if self.folder is None:
            return compute()
        path = self.folder / f"{length}-{start}.json"
        if path.exists():
            return json.loads(path.read_text())
        rows = [[list(left), list(right)] for left, right in compute()]
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(rows))
        os.replace(scratch, path)
        return rows


class _SlicedCore:
    """The compiled core with mine_one_length done in slices; everything else is the core's."""

    def __init__(self, core, length: int, slices: _Slices):
        self._core, self._length, self._slices = core, length, slices

    def __getattr__(self, name):
        return getattr(self._core, name)

    def mine_one_length(self, sources, library, longest, challenges, retries, seed, *rest):
        found: list = []
        for start in range(0, len(sources), SLICE):
            part = sources[start : start + SLICE]
            work = functools.partial(
                self._core.mine_one_length, part, library, longest, challenges, retries, seed + start, *rest
            )
            found += self._slices.get(self._length, start, work)
            if self._slices.report is not None:
                self._slices.report(self._length, start + len(part), len(sources))
        self._slices.found[self._length] = [[list(left), list(right)] for left, right in found]
        return found


def _Engine(operators, rules):
    """simplipy's engine whose length loop goes through `slices`."""
    from simplipy import SimpliPyEngine

    class Engine(SimpliPyEngine):
        slices: _Slices

        def _mine_tier_with_progress(self, length, n_sources, mine_call, verbose):
            core = self._core
            self._core = _SlicedCore(core, length, self.slices)
            try:
                return mine_call()
            finally:
                self._core = core

    return Engine(operators, rules)


# ---- command ----------------------------------------------------------------------------------


def _read_proposals(path: Path) -> list:
    try:
        table = json.loads(path.read_text())
        return [{"source": row["source"], "target": row["target"]} for row in table["proposals"]]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f'{path}: wanted {{"proposals": [{{"source": [tokens], "target": [tokens]}}]}}') from None


def _write(path: Path, text: str):
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(text)
    os.replace(scratch, path)


def rules_text(rules) -> str:
    """A rules.json: one rule a line, so that differences can be read."""
    return "[\n" + ",\n".join(json.dumps(rule) for rule in rules) + "\n]\n"


@command.command(example="fansr-mine --config rules/mine.yaml --out /tmp/rules -j 2", name="mine")
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    default=None,
    metavar="FILE",
    help="YAML file of mining settings.  [default: the mine.yaml that comes with fansr]",
)
@click.option(
    "-o",
    "--output",
    "--out",
    "out",
    type=click.Path(file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder for the rules; an interrupted run into it is continued.",
)
@command.jobs_option()
@command.quiet_option()
def mine_command(config, out, jobs, quiet):
    """Mine rewriting rules and write a folder that fansr-simplify --rules takes.

    About a minute of one core for the settings that come with fansr, half an hour for source
    length 4 (tier 4-3).  The operators are those of the config.yaml beside FILE.
    """
    config = Path(config) if config is not None else resources.path("rules", "mine.yaml")
    settings = read_settings(config)
    engine_config = config.parent / "config.yaml"
    if not engine_config.exists():
        engine_config = resources.path("rules", "config.yaml")
    operators = read_operators(engine_config)
    proposals = None if settings["proposals"] is None else _read_proposals(config.parent / settings["proposals"])
    os.environ.setdefault("RAYON_NUM_THREADS", str(jobs))  # read once, when the engine first uses threads
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: {error.strerror or error}") from None
    part = out / "mine.part"
    with command.progress(total=0, quiet=quiet, unit="source") as bar:
        rules, provenance = _in_background(settings, operators, proposals, part, bar)
    for source in (engine_config, config, *([config.parent / settings["proposals"]] if proposals is not None else [])):
        name = {engine_config: "config.yaml", config: "mine.yaml"}.get(source, source.name)
        if source.resolve() != (out / name).resolve():
            shutil.copyfile(source, out / name)
    _write(out / "provenance.json", json.dumps(provenance, indent=1) + "\n")
    _write(out / "rules.json", rules_text(rules))
    shutil.rmtree(part)
    counts = ", ".join(f"{n} {what}" for what, n in provenance["proposals"]["outcomes"].items() if n)
    command.remark(f"{len(rules)} rules written to {out}" + (f"; proposals: {counts}" if counts else ""), quiet)


def _in_background(settings, operators, proposals, part, bar):
    """Run mine() in a thread, so that Ctrl-C reaches this one: the miner holds no signal handler of ours."""
    stop = threading.Event()
    result: dict = {}

    def report(length, done, total):
        if bar.total != total or bar.desc != f"length {length}: ":
            bar.reset(total)
            bar.set_description(f"length {length}", refresh=False)
        bar.update(done - bar.n)

    def work():
        try:
            result["value"] = mine(settings, operators, proposals, part, report, stop)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            result["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
    except KeyboardInterrupt:
        stop.set()
        thread.join(1.5)
        raise
    if "error" in result:
        raise result["error"]
    return result["value"]


main = mine_command
