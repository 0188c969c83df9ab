"""Columns made on the way and columns chosen, held against numpy and pandas."""

import json

import numpy as np
import pandas
import pytest

from fansr.errors import DataError
from fansr.tables import loading, local_slopes
from fansr.tables.cells import Reading
from fansr.tables.columns import Choice
from fansr.tables.loading import array_problem, frame_table, parse_table, table_problems

T = np.linspace(0, 4, 81)
WAVE = "t,x,z\n" + "\n".join(f"{t!r},{float(np.sin(t))!r},{i}" for i, t in enumerate(T.tolist())) + "\n"


def chosen(text: str, **choice):
    return table_problems(parse_table(text.encode(), "t.csv"), Choice(**choice))


# ---- derivatives ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3])
def test_polynomials_have_exact_derivatives(order):
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(0, 3, 40))
    p = np.polynomial.Polynomial([1e3, -2, 0.5, 0.25, -0.1])
    values, n = local_slopes.rate(t, p(t), order)
    assert n == 1 and np.allclose(values, p.deriv(order)(t), atol=1e-6 * 10**order)


def test_clean_waves_are_differentiated_closely_and_noisy_ones_better_than_by_differences():
    slopes, _ = local_slopes.rate(T, np.sin(T))
    assert np.nanmax(np.abs(slopes - np.cos(T))) < 1e-6 and np.isfinite(slopes).all()
    rng = np.random.default_rng(1)
    noisy = np.sin(T) + 0.01 * rng.normal(size=len(T))
    slopes, _ = local_slopes.rate(T, noisy)
    good = np.isfinite(slopes)
    error = np.sqrt(np.mean((slopes - np.cos(T))[good] ** 2))
    assert error < 0.3 * np.sqrt(np.mean((np.gradient(noisy, T) - np.cos(T)) ** 2)) and good.mean() > 0.7


def test_order_of_rows_and_runs():
    rng = np.random.default_rng(2)
    mixed = rng.permutation(len(T))
    slopes, n = local_slopes.rate(T[mixed], np.sin(T[mixed]))
    assert n == 1 and np.allclose(slopes, np.cos(T[mixed]), atol=1e-5)
    two, x = np.tile(T, 2), np.concatenate([np.sin(T), np.exp(T)])
    slopes, n = local_slopes.rate(two, x)
    assert n == 2 and np.allclose(slopes, np.concatenate([np.cos(T), np.exp(T)]), atol=1e-3)
    x[3] = np.nan
    assert np.isnan(local_slopes.rate(two, x)[0][3])
    with pytest.raises(local_slopes.Unordered):
        local_slopes.rate(np.array([1.0, 1, 1, 2, 2, 2]), np.arange(6.0))


@pytest.mark.parametrize("formula", ["dx/dt", "d(x)/d(t)", "d x / d t", "dX/dT"])
def test_every_spelling_of_a_derivative(formula):
    ((problem, _, _),) = chosen(WAVE, derive=(f"v = {formula}",), targets=("v",))
    assert problem.names == ["t", "x", "z"] and np.allclose(problem.y, np.cos(T), atol=1e-5)
    assert problem.extra["conversions"]["v"]["text"] == f"{formula}, smoothed"


def test_second_derivatives_and_names_with_blanks():
    for formula in ("d2x/dt2", "d^2x/dt^2", "d2(x)/d(t)2"):
        ((problem, _, _),) = chosen(WAVE, derive=(f"a = {formula}",), targets=("a",))
        assert np.allclose(problem.y, -np.sin(T), atol=1e-4), formula
    text = WAVE.replace("t,x,z", "time (s),height [m],z")
    ((problem, _, _),) = chosen(text, derive=("v = d(height [m])/d(time (s))",), targets=("v",))
    assert np.allclose(problem.y, np.cos(T), atol=1e-5)


def test_columns_called_dx_and_dt_are_divided():
    ((problem, _, _),) = chosen("dx,dt,y\n1,2,3\n2,5,4\n3,7,6\n", derive=("v = dx/dt",), inputs=("v",), targets=("y",))
    assert problem.X[:, 0].tolist() == [0.5, 0.4, 3 / 7]


# ---- formulas, lags, words --------------------------------------------------------------------


