"""Files read in order: each skeleton once a pass, by however many processes and through however many stops."""

from collections import Counter

import numpy as np
import pytest

from fansr.corpus.gen import sample_skeletons
from fansr.corpus.prior import Prior, Skeletons
from fansr.errors import DataError
from fansr.network.batches import MEGA
from fansr.network.configuration import Settings
from fansr.network.in_order import InOrder
from fansr.network.skeleton_pool import fault
from fansr.streams import reader_writer

SETTINGS = Settings(batch=3, min_points=4, max_points=8, columns=3, max_length=12)
BLOCK = MEGA * SETTINGS.batch


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Five files of unequal length, and the ids in them that can be learned from."""
    folder = tmp_path_factory.mktemp("shards")
    prior = Prior(variables=3, skeletons=(Skeletons(min_ops=1, max_ops=6),))
    exprs = sample_skeletons(prior, np.arange(1000))
    usable = [i for i, expr in enumerate(exprs) if not fault(expr, SETTINGS)]
    cuts = [0, 0, 130, 131, 700, 1000]
    for k, (a, b) in enumerate(zip(cuts, cuts[1:])):
        with reader_writer.open_writer(folder / f"shard-{k}.zst", "skeleton", []) as writer:
            for i in range(a, b):
                writer.write({"kind": "skeleton", "id": i, "expr": exprs[i]})
    return sorted(map(str, folder.glob("*.zst"))), usable


def legs(files, *legs, hold=0.0):
    """The ids that training takes: each leg is (processes, batches a step, steps), and begins at the last one's place."""
    place, number, taken = None, 0, {}
    for processes, accumulate, steps in legs:
        loaders = [InOrder(files, SETTINGS, hold, place=place, first=number) for _ in range(processes)]
        for _ in range(steps):
            for rank, loader in enumerate(loaders):
                for n in range(number + rank, number + accumulate, processes):
                    assert n not in taken
                    taken[n] = loader.rows(n)[2].tolist()
            number += accumulate
            place = loaders[0].place(number)
        # What was read but belongs to no step yet is lost with the processes, and must come again.
    assert sorted(taken) == list(range(number))
    return [id for n in range(number) for id in taken[n]], number


@pytest.mark.parametrize(
    "turns",
    [
        [(1, 1, 9 * MEGA)],
        [(2, 4, 11), (1, 4, 21), (3, 4, 40)],
        [(1, 1, 1)] * 40 + [(1, 1, 5 * MEGA)],
        [(5, 40, 3), (40, 70, 2)],  # steps of more than a block
    ],
)
def test_each_record_once_a_pass(shards, turns):
    files, usable = shards
    taken, number = legs(files, *turns)
    assert len(taken) == number * SETTINGS.batch
    passes, rest = divmod(number // MEGA * BLOCK, len(usable))
    done = Counter(taken[: number // MEGA * BLOCK])
    # Whole blocks: passes through all, then the first of the next pass in the files' order.
    assert done == Counter({id: passes + (i < rest) for i, id in enumerate(usable) if passes + (i < rest)})
    assert len(set(taken[number // MEGA * BLOCK :])) == number % MEGA * SETTINGS.batch


def test_what_is_held_out_is_never_taken(shards):
    files, usable = shards
    taken, _ = legs(files, (1, 1, 9 * MEGA), hold=0.3)
    held = set(usable) - set(taken)
    assert 0.2 * len(usable) < len(held) < 0.4 * len(usable)
    assert len(InOrder(files, SETTINGS, 0.3).held) == len(held)


def test_another_number_of_processes_takes_the_same_batches(shards):
    files, _ = shards
    assert sorted(legs(files, (1, 4, 30))[0]) == sorted(legs(files, (2, 4, 13), (4, 4, 17))[0])


@pytest.mark.parametrize("change", [{"files": ["a"]}, {"batch": 4}, {"hold": 0.5}, {"at": [0, 9, 0]}, {"at": "x"}])
def test_a_place_in_other_files_is_refused(shards, change):
    files, _ = shards
    place = {**InOrder(files, SETTINGS).place(5), **change}
    with pytest.raises(DataError, match="--in-order: "):
        InOrder(files, SETTINGS, place=place, first=5)


def test_files_without_a_skeleton_to_learn_from_are_refused(tmp_path):
    with reader_writer.open_writer(tmp_path / "a", "skeleton", []) as writer:
        writer.write({"kind": "skeleton", "id": 0, "expr": ["<constant>"]})
    with pytest.raises(DataError, match="no skeleton to learn from among the first 1"):
        InOrder([str(tmp_path / "a")], SETTINGS)
