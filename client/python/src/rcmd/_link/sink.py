"""Where output goes: into memory, or to whoever takes it as it comes."""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Dict, NamedTuple, Optional

# Pieces of different times that may wait before they are joined; each costs its own bookkeeping.
_MOST_PIECES = 8192
# Bytes up to which pieces are joined.
_MOST_BYTES = 256 * 1024


class Overflow(Exception):
    """Says that there is more output than this process was told to hold."""


class Sink:
    """Takes output as it comes."""

    def put(self, stream: str, data: bytes, time: Optional[int]) -> bool:
        """Takes bytes, with the milliseconds since 1970 at which they were read if that was asked for. Returns
        whether they are taken away for good; else `Channel.consumed` says so later.

        Raises:
            Overflow: They are too many.
        """
        raise NotImplementedError


class Collected(Sink):
    """Holds all output in memory, up to a limit of both streams together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.streams: Dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def put(self, stream: str, data: bytes, time: Optional[int]) -> bool:
        if sum(map(len, self.streams.values())) + len(data) > self._limit:
            raise Overflow(f"there are more than {self._limit} bytes of output")
        self.streams[stream] += data
        return True


class Piece(NamedTuple):
    """Holds output that waits to be taken."""

    stream: str
    data: bytes
    time: Optional[int]


class Waiting(Sink):
    """Holds output until it is taken, bounded by the credit of the streams. `on_put` is called when some came."""

    def __init__(self, on_put: Callable[[], None]) -> None:
        self._pieces: Deque[_Joined] = deque()
        self._on_put = on_put

    def put(self, stream: str, data: bytes, time: Optional[int]) -> bool:
        last = self._pieces[-1] if self._pieces else None
        alike = last is not None and last.stream == stream and len(last.data) < _MOST_BYTES
        if last is not None and alike and (last.time == time or len(self._pieces) >= _MOST_PIECES):
            last.data += data
        else:
            self._pieces.append(_Joined(stream, data, time))
        self._on_put()
        return False

    def take(self) -> Optional[Piece]:
        """Returns the oldest piece, if there is one."""
        if not self._pieces:
            return None
        joined = self._pieces.popleft()
        return Piece(joined.stream, bytes(joined.data), joined.time)


class _Joined:
    def __init__(self, stream: str, data: bytes, time: Optional[int]) -> None:
        self.stream = stream
        self.data = bytearray(data)
        self.time = time
