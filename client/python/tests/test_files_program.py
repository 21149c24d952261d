"""What is made of a client that says odd things, ends oddly, or does not end."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import resource
import tempfile
import threading
import time
import unittest
from typing import Any, Dict, List

import rcmd
from rcmd._files import program

FILE = {"event": "file", "host": "h", "path": "f", "path_encoding": "utf-8", "kind": "file", "action": "created"}
TOTALS = {"sent": 1, "bytes": 3, "failed": 0, "stopped": False, "withheld": None}
RESULT = {"outcome": "exited", "code": 0, "job": "j1", "error": None}
END = {"event": "end", "host": "h", "status": 0, "totals": TOTALS, "error": None, "duration_ms": 1500, "result": RESULT}
UNREACHABLE = {"kind": "unreachable", "message": "cannot reach h", "hint": "Try again."}


def lines(*found: Dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in found)


class ProgramCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="rcmd-python-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.client = self.folder / "client"

    def script(self, body: str) -> None:
        self.client.write_text(f"#!/bin/sh\n{body}\n")
        self.client.chmod(0o755)

    def says(self, text: str, status: int = 0, errors: str = "") -> None:
        """Makes a client that prints a text, and ends with a status."""
        (self.folder / "out").write_bytes(text.encode("utf-8", "surrogateescape"))
        (self.folder / "err").write_text(errors)
        self.script(f"cat '{self.folder}/err' >&2; cat '{self.folder}/out'; exit {status}")

    def put(self, **more: Any) -> rcmd.Transfer:
        return rcmd.put("h", "f", "d", client=self.client, **more)

    def fails(self, error: Any, **more: Any) -> Any:
        with self.assertRaises(error) as raised:
            self.put(**more)
        self.assertIs(type(raised.exception), error)
        return raised.exception


class Said(ProgramCase):
    def test_an_end_has_its_totals_time_and_job(self) -> None:
        self.says(lines(FILE, END))
        done = self.put()
        self.assertEqual((done.outcome, done.totals), ("done", rcmd.Totals(sent=1, bytes=3)))
        self.assertEqual((done.job, done.duration, done.error), ("j1", 1.5, None))

    def test_events_and_fields_of_newer_clients_are_passed_over(self) -> None:
        new = {"event": "progress", "host": "h", "bytes": [1]}
        totals = {**TOTALS, "dreamt": 7, "withheld": "a_new_reason"}
        files: List[rcmd.File] = []
        file = {**FILE, "kind": "portal", "action": "dreamt", "notes": ["new"], "inode": 7}
        end = {**END, "totals": totals, "more": {}}
        self.says(lines(new, file, end, {"event": "summary", "total": 1}))
        done = self.put(on_file=files.append)
        assert done.totals is not None
        self.assertEqual((done.outcome, done.totals.withheld), ("done", "a_new_reason"))
        self.assertEqual([(file.kind, file.action, file.notes) for file in files], [("portal", "dreamt", ("new",))])

    def test_what_an_older_client_leaves_out_is_nothing(self) -> None:
        self.says(lines({"event": "file", "path": "f", "action": "created"}, {"event": "end", "status": 0}))
        done = self.put()
        self.assertEqual((done.outcome, done.totals, done.job), ("done", None, None))

    def test_paths_that_are_no_text_are_bytes_again(self) -> None:
        files: List[rcmd.File] = []
        self.says(lines({**FILE, "path": "YQr/", "path_encoding": "base64"}, {**FILE, "path": "ü"}, END))
        self.put(on_file=files.append)
        self.assertEqual([os.fsencode(file.path) for file in files], [b"a\n\xff", "ü".encode()])

    def test_notes_and_what_stands_on_standard_error_are_kept(self) -> None:
        note = {"event": "note", "host": "h", "data": "the link is back", "encoding": "utf-8"}
        self.says(lines(note, END), errors="rcmd: --include alone leaves nothing out\n")
        self.assertEqual(self.put().notes, ("the link is back", "--include alone leaves nothing out"))

    def test_an_end_that_fails_is_the_exception_that_fits(self) -> None:
        refused = {**END, "status": 125, "totals": None, "error": UNREACHABLE}
        self.says(lines(refused), 125)
        error = self.fails(rcmd.NotStarted)
        self.assertEqual((error.kind, error.message, error.hint), ("unreachable", "cannot reach h", "Try again."))
        lost = {**END, "status": 255, "totals": None, "error": {"kind": "lost", "message": "gone"}}
        self.says(lines(lost), 255)
        self.assertEqual(self.fails(rcmd.Unknown).kind, "lost")
        over = {**END, "status": 124, "totals": None, "error": {"kind": "lost", "message": "over"}}
        self.says(lines(over), 124)
        self.assertEqual(self.fails(rcmd.TimedOut).returncode, 124)

    def test_a_deletion_that_was_withheld_is_told_of_where_it_is_a_failure(self) -> None:
        end = {**END, "status": 1, "totals": {**TOTALS, "withheld": "too_many"}}
        self.says(lines(FILE, end), 1)
        error = self.fails(rcmd.TransferFailed)
        self.assertIn("nothing was deleted, since there is more to delete", str(error))
        self.says(lines({**end, "status": 125, "totals": {"withheld": "empty_source"}}), 125)
        self.assertIn("the source has no file", str(self.fails(rcmd.NotStarted)))

    def test_what_a_host_chose_commands_no_terminal(self) -> None:
        failed = {**FILE, "path": "a\x1b[2Jb", "action": "failed", "error": {"kind": "io", "message": "no\x07"}}
        self.says(lines(failed, {**END, "status": 1, "totals": {**TOTALS, "failed": 1}}), 1)
        error = self.fails(rcmd.TransferFailed)
        self.assertIn("a\\x1b[2Jb: no\\x07", str(error))
        assert error.transfer is not None
        self.assertEqual(error.transfer.failures[0].path, "a\x1b[2Jb")

    def test_a_call_that_the_client_refuses_is_usage_with_its_words(self) -> None:
        self.says("", 125, "rcmd: --delete needs SRC/\nrcmd: hint: Write SRC/.\n")
        error = self.fails(rcmd.NotStarted)
        self.assertEqual((error.kind, str(error)), ("usage", "--delete needs SRC/. Write SRC/."))

    def test_no_end_is_never_done(self) -> None:
        for text, status in (("", 0), (lines(FILE), 0), (lines(FILE), 1), ("", 255), ("", 3), (lines(END)[:-20], 0)):
            with self.subTest(text=text, status=status):
                self.says(text, status)
                if status == 1:
                    self.assertIsInstance(self.fails(rcmd.TransferFailed), rcmd.Error)
                else:
                    self.assertIn("did not say", str(self.fails(rcmd.Unknown)))
        self.script("kill -9 $$")
        self.assertIn("signal 9", str(self.fails(rcmd.Unknown)))

    def test_an_end_that_the_exit_status_contradicts_is_not_believed(self) -> None:
        for status in (1, 125, 141, 143, 255):
            self.says(lines(FILE, END), status)
            self.fails(rcmd.Unknown)
        self.script(f"cat '{self.folder}/out'; kill -9 $$")
        self.fails(rcmd.Unknown)

    def test_what_is_no_event_ends_it_as_unknown(self) -> None:
        for text in (
            "hello\n",
            "[]\n",
            "1\n",
            "{}\n",
            '{"event": 7}\n',
            "[" * 100_000 + "\n",
            lines({**FILE, "path": 7}),
            lines({**FILE, "path": "!", "path_encoding": "base64"}),
            lines({**FILE, "path": "x", "path_encoding": "rot13"}),
            '{"event": "file", "action": "created", "path": "\\ud800"}\n',
            lines({**FILE, "bytes": True}),
            lines({"event": "file", "path": "f"}),
            lines({**FILE, "error": "no"}),
            lines({**FILE, "error": {"kind": "io"}}),
            lines({**END, "status": "0"}),
            lines({**END, "totals": []}),
            lines({**END, "result": "exited"}),
            "\udcff\udcfe\n",
        ):
            with self.subTest(text[:80]):
                self.says(text + lines(END))
                error = self.fails(rcmd.Unknown, on_file=lambda _: None)
                self.assertEqual(error.kind, "protocol")
                self.assertIn("rcmd-client says of h can't be read", str(error))


class Bounds(ProgramCase):
    def test_a_line_without_an_end_is_not_held_for_ever(self) -> None:
        self.script("exec yes x | tr -d '\\n'")
        self.assertIn("a line of more than", str(self.fails(rcmd.Unknown)))

    def test_failures_and_notes_are_kept_up_to_a_number(self) -> None:
        failed = {**FILE, "action": "failed", "error": {"kind": "permission", "message": "no"}}
        note = {"event": "note", "host": "h", "data": "n", "encoding": "utf-8"}
        totals = {**TOTALS, "failed": 12_000}
        end = {**END, "status": 1, "totals": totals}
        self.says(lines(failed) * 12_000 + lines(note) * 1_200 + lines(end), 1)
        transfer = self.fails(rcmd.TransferFailed).transfer
        assert transfer is not None
        self.assertEqual((len(transfer.failures), transfer.totals.failed), (10_000, 12_000))
        self.assertEqual(len(transfer.notes), 1_000)
        self.assertIn("12000 files failed", str(transfer.error))

    def test_standard_error_is_read_to_its_end_and_kept_up_to_a_bound(self) -> None:
        self.script(f"yes 'rcmd: no' | head -c 3000000 >&2; cat '{self.folder}/out'")
        (self.folder / "out").write_text(lines(END))
        self.assertLess(sum(map(len, self.put().notes)), 64 * 1024)

    def test_a_client_waits_for_who_takes_long(self) -> None:
        written = self.folder / "written"
        text = lines(FILE) * 20_000
        (self.folder / "out").write_text(text + lines(END))
        self.script(f"cat '{self.folder}/out'; echo x > '{written}'")
        seen: List[bool] = []

        def take(_: rcmd.File) -> None:
            if not seen:
                time.sleep(0.5)
            seen.append(written.exists())

        self.put(on_file=take)
        self.assertEqual((len(seen), seen[0]), (20_000, False))

    def test_a_client_that_does_not_end_is_ended(self) -> None:
        pid = self.folder / "pid"
        self.script(f"trap '' TERM INT; echo $$ > '{pid}'; while :; do echo '{json.dumps(FILE)}'; sleep 0.1; done")
        began = time.monotonic()
        error = self.fails(rcmd.TimedOut, timeout=0.5)
        took = time.monotonic() - began
        self.assertTrue(5 <= took < 15, took)
        self.assertEqual((error.kind, error.returncode), (None, 124))
        self.assertFalse(pathlib.Path(f"/proc/{int(pid.read_text())}").exists())

    def test_a_client_that_ends_in_order_has_its_time_and_its_account(self) -> None:
        stopped = {**END, "status": 1, "totals": {**TOTALS, "stopped": True}}
        (self.folder / "out").write_text(lines(FILE, stopped))
        self.script(f"trap \"cat '{self.folder}/out'; exit 143\" TERM; while :; do sleep 0.05; done")
        error = self.fails(rcmd.TimedOut, timeout=0.5)
        assert error.transfer is not None
        self.assertEqual((error.transfer.totals.stopped, error.transfer.totals.sent), (True, 1))

    def test_one_that_had_ended_well_when_the_time_was_over_is_done(self) -> None:
        (self.folder / "out").write_text(lines(FILE, END))
        self.script(f"trap \"cat '{self.folder}/out'; exit 0\" TERM; while :; do sleep 0.05; done")
        self.assertEqual(self.put(timeout=0.5).outcome, "done")

    def test_one_that_had_not_begun_when_the_time_was_over_is_not_started(self) -> None:
        held = {"kind": "held_back", "message": "it was interrupted before its turn came"}
        end = {**END, "status": 125, "totals": None, "error": held, "result": {"outcome": "not_started"}}
        (self.folder / "out").write_text(lines(end))
        self.script(f"trap \"cat '{self.folder}/out'; exit 143\" TERM; while :; do sleep 0.05; done")
        error = self.fails(rcmd.NotStarted, timeout=0.5)
        self.assertEqual((error.kind, "within 0.5 s" in str(error)), ("unreachable", True))

    def test_a_task_that_is_cancelled_ends_its_client_first(self) -> None:
        pid, ended = self.folder / "pid", self.folder / "ended"
        self.script(f"trap 'echo x > {ended}; exit 143' TERM; echo $$ > '{pid}'; while :; do sleep 0.05; done")

        async def run() -> None:
            task = asyncio.ensure_future(rcmd.aio.put("h", "f", "d", client=self.client))
            while not (pid.exists() and pid.read_text()):
                await asyncio.sleep(0.01)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertTrue(ended.exists())

        asyncio.run(run())

    def test_who_cancels_twice_does_not_wait(self) -> None:
        pid = self.folder / "pid"
        self.script(f"trap '' TERM INT; echo $$ > '{pid}'; while :; do sleep 0.05; done")

        async def run() -> float:
            task = asyncio.ensure_future(rcmd.aio.put("h", "f", "d", client=self.client))
            while not (pid.exists() and pid.read_text()):
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.sleep(0.2)
            began = time.monotonic()
            while not task.done():
                task.cancel()
                await asyncio.sleep(0.01)
            return time.monotonic() - began

        self.assertLess(asyncio.run(run()), 2)
        self.assertFalse(pathlib.Path(f"/proc/{int(pid.read_text())}").exists())

    def test_nothing_is_left_behind(self) -> None:
        self.says(lines(FILE, END))
        self.put()
        threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            self.put(on_file=lambda _: None)
            self.fails(rcmd.NotStarted, timeout=0)
            self.says("hello\n")
            self.fails(rcmd.Unknown)
            self.says(lines(FILE, END))
        self.assertEqual(len(os.listdir("/proc/self/fd")), descriptors)
        self.assertLessEqual(threading.active_count(), threads)


class Started(ProgramCase):
    def test_words_and_surroundings_are_those_that_are_meant(self) -> None:
        words, settings = self.folder / "words", self.folder / "settings"
        self.script(
            f"printf '%s\\n' \"$@\" > '{words}'; env > '{settings}'; ps -o sid= -p $$ > '{self.folder}/sid'\n"
            f"cat '{self.folder}/out'"
        )
        (self.folder / "out").write_text(lines(END))
        os.environ["CLICOLOR_FORCE"] = "1"
        self.addCleanup(os.environ.pop, "CLICOLOR_FORCE")
        rcmd.get(["::1"], ["a:b", "~/c", "/d"], "e:f", recursive=True, exclude="-x", client=self.client, dir="c d")
        found = words.read_text().splitlines()
        self.assertEqual(found[:3], ["cp", "--json", "--dir=c d"])
        self.assertEqual(found[3:7], ["--recursive", "--literal", "--exclude=-x", "--fanout=1"])
        self.assertEqual(found[7:], ["--", "[::1]:./a:b", "[::1]:~/c", "[::1]:/d", "./e:f"])
        told = settings.read_text()
        self.assertIn("NO_COLOR=1\n", told)
        self.assertNotIn("CLICOLOR_FORCE", told)
        self.assertNotEqual(int((self.folder / "sid").read_text()), os.getsid(0))

    def test_owners_attributes_and_rates_are_options_of_the_client(self) -> None:
        words = self.folder / "words"
        self.script(f"printf '%s\\n' \"$@\" > '{words}'; cat '{self.folder}/out'")
        (self.folder / "out").write_text(lines(END))
        self.put(owner=True, chown="app:", chmod="-w", xattrs=True, acls=True, delta=True, compress=True, bwlimit=1000)
        found = words.read_text().splitlines()[2:-3]
        flags = ["--owner", "--xattrs", "--acls", "--delta", "--compress"]
        self.assertEqual(found, [*flags, "--chown=app:", "--chmod=-w", "--bwlimit=1000B"])
        self.put(bwlimit="20Mbit")
        self.assertIn("--bwlimit=20Mbit", words.read_text().splitlines())
        for options in ({"bwlimit": 1.5}, {"chown": 0}, {"chmod": 0o644}):
            with self.assertRaises(TypeError):
                self.put(**options)

    def test_a_client_is_found_in_the_path_or_named(self) -> None:
        self.says(lines(END))
        self.client.rename(self.folder / program.NAME)
        before = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", before)
        os.environ["PATH"] = f"{self.folder}:{before}"
        self.assertEqual(rcmd.put("h", "f", "d").outcome, "done")
        os.environ["PATH"] = "/no/such"
        with self.assertRaises(rcmd.NotStarted) as raised:
            rcmd.put("h", "f", "d")
        self.assertIn("there is no program `rcmd-client`", str(raised.exception))

    def test_a_client_that_cannot_run_is_told_of(self) -> None:
        self.client.write_text("#!/no/such/shell\n")
        self.client.chmod(0o755)
        self.assertEqual(self.fails(rcmd.NotStarted).kind, "local_io")
        self.says(lines(END))
        with self.assertRaises(rcmd.NotStarted) as raised:
            rcmd.put("h", ["f" * 4000] * 1000, "d", client=self.client)
        self.assertEqual(raised.exception.kind, "too_big")

    def test_no_more_run_at_once_than_asked_for_and_than_descriptors_bear(self) -> None:
        running = self.folder / "running"
        running.mkdir()
        (self.folder / "out").write_text(lines(END))
        count = f"ls '{running}' | wc -l >> '{self.folder}/counts'"
        self.script(f"touch '{running}'/$$; {count}; sleep 0.05; rm '{running}'/$$; cat '{self.folder}/out'")
        hosts = [f"h{number}" for number in range(12)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for fanout, limit, most in ((3, soft, 3), (500, 64, 12)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            done = rcmd.put(hosts, "f", "d", client=self.client, fanout=fanout)
            self.assertEqual([transfer.outcome for transfer in done], ["done"] * 12)
            counts = [int(line) for line in (self.folder / "counts").read_text().split()]
            self.assertLessEqual(max(counts), most)

    def test_hosts_whose_turn_does_not_come_are_held_back(self) -> None:
        self.script("trap 'exit 143' TERM; while :; do sleep 0.05; done")
        done = rcmd.put(["h1", "h2", "h1"], "f", "d", client=self.client, fanout=1, timeout=0.5)
        self.assertEqual([transfer.outcome for transfer in done], ["timed_out", "not_started", "timed_out"])
        self.assertIs(done[0], done[2])
        assert done[1].error is not None
        self.assertEqual((done[1].error.kind, done[1].error.host), ("held_back", "h2"))
        self.assertIsInstance(done[1].error, rcmd.NotStarted)
        with self.assertRaises(rcmd.TimedOut):
            done[0].check_returncode()


if __name__ == "__main__":
    unittest.main()
