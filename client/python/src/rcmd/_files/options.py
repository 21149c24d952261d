"""What is asked for, as the words of `rcmd-client cp`, checked before anything is run."""

from __future__ import annotations

import os
from typing import Any, Iterable, List, Optional, Sequence, Tuple, TypedDict, Union

from .._host.target import NoHost, is_v6, parse
from .._host.text import printable
from .._protocol.request import Text
from ..call import Dir, check_timeout, usage
from .program import NoProgram, find

Sources = Union[Text, Sequence[Text]]
Patterns = Union[str, Sequence[str]]


class Options(TypedDict, total=False):
    """Names the options of `put` and `get`, which `rcmd.put` explains."""

    recursive: bool
    preserve: Optional[bool]
    exact: bool
    delete: bool
    max_delete: Optional[int]
    exclude: Patterns
    include: Patterns
    owner: bool
    chown: Optional[str]
    chmod: Optional[str]
    xattrs: bool
    acls: bool
    checksum: bool
    delta: bool
    compress: bool
    bwlimit: Union[None, int, str]
    update: bool
    dry_run: bool
    in_place: bool
    sync: bool
    fail_fast: bool
    user: Optional[Text]
    lock: Optional[str]
    lock_wait: Optional[float]
    timeout: Optional[float]
    fanout: int
    dir: Dir
    client: Union[None, str, "os.PathLike[str]"]


def check_names(function: str, options: Iterable[str]) -> None:
    """Checks that there are options of these names.

    Raises:
        TypeError: There is none of a name.
    """
    for name in options:
        if name not in Options.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


class Copy:
    """Holds what is asked for, of whichever hosts."""

    def __init__(
        self,
        *,
        recursive: bool = False,
        preserve: Optional[bool] = None,
        exact: bool = False,
        delete: bool = False,
        max_delete: Optional[int] = None,
        exclude: Patterns = (),
        include: Patterns = (),
        owner: bool = False,
        chown: Optional[str] = None,
        chmod: Optional[str] = None,
        xattrs: bool = False,
        acls: bool = False,
        checksum: bool = False,
        delta: bool = False,
        compress: bool = False,
        bwlimit: Union[None, int, str] = None,
        update: bool = False,
        dry_run: bool = False,
        in_place: bool = False,
        sync: bool = False,
        fail_fast: bool = False,
        user: Optional[Text] = None,
        lock: Optional[str] = None,
        lock_wait: Optional[float] = None,
        timeout: Optional[float] = None,
        fanout: int = 16,
        dir: Dir = None,
        client: Union[None, str, "os.PathLike[str]"] = None,
        glob: bool = True,
    ) -> None:
        """Checks the options.

        Raises:
            TypeError: One is of no kind that is taken.
            NotStarted: One makes no sense; kind `usage`.
        """
        check_timeout(timeout)
        check_timeout(lock_wait, "lock_wait")
        for name, number in (("fanout", fanout), ("max_delete", max_delete)):
            if number is not None and type(number) is not int:
                raise TypeError(f"{name} is a whole number")
        if fanout < 1:
            raise usage(f"{fanout} hosts at once are none", "fanout is 1 or more.")
        self.timeout = timeout
        self.fanout = fanout
        self._client, self._dir = client, dir
        flags = [
            ("--recursive", recursive),
            ("--preserve", preserve is True),
            ("--no-preserve", preserve is False),
            ("-T", exact),
            ("--delete", delete),
            ("--owner", owner),
            ("--xattrs", xattrs),
            ("--acls", acls),
            ("--checksum", checksum),
            ("--delta", delta),
            ("--compress", compress),
            ("--update", update),
            ("--dry-run", dry_run),
            ("--in-place", in_place),
            ("--sync", sync),
            ("--fail-fast", fail_fast),
            ("--literal", not glob),
        ]
        self._words = [name.encode() for name, given in flags if given]
        self._add("--max-delete", None if max_delete is None else str(max_delete))
        for pattern in _patterns(exclude, "exclude"):
            # As in a gitignore file, so that one list can have both in any order.
            self._add("--exclude", pattern)
        for pattern in _patterns(include, "include"):
            self._add("--include", pattern)
        self._add("--chown", chown)
        self._add("--chmod", chmod)
        # A number alone would be KiB to it.
        self._add("--bwlimit", f"{bwlimit}B" if type(bwlimit) is int else bwlimit)
        self._add("--user", user)
        self._add("--lock", lock)
        self._add("--lock-wait", None if lock_wait is None else _milliseconds(lock_wait))

    def _add(self, option: str, value: Union[None, int, Text]) -> None:
        if value is not None:
            self._words.append(option.encode() + b"=" + encoded(value, option[2:].replace("-", "_")))

    def words(self) -> List[bytes]:
        """Returns the program and its options.

        Raises:
            NotStarted: There is no program.
        """
        try:
            program = find(self._client)
        except NoProgram as error:
            raise usage(error.failure.message, error.failure.hint) from None
        words = [program, b"cp", b"--json"]
        if self._dir is not None:
            words.append(b"--dir=" + encoded(self._dir, "dir"))
        return [*words, *self._words]


