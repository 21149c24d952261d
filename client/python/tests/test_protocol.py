"""Frames, requests and streams by themselves, held against docs/protocol.md."""

from __future__ import annotations

import hashlib
import json
import pathlib
import random
import re
import struct
import unittest
from typing import Any, Iterator, List, Tuple

from rcmd._link.patience import Backoff, Patience, rest
from rcmd._link.sink import Collected, Overflow, Waiting
from rcmd._protocol import limits
from rcmd._protocol.codec import Decoder, Frame, ProtocolFault, encode, read_header
from rcmd._protocol.fields import check
from rcmd._protocol.outcome import SIGNALS, is_kind, status
from rcmd._protocol.request import Refused, Request
from rcmd._protocol.streams import Corrupt, Receiving, Sending

DOCUMENT = pathlib.Path(__file__).parents[3] / "docs/protocol.md"


def example() -> Iterator[Tuple[str, bytes, Any]]:
    """Yields the frames of the worked example: who sends it, its bytes, its header."""
    if not DOCUMENT.exists():
        raise unittest.SkipTest("needs docs/protocol.md")
    for block in re.findall(r"```text\n(client|server)\n((?:[0-9a-f]+\n)+)(\{.*\})\n", DOCUMENT.read_text()):
        yield block[0], bytes.fromhex(block[1].replace("\n", "")), json.loads(block[2])


def frames(data: bytes) -> List[Frame]:
    decoder = Decoder()
    decoder.feed(data)
    return list(decoder.frames())


class Example(unittest.TestCase):
    def test_the_frames_of_the_server_are_read(self) -> None:
        for size in (1, 7, 100_000):
            decoder, found, expected = Decoder(), [], []
            for sender, data, header in example():
                if sender != "server":
                    continue
                expected.append(header)
                for at in range(0, len(data), size):
                    decoder.feed(data[at : at + size])
                    for frame in decoder.frames():
                        check(frame)
                        found.append(frame)
            self.assertEqual([frame.fields for frame in found], expected)
            self.assertEqual([frame.payload for frame in found if frame.type == "data"], [b"hi\n"])
            self.assertIsNone(decoder.waits_for())

    def test_the_start_is_the_same(self) -> None:
        (start,) = [(data, header) for _, data, header in example() if header["type"] == "start"]
        request = Request(["echo", "hi"])
        self.assertTrue(start[0].endswith(request.payload))
        for name, value in request.fields().items():
            self.assertEqual(start[1].get(name), value)
        more = {name: start[1][name] for name in ("ch", "key", "generation", "digests")}
        ours = encode("start", request.payload, **more, **request.fields())
        self.assertEqual(frames(ours)[0].fields, start[1])

    def test_the_limits_are_those_of_the_document(self) -> None:
        text = DOCUMENT.read_text()
        table = text[text.index("## Limits") : text.index("## A worked example")]
        for line, value in [
            ("header before the peer's hello was read", limits.HEADER_BEFORE_HELLO),
            ("header", limits.HEADER),
            ("payload", limits.PAYLOAD),
            ("JSON depth", limits.DEPTH),
            ("one string of a start, with its NUL", limits.STRING),
            ("credit of a stream", limits.CREDIT),
            ("arguments; settings of the environment", limits.ARGUMENTS),
            ("agent, message, hint, note", limits.TEXT),
        ]:
            (found,) = re.findall(rf"^\| {re.escape(line)} \| ([0-9,]+)", table, re.MULTILINE)
            self.assertEqual(int(found.replace(",", "")), value, line)


class Frames(unittest.TestCase):
    def test_what_is_written_is_read(self) -> None:
        (frame,) = frames(encode("data", b"\0\xff", ch=1, stream="stdout", offset=3))
        self.assertEqual((frame.type, frame.payload, frame.fields["len"]), ("data", b"\0\xff", 2))

    def test_no_damage_is_anything_but_a_fault(self) -> None:
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        whole = encode("exit", ch=1, outcome="exited", code=0, stdout_bytes=0, stderr_bytes=0, ended_at=1)
        for _ in range(3000):
            data = bytearray(whole)
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            with self.subTest(seed=seed, data=bytes(data)):
                try:
                    for frame in frames(bytes(data)):
                        check(frame)
                except ProtocolFault:
                    pass

    def test_a_promised_length_is_judged_before_anything_of_it_has_come(self) -> None:
        decoder = Decoder()
        decoder.feed(struct.pack(">I", 4096))
        self.assertEqual(list(decoder.frames()), [])
        self.assertEqual(decoder.waits_for(), ("header", limits.HEADER_DEADLINE))
        for length in (0, 4097, 2**32 - 1):
            with self.assertRaises(ProtocolFault):
                frames(struct.pack(">I", length))

    def test_headers_are_longer_after_the_hello_alone(self) -> None:
        text = b'{"type":"ping","number":1,"x":"' + b"a" * 5000 + b'"}'
        data = struct.pack(">I", len(text)) + text
        with self.assertRaises(ProtocolFault):
            frames(data)
        decoder = Decoder()
        decoder.greeted = True
        decoder.feed(data)
        self.assertEqual(len(list(decoder.frames())), 1)

    def test_sixteen_levels_are_read_and_seventeen_are_not(self) -> None:
        def nested(levels: int) -> bytes:
            return b'{"type":"ping","x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

        self.assertEqual(read_header(nested(16))["type"], "ping")
        with self.assertRaises(ProtocolFault):
            read_header(nested(17))
        # Brackets in text are no levels.
        self.assertEqual(read_header(b'{"type":"ping","x":"' + b"[" * 99 + b'\\"["}')["type"], "ping")


