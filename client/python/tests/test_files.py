"""Files to a real server and from it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import pickle
import subprocess
import threading
import unittest
from typing import Any, List

import rcmd
from tests.world import DEADLINE, FilesCase, program

# Names that mean something else to somebody: a shell, an option, a port, a host, a pattern, a terminal.
NAMES = [
    b"plain",
    b"a b\n'\"$(id)",
    b"-rf",
    b"-",
    b"22:x",
    b"web1:x",
    b"[::1]:x",
    b"fd00::1",
    b"*",
    b"[a",
    b"\xff\xfe\x80",
    b"\x1b[2J\r",
    b".hidden",
    b"~",
    b"x" * 255,
]


class Paths(FilesCase):
    def test_a_file_goes_there_and_comes_back(self) -> None:
        (self.here / "f").write_bytes(b"content\0\xff")
        there = self.put(self.here / "f", self.there / "g")
        self.assertEqual((there.outcome, there.returncode, there.error), ("done", 0, None))
        self.assertEqual((there.host, there.failures), (self.world.host, ()))
        back = self.get(self.there / "g", self.here / "h")
        self.assertEqual((self.here / "h").read_bytes(), b"content\0\xff")
        assert there.totals is not None and back.totals is not None
        self.assertEqual((there.totals.sent, there.totals.bytes), (1, 9))
        self.assertEqual((back.totals.sent, back.totals.bytes), (1, 9))
        self.assertTrue((there.totals.digest or "").startswith("blake3:"))
        assert there.job is not None and there.duration is not None

    def test_names_may_have_any_bytes_and_mean_nothing_else(self) -> None:
        for kind in (os.fsdecode, os.fsencode, lambda name: pathlib.Path(os.fsdecode(name))):
            with self.subTest(kind=kind("x")), self.within(self.folder()):
                self.there = self.folder()
                for name in NAMES:
                    pathlib.Path(os.fsdecode(name)).write_bytes(b"of " + name)
                # Relative, as they are, and each as a destination of its own.
                self.put([kind(name) for name in NAMES], self.there)
                self.assertEqual(sorted(os.listdir(os.fsencode(self.there))), sorted(NAMES))
                with self.within(self.folder()):
                    self.get([kind(os.path.join(os.fsencode(self.there), name)) for name in NAMES], ".")
                    self.assertEqual(sorted(os.listdir(b".")), sorted(NAMES))
                    for name in NAMES:
                        self.get(self.there / os.fsdecode(name), kind(name), exact=True)
                        self.assertEqual(pathlib.Path(os.fsdecode(name)).read_bytes(), b"of " + name)

    def test_a_relative_path_there_is_in_the_home_whatever_it_looks_like(self) -> None:
        home = self.world.run("cd; pwd", shell=True).stdout.decode().strip()
        way = os.path.relpath(self.there, home)
        (self.here / "f").write_text("x")
        self.put(self.here / "f", os.path.join(way, "22:x"))
        self.put(self.here / "f", f"~/{way}/web1:y")
        self.assertEqual(sorted(os.listdir(self.there)), ["22:x", "web1:y"])

    def test_a_relative_path_there_is_no_port_and_no_address(self) -> None:
        self.world.hosts(self.world.entry("a1"))
        for name in ("22:x", "b::/x", "~:x"):
            with self.assertRaises(rcmd.TransferFailed) as raised:
                self.get(f"{name}/no-such-file", self.here / "g", host="a1")
            self.assertEqual(raised.exception.kind, "no_such_file")

    def test_a_name_is_a_pattern_only_where_that_is_said(self) -> None:
        for name in ("a.log", "b.log", "*.log"):
            (self.there / name).write_text(name)
        self.get(self.there / "*.log", self.here)
        self.assertEqual(os.listdir(self.here), ["*.log"])
        self.get(self.there / "[ab].*", self.here, glob=True)
        self.assertEqual(sorted(os.listdir(self.here)), ["*.log", "a.log", "b.log"])

    def test_several_sources_and_the_contents_of_a_folder(self) -> None:
        self.tree(self.here / "t", "a", "b/c")
        (self.here / "f").write_text("f")
        self.put([self.here / "t", self.here / "f"], self.there, recursive=True)
        self.assertEqual(self.names(self.there), ["f", "t", "t/a", "t/b", "t/b/c"])
        self.put(f"{self.here / 't'}/", self.there / "u", recursive=True)
        self.assertEqual(self.names(self.there / "u"), ["a", "b", "b/c"])
        self.put(self.here / "t", self.there / "u", recursive=True, exact=True)
        self.assertEqual(self.names(self.there / "u"), ["a", "b", "b/c"])


class Options(FilesCase):
    def test_what_is_unchanged_is_not_sent_again(self) -> None:
        self.tree(self.here / "t", "a", "b/c")
        for sent, unchanged in ((2, 0), (0, 2)):
            totals = self.totals(self.put(f"{self.here / 't'}/", self.there, recursive=True))
            self.assertEqual(totals.sent, sent)
            self.assertGreaterEqual(totals.unchanged, unchanged)
        (self.here / "t/a").write_text("XXXX")
        os.utime(self.here / "t/a", (1e9, 1e9))
        os.utime(self.there / "a", (1e9, 1e9))
        self.assertEqual(self.totals(self.put(f"{self.here / 't'}/", self.there, recursive=True)).sent, 0)
        changed = self.put(f"{self.here / 't'}/", self.there, recursive=True, checksum=True)
        self.assertEqual(self.totals(changed).sent, 1)

    def test_modes_and_times_are_kept_with_trees_unless_said(self) -> None:
        source = self.here / "f"
        source.write_text("x")
        source.chmod(0o750)
        os.utime(source, (1e9, 1e9))
        (self.here / "t").mkdir()
        os.link(source, self.here / "t/f")

        def kept(name: str) -> bool:
            found = (self.there / name).stat()
            return found.st_mtime == 1e9

        self.put(source, self.there / "default")
        self.put(source, self.there / "kept", preserve=True)
        self.put(self.here / "t", self.there / "tree", recursive=True)
        self.put(self.here / "t", self.there / "plain", recursive=True, preserve=False)
        found = [kept(name) for name in ("default", "kept", "tree/f", "plain/f")]
        self.assertEqual(found, [False, True, True, False])

    def test_deletion_is_asked_for_bounded_and_told_of(self) -> None:
        self.tree(self.here / "t", "a")
        self.tree(self.there, "a", "b", "c", "d")
        source = f"{self.here / 't'}/"
        withheld = self.put(source, self.there, recursive=True, delete=True, check=False)
        self.assertEqual(self.totals(withheld).withheld, "too_many")
        self.assertEqual(len(self.names(self.there)), 4)
        files: List[rcmd.File] = []
        self.put(source, self.there, recursive=True, delete=True, max_delete=3, dry_run=True, on_file=files.append)
        deleted = sorted(os.path.basename(file.path) for file in files if file.action == "deleted")
        self.assertEqual(deleted, ["b", "c", "d"])
        self.assertEqual(len(self.names(self.there)), 4)
        gone = self.put(source, self.there, recursive=True, delete=True, max_delete=3)
        self.assertEqual((self.totals(gone).deleted, self.names(self.there)), (3, ["a"]))

    def test_patterns_are_one_list_in_which_the_last_decides(self) -> None:
        self.tree(self.here / "t", "a.conf", "b.txt", "sub/c.conf", "build/keep")

        def goes(**patterns: Any) -> List[str]:
            there = self.folder()
            self.put(f"{self.here / 't'}/", there, recursive=True, **patterns)
            return self.names(there)

        rest = ["build", "build/keep", "sub"]
        self.assertEqual(goes(exclude="*.conf"), ["b.txt", *rest])
        self.assertEqual(goes(exclude=["*.conf", "build/"]), ["b.txt", "sub"])
        self.assertEqual(goes(exclude="*", include=["*/", "*.conf"]), ["a.conf", "build", "sub", "sub/c.conf"])
        self.assertEqual(goes(exclude=["*.conf", "!a.conf"]), ["a.conf", "b.txt", *rest])
        self.assertEqual(goes(exclude=["!a.conf", "*.conf"]), ["b.txt", *rest])
        self.assertEqual(goes(exclude="/build", include="nothing"), ["a.conf", "b.txt", "sub", "sub/c.conf"])
        self.assertEqual(goes(include="*.conf"), ["a.conf", "b.txt", "build", "build/keep", "sub", "sub/c.conf"])

    def test_a_dry_run_changes_nothing_and_tells_of_all(self) -> None:
        self.tree(self.here / "t", "a", "b/c")
        files: List[rcmd.File] = []
        done = self.put(self.here / "t", self.there, recursive=True, dry_run=True, on_file=files.append)
        self.assertEqual((done.outcome, self.names(self.there)), ("done", []))
        self.assertEqual(sorted(file.path for file in files), ["t", "t/a", "t/b", "t/b/c"])

    def test_each_option_is_one_of_the_client(self) -> None:
        source = self.here / "f"
        source.write_text("x")
        for options in (
            {"update": True},
            {"in_place": True},
            {"sync": True},
            {"fail_fast": True},
            {"lock": "deploy"},
            {"lock": "deploy", "lock_wait": 0},
            {"lock": "deploy", "lock_wait": 1.5},
            {"lock": "deploy", "lock_wait": float("inf")},
            {"timeout": 600},
            {"timeout": float("inf")},
            {"fanout": 3},
            {"user": self.world.run(["id", "-un"]).stdout.strip()},
        ):
            with self.subTest(options):
                self.assertEqual(self.put(source, self.there, **options).outcome, "done")

    def test_a_lock_that_another_has_keeps_it_from_starting(self) -> None:
        (self.here / "f").write_text("x")
        begun, gate = self.here / "begun", self.here / "gate"
        os.mkfifo(gate)
        line = f"echo x > {begun}; read line < {gate}"
        command = [program("rcmd-client"), "--dir", str(self.world.dir), "--lock", "deploy", self.world.host, line]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as holder:
            self.await_file(begun)
            with self.assertRaises(rcmd.NotStarted) as raised:
                self.put(self.here / "f", self.there, lock="deploy", lock_wait=0.1)
            gate.write_text("\n")
            self.assertEqual(holder.wait(DEADLINE), 0)
        self.assertEqual((raised.exception.kind, self.names(self.there)), ("busy", []))
        self.put(self.here / "f", self.there, lock="deploy", lock_wait=60)
        self.assertEqual(self.names(self.there), ["f"])

    def test_a_user_that_is_not_there_is_told_of(self) -> None:
        (self.here / "f").write_text("x")
        with self.assertRaises(rcmd.NotStarted) as raised:
            self.put(self.here / "f", self.there, user="no-such-user")
        self.assertEqual(raised.exception.kind, "no_such_user")


class Told(FilesCase):
    def test_files_are_told_of_in_the_thread_that_waits(self) -> None:
        self.tree(self.here / "t", "a", "\udcff")
        os.mkfifo(self.here / "t/pipe")
        files: List[rcmd.File] = []
        threads = set()

        def take(file: rcmd.File) -> None:
            files.append(file)
            threads.add(threading.get_ident())

        done = self.put(self.here / "t", self.there, recursive=True, on_file=take, check=False)
        self.assertEqual(threads, {threading.get_ident()})
        found = {file.path: (file.kind, file.action, file.size) for file in files}
        self.assertEqual(
            found,
            {
                "t": ("folder", "created", 0),
                "t/a": ("file", "created", 4),
                "t/\udcff": ("file", "created", 4),
                "t/pipe": ("other", "failed", 0),
            },
        )
        digests = {file.path: file.digest for file in files}
        self.assertTrue((digests["t/a"] or "").startswith("blake3:"))
        self.assertEqual({file.host for file in files}, {self.world.host})
        self.assertEqual([file for file in files if file.error], list(done.failures))

    def test_what_on_file_raises_is_raised_and_ends_the_copy(self) -> None:
        self.tree(self.here / "t", *map(str, range(5000)))

        def refuse(_: rcmd.File) -> None:
            raise KeyError("enough")

        with self.assertRaises(KeyError):
            self.put(self.here / "t", self.there, recursive=True, on_file=refuse)
        self.await_no_client()

    def test_coroutines_tell_too_one_file_at_a_time(self) -> None:
        self.tree(self.here / "t", *"abc")
        seen: List[str] = []
        busy = False

        async def take(file: rcmd.File) -> None:
            nonlocal busy
            self.assertFalse(busy)
            busy = True
            await asyncio.sleep(0)
            seen.append(file.path)
            busy = False

        async def run() -> rcmd.Transfer:
            return await rcmd.aio.put(
                self.world.host, f"{self.here / 't'}/", self.there, recursive=True, on_file=take, **self.more
            )

        self.assertEqual(asyncio.run(run()).outcome, "done")
        self.assertLessEqual({"a", "b", "c"}, {os.path.basename(path) for path in seen})


class Failures(FilesCase):
    def test_files_that_fail_are_raised_with_all_that_is_known_or_returned(self) -> None:
        self.tree(self.here / "t", "a")
        for name in ("p1", "p2"):
            os.mkfifo(self.here / "t" / name)
        with self.assertRaises(rcmd.TransferFailed) as raised:
            self.put(self.here / "t", self.there, recursive=True)
        error = raised.exception
        self.assertEqual((error.kind, error.host, error.returncode), ("special", self.world.host, 1))
        self.assertIn("2 files failed, the first is t/p", str(error))
        transfer = error.transfer
        assert transfer is not None
        self.assertEqual(sorted(file.path for file in transfer.failures), ["t/p1", "t/p2"])
        self.assertEqual({file.error.kind for file in transfer.failures if file.error}, {"special"})
        self.assertEqual((self.totals(transfer).failed, self.names(self.there)), (2, ["t", "t/a"]))
        returned = self.put(self.here / "t", self.there, recursive=True, check=False)
        self.assertEqual((returned.outcome, returned.returncode), ("failed", 1))
        with self.assertRaises(rcmd.TransferFailed):
            returned.check_returncode()

    def test_a_path_that_leads_nowhere_is_told_of_on_each_side(self) -> None:
        (self.here / "f").write_text("x")
        for call, says in (
            (lambda: self.put(self.here / "missing", self.there), "missing"),
            (lambda: self.put(self.here / "f", self.there / "no/such"), "no/such"),
            (lambda: self.get(self.there / "missing", self.here), "missing"),
            (lambda: self.get(self.there / "*.none", self.here, glob=True), "*.none"),
        ):
            with self.subTest(says), self.assertRaises(rcmd.TransferFailed) as raised:
                call()
            self.assertEqual(raised.exception.kind, "no_such_file")
            self.assertIn(says, str(raised.exception))

    def test_a_host_that_is_off_is_not_started_also_without_check(self) -> None:
        (self.here / "f").write_text("x")
        with self.assertRaises(rcmd.NotStarted) as raised:
            self.put(self.here / "f", self.there, host="localhost:1", check=False)
        error = raised.exception
        self.assertEqual((error.kind, error.host, error.returncode), ("unreachable", "localhost:1", 125))
        assert error.transfer is not None
        self.assertEqual((error.transfer.outcome, error.transfer.totals), ("not_started", None))

    def test_a_call_that_makes_no_sense_is_usage_and_copies_nothing(self) -> None:
        (self.here / "f").write_text("x")
        for src, dst, options in (
            ([], self.there, {}),
            ("", self.there, {}),
            (self.here / "f", "", {}),
            (b"a\0b", self.there, {}),
            (self.here / "f", "a\0b", {}),
            (self.here / "f", self.there, {"delete": True}),
            (self.here / "f", self.there, {"max_delete": -1}),
            (self.here / "f", self.there, {"exclude": ""}),
            (self.here / "f", self.there, {"exclude": "\udcff"}),
            (self.here / "f", self.there, {"user": ""}),
            (self.here / "f", self.there, {"lock_wait": 1}),
            (self.here / "f", self.there, {"fanout": 0}),
            (self.here / "f", self.there, {"timeout": -1}),
            (self.here / "f", self.there, {"timeout": float("nan")}),
            (self.here / "f", self.there, {"client": "no-such-client"}),
            (self.here / "f", self.there, {"client": ""}),
            (self.here / "f", self.there, {"dir": "/no/such/folder"}),
            ([f"{self.here}/", self.here / "f"], self.there, {"recursive": True}),
        ):
            with self.subTest(src=src, options=options), self.assertRaises(rcmd.NotStarted) as raised:
                self.put(src, self.there if dst == self.there else dst, **options)
            self.assertEqual(raised.exception.kind, "usage")
        self.assertEqual(os.listdir(self.there), [])

    def test_hosts_are_names_and_no_expressions(self) -> None:
        (self.here / "f").write_text("x")
        expressions = ("@web", "a[1-3]", "a,b", "a*", "root@a")
        for host in (*expressions, "", "a b", "-x", "a/b", "a:b", "a:0", "..", "[::1", "a\0"):
            with self.subTest(host), self.assertRaises(rcmd.NotStarted) as raised:
                self.put(self.here / "f", self.there, host=host)
            self.assertEqual(raised.exception.kind, "usage")

    def test_what_is_of_the_wrong_kind_is_a_type_error(self) -> None:
        for arguments, options in (
            ((1, "f", "d"), {}),
            ((b"host", "f", "d"), {}),
            (([b"host"], "f", "d"), {}),
            (("host", 1, "d"), {}),
            (("host", [1], "d"), {}),
            (("host", "f", None), {}),
            (("host", "f", ["d"]), {}),
            (("host", "f", "d"), {"exclude": [b"x"]}),
            (("host", "f", "d"), {"timeout": "1"}),
            (("host", "f", "d"), {"lock_wait": "1"}),
            (("host", "f", "d"), {"fanout": 1.5}),
            (("host", "f", "d"), {"max_delete": True}),
            (("host", "f", "d"), {"user": 1}),
            (("host", "f", "d"), {"recursiv": True}),
            (("host", "f", "d"), {"glob": True}),
        ):
            with self.subTest(arguments=arguments, options=options), self.assertRaises(TypeError):
                rcmd.put(*arguments, **{**self.more, **options})

    def test_results_and_errors_can_be_pickled(self) -> None:
        os.mkfifo(self.here / "p")
        failed = self.put(self.here / "p", self.there, check=False)
        again = pickle.loads(pickle.dumps(failed))
        self.assertEqual((again.failures, again.totals, again.outcome), (failed.failures, failed.totals, "failed"))


if __name__ == "__main__":
    unittest.main()
