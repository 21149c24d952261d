"""What can go wrong, as exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .result import Result
    from .transfer import Transfer


class Error(Exception):
    """Says what went wrong, on which host, and what to do next.

    `kind` is one of the kinds that docs/protocol.md lists, such as `unreachable`, or a name that only a newer
    server knows; None where the command itself is all there is to tell of. `hint` is what to try next, or an empty
    text. `result` is the whole result of the command, and `transfer` that of a copy of files, if there is one.
    """

    def __init__(
        self,
        message: str = "",
        *,
        kind: Optional[str] = None,
        hint: str = "",
        result: Optional[Result] = None,
        transfer: Optional[Transfer] = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint
        self.result = result
        self.transfer = transfer

    @property
    def message(self) -> str:
        """Returns what went wrong, without the hint."""
        return str(self.args[0]) if self.args else ""

    @property
    def host(self) -> Optional[str]:
        """Returns the host as it was named, once there is a result."""
        ended = self.result or self.transfer
        return ended.host if ended else None

    @property
    def returncode(self) -> Optional[int]:
        """Returns the exit status by the table of `rcmd-client`, once there is a result."""
        ended = self.result or self.transfer
        return ended.returncode if ended else None

    @property
    def stdout(self) -> bytes:
        """Returns what came of standard output."""
        return self.result.stdout if self.result else b""

    @property
    def stderr(self) -> bytes:
        """Returns what came of standard error."""
        return self.result.stderr if self.result else b""

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class CommandFailed(Error):
    """The command ran, and ended with a status other than 0 or by a signal."""


class TransferFailed(Error):
    """Files could not be copied: `transfer.failures` has them, the rest was done. `kind` is that of the first."""


class TimedOut(Error):
    """The time was over after the command had started; what came until then is in `stdout` and `stderr`. Files that a
    copy had completed stay, and the next one goes on from there."""


class NotStarted(Error):
    """Nothing ran on the host and nothing was copied, so that it is safe to try again."""


class Unknown(Error):
    """Something was lost after the start, and nobody here knows how the command ended, or the copy."""
