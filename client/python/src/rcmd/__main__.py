"""`python -m rcmd HOST COMMAND...`: a small `rcmd-client`."""

from __future__ import annotations

import asyncio
import getopt
import json
import os
import re
import select
import signal
import sys
import threading
from typing import Any, Coroutine, Dict, List, NoReturn, Optional, Tuple

from . import _version, aio
from . import call as _call
from ._link.channel import Channel
from ._protocol.streams import Sending
from .call import Call
from .errors import Error
from .result import Output, Result, encoded, moment, rfc3339
from .sync import Bridge, drive

USAGE = """\
usage: python -m rcmd [OPTIONS] HOST COMMAND...

One word as COMMAND is a line for the remote user's shell; several are a program and its arguments.

  --dir DIR          the folder of certificates (else $RCMD_DIR, else ~/.config/rcmd)
  -l, --user USER    run as this user on the host
  --cwd FOLDER       run in this folder there
  --env NAME=VALUE   add to the command's environment; repeatable
  --timeout TIME     seconds for all of it, also as 500ms, 2s, 5m, 1h
  --shell, --exec    take COMMAND for a shell line, or for a program, however many words it has
  -n                 give the command no standard input
  --json             print an event a line in place of the output
  --version, --help

The exit status is the command's; 128 + N for signal N, 124 for a time that was over, 125 to 127 when nothing
ran, 255 when nobody knows.
"""

_NEVER, _UNKNOWN, _READER_GONE = 125, 255, 141
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_LONG = ["dir=", "user=", "cwd=", "env=", "timeout=", "shell", "exec", "json", "version", "help"]


class _Signalled(BaseException):
    """Says that a signal asks this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Written(Exception):
    """Says that output could not be written here."""


def _say(message: str) -> None:
    print(f"rcmd: {message}", file=sys.stderr)


def _fail(message: str) -> NoReturn:
    _say(message)
    sys.exit(_NEVER)


class Options:
    """Holds what was typed."""

    def __init__(self, words: List[str]) -> None:
        """Reads the words; options stop at the host. Ends the program when it is told nothing that can be done."""
        try:
            pairs, rest = getopt.getopt(words, "l:nh", _LONG)
        except getopt.GetoptError as error:
            _fail(f"{error}. Try `python -m rcmd --help`.")
        named = {"-l": "--user", "-h": "--help"}
        given: Dict[str, str] = {named.get(name, name): value for name, value in pairs}
        if "--help" in given:
            print(USAGE, end="")
            sys.exit(0)
        if "--version" in given:
            print(f"rcmd-python {_version.VERSION}")
            sys.exit(0)
        if "--shell" in given and "--exec" in given:
            _fail("--shell and --exec exclude each other")
        if len(rest) < 2:
            _fail("a host and a command are needed. Try `python -m rcmd --help`.")
        self.host, self.command = rest[0], rest[1:]
        if "--shell" in given and len(self.command) > 1:
            # ssh would join them with blanks, and a name with a blank in it would become two.
            _fail(f"--shell takes one argument, the line, and there are {len(self.command)}: quote the whole line")
        self.shell = "--shell" in given or ("--exec" not in given and len(self.command) == 1)
        self.json = "--json" in given
        self.stdin = "-n" not in given
        self.dir = given.get("--dir")
        self.user = given.get("--user")
        self.cwd = given.get("--cwd")
        self.timeout = _seconds(given["--timeout"]) if "--timeout" in given else None
        self.env = dict(_setting(value) for name, value in pairs if name == "--env")


def _setting(text: str) -> Tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        _fail(f"--env {text!r}: write NAME=VALUE")
    return name, value


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|)", text)
    if found is None:
        _fail(f"--timeout {text!r}: write a time such as 500ms, 2s, 5m or 1h")
    return float(found[1]) * _UNITS[found[2]]


class Input:
    """Reads standard input in a thread, as fast as the host takes it."""

    def __init__(self) -> None:
        self.sending = Sending(finished=False)
        self._room = asyncio.Event()
        self.sending.on_room = self._room.set
        self._loop = asyncio.get_running_loop()

    def begin(self, channel: Channel) -> None:
        """Begins to read."""
        threading.Thread(target=self._read, args=(channel,), name="rcmd-stdin", daemon=True).start()

    def _read(self, channel: Channel) -> None:
        while True:
            try:
                data = os.read(0, 65_536)
            except OSError:
                data = b""
            adding = self._add(channel, data)
            try:
                taken = asyncio.run_coroutine_threadsafe(adding, self._loop)
                if not taken.result() or not data:
                    return
            except BaseException:
                adding.close()
                return  # the command has ended, and with it the loop

    async def _add(self, channel: Channel, data: bytes) -> bool:
        """Adds bytes when there is room for them. Returns whether more is wanted."""
        while data and not self.sending.closed and self.sending.room() < len(data):
            self._room.clear()
            await self._room.wait()
        self.sending.add(data)
        if not data:
            self.sending.finish()
        channel.send_stdin()
        return not self.sending.closed


class Printer:
    """Prints output: raw, or as events of JSON."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._job: Optional[str] = None
        self._offsets = {"stdout": 0, "stderr": 0}
        self._tails = {"stdout": b"", "stderr": b""}

    def output(self, output: Output) -> None:
        """Prints a piece; one of the stream `start` has the job, and the time of its start."""
        if output.stream == "start":
            self._job = output.data.decode()
            if self._options.json:
                self._event("start", started_at=rfc3339(output.time))
            return
        if not self._options.json:
            return _write(1 if output.stream == "stdout" else 2, output.data)
        data = self._tails[output.stream] + output.data
        # A character that is cut between two pieces does not make text into base64.
        cut = len(data) - _unfinished(data)
        self._tails[output.stream] = data[cut:]
        self._data(output.stream, data[:cut])

    def end(self, result: Result) -> None:
        """Prints how it ended."""
        if self._options.json:
            for stream, tail in self._tails.items():
                self._data(stream, tail)
            self._event("end", result=result.to_dict())

    def _data(self, stream: str, data: bytes) -> None:
        if data:
            offset, self._offsets[stream] = self._offsets[stream], self._offsets[stream] + len(data)
            self._event(stream, offset=offset, **encoded(data))

    def _event(self, event: str, **more: Any) -> None:
        fields = {"event": event, "host": self._options.host, "job": self._job, **more}
        _write(1, json.dumps(fields, separators=(",", ":")).encode("utf-8", "surrogateescape") + b"\n")


