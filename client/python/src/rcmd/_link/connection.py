"""One connection: TLS over TCP, frames over TLS, and how long it has been silent.

TLS is done here and not by asyncio, which takes the end of a TCP stream for that of TLS: an end without
close_notify is a broken link, and must not look like an orderly one.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Callable, List, Optional, Tuple, cast

from .. import _version
from .._protocol import limits
from .._protocol.codec import Decoder, Frame, ProtocolFault, encode
from .._protocol.fields import check
from .patience import Patience

_AGENT = f"rcmd-python {_version.VERSION}"
_READ = 65_536
# Bytes that may wait for a server that takes nothing. Input is bounded by its credit, and comes on top.
_MOST_WAITING = 2 * limits.CREDIT + 1024 * 1024
# Seconds for what was sent last to leave.
_FLUSH = 2.0


class Ended(Exception):
    """Says why a connection has ended. `cause` is the error behind it, if there is one."""

    def __init__(self, message: str, cause: Optional[BaseException] = None) -> None:
        super().__init__(message)
        self.cause = cause


class ClosedByPeer(Ended):
    """Says that the server sent an `error` frame, whose fields these are."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.fields["message"])
        self.fields = frame.fields


class Connection(asyncio.Protocol):
    """Speaks TLS and frames over a socket.

    `on_frame` is called with each frame but pings and pongs, `on_end` once, with why it ended. Both may be set
    when the handshake is over; until then nothing is read behind it.
    """

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._transport: Optional[asyncio.Transport] = None
        self._decoder = Decoder()
        self.on_frame: Optional[Callable[[Frame], None]] = None
        self.on_end: Optional[Callable[[Ended], None]] = None
        self.handshake: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._end: Optional[Ended] = None
        self._ready = self._closed = False
        self.hello: Optional[Frame] = None
        self._channel = 0
        self._pong: Optional[int] = None
        self.last_heard = self._loop.time()
        self._partial: Optional[Tuple[int, float]] = None
        self._unanswered: Optional[float] = None
        self._asked = False

    # --- what the transport says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pump()

    def data_received(self, data: bytes) -> None:
        self.last_heard = self._loop.time()
        self._incoming.write(data)
        self._pump()

    def eof_received(self) -> Optional[bool]:
        self._finish(Ended("it was cut off"))
        return None

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._finish(Ended(str(exc), exc) if exc else Ended("it was cut off"))
        if not self._lost.done():
            self._lost.set_result(None)

    def _finish(self, end: Ended) -> None:
        """Notes the end, of which the first reason counts."""
        if self._end is not None:
            return
        self._end = end
        if not self.handshake.done():
            self.handshake.set_exception(end.cause or ConnectionResetError(str(end)))
            # Whoever waited may have gone.
            self.handshake.exception()
        if self._transport is not None:
            self._transport.abort() if not self._ready else self._transport.close()
        if self.on_end is not None:
            self.on_end(end)

    # --- bytes ---

    def _pump(self) -> None:
        """Takes what came as far as it goes."""
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
                if self._transport is not None:
                    # What comes waits for whoever takes this connection.
                    self._transport.pause_reading()
                if not self.handshake.done():
                    self.handshake.set_result(None)
            elif self.on_frame is not None:
                self._read()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._flush()
            self._finish(Ended(f"TLS failed: {error.reason}", error))
        except ProtocolFault as fault:
            self.fail(fault)
        self._flush()

    def _read(self) -> None:
        closed = False
        while self._end is None:
            try:
                data = self._tls.read(_READ)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                closed = True
                break
            self._decoder.feed(data)
            self._take()
        if self._pong is not None:
            # One answer to the last ping serves for all that came with it.
            number, self._pong = self._pong, None
            self.send("pong", number=number)
        if closed:
            self._finish(Ended("the server closed the connection"))

    def _take(self) -> None:
        for frame in self._decoder.frames():
            check(frame)
            self._clear()
            if frame.type == "hello":
                if self.hello is not None:
                    raise ProtocolFault("a second hello")
                self.hello = frame
                self._decoder.greeted = True
            elif frame.type == "error":
                return self._finish(ClosedByPeer(frame))
            elif self.hello is None:
                raise ProtocolFault(f"{frame.type} before the hello")
            if frame.type == "ping":
                self._pong = frame.fields["number"]
            elif frame.type != "pong" and self.on_frame is not None:
                self.on_frame(frame)
            if self._end is not None:
                return
        # One that comes in drops keeps the time of its first byte.
        begun = (self._decoder.completed, self._loop.time())
        if not self._decoder.waits_for():
            self._partial = None
        elif self._partial is None or self._partial[0] != begun[0]:
            self._partial = begun

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing() or not self._ready:
            return
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            return self._finish(Ended(f"TLS failed: {error.reason}", error))
        self._flush()
        if self._transport.get_write_buffer_size() > _MOST_WAITING:
            self._finish(Ended("the server takes nothing of what is sent"))

    # --- what the owner does ---

    def adopt(self, on_frame: Callable[[Frame], None], on_end: Callable[[Ended], None]) -> None:
        """Says hello and begins to read."""
        self.on_frame, self.on_end = on_frame, on_end
        self.send("hello", agent=_AGENT, capabilities=["exec"])
        if self._end is not None:
            self._loop.call_soon(on_end, self._end)
            return
        if self._transport is not None:
            self._transport.resume_reading()
        # Bytes that came with the last of the handshake are here already.
        self._loop.call_soon(self._pump)

    def send(self, kind: str, payload: bytes = b"", /, **fields: Any) -> None:
        """Sends a frame. On a connection that has ended it does nothing."""
        if kind not in ("done", "pong") and self._unanswered is None:
            self._unanswered = self._loop.time()
        self._write(encode(kind, payload, **fields))

    def open_channel(self) -> int:
        """Returns the number of a new channel."""
        self._channel += 1
        return self._channel

    def knows(self, channel: int) -> bool:
        """Returns whether a channel was ever opened here."""
        return channel <= self._channel

    def fail(self, fault: ProtocolFault) -> None:
        """Tells the server what it did wrong, and ends the connection."""
        self.send("error", kind="protocol", message=str(fault)[:1000])
        self._finish(Ended(str(fault), fault))

    def peer(self) -> Optional[bytes]:
        """Returns the server's certificate in DER."""
        return self._tls.getpeercert(binary_form=True)

    def protocol(self) -> Optional[str]:
        """Returns what was agreed on by ALPN."""
        return self._tls.selected_alpn_protocol()

    # --- silence; times are those of the loop ---

    def keepalive(self) -> float:
        """Returns the seconds of silence after which a side asks for a sign of life."""
        if self.hello is None:
            return limits.KEEPALIVE
        seconds: float = self.hello.fields["keepalive_ms"] / 1000
        return min(max(seconds, 0.1), 3600.0)

    def since(self) -> Optional[float]:
        """Returns since when something is unanswered."""
        sent = self._unanswered
        return sent if sent is not None and self.last_heard <= sent else None

    def _clear(self) -> None:
        if self._unanswered is not None and self.since() is None:
            self._unanswered, self._asked = None, False

    def next_look(self, patience: Patience) -> float:
        """Returns when `silent_since` wants to be asked."""
        since = self.since()
        times: List[float] = []
        if since is None:
            times.append(self.last_heard + min(patience.idle, self.keepalive()))
        else:
            times.append(since + (patience.silent if self._asked else patience.ask))
        waits = self._decoder.waits_for()
        if waits is not None and self._partial is not None:
            times.append(self._partial[1] + waits[1])
        return min(times)

    def silent_since(self, now: float, patience: Patience) -> Optional[float]:
        """Asks for a sign of life when it is time. Returns since when it has been silent, if for too long."""
        self._clear()
        waits = self._decoder.waits_for()
        if waits is not None and self._partial is not None and now >= self._partial[1] + waits[1]:
            if waits[0] == "header":
                self.fail(ProtocolFault("a header that is not complete in time"))
            else:
                self._finish(Ended("a payload took too long"))
            return None
        if now - self.last_heard >= limits.KEEPALIVES_TO_GONE * self.keepalive():
            self._finish(Ended("nothing was heard for three keepalives"))
            return None
        quiet = self.last_heard + min(patience.idle, self.keepalive())
        if self._unanswered is None:
            if now < quiet:
                return None
            self._unanswered, self._asked = quiet, True
            self.send("ping", number=0)
        elif now >= self._unanswered + patience.ask and not self._asked:
            self._asked = True
            self.send("ping", number=0)
        since = self._unanswered
        return since if since is not None and now >= since + patience.silent else None

    # --- the end ---

    async def close(self) -> None:
        """Sends what waits and close_notify, and closes; after 2 s without more ado."""
        self.on_frame = self.on_end = None
        if self._transport is None:
            return
        if self._end is None and self._ready:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # it waits for the server's own close_notify
            self._flush()
        if self._end is None:
            self._end = Ended("it was closed")
        self._transport.close()
        try:
            await asyncio.wait({self._lost}, timeout=_FLUSH)
        finally:
            self._transport.abort()

    def drop(self) -> None:
        """Ends it at once, with all that it still had to say or hear."""
        self.on_frame = self.on_end = None
        self._end = self._end or Ended("it was dropped")
        if self._transport is not None:
            self._transport.abort()
