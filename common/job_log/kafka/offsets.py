"""Which offsets of one partition are finished, and how a group's next owner learns of it. Pure.

Completion comes in any order. What is committed is the low water, the lowest offset that is not
finished; which offsets above it are finished travels in the commit's metadata.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_left
from collections.abc import Iterable, Iterator

METADATA_LIMIT = 4096  # characters; Kafka's default for offset.metadata.max.bytes
_HEADER = 64  # characters of version, owner and span, at most
_BUDGET = (METADATA_LIMIT - _HEADER) * 3 // 4  # bytes before base64
_SLACK = 1 << 14  # offsets that the span may grow by before room is counted anew
_VERSION = "1"


class PartitionOffsets:
    """Every offset below `horizon` is finished, except those that are open."""

    def __init__(self, start: int, horizon: int | None = None, open: Iterable[int] = ()) -> None:
        self._open = sorted(open)
        self._early: set[int] = set()
        self.horizon = start if horizon is None else horizon
        self.position = start

    @property
    def low(self) -> int:
        """The lowest offset that is not finished: what to commit."""
        return self._open[0] if self._open else self.horizon

    @property
    def room(self) -> int:
        """How many more offsets may be open with the metadata sure to fit."""
        span = self.horizon - self.low + _SLACK
        used = _size_bound(len(self._open), span)
        return max(0, _BUDGET - used) // len(_varint(span))

    def rewind(self) -> None:
        """Reading starts again at the low water."""
        self.position = self.low

    def restarted(self, offset: int) -> bool:
        """Whether reading `offset` next means that the log began anew, under other messages."""
        return offset < self.position

    def observe(self, offset: int) -> bool:
        """Note the next offset read; whether its message is still to be done.

        An open offset that reading passes over is in the log no more, and so is finished.
        """
        index = bisect_left(self._open, offset)
        del self._open[bisect_left(self._open, self.position, hi=index) : index]
        self.position = offset + 1
        if offset < self.horizon:
            return self._is_open(offset)
        self.horizon = offset + 1
        if offset in self._early:
            self._early.discard(offset)
            return False
        self._open.append(offset)
        return True

    def finish(self, offset: int) -> None:
        """The message at `offset` is done. It may have been read before these offsets were."""
        if offset >= self.horizon:
            self._early.add(offset)
        elif self._is_open(offset):
            del self._open[bisect_left(self._open, offset)]

    def metadata(self, owner: str) -> str:
        """What to commit beside the low water. `owner` has at most 32 characters, no space."""
        low = self.low
        numbers = _gaps(low, self._open)
        body = urlsafe_b64encode(b"".join(map(_varint, numbers))).decode()
        return f"{_VERSION} {owner} {self.horizon - low} {body}"

    def _is_open(self, offset: int) -> bool:
        index = bisect_left(self._open, offset)
        return index < len(self._open) and self._open[index] == offset


def owner_of(metadata: str) -> str | None:
    """Who committed this; None where it was not one of us."""
    parts = metadata.split(" ")
    return parts[1] if len(parts) == 4 and parts[0] == _VERSION else None


def restore(committed: int, metadata: str) -> PartitionOffsets:
    """The offsets as their last owner left them. Without metadata of ours nothing is finished."""
    if owner_of(metadata) is None:
        return PartitionOffsets(committed)
    _, _, span, body = metadata.split(" ")
    offsets, offset = [], committed
    for gap in _numbers(urlsafe_b64decode(body)):
        offset += gap
        offsets.append(offset)
    return PartitionOffsets(committed, committed + int(span), offsets)


def _gaps(start: int, offsets: Iterable[int]) -> Iterator[int]:
    for offset in offsets:
        yield offset - start
        start = offset


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _numbers(encoded: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in encoded:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0


def _size_bound(count: int, span: int) -> int:
    """Bytes that `count` gaps which add up to `span` take at most: few of them can be wide."""
    size = count
    while span := span >> 7:
        size += min(count, span)
    return size
