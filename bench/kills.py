"""What is lost when a command is killed: each is ended by kill -9 at random moments, and by a disk that is full at a random size.

    bin/bench-kills                        200 kills over all commands, each gone on with by --resume and begun anew
    bin/bench-kills --kills 20 --only train gen

A trial counts as held when all of this is true:
  - after the kill the output has its name only if it is whole and equal to an unbroken run's;
  - its NAME.part, read as far as its state says, holds the records of the unbroken run from the first on, none twice;
  - going on with --resume, or beginning anew for what has none, ends in the unbroken run's records (training: the same losses
    at every step) and leaves nothing else behind.
"lost" is how long before the kill the newest state was written: work after that is done again.  A full disk is a limit on
the size of files (RLIMIT_FSIZE).  Commands are forked from this process, which has loaded them, so that start-up, of which
nothing can be lost, takes little of a trial.
"""

import argparse
import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from fansr.errors import DataError
from fansr.network import checkpoints
from fansr.streams import reader_writer

ROOT = Path(__file__).resolve().parent.parent
CONFIG = """
batch = 16
min_points = 4
max_points = 16
lr = 1e-3
hold = 0.1
log_every = 1
dtype = "float32"
threads = 1
save_seconds = 0.2
[model]
columns = 17
width = 24
heads = 2
feed_forward = 40
inducing = 4
seeds = 4
decoder_layers = 1
max_length = 40
"""


def commands(folder: Path, scale: float) -> dict[str, tuple[str, list[str], bool]]:
    """{name: (module, words without -o, whether it has --resume)}, each about a second of work at scale 1."""

    def n(count):
        return str(max(10, round(count * scale)))

    return {
        "gen": ("fansr.corpus.gen", ["-n", n(150_000)], True),
        "simplify": ("fansr.simplification.simplify", [str(folder / "raw.zst")], True),
        "decontam": ("fansr.corpus.decontam", ["--test", str(ROOT / "data/fastsrb.json"), str(folder / "many.zst")], True),
        "render": ("fansr.corpus.render", ["--points", "32", str(folder / "many.zst")], True),
        "train": ("fansr.network.train", [str(folder / "simple.zst"), "--config", str(folder / "c.toml"), "--steps", n(120)], True),
        "sample": ("fansr.network.sample", ["--samples", "256", str(folder / "problems.zst")], True),
        "fit": ("fansr.fit", ["--proposers", "power,rational", "--samples", "64", str(folder / "problems.zst")], True),
    }  # fmt: skip


