"""Each diff of CONTRIBUTING.md applied to a copy of the tree, and what it adds used there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)+)", TEXT, re.M))
KINDS = {"operator": "An operator", "proposer": "A proposer", "command": "A command", "rule": "A simplification rule"}


class Copy:
    """A checkout with one diff applied; compiled kernels of untouched files come with it."""

    def __init__(self, folder: Path, kind: str):
        self.folder = folder
        for part in ("fansr", "rules", "bin"):
            shutil.copytree(ROOT / part, folder / part, symlinks=True)  # with times, which the kernels' caches go by
        for part in ("README.md", "setup.cfg"):
            shutil.copy2(ROOT / part, folder / part)
        for part in ("configs", "data", "bench"):
            (folder / part).symlink_to(ROOT / part)
        self.diff = re.search(r"^```diff\n(.*?)^```$", SECTIONS[KINDS[kind]], re.M | re.S).group(1)
        environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
        done = subprocess.run(
            ["git", "apply", "-"], input=self.diff, cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (
            f'the diff under "{KINDS[kind]}" in CONTRIBUTING.md no longer applies; write it anew.\n{done.stderr}'
        )
        for line in re.findall(r"^```sh\n(.*?)^```$", SECTIONS[KINDS[kind]], re.M | re.S):
            first, _, last = line.strip().rpartition(" ")
            subprocess.run(f"{first} {folder / last}", shell=True, check=True)

    def python(self, code: str, **environment) -> str:
        """Output of code run in the copy."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), **environment}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=1800
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_diff_is_short(kind):
    diff = re.search(r"^```diff\n(.*?)^```$", SECTIONS[KINDS[kind]], re.M | re.S).group(1)
    assert len(diff.splitlines()) < 40


# ---- an operator ------------------------------------------------------------------------------

# Against scipy's function and its derivative; sympy and torch, where asked, against the same.
OPERATOR = """
import numpy as np
from scipy.special import expm1
from fansr.expressions import export
from fansr.expressions.infix import from_infix, to_infix
from fansr.expressions.programs import value_and_jacobian
from fansr.fitting import Refiner
x = np.linspace(-3, 3, 25)
law = ["*", "<constant>", "expm1", "*", "<constant>", "x1"]
y, J = value_and_jacobian(law, x[:, None], [2.0, 0.5])
s = expm1(0.5 * x)
assert np.allclose(y, 2 * s, rtol=1e-14) and np.allclose(J, [s, 2 * (s + 1) * x], rtol=1e-12)
text = to_infix(law, [2.0, 0.5])
assert text == "2*expm1(0.5*x1)" and "expm1" in from_infix(text)
assert np.allclose(eval(export.numpy_source(law, [2.0, 0.5]), {"np": np, "x1": x}), y)
import sympy
assert np.allclose([float(sympy.sympify(export.sympy_source(law, [2.0, 0.5])).subs("x1", v)) for v in x], y)
assert export.latex(law, [2.0, 0.5]) == r"2 \\cdot \\operatorname{expm1}\\left(0.5 \\cdot x_{1}\\right)"
fvu, consts = Refiner(x[:, None], y).fit([law])
assert fvu[0] < 1e-20 and np.allclose(consts[0], [2.0, 0.5]), (fvu, consts)
from fansr.simplification import simplify_many
assert simplify_many([["expm1", "-", "+", "x1", "x2", "x2"]]) == [(["expm1", "x1"], None)]
"""


def test_an_operator_evaluates_differentiates_prints_and_fits(tmp_path):
    # Not compiled: the kernels that know the table are most of them, and plain Python runs the same lines.
    Copy(tmp_path, "operator").python(OPERATOR, NUMBA_DISABLE_JIT="1")


