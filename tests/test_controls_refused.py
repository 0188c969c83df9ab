"""What is said of a law and cannot be: refused before the search in one line, with the nearest known name or the way on."""

import numpy as np
import pytest
from click.testing import CliRunner

from fansr import fit
from fansr.search import turns

ROWS = "".join(f"{x},{x * 2 + 1},{'ab'[x % 2]},{3 * x}\n" for x in range(1, 13))
# words of the call, exit status, what came, the way on
REFUSED = {
    "an operator": (["--operators", "+,-,cosine"], 2, "unknown operator 'cosine'", "'cos'"),
    "another tool's operator": (["--operators", "add,mul"], 2, "unknown operator 'add'", "the nearest known is '+'"),
    "no operator of two places": (["--operators", "exp,log"], 2, "none of two places", "add one such as + or *"),
    "a letter that is a column's name but one": (["--form", "A*exp(-k*tim)"], 2, "no column is called 'tim'", "the nearest is 'time'"),
    "a form without unknowns": (["--form", "time*mass"], 2, "leaves nothing to be found", "no constant and no function"),
    "a form larger than the rules": (["--form", "A*exp(-k*time)", "--max-constants", "1"], 2, "2 constants", "at most 1"),
    "units that cannot match": (["--units", "time=m, mass=kg, y=V, pure"], 2, "no product of powers of time [m], mass [kg]", "leave pure out"),
    "a unit": (["--units", "time=sec0nd"], 2, "the unit 'sec0nd' is unknown", "did you mean second"),
    "units of nothing": (["--units", ""], 2, "nothing was given", "'x=m, t=s'"),
    "a column of a shape": (["--monotone", "mas+"], 2, "no column is called 'mas'", "'mass'"),
    "two shapes that leave 0": (["--even", "time", "--odd", "time"], 2, "only 0 is both", "leave one of them out"),
    "a loss": (["--loss", "abs"], 2, "'abs' is unknown", "absolute"),
    "a target that no such loss has": (["--loss", "binomial"], 2, "the target y holds 3", "the classes 0 and 1"),
    "a group": (["--group", "sit"], 1, "no column is named 'sit'", "did you mean site?"),
    "groups of nothing": (["--categories", "group", "--ignore", "site"], 1, "no text column", "name one with --group"),
    "a function of one's own that is a column": (["--define", "time(x) = x**2"], 2, "'time' is a column", "otherwise"),
    "a file of guesses": (["--guess", "laws.json"], 1, "laws.json: no such file", "a formula"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_said_before_the_search(what, tmp_path, monkeypatch):
    words, status, came, way = REFUSED[what]
    (tmp_path / "t.csv").write_text("time,mass,site,y\n" + ROWS)
    monkeypatch.setattr(turns, "search", lambda *_, **__: pytest.fail("it was searched"))
    ran = CliRunner().invoke(fit.fit, [str(tmp_path / "t.csv"), *words])
    assert ran.exit_code == status and ran.stdout == "" and ran.stderr.count("\n") == 1, ran.output
    assert came in ran.stderr and way in ran.stderr, ran.stderr


def test_rules_that_leave_a_column_alone_leave_an_answer(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{x},{x + np.sin(x):.3f}\n" for x in range(12)))
    words = ["--max-length", "1", "--max-constants", "0", "--operators", "+", "--time", "0", "-q"]
    ran = CliRunner().invoke(fit.fit, [str(tmp_path / "t.csv"), *words])
    assert ran.exit_code == 0 and ran.stdout.startswith("y = x\n"), ran.output
