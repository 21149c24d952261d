"""What is asked for, checked and encoded once."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from . import limits
from .outcome import Failure

Text = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

_LARGE = "Send large input on standard input, or in a file."


class Refused(Exception):
    """Says why a request can't be sent."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Request:
    """Holds a request as it is sent, within all limits."""

    def __init__(
        self,
        argv: Union[Text, Sequence[Text]],
        *,
        shell: bool = False,
        env: Optional[Mapping[Any, Any]] = None,
        cwd: Optional[Text] = None,
        user: Optional[Text] = None,
        stdin: bool = False,
    ) -> None:
        """Encodes a request.

        Raises:
            TypeError: An argument is of no kind that is taken.
            Refused: It is past a limit, or nothing that can be run.
        """
        self._mode = "shell" if shell else "exec"
        self.args: Union[str, bytes, List[Union[str, bytes]]]
        if shell:
            if isinstance(argv, (list, tuple)):
                raise TypeError("with shell=True argv is one line, a str or bytes, and no list")
            self.args = os.fspath(argv)  # type: ignore[arg-type]
            arguments = [_bytes(argv, "argv")]
        else:
            if isinstance(argv, (str, bytes, os.PathLike)):
                raise TypeError(
                    "argv is a list: the program and its arguments; a line for the remote shell needs shell=True"
                )
            self.args = [os.fspath(argument) for argument in argv]
            arguments = [_bytes(argument, "an argument") for argument in argv]
        settings = _settings(env)
        strings = [*arguments, *settings]
        strings += [] if cwd is None else [_bytes(cwd, "cwd")]
        strings += [] if user is None else [_bytes(user, "user")]
        _check(arguments, settings, strings)
        if user is not None and not strings[-1]:
            raise Refused(Failure("usage", "the name of the user is empty", "Name one, or leave it out."))
        self._argc, self._envc = len(arguments), len(settings)
        self._cwd, self._user, self._stdin = cwd is not None, user is not None, stdin
        self.payload = b"".join(string + b"\0" for string in strings)
        self.digest = self._digest()

    def _digest(self) -> str:
        """Returns the digest that binds a key to this request."""
        lines = (
            f"argc={self._argc}\nenvc={self._envc}\nmode={self._mode}\nuser={self._user:d}\n"
            f"cwd={self._cwd:d}\ntimeout=0\ntty=0\nstdin={self._stdin:d}\n"
        )
        return hashlib.sha256(self.payload + lines.encode("ascii")).hexdigest()

    def fields(self) -> Dict[str, Any]:
        """Returns the fields of a start that say what is asked for."""
        return {
            "mode": self._mode,
            "argc": self._argc,
            "envc": self._envc or None,
            "cwd": self._cwd or None,
            "user": self._user or None,
            "stdin": self._stdin or None,
            "digest": self.digest,
        }


def _bytes(text: object, what: str) -> bytes:
    if not isinstance(text, (str, bytes, os.PathLike)):
        raise TypeError(f"{what} is a str, bytes or a path, not {type(text).__name__}")
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        message = f"{what} holds characters that this system's encoding has not"
        raise Refused(Failure("usage", message, "Give it as bytes.")) from None


def _settings(env: Optional[Mapping[Any, Any]]) -> List[bytes]:
    settings = []
    for name, value in (env or {}).items():
        key = _bytes(name, "the name of a setting")
        if not key or b"=" in key:
            message = f"{name!r} can't be the name of an environment setting"
            raise Refused(Failure("usage", message, "A name is not empty and has no `=`."))
        settings.append(key + b"=" + _bytes(value, f"the value of {name!r}"))
    return settings


def _check(arguments: List[bytes], settings: List[bytes], strings: List[bytes]) -> None:
    if not arguments or not arguments[0]:
        hint = "Name a program and its arguments, or one line for the shell."
        raise Refused(Failure("usage", "there is no command to run", hint))
    _within("arguments", len(arguments), limits.ARGUMENTS)
    _within("environment settings", len(settings), limits.SETTINGS)
    for string in strings:
        _within("bytes in one argument or setting", len(string) + 1, limits.STRING)
        if b"\0" in string:
            hint = "No program can be given a NUL in an argument; send it on standard input."
            raise Refused(Failure("usage", "an argument holds a NUL byte", hint))
    total = sum(len(string) + 1 for string in strings)
    _within("bytes in arguments and environment", total, limits.PAYLOAD)


def _within(what: str, number: int, limit: int) -> None:
    if number > limit:
        raise Refused(Failure("too_big", f"{number} {what} are past the limit of {limit}", _LARGE))
