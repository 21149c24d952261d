"""Files that decide something, and who could change them: the rules of the other programs."""

from __future__ import annotations

import errno
import os
import stat
from typing import Callable, List

from .text import printable

# Bytes of a file, and of a file of revocation lists.
MAX_FILE = 1024 * 1024
MAX_LIST_FILE = 5 * 1024 * 1024
MAX_HOSTS_FILE = 16 * 1024 * 1024

_MOST_LINKS = 40


class FileFault(Exception):
    """Says what is wrong with a file, and what mends it."""


def shown(path: str) -> str:
    """Returns a path as it can be printed."""
    return printable(os.fsencode(path).decode("utf-8", "replace"))


def read_public(path: str, limit: int = MAX_FILE) -> bytes:
    """Reads a file that decides something. Links are followed.

    Raises:
        FileNotFoundError: There is no such file.
        PermissionError: This user can't read it.
        FileFault: It is no regular file or too large; or it, or a folder or link on the way to it, belongs to
            somebody else than root or this user, or others may change it.
    """
    data = _read(path, limit, _check)
    _check_way(path)
    return data


def read_private(path: str) -> bytes:
    """Reads a private key.

    Raises:
        FileNotFoundError: There is no such file.
        PermissionError: This user can't read it.
        FileFault: It is no regular file, or too large; others may use it, or it belongs to somebody else.
    """
    return _read(path, MAX_FILE, _check_private)


def _read(path: str, limit: int, check: Callable[[str, os.stat_result], None]) -> bytes:
    try:
        # A named pipe without a writer would block the open.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, ValueError) as error:
        raise FileFault(f"cannot read {shown(path)}: {error}") from None
    # What was checked is what is read.
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise FileFault(f"{shown(path)} is not a regular file")
        check(path, found)
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise FileFault(f"cannot read {shown(path)}: {error}") from None
    if len(data) > limit:
        raise FileFault(f"{shown(path)} is larger than {limit} bytes")
    return data


def _check_owner(path: str, found: os.stat_result) -> None:
    own = os.geteuid()
    if found.st_uid not in (0, own):
        raise FileFault(
            f"{shown(path)} belongs to uid {found.st_uid}, not to you (uid {own}) or root, who could change "
            "it: run this as its owner, or chown it"
        )


def _check_private(path: str, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise FileFault(
            f"others may use {shown(path)} (mode {mode:04o}); keep it to yourself: chmod 600 {shown(path)}"
        )
    _check_owner(path, found)


def _check(path: str, found: os.stat_result) -> None:
    _check_owner(path, found)
    mode = stat.S_IMODE(found.st_mode)
    shared = mode & 0o022 and not stat.S_ISLNK(found.st_mode)
    # Who may write into a sticky folder changes nothing of others there.
    if shared and not (stat.S_ISDIR(found.st_mode) and mode & stat.S_ISVTX):
        raise FileFault(
            f"others than its owner may change {shown(path)} (mode {mode:04o}): chmod go-w {shown(path)}"
        )


def _check_way(path: str) -> None:
    """Checks every folder and link on the way to `path`, and `path` itself."""
    rest: List[str] = _parts(os.path.join(os.getcwd(), path))
    at, links = "/", 0
    _check(at, _look(at))
    while rest:
        part = rest.pop()
        if part == "..":
            at = os.path.dirname(at)
            continue
        following = os.path.join(at, part)
        found = _look(following)
        _check(following, found)
        if not stat.S_ISLNK(found.st_mode):
            at = following
            continue
        links += 1
        if links > _MOST_LINKS:
            raise FileFault(f"cannot read {shown(following)}: {os.strerror(errno.ELOOP)}")
        target = os.readlink(following)
        if target.startswith("/"):
            at = "/"
        rest += _parts(target)


def _look(path: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise FileFault(f"cannot read {shown(path)}: {error.strerror}") from None


def _parts(path: str) -> List[str]:
    """Returns the names in a path, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]