def test_arithmetic_is_numpys():
    text = "x,y,my mass,z\n1,2,3,4\n2,3,5,9\n4,5,7,1\n"
    ((problem, _, _),) = chosen(
        text, derive=("r2 = x**2 + y**2", "p = sqrt(r2)*my mass", "q = log(my_mass)/2 - pi"), targets=("z",)
    )
    x, y, m = problem.X[:, 0], problem.X[:, 1], problem.X[:, 2]
    assert problem.names == ["x", "y", "my mass", "r2", "p", "q"] and problem.target == "z"
    assert np.allclose(
        problem.X[:, 3:], np.column_stack([x**2 + y**2, np.sqrt(x**2 + y**2) * m, np.log(m) / 2 - np.pi])
    )


def test_a_formula_may_use_columns_beyond_those_of_the_network():
    text = (
        ",".join(f"c{j}" for j in range(30))
        + "\n"
        + "\n".join(",".join(str(j * i + i * i) for j in range(30)) for i in range(4))
        + "\n"
    )
    ((problem, _, _),) = chosen(text, derive=("s = c25 + c28",), inputs=("s",))
    assert problem.X[:, 0].tolist() == [2 * i * i + 53 * i for i in range(4)]


def test_what_tells_the_target_by_arithmetic_is_no_input():
    text = "x,y\n" + "\n".join(f"{i},{i * i}" for i in range(1, 9)) + "\n"
    ((problem, warnings, _),) = chosen(text, derive=("r = sqrt(y)",))
    assert problem.names == ["x"] and problem.target == "y" and any("r tells y by arithmetic" in w for w in warnings)
    ((problem, warnings, _),) = chosen(text, derive=("l = log(y)",), targets=("l",))
    assert problem.names == ["x"] and any("y tells l" in w for w in warnings)
    ((problem, _, _),) = chosen(text, derive=("ratio = y/x",), targets=("ratio",))
    assert problem.names == ["x"]
    ((problem, _, _),) = chosen(text, derive=("r = sqrt(y)",), inputs=("r",))
    assert problem.names == ["r"]
    ((problem, _, _),) = chosen(text, lag=("y:1",))
    assert problem.names == ["x", "y_lag1"] and problem.target == "y"


def test_lags_are_pandas_shifts():
    frame = pandas.DataFrame({"x": np.arange(8.0) ** 2, "y": np.arange(8.0)})
    ((problem, _, dropped),) = chosen(frame.to_csv(index=False), lag=("x:1..3", "y:2"))
    theirs = pandas.concat([frame["x"].shift(k) for k in (0, 1, 2, 3)] + [frame["y"].shift(2)], axis=1).to_numpy()[3:]
    assert problem.names == ["x", "x_lag1", "x_lag2", "x_lag3", "y_lag2"]
    assert np.array_equal(problem.X, theirs) and dropped == {"missing": 3}


def test_words_become_columns_of_zeros_and_ones():
    text = "colour,kind,name,y\nred,a,n1,1\nblue,b,n2,2\nred,a,n3,3\ngreen,b,n4,4\n,a,n5,5\nblue,a,n6,6\ngreen,a,n7,7\nred,b,n8,8\n"
    ((problem, warnings, dropped),) = chosen(text, categories="onehot")
    assert problem.names == ["colour_blue", "colour_green", "colour_red", "kind_b"] and dropped == {"missing": 1}
    theirs = pandas.get_dummies(pandas.read_csv(__import__("io").StringIO(text)).dropna()[["colour", "kind"]])
    assert np.array_equal(problem.X, theirs[["colour_blue", "colour_green", "colour_red", "kind_b"]].to_numpy(float))
    assert any("name is text" in w for w in warnings) and not any("colour is text" in w for w in warnings)
    new = parse_table(b"colour,kind\nred,b\nviolet,a\n", "new", readings=problem.extra["conversions"])
    X = loading.input_columns(new, problem.names)
    assert X[0].tolist() == [0, 0, 1, 1] and np.isnan(X[1, :3]).all() and X[1, 3] == 0
    one = parse_table(b"colour,kind\nred,b\n", "new", readings=problem.extra["conversions"])
    assert loading.input_columns(one, problem.names)[0].tolist() == [0, 0, 1, 1]


