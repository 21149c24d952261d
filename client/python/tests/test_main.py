"""`python -m rcmd`, as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import unittest
from typing import Any, Dict, List

from tests.world import DEADLINE, WorldCase


class Program(WorldCase):
    def words(self, *words: str) -> List[str]:
        return [sys.executable, "-m", "rcmd", "--dir", str(self.world.dir), *words]

    def typed(self, *words: str, input: bytes = b"", **more: Any) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(self.words(*words), input=input, capture_output=True, timeout=DEADLINE, **more)

    def test_output_is_untouched_and_the_status_is_the_command_s(self) -> None:
        done = self.typed(self.world.host, "printf 'a\\r\\n\\377'; printf e >&2; exit 7")
        self.assertEqual((done.stdout, done.stderr, done.returncode), (b"a\r\n\xff", b"e", 7))

    def test_several_words_are_a_program_and_its_arguments(self) -> None:
        done = self.typed(self.world.host, "printf", "[%s]", "-n", "a b", "", "--", os.fsdecode(b"\xff"))
        self.assertEqual(done.stdout, b"[-n][a b][][--][\xff]")
        self.assertEqual(self.typed("--exec", self.world.host, "echo a").returncode, 127)
        self.assertEqual(self.typed("--shell", self.world.host, "echo", "a").returncode, 125)

    def test_statuses_follow_the_table(self) -> None:
        for words, status in [
            ([self.world.host, "kill -TERM $$"], 143),
            ([self.world.host, "--exec-is-no-option-here", "x"], 127),
            (["--timeout", "5s", self.world.host, "sleep 1000"], 124),
            (["127.0.0.1:1", "true"], 125),
            (["a b", "true"], 125),
            (["--no-such-option", "h", "true"], 125),
            (["--timeout", "x", "h", "true"], 125),
            ([self.world.host], 125),
            ([self.world.host, "/", "x"], 126),
        ]:
            with self.subTest(words):
                done = self.typed(*words)
                self.assertEqual((done.returncode, done.stdout), (status, b""))
                if status != 143:
                    self.assertTrue(done.stderr.startswith(b"rcmd: "), done.stderr)

    def test_input_goes_through_and_its_end_arrives(self) -> None:
        data = os.urandom(3_000_001)
        self.assertEqual(self.typed(self.world.host, "cat", input=data).stdout, data)
        self.assertEqual(self.typed("-n", self.world.host, "cat", input=data).stdout, b"")

    def test_it_ends_with_the_command_though_its_input_is_open(self) -> None:
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        child = subprocess.Popen(self.words(self.world.host, "echo a"), stdin=reading, stdout=subprocess.PIPE)
        os.close(reading)
        self.assertEqual(child.communicate(timeout=DEADLINE)[0], b"a\n")
        self.assertEqual(child.returncode, 0)

    def test_output_comes_as_it_is_produced(self) -> None:
        line = "echo a; read x; echo $x"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(self.words(self.world.host, line), **pipes) as child:
            assert child.stdin is not None and child.stdout is not None
            self.assertEqual(child.stdout.readline(), b"a\n")
            child.stdin.write(b"b\n")
            child.stdin.flush()
            self.assertEqual(child.stdout.readline(), b"b\n")

    def test_a_reader_that_goes_away_ends_it_quietly(self) -> None:
        reading, writing = os.pipe()
        child = subprocess.Popen(
            self.words("-n", self.world.host, "yes"), stdout=writing, stderr=subprocess.PIPE, bufsize=0
        )
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        self.assertEqual(child.communicate(timeout=DEADLINE)[1], b"")
        self.assertEqual(child.returncode, 141)

    def test_signals_end_the_command_there(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number), subprocess.Popen(
                self.words("-n", self.world.host, "echo $$; exec sleep 1000"), stdout=subprocess.PIPE
            ) as child:
                assert child.stdout is not None
                pid = int(child.stdout.readline())
                child.send_signal(number)
                self.assertEqual(child.wait(DEADLINE), 128 + number)
                self.await_gone(pid)

    def test_options_do_what_they_say(self) -> None:
        words = ["-l", _user(), "--cwd", "/usr", "--env", "A=1", "--env", "B=x=y", self.world.host]
        done = self.typed(*words, "pwd; echo $A $B; id -un")
        self.assertEqual(done.stdout.decode(), f"/usr\n1 x=y\n{_user()}\n")
        self.assertEqual(self.typed("--version").returncode, 0)
        self.assertIn(b"usage:", self.typed("--help").stdout)

    def test_events_are_those_of_the_client(self) -> None:
        done = self.typed("--json", self.world.host, "printf 'a\\303'; sleep 0.2; printf '\\251'; printf '\\377' >&2; exit 3")
        events: List[Dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(done.returncode, 3)
        self.assertEqual((events[0]["event"], events[0]["host"]), ("start", self.world.host))
        self.assertEqual(len({event["job"] for event in events}), 1)
        stdout = [event for event in events if event["event"] == "stdout"]
        # A character that was cut between two pieces is text all the same.
        self.assertEqual("".join(event["data"] for event in stdout), "aé")
        self.assertEqual({event["encoding"] for event in stdout}, {"utf-8"})
        self.assertEqual(stdout[0]["offset"], 0)
        stderr = [event for event in events if event["event"] == "stderr"]
        self.assertEqual([(event["data"], event["encoding"]) for event in stderr], [("/w==", "base64")])
        result = events[-1]["result"]
        self.assertEqual((events[-1]["event"], result["outcome"], result["code"]), ("end", "exited", 3))
        self.assertEqual((result["stdout_bytes"], result["stderr_bytes"], result["error"]), (3, 1, None))

    def test_the_end_of_what_never_started_is_an_event_too(self) -> None:
        done = self.typed("--json", "127.0.0.1:1", "true")
        (event,) = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual((event["event"], event["result"]["error"]["kind"]), ("end", "unreachable"))


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


if __name__ == "__main__":
    unittest.main()
