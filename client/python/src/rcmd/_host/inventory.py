"""What hosts.toml knows of hosts."""

from __future__ import annotations

import importlib
import ipaddress
import os
from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple

from .._protocol.limits import PORT
from . import target
from .files import MAX_HOSTS_FILE, read_public, shown
from .folder import HOST_FOLDER
from .target import NoHost, Target, is_v6, read_port
from .text import printable

_NAME = "hosts.toml"
# Bytes of a name.
_LONGEST = 512
_KNOWN = "address, port, certificate, user, labels and vars"


@dataclass(frozen=True)
class Entry:
    """Holds what is said of one host."""

    address: Optional[str] = None
    port: Optional[int] = None
    certificate: Optional[str] = None
    user: Optional[str] = None


@dataclass
class Inventory:
    """Holds the hosts that are known by name; the first file that has a name counts."""

    hosts: Dict[str, Entry] = field(default_factory=dict)

    def target(self, written: str) -> Target:
        """Returns where a host is reached. A name that is not known is itself the address.

        Raises:
            NoHost: It is no address.
        """
        name, entry, port = written, self.hosts.get(written), None
        if entry is None:
            name, port = _without_port(written)
            entry = self.hosts.get(name) if port is not None else None
        if entry is None:
            return target.parse(written)
        own = _parsed(written)
        address = entry.address or (own.address if own else None)
        if address is None:
            target.parse(written)
            raise NoHost(f"`{printable(written)}` has no address in {_NAME}", "Add `address` to its entry.")
        if port is None:
            port = entry.port or (own.port if own else PORT)
        known = _parsed(name)
        certificate = entry.certificate or (known.address if known else name)
        return Target(written, address, port, certificate, entry.user)


def _parsed(text: str) -> Optional[Target]:
    try:
        return target.parse(text)
    except NoHost:
        return None


def _without_port(written: str) -> Tuple[str, Optional[int]]:
    """Cuts a port off a name."""
    name, colon, text = written.rpartition(":")
    port = read_port(text) if colon else None
    # What is left of a bare IPv6 address would be another one.
    if port is None or (":" in name and not name.endswith("]")):
        return written, None
    return name, port


def read(folder: str) -> Inventory:
    """Reads hosts.toml in `folder`, and then that in /etc/rcmd. One that this user can't read is passed over.

    Raises:
        NoHost: One is wrong, or can't be read by this Python.
        FileFault: Somebody else could change one.
    """
    inventory = Inventory()
    for place in dict.fromkeys((folder, HOST_FOLDER)):
        path = os.path.join(place, _NAME)
        try:
            text = read_public(path, MAX_HOSTS_FILE)
        except (FileNotFoundError, PermissionError):
            continue
        for name, entry in parse(text, path).items():
            inventory.hosts.setdefault(name, entry)
    return inventory


def _toml() -> Any:
    """Returns a reader of TOML: that of Python 3.11 and later, else tomli if it is there, else None."""
    for name in ("tomllib", "tomli"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def parse(text: bytes, path: str) -> Dict[str, Entry]:
    """Reads the text of a hosts.toml.

    Raises:
        NoHost: It is wrong, or this Python has no reader for it.
    """
    toml = _toml()
    if toml is None:
        # Without the file a name would be taken for an address, and the command go elsewhere.
        message = f"{shown(path)} can't be read: Python before 3.11 has no reader of TOML"
        raise NoHost(message, "Use a newer Python, or install tomli (`pip install tomli`).")
    try:
        tables = toml.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise NoHost(f"{shown(path)}: {printable(str(error))}", "Mend the file.") from None
    entries: Dict[str, Entry] = {}
    for key, value in tables.items():
        if key == "hosts" and isinstance(value, dict):
            entries = {name: _entry(path, name, table) for name, table in value.items()}
        elif key != "groups" or not isinstance(value, dict):
            raise _wrong(path, key, "only [hosts.NAME] and [groups] are known")
    return entries


def _wrong(path: str, key: str, why: str) -> NoHost:
    return NoHost(f"{shown(path)}: `{printable(key)}`: {why}", "Mend the file.")


def _entry(path: str, name: str, table: Any) -> Entry:
    place = f"hosts.{name}"
    why = _wrong_name(name)
    if why is not None:
        raise _wrong(path, place, f"no name of a host: {why}")
    if not isinstance(table, dict):
        raise _wrong(path, place, "a table is needed")
    for key, value in table.items():
        where = f"{place}.{key}"
        if key == "via" or (key == "address" and str(value).startswith("unix:")):
            raise _wrong(path, where, "this version does not know it yet")
        if key == "address" and _address(value) is None:
            raise _wrong(path, where, "a name or an address without a port is needed, in quotes")
        if key == "port" and (type(value) is not int or not 0 < value <= 65_535):
            raise _wrong(path, where, "a number from 1 to 65535 is needed")
        if key in ("certificate", "user") and not (isinstance(value, str) and value):
            raise _wrong(path, where, "text in quotes is needed")
        if key in ("labels", "vars") and not isinstance(value, dict):
            raise _wrong(path, where, "a table is needed")
        if key not in ("address", "port", "certificate", "user", "labels", "vars"):
            raise _wrong(path, where, f"not known; known are {_KNOWN}")
    address = _address(table.get("address"))
    return Entry(address, table.get("port"), table.get("certificate"), table.get("user"))


def _wrong_name(name: str) -> Optional[str]:
    bare = name
    if name.startswith("[") and ":" in name.partition("]")[0]:
        bare = name[1:].replace("]", "", 1)
    if not bare:
        return "it is empty"
    if len(bare.encode("utf-8")) > _LONGEST:
        return f"it has more than {_LONGEST} bytes"
    if any(not (character.isalnum() or character in ".-_:/+") for character in bare):
        return "a character in it can't be in a name"
    if bare.startswith("-"):
        return "it begins with `-`"
    return "it is the name of a folder" if bare in (".", "..") else None


def _address(text: Any) -> Optional[str]:
    """Returns a name or an address without brackets, if it is one without a port."""
    if not isinstance(text, str):
        return None
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1] if is_v6(text[1:-1]) else None
    try:
        ipaddress.ip_address(text)
        return text
    except ValueError:
        is_name = not any(character in ":/+" for character in text) and _wrong_name(text) is None
        return text if is_name else None