def test_words_that_are_numbers_are_words_where_words_are_asked_for():
    """Months stand for themselves in 0/1 columns and as groups, yes and no are 0 and 1 in any case."""
    text = "day,wet,x,y\n" + "".join(
        f"{day},{wet},{m},{m * m}\n" for m, (day, wet) in enumerate([("Mon", "no"), ("Tue", "yes"), ("Wed", "no")] * 3)
    )
    ((plain, _, _),) = chosen(text)
    assert (
        plain.names == ["day", "wet", "x"]
        and plain.X[:3, 0].tolist() == [1, 2, 3]
        and plain.X[:3, 1].tolist() == [0, 1, 0]
    )
    ((onehot, warnings, _),) = chosen(text, categories="onehot")
    assert onehot.names == ["wet", "x", "day_Mon", "day_Tue", "day_Wed"] and not warnings
    assert onehot.X[:3, 2:].tolist() == np.eye(3).tolist()
    ((grouped, _, _),) = chosen(text, group="day")
    assert grouped.extra["grouping"]["levels"] == ["Mon", "Tue", "Wed"]
    new = parse_table(b"day,wet,x\nTue,no,4\n", "new", readings=onehot.extra["conversions"])
    assert loading.input_columns(new, onehot.names).tolist() == [[0, 4, 0, 1, 0]]


def test_made_columns_are_made_of_new_rows_too():
    ((problem, _, _),) = chosen(WAVE, derive=("w = x**2 + t", "v = dx/dt", "u = v*w"), lag=("x:1",), targets=("z",))
    conversions = json.loads(json.dumps(problem.extra["conversions"]))
    assert list(conversions) == ["w", "v", "u", "x_lag1"]
    new = parse_table(WAVE.encode(), "new", readings=conversions)
    X = loading.input_columns(new, problem.names)
    assert np.allclose(X[1:], problem.X) and np.isnan(X[0, -1])
    frame = frame_table(pandas.DataFrame({"t": T, "x": np.sin(T)}), readings=conversions)
    assert np.allclose(loading.input_columns(frame, problem.names)[1:], problem.X)
    given = parse_table(b"x,t,w\n1,2,7\n3,4,8\n", "new", readings={k: v for k, v in conversions.items() if k == "w"})
    assert given.values[:, 2].tolist() == [7, 8]  # it stands there already
    lacking = parse_table(b"t\n1\n2\n", "new", readings=conversions)
    assert lacking.names == ["t"]


