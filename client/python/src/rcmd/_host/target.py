"""Where a host is reached."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Optional

from .._protocol.limits import PORT
from .text import printable

# The longest name of the DNS (RFC 1035, section 2.3.4).
_LONGEST_NAME = 253

_HINT = "Write NAME, NAME:PORT, ADDRESS or [V6]:PORT."


class NoHost(Exception):
    """Says why a text is no host, and what to write instead."""

    def __init__(self, message: str, hint: str = _HINT) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Target:
    """Holds a host and how it is reached."""

    name: str
    """As it was written."""
    address: str
    """A name or an address, an IPv6 address without brackets."""
    port: int
    certificate: str
    """The name that its certificate must have."""
    user: Optional[str] = None
    """Whom commands run as there, unless the caller says."""

    def place(self) -> str:
        """Returns address and port, behind the name if that is another."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        place = f"{address}:{self.port}"
        return place if self.name in (place, self.address, address) else f"{self.name} at {place}"


def is_v6(text: str) -> bool:
    """Returns whether a text is an IPv6 address."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def read_port(text: str) -> Optional[int]:
    """Returns a port, 1 to 65535; none for any other text."""
    if 1 <= len(text) <= 5 and text.isascii() and text.isdigit() and 0 < int(text) <= 65_535:
        return int(text)
    return None


def parse(text: str) -> Target:
    """Reads a host as people write it.

    Raises:
        NoHost: It is none.
    """

    def wrong(why: str) -> NoHost:
        return NoHost(f"`{printable(text[:300])}` is no host ({why})")

    if not text:
        raise wrong("it is empty")
    # What follows the % names a link of this machine, which no certificate does (RFC 4007).
    if "%" in text and is_v6(text.lstrip("[").partition("%")[0]):
        raise wrong("an address with a zone, such as %eth0, is not taken")
    if "@" in text:
        raise NoHost(f"`{printable(text[:300])}` is no host (a user is no part of it)", "Say user=NAME.")
    port: Optional[str] = None
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed:
            raise wrong("a bracket is not closed")
        if not is_v6(host):
            raise wrong("not an IPv6 address in the brackets; an expression is no host here")
        if rest and not rest.startswith(":"):
            raise wrong("text behind the bracket")
        port = rest[1:] if rest else None
    elif is_v6(text):
        host = text
    else:
        host, colon, rest = text.partition(":")
        port = rest if colon else None
    odd = any(not (character.isalnum() or character in ".-_:") for character in host)
    if odd or not host or len(host.encode("utf-8")) > _LONGEST_NAME or host.startswith("-"):
        raise wrong("not a name")
    if host in (".", ".."):
        raise wrong("it is the name of a folder")
    number = PORT if port is None else read_port(port)
    if number is None:
        raise wrong("a port is a number from 1 to 65535")
    return Target(text, host, number, host)
