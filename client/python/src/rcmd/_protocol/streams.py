"""The two ends of a stream: offsets, credit, totals and digests."""

from __future__ import annotations

import hashlib
from typing import Callable, Iterator, Optional, Tuple

from .codec import ProtocolFault
from .limits import CHUNK, CREDIT

# A receiver says how far it is when this many bytes are new.
_STEP = CREDIT // 4


class Corrupt(Exception):
    """Says that bytes are not those that were sent."""


class Receiving:
    """Checks one stream of output on its way from the host."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.received = 0
        self.ended: Optional[Tuple[int, str]] = None
        self.open = False
        self.truncated = False
        self._consumed = 0
        self._got, self._upto = 0, CREDIT
        self._hash = hashlib.sha256()
        self._begun = False

    def resume(self, offset: int) -> None:
        """Goes on where the host's data begins: behind what came if the host has lost bytes in between."""
        if self.ended is not None:
            return
        if offset > self.received:
            self.truncated = True
            self.received = self._consumed = self._got = offset
            self._upto = offset + CREDIT
        self._begun = True

    def data(self, offset: int, payload: bytes) -> bytes:
        """Takes a piece and returns what is new in it.

        Raises:
            ProtocolFault: Bytes are missing before it, or it goes past credit or behind the end.
        """
        end = offset + len(payload)
        if not self._begun:
            raise ProtocolFault("data of a command that has not started")
        if offset > self.received:
            raise ProtocolFault(f"{self.stream} goes on at {offset}, where {self.received} was expected")
        if end > self._upto:
            raise ProtocolFault(f"{self.stream} goes past its credit of {self._upto}")
        new = payload[self.received - offset :]
        if new:
            if self.ended is not None:
                raise ProtocolFault(f"{self.stream} goes on behind its end")
            self._hash.update(new)
            self.received = end
        return new

    def end(self, total: int, digest: str, is_open: bool) -> None:
        """Takes the end.

        Raises:
            ProtocolFault: Bytes are missing, or a second end differs from the first.
            Corrupt: The digest is not that of the bytes.
        """
        if not self._begun:
            raise ProtocolFault("an end of a command that has not started")
        if self.ended is not None:
            if self.ended != (total, digest):
                raise ProtocolFault(f"{self.stream} has two ends that differ")
            return
        if total != self.received:
            raise ProtocolFault(f"{self.stream} ends at {total}, and {self.received} bytes came")
        own = "sha256:" + self._hash.hexdigest()
        if not self.truncated and digest != own:
            raise Corrupt(f"{self.stream} is corrupt: the bytes have {own}, the host says {digest}")
        self.ended = (total, digest)
        self.open = is_open

    def check_exit(self, total: int, digest: Optional[str]) -> None:
        """Compares what the exit says with the end.

        Raises:
            ProtocolFault: The stream has not ended.
            Corrupt: The two differ.
        """
        if self.ended is None:
            raise ProtocolFault(f"an exit before the end of {self.stream}")
        if self.ended != (total, digest):
            raise Corrupt(
                f"{self.stream} is corrupt: its end says {self.ended[0]} bytes and {self.ended[1]}, "
                f"the exit {total} bytes and {digest or 'no digest'}"
            )

    def consume(self, count: int) -> None:
        """Notes that so many bytes were taken away."""
        self._consumed = min(self._consumed + count, self.received)

    def window(self, again: bool = False) -> Optional[Tuple[int, int]]:
        """Returns `got` and `upto` to be sent, if enough has changed; `again`, as they are now."""
        if not self._begun or self.ended is not None:
            return None
        upto = self._consumed + CREDIT
        if not again and self.received - self._got < _STEP and upto - self._upto < _STEP:
            return None
        self._got, self._upto = self.received, upto
        return self._got, self._upto


class Sending:
    """Holds standard input: what the host has not confirmed is kept, to be sent again after a loss."""

    def __init__(self, data: bytes = b"", finished: bool = True) -> None:
        self._kept = memoryview(data) if finished else bytearray(data)
        self._first = 0
        self._total = len(data)
        self._hash = hashlib.sha256(data)
        self._finished = finished
        self._next = 0
        self._sent = 0
        self._got = 0
        self._upto = CREDIT
        self._end_sent = False
        self.closed = False
        """Whether nobody reads it any more."""
        self.on_room: Optional[Callable[[], None]] = None
        """Called when there may be more room."""

    def room(self) -> int:
        """Returns how many bytes may be added so that no more than the credit waits here."""
        return 0 if self.closed else max(0, min(self._upto, self._got + CREDIT) - self._total)

    def add(self, data: bytes) -> None:
        """Adds bytes at the end."""
        if isinstance(self._kept, bytearray) and not self._finished and not self.closed:
            self._kept += data
            self._hash.update(data)
            self._total += len(data)

    def finish(self) -> None:
        """Ends it behind what was added."""
        self._finished = True

    def frames(self) -> Iterator[Tuple[int, bytes]]:
        """Yields pieces that may be sent now, each with its offset."""
        while not self.closed:
            limit = min(self._upto, self._got + CREDIT, self._total, self._next + CHUNK)
            if limit <= self._next:
                return
            at, end = self._next - self._first, limit - self._first
            piece = bytes(self._kept[at:end])
            offset, self._next = self._next, limit
            self._sent = max(self._sent, limit)
            yield offset, piece

    def end(self) -> Optional[Tuple[int, str]]:
        """Returns total and digest when it is time to send the end, once."""
        if self.closed or self._end_sent or not self._finished or self._next < self._total:
            return None
        self._end_sent = True
        return self._total, "sha256:" + self._hash.hexdigest()

    def window(self, got: int, upto: int) -> None:
        """Takes a window of the host.

        Raises:
            ProtocolFault: It confirms bytes that were never sent.
        """
        if got > max(self._sent, self._got):
            raise ProtocolFault(f"stdin is confirmed up to {got}, and {self._sent} bytes were sent")
        self._upto = max(self._upto, upto)
        self._forget(got)
        self._next = max(self._next, min(self._got, self._total))
        self._tell()

    def resume(self, accepted: int, ended: bool, shared: bool) -> None:
        """Goes on where the host's copy ends. With `shared`, another client may have sent under the same key.

        Raises:
            ProtocolFault: It has bytes that were never sent.
        """
        if accepted > max(self._sent, self._got):
            if not shared:
                raise ProtocolFault(f"{accepted} bytes of stdin came, and {self._sent} were sent")
            self._sent = accepted
        # The credit stays as it was: what was accepted need not have been read there, and a window follows.
        self._forget(accepted)
        self._next = min(max(accepted, self._first), self._total)
        self._end_sent = False
        if ended:
            self.closed = True
        self._tell()

    def close(self) -> None:
        """Ends it because nobody reads it any more."""
        self.closed = True
        self._tell()

    def rewind(self) -> bool:
        """Goes back to the beginning. Returns false when that is no longer here."""
        if self._first > 0:
            return False
        self._next = self._got = 0
        self._upto = CREDIT
        self._end_sent = False
        return True

    def _tell(self) -> None:
        if self.on_room is not None:
            self.on_room()

    def _forget(self, got: int) -> None:
        self._got = max(self._got, got)
        # Bytes that the caller gave whole are the caller's anyway, and free to be kept.
        if isinstance(self._kept, bytearray) and self._got > self._first:
            gone = min(self._got, self._total) - self._first
            del self._kept[:gone]
            self._first += gone
