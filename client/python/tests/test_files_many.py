"""Files to many hosts and from them; copies that are cut, ended, or not wanted any more."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from typing import List

import rcmd
from tests.world import DEADLINE, FilesCase, await_true, clients


class Many(FilesCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.hosts("".join(self.world.entry(f"a{n}") for n in range(1, 10)) + self.world.entry("dead", 1))

    def test_there_is_a_result_for_each_place_in_order_and_nothing_is_raised(self) -> None:
        (self.here / "f").write_text("x")
        hosts = ["a1", "dead", "a2", "a1"]
        done = self.put(self.here / "f", f"{self.there}/", host=hosts)
        self.assertEqual([transfer.host for transfer in done], hosts)
        self.assertEqual([transfer.outcome for transfer in done], ["done", "not_started", "done", "done"])
        self.assertIs(done[0], done[3])
        self.assertIsInstance(done[1].error, rcmd.NotStarted)
        self.assertEqual((done[1].error.kind, done[1].error.host), ("unreachable", "dead"))
        with self.assertRaises(rcmd.NotStarted):
            done[1].check_returncode()
        done[0].check_returncode()

    def test_what_is_fetched_goes_to_a_folder_for_each_host(self) -> None:
        (self.there / "log").write_text("x")
        here = self.here / "logs"
        with_port = f"localhost:{self.world.port}"
        self.get(self.there / "log", here, host=("a1", with_port, "dead"))
        self.assertEqual(self.names(here), ["a1", "a1/log", with_port, f"{with_port}/log"])

    def test_one_host_of_a_list_is_a_list(self) -> None:
        (self.there / "log").write_text("x")
        (done,) = self.get(self.there / "log", self.here, host=["a1"])
        self.assertEqual((done.outcome, self.names(self.here)), ("done", ["a1", "a1/log"]))
        self.assertEqual(self.get(self.there / "log", self.here, host="a1").outcome, "done")
        self.assertEqual(self.names(self.here), ["a1", "a1/log", "log"])

    def test_files_that_fail_are_those_of_their_hosts(self) -> None:
        self.world.hosts(self.world.entry("a1", user="no-such-user") + self.world.entry("a2"))
        (self.here / "f").write_text("x")
        os.mkfifo(self.here / "p")
        files: List[rcmd.File] = []
        sources = [self.here / "f", self.here / "p"]
        first, second = self.put(sources, self.there, host=["a1", "a2"], on_file=files.append)
        assert first.error is not None
        self.assertEqual((first.error.kind, second.outcome), ("no_such_user", "failed"))
        self.assertIsInstance(second.error, rcmd.TransferFailed)
        self.assertEqual([file.path for file in second.failures], ["p"])
        self.assertEqual([file.path for file in files if file.host == "a2" and file.action == "created"], ["f"])
        self.assertNotIn(("a1", "created"), {(file.host, file.action) for file in files})

    def test_a_call_that_makes_no_sense_copies_nothing_anywhere(self) -> None:
        (self.here / "f").write_text("x")
        for hosts in (["a1", "a b"], ["a1", "@web"], ["a1", ""]):
            with self.assertRaises(rcmd.NotStarted):
                self.put(self.here / "f", self.there, host=hosts)
        self.assertEqual(self.names(self.there), [])
        self.assertEqual(self.put(self.here / "f", self.there, host=[]), [])

    def test_many_threads_and_tasks_copy_at_once(self) -> None:
        for number in range(8):
            (self.here / str(number)).write_text(str(number))

        def put(number: int) -> None:
            self.put(self.here / str(number), self.there)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()

        async def run() -> None:
            copies = [rcmd.aio.put("a1", self.here / str(number), self.there, **self.more) for number in range(4, 8)]
            await asyncio.gather(*copies)

        asyncio.run(run())
        for thread in threads:
            thread.join()
        self.assertEqual(self.names(self.there), [str(number) for number in range(8)])


class Ends(FilesCase):
    def big(self) -> str:
        """Returns a file that takes long to be sent."""
        path = self.here / "big"
        with open(path, "wb") as file:
            file.truncate(1 << 40)
        return str(path)

    def test_a_copy_whose_time_is_over_is_ended_and_goes_on_next_time(self) -> None:
        began = time.monotonic()
        with self.assertRaises(rcmd.TimedOut) as raised:
            # Both ends read all of it to compare.
            self.put(self.big(), self.there / "big", checksum=True, timeout=1)
        self.assertLess(time.monotonic() - began, 10)
        error = raised.exception
        self.assertEqual((error.kind, error.returncode, error.host), (None, 124, self.world.host))
        self.assertIn("within 1 s", str(error))
        self.await_no_client()

    def test_a_host_that_says_nothing_is_not_started(self) -> None:
        (self.here / "f").write_text("x")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host = f"127.0.0.1:{silent.getsockname()[1]}"
            began = time.monotonic()
            with self.assertRaises(rcmd.NotStarted) as raised:
                self.put(self.here / "f", self.there, host=host, timeout=0.5)
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(raised.exception.kind, "unreachable")

    def test_a_link_that_is_cut_is_mended_and_the_file_is_whole(self) -> None:
        data = os.urandom(8_000_003)
        (self.there / "f").write_bytes(data)
        with self.proxy(cuts=(1_000_000, 2_000_001)) as proxy:
            done = self.get(self.there / "f", self.here, host=proxy.host)
            self.assertEqual((done.outcome, proxy.connections), ("done", 3))
        found = (self.here / "f").read_bytes()
        self.assertEqual(hashlib.sha256(found).digest(), hashlib.sha256(data).digest())

    def test_ctrl_c_ends_the_copy_in_order(self) -> None:
        code = (
            "import rcmd, sys\n"
            "try: rcmd.put(*sys.argv[1:4], checksum=True, dir=sys.argv[4], client=sys.argv[5])\n"
            "except KeyboardInterrupt: sys.exit('interrupted')\n"
        )
        words = [self.world.host, self.big(), str(self.there / "big"), str(self.world.dir), self.more["client"]]
        with subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True) as process:
            self.addCleanup(process.kill)
            (client,) = await_true(lambda: clients(self.world.dir), "a client runs")
            # A terminal sends it to the whole group, of which the client is not.
            alone = os.getpgid(client) != os.getpgid(process.pid)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=DEADLINE)
        self.assertTrue(alone)
        self.assertEqual((process.returncode, said), (1, "interrupted\n"))
        self.assertEqual(clients(self.world.dir), [])

    def test_a_task_that_is_cancelled_leaves_no_client(self) -> None:
        source = self.big()

        async def run() -> None:
            copy = rcmd.aio.put(self.world.host, source, self.there / "big", checksum=True, **self.more)
            task = asyncio.ensure_future(copy)
            while not clients(self.world.dir):
                await asyncio.sleep(0.01)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        asyncio.run(run())
        self.assertEqual(clients(self.world.dir), [])


class Lost(FilesCase):
    config = 'grace = "1s"\n'

    def test_a_link_that_stays_away_is_unknown(self) -> None:
        (self.there / "f").write_bytes(os.urandom(8_000_003))
        with self.proxy(cuts=(2_000_000,)) as proxy:

            def refuse() -> None:
                await_true(lambda: proxy.connections, "a connection is made")
                proxy.refusing = True

            keeper = threading.Thread(target=refuse)
            keeper.start()
            with self.assertRaises(rcmd.Unknown) as raised:
                self.get(self.there / "f", self.here, host=proxy.host)
            keeper.join()
        error = raised.exception
        self.assertEqual((error.returncode, error.host), (255, proxy.host))
        self.assertFalse((self.here / "f").exists())
        # The next one goes on from where it stopped.
        self.assertEqual(self.get(self.there / "f", self.here).outcome, "done")


if __name__ == "__main__":
    unittest.main()
