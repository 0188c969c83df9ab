"""A law of a form, by groups or under another loss, as a person sees it: the page, the picture, the JSON, and the saved law's values."""

import html
import json
import re
import shlex
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import fansr
from fansr import fit, predict

pytest.importorskip("matplotlib")

SCHEMA = json.loads((Path(fansr.__file__).parent / "evaluation" / "result.schema.json").read_text())
RNG = np.random.default_rng(3)
M = 60
SITES = np.array(["north", "<south>", "east & west"])
G, X, T = RNG.permutation(np.arange(M) % 3), RNG.uniform(0.5, 4, M), RNG.uniform(0, 4, M)
RATES = np.array([2.0, 3.5, 5.0])
# What is said besides the table's name; columns; the target; the truth at new rows.
SAID = {
    "form": (["--form", "A*exp(-k*t) + f(x)", "--time", "0.3"], {"x": X, "t": T}, lambda x, t: 3 * np.exp(-0.7 * t) + x**2),
    "group": (["--group", "site", "--time", "0"], {"x": X, "site": SITES[G]},
              lambda x, site: RATES[[list(SITES).index(s) for s in site]] * np.sqrt(x)),
    "loss": (["--loss", "absolute", "--time", "0", "--proposers", "power,sums"], {"x": X, "t": T}, lambda x, t: 2 * x + 3 * t),
}  # fmt: skip


@pytest.fixture(scope="module", params=SAID)
def answer(request, tmp_path_factory):
    """(what was said, folder with the files, the object of --json)."""
    words, columns, truth = SAID[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    y = truth(**columns) + (0.01 * RNG.standard_t(2, M) if request.param == "loss" else 1e-4 * RNG.normal(size=M))
    pd.DataFrame({**columns, "y": y}).to_csv(folder / "t.csv", index=False)
    names = {"--save": "law.json", "--report": "page.html"} | ({"--plot": "fit.png"} if request.param == "loss" else {})
    outputs = [word for option, name in names.items() for word in (option, str(folder / name))]
    words = [str(folder / "t.csv"), "--samples", "0", "--json", "-q", *words, *outputs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["fansr-fit", *words])
        patch.setattr("fansr.evaluation.report_page.MOST_PICTURES", 1)
        ran = CliRunner().invoke(fit.fit, words)
    assert ran.exit_code == 0, ran.output
    return request.param, folder, json.loads(ran.stdout)


def test_the_json_is_of_the_layout_and_the_formula_is_the_law(answer):
    said, _, law = answer
    jsonschema.Draft202012Validator(SCHEMA).validate(law)
    assert (law["groups"] is not None) == (said == "group") and (law["loss"] is not None) == (said == "loss")
    if said == "group":
        (one,) = law["groups"]["constants"]
        assert list(one["values"]) == sorted(SITES) and law["groups"]["column"] == "site"
        assert [one["values"][s] for s in SITES] == pytest.approx(RATES, rel=1e-3)
        assert all(0 < error < 1e-2 for error in one["standard_errors"].values())
        for k, site in enumerate(SITES):
            alone = eval(law["groups"]["laws"][site], {"sqrt": np.sqrt, "x": X})  # noqa: S307
            np.testing.assert_allclose(alone, RATES[k] * np.sqrt(X), rtol=1e-3)


def test_the_page_shows_the_law_and_what_was_said(answer):
    said, folder, law = answer
    page = (folder / "page.html").read_text()
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert f"y = {law['expression']}" in text and "<script" not in page
    assert shlex.join(SAID[said][0][:2]) in text.partition("To repeat it")[2]
    assert all(remark["text"] in text for remark in law["remarks"])
    if said == "group":
        rows = re.findall(r"<tr><td>(.*?)</td><td>([^<±]*)±", page.split("<h2>By site</h2>")[1])
        found = {html.unescape(name): float(value) for name, value in rows[: len(SITES)]}
        assert [found[site] for site in SITES] == pytest.approx(RATES, rel=1e-3)
    if said == "loss":
        assert any(remark["code"] == "loss" and "sizes of the errors" in remark["text"] for remark in law["remarks"])
        assert (folder / "fit.png").read_bytes()[:4] == b"\x89PNG"


def test_the_saved_law_gives_the_truth_at_new_rows(answer):
    said, folder, law = answer
    _, columns, truth = SAID[said]
    rng = np.random.default_rng(8)
    order = rng.permutation(M)
    new = {name: np.asarray(values)[order] for name, values in columns.items()}
    pd.DataFrame(new).to_csv(folder / "new.csv", index=False)
    ran = CliRunner().invoke(predict.predict, [str(folder / "law.json"), str(folder / "new.csv"), "-q"])
    assert ran.exit_code == 0, ran.output
    values = np.array(ran.stdout.split()[1:], dtype=float)
    np.testing.assert_allclose(values, truth(**new), rtol=0.02, atol=0.02)
