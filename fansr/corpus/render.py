"""fansr-render: numbers for laws, as problem records.

    fansr-gen -n 1000 | fansr-simplify | fansr-render --points 256 > problems.zst
    fansr-render data/fastsrb.json --points 512 --repeats 10 --val > benchmark.zst

A stream of skeletons gets constants and points from the prior (section 3.3): up to 4 redraws, then the
skeleton is left out and counted.  A file of laws (law_files.py) gets points from each law's own ranges.  A
problem's columns are those the law uses, renumbered in order, and any irrelevant ones.
render knows nothing of bits or networks; render_torch.py draws the same for whole batches on an accelerator.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import click
import numpy as np

from fansr.cli import command, kernels
from fansr.corpus import law_files
from fansr.corpus.gen import words
from fansr.corpus.prior import Prior, load, to_dict
from fansr.expressions import CONSTANT_ID, FIRST_OPERATOR_ID, FIRST_VARIABLE_ID, TOKEN_ID
from fansr.streams import digests, key_for, reader_writer, rng_for

SPACE = 1 << 20  # numbers drawn at once at most (8 MB), as far as one skeleton has fewer
LAW_POINTS = 512  # default for files of laws; skeletons take U(1, 1024) as in the paper


@dataclass(frozen=True)
class Settings:
    """What a user asks of both renderers.

    points None: the prior's number for skeletons.  val adds as many unseen, noise-free points.
    noise None: the prior's.  Repeat r of record i has id i * repeats + r.
    """

    points: int | None = None
    repeats: int = 1
    noise: float | None = None
    val: bool = False
    dummies: int = 0
    seed: int = 0


# ---- skeletons --------------------------------------------------------------------------------


class SkeletonRenderer:
    """A Batch of skeleton records to packed problem records; the stage function of the stream form."""

    def __init__(self, prior: Prior, settings: Settings):
        self.prior, self.settings = prior, settings
        self._space: dict = {}  # arrays used again and again
        self._sheet = None

    def __getstate__(self):
        return {**self.__dict__, "_space": {}, "_sheet": None}  # for worker processes

    def __call__(self, batch):
        """(problems one after another, their number, sum of their digests, drops by reason).

        The bytes are a memoryview that the next call overwrites.
        """
        from fansr.corpus import problem_bytes, skeleton_rows

        dropped: Counter = Counter()
        tokens, usable, sources = skeleton_rows.of_batch(batch)
        beyond = (tokens >= FIRST_VARIABLE_ID + self.prior.variables) & (tokens < FIRST_OPERATOR_ID)
        usable = usable & ~beyond.any(axis=1)
        if not usable.all():
            dropped["outside_vocabulary"] = int((~usable).sum())
            tokens, sources = tokens[usable], sources[usable]
        if self._sheet is None:
            self._sheet = problem_bytes.Sheet()
        self._sheet.clear()
        for b in range(0, len(tokens), self.together):
            self._some(tokens[b : b + self.together], sources[b : b + self.together], dropped)
        data, ends = self._sheet.data, self._sheet.ends
        return data, len(ends), int(digests(data, ends).sum(dtype=np.uint64)), dropped

    @property
    def together(self) -> int:
        """Skeletons drawn at once: as many as keep the numbers in SPACE."""
        s = self.settings
        most = (s.points or self.prior.max_points) * (2 if s.val else 1) * self.prior.variables * s.repeats
        return max(1, min(512, SPACE // most))

    def _some(self, rows, sources, dropped):
        """Draw and lay the problems of these skeletons."""
        from fansr.corpus import draw_kernels

        s = self.settings
        rows, sources = np.repeat(rows, s.repeats, axis=0), np.repeat(sources, s.repeats)
        ids = sources * np.uint64(s.repeats) + np.tile(np.arange(s.repeats, dtype=np.uint64), len(sources) // s.repeats)
        if self.prior.inserted > 0:
            from fansr.corpus import insertion

            rows = insertion.insert(rows, ids, self.prior.inserted, s.seed)
        fit = self._points(ids)
        drawn = draw_kernels.draw(
            self.prior,
            rows,
            ids,
            fit * 2 if s.val else fit,
            s.seed,
            fit=fit,
            noise=s.noise,
            dummies=s.dummies,
            space=self._space,
        )
        if self.prior.inserted > 0:
            rows, drawn["consts"] = without_ones(rows, drawn["consts"])
        for status, reason in ((draw_kernels.NOT_FINITE, "not_finite"), (draw_kernels.TOO_LARGE, "beyond_float32")):
            if n := int((drawn["status"] == status).sum()):
                dropped[reason] += n
        self._sheet.lay(rows, ids, sources, s.repeats, fit, s.val, drawn)

    def _points(self, ids) -> np.ndarray:
        """M of each problem: what was asked for, or U(min, max) of the prior."""
        if self.settings.points is not None:
            return np.full(len(ids), self.settings.points)
        low, high = self.prior.min_points, self.prior.max_points
        random = words(np.array(key_for(self.settings.seed, "points"), dtype=np.uint64), ids, 1)[:, 0]
        return low + ((random >> np.uint64(11)) * 2.0**-53 * (high - low + 1)).astype(np.int64)


def without_ones(rows: np.ndarray, consts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (B, L) uint8 of vocabulary ids and their constants (B, C) float64 with every c*t whose c is 1 written as t.

    Values stay, bit by bit; shorter rows end in 0, as do their constants.
    """
    rows, consts = rows.copy(), consts.copy()
    for b in np.flatnonzero((consts == 1.0).any(axis=1)):
        tokens: list[int] = []
        numbers: list[float] = []
        left = iter(consts[b].tolist())
        for token in rows[b][rows[b] != 0].tolist():
            number = next(left) if token == CONSTANT_ID else None
            if number == 1.0 and tokens and tokens[-1] == TOKEN_ID["*"]:
                tokens.pop()
                continue
            tokens.append(token)
            if number is not None:
                numbers.append(number)
        rows[b], consts[b] = 0, 0.0
        rows[b, : len(tokens)], consts[b, : len(numbers)] = tokens, numbers
    return rows, consts


