"""Commands on other machines, from asyncio.

`run`, `run_many`, `put` and `get` are those of `rcmd`, as coroutines. A task that is cancelled has its commands killed
on their hosts, which takes 2 s at most, and its copies ended in order, which takes 6 s at most.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Sequence, Union

from . import call as _call
from ._files.copying import get, put
from ._host.target import Target
from ._host.tls import Credentials
from ._link.channel import Channel
from ._link.sink import Collected, Waiting
from ._protocol.request import Text
from .call import MAX_OUTPUT, Argv, Call, Dir
from .result import Output, Result, moment

__all__ = ["get", "put", "run", "run_many"]

OnOutput = Callable[[Output], Union[None, Awaitable[None]]]


async def run(
    host: str,
    argv: Argv,
    *,
    shell: bool = False,
    input: Optional[bytes] = None,
    timeout: Optional[float] = None,
    check: bool = False,
    user: Optional[Text] = None,
    cwd: Optional[Text] = None,
    env: Optional[Mapping[Any, Any]] = None,
    key: Union[None, str, bytes] = None,
    dir: Dir = None,
    max_output: int = MAX_OUTPUT,
    on_output: Optional[OnOutput] = None,
) -> Result:
    """Runs a command on a host and returns how it ended, as `rcmd.run` does.

    `on_output` may be a coroutine function; it is called in this loop, one piece after the other, and the host waits
    when it takes long.

    Raises:
        As `rcmd.run`.
    """
    call = Call(
        argv,
        shell=shell,
        input=input,
        timeout=timeout,
        check=check,
        user=user,
        cwd=cwd,
        env=env,
        key=key,
        dir=dir,
        max_output=max_output,
    )
    deadline = _call.monotonic_deadline(call)
    folder = call.load()
    target, credentials = folder.target(host), folder.credentials
    if on_output is None:
        result = await _collected(call, target, credentials, deadline, call.key())
    else:
        result = await streamed(call, target, credentials, deadline, on_output, timestamps=True)
    return _call.checked(call, result)


async def run_many(
    hosts: Sequence[str],
    argv: Argv,
    *,
    fanout: int = 64,
    shell: bool = False,
    input: Optional[bytes] = None,
    timeout: Optional[float] = None,
    check: bool = False,
    user: Optional[Text] = None,
    cwd: Optional[Text] = None,
    env: Optional[Mapping[Any, Any]] = None,
    key: Union[None, str, bytes] = None,
    dir: Dir = None,
    max_output: int = MAX_OUTPUT,
) -> List[Result]:
    """Runs a command on many hosts and returns how it ended on each, as `rcmd.run_many` does.

    Raises:
        As `rcmd.run_many`.
    """
    if isinstance(hosts, (str, bytes)):
        raise TypeError("hosts is a list of names; for one host there is `run`")
    if not isinstance(fanout, int):
        raise TypeError("fanout is a whole number")
    if fanout < 1:
        raise _call.usage(f"{fanout} hosts at once are none", "fanout is 1 or more.")
    call = Call(
        argv,
        shell=shell,
        input=input,
        timeout=timeout,
        check=check,
        user=user,
        cwd=cwd,
        env=env,
        key=key,
        dir=dir,
        max_output=max_output,
    )
    deadline = _call.monotonic_deadline(call)
    names = list(hosts)
    folder = call.load()
    # All names are looked at before anything runs anywhere.
    targets = {name: folder.target(name) for name in names}
    for target in targets.values():
        call.request(target.user)
    results: Dict[str, Result] = {}
    waiting = iter(targets.values())

    async def work() -> None:
        for target in waiting:
            if deadline is not None and asyncio.get_running_loop().time() >= deadline:
                results[target.name] = _call.held_back(call, target)
                continue
            own_key = call.key(target.name)
            result = await _collected(call, target, folder.credentials, deadline, own_key)
            results[target.name] = _call.with_check(call, result)

    at_once = min(_call.bearable(fanout), len(targets))
    await _call.all_of([work() for _ in range(at_once)])
    return [results[name] for name in names]


async def _collected(
    call: Call, target: Target, credentials: Credentials, deadline: Optional[float], key: Optional[bytes]
) -> Result:
    sink = Collected(call.max_output)
    return await _call.perform(call, target, credentials, sink=sink, deadline=deadline, key=key)


async def streamed(
    call: Call,
    target: Target,
    credentials: Credentials,
    deadline: Optional[float],
    on_output: OnOutput,
    *,
    timestamps: bool,
    ready: Optional[Callable[[Channel], None]] = None,
    **more: Any,
) -> Result:
    """Runs a command whose output is handed on as it comes, and not kept."""
    arrived = asyncio.Event()
    sink = Waiting(arrived.set)
    channels: List[Channel] = []
    ended = False

    def begin(channel: Channel) -> None:
        channels.append(channel)
        if ready is not None:
            ready(channel)

    async def hand_on() -> None:
        while True:
            arrived.clear()
            piece = sink.take()
            while piece is not None:
                answer = on_output(Output(piece.stream, piece.data, moment(piece.time)))
                if inspect.isawaitable(answer):
                    await answer
                channels[0].consumed(piece.stream, len(piece.data))
                piece = sink.take()
            if ended:
                return
            await arrived.wait()

    async def perform() -> Result:
        nonlocal ended
        try:
            return await _call.perform(
                call,
                target,
                credentials,
                sink=sink,
                deadline=deadline,
                key=call.key(),
                timestamps=timestamps,
                ready=begin,
                **more,
            )
        finally:
            ended = True
            arrived.set()

    result, _ = await _call.all_of([perform(), hand_on()])
    assert isinstance(result, Result)
    return result