@pytest.mark.prove
def test_an_operator_is_compiled_and_searched_with(tmp_path):
    copy = Copy(tmp_path, "operator")
    for cache in copy.folder.rglob("*.nb[ic]"):
        cache.unlink()
    copy.python(OPERATOR)
    copy.python(
        "import numpy as np, torch\n"
        "from fansr.expressions import export\n"
        "from fansr.fitting import Budget, Candidate, Problem\n"
        "from fansr.search import turns\n"
        "a = torch.linspace(-3, 3, 9, dtype=torch.float64)\n"
        "assert torch.equal(export.torch_module(['expm1', 'x1'])(a[:, None]), torch.expm1(a))\n"
        "x = np.linspace(-4, 4, 60)\n"
        "y = np.expm1(-0.7 * np.sin(x)) + 0.3 * x * x\n"
        "law = '+ expm1 * <constant> sin x1 * <constant> pow2 x1'.split()\n"
        "found = turns.search(Problem(x[:, None], y, ['x']), turns.Options(samples=64), Budget(20.0), [Candidate(law)])\n"
        "assert found.best.fvu < 1e-20 and 'expm1' in found.best.expr, (found.best, found.failures)\n"
    )


# ---- a proposer -------------------------------------------------------------------------------

PROPOSER = """
import numpy as np
from fansr.fitting import Budget, Problem
from fansr.search import turns
x = np.linspace(-5, 5, 40)
y = 3.7 / (1 + 1.9 * np.exp(-0.83 * x))
options = turns.Options(proposers=("logistic",), samples=0)
found = turns.search(Problem(x[:, None], y, ["x"]), options, Budget(None))
assert not found.failures, found.failures
assert found.best.source == "logistic" and found.best.fvu < 1e-20, found.best
assert "logistic" in turns.DEFAULT_PROPOSERS
"""


def test_a_proposer_finds_its_law_in_a_search(tmp_path):
    Copy(tmp_path, "proposer").python(PROPOSER)


# ---- a command --------------------------------------------------------------------------------


def test_a_command_answers_and_filters_a_stream(tmp_path):
    Copy(tmp_path, "command")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": ""}

    def shell(line: str) -> str:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    launch = f"{sys.executable} bin"
    said = shell(f"{launch}/fansr-shorter --help")
    assert "Example" in said and "--most" in said and shell(f"{launch}/fansr-shorter --version").startswith("fansr-")
    rows = shell(
        f"{launch}/fansr-gen -n 300 -q -j 1 | {launch}/fansr-shorter --most 13 | {launch}/fansr-cat --json"
    ).splitlines()
    records = [json.loads(row) for row in rows]
    header, kept, end = records[0], records[1:-1], records[-1]
    assert header["history"][-1]["cmd"] == "fansr-shorter" and kept
    assert all(len(record["expr"]) <= 13 for record in kept)
    assert end["n"] + end["dropped"]["too_long"] == 300 and end["n"] == len(kept)


# ---- a rule -----------------------------------------------------------------------------------

RULE = """
from fansr.simplification import simplify_many
law = "+ x2 log inv exp * x1 x2".split()
print(*simplify_many([law])[0][0])
"""


def test_a_rule_shortens_an_expression(tmp_path):
    copy = Copy(tmp_path, "rule")
    shutil.copytree(ROOT / "rules", tmp_path / "before")
    tokens = copy.python(RULE).split()
    assert tokens == ["-", "x2", "*", "x1", "x2"]
    before = copy.python(RULE.replace("[law])", f"[law], rules={str(tmp_path / 'before')!r})")).split()
    assert len(before) == 8


@pytest.mark.prove
def test_mining_proves_the_rule(tmp_path):
    copy = Copy(tmp_path, "rule")
    words = ["--config", str(tmp_path / "rules/mine.yaml"), "--out", str(tmp_path / "mined"), "-q"]
    copy.python(f"import sys; sys.argv = ['fansr-mine', *{words}]; from fansr.simplification.mine import main; main()")
    assert (tmp_path / "mined/rules.json").read_text() == (tmp_path / "rules/rules.json").read_text()