def _unfinished(data: bytes) -> int:
    """Returns how many bytes at the end, at most 3, begin a character and do not finish it."""
    for count in range(1, min(3, len(data)) + 1):
        try:
            data[-count:].decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start == 0 and error.reason == "unexpected end of data":
                return count
    return 0


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _Written(f"output can't be written: {error.strerror}") from None


def _run(options: Options) -> Result:
    call = Call(
        options.command[0] if options.shell else [os.fsencode(word) for word in options.command],
        shell=options.shell,
        timeout=options.timeout,
        user=options.user,
        cwd=options.cwd,
        env=options.env,
        dir=options.dir,
    )
    call.stdin = options.stdin
    printer = Printer(options)

    def make(bridge: Bridge) -> Coroutine[Any, Any, Result]:
        return _perform(call, options, bridge)

    result = drive(make, printer.output)
    printer.end(result)
    return result


async def _perform(call: Call, options: Options, bridge: Bridge) -> Result:
    deadline = _call.monotonic_deadline(call)
    folder = call.load()
    source = Input() if options.stdin else None

    tasks = []

    def started(job: str, at: Optional[int]) -> None:
        # All that is printed is printed by the thread that waits, in this order.
        tasks.append(asyncio.ensure_future(bridge(Output("start", job.encode(), moment(at)))))

    def ready(channel: Channel) -> None:
        channel.on_start = started
        if source is not None:
            source.begin(channel)

    return await aio.streamed(
        call,
        folder.target(options.host),
        folder.credentials,
        deadline,
        bridge,
        timestamps=False,
        ready=ready,
        stdin=source.sending if source is not None else None,
    )


def _signalled(number: int, _: object) -> None:
    raise _Signalled(number)


def main(words: List[str]) -> int:
    """Runs what was typed and returns the exit status."""
    options = Options(words)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _signalled)
    try:
        result = _run(options)
    except Error as error:
        _say(str(error))
        return error.returncode or _NEVER
    except BrokenPipeError:
        return _READER_GONE
    except _Written as error:
        _say(str(error))
        return _UNKNOWN
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except _Signalled as signalled:
        return 128 + signalled.number
    if result.error is not None:
        _say(str(result.error))
    return result.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
