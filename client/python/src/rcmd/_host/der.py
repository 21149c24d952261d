"""As much of DER as it takes to say which certificate is on which revocation list.

Nothing is trusted for being read here: OpenSSL has verified the certificate's chain, and lists come from files
that only this user and root can change.
"""

from __future__ import annotations

from typing import FrozenSet, Iterator, NamedTuple, Tuple

_INTEGER, _BOOLEAN, _OCTETS, _OID, _SEQUENCE = 0x02, 0x01, 0x04, 0x06, 0x30
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_BASIC_CONSTRAINTS = b"\x55\x1d\x13"


class DerFault(Exception):
    """Says that bytes are not the DER that they should be."""


class Certificate(NamedTuple):
    """Holds what revocation and the rule against authorities go by."""

    serial: int
    issuer: bytes
    is_authority: bool


class RevocationList(NamedTuple):
    """Holds whom an issuer has revoked."""

    issuer: bytes
    serials: FrozenSet[int]


class _Element(NamedTuple):
    tag: int
    content: bytes
    whole: bytes


def _elements(data: bytes) -> Iterator[_Element]:
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise DerFault("it is cut off")
        tag, length, begin = data[at], data[at + 1], at + 2
        if tag & 0x1F == 0x1F:
            raise DerFault("a tag is too long")
        if length >= 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4 or begin + count > len(data):
                raise DerFault("a length is wrong")
            length = int.from_bytes(data[begin : begin + count], "big")
            begin += count
        end = begin + length
        if end > len(data):
            raise DerFault("it is cut off")
        yield _Element(tag, data[begin:end], data[at:end])
        at = end


def _signed(data: bytes) -> Tuple[_Element, ...]:
    """Returns the parts of what is signed, in a certificate or a list."""
    outer = tuple(_elements(data))
    if len(outer) != 1 or outer[0].tag != _SEQUENCE:
        raise DerFault("it is not one sequence")
    inner = tuple(_elements(outer[0].content))
    if len(inner) != 3 or inner[0].tag != _SEQUENCE:
        raise DerFault("it is not something signed")
    return tuple(_elements(inner[0].content))


def _integer(element: _Element) -> int:
    if element.tag != _INTEGER or not element.content:
        raise DerFault("a number is missing")
    return int.from_bytes(element.content, "big", signed=True)


def read_certificate(data: bytes) -> Certificate:
    """Reads a certificate.

    Raises:
        DerFault: It is none.
    """
    parts = list(_signed(data))
    if parts and parts[0].tag == _VERSION:
        del parts[0]
    if len(parts) < 6 or parts[2].tag != _SEQUENCE:
        raise DerFault("it lacks parts of a certificate")
    extensions = [part for part in parts if part.tag == _EXTENSIONS]
    is_authority = any(_says_authority(part.content) for part in extensions)
    return Certificate(_integer(parts[0]), parts[2].whole, is_authority)


def _says_authority(extensions: bytes) -> bool:
    for listed in _elements(extensions):
        for extension in _elements(listed.content):
            parts = tuple(_elements(extension.content))
            if not parts or parts[0].tag != _OID or parts[0].content != _BASIC_CONSTRAINTS:
                continue
            if parts[-1].tag != _OCTETS:
                raise DerFault("an extension is broken")
            for constraints in _elements(parts[-1].content):
                first = next(_elements(constraints.content), None)
                return first is not None and first.tag == _BOOLEAN and first.content != b"\0"
    return False


def read_list(data: bytes) -> RevocationList:
    """Reads a revocation list.

    Raises:
        DerFault: It is none.
    """
    parts = list(_signed(data))
    if parts and parts[0].tag == _INTEGER:
        del parts[0]
    if len(parts) < 3 or parts[1].tag != _SEQUENCE or parts[2].tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise DerFault("it lacks parts of a revocation list")
    rest = parts[3:]
    if rest and rest[0].tag in (_UTC_TIME, _GENERALIZED_TIME):
        del rest[0]
    serials = set()
    if rest and rest[0].tag == _SEQUENCE:
        for entry in _elements(rest[0].content):
            first = next(_elements(entry.content), None)
            if first is None:
                raise DerFault("an entry is empty")
            serials.add(_integer(first))
    return RevocationList(parts[1].whole, frozenset(serials))
