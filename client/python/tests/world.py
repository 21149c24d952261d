"""A throwaway authority, a real server and what stands between it and its clients."""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, TypeVar

import rcmd
from rcmd._host import inventory

T = TypeVar("T")

# Seconds after which what is awaited is not coming.
DEADLINE = 60.0


def program(name: str) -> str:
    """Returns a program under test: from the folder $RCMD_TEST_BIN_DIR, else from PATH.

    Raises:
        unittest.SkipTest: It is in neither.
    """
    folder = os.environ.get("RCMD_TEST_BIN_DIR")
    found = shutil.which(name, path=folder)
    if found is None:
        raise unittest.SkipTest(f"needs {name}; set RCMD_TEST_BIN_DIR to the folder of the programs")
    return found


def await_true(condition: Callable[[], T], what: str) -> T:
    """Waits until a condition holds, and returns what it returned."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {DEADLINE:g} s")


class World:
    """Holds a folder with an authority and identities, and a server that can be started."""

    def __init__(self, config: str = "") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rcmd-python-")
        self.root = pathlib.Path(self._folder.name)
        self.dir = self.root / "demo"
        self._server: Optional["subprocess.Popen[str]"] = None
        self.port = 0
        self.certs("quickstart", str(self.dir))
        (self.dir / "server.toml").write_text(config)

    def certs(self, *words: str) -> str:
        """Runs rcmd-certs."""
        command = [program("rcmd-certs"), *words]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.stderr}")
        return done.stdout

    def start(self) -> World:
        """Starts the server; from the second time on at the same port."""
        with open(self.root / "server.log", "a") as log:
            self._server = subprocess.Popen(
                [program("rcmd-server"), "--dir", str(self.dir), "--listen", f"127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._server.stdout is not None
        ready, _, _ = select.select([self._server.stdout], [], [], DEADLINE)
        line = self._server.stdout.readline() if ready else ""
        if not line.startswith("listening on "):
            self.stop()
            raise AssertionError(f"the server does not listen: {line!r}\n{self.log()}")
        self.port = int(line.rpartition(":")[2])
        return self

    def log(self) -> str:
        """Returns the end of the server's log."""
        return (self.root / "server.log").read_text()[-4000:]

    def send(self, number: int) -> None:
        """Sends the server a signal."""
        assert self._server is not None
        self._server.send_signal(number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """Ends the server."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(number)
            server.wait(DEADLINE)
            if server.stdout is not None:
                server.stdout.close()

    def close(self) -> None:
        """Ends the server and removes the folder."""
        if self._server is not None:
            # The second TERM skips the wait for commands; their trees are killed.
            self._server.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            self.stop(signal.SIGTERM)
        self._folder.cleanup()

    @property
    def host(self) -> str:
        """Returns the server as a host."""
        return f"localhost:{self.port}"

    def hosts(self, text: str) -> None:
        """Writes hosts.toml.

        Raises:
            unittest.SkipTest: This Python can't read it.
        """
        if inventory._toml() is None:
            raise unittest.SkipTest("needs Python 3.11 or tomli")
        (self.dir / "hosts.toml").write_text(text)

    def entry(self, name: str, port: Optional[int] = None, **more: str) -> str:
        """Returns an entry of hosts.toml for this server, or for another port of this machine."""
        more = {"certificate": "localhost", **more}
        lines = [f'[hosts."{name}"]', 'address = "127.0.0.1"', f"port = {self.port if port is None else port}"]
        return "\n".join([*lines, *(f'{key} = "{value}"' for key, value in more.items())]) + "\n"

    def run(self, argv: Any, **more: Any) -> rcmd.Result:
        """Runs a command on the server."""
        return rcmd.run(more.pop("host", self.host), argv, dir=more.pop("dir", self.dir), **more)


class WorldCase(unittest.TestCase):
    """A test with one server for all its tests, whose settings are `config`."""

    config = ""
    world: World

    @classmethod
    def setUpClass(cls) -> None:
        cls.world = World(cls.config)
        cls.addClassCleanup(cls.world.close)
        cls.world.start()

    def file(self, name: str = "file") -> pathlib.Path:
        """Returns a path for a file of this test alone."""
        folder = tempfile.mkdtemp(dir=self.world.root)
        return pathlib.Path(folder) / name

    def await_file(self, path: pathlib.Path) -> str:
        """Waits for a file that is not empty, and returns its text."""
        return await_true(lambda: path.exists() and path.read_text(), f"{path} is written")

    def await_gone(self, pid: int) -> None:
        """Waits until a process is gone, or a zombie."""

        def gone() -> bool:
            try:
                return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                return True

        await_true(gone, f"process {pid} is killed")

    @contextlib.contextmanager
    def proxy(self, **more: Any) -> Iterator[Proxy]:
        """Gives a proxy in front of the server."""
        proxy = Proxy(self.world.port, **more)
        try:
            yield proxy
        finally:
            proxy.close()


class FilesCase(WorldCase):
    """A test that copies files, with a folder at each end."""

    def setUp(self) -> None:
        self.here, self.there = self.folder(), self.folder()
        self.more: Dict[str, Any] = {"dir": self.world.dir, "client": program("rcmd-client")}

    def folder(self) -> pathlib.Path:
        """Returns a new folder."""
        return pathlib.Path(tempfile.mkdtemp(dir=self.world.root))

    @contextlib.contextmanager
    def within(self, folder: pathlib.Path) -> Iterator[None]:
        """Makes a folder the current one meanwhile."""
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)

    def tree(self, folder: pathlib.Path, *names: str) -> None:
        """Makes files of 4 bytes."""
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.fsencode(name)[:4].ljust(4))

    def names(self, folder: pathlib.Path) -> List[str]:
        """Returns what is in a folder and below it."""
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

    def put(self, src: Any, dst: Any, *, host: Any = None, **more: Any) -> Any:
        """Copies to the server."""
        return rcmd.put(self.world.host if host is None else host, src, dst, **{**self.more, **more})

    def get(self, src: Any, dst: Any, *, host: Any = None, **more: Any) -> Any:
        """Copies from the server."""
        return rcmd.get(self.world.host if host is None else host, src, dst, **{**self.more, **more})

    def totals(self, transfer: rcmd.Transfer) -> rcmd.Totals:
        """Returns the totals, which must be there."""
        self.assertIsNotNone(transfer.totals)
        assert transfer.totals is not None
        return transfer.totals

    def await_no_client(self) -> None:
        """Waits until no client runs that has this world's folder on its command line."""
        await_true(lambda: not clients(self.world.dir), "no client is left")


def clients(dir: pathlib.Path) -> List[int]:
    """Returns the processes of clients that have a folder of certificates on their command lines."""
    word, found = os.fsencode(f"--dir={dir}"), []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


class Proxy:
    """Passes TCP on and breaks links on purpose.

    `cuts` has, for the first connections, after how many bytes from the server they are cut; later ones are whole.
    `how` is `reset`, `fin` (an end of TCP without that of TLS) or `silence`.
    """

    def __init__(self, port: int, cuts: Tuple[int, ...] = (), how: str = "reset") -> None:
        self._target = port
        self._cuts = list(cuts)
        self.how = how
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.refusing = False
        self._lock = threading.Lock()
        self._pairs: List[Tuple[socket.socket, socket.socket]] = []
        self._threads: List[threading.Thread] = []
        self._thread(self._accept)

    @property
    def host(self) -> str:
        """Returns the proxy as a host."""
        return f"localhost:{self.port}"

    def _thread(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.refusing:
                    raise ConnectionError
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _reset(client)
                continue
            with self._lock:
                cut = self._cuts[self.connections] if self.connections < len(self._cuts) else None
                self.connections += 1
                self._pairs.append((client, server))
            self._thread(self._pass, client, server, None)
            self._thread(self._pass, server, client, cut)

    def _pass(self, source: socket.socket, target: socket.socket, cut: Optional[int]) -> None:
        passed = 0
        try:
            while True:
                data = source.recv(65_536 if cut is None else max(1, min(65_536, cut - passed)))
                passed += len(data)
                if data:
                    target.sendall(data)
                if cut is not None and passed >= cut:
                    return self._break(target, source)
                if not data:
                    return target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _break(self, client: socket.socket, server: socket.socket) -> None:
        if self.how == "reset":
            _reset(client)
        elif self.how == "fin":
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        if self.how != "silence":
            _reset(server)

    def cut(self) -> None:
        """Breaks all present connections now."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for client, server in pairs:
            self._break(client, server)

    def close(self) -> None:
        """Ends it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.how = "reset"
        with self._lock:
            pairs = list(self._pairs)
        for client, server in pairs:
            for sock in (client, server):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                _reset(sock)
        for thread in self._threads:
            thread.join(DEADLINE)


def _reset(sock: socket.socket) -> None:
    """Ends a connection by RST, and wakes whoever reads from it."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)
    sock.close()