# ---- laws -------------------------------------------------------------------------------------


class LawRenderer:
    """(law's number, repeat) pairs to problem records."""

    def __init__(self, collection: law_files.Laws, settings: Settings, excluded: bool = False):
        self.collection, self.settings, self.excluded = collection, settings, excluded

    def __call__(self, tasks):
        wanted = [task for task in tasks if self.excluded or not self.collection.laws[task[0]].excluded]
        return [self._record(*task) for task in wanted], Counter(excluded=len(tasks) - len(wanted))

    def _record(self, index: int, repeat: int) -> dict:
        s, law = self.settings, self.collection.laws[index]
        id = index * s.repeats + repeat
        rng = rng_for(s.seed, "render-law", id)
        m = LAW_POINTS if s.points is None else s.points
        X, y = law.draw(2 * m if s.val else m, rng)
        X = np.column_stack([X, *(self._dummy(law, len(y), rng) for _ in range(s.dummies))])
        noise = s.noise or 0.0
        fitted = y[:m]
        if noise:
            fitted = fitted + rng.normal(0.0, 1.0, m) * noise * np.std(fitted)  # equation 5
        names = [column.name for column in law.columns] + _free_names(law, s.dummies)
        record = {"kind": "problem", "id": id, "X": np.ascontiguousarray(X[:m]), "y": fitted}
        if s.val:
            record |= {"X_val": np.ascontiguousarray(X[m:]), "y_val": y[m:]}
        return record | {
            "names": names,
            "target": law.target,
            "noise": noise,
            "truth": {"expr": law.expr, "consts": np.zeros(0), "infix": law.infix, "law": law.id},
            "source": f"{self.collection.name} {law.id}",
            "law": law.id,
            "group": law.difficulty,
            "repeat": repeat,
            "points": m,
            "dummies": s.dummies,
        }

    @staticmethod
    def _dummy(law, n, rng) -> np.ndarray:
        """An irrelevant column: drawn like one of the law's own, so that its scale does not give it away."""
        return law.columns[int(rng.integers(len(law.columns)))].draw(n, rng) if law.columns else rng.uniform(1, 5, n)


def _free_names(law, n: int) -> list[str]:
    taken = {column.name for column in law.columns}
    names = (name for i in range(1, n + len(taken) + 1) if (name := f"d{i}") not in taken)
    return [next(names) for _ in range(n)]


class Packer:
    """A renderer's records packed for command.write_stream; runs in worker processes."""

    def __init__(self, renderer):
        self.renderer = renderer

    def __call__(self, tasks):
        records, dropped = self.renderer(tasks)
        return *reader_writer.pack_many(records), +dropped, len(tasks)


