"""How long to wait before a connection is doubted, and before the next is made."""

from __future__ import annotations

import random
from typing import NamedTuple, Optional

# Seconds of silence after something was sent: before a sign of life is asked for, and before another connection
# is made.
_ASK = 1.0
_SILENT = 3.0
# The least part of a grace that is counted with, so that a slow link is not doubted all the time.
_LEAST = 0.1

_SHORTEST = 0.05
_LONGEST = 2.0
# A connection that lasts this long after its hello has healed the loss before it.
_STEADY = 1.0
# Attempts that count on after a connection that broke before that: pauses of up to 400 ms.
_FLICKER = 4
# The longest of the least times for which a busy host is left alone, and the longest time that it is believed.
_LONGEST_REST = 1.0
_BELIEVED = 300.0


class Patience(NamedTuple):
    """Holds how many seconds a connection may be silent.

    A server that has lost its side of a connection kills the commands when the grace is over and says nothing that
    arrives. So a third of the grace is for noticing that nothing comes, a third for the answer to a ping, and the
    last for another connection.
    """

    idle: float
    """Before a sign of life is asked for, with nothing sent."""
    ask: float
    """Before a sign of life is asked for, after something was sent."""
    silent: float
    """Before another connection is made, after something was sent."""

    @classmethod
    def within(cls, grace: float) -> Patience:
        """Returns the times for a command that outlives its connection by `grace`."""
        third = max(grace / 3, _LEAST)
        return cls(third, min(_ASK, third / 3), min(_SILENT, third))


class Backoff:
    """Counts attempts: the first is made at once, later ones ever more slowly, up to 2 s apart."""

    def __init__(self) -> None:
        self._attempts = 0
        self._greeted: Optional[float] = None

    def greeted(self, now: float) -> None:
        """Notes that a server has said hello."""
        self._greeted = now

    def reset(self) -> None:
        """Begins anew: the connection before was only slow."""
        self._attempts, self._greeted = 0, None

    def pause(self, now: float) -> float:
        """Returns the seconds to wait before the next attempt.

        After a connection that held it begins anew. After one that broke right behind its hello it grows on, or a
        server that ends each connection there would be dialled without end.
        """
        if self._greeted is not None:
            self._attempts = 0 if now - self._greeted >= _STEADY else min(self._attempts, _FLICKER)
            self._greeted = None
        self._attempts += 1
        if self._attempts == 1:
            return 0.0
        whole: float = min(_SHORTEST * 2 ** min(self._attempts - 2, 10), _LONGEST)
        return whole * (1 - random.random() / 2)


def rest(said: float, answers: int) -> float:
    """Returns how many seconds to leave a host alone that says it is busy for `said`, after so many such answers.

    Whatever the host says, it is no less than a pause that grows with each answer, from 50 ms up to 1 s, and no more
    than 5 min; all of it is made longer at random by up to a half, so that not all clients come at once.
    """
    least: float = min(_SHORTEST * 2 ** min(answers, 10), _LONGEST_REST)
    return min(max(said, least), _BELIEVED) * (1 + random.random() / 2)
