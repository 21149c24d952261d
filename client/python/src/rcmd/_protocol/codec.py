"""Bytes to frames and back."""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import limits


class ProtocolFault(Exception):
    """Says what the server did wrong; it ends the connection."""


class Frame(NamedTuple):
    """Holds a header and its payload."""

    type: str
    fields: Dict[str, Any]
    payload: bytes


def encode(kind: str, payload: bytes = b"", /, **fields: Any) -> bytes:
    """Returns a frame as bytes. Fields that are None are left out."""
    header: Dict[str, Any] = {"type": kind}
    header.update((name, value) for name, value in fields.items() if value is not None)
    if payload:
        header["len"] = len(payload)
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    return struct.pack(">I", len(text)) + text + payload


class Decoder:
    """Takes bytes as they come and gives whole frames. It holds one header and one payload at most, and
    what came in the same read."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: Optional[Dict[str, Any]] = None
        self.completed = 0
        """How many headers and payloads have come to their end."""
        self.greeted = False
        """Whether the server's hello was read, from when on headers may be long."""

    def feed(self, data: bytes) -> None:
        """Adds bytes."""
        self._buffer += data

    def waits_for(self) -> Optional[Tuple[str, float]]:
        """Returns what has begun and is not complete, `header` or `payload`, and the seconds that it may take."""
        if self._header is not None:
            length = self._header.get("len", 0)
            return "payload", limits.PAYLOAD_DEADLINE + length / limits.PAYLOAD_RATE
        return ("header", limits.HEADER_DEADLINE) if self._buffer else None

    def frames(self) -> Iterator[Frame]:
        """Yields the frames that are complete.

        Raises:
            ProtocolFault: What came is no frame.
        """
        while True:
            if self._header is None:
                self._header = self._read_header()
            if self._header is None:
                return
            length = self._header.get("len", 0)
            if len(self._buffer) < length:
                return
            payload = bytes(memoryview(self._buffer)[:length])
            del self._buffer[:length]
            self.completed += 1
            header, self._header = self._header, None
            yield Frame(header["type"], header, payload)

    def _read_header(self) -> Optional[Dict[str, Any]]:
        if len(self._buffer) < 4:
            return None
        (length,) = struct.unpack_from(">I", self._buffer)
        limit = limits.HEADER if self.greeted else limits.HEADER_BEFORE_HELLO
        if not 0 < length <= limit:
            raise ProtocolFault(f"a header of {length} bytes, where 1 to {limit} are allowed")
        if len(self._buffer) < 4 + length:
            return None
        text = bytes(memoryview(self._buffer)[4 : 4 + length])
        del self._buffer[: 4 + length]
        self.completed += 1
        return read_header(text)


def read_header(text: bytes) -> Dict[str, Any]:
    """Returns a header's object, with `type` and `len` checked.

    Raises:
        ProtocolFault: It is not the JSON that the protocol allows.
    """
    try:
        decoded = text.decode("utf-8")
        if text.count(b"{") + text.count(b"[") > limits.DEPTH and _depth(decoded) > limits.DEPTH:
            raise ProtocolFault(f"JSON nested deeper than {limits.DEPTH}")
        header = json.loads(
            decoded, object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant
        )
        _check_strings(header)
    except ProtocolFault:
        raise
    except (ValueError, RecursionError) as error:
        raise ProtocolFault(f"a header that is no JSON as the protocol has it ({error})") from None
    if not isinstance(header, dict):
        raise ProtocolFault("a header that is no JSON object")
    if not isinstance(header.get("type"), str):
        raise ProtocolFault("a header without a type")
    length = header.get("len", 0)
    if not is_integer(length, limits.PAYLOAD):
        raise ProtocolFault(f"a payload whose length is not a number up to {limits.PAYLOAD}")
    return header


def is_integer(value: object, most: int = limits.INTEGER) -> bool:
    """Returns whether a value is an integer from 0 to `most`, and no boolean."""
    return type(value) is int and 0 <= value <= most


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProtocolFault("a key that stands twice in a header")
    return found


def _integer(text: str) -> int:
    # 2^53 - 1 has 16 digits; what is longer is not worth the time to read it.
    return int(text) if len(text) <= 16 else -1


def _constant(text: str) -> float:
    raise ProtocolFault(f"{text} is no number of JSON")


def _depth(text: str) -> int:
    deepest = depth = 0
    inside = escaped = False
    for character in text:
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}]":
            depth -= 1
    return deepest


def _check_strings(value: object) -> None:
    """Refuses NUL, and halves of characters that no UTF-8 has, in all strings and keys."""
    if isinstance(value, str):
        if "\0" in value:
            raise ProtocolFault("a NUL in a string of a header")
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_strings(key)
            _check_strings(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_strings(inner)
