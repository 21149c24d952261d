"""Commands on other machines over mutual TLS, in the manner of `subprocess`.

>>> import rcmd
>>> rcmd.run("web1", ["uname", "-s"]).stdout  # doctest: +SKIP
b'Linux\\n'

`rcmd.aio` has the same as coroutines. Modules that are not named here are internal.
"""

from . import aio
from ._version import VERSION as __version__
from .errors import CommandFailed, Error, NotStarted, TimedOut, Unknown
from .result import Output, Result
from .sync import run, run_many

__all__ = [
    "CommandFailed",
    "Error",
    "NotStarted",
    "Output",
    "Result",
    "TimedOut",
    "Unknown",
    "__version__",
    "aio",
    "run",
    "run_many",
]
