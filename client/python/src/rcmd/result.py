"""How a command ended."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, List, NamedTuple, Optional, Union

from .errors import CommandFailed, Error, NotStarted, TimedOut, Unknown


class Output(NamedTuple):
    """Holds a piece of output, as `on_output` gets it."""

    stream: str
    """`stdout` or `stderr`."""
    data: bytes
    """The bytes, at least one."""
    time: Optional[datetime]
    """When the host read them from the command, by its clock."""


@dataclass(frozen=True)
class Result:
    """Holds how a command ended and what it wrote, in the manner of `subprocess.CompletedProcess`."""

    args: Union[str, bytes, List[Union[str, bytes]]]
    """What was run."""
    host: str
    """The host as it was named."""
    outcome: str
    """`exited`, `signaled`, `timed_out`, `not_started` or `unknown`."""
    returncode: int
    """The exit status by the table of `rcmd-client`: the command's own, 128 + N for signal N, 124 for a time
    that was over, 125 to 127 when nothing ran, 255 when nobody knows."""
    signal: Optional[str] = None
    """The signal that ended it, such as `SIGKILL`."""
    stdout: bytes = field(default=b"", repr=False)
    stderr: bytes = field(default=b"", repr=False)
    error: Optional[Error] = None
    """What went wrong beside the command itself; with `check` also that it failed."""
    code: Optional[int] = None
    """The status that it ended with itself, if it did."""
    job: Optional[str] = None
    """The job's name on the host, once it had one."""
    retry_safe: bool = False
    """Whether the same can be run again without the danger of running twice."""
    truncated: bool = False
    """Whether output existed that did not come."""
    output_open: bool = False
    """Whether something still held the output open when the command had ended."""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    stdout_digest: Optional[str] = None
    stderr_digest: Optional[str] = None
    started_at: Optional[datetime] = None
    """When the process started, by the host's clock."""
    ended_at: Optional[datetime] = None
    duration: Optional[float] = None
    """How long it ran, in seconds, by a clock of the host that never jumps."""
    audit: Optional[str] = None
    """The record of the end in the host's audit, `SEQ:HASH`."""

    def check_returncode(self) -> None:
        """Raises what went wrong, if the command did not end with status 0.

        Raises:
            TimedOut, NotStarted, Unknown: As `run` raises them.
            CommandFailed: It ended with another status, or by a signal.
        """
        if self.returncode == 0:
            return
        if isinstance(self.error, (TimedOut, NotStarted, Unknown, CommandFailed)):
            raise self.error
        raise failed(self)

    def to_dict(self) -> Dict[str, Any]:
        """Returns the result object of `rcmd-client --json`, without the output."""
        error = None
        if self.error is not None and self.error.kind is not None:
            error = {"kind": self.error.kind, "message": self.error.message}
            if self.error.hint:
                error["hint"] = self.error.hint
        return {
            "host": self.host,
            "job": self.job,
            "outcome": self.outcome,
            "code": self.code,
            "signal": self.signal,
            "error": error,
            "retry_safe": self.retry_safe,
            "stdout_bytes": self.stdout_bytes,
            "stderr_bytes": self.stderr_bytes,
            "stdout_digest": self.stdout_digest,
            "stderr_digest": self.stderr_digest,
            "output_open": self.output_open,
            "truncated": self.truncated,
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
            "duration_ms": None if self.duration is None else round(self.duration * 1000),
            "audit": self.audit,
        }


def failed(result: Result) -> CommandFailed:
    """Returns the exception for a command that ran and failed."""
    how = f"was ended by {result.signal}" if result.signal else f"ended with status {result.returncode}"
    message = f"the command on {result.host} {how}"
    kind: Optional[str] = None
    hint = ""
    if result.error is not None:
        message, kind, hint = f"{message}: {result.error.message}", result.error.kind, result.error.hint
    return CommandFailed(message, kind=kind, hint=hint, result=result)


def moment(milliseconds: Optional[int]) -> Optional[datetime]:
    """Returns a time of the wire; none for one that is past all years."""
    if milliseconds is None:
        return None
    try:
        whole = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    return whole.replace(microsecond=milliseconds % 1000 * 1000)


def rfc3339(time: Optional[datetime]) -> Optional[str]:
    """Returns a time as text, to the millisecond."""
    if time is None:
        return None
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encoded(data: bytes) -> Dict[str, str]:
    """Returns bytes as the fields `data` and `encoding` of an event: text as it is, else base64."""
    try:
        return {"data": data.decode("utf-8"), "encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"data": base64.b64encode(data).decode("ascii"), "encoding": "base64"}