def test_arrays_take_the_same_choice():
    frame = pandas.DataFrame({"t": T, "x": np.sin(T), "id": np.arange(len(T)), "kind": ["a", "b", "a"] * 27})
    problem, _, _ = array_problem(
        frame, np.cos(T), choice=Choice(ignore=("id",), derive=("s = x + t",), categories="onehot")
    )
    assert problem.names == ["t", "x", "s", "kind_b"]
    problem, _, _ = array_problem(frame, np.cos(T), choice=Choice(inputs=("x",)))
    assert problem.names == ["x"]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"derive": ("v",)}, "wanted a name and a formula"),
        ({"derive": ("= x",)}, "wanted a name and a formula"),
        ({"derive": ("v = ",)}, "wanted a name and a formula"),
        ({"derive": ("v == x",)}, "wanted a name and a formula"),
        ({"derive": ("x = t + 1",)}, "there is a column x already"),
        ({"derive": ("v = x +",)}, "cannot read the formula"),
        ({"derive": ("v = heigth*2",)}, "no column is named 'heigth'; did you mean height"),
        ({"derive": ("v = 3",)}, "uses no column"),
        ({"derive": ("v = C*x",)}, "no free constants"),
        ({"derive": ("v = dq/dt",)}, "no column is named 'q'"),
        ({"derive": ("v = dx/dq",)}, "no column is named 'q'"),
        ({"derive": ("v = dx/dsame",)}, "sort the rows"),
        ({"derive": ("v = word*2",)}, "column word is text"),
        ({"derive": ("v = __import__('os')",)}, "unknown function"),
        ({"lag": ("x",)}, "such as x:1 or x:1..3"),
        ({"lag": ("x:0",)}, "such as x:1 or x:1..3"),
        ({"lag": ("x:3..1",)}, "such as x:1 or x:1..3"),
        ({"lag": ("x:9",)}, "only 6 rows"),
        ({"lag": ("hight:1",)}, "did you mean height"),
        ({"targets": ("hieght",)}, "no column is named 'hieght'; did you mean height? The columns are t, x"),
        ({"targets": ("w*",)}, "column word is text"),
        ({"targets": ("q*",)}, "no column matches 'q*'"),
        ({"inputs": ("y", "x")}, "column y is the target and among the inputs"),
        ({"inputs": ("word",)}, "column word is text"),
        ({"ignore": ("y",), "targets": ("y",)}, "is the target and to be ignored"),
        ({"ignore": ("wrod",)}, "did you mean word"),
        ({"ignore": ("t", "x", "height", "same", "word")}, "no column of numbers is left"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(choice, said):
    text = "t,x,height,same,word,y\n" + "\n".join(f"{i},{i * i},{i + 3},1,w{i},{i**3}" for i in range(6)) + "\n"
    with pytest.raises(DataError) as error:
        chosen(text, **choice)
    assert said in str(error.value) and "\n" not in str(error.value)


# ---- targets, inputs, what is ignored ---------------------------------------------------------


def test_several_targets_share_the_table_and_are_no_inputs_of_each_other():
    text = (
        "a,b,y0,y1,y2\n"
        + "\n".join(f"{i},{i * i},{2 * i},{3 * i},{'' if i == 2 else 4 * i}" for i in range(1, 7))
        + "\n"
    )
    for targets in (("y*",), ("y0", "y1", "y2"), ("y[0-2]",), ("Y*",)):
        some = chosen(text, targets=targets)
        assert [problem.target for problem, _, _ in some] == ["y0", "y1", "y2"] and Choice(targets=targets).several
        assert all(problem.names == ["a", "b"] for problem, _, _ in some)
        assert [len(problem.y) for problem, _, _ in some] == [6, 6, 5] and [p.id for p, _, _ in some] == [0, 1, 2]
    ((problem, _, _),) = chosen(text, targets=("y1",), inputs=("a", "y0"))
    assert problem.names == ["a", "y0"] and not Choice(targets=("y1",)).several


def test_names_with_letters_of_patterns_are_names_first():
    text = "T [K],T K,y*\n1,2,3\n2,5,4\n3,9,5\n"
    ((problem, _, _),) = chosen(text, targets=("y*",), inputs=("T [K]",))
    assert problem.target == "y*" and problem.names == ["T [K]"]


def test_inputs_in_their_order_by_pattern_and_without_what_is_ignored():
    text = "x1,x2,id,err,y\n1,2,3,4,5\n2,3,4,6,7\n4,4,4,7,9\n"
    ((problem, _, _),) = chosen(text, inputs=("x2", "x*"))
    assert problem.names == ["x2", "x1"]
    ((problem, _, _),) = chosen(text, ignore=("id", "err"))
    assert problem.names == ["x1", "x2"]
    ((problem, _, _),) = chosen(text, ignore=("y",))
    assert problem.target == "err"


def test_a_column_of_row_numbers_is_left_out():
    ((problem, warnings, _),) = chosen(",x,y\n0,1.5,2\n1,2.5,3\n2,7,4\n")
    assert problem.names == ["x"] and "counts the rows" in " ".join(warnings)
    ((problem, _, _),) = chosen(",y\n0,1\n1,5\n2,7\n")
    assert problem.names == ["column1"]
    ((problem, _, _),) = chosen(",x,y\n0,1.5,2\n1,2.5,3\n2,7,4\n", inputs=("column1",))
    assert problem.names == ["column1"]
    ((problem, _, _),) = chosen(",x,y\n0,1.5,2\n3,2.5,3\n2,7,4\n")
    assert problem.names == ["column1", "x"]


def test_remarks_are_of_the_columns_in_use():
    ((problem, _, _),) = chosen("a;b;y\n5%;1;$3\n6%;2;$4\n7%;4;$9\n", inputs=("b",))
    assert [remark["text"] for remark in loading.remarks(problem)] == ["y: in $"]
    assert Reading.from_dict(problem.extra["conversions"]["y"]).currency == "$"
