"""The link to one host for one command: connections, their healing, and time."""

from __future__ import annotations

import asyncio
from typing import List, Optional, Set

from .._host.target import Target
from .._host.tls import Credentials, is_alert
from .._protocol import limits
from .._protocol.codec import Frame, ProtocolFault
from .._protocol.outcome import Failure
from .channel import NEVER, Channel
from .connection import ClosedByPeer, Connection, Ended
from .dial import DialError, dial, drop
from .ending import Ending, failure_of
from .patience import Backoff, Patience

# Seconds for name, TCP and TLS together, the first time.
_CONNECT = 10.0
# Seconds for the end of a command that was cancelled: because its time is over, or because nobody wants it any more.
_LAST_WORD = 2.0
# Seconds within which a host must start a command, queue and all; and to answer when it is told to give it up.
_LONGEST_WAIT = 3600.0 + 15.0
_GIVE_UP = 5.0


class Link:
    """Runs one command on one host."""

    def __init__(
        self,
        target: Target,
        credentials: Credentials,
        channel: Channel,
        *,
        timeout: Optional[float] = None,
        deadline: Optional[float] = None,
    ) -> None:
        """`deadline` is the time of the loop at which the call is over, `timeout` the seconds that were asked for."""
        self._target = target
        self._host = target.name
        self._credentials = credentials
        self._channel = channel
        self._timeout = timeout
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._wakeup: asyncio.Future[None] = self._loop.create_future()
        self._connection: Optional[Connection] = None
        self._connected = False
        self._grace = limits.GRACE
        self._attempt: Optional[asyncio.Task[Connection]] = None
        self._given_up: Set[asyncio.Task[Connection]] = set()
        self._due: Optional[float] = self._begun
        self._racing_since: Optional[float] = None
        self._backoff = Backoff()
        self._reason = "it was never made"
        self._dial_failure: Optional[Failure] = None
        self._last_word: Optional[float] = None
        self._timed_out = self._late = False

    async def run(self) -> Ending:
        """Runs the command to its end.

        When it is cancelled the command is killed on its host, which takes 2 s at most.
        """
        try:
            while self._channel.ending is None:
                self._rearm()
                self._tick(self._loop.time())
                if self._channel.ending is None:
                    await self._wait(self._next() - self._loop.time())
            return self._settled(self._channel.ending)
        except asyncio.CancelledError:
            await self._stop()
            raise
        finally:
            await self._shut()

    def cancel(self) -> None:
        """Has the command killed; `run` goes on to its end."""
        self._channel.cancel()
        self._wake()

    def _wake(self) -> None:
        """Has `run` look again."""
        if not self._wakeup.done():
            self._wakeup.set_result(None)

    def _rearm(self) -> None:
        if self._wakeup.done():
            self._wakeup = self._loop.create_future()

    async def _wait(self, seconds: float) -> None:
        # Not wait_for, which before Python 3.12 may lose a cancellation.
        await asyncio.wait({self._wakeup}, timeout=max(0.0, seconds))

    async def _stop(self) -> None:
        """Has the command killed, and waits a little for its end."""
        self._channel.cancel()
        until = self._loop.time() + _LAST_WORD
        while self._channel.ending is None and self._connection is not None and self._channel.sent != NEVER:
            left = until - self._loop.time()
            if left <= 0:
                return
            self._rearm()
            await self._wait(left)

    async def _shut(self) -> None:
        self._give_up()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        if self._given_up:
            await asyncio.wait(self._given_up)

    def _give_up(self) -> None:
        """Ends an attempt; a connection that it made at the last moment is dropped."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            self._given_up.add(attempt)
            attempt.add_done_callback(self._given_up.discard)
            attempt.add_done_callback(drop)
            attempt.cancel()

    # --- time ---

    def _patience(self) -> Patience:
        return Patience.within(self._grace)

    def _next(self) -> float:
        """Returns when to look again."""
        channel, patience = self._channel, self._patience()
        times: List[Optional[float]] = [
            self._due,
            channel.resting_until,
            channel.gives_up_at(),
            self._last_word if self._last_word is not None else self._deadline,
        ]
        if channel.lost_at is not None:
            times.append(channel.lost_at + self._grace)
        if channel.started_at is None and not self._late:
            times.append(self._begun + _LONGEST_WAIT)
        if self._connection is not None and channel.resting_until is None and not self._is_dialling():
            times.append(self._connection.next_look(patience))
        # What is sent in the meantime makes the next look earlier, by no more than this.
        times.append(self._loop.time() + patience.ask)
        return min(time for time in times if time is not None)

    def _tick(self, now: float) -> None:
        self._take_attempt(now)
        self._recover()
        self._keep_time(now)
        channel = self._channel
        if channel.ending is not None:
            return
        if self._due is not None and now >= self._due:
            self._due = None
            limit = self._grace / 2 if self._connected else _CONNECT
            self._attempt = self._loop.create_task(dial(self._target, self._credentials, limit))
            self._attempt.add_done_callback(lambda _: self._wake())
        if channel.lost_at is not None and now >= channel.lost_at + self._grace:
            return channel.conclude_lost(self._grace_is_over())
        gives_up_at = channel.gives_up_at()
        if gives_up_at is not None and now >= gives_up_at:
            return channel.conclude_lost(self._grace_is_over())
        if channel.resting_until is not None and now >= channel.resting_until:
            if self._connection is not None:
                channel.attach_to(self._connection)
            else:
                channel.resting_until = None
                channel.lost_at = now
                self._dial_soon(now)
        if self._connection is not None and channel.resting_until is None:
            self._watch(self._connection, now)

    def _watch(self, connection: Connection, now: float) -> None:
        """Makes another connection beside one that has been silent for too long."""
        since = connection.silent_since(now, self._patience())
        if since is not None and not self._is_dialling() and self._connection is connection:
            self._racing_since = since
            self._dial_soon(now)

    def _keep_time(self, now: float) -> None:
        channel = self._channel
        if self._last_word is not None:
            if now >= self._last_word:
                self._conclude_late()
        elif self._deadline is not None and now >= self._deadline:
            self._timed_out = True
            if channel.sent == NEVER:
                return channel.conclude("not_started", self._never_began())
            channel.cancel()
            self._last_word = now + _LAST_WORD
        elif channel.started_at is None and channel.sent != NEVER and now >= self._begun + _LONGEST_WAIT:
            self._late = True
            channel.cancel()
            self._last_word = now + _GIVE_UP

    def _conclude_late(self) -> None:
        if self._timed_out and self._channel.started_at is not None:
            message = f"{self._over()}; its host has not confirmed that it was killed"
            return self._channel.conclude("timed_out", Failure("lost", message, self._look()))
        message = f"{self._host} did not say in time whether the command started"
        self._channel.conclude("unknown", Failure("lost", message, self._look()))

    # --- connections ---

    def _is_dialling(self) -> bool:
        return self._attempt is not None or self._due is not None

    def _dial_soon(self, now: float) -> None:
        if not self._is_dialling() and self._channel.ending is None:
            self._due = now + self._backoff.pause(now)
        self._wake()

    def _take_attempt(self, now: float) -> None:
        attempt = self._attempt
        if attempt is None or not attempt.done():
            return
        self._attempt = None
        try:
            connection = attempt.result()
        except DialError as error:
            self._dial_failed(error, now)
            return
        self._adopt(connection, now)

    def _dial_failed(self, error: DialError, now: float) -> None:
        channel = self._channel
        if not self._connected:
            return channel.conclude("not_started", error.failure)
        if error.final and self._connection is None:
            return channel.conclude_lost(error.failure)
        self._dial_failure = error.failure
        self._dial_soon(now)

    def _adopt(self, connection: Connection, now: float) -> None:
        """Takes a new connection. The one before is dropped first, with all that it may still have said: only then
        do the offsets that the channel states stay true."""
        if self._recover():
            return connection.drop()
        self._connected, self._dial_failure, self._racing_since = True, None, None
        old, self._connection = self._connection, connection
        if old is not None:
            since = old.since()
            old.drop()
            self._channel.lose(now if since is None else since)
        connection.adopt(
            lambda frame: self._on_frame(connection, frame), lambda ended: self._on_end(connection, ended)
        )
        if self._channel.resting_until is None and self._channel.ending is None:
            self._channel.attach_to(connection)

    def _recover(self) -> bool:
        """Keeps a connection that was only slow. Returns whether there is one that needs no other."""
        if self._connection is None or self._connection.since() is not None:
            return False
        if self._racing_since is not None:
            self._racing_since = self._due = None
            self._give_up()
            self._backoff.reset()
        return True

    # --- what connections say ---

    def _on_frame(self, connection: Connection, frame: Frame) -> None:
        if connection is not self._connection:
            return
        if frame.type == "hello":
            self._grace = min(frame.fields["grace_ms"] / 1000, limits.LONGEST_GRACE)
            self._backoff.greeted(self._loop.time())
            self._channel.learn(frame.fields["instance"])
            self._wake()
            return
        self._channel.on_frame(frame, connection)
        if self._channel.ending is not None or self._channel.resting_until is not None:
            self._wake()

    def _on_end(self, connection: Connection, ended: Ended) -> None:
        """Decides what the end of a connection proves."""
        if connection is not self._connection:
            return
        self._connection = self._racing_since = None
        self._wake()
        channel, greeted, now = self._channel, connection.hello is not None, self._loop.time()
        if channel.ending is not None:
            return
        failure: Optional[Failure] = None
        if isinstance(ended.cause, ProtocolFault):
            message = f"{self._host} broke the protocol: {ended}"
            # Nothing that this server says can be relied on.
            return channel.conclude_lost(Failure("protocol", message, "Is it an rcmd server's port?"))
        if isinstance(ended, ClosedByPeer):
            failure = failure_of(ended.fields)
        elif not greeted and is_alert(ended.cause) and ended.cause is not None:
            why = self._credentials.explain(ended.cause, self._target.certificate)
            failure = Failure("tls", f"{self._target.place()} refused this client: {why.message}", why.hint)
        if failure is not None:
            if failure.kind == "busy" and not greeted and channel.is_fresh():
                if channel.resting_until is None and not channel.rest(failure):
                    channel.conclude("not_started", failure)
                return
            # A server that was started anew may have no room for all at once; and a certificate that ended in the
            # middle may have been renewed since.
            heals = failure.kind == "busy" and not channel.is_fresh() or failure.kind == "tls" and greeted
            if not heals:
                if not greeted and channel.is_fresh():
                    return channel.conclude("not_started", failure)
                return channel.conclude_lost(failure)
        self._reason = str(ended)
        channel.lose(now)
        if channel.resting_until is None:
            self._dial_soon(now)

    # --- words ---

    def _settled(self, ending: Ending) -> Ending:
        """Returns the ending as the caller sees it who set a time."""
        if not self._timed_out:
            return ending
        if ending.outcome == "signaled":
            ending.outcome, ending.failure = "timed_out", None
        elif ending.outcome == "not_started":
            ending.failure = self._never_began()
        return ending

    def _over(self) -> str:
        return f"the command on {self._host} was not done within {self._timeout:g} s"

    def _never_began(self) -> Failure:
        message = f"the command on {self._host} did not start within {self._timeout:g} s"
        if self._channel.queued:
            return Failure("busy", f"{message}: it waited for its turn there", "Try again later.")
        if self._channel.busy_answer is not None:
            return Failure("busy", f"{message}: {self._channel.busy_answer.message}", "Try again later.")
        return Failure("unreachable", message, f"Try `rcmd-client doctor {self._host}`, or a longer timeout.")

    def _grace_is_over(self) -> Failure:
        message = f"the connection to {self._host} was lost ({self._reason})"
        if self._dial_failure is not None:
            message += f" and could not be made again: {self._dial_failure.message}"
        else:
            message += " and the command was not taken up again in time"
        return Failure("lost", message, self._look())

    def _look(self) -> str:
        return f"Try `rcmd-client doctor {self._host}`; look on the host for what the command did."