class Requests(unittest.TestCase):
    def test_the_digest_is_over_payload_and_lines(self) -> None:
        request = Request("a | b", shell=True, env={"X": "1"}, cwd="/w", user="u", stdin=True)
        payload = b"a | b\0X=1\0/w\0u\0"
        lines = b"argc=1\nenvc=1\nmode=shell\nuser=1\ncwd=1\ntimeout=0\ntty=0\nstdin=1\n"
        self.assertEqual(request.payload, payload)
        self.assertEqual(request.digest, hashlib.sha256(payload + lines).hexdigest())

    def test_limits_are_kept_to_the_byte(self) -> None:
        Request(["x", "a" * (limits.STRING - 1)])
        Request(["x"] * limits.ARGUMENTS)
        for argv in (["x", "a" * limits.STRING], ["x"] * (limits.ARGUMENTS + 1), ["x", *["a" * 131_000] * 9]):
            with self.assertRaises(Refused) as raised:
                Request(argv)
            self.assertEqual(raised.exception.failure.kind, "too_big")


class Streams(unittest.TestCase):
    def receiving(self) -> Receiving:
        stream = Receiving("stdout")
        stream.resume(0)
        return stream

    def test_a_replay_gives_only_what_is_new(self) -> None:
        stream = self.receiving()
        pieces = [(0, b"hello"), (0, b"hello"), (3, b"lo, world")]
        self.assertEqual([stream.data(*piece) for piece in pieces], [b"hello", b"", b", world"])
        digest = "sha256:" + hashlib.sha256(b"hello, world").hexdigest()
        for _ in range(2):
            stream.end(12, digest, False)
        self.assertEqual(stream.data(0, b"hello"), b"")

    def test_credit_rises_only_as_bytes_are_taken_away(self) -> None:
        stream = self.receiving()
        stream.data(0, bytes(limits.CREDIT))
        with self.assertRaises(ProtocolFault):
            stream.data(limits.CREDIT, b"x")
        self.assertEqual(stream.window(), (limits.CREDIT, limits.CREDIT))
        stream.consume(limits.CREDIT // 4 - 1)
        self.assertIsNone(stream.window())
        stream.consume(1)
        self.assertEqual(stream.window(), (limits.CREDIT, limits.CREDIT * 5 // 4))
        stream.data(limits.CREDIT, b"x")

    def test_bytes_that_are_gone_are_told_and_not_compared(self) -> None:
        stream = Receiving("stdout")
        stream.resume(5)
        stream.data(5, b"x")
        stream.end(6, "sha256:" + "0" * 64, False)
        self.assertTrue(stream.truncated)
        with self.assertRaises(Corrupt):
            self.receiving().end(0, "sha256:" + "0" * 64, False)

    def test_input_is_sent_within_its_credit_and_again_after_a_loss(self) -> None:
        data = bytes(range(256)) * 8192
        sending = Sending(data)
        self.assertEqual(sum(len(piece) for _, piece in sending.frames()), limits.CREDIT)
        self.assertIsNone(sending.end())
        sending.window(100_000, limits.CREDIT)
        self.assertEqual(list(sending.frames()), [])
        sending.resume(100_000, False, False)
        offset, piece = next(sending.frames())
        self.assertEqual((offset, piece), (100_000, data[100_000 : 100_000 + limits.CHUNK]))
        # What was accepted need not have been read there: a resumption alone gives no credit.
        self.assertEqual(sum(len(piece) for _, piece in sending.frames()), limits.CREDIT - 100_000 - limits.CHUNK)
        with self.assertRaises(ProtocolFault):
            sending.resume(limits.CREDIT + 1, False, False)

    def test_the_end_of_input_comes_once_a_connection(self) -> None:
        sending = Sending(b"abc")
        self.assertEqual(list(sending.frames()), [(0, b"abc")])
        self.assertEqual(sending.end(), (3, "sha256:" + hashlib.sha256(b"abc").hexdigest()))
        self.assertIsNone(sending.end())
        sending.resume(3, False, False)
        self.assertEqual((list(sending.frames()), sending.end() is None), ([], False))
        sending.resume(3, True, False)
        self.assertTrue(sending.closed)

    def test_streamed_input_keeps_what_was_not_confirmed_and_no_more(self) -> None:
        sending = Sending(finished=False)
        sending.add(b"a" * 1000)
        self.assertEqual(len(list(sending.frames())), 1)
        sending.window(600, limits.CREDIT)
        self.assertFalse(sending.rewind())
        sending.resume(600, False, False)
        sending.add(b"b" * 10)
        self.assertEqual(list(sending.frames()), [(600, b"a" * 400 + b"b" * 10)])
        self.assertEqual(sending.room(), limits.CREDIT - 1010)

    def test_what_waits_to_be_taken_is_joined(self) -> None:
        waiting = Waiting(lambda: None)
        for _ in range(100_000):
            waiting.put("stdout", b"x", None)
        waiting.put("stderr", b"y", None)
        piece = waiting.take()
        assert piece is not None
        self.assertEqual(len(piece.data), 100_000)
        timed = Waiting(lambda: None)
        for number in range(50_000):
            timed.put("stdout", b"x", number)
        count = 0
        while timed.take() is not None:
            count += 1
        self.assertLess(count, 10_000)

    def test_what_is_collected_has_a_limit(self) -> None:
        collected = Collected(10)
        collected.put("stdout", b"x" * 6, None)
        with self.assertRaises(Overflow):
            collected.put("stderr", b"x" * 5, None)


class Words(unittest.TestCase):
    def test_statuses_follow_the_table(self) -> None:
        self.assertEqual(status("exited", 7, None, None), 7)
        self.assertEqual(status("signaled", None, "SIGKILL", None), 137)
        self.assertEqual(status("timed_out", 0, None, None), 124)
        kinds = {"unreachable": 125, "not_executable": 126, "too_big": 126, "not_found": 127, "no_such_dir": 125}
        for kind, number in kinds.items():
            self.assertEqual(status("not_started", None, None, kind), number)
        self.assertEqual(status("unknown", None, None, "not_found"), 255)
        self.assertEqual(status("exited", None, None, None), 255, "an end without a code is no zero")

    def test_signals_and_kinds_have_names(self) -> None:
        self.assertEqual((SIGNALS["SIGTERM"], SIGNALS["SIGSYS"], SIGNALS["SIG40"], len(SIGNALS)), (15, 31, 40, 64))
        self.assertTrue(is_kind("full_moon") and not is_kind("Full") and not is_kind("") and not is_kind("a" * 33))

    def test_a_third_of_the_grace_is_left_for_another_connection(self) -> None:
        for grace in (0.3, 1.0, 3.0, 10.0, 3600.0):
            patience = Patience.within(grace)
            self.assertLessEqual(patience.idle + patience.silent, grace * 2 / 3 + 1e-9)
            self.assertLess(patience.ask, patience.silent)

    def test_attempts_are_made_ever_more_slowly(self) -> None:
        backoff = Backoff()
        self.assertEqual(backoff.pause(0), 0)
        for whole in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2):
            pause = backoff.pause(0)
            self.assertTrue(whole / 2 <= pause <= whole, pause)
        backoff.greeted(20)
        self.assertEqual(backoff.pause(21.5), 0)

    def test_a_link_that_breaks_behind_each_hello_is_not_dialled_without_a_pause(self) -> None:
        backoff = Backoff()
        for whole in (0, 0.05, 0.1, 0.2, 0.4, 0.4, 0.4):
            backoff.greeted(10)
            pause = backoff.pause(10.5)
            self.assertTrue(whole / 2 <= pause <= whole, pause)

    def test_a_busy_host_is_left_alone_ever_longer_whatever_it_says(self) -> None:
        for answers, least in enumerate((0.05, 0.1, 0.2, 0.4, 0.8, 1, 1)):
            self.assertTrue(least <= rest(0, answers) <= least * 1.5)
        self.assertTrue(all(7 <= rest(7, 3) <= 10.5 for _ in range(100)))
        self.assertTrue(300 <= rest(2.0**53, 0) <= 450)


if __name__ == "__main__":
    unittest.main()
