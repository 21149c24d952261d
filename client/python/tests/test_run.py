"""Commands and how they end, on a real server."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import threading
import unittest
from typing import List

import rcmd
from tests.world import WorldCase


class Outcomes(WorldCase):
    def test_output_errors_and_status_come_apart(self) -> None:
        done = self.world.run(["sh", "-c", "printf out; printf err >&2; exit 7"])
        self.assertEqual((done.stdout, done.stderr, done.returncode), (b"out", b"err", 7))
        self.assertEqual((done.outcome, done.code, done.signal, done.error), ("exited", 7, None, None))
        self.assertEqual(done.args, ["sh", "-c", "printf out; printf err >&2; exit 7"])
        self.assertEqual(done.host, self.world.host)
        self.assertEqual(done.stdout_digest, "sha256:" + hashlib.sha256(b"out").hexdigest())
        self.assertFalse(done.truncated or done.output_open or done.retry_safe)
        assert done.started_at is not None and done.ended_at is not None and done.duration is not None
        self.assertLessEqual(done.started_at, done.ended_at)

    def test_every_status_from_0_to_255_arrives(self) -> None:
        async def all_of_them() -> List[int]:
            turns = asyncio.Semaphore(16)

            async def one(status: int) -> int:
                async with turns:
                    argv = ["sh", "-c", f"exit {status}"]
                    return (await rcmd.aio.run(self.world.host, argv, dir=self.world.dir)).returncode

            return await asyncio.gather(*map(one, range(256)))

        self.assertEqual(asyncio.run(all_of_them()), list(range(256)))

    def test_a_signal_is_named_and_its_status_is_128_and_its_number(self) -> None:
        for name, number in [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("HUP", 1)]:
            done = self.world.run(f"kill -{name} $$", shell=True)
            found = (done.outcome, done.signal, done.returncode, done.code)
            self.assertEqual(found, ("signaled", f"SIG{name}", 128 + number, None))

    def test_a_program_that_is_not_there_or_is_none_never_started(self) -> None:
        for argv, kind, status in [
            (["no-such-program"], "not_found", 127),
            (["/"], "not_executable", 126),
            (["x" * 200_000], "too_big", None),
            (["x"] * 5000, "too_big", None),
        ]:
            with self.assertRaises(rcmd.NotStarted) as raised:
                self.world.run(argv)
            self.assertEqual((raised.exception.kind, raised.exception.returncode), (kind, status))
            self.assertTrue(raised.exception.hint)

    def test_check_raises_what_failed_with_its_output(self) -> None:
        with self.assertRaises(rcmd.CommandFailed) as raised:
            self.world.run(["sh", "-c", "echo why >&2; exit 3"], check=True)
        error = raised.exception
        self.assertEqual((error.returncode, error.stderr, error.host), (3, b"why\n", self.world.host))
        self.assertIn("status 3", str(error))
        with self.assertRaises(rcmd.CommandFailed) as raised:
            self.world.run(["sh", "-c", "kill -9 $$"], check=True)
        self.assertIn("SIGKILL", str(raised.exception))
        self.assertEqual(self.world.run(["true"], check=True).returncode, 0)
        with self.assertRaises(rcmd.CommandFailed):
            self.world.run(["false"]).check_returncode()

    def test_results_and_errors_can_be_pickled(self) -> None:
        with self.assertRaises(rcmd.CommandFailed) as raised:
            self.world.run(["sh", "-c", "echo out; exit 3"], check=True)
        again = pickle.loads(pickle.dumps(raised.exception))
        self.assertEqual((again.returncode, again.stdout, str(again)), (3, b"out\n", str(raised.exception)))

    def test_arguments_arrive_exactly(self) -> None:
        words = ["printf", "[%s]", "a b", "", "$HOME", "*", "é\n", b"\xff\xfe", os.fsdecode(b"\x80")]
        done = self.world.run(words)
        self.assertEqual(done.stdout, "[a b][][$HOME][*][é\n]".encode() + b"[\xff\xfe][\x80]")

    def test_a_line_is_for_the_shell_and_a_list_never_is(self) -> None:
        self.assertEqual(self.world.run("echo a | tr a b", shell=True).stdout, b"b\n")
        for argv, shell in [("true", False), (b"true", False), (["true"], True), ([1], False)]:
            with self.assertRaises(TypeError):
                self.world.run(argv, shell=shell)

    def test_folder_environment_and_user_are_as_asked(self) -> None:
        done = self.world.run("pwd; echo $X; id -un", shell=True, cwd="/usr", env={"X": "a=b c"}, user=_user())
        self.assertEqual(done.stdout.decode().split("\n")[:3], ["/usr", "a=b c", _user()])
        for more, kind in [
            ({"cwd": "/no/such"}, "no_such_dir"),
            ({"user": "no-such-user"}, "no_such_user"),
            ({"env": {"A=B": "c"}}, "usage"),
            ({"env": {"": "c"}}, "usage"),
            ({"user": ""}, "usage"),
            ({"key": ""}, "usage"),
            ({"timeout": -1}, "usage"),
        ]:
            with self.assertRaises(rcmd.NotStarted) as raised:
                self.world.run(["true"], **more)
            self.assertEqual(raised.exception.kind, kind)

    def test_nothing_with_a_nul_is_sent(self) -> None:
        for argv in (["true", "a\0b"], [b"\0"], [], [""]):
            with self.assertRaises(rcmd.NotStarted) as raised:
                self.world.run(argv)
            self.assertEqual(raised.exception.kind, "usage")

    def test_what_no_text_is_comes_as_it_was(self) -> None:
        data = bytes(range(256)) * 40 + b"\r\n\x1b[2J\xff"
        path = self.file()
        path.write_bytes(data)
        self.assertEqual(self.world.run(["cat", str(path)]).stdout, data)

    def test_much_output_on_both_streams_is_whole(self) -> None:
        line = "head -c 5000001 /dev/zero & head -c 3000003 /dev/zero >&2; wait"
        done = self.world.run(line, shell=True)
        self.assertEqual(done.stdout, bytes(5_000_001))
        self.assertEqual(done.stderr, bytes(3_000_003))

    def test_input_goes_through_and_back(self) -> None:
        data = os.urandom(5_000_001)
        self.assertEqual(self.world.run(["cat"], input=data).stdout, data)
        self.assertEqual(self.world.run(["cat"], input=bytearray(b"x")).stdout, b"x")
        self.assertEqual(self.world.run(["cat"], input=b"").stdout, b"")
        self.assertEqual(self.world.run(["cat"]).stdout, b"")
        with self.assertRaises(TypeError):
            self.world.run(["cat"], input="text")

    def test_a_command_may_leave_its_input_unread(self) -> None:
        self.assertEqual(self.world.run(["true"], input=bytes(8_000_000)).returncode, 0)
        done = self.world.run("exec 0<&-; echo a", shell=True, input=bytes(8_000_000))
        self.assertEqual(done.stdout, b"a\n")

    def test_a_key_starts_once_and_gives_the_same_end_again(self) -> None:
        path = self.file()
        argv = ["sh", "-c", f"echo x >> {path}; exit 5"]
        first = self.world.run(argv, key="deploy 7")
        again = self.world.run(argv, key="deploy 7")
        self.assertEqual((first.returncode, again.returncode), (5, 5))
        self.assertEqual(path.read_text(), "x\n")
        self.assertTrue(again.truncated or again.stdout == first.stdout)
        with self.assertRaises(rcmd.NotStarted) as raised:
            self.world.run(["true"], key="deploy 7")
        self.assertEqual(raised.exception.kind, "key_conflict")

    def test_output_is_handed_on_as_it_comes_and_not_kept(self) -> None:
        path = self.file()
        pieces: List[rcmd.Output] = []

        def take(output: rcmd.Output) -> None:
            self.assertIs(threading.current_thread(), here)
            pieces.append(output)
            # The command goes on only when its first output has arrived here.
            path.touch()

        here = threading.current_thread()
        line = f"echo a; until [ -e {path} ]; do sleep 0.01; done; echo b >&2"
        done = self.world.run(line, shell=True, on_output=take)
        self.assertEqual((done.stdout, done.stderr, done.stdout_bytes), (b"", b"", 2))
        self.assertEqual([(p.stream, p.data) for p in pieces], [("stdout", b"a\n"), ("stderr", b"b\n")])
        self.assertTrue(all(piece.time is not None for piece in pieces))

    def test_what_takes_output_slowly_gets_all_of_it(self) -> None:
        digest = hashlib.sha256()
        done = self.world.run(["head", "-c", "9000000", "/dev/urandom"], on_output=lambda o: digest.update(o.data))
        self.assertEqual(done.stdout_digest, "sha256:" + digest.hexdigest())

    def test_what_fails_while_it_takes_output_ends_the_command(self) -> None:
        pid: List[int] = []

        def take(output: rcmd.Output) -> None:
            pid.append(int(output.data))
            raise LookupError("full")

        with self.assertRaises(LookupError):
            self.world.run(["sh", "-c", "echo $$; exec sleep 1000"], on_output=take)
        self.await_gone(pid[0])

    def test_more_output_than_is_to_be_held_ends_the_command(self) -> None:
        with self.assertRaises(rcmd.Unknown) as raised:
            self.world.run(["yes"], max_output=1_000_000)
        self.assertEqual(raised.exception.kind, "local_io")
        self.assertLessEqual(len(raised.exception.stdout), 1_000_000)

    def test_a_grandchild_that_holds_the_output_holds_nobody_up(self) -> None:
        done = self.world.run("sleep 1000 & echo a", shell=True)
        self.assertEqual((done.stdout, done.returncode, done.output_open), (b"a\n", 0, True))


class Denied(WorldCase):
    def test_what_policy_denies_never_started(self) -> None:
        (self.world.dir / "policy.cedar").write_text('forbid (principal, action, resource);\n')
        self.world.stop()
        self.world.start()
        with self.assertRaises(rcmd.NotStarted) as raised:
            self.world.run(["true"])
        self.assertEqual((raised.exception.kind, raised.exception.returncode), ("denied", 125))


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


if __name__ == "__main__":
    unittest.main()
