"""What all commands share: numbers that are refused, config files, standard streams that are closed."""

import importlib
import math
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from fansr.cli import command
from fansr.errors import DataError

COMMANDS = {
    "gen": "corpus.gen:gen", "decontam": "corpus.decontam:decontam", "render": "corpus.render:render",
    "simplify": "simplification.simplify:simplify_command", "mine": "simplification.mine:mine_command",
    "fit": "fit:fit", "score": "evaluation.score:score", "plot": "evaluation.plot:plot", "peer": "evaluation.peer:peer",
    "sample": "network.sample:sample", "train": "network.train:train", "cat": "cli.cat:cat", "predict": "predict:predict",
    "distill": "distill_command:distill", "forms": "corpus.forms:forms", "law": "scaling.law:law", "sweep": "scaling.sweep:sweep",
}  # fmt: skip


def load(name) -> click.Command:
    module, _, function = COMMANDS[name].partition(":")
    return getattr(importlib.import_module(f"fansr.{module}"), function)


def numbers(tool):
    kinds = (click.types.IntParamType, click.types.FloatParamType)
    return [param for param in tool.params if isinstance(param, click.Option) and isinstance(param.type, kinds)]


def outside(option) -> list[str]:
    """Words that no option of numbers takes, and those beyond this one's own ends."""
    kind = option.type
    words = ["nan", "inf", "-inf", "1e999", "", "x", "0x10", "٣٣x", str(2**64), str(-(2**64)), "9" * 5000]
    if isinstance(kind, click.types.FloatParamType):  # 2**64 is a float like others
        words = [word for word in words if not word.strip("-").isdigit() or len(word) > 99]
    else:
        words.append("1.5")
    for end, step in ((getattr(kind, "min", None), -1), (getattr(kind, "max", None), 1)):
        if end is not None:
            words.append(repr(end + step * max(1, abs(end) * 1e-6) if isinstance(end, float) else end + step))
    return words


@pytest.mark.parametrize("name", COMMANDS)
def test_numbers_that_are_none_are_refused(name, tmp_path):
    """Every option of numbers of every command, from the command line and from a config file: `--time nan` was accepted."""
    tool = load(name)
    options = numbers(tool)
    for option in options:
        for word in outside(option):
            done = CliRunner().invoke(
                tool, [f"{option.opts[0]}={word}" if option.opts[0][:2] == "--" else option.opts[0] + word]
            )
            assert done.exit_code == 2, (option.name, word, done.exit_code, done.stderr)
            assert done.stderr.count("\n") == 1 and "internal" not in done.stderr, done.stderr
    if any(param.name == "config" for param in tool.params) and name != "mine":
        for option in options:
            whole = isinstance(option.type, click.types.IntParamType)
            for value in ("nan", "inf", "true", "[1, 2]", "1979-05-27", "{a = 1}", "'x'", *(("1.5",) if whole else ())):
                (tmp_path / "c.toml").write_text(f"{option.name} = {value}\n")
                done = CliRunner().invoke(tool, ["--config", str(tmp_path / "c.toml")])
                assert done.exit_code in (1, 2), (option.name, value, done.exit_code, done.stderr)
                assert done.stderr.count("\n") == 1 and "internal" not in done.stderr, done.stderr


def test_every_command_is_walked():
    """All that setup.cfg installs, and each has options of numbers but cat, which has one."""
    from pathlib import Path

    setup = Path(__file__).parents[2] / "setup.cfg"
    installed = {
        line.split("=")[0].strip()[6:] for line in setup.read_text().splitlines() if line.strip().startswith("fansr-")
    }
    assert installed == set(COMMANDS)
    assert sum(len(numbers(load(name))) for name in ("gen", "fit", "render", "score", "cat")) > 12


def test_the_ends_of_a_range_are_taken():
    @command.command(example="x")
    @click.option("--a", type=click.IntRange(0, 5), default=1)
    @click.option("--b", type=click.FloatRange(0, 1, max_open=True), default=0.5)
    @click.option("--c", type=int, default=0)
    def tool(a, b, c):
        """Say what came."""
        click.echo(f"{a} {b} {c}")

    for words, said in (
        (["--a", "5", "--b", "0"], "5 0.0 0"),
        (["--a", "0", "--c", str(-(2**63) + 1)], f"0 0.5 {-(2**63) + 1}"),
        (["--b", str(math.nextafter(1, 0))], f"1 {math.nextafter(1, 0)} 0"),
    ):
        assert CliRunner().invoke(tool, words).stdout.strip() == said
    assert CliRunner().invoke(tool, ["--b", "1"]).exit_code == 2
    assert "[0<=x<=5]" in " ".join(CliRunner().invoke(tool, ["--help"]).stdout.split())


