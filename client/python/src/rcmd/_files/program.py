"""The program `rcmd-client` as a child: its output taken piece by piece, its end awaited, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
from typing import Any, List, Optional, Union, cast

from .._protocol.outcome import Failure

NAME = "rcmd-client"

# Bytes of standard output that wait here before the program waits too, and of standard error that are kept.
_MOST_WAITING = 256 * 1024
_MOST_SAID = 64 * 1024

# What is sent to end it, and the seconds that each has: in order, killed there, killed here. Its output is read for so
# long too: who inherited it may hold it for ever.
_STOPS = ((signal.SIGTERM, 2.0), (signal.SIGINT, 3.5), (signal.SIGKILL, 0.5))


class NoProgram(Exception):
    """Says why the program can't be run."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def find(chosen: Union[None, str, bytes, "os.PathLike[str]"]) -> bytes:
    """Returns the path of the program: `chosen`, else the one in $PATH.

    Raises:
        NoProgram: It is not there.
    """
    name = NAME if chosen is None else os.fsdecode(chosen)
    # An empty name is a variable that nobody set.
    found = shutil.which(name) if name else None
    if found is None:
        message = f"there is no program `{name}` here, which copies the files"
        raise NoProgram(Failure("usage", message, f"Put {NAME} into a folder of $PATH, or say client=PATH."))
    return os.fsencode(os.path.abspath(found))


class Program(asyncio.SubprocessProtocol):
    """Runs it once."""

    def __init__(self) -> None:
        self._transport: Optional[asyncio.SubprocessTransport] = None
        self._waiting: List[bytes] = []
        self._size = 0
        self._said = bytearray()
        self._drops = False
        self._exited = self._over = False
        self._news = asyncio.Event()
        self._stops = list(_STOPS)
        self._timer: Optional[asyncio.TimerHandle] = None
        self.returncode: Optional[int] = None
        """The exit status, or -N after signal N, once it has ended."""

    @classmethod
    async def start(cls, words: List[bytes]) -> Program:
        """Starts it, in a session of its own: a Ctrl-C at the terminal is for this process, which ends it in order.

        Raises:
            NoProgram: It can't be started.
        """
        environment = {**os.environ, "NO_COLOR": "1"}
        environment.pop("CLICOLOR_FORCE", None)
        spawned = asyncio.get_running_loop().subprocess_exec(
            cls,
            *words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        starting = asyncio.ensure_future(spawned)
        try:
            # Where this is cancelled the loop would kill what it has started; it is ended in order instead.
            _, program = await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                _, program = await starting
                await program.close()
            raise
        except OSError as error:
            if error.errno == errno.E2BIG:
                failure = Failure("too_big", "the paths are longer than a command line may be", "Name fewer of them.")
            else:
                failure = Failure("local_io", f"cannot run {os.fsdecode(words[0])}: {error.strerror}", "")
            raise NoProgram(failure) from None
        return program

    async def take(self) -> List[bytes]:
        """Waits for standard output and returns its next pieces; none when the program has ended."""
        while not self._waiting and not self._over:
            self._news.clear()
            await self._news.wait()
        pieces, self._waiting = self._waiting, []
        self._resume()
        return pieces

    def said(self) -> List[str]:
        """Returns the lines of standard error, without the name of the program before each."""
        lines = bytes(self._said).decode("utf-8", "replace").splitlines()
        return [line[6:] if line.startswith("rcmd: ") else line for line in lines]

    def stop(self) -> None:
        """Ends it, in order as long as it does that in time. What it prints is still to be taken."""
        if self._over or self._transport is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if not self._stops:
            self._transport.close()
            return
        number, patience = self._stops.pop(0)
        if self._runs(self._transport.get_pid()):
            with contextlib.suppress(ProcessLookupError):
                self._transport.send_signal(number)
        self._timer = asyncio.get_running_loop().call_later(patience, self.stop)

    async def close(self) -> None:
        """Ends it if it has not ended, and waits until it is gone."""
        cancelled: Optional[asyncio.CancelledError] = None
        self._drops, self._waiting = True, []
        self._resume()
        if self._exited and self._transport is not None:
            self._transport.close()
        elif self._timer is None:
            self.stop()
        while not self._over:
            self._news.clear()
            try:
                await self._news.wait()
            except asyncio.CancelledError as error:
                # Nobody waits any more for an end in order.
                cancelled = error
                if self._stops:
                    del self._stops[:-1]
                    self.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
        if cancelled is not None:
            raise cancelled

    @staticmethod
    def _runs(pid: int) -> bool:
        """Returns whether it has not ended. Its status is left for the loop, which sending a signal to what has just
        ended would take away."""
        try:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def _resume(self) -> None:
        paused, self._size = self._size > _MOST_WAITING, 0
        if paused and not self._over:
            self._output().resume_reading()

    def _output(self) -> asyncio.ReadTransport:
        assert self._transport is not None
        return cast(asyncio.ReadTransport, self._transport.get_pipe_transport(1))

    # --- what the loop calls ---

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._said += data[: _MOST_SAID - len(self._said)]
            return
        if self._drops:
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._size > _MOST_WAITING:
            self._output().pause_reading()
        self._news.set()

    def process_exited(self) -> None:
        assert self._transport is not None
        self._exited = True
        if self._drops:
            self._transport.close()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        assert self._transport is not None
        self.returncode = self._transport.get_returncode()
        self._over = True
        self._news.set()
