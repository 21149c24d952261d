"""A server that says what a test tells it to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import socket
import ssl
import struct
import threading
import unittest
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

import rcmd
from rcmd._protocol.codec import encode
from tests.world import DEADLINE, World

INSTANCE = "00" * 16
JOB = "0123456789abcdef"


def digest(data: bytes) -> str:
    """Returns the digest of a stream."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Gone(Exception):
    """Says that the client has closed the connection."""


class Peer:
    """One connection of a client, from the server's side."""

    def __init__(self, tls: ssl.SSLSocket, number: int) -> None:
        self._tls = tls
        self.number = number
        self.ch = 1

    def read(self) -> Tuple[Dict[str, Any], bytes]:
        """Reads a frame."""
        header = json.loads(self._exactly(struct.unpack(">I", self._exactly(4))[0]))
        return header, self._exactly(header.get("len", 0))

    def until(self, kind: str) -> Dict[str, Any]:
        """Reads frames until one is of this type."""
        while True:
            header, _ = self.read()
            if header["type"] == kind:
                self.ch = header.get("ch", self.ch)
                return header

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self._tls.recv(count - len(data))
            except OSError:
                more = b""
            if not more:
                raise Gone
            data += more
        return data

    def raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._tls.sendall(data)

    def send(self, kind: str, payload: bytes = b"", /, **fields: Any) -> None:
        """Sends a frame."""
        self.raw(encode(kind, payload, **fields))

    def on(self, kind: str, payload: bytes = b"", /, **fields: Any) -> None:
        """Sends a frame of the client's channel."""
        self.send(kind, payload, **{"ch": self.ch, **fields})

    def hello(self, **fields: Any) -> None:
        """Says hello."""
        usual = {"agent": "liar", "capabilities": ["exec"], "instance": INSTANCE}
        times = {"grace_ms": 10_000, "retain_ms": 600_000, "keepalive_ms": 15_000}
        self.send("hello", **{**usual, **times, **fields})

    def begin(self) -> Dict[str, Any]:
        """Says hello, takes a start and says that it runs. Returns the start."""
        self.hello()
        start = self.until("start")
        self.started()
        return start

    def started(self, **fields: Any) -> None:
        """Says that the command runs."""
        self.on("started", **{"job": JOB, "digest": "sha256", "started_at": 1, **fields})

    def end(self, stdout: bytes = b"", stderr: bytes = b"", **fields: Any) -> None:
        """Ends both streams and the command."""
        for stream, data in (("stdout", stdout), ("stderr", stderr)):
            self.on("end", stream=stream, total=len(data), digest=digest(data))
        self.exit(stdout, stderr, **fields)

    def exit(self, stdout: bytes = b"", stderr: bytes = b"", **fields: Any) -> None:
        """Ends the command."""
        usual: Dict[str, Any] = {"outcome": "exited", "code": 0, "ended_at": 2}
        usual.update(stdout_bytes=len(stdout), stdout_digest=digest(stdout))
        usual.update(stderr_bytes=len(stderr), stderr_digest=digest(stderr))
        self.on("exit", **{**usual, **fields})

    def close(self) -> None:
        """Ends TLS in order, and TCP."""
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()
        self._tls.close()

    def cut(self) -> None:
        """Ends TCP alone, behind all that was sent."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._tls, socket.SHUT_RDWR)

    def listen(self) -> None:
        """Reads until the client leaves."""
        with contextlib.suppress(Gone):
            while True:
                self.read()


class Liar:
    """Listens, and runs a script on each connection. What the scripts raise is in `failed`."""

    def __init__(
        self,
        folder: pathlib.Path,
        script: Callable[[Peer], None],
        *,
        cert: Optional[Tuple[str, str]] = None,
        alpn: Tuple[str, ...] = ("rcmd/1",),
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        self._script = script
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = self._context.maximum_version = version
        self._context.num_tickets = 0
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_verify_locations(str(folder / "ca.pem"))
        self._context.load_cert_chain(*cert or (folder / "server/cert.pem", folder / "server/key.pem"))
        if alpn:
            self._context.set_alpn_protocols(list(alpn))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"localhost:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.failed: List[BaseException] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(client, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, number: int) -> None:
        client.settimeout(DEADLINE)
        try:
            with self._context.wrap_socket(client, server_side=True, suppress_ragged_eofs=False) as tls:
                peer = Peer(tls, number)
                self._script(peer)
                # What the client still has to say is read, or it would get a reset in place of the last words.
                peer.listen()
        except (OSError, Gone):
            pass
        except BaseException as error:
            self.failed.append(error)
        finally:
            client.close()

    def __enter__(self) -> Liar:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(DEADLINE)
        if self.failed:
            raise self.failed[0]


Script = Callable[[Peer], None]


class LiarCase(unittest.TestCase):
    """A test of what a client makes of a server's lies."""

    world: World

    @classmethod
    def setUpClass(cls) -> None:
        cls.world = World()
        cls.addClassCleanup(cls.world.close)

    def run_on(self, script: Script, argv: Any = ("true",), **more: Any) -> rcmd.Result:
        with Liar(self.world.dir, script) as liar:
            self.liar = liar
            return rcmd.run(liar.host, list(argv), dir=self.world.dir, **{"timeout": DEADLINE, **more})

    def fails(self, script: Script, kind: Optional[str], error: Type[rcmd.Error] = rcmd.Unknown, **more: Any) -> rcmd.Error:
        with self.assertRaises(error) as raised:
            self.run_on(script, **more)
        self.assertIs(type(raised.exception), error, str(raised.exception))
        self.assertEqual(raised.exception.kind, kind, str(raised.exception))
        return raised.exception
