"""What `rcmd-client cp --json` says of one host, line by line."""

from __future__ import annotations

import base64
import json
import os
from typing import Any, Dict, List, Optional, Type, TypeVar

from .._protocol.outcome import Failure
from ..transfer import File, FileError, Totals

T = TypeVar("T")

# Bytes of a line, of which a path of 1,025 names of 255 bytes in base64 is the longest part.
_MOST_LINE = 4 * 1024 * 1024
# Failed files and notes of a host that are kept.
_MOST_FAILURES = 10_000
_MOST_NOTES = 1_000


class NoEvent(Exception):
    """Says why a line is no event."""


class Events:
    """Gathers what is said of one host. Events and fields that only a newer program knows are passed over."""

    def __init__(self, host: str, *, every_file: bool) -> None:
        """With `every_file`, all files are told of by `feed`, else only those that failed."""
        self._host = host
        self._every_file = every_file
        self._rest = b""
        self.failures: List[File] = []
        self.notes: List[str] = []
        self.end: Optional[End] = None

    def feed(self, data: bytes) -> List[File]:
        """Takes a piece of standard output and returns the files that it tells of.

        Raises:
            NoEvent: A line is no event, or too long.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MOST_LINE:
            raise NoEvent(f"a line of more than {_MOST_LINE} bytes")
        found = (self._read(line) for line in lines)
        return [file for file in found if file is not None]

    def note(self, text: str) -> None:
        """Keeps a line for people."""
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(text)

    def _read(self, line: bytes) -> Optional[File]:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            raise NoEvent("a line that is no JSON") from None
        if not isinstance(event, dict):
            raise NoEvent("a line that is no object")
        name = _value(event, "event", str)
        if name == "file":
            return self._file(event) if self._every_file or event.get("action") == "failed" else None
        if name == "note":
            self.note(os.fsdecode(_bytes(event, "data", "encoding")))
        elif name == "end" and self.end is None:
            self.end = End(event)
        return None

    def _file(self, event: Dict[str, Any]) -> File:
        error = _optional(event, "error", dict)
        action = _value(event, "action", str)
        file = File(
            host=self._host,
            path=os.fsdecode(_bytes(event, "path", "path_encoding")),
            action=action,
            kind=_optional(event, "kind", str) or "other",
            size=_optional(event, "bytes", int) or 0,
            digest=_optional(event, "digest", str),
            notes=tuple(str(note) for note in _optional(event, "notes", list) or ()),
            error=None if error is None else FileError(_value(error, "kind", str), _value(error, "message", str)),
        )
        if action == "failed" and len(self.failures) < _MOST_FAILURES:
            self.failures.append(file)
        return file


class End:
    """Holds the end of one host."""

    def __init__(self, event: Dict[str, Any]) -> None:
        """Reads it.

        Raises:
            NoEvent: It is no end.
        """
        result = _optional(event, "result", dict) or {}
        totals = _optional(event, "totals", dict)
        own, error = (_optional(fields, "error", dict) for fields in (event, result))
        milliseconds = _optional(event, "duration_ms", int)
        self.status = _value(event, "status", int)
        self.outcome = _optional(result, "outcome", str)
        self.job = _optional(result, "job", str)
        self.duration = None if milliseconds is None else milliseconds / 1000
        self.totals = None if totals is None else _totals(totals)
        self.failure = None if own is None else _failure(own)
        """Why it did not come to an account."""
        self.refusal = None if error is None else _failure(error)
        """What was wrong with the command that the host ran for it, or did not."""


def _totals(fields: Dict[str, Any]) -> Totals:
    def number(name: str) -> int:
        return _optional(fields, name, int) or 0

    return Totals(
        sent=number("sent"),
        bytes=number("bytes"),
        made=number("made"),
        adjusted=number("adjusted"),
        unchanged=number("unchanged"),
        skipped=number("skipped"),
        vanished=number("vanished"),
        deleted=number("deleted"),
        failed=number("failed"),
        crossed=number("crossed"),
        digest=_optional(fields, "digest", str),
        stopped=bool(_optional(fields, "stopped", bool)),
        withheld=_optional(fields, "withheld", str),
    )


def _failure(error: Dict[str, Any]) -> Failure:
    return Failure(_value(error, "kind", str), _value(error, "message", str), _optional(error, "hint", str) or "")


def _optional(event: Dict[str, Any], name: str, kind: Type[T]) -> Optional[T]:
    """Returns a field of this type; None if it is missing or null."""
    value = event.get(name)
    # True is an int to Python, and none to anybody else.
    if value is None or type(value) is kind:
        return value
    raise NoEvent(f"an event whose `{name}` is no {kind.__name__}")


def _value(event: Dict[str, Any], name: str, kind: Type[T]) -> T:
    value = _optional(event, name, kind)
    if value is None:
        raise NoEvent(f"an event without `{name}`")
    return value


def _bytes(event: Dict[str, Any], name: str, encoding: str) -> bytes:
    """Returns bytes that stand in an event as text, or in base64 where they are none."""
    text = _value(event, name, str)
    how = _optional(event, encoding, str) or "utf-8"
    try:
        if how == "utf-8":
            return text.encode("utf-8")
        if how == "base64":
            return base64.b64decode(text, validate=True)
    except ValueError:
        pass
    raise NoEvent(f"an event whose `{name}` is not in the encoding that it names")
