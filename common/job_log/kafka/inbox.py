"""What a subscription has read ahead and handed out, across rebalances. Pure.

A rebalance delivers again whatever was not committed. A message that is in hand already is not
handed out a second time; one that was only read ahead is dropped and read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping

from common.job_log.base import Delivery, Position, TopicPartition
from common.job_log.kafka.offsets import PartitionOffsets
from common.job_log.weights import WeightedChoice


class Inbox:
    """Messages of the partitions owned now: waiting by topic, and in hand by position.

    Each topic may have one message waiting even at capacity: without that, messages of low
    priority would fill a small capacity and keep the others out of the weighing. Where the
    partitions are not shared with others, a message is finished by being handed out.
    """

    def __init__(self, weights: Mapping[str, int], capacity: int, *, shared: bool) -> None:
        self._shared = shared
        self._choice = WeightedChoice(weights)
        self._capacity = capacity
        self._share = max(1, capacity // max(1, len(weights)))
        self._waiting: dict[str, deque[Delivery]] = {topic: deque() for topic in weights}
        self._held: set[Delivery] = set()
        self._in_hand: dict[Position, Delivery] = {}
        self._reading = False
        self.owned: dict[TopicPartition, PartitionOffsets] = {}

    @property
    def held(self) -> int:
        """Messages handed out and neither finished nor released."""
        return len(self._held)

    def own(self, partitions: Mapping[TopicPartition, PartitionOffsets]) -> None:
        """These are ours from now on, and read from their low water."""
        self.owned = dict(partitions)
        self._reading = True

    def pause(self) -> None:
        """Take nothing until partitions are owned anew. What is in hand may still be finished."""
        self._reading = False
        for waiting in self._waiting.values():
            waiting.clear()

    def forget(self, topics: Collection[str]) -> None:
        """These topics are others now: what is in hand stands for nothing in them."""
        for position in [place for place in self._in_hand if place.topic in topics]:
            del self._in_hand[position]
        for partition in [one for one in self.owned if one.topic in topics]:
            del self.owned[partition]

    def readable(self) -> dict[tuple[TopicPartition, ...], int]:
        """Which partitions to read, a group for each topic, and how many messages of it."""
        if not self._reading:
            return {}
        by_topic: dict[str, list[TopicPartition]] = {}
        for partition, offsets in self.owned.items():
            if offsets.room:
                by_topic.setdefault(partition.topic, []).append(partition)
        rooms: dict[tuple[TopicPartition, ...], int] = {}
        for topic, partitions in by_topic.items():
            room = min(self._room(topic), *(self.owned[one].room for one in partitions))
            if room:
                rooms[tuple(partitions)] = room
        return rooms

    def wanting(self) -> dict[TopicPartition, PartitionOffsets]:
        """The partitions to read now, with how far they are read."""
        partitions = (partition for topic in self.readable() for partition in topic)
        return {partition: self.owned[partition] for partition in partitions}

    def _room(self, topic: str) -> int:
        waiting = len(self._waiting[topic])
        every = sum(map(len, self._waiting.values()))
        share = self._share if every > waiting else self._capacity
        spare = self._capacity - len(self._held) - every
        return max(min(spare, share - waiting), 0 if waiting else 1)

    def add(self, messages: Iterable[Delivery]) -> set[TopicPartition]:
        """Take what was read, in order, of any partition; of those not owned it is dropped.

        Returns the partitions whose low water this moved, to be committed.
        """
        moved = set()
        for message in messages:
            position = message.position
            partition = TopicPartition(position.topic, position.partition)
            offsets = self.owned.get(partition)
            if offsets is None or not self._reading:
                continue
            held = self._in_hand.get(position)
            other = held is not None and (held.key, held.value) != (message.key, message.value)
            if other or offsets.restarted(position.offset):
                offsets = self._restart(partition, position.offset)
                held = None
                moved.add(partition)
            low = offsets.low
            if offsets.observe(position.offset) and held is None:
                self._waiting[position.topic].append(message)
            if offsets.low != low:
                moved.add(partition)
        return moved

    def _restart(self, partition: TopicPartition, offset: int) -> PartitionOffsets:
        """The log was made anew under a reader: what was known of the partition is void."""
        offsets = self.owned[partition] = PartitionOffsets(offset)
        stale = [place for place in self._in_hand if place[:2] == partition]
        for place in stale:
            del self._in_hand[place]
        waiting = self._waiting[partition.topic]
        fresh = [message for message in waiting if message.position[:2] != partition]
        waiting.clear()
        waiting.extend(fresh)
        return offsets

    def take(self, limit: int) -> list[Delivery]:
        """Hand out what waits, by weight."""
        waiting = {topic: len(queue) for topic, queue in self._waiting.items()}
        spare = min(limit, self._capacity - len(self._held))
        taken = [self._waiting[topic].popleft() for topic in self._choice.take(waiting, spare)]
        for message in taken:
            self._held.add(message)
            self._in_hand[message.position] = message
        if not self._shared:
            self.finish(taken)
        return taken

    def finish(self, messages: Iterable[Delivery]) -> set[TopicPartition]:
        """These are done. The partitions among them that are ours, to be committed."""
        changed = set()
        for message in messages:
            if not self._let_go(message):
                continue
            topic, partition, offset = message.position
            offsets = self.owned.get(TopicPartition(topic, partition))
            if offsets is not None:
                offsets.finish(offset)
                changed.add(TopicPartition(topic, partition))
        return changed

    def holds(self, message: Delivery) -> bool:
        """Whether it is in hand, and its partition ours."""
        mine = TopicPartition(*message.position[:2]) in self.owned
        return self._reading and mine and self._in_hand.get(message.position) is message

    def release(self, messages: Iterable[Delivery]) -> None:
        """Hand these out again, before the others of their topic."""
        for message in sorted(messages, key=lambda message: message.position, reverse=True):
            position = message.position
            offsets = self.owned.get(TopicPartition(position.topic, position.partition))
            in_hand = self._let_go(message) or not self._shared
            # What a rebalance will have us read again comes back by itself.
            read = offsets is not None and position.offset < offsets.position
            if in_hand and read and self._reading:
                self._waiting[position.topic].appendleft(message)

    def _let_go(self, message: Delivery) -> bool:
        """Whether it was in hand, and stands for a message of the log as it is now."""
        self._held.discard(message)
        if self._in_hand.get(message.position) is not message:
            return False
        del self._in_hand[message.position]
        return True
