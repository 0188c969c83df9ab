"""Bytes of every kind that the commands read, cut, flipped and rewritten at random, through the commands themselves.

    FANSR_FUZZ=100000 python -m pytest -m prove -s tests/prove/test_fuzz.py

Whatever comes in, a command ends with status 0, 1, 2 or 3, says at most one line when it does not end well, never a
traceback or "internal error", within SECONDS and within MEMORY more than it takes for good input.  An input that does
otherwise is kept, and named with its number; FANSR_FUZZ_FIRST=number FANSR_FUZZ=1 makes it again.
"""

import faulthandler
import gzip
import json
import multiprocessing
import os
import resource
import signal
import time
from collections import Counter
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zstandard
from click.testing import CliRunner
from plain_streams import stream_of

from fansr.cli import resources
from fansr.streams.seeds import rng_for

pytestmark = pytest.mark.prove
N, FIRST = int(os.environ.get("FANSR_FUZZ", "100000")), int(os.environ.get("FANSR_FUZZ_FIRST", "0"))
SECONDS = 20  # for one input; on a loaded machine
MEMORY = 200  # MB above what good input takes
BATCH = (
    2500  # inputs of one process, whose peak memory is then looked at; to start one costs as much as a thousand inputs
)


def array(values) -> msgpack.ExtType:
    values = np.asarray(values, dtype=float)
    return msgpack.ExtType(1, msgpack.packb(["<f8", values.shape, values.tobytes()]))


RECORDS = {
    "skeleton": {"kind": "skeleton", "id": 3, "expr": ["+", "x1", "*", "<constant>", "sin", "x2"], "raw_len": 6},
    "problem": {
        "kind": "problem", "id": 3, "X": array([[1, 2], [3, 4], [5, 7]]), "y": array([3, 7, 12]), "names": ["a", "b"],
        "target": "y", "noise": 0.0, "source": "law", "group": "easy", "X_val": array([[1, 2]]), "y_val": array([3]),
        "truth": {"expr": ["+", "x1", "x2"], "consts": array([]), "infix": "x1 + x2"},
    },
    "candidate": {"kind": "candidate", "problem": 3, "expr": ["*", "<constant>", "x1"], "logp": -2.0, "n": 1, "source": "m"},
    "fit": {
        "kind": "fit", "problem": 3, "expr": ["*", "<constant>", "x1"], "consts": array([2]), "fvu": 0.1, "fvu_val": 0.2,
        "length": 3, "status": "ok", "source": "power", "logp": None, "seconds": 0.5, "names": ["x1", "x2"], "group": "easy",
        "truth": {"expr": ["+", "x1", "x2"], "consts": array([]), "infix": "x1 + x2", "law": "a"}, "points": 3, "target": "y",
        "front": [{"expr": ["x1"], "consts": array([]), "fvu": 0.5, "length": 1}], "low": array([1, 2]), "high": array([3, 4]),
    },
    "score": {"kind": "score", "problem": 3, "best": {"expr": ["x1"], "consts": array([]), "fvu": 0.1}, "front": []},
    "metric": {"kind": "metric", "step": 1, "split": "train", "loss": 0.5},
}  # fmt: skip
CAT = [["cat", mode] for mode in ("--json", "--tsv", "--infix", "--check", "--count", "--merge")]
DOORS = {
    "skeleton": [*CAT, ["simplify", "-j1"], ["simplify", "-j1", "--dedup"], ["render", "-j1", "--points", "4"],
                 ["decontam", "-j1", "--test", "{laws}"]],
    "problem": [*CAT, ["decontam", "-j1", "{skeletons}", "--test"]],
    "candidate": [*CAT, ["simplify", "-j1"], ["decontam", "-j1", "{skeletons}", "--test"]],
    "fit": [*CAT, ["score"], ["score", "--json", "--by", "group"], ["decontam", "-j1", "{skeletons}", "--test"]],
    "score": CAT,
    "metric": CAT,
}  # fmt: skip
TOOLS = {
    "cat": "fansr.cli.cat", "simplify": "fansr.simplification.simplify", "render": "fansr.corpus.render",
    "decontam": "fansr.corpus.decontam", "score": "fansr.evaluation.score", "gen": "fansr.corpus.gen",
    "fit": "fansr.fit",
}  # fmt: skip
ODD = [
    None, True, -1, 0, 1.5, 2**63, 2**64 - 1, float("nan"), float("inf"), "", "x", "x99", "<constant>", "ä" * 300, b"x1", [], {},
    [[]], [1], ["x1"], ["sin"], ["x1", "x1"], ["x²"], ["1e999"], ["nan"], ["pow", "x1", "2"], [None], {"a": [1]}, ["neg"] * 3000 + ["x1"],
    ["+"] * 999 + ["x1"] * 1000, msgpack.Timestamp(5), msgpack.ExtType(9, b"x"), array([]), array([[1.0]]), array(5.0),
    msgpack.ExtType(1, msgpack.packb(["<f8", [2**40], b""])), msgpack.ExtType(1, msgpack.packb(["|O", [1], bytes(8)])),
    msgpack.ExtType(1, msgpack.packb(["<i8", [2], bytes(16)])), array([np.nan, np.inf]), "a\nb\tc", "\0", {"expr": ["x1"]},
]  # fmt: skip


