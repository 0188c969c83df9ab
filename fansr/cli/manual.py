"""fansr man, fansr completion: manual pages and shell completion, made from the same options that --help prints.

    fansr man fit | man -l -
    fansr man --all -o man1/
    eval "$(fansr completion bash)"        # also zsh; fish: fansr completion fish | source

Nothing is kept beside the commands, so nothing can be out of date.  Completion asks the command itself, which knows its options
and choices, the example tables, and for --target, --sigma and --weights the columns of the file that was named before.
"""

from __future__ import annotations

import importlib
import os
import re
import sys

import click

from fansr.cli.command import command, output_option
from fansr.errors import DataError
from fansr.streams import files
from fansr.version import __version__

SHELLS = ("bash", "zsh", "fish")
HEAD = 1 << 16  # bytes of a table that are looked at for its column names


def tool_of(module: str) -> click.Command:
    """The click command of a command's module."""
    found = importlib.import_module(module)
    commands = [found.main, *vars(found).values()]
    return next(tool for tool in commands if isinstance(tool, click.Command))


# ---- manual pages -----------------------------------------------------------------------------


def page(name: str, tool: click.Command, what: str) -> str:
    """The manual page (roff) of one command; what: its line in the list of commands."""
    context = click.Context(tool, info_name=name, max_content_width=1000)
    arguments = " ".join(piece for piece in tool.collect_usage_pieces(context) if piece != "[OPTIONS]")
    lines = [
        f'.TH {name.upper()} 1 "" "fansr {__version__}" "fansr"',
        ".ad l",  # lists of choices are too long a word to be spread over a line
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(what)}",
        ".SH SYNOPSIS",
        f".B {_roff(name)}",
        _roff(f"[OPTIONS] {arguments}".strip()),
        ".SH DESCRIPTION",
    ]
    for paragraph in (tool.help or "").split("\n\n"):
        lines += [_roff(" ".join(paragraph.split())), ".PP"]
    for heading, records in option_groups(tool, context):
        lines.append(f".SH {_roff(heading.upper())}")
        for flags, text in records:
            lines += [".TP", f".B {_roff(flags)}", _roff(text)]
    if tool.epilog:
        example = [line.strip() for line in tool.epilog.replace("\b", "").splitlines() if line.strip()]
        lines += [".SH EXAMPLE", ".nf", *(_roff(line) for line in example[1:]), ".fi"]
    lines += [".SH EXIT STATUS", "0 done; 1 the data are wrong; 2 the call is wrong; 3 no answer; 130 interrupted."]
    return "\n".join(lines) + "\n"


def option_groups(tool: click.Command, context: click.Context) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, [(flags, text)]) as --help prints them."""
    found: list[tuple[str, list[tuple[str, str]]]] = []

    class Formatter(click.HelpFormatter):
        def write_heading(self, heading):
            found.append((heading, []))

        def write_dl(self, rows, *widths, **more):
            found[-1][1].extend(rows)

    tool.format_options(context, Formatter())
    return found


def _roff(text: str) -> str:
    """A text with what roff would take for its own made plain."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


@command(example="fansr man fit | head", name="man")
@click.argument("name", required=False, metavar="[COMMAND]")
@click.option(
    "--all", "everything", is_flag=True, help="The pages of all commands, as files of the folder that -o names."
)
@output_option("Where the page goes; - is stdout.  With --all, a folder.")
def man(name, everything, output):
    """Write the manual page of a command, in roff as man reads it."""
    from fansr.cli.fansr import COMMANDS

    if everything == bool(name):
        raise click.UsageError("wanted the name of a command, or --all -o FOLDER")
    if name:
        name = name.removeprefix("fansr-")
        if name not in COMMANDS:
            raise click.UsageError(f"no command {name!r}; known are {', '.join(COMMANDS)}")
        module, what = COMMANDS[name]
        return files.write_text(output, page(f"fansr-{name}", tool_of(module), what))
    if output == "-":
        raise click.UsageError("--all wants -o FOLDER")
    os.makedirs(output, exist_ok=True)
    for name, (module, what) in COMMANDS.items():
        files.write_text(os.path.join(output, f"fansr-{name}.1"), page(f"fansr-{name}", tool_of(module), what))
    return None


