"""How a command ended, as far as this side knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from .._host.text import printable
from .._protocol.outcome import Failure
from .._protocol.streams import Receiving


@dataclass
class Ending:
    """Holds how a command ended, and what its host said of it."""

    outcome: str
    failure: Optional[Failure] = None
    code: Optional[int] = None
    signal: Optional[str] = None
    job: Optional[str] = None
    started_at: Optional[int] = None
    ended_at: Optional[int] = None
    duration_ms: Optional[int] = None
    audit: Optional[str] = None
    retry_safe: bool = False
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    stdout_digest: Optional[str] = None
    stderr_digest: Optional[str] = None
    open: bool = False
    truncated: bool = False
    _received: int = 0

    def count(self, streams: Mapping[str, Receiving]) -> None:
        """Notes what came of the output."""
        stdout, stderr = streams["stdout"], streams["stderr"]
        self.stdout_bytes, self.stderr_bytes = stdout.received, stderr.received
        self._received = stdout.received + stderr.received
        self.open = stdout.open or stderr.open
        self.truncated = stdout.truncated or stderr.truncated

    def take(self, fields: Mapping[str, Any]) -> None:
        """Takes what the host's exit says. Its totals were compared with what came, unless it never ran."""
        for name in ("code", "signal", "ended_at", "duration_ms", "audit"):
            setattr(self, name, fields.get(name))
        self.open = self.open or fields.get("open", False)
        if self.outcome not in ("not_started", "unknown"):
            for name in ("stdout_bytes", "stderr_bytes", "stdout_digest", "stderr_digest"):
                setattr(self, name, fields.get(name))
        self.truncated = self.truncated or self._received < self.stdout_bytes + self.stderr_bytes


def failure_of(fields: Dict[str, Any]) -> Optional[Failure]:
    """Returns the failure that a frame of the server says, made safe to print."""
    if "kind" not in fields:
        return None
    message, hint = printable(fields["message"]), printable(fields.get("hint", ""))
    return Failure(fields["kind"], message.rstrip("."), hint, fields.get("retry_after_ms"))