# ---- inputs -----------------------------------------------------------------------------------


def torn(data: bytes, rng) -> bytes:
    """A few bytes changed, put in, left out, said twice, or the rest cut off."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data) + 1))
        more = int(rng.integers(1, 9))
        how = rng.integers(7)
        if how == 0:
            del data[at:]
        elif how == 1 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif how == 2:
            data[at:at] = rng.bytes(more)
        elif how == 3:
            del data[at : at + more]
        elif how == 4:
            data[at:at] = data[max(0, at - 8 * more) : at]
        elif how == 5 and at < len(data):
            data[at] = rng.choice([0x00, 0x90, 0xC1, 0xC6, 0xC9, 0xDB, 0xDD, 0xDF, 0xFF])
        elif at < len(data):
            data[at : at + more] = rng.choice(
                np.frombuffer(b"0123456789.-+*/()[]{}\"',:#ex \n", np.uint8), more
            ).tobytes()
    return bytes(data)


def changed(value, rng, depth=0):
    """A record with one thing in it replaced, added or taken away."""
    if isinstance(value, dict) and value and rng.random() < (0.95 if depth == 0 else 0.5):
        key = list(value)[int(rng.integers(len(value)))]
        how = rng.integers(8)
        if how == 0:
            return {k: v for k, v in value.items() if k != key}
        if how == 1:
            return {**value, rng.choice(np.array(["odd", 5, 1.5, None, b"k", "kind"], object)): odd(rng)}
        return {**value, key: changed(value[key], rng, depth + 1)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        at = int(rng.integers(len(value)))
        return [*value[:at], changed(value[at], rng, depth + 1), *value[at + 1 :]]
    return odd(rng)


def odd(rng):
    if rng.random() < 0.05:
        value = []
        for _ in range(int(rng.choice([10, 33, 400, 600, 1100]))):
            value = [value] if rng.random() < 0.9 else {"a": value}
        return value
    return ODD[int(rng.integers(len(ODD)))]


def packed(data: bytes, rng) -> bytes:
    return [bytes, gzip.compress, zstandard.compress][int(rng.integers(3))](data)


def a_stream(i: int, rng) -> tuple[list[str], bytes]:
    """A damaged stream of some kind, and a command that reads it."""
    kind = list(RECORDS)[i % len(RECORDS)]
    door = DOORS[kind][int(rng.integers(len(DOORS[kind])))]
    some = [{**RECORDS[kind], "id" if "id" in RECORDS[kind] else "problem": j} for j in range(3)]
    if kind == "candidate":
        some = [{**RECORDS["problem"], "id": 1}, *some]
    head = {
        "kind": "header",
        "format": 2,
        "holds": kind,
        "history": [{"cmd": "a", "argv": [], "config": {"ids": [0, 3]}}],
    }
    end: dict = {}
    good, good_head = list(some), head
    if rng.random() < 0.6:  # sound bytes that say something odd
        for _ in range(int(rng.integers(1, 3))):
            at = int(rng.integers(len(some)))
            some[at] = changed(some[at], rng)
        if rng.random() < 0.1:
            head = changed(head, rng)
        if rng.random() < 0.1:
            end = {str(rng.choice(["n", "dropped", "checksum", "interrupted"])): odd(rng)}
        try:
            return door, packed(stream_of([msgpack.packb(record) for record in some], head, **end), rng)
        except ValueError:  # nested deeper than msgpack writes
            pass
    data = stream_of([msgpack.packb(record) for record in good], good_head)
    return door, torn(packed(data, rng), rng) if rng.random() < 0.5 else packed(torn(data, rng), rng)


LAWS = b"""G*m1*m2/r**2 ; G 6 7, m1 0.1 10 log, m2 0.1 10 log, r 1 5 uni pos_neg
x1*sin(2.5*x2) # a wave
exp(-x)/(1 + a**2) ; x 1 2, a 1 5 int
"""
ENTRIES = json.dumps(
    {"name": "n", "laws": [{"id": "a", "infix": "2*x + sqrt(y)", "difficulty": "easy", "target": "z", "variables": [
        {"name": "x", "low": 1, "high": 5, "dist": "log", "sign": "pos"}, {"name": "y", "low": 1, "high": 2}]}]}
).encode()  # fmt: skip


def laws(i: int, rng) -> tuple[list[str], bytes]:
    data = LAWS if rng.random() < 0.5 else ENTRIES
    if data is ENTRIES and rng.random() < 0.5:
        table = json.loads(data)
        plain = [
            value for value in ODD if isinstance(value, (type(None), bool, int, float, str, list)) and value != [None]
        ]
        spot = table["laws"][0] if rng.random() < 0.5 else table["laws"][0]["variables"][int(rng.integers(2))]
        spot[str(rng.choice(list(spot)))] = plain[int(rng.integers(len(plain)))]
        return ["render", "-j1", "--points", "3"], json.dumps(table, default=str).encode()
    return ["render", "-j1", "--points", "3"], torn(data, rng)


def config(i: int, rng) -> tuple[list[str], bytes]:
    name = str(rng.choice(["prior.toml", "prior-wide.toml"]))
    data = resources.path("configs", name).read_bytes()
    if rng.random() < 0.5:  # a number made another one
        words = data.split(b" ")
        places = [j for j, word in enumerate(words) if word[:1].isdigit()]
        words[places[int(rng.integers(len(places)))]] = (
            str(
                rng.choice(
                    [
                        "-1",
                        "0",
                        "1e999",
                        "nan",
                        "1e300",
                        "true",
                        "[1]",
                        "99999999999999999999",
                        "'x'",
                        "1.5",
                        "1979-05-27",
                    ]
                )
            ).encode()
            + b"\n"
        )
        return ["gen", "-n", "3", "-j1", "--config"], b" ".join(words)
    return ["gen", "-n", "3", "-j1", "--config"], torn(data, rng)


DRESSES = [
    b"a,b,y\n" + b"".join(b"%d,%d,%d\n" % (j, j * j, j + 3 * j * j) for j in range(1, 7)),
    b"sep=;\nwhen;rate;y\n" + b"".join(b"0%d.02.2024;%d,5%%;$1.0%d0,5\n" % (j, j, j) for j in range(1, 7)),
    b"t,x,kind,y\ns,m/s,,kg\n" + b"".join(b"%d,%d.5 cm,%s,%d\n" % (j, j, b"ab"[j % 2 :][:1], j * j) for j in range(1, 9)),
    b'when,n,y\n' + b"".join(b'2024-01-0%dT1%d:00:00Z,"1,%d00",%d\n' % (j, j, j, j) for j in range(1, 9)),
    json.dumps([{"a": j, "b": f"{j}%", "y": j * j} for j in range(1, 7)]).encode(),
    json.dumps({"columns": ["a", "y"], "data": [[j, 2.5 * j] for j in range(1, 7)]}).encode(),
]  # fmt: skip
CHOICES = [
    [], ["--target", "*"], ["--inputs", "a,x,t"], ["--ignore", "n,*"], ["--derive", "v = dx/dt"], ["--derive", "v = a**2 + b"],
    ["--lag", "a:1..2"], ["--categories", "onehot"], ["--dates", "day-first"],
]  # fmt: skip


def table(i: int, rng) -> tuple[list[str], bytes]:
    every = DRESSES + sheets()
    data = every[int(rng.integers(len(every)))]
    words = ["fit", "-j1", "--time", "0", "--samples", "0", "--proposers", "power", "--json"]
    words += CHOICES[int(rng.integers(len(CHOICES)))] if rng.random() < 0.4 else []
    how = rng.random()
    if how < 0.2:
        return words, torn(packed(data, rng), rng)
    if how < 0.5:
        return words, packed(torn(data, rng), rng)
    changed_bytes = bytearray(data)  # other letters of tables in places of some: most of it stays readable
    for at in rng.integers(len(data), size=int(rng.integers(1, 5))):
        changed_bytes[at] = int(rng.choice(np.frombuffer(b"0123456789.,;%$ -:/'\"eEx\n()[]", np.uint8)))
    return words, bytes(changed_bytes)


def sheets() -> list[bytes]:
    """A small table as xlsx, parquet and feather, where their readers are installed."""
    if "sheets" not in _made:
        import io

        import pandas

        frame = pandas.DataFrame(
            {"a": [1.0, 2, 3, 4], "when": pandas.date_range("2024-01-01", periods=4), "y": [1, 4, 9, 16]}
        )
        found = []
        for write in (lambda out: frame.to_excel(out, index=False), frame.to_parquet, frame.to_feather):
            out = io.BytesIO()
            try:
                write(out)
            except ImportError:
                continue
            found.append(out.getvalue())
        _made["sheets"] = found
    return _made["sheets"]


def checkpoint(i: int, rng) -> tuple[list[str], bytes]:
    return ["checkpoint"], torn(_model(), rng)


_made: dict = {}


def _model() -> bytes:
    """A model file of a small network, whose header is a large part of it."""
    if "model" not in _made:
        import safetensors.torch

        from fansr.network.architecture import Model, ModelConfig

        small = ModelConfig(
            columns=1, width=8, heads=1, feed_forward=8, inducing=2, seeds=2, decoder_layers=1, max_length=4
        )
        header = {"format": "fansr-model-1", "config": json.dumps(small.to_dict()), "training": "{}", "history": "[]"}
        _made["model"] = safetensors.torch.save(Model(small).state_dict(), header)
    return _made["model"]


def rules(i: int, rng) -> tuple[list[str], bytes]:
    return ["rules", str(rng.choice(["config.yaml", "rules.json", "mine.yaml"]))], b""


KINDS = [(a_stream, 0.7), (laws, 0.12), (config, 0.1), (table, 0.05), (checkpoint, 0.028), (rules, 0.002)]


def made(i: int):
    """(kind's name, words of the command, bytes of the file) of input number i."""
    rng = rng_for(0, "fuzz", i)
    kind = KINDS[int(rng.choice(len(KINDS), p=[share for _, share in KINDS]))][0]
    return (kind.__name__, *kind(i, rng), rng)


# ---- trials -----------------------------------------------------------------------------------


def run(words, path: Path, folder: Path, rng):
    """(exit status, stderr) of the command, in this process."""
    import importlib

    if words[0] == "checkpoint":
        from fansr.errors import DataError
        from fansr.network import checkpoints

        try:
            checkpoints.load_model(path)
        except DataError as error:
            return 1, f"{error}\n"
        return 0, ""
    if words[0] == "rules":
        there = folder / "rules"
        there.mkdir(exist_ok=True)
        for name in ("config.yaml", "rules.json", "mine.yaml"):
            data = resources.path("rules", name).read_bytes()
            (there / name).write_bytes(torn(data, rng) if name == words[1] else data)
        if words[1] == "mine.yaml":
            from fansr.errors import DataError
            from fansr.simplification import mine

            try:
                mine.read_settings(there / "mine.yaml")
            except DataError as error:
                return 1, f"{error}\n"
            return 0, ""
        words, path = ["simplify", "-j1", "--rules", str(there)], folder / "skeletons"
    words = [word.format(laws=folder / "laws", skeletons=folder / "skeletons") for word in words]
    more = (
        ["-o", str(folder / "out")]
        if words[0] in ("simplify", "render", "decontam", "gen") or "--merge" in words
        else []
    )
    tool = importlib.import_module(TOOLS[words[0]]).main
    if not hasattr(tool, "params"):
        tool = getattr(importlib.import_module(TOOLS[words[0]]), words[0])
    done = CliRunner().invoke(tool, [*words[1:], *([str(path)] if "{skeletons}" not in words else []), *more])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return -1, repr(done.exception)
    return done.exit_code, done.stderr


class TooLong(BaseException):
    pass


def outcome(i: int, folder: Path) -> tuple[str, str]:
    """("kind: what came", details) of one input; what is not as promised begins with WRONG."""
    kind, words, data, rng = made(i)
    path = folder / "input"
    path.write_bytes(data)
    began = time.monotonic()

    def stop(signum, frame):
        raise TooLong

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        code, said = run(words, path, folder, rng)
    except TooLong:
        return f"WRONG {kind}: over {SECONDS} s", " ".join(words)
    except BaseException as error:  # noqa: BLE001 - whatever comes is a finding
        return f"WRONG {kind}: {type(error).__name__}", f"{words}: {error}"
    finally:
        signal.alarm(0)
    details = f"{' '.join(words)}: {said[-400:].strip()} ({time.monotonic() - began:.1f} s)"
    if code not in (0, 1, 2, 3):
        return f"WRONG {kind}: status {code}", details
    if "internal error" in said or "Traceback" in said:
        return f"WRONG {kind}: internal error", details
    if code and said.count("\n") != 1:
        return f"WRONG {kind}: {said.count(chr(10))} lines", details
    return f"{kind}: {['fine', 'refused', 'refused', 'no answer'][code]}", details


def batch(first: int, n: int, folder: str, sender):
    """The outcomes of some inputs, and this process's peak memory in MB before and after."""
    faulthandler.enable()
    folder = Path(folder)
    (folder / "laws").write_text("x1*sin(2.5*x2)\n")
    head = {"kind": "header", "format": 2, "holds": "skeleton"}
    (folder / "skeletons").write_bytes(stream_of([msgpack.packb(RECORDS["skeleton"])], head))
    for kind in RECORDS:  # everything is loaded once, with good input
        (folder / "good").write_bytes(stream_of([msgpack.packb(RECORDS[kind])], {**head, "holds": kind}))
        for door in DOORS[kind]:
            code, said = run(door, folder / "good", folder, None)
            assert code == 0 or kind == "candidate", (kind, door, said)
    _model()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found = []
    for i in range(first, first + n):
        found.append((i, *outcome(i, folder)))
        if found[-1][1].startswith("WRONG"):
            (folder / f"wrong-{i}").write_bytes((folder / "input").read_bytes())
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sender.send((found, before, after))


def test_nothing_that_is_read_harms(tmp_path):
    counts: Counter = Counter()
    wrong, most = [], 0
    context = multiprocessing.get_context("spawn")
    for first in range(FIRST, FIRST + N, BATCH):
        n = min(BATCH, FIRST + N - first)
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=batch, args=(first, n, str(tmp_path), sender))
        process.start()
        sender.close()
        try:
            found, before, after = receiver.recv()
        except EOFError:
            wrong.append(f"inputs {first} to {first + n - 1}: their process died")
            continue
        finally:
            process.join()
        counts.update(what for _, what, _ in found)
        wrong += [f"input {i}: {what}: {details}" for i, what, details in found if what.startswith("WRONG")]
        most = max(most, after - before)
        if after - before > MEMORY:
            wrong.append(f"inputs {first} to {first + n - 1}: {after - before} MB more than good input takes")
    print(f"\n{sum(counts.values())} inputs, at most {most} MB above good input:")
    for what, n in sorted(counts.items()):
        print(f"{n:8} {what}")
    assert not wrong, "\n".join(wrong[:40]) + f"\n{len(wrong)} in all; inputs kept in {tmp_path}"


