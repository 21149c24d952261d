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

        After a connection that held it begins anew. After one that broke right behind its hello the pause is short
        and not nothing, or a link that always does would be dialled without end.
        """
        if self._greeted is not None:
            self._attempts = 0 if now - self._greeted >= _STEADY else min(self._attempts, 1)
            self._greeted = None
        self._attempts += 1
        if self._attempts == 1:
            return 0.0
        whole: float = min(_SHORTEST * 2 ** min(self._attempts - 2, 10), _LONGEST)
        return whole * (1 - random.random() / 2)


def spread(wait: float) -> float:
    """Returns a wait that a server gave, longer at random by up to a half, so that not all come at once."""
    return wait * (1 + random.random() / 2)
