"""Copies of files to other machines and from them, for programs without an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Awaitable, Callable, Coroutine, List, Optional, Tuple, Union, overload

from ._files.copying import Hosts, get_files, put_files
from ._files.options import Options, Sources
from ._protocol.request import Text
from .sync import drive
from .transfer import File, Transfer

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["get", "put"]

OnFile = Callable[[File], None]
Bridge = Callable[[List[File]], Awaitable[None]]


@overload
def put(
    hosts: str,
    src: Sources,
    dst: Text,
    *,
    check: bool = ...,
    on_file: Optional[OnFile] = ...,
    **options: Unpack[Options],
) -> Transfer: ...


@overload
def put(
    hosts: Union[List[str], Tuple[str, ...]],
    src: Sources,
    dst: Text,
    *,
    check: bool = ...,
    on_file: Optional[OnFile] = ...,
    **options: Unpack[Options],
) -> List[Transfer]: ...


def put(
    hosts: Hosts,
    src: Sources,
    dst: Text,
    *,
    check: bool = True,
    on_file: Optional[OnFile] = None,
    **options: Unpack[Options],
) -> Union[Transfer, List[Transfer]]:
    """Copies files and folders to a host, or to each of a list of hosts, as `rcmd-client cp` does, which it runs.

    A path is a str, bytes or a path object, whose names may have any bytes. Nothing in it is taken for a host, a port,
    an option or a pattern. A relative path begins here at this folder, and there at the home.

    Args:
        hosts: A host as `run` takes it; or a list of them, with a result for each place, in their order. A host that
            stands twice is one.
        src: A file or folder of this machine, or a list of them. A `/` at its end means the contents of a folder.
        dst: Where they go: into it if it is a folder there or ends in `/`, else they become it.
        check: Whether files that fail raise `TransferFailed`.
        on_file: Called in this thread with each `File` as it is done. The hosts wait when it takes long.
        **options: Those of `rcmd-client cp`, which docs/files.md explains:
            recursive: Copies folders with all that is in them.
            preserve: Keeps permission bits and times; None, the default, means with `recursive` alone.
            exact: Takes `dst` as the place itself, also if it is a folder (`-T`).
            delete: Deletes in `dst` what `src` does not have, as far as `max_delete` permits.
            exclude, include: Patterns in gitignore's syntax, one or a list. Those of `include` come last, and the last
                that matches decides; in `exclude` too, `!PATTERN` includes.
            owner, xattrs, acls: Keeps owner and group, attributes `user.*`, and access lists.
            chown, chmod: Owner and permission bits that everything gets, such as `app:app` and `D755,F644`.
            checksum: Compares contents instead of times.
            delta: Sends only the parts of a file that changed.
            compress: Compresses contents on the way.
            bwlimit: Bytes a second that may cross, for each host, or a rate as the option takes it, such as `20Mbit`.
            update: Leaves files that are newer there.
            dry_run: Asks and tells what would be done, and changes nothing.
            in_place: Writes over files instead of replacing them.
            sync: Has each file on the disk before it is counted.
            fail_fast: Stops at the first file that fails.
            user: Whom it reads or writes as on the host, which is the server's own user without it.
            lock, lock_wait: A lock of the host that is held meanwhile, and the seconds to wait for it.
            timeout: Seconds for the whole call. What is copied by then stays; it ends 6 s later at most.
            fanout: How many hosts of a list at once, 16 without it.
            dir: The folder of certificates, as for `run`.
            client: The program `rcmd-client`, else the one in $PATH.

    Returns:
        How it ended; for a list a list, in which each has its `error`, and what went wrong on one host is never raised.

    Raises:
        TransferFailed: With `check`, files failed; the rest was done.
        NotStarted: Nothing was copied, or the call makes no sense (kind `usage`).
        TimedOut: The time was over after the start.
        Unknown: Something was lost after the start.
        TypeError: An argument is of no kind that is taken.
    """

    def make(bridge: Bridge) -> Coroutine[Any, Any, Union[Transfer, List[Transfer]]]:
        return put_files(hosts, src, dst, check=check, on_files=None if on_file is None else bridge, **options)

    return drive(make, _each(on_file))


@overload
def get(
    hosts: str,
    src: Sources,
    dst: Text,
    *,
    glob: bool = ...,
    check: bool = ...,
    on_file: Optional[OnFile] = ...,
    **options: Unpack[Options],
) -> Transfer: ...


@overload
def get(
    hosts: Union[List[str], Tuple[str, ...]],
    src: Sources,
    dst: Text,
    *,
    glob: bool = ...,
    check: bool = ...,
    on_file: Optional[OnFile] = ...,
    **options: Unpack[Options],
) -> List[Transfer]: ...


def get(
    hosts: Hosts,
    src: Sources,
    dst: Text,
    *,
    glob: bool = False,
    check: bool = True,
    on_file: Optional[OnFile] = None,
    **options: Unpack[Options],
) -> Union[Transfer, List[Transfer]]:
    """Copies files and folders from a host, or from each of a list. All that is not named here is as for `put`.

    Args:
        hosts: From a list of hosts, also of one, the files of each go to `dst/HOST/`; `dst` is made if it is missing.
        src: A file or folder there, or a list of at most 256.
        dst: Where they go on this machine.
        glob: Whether `*`, `?` and `[` in `src` are patterns, which the host expands. What it answers must match them.

    Raises:
        As `put`.
    """

    def make(bridge: Bridge) -> Coroutine[Any, Any, Union[Transfer, List[Transfer]]]:
        on_files = None if on_file is None else bridge
        return get_files(hosts, src, dst, glob=glob, check=check, on_files=on_files, **options)

    return drive(make, _each(on_file))


def _each(on_file: Optional[OnFile]) -> Optional[Callable[[List[File]], None]]:
    if on_file is None:
        return None

    def take(files: List[File]) -> None:
        for file in files:
            on_file(file)

    return take
