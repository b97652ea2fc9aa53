"""Which offsets are finished, and how the next owner learns of it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from common.job_log.kafka.offsets import METADATA_LIMIT, PartitionOffsets, owner_of, restore

OWNER = "f" * 32


def read(offsets: PartitionOffsets, numbers: range) -> list[int]:
    """Those that are still to be done."""
    return [number for number in numbers if offsets.observe(number)]


def test_the_low_water_is_the_lowest_unfinished_offset() -> None:
    offsets = PartitionOffsets(10)
    read(offsets, range(10, 15))

    offsets.finish(11)
    offsets.finish(13)
    assert offsets.low == 10
    offsets.finish(10)
    assert offsets.low == 12
    offsets.finish(12)
    offsets.finish(14)
    assert offsets.low == 15


def test_an_offset_finished_twice_or_below_the_low_water_changes_nothing() -> None:
    offsets = PartitionOffsets(0)
    read(offsets, range(3))
    offsets.finish(0)

    offsets.finish(0)

    assert offsets.low == 1


def test_the_next_owner_reads_only_what_was_not_finished() -> None:
    offsets = PartitionOffsets(100)
    read(offsets, range(100, 110))
    for number in (101, 103, 104, 109):
        offsets.finish(number)

    after = restore(offsets.low, offsets.metadata(OWNER))

    assert read(after, range(100, 112)) == [100, 102, 105, 106, 107, 108, 110, 111]


def test_what_was_read_again_after_a_rebalance_is_still_open() -> None:
    offsets = PartitionOffsets(0)
    read(offsets, range(5))
    offsets.finish(1)

    offsets.rewind()

    assert offsets.position == 0
    assert read(offsets, range(5)) == [0, 2, 3, 4]


def test_what_was_finished_before_it_was_read_again_is_not_handed_out() -> None:
    offsets = PartitionOffsets(0)
    offsets.finish(1)

    assert read(offsets, range(3)) == [0, 2]
    offsets.finish(0)
    assert offsets.low == 2


def test_offsets_that_the_log_lacks_hold_nothing_up() -> None:
    offsets = PartitionOffsets(0)
    offsets.observe(0)
    offsets.observe(7)
    offsets.finish(0)
    assert offsets.low == 7

    offsets.finish(7)

    assert offsets.low == 8


def test_an_open_offset_that_retention_removed_holds_nothing_up() -> None:
    offsets = restore(0, _metadata_with_open([0, 1, 2]))

    offsets.observe(2)

    assert offsets.low == 2


def _metadata_with_open(numbers: list[int]) -> str:
    offsets = PartitionOffsets(0)
    read(offsets, range(10))
    for number in set(range(10)) - set(numbers):
        offsets.finish(number)
    return offsets.metadata(OWNER)


def test_reading_an_offset_again_without_a_rewind_means_that_the_log_began_anew() -> None:
    offsets = PartitionOffsets(5)
    read(offsets, range(5, 8))

    assert offsets.restarted(0)
    assert not offsets.restarted(8)


def test_the_metadata_names_its_owner() -> None:
    assert owner_of(PartitionOffsets(3).metadata(OWNER)) == OWNER


def test_metadata_of_somebody_else_says_nothing() -> None:
    for metadata in ("", "hello", "2 x 3 4", "a b c d"):
        assert owner_of(metadata) is None
        assert read(restore(4, metadata), range(4, 6)) == [4, 5]


def test_without_room_the_metadata_still_fits() -> None:
    offsets = PartitionOffsets(0)
    number, rng = 0, random.Random(7)
    while offsets.room:
        offsets.observe(number)
        if rng.random() < 0.995:
            offsets.finish(number)
        number += 1

    assert number > 100_000
    assert len(offsets.metadata(OWNER)) <= METADATA_LIMIT
    assert restore(offsets.low, offsets.metadata(OWNER)).horizon == offsets.horizon


def test_room_comes_back_when_the_low_water_moves() -> None:
    offsets = PartitionOffsets(0)
    number = 0
    while offsets.room:
        offsets.observe(number)
        number += 1

    for finished in range(number // 2):
        offsets.finish(finished)

    assert offsets.room > 100


@given(
    start=st.integers(0, 2**40),
    gaps=st.lists(st.integers(1, 40_000), max_size=300),
    finished=st.sets(st.integers(0, 299)),
)
def test_what_is_restored_is_what_was_committed(
    start: int, gaps: list[int], finished: set[int]
) -> None:
    offsets = PartitionOffsets(start)
    seen, number = [], start - 1
    for gap in gaps:
        number += gap
        offsets.observe(number)
        seen.append(number)
    for index in finished:
        if index < len(seen):
            offsets.finish(seen[index])

    after = restore(offsets.low, offsets.metadata(OWNER))

    still = [number for number in seen if after.observe(number)]
    assert still == [number for index, number in enumerate(seen) if index not in finished]
    assert after.horizon == offsets.horizon
