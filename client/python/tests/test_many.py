"""Many hosts, many threads, other loops."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
import time
import unittest
from typing import Any, List

import rcmd
from tests.world import WorldCase


class Hosts(WorldCase):
    def setUp(self) -> None:
        entries = [self.world.entry(f"a{n}") for n in range(1, 10)]
        self.world.hosts("".join(entries) + self.world.entry("dead", 1))

    def run_many(self, hosts: Any, argv: Any, **more: Any) -> List[rcmd.Result]:
        return rcmd.run_many(hosts, argv, dir=self.world.dir, **more)

    def test_there_is_a_result_for_each_place_in_order_and_a_host_runs_once(self) -> None:
        path = self.file()
        hosts = ["a1", "a2", "a1"]
        results = self.run_many(hosts, ["sh", "-c", f"echo x >> {path}; echo $$"])
        self.assertEqual([result.host for result in results], hosts)
        self.assertEqual(path.read_text(), "x\n" * 2)
        self.assertIs(results[0], results[2])
        self.assertNotEqual(results[0].stdout, results[1].stdout)

    def test_a_host_is_its_name(self) -> None:
        again = f"a1:{self.world.port}"
        results = self.run_many(["a1", again, f"localhost:{self.world.port}"], ["sh", "-c", "echo $$"])
        self.assertEqual(len({result.stdout for result in results}), 3)

    def test_a_str_is_no_list(self) -> None:
        for hosts in ("a1", b"a1"):
            with self.assertRaises(TypeError):
                self.run_many(hosts, ["true"])
        with self.assertRaises(TypeError):
            self.run_many(["a1", 2], ["true"])
        with self.assertRaises(TypeError):
            self.run_many(["a1"], "true")

    def test_no_hosts_are_no_results(self) -> None:
        self.assertEqual(self.run_many([], ["true"]), [])

    def test_a_host_that_fails_raises_nothing_and_has_its_error(self) -> None:
        line = "if [ $N = 7 ]; then exit 7; fi"
        good, dead = self.run_many(["a1", "dead"], line, shell=True, env={"N": "7"})
        self.assertEqual((good.returncode, good.error, dead.returncode), (7, None, 125))
        self.assertIsInstance(dead.error, rcmd.NotStarted)
        assert dead.error is not None
        self.assertEqual((dead.error.kind, dead.error.host, dead.retry_safe), ("unreachable", "dead", True))
        with self.assertRaises(rcmd.NotStarted):
            dead.check_returncode()
        failed, dead = self.run_many(["a1", "dead"], ["false"], check=True)
        self.assertIsInstance(failed.error, rcmd.CommandFailed)
        self.assertIsInstance(dead.error, rcmd.NotStarted)

    def test_usage_is_raised_before_anything_runs(self) -> None:
        path = self.file()
        for hosts, more in [
            (["a1", "a b"], {}),
            (["a1", "root@a2"], {}),
            (["a1", "a[1-3]"], {}),
            (["a1", "@web"], {}),
            (["a1", "-x"], {}),
            (["a1", ""], {}),
            (["a1"], {"fanout": 0}),
            (["a1"], {"dir": "/no/such/folder"}),
        ]:
            with self.subTest(hosts=hosts, more=more), self.assertRaises(rcmd.NotStarted):
                rcmd.run_many(hosts, ["touch", str(path)], **{"dir": self.world.dir, **more})
        self.assertFalse(path.exists())

    def test_no_more_run_at_once_than_asked_for(self) -> None:
        folder = self.file().parent
        line = f"touch {folder}/$$; ls {folder} | wc -l; sleep 0.05; rm {folder}/$$"
        hosts = [f"a{n}" for n in range(1, 10)]
        at_once = [int(result.stdout) for result in self.run_many(hosts, line, shell=True, fanout=2)]
        self.assertLessEqual(max(at_once), 2)
        self.assertEqual(len(at_once), 9)

    def test_the_time_is_that_of_the_whole_call(self) -> None:
        began = time.monotonic()
        hosts = ["a1", "dead", "a2", "a3"]
        results = self.run_many(hosts, ["sh", "-c", "echo a; sleep 1000"], fanout=2, timeout=1)
        self.assertLess(time.monotonic() - began, 4)
        outcomes = [result.outcome for result in results]
        self.assertEqual(outcomes, ["timed_out", "not_started", "timed_out", "not_started"])
        self.assertEqual((results[0].stdout, results[2].stdout), (b"a\n", b"a\n"))
        assert results[3].error is not None
        self.assertEqual((results[3].error.kind, results[3].retry_safe), ("held_back", True))

    def test_a_key_is_one_for_each_host(self) -> None:
        path = self.file()
        for _ in range(2):
            results = self.run_many(["a1", "a2"], ["sh", "-c", f"echo x >> {path}"], key="k")
            self.assertEqual([result.returncode for result in results], [0, 0])
        self.assertEqual(path.read_text(), "x\n" * 2)

    def test_a_user_of_hosts_toml_is_meant(self) -> None:
        self.world.hosts(self.world.entry("a1", user="no-such-user") + self.world.entry("a2"))
        first, second = self.run_many(["a1", "a2"], ["true"])
        assert first.error is not None
        self.assertEqual((first.error.kind, second.returncode), ("no_such_user", 0))

    def test_200_at_once_under_a_limit_of_1024_descriptors(self) -> None:
        self.world.hosts("".join(self.world.entry(f"h{n}") for n in range(200)))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        before = len(os.listdir("/proc/self/fd"))
        folder = self.file().parent
        ran, gate = folder / "ran", folder / "gate"
        ran.mkdir()
        os.mkfifo(gate)

        # Each goes on only when all 200 run: it takes one line from a pipe that has none before.
        def open_gate() -> None:
            with open(gate, "w") as lines:
                while len(os.listdir(ran)) < 200:
                    time.sleep(0.05)
                lines.write("\n" * 200)
                lines.flush()
                self.run_is_over.wait()

        self.run_is_over = threading.Event()
        keeper = threading.Thread(target=open_gate, daemon=True)
        keeper.start()
        line = f"touch {ran}/$$; read line < {gate}; echo $$"
        results = self.run_many([f"h{n}" for n in range(200)], line, shell=True, fanout=200, timeout=240)
        self.run_is_over.set()
        keeper.join()
        self.assertEqual([result.error for result in results if result.error], [])
        self.assertEqual(len({result.stdout for result in results}), 200)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_a_fanout_is_cut_to_what_the_descriptors_bear(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.world.hosts("".join(self.world.entry(f"h{n}") for n in range(60)))
        results = self.run_many([f"h{n}" for n in range(60)], ["true"], fanout=1000)
        self.assertEqual([result.error for result in results if result.error], [])


class Loops(WorldCase):
    def test_many_threads_run_commands_at_once(self) -> None:
        found: List[bytes] = []

        def run(number: int) -> None:
            for turn in range(3):
                found.append(self.world.run(["echo", f"{number}.{turn}"]).stdout)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(found), sorted(f"{n}.{t}\n".encode() for n in range(8) for t in range(3)))

    def test_a_thread_whose_own_loop_runs_may_call_too(self) -> None:
        async def run() -> bytes:
            other = asyncio.get_running_loop().run_in_executor(None, self.world.run, ["echo", "b"])
            here = self.world.run(["echo", "a"]).stdout
            return here + (await other).stdout

        self.assertEqual(asyncio.run(run()), b"a\nb\n")

    def test_a_call_leaves_no_thread_and_no_descriptor(self) -> None:
        self.world.run(["true"])
        threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            self.world.run(["true"])
            with self.assertRaises(rcmd.NotStarted):
                self.world.run(["true"], host="127.0.0.1:1")
        self.assertEqual((threading.active_count(), len(os.listdir("/proc/self/fd"))), (threads, descriptors))

    def test_coroutines_take_output_too(self) -> None:
        async def run() -> List[bytes]:
            pieces: List[bytes] = []

            async def take(output: rcmd.Output) -> None:
                await asyncio.sleep(0)
                pieces.append(output.data)

            call = rcmd.aio.run(self.world.host, ["echo", "a"], dir=self.world.dir, on_output=take)
            self.assertEqual((await call).stdout, b"")
            return pieces

        self.assertEqual(asyncio.run(run()), [b"a\n"])


if __name__ == "__main__":
    unittest.main()
