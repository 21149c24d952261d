"""One call: its arguments, checked before anything is sent, and its result."""

from __future__ import annotations

import asyncio
import os
import resource
from dataclasses import replace
from typing import Any, Callable, Coroutine, List, Mapping, Optional, Sequence, Tuple, Type, Union

from ._host import inventory
from ._host.files import FileFault
from ._host.folder import folder
from ._host.target import NoHost, Target
from ._host.tls import Credentials, Untrusted
from ._link.channel import Channel
from ._link.ending import Ending
from ._link.link import Link
from ._link.sink import Collected, Sink
from ._protocol.outcome import Failure, status
from ._protocol.request import Refused, Request, Text
from ._protocol.streams import Sending
from .errors import Error, NotStarted, TimedOut, Unknown
from .result import Result, failed, moment

Argv = Union[Text, Sequence[Text]]
Dir = Union[None, str, "os.PathLike[str]"]

# Bytes of output of a command that are held in memory, unless the caller says.
MAX_OUTPUT = 256 * 1024 * 1024

_EXCEPTIONS: "dict[str, Type[Error]]" = {"timed_out": TimedOut, "not_started": NotStarted, "unknown": Unknown}


def usage(message: str, hint: str = "") -> NotStarted:
    """Returns the exception for a call that makes no sense."""
    return NotStarted(message, kind="usage", hint=hint)


def check_timeout(timeout: Optional[float], name: str = "timeout") -> None:
    """Checks a number of seconds.

    Raises:
        TypeError: It is no number.
        NotStarted: It is less than 0, or no number at all; kind `usage`.
    """
    if timeout is not None and not isinstance(timeout, (int, float)):
        raise TypeError(f"{name} is a number of seconds")
    if timeout is not None and not timeout >= 0:
        raise usage(f"{timeout} is no time", f"{name} is a number of seconds, 0 or more.")


class Call:
    """Holds what is to be run, on whichever hosts, and with which certificate."""

    def __init__(
        self,
        argv: Argv,
        *,
        shell: bool = False,
        input: Optional[bytes] = None,
        timeout: Optional[float] = None,
        check: bool = False,
        user: Optional[Text] = None,
        cwd: Optional[Text] = None,
        env: Optional[Mapping[Any, Any]] = None,
        key: Union[None, str, bytes] = None,
        dir: Dir = None,
        max_output: int = MAX_OUTPUT,
    ) -> None:
        """Checks the arguments. The folder is read by `load`.

        Raises:
            TypeError: An argument is of no kind that is taken.
            NotStarted: The request can't be sent; kind `usage` or `too_big`.
        """
        if input is not None and not isinstance(input, (bytes, bytearray, memoryview)):
            raise TypeError(f"input is bytes, not {type(input).__name__}; encode it first")
        check_timeout(timeout)
        if isinstance(argv, (list, tuple)) or shell or isinstance(argv, (str, bytes, os.PathLike)):
            self._argv: Any = argv
        else:
            # It may be read but once, and is read for each user.
            self._argv = list(argv)
        self.input = None if input is None else bytes(input)
        self.timeout = timeout
        self.check = check
        self.max_output = max_output
        self.dir = dir
        self._more: "dict[str, Any]" = {"shell": shell, "cwd": cwd, "env": dict(env or {}), "stdin": False}
        self._user = user
        self._key = _key(key)
        self.stdin = self.input is not None
        self.request(None)

    def request(self, user: Optional[str]) -> Request:
        """Returns the request, for a host whose entry names this user.

        Raises:
            NotStarted: It can't be sent.
        """
        more = {**self._more, "stdin": self.stdin, "user": self._user if self._user is not None else user}
        try:
            return Request(self._argv, **more)
        except Refused as refused:
            raise _raised(refused.failure) from None

    def load(self) -> Folder:
        """Reads the folder.

        Raises:
            NotStarted: There is none, or it can't be used.
        """
        return Folder(self.dir)

    def key(self, host: Optional[str] = None) -> Optional[bytes]:
        """Returns the caller's own key; of a host among several, with its name."""
        if self._key is None or host is None:
            return self._key
        return self._key + b"\n" + os.fsencode(host)


def _key(key: Union[None, str, bytes]) -> Optional[bytes]:
    if key is None:
        return None
    if not isinstance(key, (str, bytes)):
        raise TypeError("key is a str or bytes")
    if not key:
        # It is a variable that nobody set, and would make all such starts one.
        raise usage("the key of the start is empty", "Name the start by a key of its own, or leave the key out.")
    return key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key


