"""What is read ahead and handed out, across rebalances and wipes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from common.job_log.base import Delivery, Position, TopicPartition
from common.job_log.kafka.inbox import Inbox
from common.job_log.kafka.offsets import PartitionOffsets

HIGH, LOW = TopicPartition("high", 0), TopicPartition("low", 0)
WEIGHTS = {"high": 8, "low": 1}


def message(partition: TopicPartition, offset: int, key: str = "") -> Delivery:
    return Delivery(Position(*partition, offset), key or f"key-{offset}", b"")


def messages(partition: TopicPartition, offsets: Iterable[int]) -> list[Delivery]:
    return [message(partition, offset) for offset in offsets]


def opened(capacity: int = 100, *, shared: bool = True) -> Inbox:
    inbox = Inbox(WEIGHTS, capacity, shared=shared)
    inbox.own({HIGH: PartitionOffsets(0), LOW: PartitionOffsets(0)})
    return inbox


def rebalanced(inbox: Inbox) -> None:
    inbox.pause()
    for offsets in inbox.owned.values():
        offsets.rewind()
    inbox.own(inbox.owned)


def offsets_of(deliveries: list[Delivery]) -> list[int]:
    return [delivery.position.offset for delivery in deliveries]


def test_a_message_in_hand_is_not_handed_out_again_after_a_rebalance() -> None:
    inbox = opened()
    inbox.add(messages(HIGH, range(4)))
    inbox.take(2)

    rebalanced(inbox)
    inbox.add(messages(HIGH, range(5)))

    assert offsets_of(inbox.take(10)) == [2, 3, 4]


def test_a_message_finished_during_a_rebalance_is_finished_after_it() -> None:
    inbox = opened()
    inbox.add(messages(HIGH, range(2)))
    taken = inbox.take(2)

    inbox.pause()
    inbox.finish(taken)
    rebalanced(inbox)
    inbox.add(messages(HIGH, range(2, 4)))

    assert inbox.owned[HIGH].low == 2
    assert offsets_of(inbox.take(10)) == [2, 3]


def test_nothing_is_committed_for_a_partition_that_was_lost() -> None:
    inbox = opened()
    inbox.add(messages(HIGH, range(1)))
    taken = inbox.take(1)

    inbox.pause()
    inbox.own({LOW: inbox.owned[LOW]})

    assert inbox.finish(taken) == set()
    assert inbox.held == 0


def test_what_is_read_of_a_partition_that_is_not_owned_is_dropped() -> None:
    inbox = opened()
    inbox.own({LOW: PartitionOffsets(0)})

    inbox.add(messages(HIGH, range(3)))

    assert inbox.take(10) == []


def test_what_is_read_during_a_rebalance_is_dropped() -> None:
    inbox = opened()
    inbox.pause()

    inbox.add(messages(HIGH, range(3)))

    assert inbox.take(10) == []
    assert inbox.readable() == {}


def test_another_message_at_the_same_offset_is_handed_out_and_not_finished_by_the_old_one() -> None:
    inbox = opened()
    inbox.add([message(HIGH, 0, "old")])
    [old] = inbox.take(1)

    rebalanced(inbox)
    moved = inbox.add([message(HIGH, 0, "new")])
    [new] = inbox.take(1)
    changed = inbox.finish([old])

    assert new.key == "new"
    assert (moved, changed) == ({HIGH}, set())
    assert inbox.owned[HIGH].low == 0


def test_offsets_that_begin_again_are_a_new_log() -> None:
    inbox = opened()
    inbox.add(messages(HIGH, range(5)))
    [first, *_] = inbox.take(3)

    inbox.add([message(HIGH, 0, "new"), message(HIGH, 1, "newer")])
    inbox.finish([first])

    assert [delivery.key for delivery in inbox.take(10)] == ["new", "newer"]
    assert inbox.owned[HIGH].low == 0


def test_a_wipe_makes_all_that_is_in_hand_stand_for_nothing() -> None:
    inbox = opened()
    inbox.add(messages(HIGH, range(2)))
    taken = inbox.take(2)

    inbox.pause()
    inbox.forget({"high", "low"})
    inbox.own({HIGH: PartitionOffsets(0)})
    inbox.add(messages(HIGH, range(2)))

    assert inbox.finish(taken) == set()
    assert offsets_of(inbox.take(10)) == [0, 1]


def test_what_is_released_comes_again_in_its_order_and_first() -> None:
    inbox = opened()
    inbox.add(messages(HIGH, range(5)))
    taken = inbox.take(3)

    inbox.release(taken)

    assert offsets_of(inbox.take(10)) == [0, 1, 2, 3, 4]


def test_what_is_released_during_a_rebalance_comes_once() -> None:
    inbox = opened()
    inbox.add(messages(HIGH, range(2)))
    taken = inbox.take(2)

    inbox.pause()
    inbox.release(taken)
    rebalanced(inbox)
    inbox.add(messages(HIGH, range(2)))

    assert offsets_of(inbox.take(10)) == [0, 1]


def test_without_a_group_handing_out_is_enough_and_release_hands_out_again() -> None:
    inbox = opened(capacity=2, shared=False)
    inbox.add(messages(HIGH, range(4)))
    taken = inbox.take(2)
    assert inbox.held == 0

    inbox.release(taken)

    assert offsets_of(inbox.take(4)) == [0, 1]
    assert offsets_of(inbox.take(4)) == [2, 3]


def test_no_more_than_the_capacity_is_in_hand() -> None:
    inbox = opened(capacity=3)
    inbox.add(messages(HIGH, range(10)))

    taken = inbox.take(10)
    assert len(taken) == 3
    assert inbox.take(10) == []
    inbox.finish(taken[:2])

    assert len(inbox.take(10)) == 2


def test_low_messages_do_not_keep_high_ones_out_of_a_small_capacity() -> None:
    inbox = opened(capacity=2)
    taken: Counter[str] = Counter()
    following = {HIGH: 0, LOW: 0}
    for _ in range(90):
        for partitions, room in inbox.readable().items():
            [partition] = partitions
            start = following[partition]
            following[partition] += room
            inbox.add(messages(partition, range(start, start + room)))
        [delivery] = inbox.take(1)
        taken[delivery.position.topic] += 1
        inbox.finish([delivery])

    assert taken == {"high": 80, "low": 10}


def test_a_topic_alone_may_use_all_of_the_capacity() -> None:
    inbox = opened(capacity=10)

    assert inbox.readable()[(LOW,)] == 10
    inbox.add(messages(LOW, range(9)))
    assert inbox.readable()[(LOW,)] == 1
    assert inbox.readable()[(HIGH,)] == 1
