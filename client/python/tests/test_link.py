"""Links that break, on a real server: commands are resumed, run once, and their bytes are whole."""

from __future__ import annotations

import hashlib
import os
import queue
import random
import signal
import threading
import time
import unittest
from typing import Any, List

import rcmd
from tests.world import DEADLINE, World, WorldCase


class Cut(WorldCase):
    config = 'grace = "10s"\n'

    def test_output_over_a_link_that_is_cut_again_and_again_is_whole(self) -> None:
        for how in ("reset", "fin"):
            data = os.urandom(3_000_001)
            path = self.file()
            path.write_bytes(data)
            cuts = (4_000, 300_000, 900_001, 500_000, 20_000)
            with self.subTest(how), self.proxy(cuts=cuts, how=how) as proxy:
                done = self.world.run(["cat", str(path)], host=proxy.host)
                self.assertEqual(proxy.connections, len(cuts) + 1)
                self.assertEqual(done.stdout, data)

    def test_input_over_a_link_that_is_cut_is_whole(self) -> None:
        data = os.urandom(4_000_001)
        with self.proxy() as proxy:
            begun, stop = self.file("begun"), threading.Event()

            def cut() -> None:
                self.await_file(begun)
                while not stop.wait(0.1):
                    proxy.cut()

            cutter = threading.Thread(target=cut)
            cutter.start()
            try:
                # A first cut before the input is taken, and some while it is.
                parts = "head -c 1000000; sleep 0.1; " * 4
                line = f"echo x > {begun}; sleep 0.15; ({parts} cat) | sha256sum"
                done = self.world.run(line, shell=True, input=data, host=proxy.host)
            finally:
                stop.set()
                cutter.join()
            self.assertGreater(proxy.connections, 2)
        self.assertEqual(done.stdout.split()[0].decode(), hashlib.sha256(data).hexdigest())

    def test_a_cut_at_any_byte_never_runs_a_command_twice(self) -> None:
        # From the handshake to the end: each run has its own place, and each command counts itself.
        seed = random.randrange(1 << 30)
        places = random.Random(seed)
        path = self.file()
        for turn in range(int(os.environ.get("RCMD_TEST_CUTS", "40"))):
            cut = places.randrange(1, 4_500)
            with self.subTest(seed=seed, cut=cut), self.proxy(cuts=(cut,)) as proxy:
                argv = ["sh", "-c", f"echo {turn} >> {path}; head -c 2000 /dev/zero"]
                try:
                    done = self.world.run(argv, host=proxy.host)
                    self.assertEqual((done.stdout, done.returncode), (bytes(2000), 0))
                    expected = {1}
                except rcmd.NotStarted as error:
                    # A link that broke in the handshake.
                    self.assertIn(error.kind, ("tls", "unreachable"))
                    expected = {0}
                except rcmd.Unknown as error:
                    # One that broke between the start and the hello, which would have said who has the start.
                    self.assertEqual(error.kind, "lost")
                    expected = {0, 1}
                lines = path.read_text().split() if path.exists() else []
                self.assertIn(lines.count(str(turn)), expected)

    def test_a_silent_link_is_replaced(self) -> None:
        with self.proxy(cuts=(3_000,), how="silence") as proxy:
            done = self.world.run("head -c 100000 /dev/zero", shell=True, host=proxy.host)
            self.assertEqual(len(done.stdout), 100_000)
            self.assertEqual(proxy.connections, 2)

    def test_a_command_that_runs_while_the_link_is_down_is_taken_up(self) -> None:
        begun = self.file("begun")
        with self.proxy() as proxy:
            results: List[rcmd.Result] = []
            line = f"echo a; echo x > {begun}; sleep 1; echo b; exit 3"
            thread = threading.Thread(
                target=lambda: results.append(self.world.run(line, shell=True, host=proxy.host))
            )
            thread.start()
            self.await_file(begun)
            proxy.refusing = True
            proxy.cut()
            time.sleep(0.5)  # the time without a link, which is what is tested
            proxy.refusing = False
            thread.join()
        self.assertEqual((results[0].stdout, results[0].returncode), (b"a\nb\n", 3))

    def test_a_timeout_while_the_link_is_down_is_a_timeout(self) -> None:
        with self.proxy() as proxy:
            run = _Background(self.world, proxy.host, "echo $$; exec sleep 1000", timeout=3)
            pid = run.first_output()
            proxy.refusing = True
            proxy.cut()
            error = run.error()
        self.assertIsInstance(error, rcmd.TimedOut)
        self.assertEqual(error.returncode, 124)
        # Nobody could tell the host; its grace does.
        self.await_gone(int(pid))


class Lost(WorldCase):
    config = 'grace = "1s"\n'

    def test_a_link_that_stays_away_past_the_grace_is_unknown_and_the_command_dead(self) -> None:
        with self.proxy() as proxy:
            run = _Background(self.world, proxy.host, "echo $$; exec sleep 1000")
            pid = run.first_output()
            proxy.refusing = True
            proxy.cut()
            error = run.error()
        self.assertIsInstance(error, rcmd.Unknown)
        self.assertEqual((error.kind, error.returncode), ("lost", 255))
        assert error.result is not None
        self.assertEqual(error.result.stdout_bytes, len(pid))
        self.assertIn("doctor", str(error))
        self.await_gone(int(pid))

    def test_a_server_that_was_killed_and_started_anew_leaves_it_unknown(self) -> None:
        run = _Background(self.world, self.world.host, "echo a; exec sleep 1000")
        run.first_output()
        self.world.stop()
        self.world.start()
        error = run.error()
        self.assertIsInstance(error, rcmd.Unknown)
        self.assertEqual(error.kind, "lost")

    def test_a_server_that_is_told_to_stop_says_so(self) -> None:
        begun = self.file("begun")
        results: List[rcmd.Result] = []
        line = f"echo x > {begun}; exec sleep 1000"
        thread = threading.Thread(target=lambda: results.append(self.world.run(line, shell=True)))
        thread.start()
        self.await_file(begun)
        self.world.send(signal.SIGTERM)
        time.sleep(0.1)  # two signals at once are one
        self.world.stop(signal.SIGTERM)
        thread.join()
        self.world.start()
        assert results[0].error is not None
        self.assertEqual((results[0].outcome, results[0].error.kind), ("signaled", "server_stopped"))


class _Background:
    """A command that runs in a thread."""

    def __init__(self, world: World, host: str, line: str, **more: Any) -> None:
        self._came: "queue.SimpleQueue[bytes]" = queue.SimpleQueue()
        self._ended: "queue.SimpleQueue[Any]" = queue.SimpleQueue()

        def run() -> None:
            try:
                take = lambda output: self._came.put(output.data)  # noqa: E731
                self._ended.put(world.run(line, shell=True, host=host, on_output=take, **more))
            except rcmd.Error as error:
                self._ended.put(error)

        threading.Thread(target=run, daemon=True).start()

    def first_output(self) -> bytes:
        """Waits until output has arrived here."""
        return self._came.get(timeout=DEADLINE)

    def error(self) -> rcmd.Error:
        """Waits for the end, which is an error."""
        error = self._ended.get(timeout=DEADLINE)
        assert isinstance(error, rcmd.Error), error
        return error


if __name__ == "__main__":
    unittest.main()