def every_small_damage() -> list[bytes]:
    """Every truncation, and every byte flipped in three ways, of a small stream, packed in each way."""
    data = stream_of([msgpack.packb(RECORDS["skeleton"])])
    found = []
    for one in (data, zstandard.compress(data), gzip.compress(data)):
        found += [one[:size] for size in range(len(one))]
        for i in range(len(one)):
            for flip in (0x01, 0x15, 0x80):
                found.append(one[:i] + bytes([one[i] ^ flip]) + one[i + 1 :])
    return found


def test_every_cut_and_every_flipped_byte_of_a_small_stream(tmp_path):
    """Refused, or read as the same records: zstd and gzip have bytes that say nothing."""
    from fansr.cli.cat import main as cat

    path = tmp_path / "input"
    good = None
    counts: Counter = Counter()
    for i, data in enumerate([stream_of([msgpack.packb(RECORDS["skeleton"])]), *every_small_damage()]):
        path.write_bytes(data)
        done = CliRunner().invoke(cat, [str(path)])
        good = good or done.stdout
        counts["read the same" if done.exit_code == 0 else "refused"] += 1
        assert "internal" not in done.stderr and done.exit_code in (0, 1), (i, done.stderr)
        assert done.exit_code == 1 or done.stdout == good, i
        assert done.exit_code == 0 or done.stderr.count("\n") == 1, (i, done.stderr)
    print(f"\n{dict(counts)}")
    assert counts["refused"] > 0.97 * sum(counts.values())


def test_the_fuzzer_would_notice(tmp_path, monkeypatch):
    """A slip put into the reader is found within a few inputs."""
    from fansr.streams import packing

    monkeypatch.setattr(packing, "unpack", lambda data: {"kind": 5, **msgpack.unpackb(data).nothing})
    (tmp_path / "laws").write_text("x1\n")
    (tmp_path / "skeletons").write_bytes(stream_of([msgpack.packb(RECORDS["skeleton"])]))
    monkeypatch.setattr(packing, "DataError", RuntimeError)
    assert any(outcome(i, tmp_path)[0].startswith("WRONG") for i in range(40))
