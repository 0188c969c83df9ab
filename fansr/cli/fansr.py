"""fansr: lists the commands and runs them, `fansr fit data.csv` being `fansr-fit data.csv`.

Knows the commands by name only; a command's module is loaded when it is called.
"""

from __future__ import annotations

import importlib
import sys

from fansr.errors import did_you_mean
from fansr.version import __version__

# name -> (module, what it does); in the order of the pipe.
COMMANDS = {
    "fit": ("fansr.fit", "find the law behind a table, or behind every problem of a stream"),
    "predict": ("fansr.predict", "values of a saved law on new rows"),
    "gen": ("fansr.corpus.gen", "draw skeletons of laws from a prior"),
    "forms": ("fansr.corpus.forms", "all different expressions to a depth, as skeletons"),
    "simplify": ("fansr.simplification.simplify", "bring expressions to their short canonical form"),
    "decontam": ("fansr.corpus.decontam", "keep held-out laws out of a corpus"),
    "render": ("fansr.corpus.render", "draw numbers for laws: problems"),
    "train": ("fansr.network.train", "train the network"),
    "sample": ("fansr.network.sample", "let the network propose laws for problems"),
    "score": ("fansr.evaluation.score", "how many laws were found, how well, how short, how fast"),
    "plot": ("fansr.evaluation.plot", "pictures of fits, scores and training"),
    "sweep": ("fansr.scaling.sweep", "plan, run and collect many trainings over sizes and data"),
    "law": ("fansr.scaling.law", "laws of many runs: loss or success against compute, with bands and forecasts"),
    "cat": ("fansr.cli.cat", "look into a stream, check it, join several"),
    "distill": ("fansr.distill_command", "a part of a torch network as laws: record, judge, switch"),
    "mine": ("fansr.simplification.mine", "find the rules of fansr-simplify"),
    "peer": ("fansr.evaluation.peer", "let other tools fit the same problems"),
}
# Of `fansr` alone; no programs of their own.
OWN = {
    "man": ("fansr.cli.manual", "man", "manual page of a command"),
    "completion": ("fansr.cli.manual", "completion", "completion for bash, zsh and fish"),
}


def listing() -> str:
    """What `fansr` alone prints."""
    width = max(map(len, [*COMMANDS, *OWN])) + 2
    lines = [f"  {name:{width}s}{what}" for name, (_, what) in COMMANDS.items()]
    lines += ["", *(f"  {name:{width}s}{what}" for name, (_, _, what) in OWN.items())]
    head = "usage: fansr COMMAND [OPTIONS]        each command is also a program of its own, fansr-COMMAND"
    return "\n".join(
        [head, "", *lines, "", "Options of a command: fansr COMMAND --help.  Example:", "  fansr fit data/planets.csv"]
    )


def main() -> None:
    """Entry point of fansr."""
    name, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name == "help" and words:  # `fansr help fit`
        name, words = words[0], ["--help"]
    if name in ("--help", "-h", "help"):
        print(listing())
        return
    if name == "--version":
        print(f"fansr, version {__version__}")
        return
    name = name.removeprefix("fansr-")
    if name == "complete":  # what the scripts of `fansr completion` call
        importlib.import_module("fansr.cli.manual").complete()
        return
    if name in OWN:
        module, function, _ = OWN[name]
        sys.argv = [f"fansr {name}", *words]
        getattr(importlib.import_module(module), function)()
        return
    if name not in COMMANDS:
        meant = did_you_mean(name, [*COMMANDS, *OWN])
        print(f"fansr: no command {name!r}{meant} (known are {', '.join(COMMANDS)})", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"fansr-{name}", *words]
    try:
        module = importlib.import_module(COMMANDS[name][0])
    except KeyboardInterrupt:
        sys.exit(130)
    module.main()


if __name__ == "__main__":
    main()