class Folder:
    """Holds what a folder says: certificates, and hosts by name."""

    def __init__(self, dir: Dir) -> None:
        """Reads it.

        Raises:
            NotStarted: There is none, or it can't be used.
        """
        chosen = folder(dir)
        if chosen is None:
            raise usage("no folder for this user's certificates: HOME is not set", "Say dir=, or set RCMD_DIR.")
        try:
            self._inventory = inventory.read(chosen)
            self.credentials = Credentials(chosen)
        except NoHost as error:
            raise usage(str(error), error.hint) from None
        except FileFault as fault:
            raise usage(str(fault)) from None
        except Untrusted as error:
            raise _raised(error.failure) from None

    def target(self, host: str) -> Target:
        """Returns where a host is reached.

        Raises:
            TypeError: It is no str.
            NotStarted: It is none.
        """
        if not isinstance(host, str):
            raise TypeError(f"a host is a str, not {type(host).__name__}")
        try:
            return self._inventory.target(host)
        except NoHost as error:
            raise usage(str(error), error.hint) from None


def _raised(failure: Failure) -> NotStarted:
    return NotStarted(failure.message, kind=failure.kind, hint=failure.hint)


async def perform(
    call: Call,
    target: Target,
    credentials: Credentials,
    *,
    sink: Sink,
    deadline: Optional[float],
    key: Optional[bytes],
    stdin: Optional[Sending] = None,
    timestamps: bool = False,
    ready: Optional[Callable[[Channel], None]] = None,
) -> Result:
    """Runs a command on one host to its end. `ready` gets the channel before anything is sent."""
    request = call.request(target.user)
    if call.input is not None:
        stdin = Sending(call.input)
    channel = Channel(target.name, request, sink, key=key, stdin=stdin, timestamps=timestamps)
    link = Link(target, credentials, channel, timeout=call.timeout, deadline=deadline)
    if ready is not None:
        ready(channel)
    ending = await link.run()
    output: Tuple[bytes, bytes] = (b"", b"")
    if isinstance(sink, Collected):
        output = (bytes(sink.streams["stdout"]), bytes(sink.streams["stderr"]))
    return settle(call, request, target.name, ending, output)


def settle(call: Call, request: Request, host: str, ending: Ending, output: Tuple[bytes, bytes]) -> Result:
    """Returns the result of a command that ended so."""
    failure = ending.failure
    error: Optional[Error] = None
    returncode = status(ending.outcome, ending.code, ending.signal, failure.kind if failure else None)
    if ending.outcome in _EXCEPTIONS:
        if failure is None:
            timeout = "its time" if call.timeout is None else f"{call.timeout:g} s"
            failure = Failure("", f"the command on {host} was not done within {timeout}, and was killed")
        error = _EXCEPTIONS[ending.outcome](failure.message, kind=failure.kind or None, hint=failure.hint)
    elif failure is not None:
        error = Error(failure.message, kind=failure.kind, hint=failure.hint)
    result = Result(
        args=request.args,
        host=host,
        outcome=ending.outcome,
        returncode=returncode,
        signal=ending.signal,
        stdout=output[0],
        stderr=output[1],
        error=error,
        code=ending.code,
        job=ending.job,
        retry_safe=ending.retry_safe,
        truncated=ending.truncated,
        output_open=ending.open,
        stdout_bytes=ending.stdout_bytes,
        stderr_bytes=ending.stderr_bytes,
        stdout_digest=ending.stdout_digest,
        stderr_digest=ending.stderr_digest,
        started_at=moment(ending.started_at),
        ended_at=moment(ending.ended_at),
        duration=None if ending.duration_ms is None else ending.duration_ms / 1000,
        audit=ending.audit,
    )
    if error is not None:
        error.result = result
    return result


def held_back(call: Call, target: Target) -> Result:
    """Returns the result of a host whose turn did not come before the time of the call was over."""
    message = f"{target.name} had no turn within {call.timeout:g} s, and nothing was started there"
    failure = Failure("held_back", message, "Raise fanout or timeout.")
    ending = Ending("not_started", failure, retry_safe=True)
    return settle(call, call.request(target.user), target.name, ending, (b"", b""))


def checked(call: Call, result: Result) -> Result:
    """Returns a result, or raises what `run` raises.

    Raises:
        TimedOut, NotStarted, Unknown: It ended so.
        CommandFailed: With `check`, it ended with a status other than 0 or by a signal.
    """
    if result.outcome in _EXCEPTIONS and result.error is not None:
        raise result.error
    if call.check and result.returncode != 0:
        raise failed(result)
    return result


def with_check(call: Call, result: Result) -> Result:
    """Returns a result whose error, with `check`, also says that the command failed."""
    if not call.check or result.returncode == 0 or result.outcome in _EXCEPTIONS:
        return result
    error = failed(result)
    error.result = replace(result, error=error)
    return error.result


def monotonic_deadline(call: Call) -> Optional[float]:
    """Returns the time of the running loop at which the call is over."""
    return None if call.timeout is None else asyncio.get_running_loop().time() + call.timeout


async def all_of(coroutines: List[Coroutine[Any, Any, Any]]) -> List[Any]:
    """Runs all to their ends; when one fails, or the caller is cancelled, all are cancelled and waited for."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def bearable(fanout: int) -> int:
    """Returns how many hosts can be reached at once, as many as are wanted or as this process has descriptors for."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return fanout
    # A host has a second connection while its first is doubted, which is seldom; some are kept for the program.
    return max(1, min(fanout, most - most // 8 - 32))
