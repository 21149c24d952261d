"""Servers that lie, or send what is no frame: none is believed."""

from __future__ import annotations

import asyncio
import struct
import threading
import unittest

import rcmd
from rcmd._protocol.codec import encode
from tests.liar import Liar, LiarCase, Peer, Script, digest
from tests.world import DEADLINE


class Ends(LiarCase):
    def test_an_honest_end_is_believed(self) -> None:
        def script(peer: Peer) -> None:
            peer.begin()
            peer.on("data", b"hi", stream="stdout", offset=0)
            peer.end(b"hi", code=3)
            self.assertEqual(peer.until("done")["ch"], 1)

        done = self.run_on(script)
        self.assertEqual((done.stdout, done.returncode), (b"hi", 3))

    def test_a_total_or_a_digest_that_differs_is_corrupt_whatever_the_status(self) -> None:
        def wrong_end(peer: Peer) -> None:
            peer.begin()
            peer.on("data", b"hi", stream="stdout", offset=0)
            peer.on("end", stream="stdout", total=2, digest=digest(b"ho"))

        def wrong_exit_total(peer: Peer) -> None:
            peer.begin()
            peer.end(stdout_bytes=1)

        def wrong_exit_digest(peer: Peer) -> None:
            peer.begin()
            peer.end(stderr_digest=digest(b"x"))

        def no_digest(peer: Peer) -> None:
            peer.begin()
            peer.end(stdout_digest=None)

        for script in (wrong_end, wrong_exit_total, wrong_exit_digest, no_digest):
            with self.subTest(script.__name__):
                error = self.fails(script, "corrupt")
                self.assertEqual(error.returncode, 255)

    def test_what_the_protocol_forbids_is_no_end(self) -> None:
        def after(*frames: bytes) -> Script:
            def script(peer: Peer) -> None:
                peer.begin()
                for frame in frames:
                    peer.raw(frame)

            return script

        end = encode("end", ch=1, stream="stdout", total=0, digest=digest(b""))
        for name, script in {
            "an exit before the ends": lambda peer: (peer.begin(), peer.exit()),
            "fewer bytes than the end says": after(encode("end", ch=1, stream="stdout", total=9, digest=digest(b""))),
            "a gap": after(encode("data", b"x", ch=1, stream="stdout", offset=1)),
            "data behind the end": after(end, encode("data", b"x", ch=1, stream="stdout", offset=0)),
            "two ends that differ": after(end, encode("end", ch=1, stream="stdout", total=0, digest=digest(b"x"))),
            "an exit without a code": lambda peer: (peer.begin(), peer.end(code=None)),
            "a code past 255": lambda peer: (peer.begin(), peer.end(code=256)),
            "a code that is a boolean": lambda peer: (peer.begin(), peer.end(code=True)),
            "a signal that is none": lambda peer: (peer.begin(), peer.end(outcome="signaled", signal="SIGFOO")),
            "an outcome that is none": lambda peer: (peer.begin(), peer.end(outcome="fine")),
            "not started behind started": lambda peer: (
                peer.begin(),
                peer.end(outcome="not_started", kind="busy", message="m"),
            ),
            "started twice": lambda peer: (peer.begin(), peer.started()),
            "another digest than was offered": lambda peer: (
                peer.hello(),
                peer.until("start"),
                peer.started(digest="blake3"),
            ),
            "data before started": lambda peer: (
                peer.hello(),
                peer.until("start"),
                peer.on("data", b"x", stream="stdout", offset=0),
            ),
            "stdin from the server": after(encode("data", b"x", ch=1, stream="stdin", offset=0)),
            "more stdin than was sent": after(encode("window", ch=1, stream="stdin", got=9, upto=9_000_000)),
            "a channel that was never opened": after(encode("queued", ch=7, position=1)),
            "no channel": after(encode("queued", position=1)),
            "a frame of clients": after(encode("cancel", ch=1)),
            "compression that nobody asked for": after(encode("compress")),
            "a verdict that nobody asked for": after(encode("verdict", ch=1, permitted=True)),
            "a second hello": lambda peer: (peer.begin(), peer.hello()),
            "no frame but HTTP": after(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "an empty header": after(struct.pack(">I", 0)),
            "a header past its limit": after(struct.pack(">I", 65_537)),
            "no JSON": after(struct.pack(">I", 3) + b"{,}"),
            "a list": after(struct.pack(">I", 2) + b"[]"),
            "a key twice": after(_raw(b'{"type":"ping","number":1,"number":1}')),
            "a NUL": after(_raw(b'{"type":"ping","number":1,"x":"\\u0000"}')),
            "half a character": after(_raw(b'{"type":"ping","number":1,"x":"\\ud800"}')),
            "too deep": after(_raw(b'{"type":"ping","number":1,"x":' + b"[" * 16 + b"]" * 16 + b"}")),
            "far too deep": after(_raw(b'{"type":"ping","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}")),
            "a number of many digits": after(_raw(b'{"type":"ping","number":' + b"9" * 60_000 + b"}")),
            "no UTF-8": after(_raw(b'{"type":"ping","number":1,"x":"\xff"}')),
            "text behind the object": after(_raw(b'{"type":"ping","number":1} x')),
            "a payload where none belongs": after(_raw(b'{"type":"ping","number":1,"len":2}') + b"xx"),
            "an empty payload": after(_raw(b'{"type":"data","ch":1,"stream":"stdout","offset":0,"len":0}')),
            "a payload past its limit": after(_raw(b'{"type":"data","ch":1,"stream":"stdout","offset":0,"len":1048577}')),
            "a null": after(_raw(b'{"type":"queued","ch":1,"position":null}')),
        }.items():
            with self.subTest(name):
                self.fails(script, "protocol", input=b"x")

    def test_output_past_its_credit_is_refused(self) -> None:
        release = threading.Event()

        def script(peer: Peer) -> None:
            peer.begin()
            for at in range(17):
                peer.on("data", bytes(65_536), stream="stdout", offset=at * 65_536)

        def take(_: rcmd.Output) -> None:
            release.wait(DEADLINE)

        threading.Timer(1, release.set).start()
        self.fails(script, "protocol", on_output=take)

    def test_many_digits_of_credit_are_no_credit(self) -> None:
        def script(peer: Peer) -> None:
            peer.begin()
            peer.on("window", stream="stdin", got=0, upto=2**53 - 1)
            got = 0
            while got < 1_048_576:
                header, payload = peer.read()
                got += len(payload)
            peer.end()

        self.assertEqual(self.run_on(script, input=bytes(3_000_000)).returncode, 0)

    def test_what_a_server_says_is_safe_to_print(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello()
            peer.until("start")
            peer.exit(outcome="not_started", code=None, kind="denied", message="\x1b[2Jno\u202e", hint="a\rb")

        error = self.fails(script, "denied", rcmd.NotStarted)
        self.assertTrue(all(character.isprintable() for character in str(error)), repr(str(error)))
        self.assertIn("no", str(error))

    def test_a_kind_that_only_a_newer_server_knows_is_kept(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello()
            peer.until("start")
            peer.exit(outcome="not_started", code=None, kind="full_moon", message="not today")

        self.assertEqual(self.fails(script, "full_moon", rcmd.NotStarted).returncode, 125)

    def test_fields_that_are_not_known_are_ignored(self) -> None:
        def script(peer: Peer) -> None:
            peer.hello(colour={"deep": [1.5, None, True]})
            peer.until("start")
            peer.started(x=1e300)
            peer.end()

        self.assertEqual(self.run_on(script).returncode, 0)


class Many(LiarCase):
    def test_one_that_lies_spoils_nothing_for_the_others(self) -> None:
        def honest(peer: Peer) -> None:
            peer.begin()
            peer.on("data", b"hi", stream="stdout", offset=0)
            peer.end(b"hi")

        def liar(peer: Peer) -> None:
            peer.begin()
            peer.end(stdout_bytes=9)

        with Liar(self.world.dir, honest) as good, Liar(self.world.dir, liar) as bad:
            call = rcmd.aio.run_many([good.host, bad.host], ["true"], dir=self.world.dir)
            results = asyncio.run(call)
        self.assertEqual([result.outcome for result in results], ["exited", "unknown"])
        assert results[1].error is not None
        self.assertEqual(results[1].error.kind, "corrupt")


def _raw(header: bytes) -> bytes:
    return struct.pack(">I", len(header)) + header


if __name__ == "__main__":
    unittest.main()
