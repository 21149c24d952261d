"""The way to a host: name, TCP, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import threading
from typing import Any, List, Optional, Set, Tuple

from .._host.target import Target
from .._host.text import printable
from .._host.tls import Credentials, Untrusted
from .._protocol.outcome import Failure
from .connection import Connection

# Seconds that an address has before the next is tried beside it (RFC 8305, section 5).
_STAGGER = 0.25
# Failed addresses that a message names.
_NAMED = 4

_Address = Tuple[int, Any]


class DialError(Exception):
    """Says why a host was not reached. `final` says that another attempt would fail likewise."""

    def __init__(self, failure: Failure, final: bool) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.final = final


async def dial(target: Target, credentials: Credentials, seconds: float) -> Connection:
    """Connects within so many seconds: name, TCP and TLS.

    Raises:
        DialError: It was not reached, or not believed.
    """
    stage = ["the name service did not answer in time"]
    attempt = asyncio.ensure_future(_dial(target, credentials, stage))
    try:
        # Not wait_for, which before Python 3.12 may lose a cancellation or a connection.
        await asyncio.wait({attempt}, timeout=seconds)
        if attempt.done():
            return attempt.result()
    except asyncio.CancelledError:
        attempt.add_done_callback(drop)
        raise
    finally:
        if attempt.cancel():
            await asyncio.wait({attempt})
    drop(attempt)
    raise _unreachable(target, stage[0])


def drop(attempt: asyncio.Future[Connection]) -> None:
    """Ends the connection that an attempt has made, if it has."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().drop()


async def _dial(target: Target, credentials: Credentials, stage: List[str]) -> Connection:
    addresses = await _resolve(target)
    for context in credentials.contexts():
        stage[0] = "no answer in time"
        sock = await _tcp(target, addresses)
        stage[0] = "no answer in time to the TLS handshake"
        try:
            return await _handshake(target, credentials, context, sock)
        except ssl.SSLCertVerificationError as error:
            if not credentials.may_go_on(error):
                raise _tls_error(target, credentials, error, final=True) from None
    raise _unreachable(target, "its revocation list says nothing")


async def _handshake(
    target: Target, credentials: Credentials, context: ssl.SSLContext, sock: socket.socket
) -> Connection:
    loop = asyncio.get_running_loop()
    try:
        connection = Connection(context, _certificate_name(target))
        await loop.create_connection(lambda: connection, sock=sock)
    except BaseException:
        sock.close()
        raise
    try:
        await connection.handshake
        credentials.check(connection.peer(), connection.protocol())
    except ssl.SSLCertVerificationError:
        raise
    except (ssl.SSLError, Untrusted) as error:
        connection.drop()
        raise _tls_error(target, credentials, error, final=True) from None
    except OSError as error:
        # A link that broke in the handshake may hold next time.
        why = Failure("tls", f"the server closed the connection during the TLS handshake ({error})")
        raise DialError(_of(target, why), final=False) from None
    except BaseException:
        connection.drop()
        raise
    return connection


def _certificate_name(target: Target) -> str:
    name = target.certificate
    try:
        ipaddress.ip_address(name)
        return name
    except ValueError:
        fits = name.isascii() and not name.startswith(".") and "/" not in name and ":" not in name
        if fits and name and all(0 < len(label) < 64 for label in name.rstrip(".").split(".")):
            return name
    why = f"`{printable(name)}` is no name that a certificate can hold"
    raise DialError(_of(target, Failure("tls", why, "Say `certificate` in hosts.toml.")), final=True)


async def _resolve(target: Target) -> List[_Address]:
    """Returns all addresses, in the order in which they are to be tried.

    A thread of its own asks the name service: one that does not answer must hold up neither the end of the program
    nor the other lookups of this one.
    """
    with contextlib.suppress(ValueError):
        version = ipaddress.ip_address(target.address).version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        return [(family, (target.address, target.port))]
    loop = asyncio.get_running_loop()
    found: asyncio.Future[List[_Address]] = loop.create_future()

    def settle(addresses: Optional[List[_Address]], error: Optional[BaseException]) -> None:
        if found.done():
            return
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result(addresses or [])

    def look() -> None:
        addresses, failed = None, None
        try:
            listed = socket.getaddrinfo(target.address, target.port, type=socket.SOCK_STREAM)
            addresses = [(int(family), address) for family, _, _, _, address in listed]
        except (OSError, UnicodeError) as error:
            failed = OSError(getattr(error, "strerror", None) or str(error))
        with contextlib.suppress(RuntimeError):  # the loop has gone
            loop.call_soon_threadsafe(settle, addresses, failed)

    threading.Thread(target=look, name="rcmd-lookup", daemon=True).start()
    why = "it has no address"
    try:
        addresses = await found
        if addresses:
            return list(dict.fromkeys(addresses))
    except OSError as error:
        why = str(error)
    of = "" if target.address == target.name else f", the address of {target.name}"
    hint = f"Check the name with `getent hosts {target.address}`, or use an address."
    message = f"cannot find the host {target.address}{of}: {why}"
    raise DialError(Failure("unreachable", message, hint), final=False)


async def _tcp(target: Target, addresses: List[_Address]) -> socket.socket:
    """Connects to the first address that answers. One that fails makes way at once."""
    waiting = list(addresses)
    attempts: Set[asyncio.Future[socket.socket]] = set()
    failed: List[str] = []
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.ensure_future(_connect(*waiting.pop(0))))
            done, attempts = await asyncio.wait(
                attempts,
                timeout=_STAGGER if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            connected = [attempt for attempt in done if attempt.exception() is None]
            for attempt in connected[1:]:
                attempt.result().close()
            if connected:
                return connected[0].result()
            failed += [str(attempt.exception()) for attempt in done]
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close)
            attempt.cancel()
        if attempts:
            await asyncio.wait(attempts)
    raise _unreachable(target, ", ".join(failed[:_NAMED]))


def _close(attempt: asyncio.Future[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(family: int, address: Any) -> socket.socket:
    host, port = address[:2]
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(f"{shown}: {error.strerror or error}") from None
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
        return sock
    except OSError as error:
        sock.close()
        raise OSError(f"{shown}: {_words(error)}") from None
    except BaseException:
        sock.close()
        raise


def _words(error: OSError) -> str:
    # asyncio's own text names the address once more.
    return os.strerror(error.errno) if error.errno else str(error)


def _of(target: Target, failure: Failure) -> Failure:
    message = f"TLS with {target.place()} failed: {failure.message}"
    return Failure(failure.kind, message, failure.hint or _doctor(target))


def _tls_error(
    target: Target, credentials: Credentials, error: BaseException, final: bool
) -> DialError:
    return DialError(_of(target, credentials.explain(error, target.certificate)), final)


def _unreachable(target: Target, why: str) -> DialError:
    message = f"cannot reach {target.place()} ({why})"
    return DialError(Failure("unreachable", message, _doctor(target)), final=False)


def _doctor(target: Target) -> str:
    return f"Try `rcmd-client doctor {target.name}`."
