"""Tables of the graph network's showcase, and what is measured of other programs' laws, on answers that are known."""

import numpy as np
import pytest
import torch

from bench.distillation import gnn, gnn_report, particles, peers
from fansr.distill import Distiller


def network(law, seed, known, law_of_x):
    """What gnn.distilled() says of a network, as far as the tables read it."""
    models = ("network", gnn_report.PLAIN, "laws for messages", "laws", "laws, tuned")
    unit = {"status": "ok", "length": 8, "fvu_held": 1e-4 * (1 + seed), "fvu": 1e-4, "front": []}
    return {
        "law": law, "seed": seed, "name": f"{law} {seed}", "commit": "abc", "train_seconds": 90.0 + seed, "fit_seconds": 10.0,
        "edge": [{**unit, "unit": 0, "law": law_of_x}, {**unit, "unit": 1, "law": "dy/r"}],
        "node": [{**unit, "unit": k, "law": f"M{k + 1}"} for k in range(2)],
        "spans": {name: {"mapped": 0.99, "as they are": 1 - 0.001 * (1 + seed)} for name in models},
        "rest_length": {"laws for messages": known, "laws, tuned": known}, "freed_exponent": known,
        "freed_error": None if law == "spring" else 0.001,
        "error": {name: {"4 bodies": 0.1 * (1 + seed), "5 bodies": 0.2} for name in models},
        "strayed": {"4 bodies, 3 s": dict.fromkeys(models, 0.3)}, "systems": {"4 bodies, 3 s": 20 + seed},
    }  # fmt: skip


def cells(text):
    """Rows of the Markdown tables of a text, as lists of their cells."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]


def test_several_networks_of_a_law_are_one_row_with_the_worst_and_the_range():
    found = [network("charge", s, -2 + 0.001 * s, f"{0.99 + 0.002 * s}*dx/r") for s in range(3)]
    found += [network("spring", 0, 1.0, "dx - dx/r")]
    rows = cells(gnn_report.by_law(found))
    assert rows[2] == [
        "charge",
        "3",
        "101 s (102)",
        "0.99000",
        "0.99700",
        "0.9970000",
        "exponent -2.0000 to -1.9980",
        "6 of 6",
    ]
    assert rows[3][:2] == ["spring", "1"] and rows[3][6] == "rest length 1.0000 to 1.0000"
    forms = [row for row in cells(gnn_report.forms(found)) if row[0] == "charge" and row[1] == "edge 1"]
    assert forms == [["charge", "edge 1", "3 of 3", "8", "0.0003", "`0.99*dx/r`"]]
    medians = cells(gnn_report.medians(found))
    assert [row[2] for row in medians if row[:2] == ["charge", "laws"]] == ["0.2"]
    assert not [row for row in medians if row[1] == "laws, tuned"], "laws without constants are not shown twice"
    assert "4 bodies, 3 s: 20 to 22" in gnn_report.medians(found)
    whole = gnn_report.summary(found)
    assert len([row for row in cells(whole) if row[0] in ("charge 0", "charge 1", "charge 2", "spring 0")]) == 4
    assert "dx - dx/r" in gnn_report.summary(found[-1:])


class Forces(torch.nn.Module):
    """Messages that are the true forces of gravity."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, rows):
        state = rows.detach().double().numpy().reshape(-1, 2, 6)
        return (self.scale * torch.tensor(particles.pair_forces("gravity", state)[:, 0])).reshape(*rows.shape[:-1], 2)


def test_a_programs_laws_are_measured_on_true_forces_and_by_their_power_of_r():
    model = gnn.GraphNetwork()
    model.edge = Forces()
    model.double()
    state = particles.start(600, 4, np.random.default_rng(3))
    state = state[particles.nearest(state) >= gnn.LEAST][:120]
    d = Distiller(model, at="edge", seed=0)
    d.record([(torch.tensor(part),) for part in np.array_split(state, 6)], rows=300, names=gnn.RAW, inputs=gnn.MADE,
             columns=gnn.OFFERED)  # fmt: skip
    problem = d.problems()[0]
    place = {name: f"x{j + 1}" for j, name in enumerate(problem.names)}

    def record(unit, power):
        expr = ["/", "*", place["dx" if unit == 0 else "dy"], "*", place["m_1"], place["m_2"], power, place["r"]]
        law = {"expr": expr, "consts": [], "fvu": 1e-6}
        return {"problem": unit, "names": problem.names, "seconds": 1.0, "status": "ok", **law}

    right = peers.measured("gravity", d, state, [record(0, "pow3"), record(1, "pow3")])
    assert right["r2"] == pytest.approx(1, abs=2e-4) and right["known"] == pytest.approx(-2, abs=1e-3)
    assert right["units"][0]["law"] == "dx*m_1*m_2/r**3" and right["units"][0]["fvu"] < 2e-4
    wrong = peers.measured("gravity", d, state, [record(0, "pow2"), record(1, "pow2")])
    assert wrong["r2"] < 0.9 and wrong["known"] == pytest.approx(-1, abs=1e-3)
    found = [{"law": "gravity", "methods": {"fansr": right, "operon": wrong}}]
    rows = cells(peers.summary(found))
    assert rows[2][:2] == ["gravity", "fansr"] and rows[3][3] == f"exponent {wrong['known']:.4f}"


def test_without_a_clear_law_the_steepest_step_of_the_front_is_taken():
    laws = [{"expr": ["x1"], "consts": [], "fvu": 0.9}, {"expr": ["*", "x1", "x2"], "consts": [], "fvu": 0.1}]
    record = {"problem": 0, "names": ["a", "b"], "expr": [], "front": laws, "status": "no law"}
    assert peers.law_of(record).infix() == "a*b"
    assert peers.law_of({**record, **laws[0]}).infix() == "a"
