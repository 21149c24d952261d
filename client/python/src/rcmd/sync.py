"""Commands on other machines, for programs without an event loop.

Each call has an event loop in a thread of its own, so that it can be made from any thread, also from one whose own
loop runs, and so that Ctrl-C arrives in the thread that waits.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any, Awaitable, Callable, Coroutine, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

from . import aio
from ._protocol.request import Text
from .call import MAX_OUTPUT, Argv, Dir
from .result import Output, Result

__all__ = ["run", "run_many"]

T = TypeVar("T")
Item = TypeVar("Item")
OnOutput = Callable[[Output], None]
Bridge = Callable[[Output], Awaitable[None]]

# Seconds for commands to be killed on their hosts when the caller is interrupted, and for copies to be ended.
_STOP = 7.0


def run(
    host: str,
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
    on_output: Optional[OnOutput] = None,
) -> Result:
    """Runs a command on a host and returns how it ended, in the manner of `subprocess.run`.

    Args:
        host: NAME, NAME:PORT, ADDRESS or [V6]:PORT, or a name of hosts.toml.
        argv: The program and its arguments, passed exactly; with `shell` one line for the remote user's shell.
        shell: Whether `argv` is a line for a shell.
        input: The command's standard input, which is empty without it.
        timeout: Seconds for the whole call. Before the start it ends as `NotStarted`; afterwards the command is
            killed on its host and the call ends as `TimedOut`, 2 s later at most.
        check: Whether a status other than 0, or a signal, raises `CommandFailed`.
        user: Whom the command runs as on the host, which is the server's own user without it.
        cwd: The folder there in which it runs, which is the user's home without it.
        env: Settings that are added to its environment.
        key: A name for this start: the same key with the same request never starts it twice on that host, for 7 days.
        dir: The folder of certificates; else $RCMD_DIR, else $XDG_CONFIG_HOME/rcmd, else ~/.config/rcmd.
        max_output: Bytes of output that are held in memory; a command that writes more is killed, and its outcome
            unknown.
        on_output: Called in this thread with each `Output` as it comes. The output is not kept then.

    Returns:
        How it ended, with all of its output as it was, checked by length and SHA-256.

    Raises:
        NotStarted: Nothing ran.
        TimedOut: The time was over after the start; the exception has what came of the output.
        Unknown: Something was lost after the start.
        CommandFailed: With `check`, the command failed.
        TypeError: An argument is of no kind that is taken.
    """

    def make(bridge: Bridge) -> Coroutine[Any, Any, Result]:
        return aio.run(
            host,
            argv,
            shell=shell,
            input=input,
            timeout=timeout,
            check=check,
            user=user,
            cwd=cwd,
            env=env,
            key=key,
            dir=dir,
            max_output=max_output,
            on_output=None if on_output is None else bridge,
        )

    return drive(make, on_output)


def run_many(
    hosts: Sequence[str],
    argv: Argv,
    *,
    fanout: int = 64,
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
) -> List[Result]:
    """Runs a command on many hosts and returns how it ended on each.

    There is one result for each place of `hosts`, in their order. A host that stands twice is one host, and the
    command runs there once. A host is its name as it is written. Each result has its `error`; what went wrong on one
    host is never raised.

    Args:
        hosts: Names of hosts, as `run` takes them; expressions are for `rcmd-client`.
        argv: As for `run`, like all that is not named here. `input` goes to each host.
        fanout: How many hosts at once, cut to what the limit on open files bears.
        timeout: Seconds for the whole call. Hosts that had no turn by then are `not_started`, kind `held_back`.
        check: Whether the `error` of a command that failed is a `CommandFailed`; without it that is None.
        key: The key of a host is this, a newline and its name.
        max_output: Bytes of output of each host.

    Raises:
        NotStarted: The call makes no sense (kind `usage` or `too_big`), or the folder can't be used (kind `tls`).
            Nothing ran anywhere.
        TypeError: An argument is of no kind that is taken, such as a str for `hosts`.
    """

    def make(_: Bridge) -> Coroutine[Any, Any, List[Result]]:
        return aio.run_many(
            hosts,
            argv,
            fanout=fanout,
            shell=shell,
            input=input,
            timeout=timeout,
            check=check,
            user=user,
            cwd=cwd,
            env=env,
            key=key,
            dir=dir,
            max_output=max_output,
        )

    return drive(make, None)


class _Thread(threading.Thread):
    """Runs a coroutine in a loop of its own, and says in `events` what comes of it."""

    def __init__(self, make: Callable[[Callable[[Any], Awaitable[None]]], Coroutine[Any, Any, Any]]) -> None:
        # An end of the program waits for no host.
        super().__init__(name="rcmd", daemon=True)
        self._make = make
        self._loop = asyncio.new_event_loop()
        self._task: Optional[asyncio.Task[Any]] = None
        self._cancelled = False
        self.events: queue.SimpleQueue[Tuple[Any, Any]] = queue.SimpleQueue()
        self.error: Optional[BaseException] = None
        self.result: Any = None

    def run(self) -> None:
        try:
            self._task = self._loop.create_task(self._make(self._bridge))
            if self._cancelled:
                self._task.cancel()
            self.result = self._loop.run_until_complete(self._task)
        except BaseException as error:
            self.error = error
        finally:
            self._sweep()
            self._loop.close()
            self.events.put((None, None))

    def _sweep(self) -> None:
        """Ends what the coroutine has left."""
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left))

    async def _bridge(self, output: Any) -> None:
        """Hands output, or what else is told of, to the thread that waits, and comes back when it was taken."""
        taken = self._loop.create_future()
        self.events.put((output, taken))
        await taken

    def confirm(self, taken: asyncio.Future[None]) -> None:
        """Says that output was taken."""
        self._soon(lambda: None if taken.done() else taken.set_result(None))

    def cancel(self) -> None:
        """Cancels the coroutine."""
        self._cancelled = True
        self._soon(lambda: self._task.cancel() if self._task is not None else None)

    def _soon(self, what: Callable[[], Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            pass  # the loop has ended


def drive(
    make: Callable[[Callable[[Item], Awaitable[None]]], Coroutine[Any, Any, T]],
    on_output: Optional[Callable[[Item], None]],
) -> T:
    """Runs a coroutine to its end while this thread waits, and calls `on_output` here. `make` gets what hands output
    over, or what else is told of.

    Raises:
        What the coroutine or `on_output` raises. Whatever is raised in this thread cancels the coroutine first.
    """
    thread = _Thread(make)
    thread.start()
    try:
        while True:
            output, taken = thread.events.get()
            if output is None:
                break
            if on_output is not None:
                on_output(output)
            thread.confirm(taken)
        thread.join()
    except BaseException:
        thread.cancel()
        thread.join(_STOP)
        raise
    if thread.error is not None:
        # Without the way back to this thread, which would keep all of it alive.
        error, thread.error = thread.error, None
        raise error
    result: T = thread.result
    return result
