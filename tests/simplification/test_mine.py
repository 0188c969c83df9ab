"""Mining: the shipped rules are what the command writes, slices change nothing, an interrupted run goes on."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from fansr.cli import resources
from fansr.errors import DataError
from fansr.expressions.tokens import OPERATORS
from fansr.simplification.mine import DEFAULTS, SHORT, mine, read_operators, read_settings, rules_text
from fansr.simplification.rule_sets import tiers
from fansr.simplification.simplify import Simplifier

BIN = Path(sys.executable).parent
RULES = resources.path("rules")


@pytest.fixture(scope="module")
def small():
    """The shipped settings up to source length 2, without proposals: seconds instead of a minute."""
    settings = {**read_settings(RULES / "mine.yaml"), "max_source_pattern_length": 2, "proposals": None}
    return settings, read_operators(RULES / "config.yaml")


@pytest.fixture(scope="module")
def mined(small, tmp_path_factory):
    return mine(*small, part=tmp_path_factory.mktemp("mine"))


@pytest.mark.parametrize("folder", [RULES, RULES / "4-3"], ids=["3-2", "4-3"])
def test_shipped_rules_are_what_is_mined(folder, mined):
    """Lengths are mined in order, so a climb to 2 finds what the shipped climbs to 3 and 4 found on their way."""
    shipped = json.loads((folder / "provenance.json").read_text())
    assert shipped["settings"] == read_settings(folder / "mine.yaml")
    for length in ("1", "2"):
        assert mined[1]["mined"][length] == shipped["mined"][length]
    assert mined[1]["mined"]["2"]["rules"] > 10
    assert mined[1]["seeds"] == shipped["seeds"]


@pytest.mark.prove
def test_mining_again_gives_the_shipped_files(tmp_path):
    words = [BIN / "fansr-mine", "--config", RULES / "mine.yaml", "--out", tmp_path / "rules", "-q"]
    subprocess.run(words, check=True)
    for name in ("rules.json", "provenance.json", "config.yaml"):
        assert (tmp_path / "rules" / name).read_bytes() == (RULES / name).read_bytes(), name


@pytest.mark.parametrize("name, folder", tiers().items())
def test_shipped_folder_is_whole(name, folder):
    rules = json.loads((folder / "rules.json").read_text())
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["rules"] == len(rules)
    longest = [provenance["settings"][f"max_{side}_pattern_length"] for side in ("source", "target")]
    assert name == "{}-{}".format(*longest)
    assert (folder / "rules.json").read_text() == rules_text(rules)
    proposals = json.loads((folder / "proposals.json").read_text())["proposals"]
    assert provenance["proposals"]["count"] == len(proposals)
    assert "/" + "home" not in json.dumps(provenance) and "host" not in provenance
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert {row.token for row in OPERATORS} <= set(config["operators"])
    assert not SHORT & set(read_operators(folder / "config.yaml"))
    for row in OPERATORS:
        assert config["operators"][row.token]["arity"] == row.arity


def test_slices_and_resuming_change_nothing(small, mined, tmp_path, monkeypatch):
    import fansr.simplification.mine

    monkeypatch.setattr(fansr.simplification.mine, "SLICE", 100)
    stop = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        mine(*small, part=tmp_path, stop=stop, report=lambda length, done, total: length == 2 and stop.set())
    kept = sorted(path.name for path in tmp_path.glob("2-*.json"))
    assert kept == ["2-0.json"]
    calls = []
    again = mine(*small, part=tmp_path, report=lambda *where: calls.append(where))
    assert again[0] == mined[0]
    assert calls[-1][1] == calls[-1][2]
    other = {**small[0], "seed": 1}
    mine({**other, "max_source_pattern_length": 1}, small[1], part=tmp_path)
    assert not (tmp_path / "2-0.json").exists()  # another seed's slices are no use


def test_command_writes_a_folder_that_simplifies(small, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**small[0], "max_source_pattern_length": 2}))
    out = tmp_path / "rules"
    done = subprocess.run(
        [str(BIN / "fansr-mine"), "--config", str(tmp_path / "mine.yaml"), "--out", str(out), "-j", "1"],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in out.iterdir()) == ["config.yaml", "mine.yaml", "provenance.json", "rules.json"]
    assert Simplifier(str(out))(["+", "x1", "sin", "neg", "neg", "x1"]) == ["+", "sin", "x1", "x1"]


def test_interrupt_keeps_what_is_done(small, tmp_path):
    settings = {**small[0], "max_source_pattern_length": 3}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    out = tmp_path / "rules"
    process = subprocess.Popen(
        [str(BIN / "fansr-mine"), "--config", str(tmp_path / "mine.yaml"), "--out", str(out), "-j", "1"],
        stderr=subprocess.PIPE,
    )
    for _ in range(600):
        if list(out.glob("mine.part/3-*.json")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert process.communicate()[1].strip() == b""
    assert list(out.glob("mine.part/3-*.json")) and not (out / "rules.json").exists()


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("max_source: 3", "unknown key 'max_source'"),
        ("n_samples: many", "n_samples"),
        ("[1, 2]", "list"),
        ("a: [", "YAML"),
    ],
)
def test_bad_settings(tmp_path, text, wanted):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(DataError, match=wanted):
        read_settings(tmp_path / "mine.yaml")


def test_defaults_are_documented_values():
    assert read_settings(RULES / "mine.yaml").keys() == DEFAULTS.keys()
    with pytest.raises(DataError, match="no such file|No such file"):
        read_settings("nowhere.yaml")
