"""Time that is over, and calls that nobody wants any more."""

from __future__ import annotations

import asyncio
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import rcmd
from tests.world import DEADLINE, WorldCase, await_true


class Timeouts(WorldCase):
    def test_after_the_start_what_came_is_on_the_exception_and_the_command_is_dead(self) -> None:
        began = time.monotonic()
        with self.assertRaises(rcmd.TimedOut) as raised:
            self.world.run(["sh", "-c", "echo $$; echo b >&2; trap '' TERM INT; sleep 60"], timeout=1)
        self.assertLess(time.monotonic() - began, 4)
        error = raised.exception
        self.assertEqual((error.stderr, error.returncode), (b"b\n", 124))
        assert error.result is not None
        self.assertEqual((error.result.outcome, error.result.signal), ("timed_out", "SIGKILL"))
        self.assertIsNone(error.kind)
        self.await_gone(int(error.stdout))

    def test_before_the_connection_nothing_was_started(self) -> None:
        # A socket whose queue is full answers as a host that is off: not at all.
        with _Full() as listener:
            began = time.monotonic()
            with self.assertRaises(rcmd.NotStarted) as raised:
                self.world.run(["true"], host=f"127.0.0.1:{listener.port}", timeout=0.5)
            self.assertLess(time.monotonic() - began, 4)
        self.assertEqual((raised.exception.kind, raised.exception.returncode), ("unreachable", 125))

    def test_a_call_that_was_in_time_does_not_wait_for_its_time(self) -> None:
        began = time.monotonic()
        self.assertEqual(self.world.run(["true"], timeout=3600).returncode, 0)
        self.assertLess(time.monotonic() - began, 60)

    def test_no_time_at_all_starts_nothing(self) -> None:
        with self.assertRaises(rcmd.NotStarted):
            self.world.run(["true"], timeout=0)


class Queued(WorldCase):
    config = '[limits]\nrunning = 1\nqueue_wait = "1h"\n'

    def test_in_the_queue_nothing_was_started_and_nothing_is_later(self) -> None:
        begun, path = self.file("begun"), self.file()
        line = f"echo a > {begun}; until [ -e {path} ]; do sleep 0.01; done"
        thread = threading.Thread(target=self.world.run, args=(line,), kwargs={"shell": True})
        thread.start()
        try:
            self.await_file(begun)
            ran = self.file()
            with self.assertRaises(rcmd.NotStarted) as raised:
                self.world.run(["touch", str(ran)], timeout=0.5)
            self.assertEqual(raised.exception.kind, "busy")
        finally:
            path.touch()
            thread.join(DEADLINE)
        self.assertEqual(self.world.run(["true"]).returncode, 0)
        self.assertFalse(ran.exists())


class Cancellation(WorldCase):
    # Commands that are killed are so because the host was told, and not because their client went away.
    config = 'grace = "1h"\n'

    def test_a_task_that_is_cancelled_has_its_command_killed(self) -> None:
        path = self.file()

        async def run() -> None:
            argv = ["sh", "-c", f"trap '' TERM; echo $$ > {path}; sleep 1000"]
            task = asyncio.ensure_future(rcmd.aio.run(self.world.host, argv, dir=self.world.dir))
            while not (path.exists() and path.read_text()):
                self.assertFalse(task.done())
                await asyncio.sleep(0.01)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        asyncio.run(run())
        self.await_gone(int(path.read_text()))

    def test_a_task_that_is_cancelled_at_any_moment_leaves_nothing_behind(self) -> None:
        async def run() -> None:
            for turn in range(40):
                call = rcmd.aio.run(self.world.host, ["sleep", "1000"], dir=self.world.dir)
                task = asyncio.ensure_future(call)
                await asyncio.sleep(turn * 0.001)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
                self.assertEqual(left, [])

        asyncio.run(run())
        await_true(lambda: not _children(self.world), "no command of them is left")

    def test_run_many_that_is_cancelled_has_all_its_commands_killed(self) -> None:
        self.world.hosts("".join(self.world.entry(f"c{n}") for n in range(5)))
        folder = self.file("x").parent

        async def run() -> None:
            argv = ["sh", "-c", f"echo $$ > {folder}/$$; sleep 1000"]
            hosts = [f"c{n}" for n in range(5)]
            task = asyncio.ensure_future(rcmd.aio.run_many(hosts, argv, dir=self.world.dir))
            while len(list(folder.iterdir())) < 5:
                self.assertFalse(task.done())
                await asyncio.sleep(0.01)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        asyncio.run(run())
        for path in folder.iterdir():
            self.await_gone(int(path.name))

    def test_ctrl_c_kills_the_command_and_is_a_keyboard_interrupt(self) -> None:
        path = self.file()
        script = (
            "import rcmd, sys\n"
            "try:\n"
            "    rcmd.run(sys.argv[1], ['sh', '-c', 'echo $$ > ' + sys.argv[2] + '; sleep 1000'], dir=sys.argv[3])\n"
            "except KeyboardInterrupt:\n"
            "    sys.exit(42)\n"
        )
        words = [sys.executable, "-c", script, self.world.host, str(path), str(self.world.dir)]
        child = subprocess.Popen(words)
        pid = int(self.await_file(path))
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(DEADLINE), 42)
        self.await_gone(pid)


def _children(world: object) -> bool:
    """Returns whether a `sleep 1000` of these tests still runs below the server."""
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if b"RCMD_JOB=" in path.read_bytes() and _server_of(path) == getattr(world, "_server").pid:
                return True
        except OSError:
            continue
    return False


def _server_of(path: pathlib.Path) -> int:
    fields = (path.parent / "stat").read_text().rpartition(")")[2].split()
    return -1 if fields[0] == "Z" else int(fields[1])


class _Full:
    """A socket that listens, and whose queue is full."""

    def __enter__(self) -> "_Full":
        return self

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self._clients = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", self.port))
            self._clients.append(client)

    def __exit__(self, *_: object) -> None:
        for sock in [self._listener, *self._clients]:
            sock.close()


if __name__ == "__main__":
    unittest.main()