def call(module: str, words: list[str], after: float | None = None, size: int | None = None) -> tuple[int, float]:
    """Run a command in a fork; kill -9 after so many seconds, or files of `size` bytes at most: (status, seconds)."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 2)
            os.dup2(null.fileno(), 1)
        if size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        sys.argv = [f"fansr-{module.rsplit('.', 1)[1]}", *words]
        code = 70
        try:
            importlib.import_module(module).main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - began


def where(name: str, out: Path) -> list[str]:
    """The words that say where a command writes."""
    return (
        ["--out", str(out), "-q"]
        if name == "train"
        else ["-o", str(out), "-q", *([] if name == "sample" else ["-j", "1"])]
    )


def records(path: Path) -> list[bytes]:
    """The packed records of a whole stream, but for what a clock put in."""
    with reader_writer.open_reader(path) as reader:
        return [reader_writer.pack({k: v for k, v in record.items() if k != "seconds"}) for record in reader]


def part_records(path: Path) -> list[bytes] | None:
    """The records of FILE.part as far as its state speaks of it, None where there is no state."""
    state = path.with_name(path.name + ".part.state")
    part = path.with_name(path.name + ".part")
    if not state.exists():
        return None
    size = json.loads(state.read_text())["bytes"]
    cut = path.with_name("cut")
    cut.write_bytes(part.read_bytes()[:size])
    found = []
    try:
        with reader_writer.open_reader(cut) as reader:
            for record in reader:
                found.append(reader_writer.pack({k: v for k, v in record.items() if k != "seconds"}))
    except DataError as error:
        if "without its end record" not in str(error):
            raise
    finally:
        cut.unlink()
    return found


def losses(folder: Path) -> dict[int, float]:
    found = {}
    for file in sorted(folder.glob("metrics-*.zst")):
        with reader_writer.open_reader(file, holds="metric") as reader:
            found |= {r["step"]: r["loss"] for r in reader if r["split"] == "train"}
    return found


def trial(name, spec, out: Path, whole, after=None, size=None) -> tuple[str | None, float]:
    """One accident and what followed: (what did not hold, None for nothing; seconds of work lost)."""
    module, words, resumes = spec
    train = name == "train"
    target = where(name, out)
    again = ["--resume"] if resumes else []
    code, _ = call(module, [*words, *target, *again], after, size)
    ended = time.time()
    if size is not None and code not in (0, 1):
        return f"a full disk ended it with {code}", 0.0
    lost = 0.0
    if train:
        found = checkpoints.load_state(out) if out.exists() else None
        if found:
            checkpoints.load_model(found[0] / "model.safetensors")  # raises unless it is whole
            lost = ended - (found[0] / "state.json").stat().st_mtime
    elif out.exists():
        if records(out) != whole:
            return "a file of its name that is not the unbroken run's", 0.0
    elif resumes:
        kept = part_records(out)
        if kept is not None:
            if kept != whole[: len(kept)]:
                return "kept records that are not the first of the unbroken run", 0.0
            lost = ended - out.with_name(out.name + ".part.state").stat().st_mtime
        elif size is not None and out.with_name(out.name + ".part").exists():
            return "a .part without a state", 0.0
    code, _ = call(module, [*words, *target, *again])
    if code:
        return f"the next run ended with {code}", lost
    if train:
        mine = losses(out)
        if mine.keys() != whole.keys() or any(abs(mine[k] - whole[k]) > 1e-5 * abs(whole[k]) for k in whole):
            return "other losses than the unbroken run", lost
    elif records(out) != whole or [p.name for p in out.parent.iterdir()] != [out.name]:
        return "other records than the unbroken run, or files left behind", lost
    return None, lost


def prepare(folder: Path, scale: float):
    """The inputs of all commands, made by them."""
    count = max(100, round(5000 * scale))
    steps = [
        ("fansr.corpus.gen", ["-n", str(count), "-o", folder / "raw.zst"]),
        ("fansr.simplification.simplify", [folder / "raw.zst", "-o", folder / "simple.zst"]),
        ("fansr.corpus.gen", ["-n", str(4 * count), "-o", folder / "many.zst"]),
        (
            "fansr.corpus.gen",
            ["-n", str(max(6, round(40 * scale))), "--config", "tiny-prior", "-o", folder / "short.zst"],
        ),
        ("fansr.corpus.render", ["--points", "32", folder / "short.zst", "-o", folder / "problems.zst"]),
    ]
    (folder / "c.toml").write_text(CONFIG)
    for module, words in steps:
        code, _ = call(module, [*map(str, words), "-q", "-j", "1"])
        assert code == 0, f"{module} ended with {code}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="over all commands")
    parser.add_argument("--full", type=int, default=None, help="full disks [default: a fifth of the kills]")
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument("--scale", type=float, default=1.0, help="of the work in a run")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    held, failed = Counter(), 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, args.scale)
        specs = {k: v for k, v in commands(folder, args.scale).items() if not args.only or k in args.only}
        for module, _, _ in specs.values():
            importlib.import_module(module)
        print(
            f"{'command':10} {'run, s':>7} {'kills':>6} {'held':>5} {'full':>5} {'held':>5} {'lost, s: median':>16} {'most':>6}"
        )
        for i, (name, spec) in enumerate(specs.items()):
            out = folder / name / "out"
            out.parent.mkdir()
            target = where(name, out)
            call(spec[0], [*spec[1], *target])  # once before it is timed: caches
            shutil.rmtree(out.parent)
            out.parent.mkdir()
            code, seconds = call(spec[0], [*spec[1], *target])
            assert code == 0, f"{name} ended with {code}"
            whole = losses(out) if name == "train" else records(out)
            largest = max(p.stat().st_size for p in (out.rglob("*") if name == "train" else [out]) if p.is_file())
            accidents = [("kill", rng.uniform(0, seconds)) for _ in range(share(args.kills, i, len(specs)))]
            full = args.kills // 5 if args.full is None else args.full
            accidents += [("full", rng.integers(1000, largest)) for _ in range(share(full, i, len(specs)))]
            lost, count, good = [], Counter(), Counter()
            for kind, when in accidents:
                shutil.rmtree(out.parent)
                out.parent.mkdir()
                odd, gone = trial(
                    name, spec, out, whole, **({"after": when} if kind == "kill" else {"size": int(when)})
                )
                count[kind] += 1
                good[kind] += odd is None
                lost += [gone] if kind == "kill" and gone else []
                if odd:
                    failed += 1
                    print(f"{name}: {kind} at {when:.3f}: {odd}", file=sys.stderr)
            held.update(good)
            told = f"{np.median(lost):16.2f} {max(lost):6.2f}" if lost else f"{'-':>16} {'-':>6}"
            print(
                f"{name:10} {seconds:7.2f} {count['kill']:6} {good['kill']:5} {count['full']:5} {good['full']:5} {told}",
                flush=True,
            )
    print(f"held: {held['kill']} kills, {held['full']} full disks; not held: {failed}")
    sys.exit(1 if failed else 0)


def share(total: int, i: int, n: int) -> int:
    """Part i of n of a total."""
    return total * (i + 1) // n - total * i // n


if __name__ == "__main__":
    main()