def render_laws(
    paths,
    output,
    settings: Settings,
    jobs: int,
    entry: dict,
    *,
    excluded: bool,
    shard=(0, 1),
    quiet=False,
    resume=False,
):
    """Write the problems of one or more files of laws (or one shard of them) as one stream."""
    files = [law_files.read(path, to_draw=True) for path in paths]
    collection = (
        files[0]
        if len(files) == 1
        else law_files.Laws("+".join(f.name for f in files), tuple(law for f in files for law in f.laws))
    )
    tasks = [(i, r) for i in range(len(collection.laws)) for r in range(settings.repeats)]
    part = command.shard_range(0, len(tasks), shard)
    tasks = tasks[part.start : part.stop]
    maker = Packer(LawRenderer(collection, settings, excluded))

    def pieces(done):
        return (tasks[start : start + 16] for start in range(done, len(tasks), 16))

    writer = command.write_stream(
        output,
        pieces,
        maker,
        holds="problem",
        history=[entry],
        jobs=jobs,
        quiet=quiet,
        resume=resume,
        total=len(tasks),
        named=lambda some: (len(some), f"laws {some[0][0] + 1} to {some[-1][0] + 1}"),
    )
    if writer.dropped["excluded"]:
        command.remark(
            f"{writer.dropped['excluded']} problems of laws marked as excluded are left out (--excluded renders them)",
            quiet,
        )


# ---- the command ------------------------------------------------------------------------------


@command.command(
    example="fansr-render data/fastsrb.json --points 64 --val | fansr-cat --head 3 --json",
    groups={
        "Problems": "--points --repeats --noise --val --dummies --excluded --shard --prior --seed",
        "Output": "--output --jobs --resume --quiet",
    },
)
@click.argument("inputs", nargs=-1, metavar="[IN]...")
@click.option(
    "--points",
    type=click.IntRange(1, 10_000_000),
    default=None,
    metavar="M",
    help=f"Points of a problem.  [default: {LAW_POINTS} for laws, U(1, 1024) for skeletons]",
)
@click.option(
    "--repeats", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Problems from each law."
)
@click.option(
    "--noise",
    type=click.FloatRange(0),
    default=None,
    help="Gaussian noise on y, as a share of y's standard deviation.  [default: 0, or the prior's]",
)
@click.option("--val", is_flag=True, help="Add as many unseen, noise-free points for validation.")
@click.option(
    "--dummies",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="Irrelevant columns beside those the law uses (skeletons: up to 17 columns in all).",
)
@click.option("--excluded", is_flag=True, help="Render the laws a benchmark marks as excluded too.")
@command.shard_option("Laws: render only part i (from 0) of n.")
@click.option("--prior", default=None, metavar="FILE", help="Prior of constants and points.  [default: the paper's]")
@command.output_option()
@command.jobs_option()
@command.seed_option()
@command.resume_option()
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def render(
    inputs, points, repeats, noise, val, dummies, excluded, shard, prior, output, jobs, seed, resume, quiet, config
):
    """Turn skeletons (a stream) or laws (benchmark JSON, or text with one formula a line) into problems."""
    kernels.ensure("rendering", quiet=quiet)
    settings = Settings(points, repeats, noise, val, dummies, seed)
    inputs = list(inputs) or ["-"]
    streams = [law_files.is_stream(path) for path in inputs]
    if any(streams) and not all(streams):
        raise click.UsageError("streams and files of laws cannot be rendered together: call fansr-render once for each")
    if any(streams) and shard != (0, 1):
        raise click.UsageError(
            "--shard is for laws; a stream is shared out by fansr-gen --shard, and its pieces rendered"
        )
    chosen = load(prior)
    entry = command.history_entry(
        seed=seed, config={**vars(settings), "prior": to_dict(chosen) if any(streams) else None}
    )
    if not any(streams):
        return render_laws(
            inputs,
            output,
            settings,
            jobs,
            entry,
            excluded=excluded,
            shard=shard,
            quiet=quiet,
            resume=resume,
        )
    command.filter_stream(
        inputs,
        output,
        SkeletonRenderer(chosen, settings),
        reads="skeleton",
        holds="problem",
        jobs=jobs,
        entry=entry,
        quiet=quiet,
        chunk=512,
        resume=resume,
        packs=True,
    )
    return None


def main():
    """Entry point of fansr-render."""
    render()


if __name__ == "__main__":
    main()
