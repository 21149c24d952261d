"""Copies to hosts and from them: a program for each host, as many at once as are wanted."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Awaitable, Callable, Dict, List, Optional, Tuple, Union, overload

from .. import call as _call
from .._protocol.request import Text
from ..transfer import File, Transfer
from . import options as _options
from .ending import held_back, settle, unstarted
from .events import Events, NoEvent
from .options import Copy, Options, Sources
from .program import NoProgram, Program

if TYPE_CHECKING:
    from typing_extensions import Unpack

Hosts = Union[str, List[str], Tuple[str, ...]]
OnFile = Callable[[File], Union[None, Awaitable[None]]]
OnFiles = Callable[[List[File]], Awaitable[None]]

# Descriptors of this process for each program: two pipes, and what stands for its end.
_EACH = 4


@overload
async def put(
    hosts: str,
    src: Sources,
    dst: Text,
    *,
    check: bool = ...,
    on_file: Optional[OnFile] = ...,
    **options: Unpack[Options],
) -> Transfer: ...


@overload
async def put(
    hosts: Union[List[str], Tuple[str, ...]],
    src: Sources,
    dst: Text,
    *,
    check: bool = ...,
    on_file: Optional[OnFile] = ...,
    **options: Unpack[Options],
) -> List[Transfer]: ...


async def put(
    hosts: Hosts,
    src: Sources,
    dst: Text,
    *,
    check: bool = True,
    on_file: Optional[OnFile] = None,
    **options: Unpack[Options],
) -> Union[Transfer, List[Transfer]]:
    """Copies files and folders to a host, or to each of a list, as `rcmd.put` does.

    `on_file` may be a coroutine function; it is called in this loop, for one file after the other, and the hosts wait
    when it takes long.

    Raises:
        As `rcmd.put`.
    """
    return await put_files(hosts, src, dst, check=check, on_files=_one_by_one(on_file), **options)


@overload
async def get(
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
async def get(
    hosts: Union[List[str], Tuple[str, ...]],
    src: Sources,
    dst: Text,
    *,
    glob: bool = ...,
    check: bool = ...,
    on_file: Optional[OnFile] = ...,
    **options: Unpack[Options],
) -> List[Transfer]: ...


async def get(
    hosts: Hosts,
    src: Sources,
    dst: Text,
    *,
    glob: bool = False,
    check: bool = True,
    on_file: Optional[OnFile] = None,
    **options: Unpack[Options],
) -> Union[Transfer, List[Transfer]]:
    """Copies files and folders from a host, or from each of a list, as `rcmd.get` does. `on_file` is as for `put`.

    Raises:
        As `rcmd.get`.
    """
    return await get_files(hosts, src, dst, glob=glob, check=check, on_files=_one_by_one(on_file), **options)


async def put_files(
    hosts: Hosts, src: Sources, dst: Text, *, check: bool, on_files: Optional[OnFiles], **options: Unpack[Options]
) -> Union[Transfer, List[Transfer]]:
    """Does what `put` does, and hands files over as they come, many at a time."""
    _options.check_names("put", options)
    copy = Copy(**options)
    sources = [_options.here(path) for path in _options.listed(src)]

    def paths(host: str) -> List[bytes]:
        return [*sources, _options.there(host, dst)]

    return await _carry_out(hosts, copy, paths, check=check, on_files=on_files)


async def get_files(
    hosts: Hosts,
    src: Sources,
    dst: Text,
    *,
    glob: bool,
    check: bool,
    on_files: Optional[OnFiles],
    **options: Unpack[Options],
) -> Union[Transfer, List[Transfer]]:
    """Does what `get` does, and hands files over as they come, many at a time."""
    _options.check_names("get", options)
    copy = Copy(glob=glob, **options)
    sources, target = _options.listed(src), _options.here(dst)

    def paths(host: str) -> List[bytes]:
        return [*(_options.there(host, path) for path in sources), target]

    # With a number of hosts at once even one host is a set, whose files go into a folder of its name.
    more = [] if isinstance(hosts, str) else [b"--fanout=1"]
    return await _carry_out(hosts, copy, paths, check=check, on_files=on_files, more=more)


def _one_by_one(on_file: Optional[OnFile]) -> Optional[OnFiles]:
    if on_file is None:
        return None
    turn = asyncio.Lock()

    async def each(files: List[File]) -> None:
        async with turn:
            for file in files:
                answer = on_file(file)
                if inspect.isawaitable(answer):
                    await answer

    return each


async def _carry_out(
    hosts: Hosts,
    copy: Copy,
    paths: Callable[[str], List[bytes]],
    *,
    check: bool,
    on_files: Optional[OnFiles],
    more: Optional[List[bytes]] = None,
) -> Union[Transfer, List[Transfer]]:
    loop = asyncio.get_running_loop()
    deadline = None if copy.timeout is None else loop.time() + copy.timeout
    if isinstance(hosts, bytes):
        raise TypeError("a host is a str, and hosts are a list of them")
    names = [hosts] if isinstance(hosts, str) else list(hosts)
    options = [*copy.words(), *(more or []), b"--"]
    # All hosts are looked at before anything is copied anywhere. One that stands twice is one.
    words = {name: [*options, *paths(_options.check_host(name))] for name in names}
    results: Dict[str, Transfer] = {}
    waiting = iter(words.items())

    async def work() -> None:
        for name, line in waiting:
            if deadline is not None and copy.timeout is not None and loop.time() >= deadline:
                results[name] = unstarted(name, held_back(name, copy.timeout))
                continue
            results[name] = await _one(name, line, copy, deadline, on_files)

    at_once = min(max(1, _call.bearable(copy.fanout * _EACH) // _EACH), len(words))
    await _call.all_of([work() for _ in range(at_once)])
    if not isinstance(hosts, str):
        return [results[name] for name in names]
    transfer = results[hosts]
    if transfer.error is not None and (check or transfer.outcome != "failed"):
        raise transfer.error
    return transfer


async def _one(
    host: str, words: List[bytes], copy: Copy, deadline: Optional[float], on_files: Optional[OnFiles]
) -> Transfer:
    """Copies to or from one host."""
    try:
        program = await Program.start(words)
    except NoProgram as error:
        return unstarted(host, error.failure)
    events = Events(host, every_file=on_files is not None)
    fault: Optional[str] = None
    late = False

    def be_late() -> None:
        nonlocal late
        late = True
        program.stop()

    timer = None if deadline is None else asyncio.get_running_loop().call_at(deadline, be_late)
    try:
        while True:
            pieces = await program.take()
            if not pieces:
                break
            files = events.feed(b"".join(pieces))
            if files and on_files is not None:
                await on_files(files)
    except NoEvent as error:
        fault = str(error)
    finally:
        if timer is not None:
            timer.cancel()
        await program.close()
    seconds = copy.timeout if late else None
    return settle(host, events, program.returncode, program.said(), fault=fault, late=seconds)
