"""Failures by kind, signals by name, and exit statuses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

# Signals 1 to 31 of Linux on x86 and ARM, in order; those above have no names but SIG32 to SIG64.
_NAMES = (
    "SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE "
    "SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ "
    "SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS"
).split()
SIGNALS = {name: number for number, name in enumerate(_NAMES, 1)}
SIGNALS.update({f"SIG{number}": number for number in range(32, 65)})

OUTCOMES = ("exited", "signaled", "timed_out", "not_started", "unknown")

_KIND = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True)
class Failure:
    """Holds what went wrong: a kind, a message for people and what to do next."""

    kind: str
    message: str
    hint: str = ""
    retry_after_ms: Optional[int] = None


def is_kind(name: str) -> bool:
    """Returns whether a text can be the name of a kind, also of one that only a newer server knows."""
    return _KIND.fullmatch(name) is not None


def status(outcome: str, code: Optional[int], signal: Optional[str], kind: Optional[str]) -> int:
    """Returns the exit status by the table of `rcmd-client`. An end without proof is no zero."""
    if outcome == "exited" and code is not None:
        return code
    if outcome == "signaled" and signal is not None:
        return 128 + SIGNALS.get(signal, 127)
    if outcome == "timed_out":
        return 124
    if outcome == "not_started":
        return {"not_found": 127, "not_executable": 126, "too_big": 126}.get(kind or "", 125)
    return 255