def check_host(host: object) -> str:
    """Returns a host as the client takes it before a path.

    Raises:
        TypeError: It is no str.
        NotStarted: It is none; kind `usage`.
    """
    if not isinstance(host, str):
        raise TypeError(f"a host is a str, not {type(host).__name__}")
    if "/" in host:
        raise usage(f"`{printable(host[:300])}` can't be told from a path", "Give the host a name without a slash.")
    try:
        # Names of hosts.toml may have a plus besides.
        parse(host.replace("+", "_"))
    except NoHost as error:
        raise usage(str(error), error.hint) from None
    return f"[{host}]" if is_v6(host) else host


def here(path: Text) -> bytes:
    """Returns a path of this machine so that it can't be taken for a host or a stream.

    Raises:
        TypeError: It is no path.
        NotStarted: It is empty, or no path; kind `usage`.
    """
    path = _path(path)
    plain = path.startswith((b"/", b"./", b"../")) or not (b":" in path or path == b"-")
    return path if plain else b"./" + path


def there(host: str, path: Text) -> bytes:
    """Returns a path of a host, as `check_host` returned it, so that nothing in it can be taken for a port.

    Raises:
        TypeError: It is no path.
        NotStarted: It is empty, or no path; kind `usage`.
    """
    path = _path(path)
    plain = path.startswith((b"/", b"./", b"../", b"~/")) or b":" not in path
    return encoded(host, "host") + b":" + (path if plain else b"./" + path)


def listed(sources: Sources) -> List[Text]:
    """Returns sources as a list.

    Raises:
        NotStarted: There is none; kind `usage`.
    """
    found = [sources] if isinstance(sources, (str, bytes, os.PathLike)) else list(sources)
    if not found:
        raise usage("there is no source", "Name at least one file or folder.")
    return found


def encoded(text: Any, what: str) -> bytes:
    """Returns a text as the bytes of a word.

    Raises:
        TypeError: It is no str, bytes or path.
        NotStarted: It can't be a word; kind `usage`.
    """
    if not isinstance(text, (str, bytes, os.PathLike)):
        raise TypeError(f"{what} is a str, bytes or a path, not {type(text).__name__}")
    try:
        word = os.fsencode(text)
    except UnicodeEncodeError:
        raise usage(f"{what} holds characters that this system's encoding has not", "Give it as bytes.") from None
    if b"\0" in word:
        raise usage(f"{what} holds a NUL byte", "No file has one in its name.")
    return word


def _path(path: Text) -> bytes:
    found = encoded(path, "a path")
    if not found:
        raise usage("a path is empty", "A folder here, or the home there, is written `.`.")
    return found


def _patterns(patterns: Patterns, what: str) -> Iterable[str]:
    found: Tuple[str, ...] = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for pattern in found:
        if not isinstance(pattern, str):
            raise TypeError(f"{what} is a pattern or a list of them, each a str, not {type(pattern).__name__}")
    return found


def _milliseconds(seconds: float) -> str:
    """Returns a time as the client reads it."""
    # Ten years are the longest that it takes.
    milliseconds = round(min(seconds, 3650 * 86_400) * 1000)
    return f"{milliseconds}ms" if milliseconds else "0"
