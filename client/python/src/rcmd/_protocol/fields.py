"""What each frame of a server must have."""

from __future__ import annotations

import re
from typing import Callable, Dict, Tuple

from . import limits
from .codec import Frame, ProtocolFault, is_integer
from .outcome import OUTCOMES, SIGNALS, is_kind

Check = Callable[[object], bool]

_JOB = re.compile(r"[0-9a-hjkmnp-tv-z]{16}")
_DIGEST = re.compile(r"(blake3|sha256):[0-9a-f]{64}")
_AUDIT = re.compile(r"[0-9]{1,20}:[0-9a-f]{64}")
_INSTANCE = re.compile(r"[0-9a-f]{32}")


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value.encode("utf-8")) <= limits.TEXT


def _matches(pattern: "re.Pattern[str]") -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _texts(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= limits.CAPABILITIES
        and all(isinstance(entry, str) for entry in value)
    )


def _boolean(value: object) -> bool:
    return isinstance(value, bool)


def _kind(value: object) -> bool:
    return isinstance(value, str) and is_kind(value)


def _code(value: object) -> bool:
    return is_integer(value, 255)


_number: Check = is_integer
_output = _one_of("stdout", "stderr")
_input = _one_of("stdin")
_algorithm = _one_of("blake3", "sha256")

Fields = Dict[str, Tuple[Check, bool]]


def _fields(must: Dict[str, Check], may: Dict[str, Check]) -> Fields:
    fields = {name: (check, True) for name, check in must.items()}
    fields.update({name: (check, False) for name, check in may.items()})
    return fields


_FAILURE: Dict[str, Check] = {"hint": _text, "retry_after_ms": _number}
_MILLISECONDS = ("grace_ms", "retain_ms", "keepalive_ms")

# The frames that a server may send, whether they belong to a channel, and their fields.
_FRAMES: Dict[str, Tuple[bool, Fields]] = {
    "hello": (
        False,
        _fields(
            {
                "agent": _text,
                "capabilities": _texts,
                "instance": _matches(_INSTANCE),
                **{name: _number for name in _MILLISECONDS},
            },
            {},
        ),
    ),
    "ping": (False, _fields({"number": _number}, {})),
    "pong": (False, _fields({"number": _number}, {})),
    "error": (False, _fields({"kind": _kind, "message": _text}, _FAILURE)),
    "queued": (True, _fields({"position": _number}, {})),
    "started": (
        True,
        _fields({"job": _matches(_JOB), "digest": _algorithm, "started_at": _number}, {"note": _text}),
    ),
    "attached": (
        True,
        _fields(
            {
                "job": _matches(_JOB),
                "digest": _algorithm,
                "stdin": _number,
                "number": _number,
                "stdout": _number,
                "stderr": _number,
            },
            {"started_at": _number, "stdin_ended": _boolean},
        ),
    ),
    "refused": (
        True,
        _fields(
            {"reason": _one_of("unknown_key", "conflict", "superseded", "gone")},
            {"generation": _number},
        ),
    ),
    "data": (True, _fields({"stream": _output, "offset": _number}, {"time": _number})),
    "end": (
        True,
        _fields(
            {"stream": _output, "total": _number, "digest": _matches(_DIGEST)}, {"open": _boolean}
        ),
    ),
    "window": (True, _fields({"stream": _input, "got": _number, "upto": _number}, {})),
    "stop": (True, _fields({"stream": _input}, {})),
    "exit": (
        True,
        _fields(
            {
                "outcome": _one_of(*OUTCOMES),
                "stdout_bytes": _number,
                "stderr_bytes": _number,
                "ended_at": _number,
            },
            {
                "code": _code,
                "signal": _one_of(*SIGNALS),
                "kind": _kind,
                "message": _text,
                "stdout_digest": _matches(_DIGEST),
                "stderr_digest": _matches(_DIGEST),
                "open": _boolean,
                "started_at": _number,
                "duration_ms": _number,
                "audit": _matches(_AUDIT),
                **_FAILURE,
            },
        ),
    ),
}

# What an end must have beside its outcome: one of these. Nobody may read a 0 out of what is missing.
_PROOF = {
    "exited": ("code",),
    "signaled": ("signal",),
    "timed_out": ("code", "signal"),
    "not_started": ("kind",),
    "unknown": ("kind",),
}


def check(frame: Frame) -> None:
    """Checks that a server may send such a frame, and that it has what it must have.

    Raises:
        ProtocolFault: It is wrong, and how.
    """
    if frame.type not in _FRAMES:
        raise ProtocolFault(f"a frame of type {frame.type!r:.80}, which was not to come")
    of_channel, fields = _FRAMES[frame.type]
    if of_channel:
        channel = frame.fields.get("ch")
        if not is_integer(channel, limits.CHANNEL) or channel == 0:
            raise ProtocolFault(f"{frame.type} without a channel")
    for name, (fits, needed) in fields.items():
        if name not in frame.fields:
            if needed:
                raise ProtocolFault(f"{frame.type} without {name}")
        elif not fits(frame.fields[name]):
            raise ProtocolFault(f"{frame.type} with a {name} that is out of its range")
    if bool(frame.payload) != (frame.type == "data"):
        raise ProtocolFault(f"{frame.type} with a payload of {len(frame.payload)} bytes")
    if frame.type == "exit":
        proof = _PROOF[frame.fields["outcome"]]
        if not any(name in frame.fields for name in proof):
            raise ProtocolFault(f"an end of outcome {frame.fields['outcome']} without {proof[0]}")
        if ("kind" in frame.fields) != ("message" in frame.fields):
            raise ProtocolFault("an end with only one of kind and message")
