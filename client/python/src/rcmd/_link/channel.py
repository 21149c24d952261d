"""One command: what was sent of it, what came back, and what that proves.

Why nothing runs twice:

- A key starts at most one job on one server process, so that only another server process can run a command twice.
- `unknown_key` therefore allows a new start only when it comes from the very process that had the first one, or when
  the key is the caller's own and thereby durable.
- A connection that breaks before its hello leaves open which process had the start, and `unknown_key` then means
  that nobody knows.
- A server that answers `not_started` has said that nothing ran: after `busy` the start is sent again, under a key of
  its own.
- After `started`, nothing is ever sent as a start again.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Callable, Dict, Optional

from .._protocol.codec import Frame, ProtocolFault
from .._protocol.limits import INTEGER
from .._protocol.outcome import Failure
from .._protocol.request import Request
from .._protocol.streams import Corrupt, Receiving, Sending
from .connection import Connection
from .ending import Ending, failure_of
from .patience import rest
from .sink import Overflow, Sink

# Starts that are sent again because another client's generation was higher.
_GENERATION_RETRIES = 2
# Seconds for which a host may be busy.
_BUSY_WAIT = 10.0

# Which server process may have had the start: none, the one behind the present connection, whose hello has not
# come, one that was never learned, or else its instance.
NEVER, AWAITING, UNLEARNED = "never", "awaiting", "unlearned"


class Channel:
    """Follows one command over all connections that it is on. Times are seconds of a clock that never jumps."""

    def __init__(
        self,
        host: str,
        request: Request,
        sink: Sink,
        *,
        key: Optional[bytes] = None,
        stdin: Optional[Sending] = None,
        timestamps: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._request = request
        self._sink = sink
        self._keep = key is not None
        self._key = os.urandom(16) if key is None else hashlib.sha256(key).digest()[:16]
        self._timestamps = timestamps
        self._clock = clock
        self._generation = 0
        self._retries = 0
        self._connection: Optional[Connection] = None
        self._ch = 0
        self._state = "detached"
        self._busy_until: Optional[float] = None
        self._busy_answers = 0
        self.busy_answer: Optional[Failure] = None
        self._cancelled = False
        self._job: Optional[str] = None
        self.stdin = stdin
        self.streams: Dict[str, Receiving] = self._fresh_streams()
        self.sent = NEVER
        self.queued = False
        self.started_at: Optional[int] = None
        self.on_start: Optional[Callable[[str, Optional[int]], None]] = None
        self.lost_at: Optional[float] = None
        """When the connection was given up that no answer has mended yet."""
        self.resting_until: Optional[float] = None
        """When a host that is busy is to be asked again."""
        self.ending: Optional[Ending] = None

    @staticmethod
    def _fresh_streams() -> Dict[str, Receiving]:
        return {name: Receiving(name) for name in ("stdout", "stderr")}

    # --- on and off a connection ---

    def attach_to(self, connection: Connection) -> None:
        """Goes onto a connection: as a start if no other had it, else to take it up."""
        self._connection, self._ch = connection, connection.open_channel()
        self.resting_until = None
        if self.sent == NEVER:
            self._start(connection)
            return
        self._state = "attaching"
        self._send(
            "attach",
            key=self._key.hex(),
            generation=self._raise(),
            digest=self._request.digest,
            stdout=self.streams["stdout"].received,
            stderr=self.streams["stderr"].received,
        )

    def _start(self, connection: Connection) -> None:
        hello = connection.hello
        self.sent = hello.fields["instance"] if hello else AWAITING
        self._state = "starting"
        self._send(
            "start",
            self._request.payload,
            key=self._key.hex(),
            generation=self._raise(),
            digests=["sha256"],
            keep=self._keep or None,
            timestamps=self._timestamps or None,
            **self._request.fields(),
        )
        self._repeat_cancel()
        self.send_stdin()

    def learn(self, instance: str) -> None:
        """Notes which server process is behind the present connection."""
        if self.sent == AWAITING:
            self.sent = instance

    def lose(self, now: float) -> None:
        """Leaves its connection, which is gone."""
        self._connection = None
        if self.resting_until is not None:
            return
        self._state = "detached"
        if self.lost_at is None:
            self.lost_at = now
        if self.sent == AWAITING:
            self.sent = UNLEARNED

    def is_fresh(self) -> bool:
        """Returns whether the server can have heard of it on no other connection than the present."""
        return self.sent in (NEVER, AWAITING)

    def _raise(self, other: int = 0) -> int:
        """Returns a generation above the last: microseconds since 1970 at first, so that a later process goes before
        an earlier one."""
        now = time.time_ns() // 1000
        self._generation = min(max(now, self._generation + 1, other + 1), INTEGER)
        return self._generation

    def _send(self, kind: str, payload: bytes = b"", /, **fields: object) -> None:
        if self._connection is not None:
            self._connection.send(kind, payload, ch=self._ch, **fields)

    # --- what the caller asks ---

    def cancel(self) -> None:
        """Has the command killed, now or as soon as the host can be told."""
        self._cancelled = True
        # While an attach is not answered nobody knows what the host has; it is repeated then.
        if self._state in ("starting", "running"):
            self._send("cancel")

    def _repeat_cancel(self) -> None:
        if self._cancelled:
            self._send("cancel")

    def send_stdin(self) -> None:
        """Sends what of standard input may be sent now."""
        if self.stdin is None or self._state not in ("starting", "running"):
            return
        for offset, piece in self.stdin.frames():
            self._send("data", piece, stream="stdin", offset=offset)
        end = self.stdin.end()
        if end is not None:
            self._send("end", stream="stdin", total=end[0], digest=end[1])

    def consumed(self, stream: str, count: int) -> None:
        """Gives credit back for output that was taken away."""
        self.streams[stream].consume(count)
        if self._state == "running":
            self._window(stream)

    def _window(self, stream: str, again: bool = False) -> None:
        window = self.streams[stream].window(again)
        if window is not None:
            self._send("window", stream=stream, got=window[0], upto=window[1])

    # --- what the host says ---

    def on_frame(self, frame: Frame, connection: Connection) -> None:
        """Takes a frame of a channel of this connection.

        Raises:
            ProtocolFault: It must not come now.
        """
        fields = frame.fields
        if self.ending is not None or connection is not self._connection or fields["ch"] != self._ch:
            if not connection.knows(fields["ch"]):
                raise ProtocolFault(f"{frame.type} for a channel that was never opened")
            if frame.type == "exit":
                # Its end needs to be kept for nobody.
                connection.send("done", ch=fields["ch"])
            return
        try:
            getattr(self, f"_on_{frame.type}")(frame)
        except Corrupt as corrupt:
            self.cancel()
            hint = "Don't use this output; run the command again."
            self.conclude_lost(Failure("corrupt", f"{corrupt} (from {self._host})", hint))
        except Overflow as overflow:
            self.cancel()
            hint = "Raise max_output, or take the output as it comes with on_output."
            self.conclude("unknown", Failure("local_io", f"{overflow} (from {self._host})", hint))

    def _on_queued(self, frame: Frame) -> None:
        self.queued = True
        self.lost_at = None

    def _on_started(self, frame: Frame) -> None:
        # It also follows an `attached` of what still waits.
        if self._state == "attaching" or self.started_at is not None:
            raise ProtocolFault("started, where it was not to come")
        self._identify(frame)
        self._running(frame.fields["started_at"])
        for stream in self.streams.values():
            stream.resume(0)

    def _identify(self, frame: Frame) -> None:
        job = frame.fields["job"]
        if frame.fields["digest"] != "sha256":
            raise ProtocolFault(f"{frame.type} with a digest that was not offered")
        if self._job not in (None, job):
            raise ProtocolFault(f"{frame.type} of another job")
        self._job = job

    def _running(self, started_at: Optional[int]) -> None:
        self._state = "running"
        self.lost_at = None
        if started_at is not None and self.started_at is None:
            self.started_at = started_at
            if self.on_start is not None and self._job is not None:
                self.on_start(self._job, started_at)

    def _on_attached(self, frame: Frame) -> None:
        asked, fields = self._state == "starting", frame.fields
        if self._state not in ("starting", "attaching"):
            raise ProtocolFault("attached, where nothing was to be attached")
        self._identify(frame)
        self._running(fields.get("started_at"))
        for name, stream in self.streams.items():
            stream.resume(fields[name])
        if self.stdin is not None:
            self.stdin.resume(fields["stdin"], fields.get("stdin_ended", False), asked or self._keep)
        self._repeat_cancel()
        self._window("stdout", again=True)
        self._window("stderr", again=True)
        self.send_stdin()

    def _on_refused(self, frame: Frame) -> None:
        asking, host = self._state == "starting", self._host
        reason = frame.fields["reason"]
        look = "Look on the host for what the command did."
        if reason == "unknown_key":
            if not asking and self._may_start_again():
                return self._start_again()
            message, hint = f"{host} knows nothing of the command any more", f"The server was started anew. {look}"
            if self.sent == UNLEARNED:
                message = f"{host} knows nothing of the command, and the server that may have had it was never heard"
                hint = look
        elif reason == "superseded":
            if asking and self._retries < _GENERATION_RETRIES:
                self._retries += 1
                self._raise(frame.fields.get("generation", 0))
                return self._start_again()
            message = f"another client has taken the command on {host} over"
            hint = "That client has its output and end."
        elif reason == "conflict":
            outcome = "unknown" if self._job else "not_started"
            message = f"on {host} this key stands for another request"
            return self.conclude(outcome, Failure("key_conflict", message, "Choose another key."))
        else:
            message, hint = f"{host} keeps the command's end no longer", look
        self.conclude_lost(Failure("lost", message, hint))

    def _may_start_again(self) -> bool:
        hello = self._connection.hello if self._connection else None
        here = hello.fields["instance"] if hello else None
        return self._keep or (self._job is None and here is not None and self.sent == here)

    def _start_again(self) -> None:
        if self.stdin is not None and not self.stdin.rewind() and not self._keep:
            message = f"{self._host} has no trace of the command, and its input is gone"
            return self.conclude_lost(Failure("lost", message, "Start it again."))
        self.sent = NEVER
        if self._connection is not None:
            self.attach_to(self._connection)

    def _on_data(self, frame: Frame) -> None:
        self._on_job(frame)
        name = frame.fields["stream"]
        new = self.streams[name].data(frame.fields["offset"], frame.payload)
        if new and self._sink.put(name, new, frame.fields.get("time") if self._timestamps else None):
            self.streams[name].consume(len(new))
        self._window(name)

    def _on_end(self, frame: Frame) -> None:
        self._on_job(frame)
        fields = frame.fields
        stream = self.streams[fields["stream"]]
        stream.end(fields["total"], fields["digest"], fields.get("open", False))

    def _on_window(self, frame: Frame) -> None:
        if self.stdin is not None:
            self.stdin.window(frame.fields["got"], frame.fields["upto"])
            self.send_stdin()

    def _on_stop(self, frame: Frame) -> None:
        if self.stdin is not None:
            self.stdin.close()

    def _on_exit(self, frame: Frame) -> None:
        fields = frame.fields
        outcome, failure = fields["outcome"], failure_of(fields)
        if outcome == "not_started" and self.started_at is not None:
            raise ProtocolFault("an end that says not started of what had started")
        if outcome not in ("not_started", "unknown"):
            self._on_job(frame)
            for name, stream in self.streams.items():
                stream.check_exit(fields[f"{name}_bytes"], fields.get(f"{name}_digest"))
        self._send("done")
        if outcome == "not_started" and failure is not None and self.rest(failure):
            return
        self.conclude(outcome, failure, fields)

    def _on_job(self, frame: Frame) -> None:
        if self._state != "running":
            raise ProtocolFault(f"{frame.type} of a command that has not started")

    # --- a host that is busy ---

    def rest(self, failure: Failure) -> bool:
        """Rests until the host wants to be asked again, as far as it is believed. Returns false when it is not to be
        asked again."""
        now, wait = self._clock(), failure.retry_after_ms
        if failure.kind != "busy" or wait is None or self._cancelled:
            return False
        again_at = now + rest(wait / 1000, self._busy_answers)
        if self._busy_until is None:
            self._busy_until = now + _BUSY_WAIT
        if again_at > self._busy_until or not (self.stdin is None or self.stdin.rewind()):
            return False
        # The host may still hold the key of what it has just refused; its caller's own is kept.
        if not self._keep:
            self._key = os.urandom(16)
        self.sent, self._job, self.lost_at, self._state = NEVER, None, None, "detached"
        self.streams = self._fresh_streams()
        self.busy_answer = failure
        self._busy_answers += 1
        self.resting_until = again_at
        return True

    def gives_up_at(self) -> Optional[float]:
        """Returns when a host that is busy is not waited for any more."""
        if self.sent != NEVER or self._busy_until is None:
            return None
        return self._clock() if self._cancelled else self._busy_until

    # --- the end ---

    def conclude_lost(self, failure: Failure) -> None:
        """Ends it without an end from the host: unknown, unless nothing of it can have left."""
        if self.sent == NEVER:
            self.conclude("not_started", self.busy_answer or failure)
        else:
            self.conclude("unknown", failure)

    def conclude(
        self, outcome: str, failure: Optional[Failure], fields: Optional[Dict[str, object]] = None
    ) -> None:
        """Ends it in this way; `fields` are those of the exit that says so."""
        if self.ending is not None:
            return
        ending = Ending(outcome, failure, job=self._job, started_at=self.started_at)
        # The caller's own key makes it safe to ask again how it went.
        ending.retry_safe = outcome == "not_started" or (outcome == "unknown" and self._keep)
        ending.count(self.streams)
        if fields is not None:
            ending.take(fields)
        self.ending = ending
