"""How a copy of files ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Tuple

from .errors import Error


class FileError(NamedTuple):
    """Holds why one file failed."""

    kind: str
    """One of the kinds of a failed file that docs/files.md lists, such as `permission`, or a name that only a newer
    program knows."""
    message: str


@dataclass(frozen=True)
class File:
    """Holds what became of one file, as `on_file` gets it."""

    host: str
    """The host as it was named."""
    path: str
    """The path, as `os.fsdecode` makes it of bytes: `os.fsencode` returns the bytes."""
    action: str
    """`created`, `replaced`, `adjusted`, `unchanged`, `skipped`, `deleted`, `vanished` or `failed`. In a dry run,
    what would be done."""
    kind: str = "file"
    """`file`, `folder`, `link`, `hard_link` or `other`."""
    size: int = 0
    """Bytes of its content."""
    digest: Optional[str] = None
    """The digest of a content that was sent, as `blake3:...`."""
    notes: Tuple[str, ...] = ()
    """What differed at the destination (`size`, `time`, `mode`, `content`), and what else is to be known (`grew`,
    `set_id_dropped`, `resumed`)."""
    error: Optional[FileError] = None
    """Why it failed."""


@dataclass(frozen=True)
class Totals:
    """Holds what both ends agree on: numbers of files, and of bytes."""

    sent: int = 0
    """Files whose content was sent; in a dry run, would be."""
    bytes: int = 0
    """Bytes in these files."""
    made: int = 0
    """Folders and links."""
    adjusted: int = 0
    """Files of which only permission bits or times were set."""
    unchanged: int = 0
    skipped: int = 0
    """Files that are newer at the destination, with `update`."""
    vanished: int = 0
    """Files that went away before they were read."""
    deleted: int = 0
    failed: int = 0
    crossed: int = 0
    """Bytes of content that crossed the link."""
    digest: Optional[str] = None
    """The digest of all that was announced and sent."""
    stopped: bool = False
    """Whether it ended before all was done."""
    withheld: Optional[str] = None
    """Why nothing was deleted, with `delete`: `incomplete`, `empty_source` or `too_many`."""


@dataclass(frozen=True)
class Transfer:
    """Holds how a copy to or from one host ended."""

    host: str
    """The host as it was named."""
    outcome: str
    """`done`, `failed` (some files), `timed_out`, `not_started` or `unknown`."""
    returncode: int
    """The exit status of `rcmd-client cp`: 0, 1, 124, 125 or 255, in the order of the outcomes."""
    totals: Optional[Totals] = None
    """None where the two ends could not agree on an account."""
    failures: Tuple[File, ...] = field(default=(), repr=False)
    """The files that failed, the first 10,000 of them; `totals.failed` counts all."""
    notes: Tuple[str, ...] = field(default=(), repr=False)
    """What `rcmd-client` had to say beside that, the first 1,000 lines."""
    error: Optional[Error] = None
    """What went wrong: None if all is done."""
    job: Optional[str] = None
    """The job's name on the host, once it had one."""
    duration: Optional[float] = None
    """How long it took, in seconds."""

    def check_returncode(self) -> None:
        """Raises what went wrong, if anything did.

        Raises:
            TransferFailed: Files failed.
            TimedOut, NotStarted, Unknown: As `put` and `get` raise them.
        """
        if self.error is not None:
            raise self.error
