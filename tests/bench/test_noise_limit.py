"""What noise leaves to find, against the closed form of a proportional law and by counting."""

import numpy as np
import pytest
from click.testing import CliRunner

from bench import noise_limit
from fansr.expressions import CONSTANT, from_infix
from fansr.streams import reader_writer


def problem(formula, c, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X, X_val = rng.uniform(1, 2, (200, 1)), rng.uniform(1, 2, (300, 1))
    return {
        "kind": "problem",
        "id": seed,
        "X": X,
        "y": c * X[:, 0] + noise * rng.standard_normal(200),
        "X_val": X_val,
        "y_val": c * X_val[:, 0],
        "names": ["x"],
        "target": "y",
        "noise": noise / np.std(c * X[:, 0]),
        "truth": {"expr": from_infix(formula, ["x"]), "consts": np.zeros(0), "infix": formula},
    }


def test_a_factor_is_fitted_as_regression_through_the_origin():
    one = problem("2.718*x", 2.718)
    x, y = one["X"][:, 0], one["y"]
    fitted = (x @ y) / (x @ x)
    x_val = one["X_val"][:, 0]
    left = np.mean((x_val * (fitted - 2.718)) ** 2) / np.var(one["y_val"])
    assert noise_limit.left_open(one, False) == pytest.approx(left, rel=1e-4) and left > 0


def test_round_numbers_and_small_whole_ones_are_given():
    assert noise_limit.numbers_of(["*", "3.0", "x1"], 0.0)[0] == ["*", "3.0", "x1"]
    assert noise_limit.numbers_of(["*", "2.5", "x1"], 0.0)[0] == ["*", CONSTANT, "x1"]
    assert noise_limit.numbers_of(["*", "2.5", "x1"], 1e-3)[0] == ["*", "2.5", "x1"]
    expr, values = noise_limit.numbers_of(["*", "2.5173940561", "x1"], 1e-3)
    assert expr == ["*", CONSTANT, "x1"] and values == [2.5173940561]
    assert noise_limit.left_open(problem("2.5*x", 2.5), True) < 1e-30


def test_a_stream_is_counted(tmp_path):
    path = str(tmp_path / "problems.zst")
    with reader_writer.open_writer(path, "problem", []) as writer:
        for seed, c in enumerate((2.5, 2.5173940561)):
            writer.write(problem(f"{c}*x", c, seed=seed))
    done = CliRunner().invoke(noise_limit.main, [path])
    assert done.exit_code == 0, done.output
    first, second = done.output.splitlines()
    assert first.startswith("all numbers fitted: 0 of 2") and second.startswith("round and known ones given: 1 of 2")


def rounded(seed=0):
    """1 - cos of 1e-8, which float64 knows to its last bit or two."""
    one = problem("1 - cos(1e-8*x)", 1.0, seed=seed)
    return {**one, "law": f"law {seed}", "y_val": 1 - np.cos(1e-8 * one["X_val"][:, 0])}


def test_rounding_of_the_target_is_told_from_the_law():
    """Against the same law without the cancellation, 2 sin(u/2)^2."""
    one = rounded()
    plain = 2 * np.sin(0.5e-8 * one["X_val"][:, 0]) ** 2
    left = np.mean((plain - one["y_val"]) ** 2) / np.var(one["y_val"])
    assert noise_limit.rounded_off(one) == pytest.approx(left, rel=1e-9) and left > 1e-3
    assert noise_limit.rounded_off(problem("2.5*x", 2.5)) < 1e-30


def test_laws_beyond_rounding_are_named(tmp_path):
    path = str(tmp_path / "problems.zst")
    with reader_writer.open_writer(path, "problem", []) as writer:
        for one in ({**problem("2.5*x", 2.5), "law": "a product"}, rounded(1)):
            writer.write(one)
    done = CliRunner().invoke(noise_limit.main, [path, "--rounding"])
    assert done.exit_code == 0, done.output
    assert done.output == "within 1.19e-07: 1 of 2; not law 1\nwithin 1e-20: 1 of 2; not law 1\n"


def test_what_is_no_stream_of_laws_is_said_in_a_line(tmp_path):
    bare = str(tmp_path / "bare.zst")
    with reader_writer.open_writer(bare, "problem", []) as writer:
        writer.write({name: value for name, value in problem("2.5*x", 2.5).items() if name not in ("X_val", "y_val")})
    empty = tmp_path / "empty.zst"
    empty.write_bytes(b"")
    for path, said in ((bare, "--val"), (str(empty), "empty"), (str(tmp_path), "directory")):
        done = CliRunner().invoke(noise_limit.main, [path])
        assert done.exit_code == 1 and done.output.startswith("Error: ") and said in done.output
