"""Servers that break off, are busy, or stand still: nothing runs twice, and nobody is held up."""

from __future__ import annotations

import struct
import time
import unittest
from typing import Optional

import rcmd
from rcmd._protocol.codec import encode
from tests.liar import LiarCase, Peer, digest


class Breaks(LiarCase):
    """Ends of connections. The grace of these servers is 1 s, so that what is not taken up is soon given up."""

    def test_an_end_without_close_notify_is_a_broken_link_and_is_healed(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello()
            if peer.number == 1:
                peer.until("start")
                peer.started()
                peer.on("data", b"ab", stream="stdout", offset=0)
                return peer.cut()
            attach = peer.until("attach")
            self.assertEqual((attach["stdout"], attach["stderr"]), (2, 0))
            where = {"stdin": 0, "stdin_ended": False, "number": 0, "stdout": 2, "stderr": 0}
            peer.on("attached", job="0123456789abcdef", digest="sha256", started_at=1, **where)
            peer.on("data", b"c", stream="stdout", offset=2)
            peer.end(b"abc")

        self.assertEqual(self.run_on(script).stdout, b"abc")
        self.assertEqual(self.liar.connections, 2)

    def test_no_end_of_a_connection_is_the_end_of_a_command(self) -> None:
        for name in ("close", "cut"):
            for before in ("start", "hello", "started", "ends"):

                def script(peer: Peer) -> None:
                    if peer.number > 1:
                        return peer.cut()
                    if before != "start":
                        peer.hello(grace_ms=500)
                    peer.until("start")
                    if before in ("started", "ends"):
                        peer.started()
                        peer.on("data", b"all", stream="stdout", offset=0)
                    if before == "ends":
                        for stream, data in (("stdout", b"all"), ("stderr", b"")):
                            peer.on("end", stream=stream, total=len(data), digest=digest(data))
                    getattr(peer, name)()

                if before == "start":
                    continue  # without a hello the grace is 10 s; the next test has it
                with self.subTest(f"{name} after {before}"):
                    error = self.fails(script, "lost")
                    self.assertEqual((error.returncode, error.result and error.result.outcome), (255, "unknown"))

    def test_a_start_that_may_have_arrived_is_never_sent_again_to_another_server(self) -> None:
        starts = []

        def script(peer: Peer) -> None:
            if peer.number == 1:
                starts.append(peer.until("start"))
                return peer.cut()  # before its hello: nobody knows who it was
            peer.hello(instance="11" * 16)
            peer.until("attach")
            peer.on("refused", reason="unknown_key")
            starts.append(peer.until("start"))

        self.fails(script, "lost", timeout=10)
        self.assertEqual(len(starts), 1)

    def test_the_same_server_that_knows_nothing_of_a_start_gets_it_again(self) -> None:
        keys = []

        def script(peer: Peer) -> None:
            peer.hello()
            if peer.number == 1:
                keys.append(peer.until("start")["key"])
                return peer.cut()
            peer.until("attach")
            peer.on("refused", reason="unknown_key")
            again = peer.until("start")
            keys.append(again["key"])
            self.assertEqual(again["ch"], 2)
            peer.started()
            peer.end(code=4)

        self.assertEqual(self.run_on(script).returncode, 4)
        self.assertEqual(keys[0], keys[1])

    def test_after_started_unknown_key_means_that_nobody_knows(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello()
            if peer.number == 1:
                peer.until("start")
                peer.started()
                return peer.cut()
            peer.until("attach")
            peer.on("refused", reason="unknown_key")

        self.fails(script, "lost")

    def test_refusals_say_what_they_say(self) -> None:
        for reason, kind, error in [
            ("conflict", "key_conflict", rcmd.NotStarted),
            ("gone", "lost", rcmd.Unknown),
            ("superseded", "lost", rcmd.Unknown),
        ]:

            def script(peer: Peer) -> None:
                peer.hello()
                while True:
                    peer.until("start")
                    peer.on("refused", reason=reason, generation=5)

            with self.subTest(reason):
                self.fails(script, kind, error, key="k")

    def test_a_higher_generation_is_gone_above_twice(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello()
            other = peer.until("start")["generation"] + 1_000_000_000
            peer.on("refused", reason="superseded", generation=other)
            again = peer.until("start")
            self.assertGreater(again["generation"], other)
            peer.started()
            peer.end()

        self.assertEqual(self.run_on(script, key="k").returncode, 0)

    def test_a_refused_client_never_started_anything(self) -> None:
        def script(peer: Peer) -> None:
            peer.send("error", kind="denied", message="go away")

        error = self.fails(script, "denied", rcmd.NotStarted)
        self.assertIn("go away", str(error))

    def test_an_error_behind_the_hello_leaves_open_what_ran(self) -> None:
        def script(peer: Peer) -> None:
            peer.begin()
            peer.send("error", kind="protocol", message="you did it wrong")

        self.fails(script, "protocol")


class Busy(LiarCase):
    def busy(self, peer: Peer, after: Optional[int] = 10) -> None:
        peer.on(
            "exit",
            outcome="not_started",
            kind="busy",
            message="full",
            stdout_bytes=0,
            stderr_bytes=0,
            ended_at=1,
            retry_after_ms=after,
        )

    def test_a_busy_host_is_asked_again_under_a_new_key(self) -> None:
        keys = []

        def script(peer: Peer) -> None:
            peer.hello()
            for _ in range(3):
                keys.append(peer.until("start")["key"])
                self.busy(peer)
            peer.until("start")
            peer.started()
            data = b""
            while len(data) < 3:
                data += peer.read()[1]
            self.assertEqual(data, b"abc")
            peer.end()

        self.assertEqual(self.run_on(script, input=b"abc").returncode, 0)
        self.assertEqual(len(set(keys)), 3)

    def test_the_caller_s_own_key_is_kept(self) -> None:
        keys = []

        def script(peer: Peer) -> None:
            peer.hello()
            keys.append(peer.until("start")["key"])
            self.busy(peer)
            keys.append(peer.until("start")["key"])
            peer.started()
            peer.end()

        self.assertEqual(self.run_on(script, key="k").returncode, 0)
        self.assertEqual(keys[0], keys[1])

    def test_a_host_that_does_not_say_when_to_come_again_is_not_asked_again(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello()
            peer.until("start")
            self.busy(peer, None)

        self.assertEqual(self.fails(script, "busy", rcmd.NotStarted).returncode, 125)

    def test_a_host_that_says_to_come_much_later_is_not_waited_for(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello()
            peer.until("start")
            self.busy(peer, 3_600_000)

        began = time.monotonic()
        self.fails(script, "busy", rcmd.NotStarted)
        self.assertLess(time.monotonic() - began, 10)

    def test_a_host_that_says_to_come_again_at_once_is_asked_ever_more_slowly(self) -> None:
        asked = 0

        def script(peer: Peer) -> None:
            nonlocal asked
            peer.hello()
            while True:
                peer.until("start")
                asked += 1
                self.busy(peer, 0)

        self.fails(script, "busy", rcmd.NotStarted, timeout=1)
        # At 0, and then after 50, 100, 200 and 400 ms, each made longer by up to a half.
        self.assertTrue(2 <= asked <= 5, asked)

    def test_a_connection_that_a_busy_host_refuses_is_made_again(self) -> None:
        def script(peer: Peer) -> None:
            if peer.number < 3:
                peer.send("error", kind="busy", message="full", retry_after_ms=10)
                return
            peer.begin()
            peer.end()

        self.assertEqual(self.run_on(script).returncode, 0)
        self.assertEqual(self.liar.connections, 3)

    def test_the_time_of_the_call_goes_before_that_of_a_busy_host(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello()
            while True:
                peer.until("start")
                self.busy(peer, 100)

        began = time.monotonic()
        error = self.fails(script, "busy", rcmd.NotStarted, timeout=0.5)
        self.assertIn("full", str(error))
        self.assertLess(time.monotonic() - began, 5)


class Silence(LiarCase):
    def test_a_server_that_says_nothing_holds_nobody_longer_than_asked(self) -> None:
        for name, script in {
            "no hello": lambda peer: peer.listen(),
            "no answer": lambda peer: (peer.hello(), peer.listen()),
            "no end": lambda peer: (peer.begin(), peer.listen()),
        }.items():
            with self.subTest(name):
                began = time.monotonic()
                error = rcmd.TimedOut if name == "no end" else rcmd.Unknown
                self.fails(script, "lost", error, timeout=0.5)
                self.assertLess(time.monotonic() - began, 5)

    def test_a_cancel_that_comes_before_the_start_is_answered_not_started(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello()
            peer.until("start")
            peer.on("queued", position=3)
            peer.until("cancel")
            peer.on(
                "exit", outcome="not_started", kind="lost", message="m", stdout_bytes=0, stderr_bytes=0, ended_at=1
            )

        error = self.fails(script, "busy", rcmd.NotStarted, timeout=0.3)
        self.assertIn("waited for its turn", str(error))

    def test_a_header_in_drops_is_no_header(self) -> None:
        def script(peer: Peer) -> None:
            peer.begin()
            for byte in struct.pack(">I", 60_000) + b"{" * 40:
                peer.raw(bytes([byte]))
                time.sleep(0.3)  # the drip itself, which is what is tested

        began = time.monotonic()
        self.fails(script, "protocol")
        self.assertLess(time.monotonic() - began, 20)

    def test_pings_are_answered_and_sent(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello(grace_ms=600)
            peer.until("start")
            peer.started()
            for number in (1, 2, 3):
                peer.send("ping", number=number)
            # One answer to the last may serve for all.
            while peer.until("pong")["number"] != 3:
                pass
            peer.send("pong", number=peer.until("ping")["number"])
            peer.end()

        self.assertEqual(self.run_on(script).returncode, 0)

    def test_a_link_that_went_silent_is_replaced_within_the_grace(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello(grace_ms=2000)
            if peer.number == 1:
                peer.until("start")
                peer.started()
                return peer.listen()
            peer.until("attach")
            where = {"stdin": 0, "stdin_ended": False, "number": 0, "stdout": 0, "stderr": 0}
            peer.on("attached", job="0123456789abcdef", digest="sha256", started_at=1, **where)
            peer.end(code=6)

        self.assertEqual(self.run_on(script).returncode, 6)
        self.assertEqual(self.liar.connections, 2)

    def test_a_flood_of_pings_from_one_who_does_not_read_fills_no_memory(self) -> None:
        def script(peer: Peer) -> None:
            peer.begin()
            pings = b"".join(encode("ping", number=n) for n in range(1000))
            for _ in range(200):
                peer.raw(pings)
            peer.end()

        self.assertEqual(self.run_on(script).returncode, 0)


if __name__ == "__main__":
    unittest.main()
