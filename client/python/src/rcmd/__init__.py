"""Commands on other machines over mutual TLS, in the manner of `subprocess`, and copies of files.

>>> import rcmd
>>> rcmd.run("web1", ["uname", "-s"]).stdout  # doctest: +SKIP
b'Linux\\n'
>>> rcmd.put("web1", "app.conf", "/etc/app/").totals.sent  # doctest: +SKIP
1

`rcmd.aio` has the same as coroutines. Modules that are not named here are internal.
"""

from . import aio
from ._version import VERSION as __version__
from .errors import CommandFailed, Error, NotStarted, TimedOut, TransferFailed, Unknown
from .files import get, put
from .result import Output, Result
from .sync import run, run_many
from .transfer import File, FileError, Totals, Transfer

__all__ = [
    "CommandFailed",
    "Error",
    "File",
    "FileError",
    "NotStarted",
    "Output",
    "Result",
    "TimedOut",
    "Totals",
    "Transfer",
    "TransferFailed",
    "Unknown",
    "__version__",
    "aio",
    "get",
    "put",
    "run",
    "run_many",
]