# ---- completion -------------------------------------------------------------------------------

# FANSR_WORDS: a word a line, the unfinished one last, and a full stop after it, since shells drop empty lines at an end.
SCRIPTS = {
    "bash": """_fansr_complete() {
    local IFS=$'\\n'
    COMPREPLY=($(FANSR_WORDS="$(printf '%s\\n' "${COMP_WORDS[@]:0:COMP_CWORD+1}" .)" fansr complete 2>/dev/null))
    [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o filenames -F _fansr_complete NAMES
""",
    "zsh": """_fansr_complete() {
    local -a found
    found=("${(@f)$(FANSR_WORDS="${(pj:\\n:)words[1,CURRENT]}"$'\\n.' fansr complete 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then compadd -- "${found[@]}"; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _fansr_complete NAMES
""",
    "fish": """function __fansr_complete
    set -l last (commandline -ct)
    set -lx FANSR_WORDS (string join -- \\n (commandline -opc) "$last" . | string collect)
    set -l found (fansr complete 2>/dev/null)
    if test (count $found) -gt 0
        string join -- \\n $found
    else
        __fish_complete_path $last
    end
end
for name in NAMES
    complete -c $name -f -a '(__fansr_complete)'
end
""",
}


@command(example="fansr completion bash > ~/.local/share/bash-completion/completions/fansr", name="completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell):
    """Write what makes a shell complete options, choices, commands and columns."""
    from fansr.cli.fansr import COMMANDS

    click.echo(SCRIPTS[shell].replace("NAMES", " ".join(["fansr", *(f"fansr-{name}" for name in COMMANDS)])), nl=False)


def candidates(words: list[str]) -> list[str]:
    """What the last of the words may go on as: the names of commands, options, choices, columns or example tables."""
    from fansr.cli.fansr import COMMANDS, OWN

    program, *words = words
    program = os.path.basename(program)
    if program == "fansr":
        if len(words) < 2:
            return [name for name in (*COMMANDS, *OWN) if name.startswith(words[0] if words else "")]
        program, words = words[0], words[1:]
    name = program.removeprefix("fansr-")
    if name not in COMMANDS or not words:
        return []
    tool = tool_of(COMMANDS[name][0])
    *before, last = words
    options = {flag: param for param in tool.params if isinstance(param, click.Option) for flag in param.opts}
    negative = [flag for param in tool.params if isinstance(param, click.Option) for flag in param.secondary_opts]
    asked = options.get(before[-1]) if before else None
    if asked is not None and not asked.is_flag:
        return [value for value in values(asked, before) if value.startswith(last)]
    if last.startswith("-"):
        return sorted(flag for flag in [*options, *negative] if flag.startswith(last))
    if name in ("fit", "predict") and last:
        from fansr.cli import resources

        return [table for table in resources.example_tables() if table.startswith(last) and not os.path.exists(last)]
    return []


def values(option: click.Parameter, before: list[str]) -> list[str]:
    """What an option's value may be: its choices, or the columns of the first file among the words before it."""
    if isinstance(option.type, click.Choice):
        return [str(choice) for choice in option.type.choices]
    if {"--target", "--sigma", "--weights", "--inputs", "--ignore"} & set(option.opts):
        return next((columns_of(word) for word in before if not word.startswith("-") and columns_of(word)), [])
    return []


def columns_of(path: str) -> list[str]:
    """The column names of a table's first line; none where it cannot be read quickly."""
    from fansr.cli import resources

    path = resources.example_table(path)
    if not os.path.isfile(path):
        return []
    try:
        with open(path, "rb") as file:
            text = files.plain_head(file.read(HEAD), HEAD).decode("utf-8-sig", "replace")
    except OSError:
        return []
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        return []
    separator = max((",", ";", "\t"), key=lines[0].count)
    return [name.strip().strip('"') for name in re.split(re.escape(separator), lines[0])]


def complete() -> None:
    """Print, a line each, what the words of FANSR_WORDS may go on as; for the scripts above."""
    words = os.environ.get("FANSR_WORDS", "").removesuffix("\n.").split("\n")
    try:
        found = candidates(words)
    except (DataError, OSError, ImportError):
        found = []
    sys.stdout.write("".join(f"{word}\n" for word in found))
