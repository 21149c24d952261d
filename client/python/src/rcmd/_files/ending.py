"""What an end of `rcmd-client cp` proves."""

from __future__ import annotations

import os
from typing import Dict, List, Optional, Type

from .._host.text import printable
from .._protocol.outcome import Failure
from ..errors import Error, NotStarted, TimedOut, TransferFailed, Unknown
from ..transfer import Transfer
from .events import Events

_OUTCOMES = {0: "done", 1: "failed", 124: "timed_out", 125: "not_started", 126: "not_started", 127: "not_started"}
_STATUS = {"done": 0, "failed": 1, "timed_out": 124, "not_started": 125, "unknown": 255}
_EXCEPTIONS: Dict[str, Type[Error]] = {
    "failed": TransferFailed,
    "timed_out": TimedOut,
    "not_started": NotStarted,
    "unknown": Unknown,
}

_WITHHELD = {
    "incomplete": "not everything arrived",
    "empty_source": "the source has no file",
    "too_many": "there is more to delete than is permitted",
}


def settle(
    host: str,
    events: Events,
    returncode: Optional[int],
    said: List[str],
    *,
    fault: Optional[str],
    late: Optional[float],
) -> Transfer:
    """Returns how it ended with a host.

    Args:
        events: All that the program printed.
        returncode: Its exit status, or -N after signal N.
        said: Its lines on standard error.
        fault: Why what it printed could not be read.
        late: The seconds that were over when it was asked to stop, if it was.
    """
    end = events.end
    outcome = _outcome(events, returncode, fault, late)
    failure = None
    if outcome != "done":
        failure = _failure(host, events, returncode, said, outcome, fault, late)
    else:
        for line in said:
            events.note(line)
    error: Optional[Error] = None
    if failure is not None:
        error = _EXCEPTIONS[outcome](failure.message, kind=failure.kind or None, hint=failure.hint)
    transfer = Transfer(
        host=host,
        outcome=outcome,
        returncode=_STATUS[outcome],
        totals=end.totals if end is not None else None,
        failures=tuple(events.failures),
        notes=tuple(events.notes),
        error=error,
        job=end.job if end is not None else None,
        duration=end.duration if end is not None else None,
    )
    if error is not None:
        error.transfer = transfer
    return transfer


def _outcome(events: Events, returncode: Optional[int], fault: Optional[str], late: Optional[float]) -> str:
    end = events.end
    if fault is not None:
        return "unknown"
    if end is None:
        # Without an end only a call that could not begin is known.
        return "timed_out" if late is not None else _OUTCOMES.get(returncode or -1, "unknown")
    outcome = _OUTCOMES.get(end.status, "unknown")
    if outcome == "done" and returncode != 0:
        # What it has said is not all of the truth.
        outcome = "unknown"
    if late is None or outcome in ("done", "not_started"):
        return outcome
    # It was told to stop, and says so in one way or another, unless it had failed by itself.
    complete = end.totals is not None and not end.totals.stopped
    return "failed" if outcome == "failed" and (complete or end.outcome == "not_started") else "timed_out"


def held_back(host: str, timeout: float) -> Failure:
    """Returns the failure of a host whose turn did not come before the time of the call was over."""
    message = f"{host} had no turn within {timeout:g} s, and nothing was copied"
    return Failure("held_back", message, "Raise fanout or timeout.")


def unstarted(host: str, failure: Failure) -> Transfer:
    """Returns the end of a host for which nothing was run."""
    error = NotStarted(failure.message, kind=failure.kind, hint=failure.hint)
    error.transfer = Transfer(host, "not_started", _STATUS["not_started"], error=error)
    return error.transfer


def _failure(
    host: str,
    events: Events,
    returncode: Optional[int],
    said: List[str],
    outcome: str,
    fault: Optional[str],
    late: Optional[float],
) -> Failure:
    """Returns what went wrong."""
    end = events.end
    if fault is not None:
        hint = "Does client, or $PATH, lead to the rcmd-client of this release? Look on both sides, and run it again."
        return Failure("protocol", f"what rcmd-client says of {host} can't be read: {fault}", hint)
    held = end is not None and end.failure is not None and end.failure.kind == "held_back"
    if outcome == "not_started" and late is not None and held:
        message = f"the copy with {host} did not start within {late:g} s"
        return Failure("unreachable", message, f"Try `rcmd-client doctor {host}`, or a longer timeout.")
    if outcome == "timed_out" and late is not None:
        message = f"the copy with {host} was not done within {late:g} s, and was ended"
        return Failure("", message, "What was copied stays. Run it again to go on, with a longer timeout; where dst was not there before, with exact=True.")
    if end is not None and end.failure is not None:
        return end.failure
    if outcome == "failed" and events.failures:
        return _of_files(host, events)
    if end is not None and end.totals is not None and end.totals.withheld is not None:
        why = _WITHHELD.get(end.totals.withheld, end.totals.withheld)
        hint = "Look at what a dry run lists, and say max_delete=N for what is meant."
        return Failure("", f"{host}: nothing was deleted, since {why}", hint)
    if end is not None and end.refusal is not None:
        return end.refusal
    if end is None and said:
        return _of_words(said, outcome)
    if end is not None and end.totals is not None and end.totals.stopped:
        return Failure("", f"the copy with {host} was stopped before all was done", "Run it again to go on.")
    how = f"status {returncode}" if (returncode or 0) >= 0 else f"signal {-(returncode or 0)}"
    message = f"rcmd-client ended with {how} and did not say what became of the copy with {host}"
    return Failure("lost", message, "Run it again: it goes on where it stopped.")


def _of_files(host: str, events: Events) -> Failure:
    end, first = events.end, events.failures[0]
    count = max(end.totals.failed if end is not None and end.totals is not None else 0, len(events.failures))
    path = os.fsencode(first.path).decode("utf-8", "backslashreplace")
    kind, why = first.error or ("", "no reason is known")
    path, why = printable(path), printable(why)
    what = f"{path}: {why}" if count == 1 else f"{count} files failed, the first is {path}: {why}"
    return Failure(kind, f"{host}: {what}", "")


def _of_words(said: List[str], outcome: str) -> Failure:
    """Returns a failure of which only its text is known, as it is of a call that could not begin."""
    hints = [line[6:] for line in said if line.startswith("hint: ")]
    lines = [line for line in said if not line.startswith("hint: ")]
    kind = {"not_started": "usage", "failed": ""}.get(outcome, "lost")
    return Failure(kind, "; ".join(lines), " ".join(hints))
