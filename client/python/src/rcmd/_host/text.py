"""Foreign text made safe to print."""

from __future__ import annotations

import unicodedata

# The longest foreign text that is printed, in characters.
_MOST = 1000


def printable(text: str) -> str:
    """Returns a text with every control, invisible and direction-changing character escaped."""
    cut = text[:_MOST]
    clean = "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else character
        for character in cut
    )
    return clean if len(text) <= _MOST else clean + "…"
