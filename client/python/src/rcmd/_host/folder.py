"""Where the files of a client lie."""

from __future__ import annotations

import os
from typing import Optional, Union

HOST_FOLDER = "/etc/rcmd"


def folder(chosen: Union[None, str, "os.PathLike[str]"]) -> Optional[str]:
    """Returns the folder: `chosen`, else `$RCMD_DIR`, else `$XDG_CONFIG_HOME/rcmd`, else `~/.config/rcmd`; none
    when nothing says one. An empty variable counts as unset, and a relative XDG_CONFIG_HOME is ignored."""
    if chosen is not None:
        return os.fspath(chosen)
    named = os.environ.get("RCMD_DIR")
    if named:
        return named
    config = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config):
        home = os.environ.get("HOME", "")
        if not os.path.isabs(home):
            return None
        config = os.path.join(home, ".config")
    return os.path.join(config, "rcmd")