@pytest.mark.parametrize("word", ["0", "5", "-1", "1.5M", "256X", "nan", "9" * 400, "2000G"])
def test_sizes_that_are_none(word):
    done = CliRunner().invoke(load("cat"), [f"--max-record={word}"])
    assert done.exit_code == 2 and "no size" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_largest_seed_is_one(tmp_path, seed):
    for name, args in (("gen", ["-n", "9"]), ("render", [str(tmp_path / "a"), "--points", "5"])):
        done = CliRunner().invoke(load(name), [*args, "--seed", str(seed), "-j", "1", "-q", "-o", str(tmp_path / "a")])
        assert done.exit_code == 0, done.stderr


# ---- config files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (".".join("a" * 50_000) + " = 1", "over 200 parts"),
        ("[" + ".".join("a" * 50_000) + "]", "over 200 parts"),
        ("x = {" + ". ".join("a" * 50_000) + " = 1}", "over 200 parts"),
        ('"a"' + ' . "a"' * 50_000 + " = 1", "over 200 parts"),
        ("x = " + "[" * 100_000, "nested too deeply"),
        ("x = " + "{a=" * 100_000, "nested too deeply"),
        ("x = " + "9" * 100_000, "not a TOML file"),
        ("a" * 900_000 + " = 1", "unknown key"),
        ("x" * (2 << 20), "holds"),
        ("\udcff", "not a TOML file"),
        ("seed = 1\nseed = 2", "not a TOML file"),
    ],
)
def test_a_config_that_cannot_be_read_is_named(tmp_path, text, said):
    """A key of 50,000 parts took over ten seconds: the time grew with its square."""
    path = tmp_path / "c.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    done = CliRunner().invoke(load("gen"), ["--config", str(path)])
    assert done.exit_code in (1, 2) and f"{path}: " in done.stderr and said in done.stderr, done.stderr[-300:]
    assert done.stderr.count("\n") == 1


def test_a_config_may_have_what_it_should(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('a.b.c = 1\nx = "one.two.' + "word." * 60 + '"\nlist = [1.5, 2.5, 3.5]\n# ' + "a." * 99)
    assert command.read_toml(path)["list"] == [1.5, 2.5, 3.5]
    path.write_text('tests = "data/textbook.txt"\n')  # one word for an option that may be repeated
    done = CliRunner().invoke(load("decontam"), ["--config", str(path), str(tmp_path / "none")])
    assert "none: no such file" in done.stderr
    with pytest.raises(DataError, match="is a directory"):
        command.read_toml(tmp_path)


def test_a_config_names_options_as_they_are_typed(tmp_path):
    """`time = 1` was unknown: the file wanted `seconds`, the name of a variable."""
    path = tmp_path / "c.toml"
    path.write_text("time = -1\n")
    done = CliRunner().invoke(load("fit"), ["--config", str(path)])
    assert done.exit_code == 2 and "-1" in done.stderr and "unknown" not in done.stderr
    path.write_text("max-lenght = 3\n")
    done = CliRunner().invoke(load("fit"), ["--config", str(path)])
    assert done.exit_code == 2 and "did you mean max_length?" in done.stderr
    known = done.stderr.partition("known are")[2]
    assert " time," in known and " json," in known and "seconds" not in known and "as_json" not in known


# ---- closed streams ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("train", "mine")])
def test_closed_standard_streams_are_one_line(name, tmp_path):
    """A traceback in nine of nine commands, an internal error in four."""
    module, _, function = COMMANDS[name].partition(":")
    tool = f"{sys.executable} -c 'from fansr.{module} import {function}; {function}()'"
    more = {
        "decontam": "--test data/textbook.txt",
        "plot": f"-o {tmp_path}/p.png",
        "peer": "--method gplearn --time 1",
        "predict": f"{tmp_path}/law.json",
        "distill": "export - --as latex",
        "sweep": f"run - --out {tmp_path}/runs",
        "forms": "--depth 1",
    }.get(name, "")
    for closed in ("<&-", ">&-", "<&- >&-"):
        if name in ("gen", "forms") and closed == "<&-":  # they read nothing
            continue
        line = f"{tool} {more if closed != '>&-' else '--help'} {closed}"
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 1, (line, done.stderr)
        assert done.stderr.count("\n") == 1 and "internal" not in done.stderr, done.stderr


def test_a_closed_stdout_does_not_matter_where_a_file_is_written(tmp_path):
    line = f"{sys.executable} -c 'from fansr.corpus.gen import main; main()' -n 9 -j 1 -o {tmp_path}/a >&- 2>&- <&-"
    assert subprocess.run(["bash", "-c", line], timeout=120).returncode == 0
    assert CliRunner().invoke(load("cat"), ["--count", str(tmp_path / "a")]).stdout == "9\n"


def test_too_few_open_files_is_one_line():
    line = f"ulimit -n 20; {sys.executable} -c 'from fansr.corpus.gen import main; main()' -n 900000 -j 30 -o /dev/null"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "fewer (-j)" in done.stderr, done.stderr
