"""The examples, and what the README shows, as they are."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import unittest
from datetime import datetime
from typing import Any

from tests.world import DEADLINE, WorldCase, program

ROOT = pathlib.Path(__file__).parents[1]


def path() -> str:
    """Returns a $PATH that has the programs under test."""
    return f"{pathlib.Path(program('rcmd-client')).absolute().parent}:{os.environ.get('PATH', '')}"


class Examples(WorldCase):
    def example(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(ROOT / "examples" / name), *words]
        env = {**os.environ, "RCMD_DIR": str(self.world.dir), "PATH": path()}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=DEADLINE)

    def test_a_command_is_run(self) -> None:
        done = self.example("run_command.py", self.world.host, "sh", "-c", "echo a; echo b >&2; exit 3")
        self.assertEqual((done.stdout, done.returncode), ("a\n", 3))
        self.assertIn("b\n", done.stderr)
        self.assertIn("exited, status 3", done.stderr)
        done = self.example("run_command.py", "localhost:1", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn("NotStarted: cannot reach", done.stderr)

    def test_lines_get_the_time_at_which_they_were_read(self) -> None:
        line = "echo a; sleep 0.3; printf 'b\\nc'; exit 4"
        done = self.example("timestamps.py", self.world.host, "sh", "-c", line)
        self.assertEqual(done.returncode, 4)
        found = [row.split(" ", 1) for row in done.stdout.splitlines()]
        self.assertEqual([text for _, text in found], ["a", "b", "c"])
        times = [datetime.fromisoformat(time) for time, _ in found]
        self.assertGreaterEqual((times[1] - times[0]).total_seconds(), 0.2)
        self.assertEqual(times[1], times[2])

    def test_254_hosts_are_asked_at_once(self) -> None:
        entries = [self.world.entry(f"h{n}", 1 if n == 77 else None) for n in range(1, 255)]
        self.world.hosts("".join(entries))
        done = self.example("ping_254.py", "h")
        self.assertEqual(done.returncode, 1)
        lines = done.stdout.splitlines()
        self.assertTrue(lines[0].startswith("h77: cannot reach h77"), lines)
        self.assertTrue(lines[-1].startswith("253 of 254 hosts are there"), lines)
        self.assertEqual(len(lines), 2)


    def test_a_folder_goes_to_many_hosts(self) -> None:
        self.world.hosts(self.world.entry("a1") + self.world.entry("a2") + self.world.entry("a3", 1))
        source, target = self.file("site"), self.file("srv")
        source.mkdir()
        (source / "index.html").write_text("x")
        target.mkdir()
        done = self.example("push_folder.py", str(source), str(target), "a1", "a2")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual((target / "index.html").read_text(), "x")
        self.assertIn("a2: done, 0 files sent, 0 bytes", self.example("push_folder.py", str(source), str(target), "a2").stdout)
        os.mkfifo(source / "pipe")
        done = self.example("push_folder.py", str(source), str(target), "a1", "a3")
        self.assertEqual(done.returncode, 1)
        self.assertIn("  pipe: ", done.stdout.replace("site/", ""))
        self.assertIn("a3: not_started: cannot reach a3", done.stdout)


class Readme(WorldCase):
    """Runs each block of Python of the README that is followed by what it prints."""

    def test_what_the_readme_shows_is_what_is_printed(self) -> None:
        text = (ROOT / "README.md").read_text()
        blocks = re.findall(r"```python\n(.*?)```\n\n(?:```text\n(.*?)```)?", text, re.DOTALL)
        self.assertGreater(sum(1 for _, printed in blocks if printed), 3)
        self.world.hosts("".join(self.world.entry(name) for name in ("web1", "web2")) + self.world.entry("web3", 1))
        sources = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
        env = {**os.environ, "RCMD_DIR": str(self.world.dir), "PATH": path(), "PYTHONPATH": sources}
        # What is copied lies in a folder of the test, and so does /srv.
        here = self.file().parent
        for name, text in (("index.html", "<h1>Hello</h1>"), ("main.css", "h1{}\n")):
            (here / "site").mkdir(exist_ok=True)
            (here / "site" / name).write_text(text)
        (here / "srv").mkdir()
        for code, printed in blocks:
            if not printed:
                continue
            with self.subTest(code):
                words = [sys.executable, "-c", code.replace('"/srv/', f'"{here}/srv/')]
                done: Any = subprocess.run(
                    words, env=env, cwd=here, capture_output=True, text=True, timeout=DEADLINE
                )
                self.assertEqual((done.stdout, done.stderr), (printed, ""))


if __name__ == "__main__":
    unittest.main()
