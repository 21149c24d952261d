"""Names of hosts, hosts.toml, and what of certificates and lists is read here."""

from __future__ import annotations

import base64
import pathlib
import random
import re
import sys
import unittest
from unittest import mock

from rcmd._host import der, inventory, target
from rcmd._host.inventory import Inventory
from rcmd._host.target import NoHost
from rcmd._host.text import printable
from tests.world import World

NEEDS_TOML = unittest.skipIf(sys.version_info < (3, 11), "needs Python 3.11")


class Targets(unittest.TestCase):
    def test_every_way_to_write_a_host_is_read(self) -> None:
        for text, address, port in [
            ("web1", "web1", 7263),
            ("web1:22", "web1", 22),
            ("10.0.0.7", "10.0.0.7", 7263),
            ("10.0.0.7:9000", "10.0.0.7", 9000),
            ("::1", "::1", 7263),
            ("[::1]", "::1", 7263),
            ("[::1]:9000", "::1", 9000),
        ]:
            found = target.parse(text)
            self.assertEqual((found.address, found.port, found.certificate), (address, port, address))

    def test_what_is_no_host_is_refused(self) -> None:
        for text in (
            *("", ":1", "a:", "a:0", "a:65536", "a:b", "a:+1", "[::1", "[a]:1", "[::1]x", "a b", "u@h", "a/b", ".", ".."),
            *("-v", "--help", "$(id)", "`id`", "a;id", "a|id", "a\n", "a\x1b", "\udc80", "a[1-3]", "@web", "a,b", "a*"),
            *("fe80::1%eth0", "[fe80::1%2]:1", "a" * 254, "a:" + "9" * 5000),
        ):
            with self.subTest(text), self.assertRaises(NoHost) as raised:
                target.parse(text)
            self.assertTrue(raised.exception.hint)
            self.assertTrue(str(raised.exception).isprintable())

    def test_foreign_text_is_safe_to_print(self) -> None:
        self.assertEqual(printable("a\x1b[2J\u202e\n"), "a\\x1b[2J\\u202e\\n")
        self.assertEqual(len(printable("x" * 9999)), 1001)


@NEEDS_TOML
class HostsToml(unittest.TestCase):
    def inventory(self, text: str) -> Inventory:
        return Inventory(inventory.parse(text.encode(), "F"))

    def test_a_known_name_has_its_address_port_certificate_and_user(self) -> None:
        known = self.inventory(
            "[hosts.a1]\naddress = '10.0.0.1'\nport = 1\ncertificate = 'c'\nuser = 'u'\n[hosts.a2]\naddress = '[fd00::2]'\n"
            "[hosts.'a3:9']\n[hosts.'x/y']\naddress = 'z'\n[hosts.a4]\nport = 4\n[hosts.'p/q']\n[groups]\nall = 'a1'\n"
        )
        for written, address, port, certificate in [
            ("a1", "10.0.0.1", 1, "c"),
            ("a1:22", "10.0.0.1", 22, "c"),
            ("a2", "fd00::2", 7263, "a2"),
            ("a3:9", "a3", 9, "a3"),
            ("x/y", "z", 7263, "x/y"),
            ("a4", "a4", 4, "a4"),
            ("b", "b", 7263, "b"),
            ("b:22", "b", 22, "b"),
            ("[::1]:9", "::1", 9, "::1"),
        ]:
            found = known.target(written)
            self.assertEqual((found.address, found.port, found.certificate), (address, port, certificate), written)
            self.assertEqual(found.name, written)
        self.assertEqual((known.target("a1").user, known.target("b").user), ("u", None))
        with self.assertRaises(NoHost):
            known.target("p/q")

    def test_what_is_wrong_is_named(self) -> None:
        for text, word in [
            ("[hosts.a]\nvia = 'b'", "hosts.a.via"),
            ("[hosts.a]\naddress = 'unix:/x'", "hosts.a.address"),
            ("[hosts.a]\naddress = 'b:1'", "without a port"),
            ("[hosts.a]\nport = 0", "1 to 65535"),
            ("[hosts.a]\nport = true", "1 to 65535"),
            ("[hosts.a]\nuser = ''", "hosts.a.user"),
            ("[hosts.a]\ncolour = 'red'", "hosts.a.colour"),
            ("[hosts.'a b']", "no name"),
            ("[hosts]\na = 1", "hosts.a"),
            ("[host.a]", "host"),
            ("hosts = 1", "hosts"),
            ("[hosts.a", "end of document"),
            ("\xff", "F"),
        ]:
            with self.subTest(text), self.assertRaises(NoHost) as raised:
                inventory.parse(text.encode("latin-1"), "F")
            self.assertIn(word, str(raised.exception))
            self.assertIn("F", str(raised.exception))


class WithoutToml(unittest.TestCase):
    def test_a_file_that_this_python_can_t_read_is_refused_and_not_passed_over(self) -> None:
        with mock.patch.object(inventory, "_toml", return_value=None), self.assertRaises(NoHost) as raised:
            inventory.parse(b"", "F")
        self.assertIn("3.11", str(raised.exception))
        self.assertIn("tomli", raised.exception.hint)


class Der(unittest.TestCase):
    server: bytes
    authority: bytes
    revoked: bytes

    @classmethod
    def setUpClass(cls) -> None:
        world = World()
        cls.addClassCleanup(world.close)
        world.certs("revoke", "localhost", "--dir", str(world.dir))
        cls.server = _pem(world.dir / "server/cert.pem")
        cls.authority = _pem(world.dir / "ca.pem")
        cls.revoked = _pem(world.dir / "authority/list.pem")

    def test_a_certificate_and_a_list_say_who_is_meant(self) -> None:
        server, authority = der.read_certificate(self.server), der.read_certificate(self.authority)
        self.assertEqual((server.is_authority, authority.is_authority), (False, True))
        found = der.read_list(self.revoked)
        self.assertEqual(found.issuer, server.issuer)
        self.assertEqual(found.serials, {server.serial})

    def test_no_damage_is_anything_but_a_fault(self) -> None:
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        for read, data in ((der.read_certificate, self.server), (der.read_list, self.revoked)):
            for length in range(len(data)):
                with self.assertRaises(der.DerFault):
                    read(data[:length])
            for _ in range(3000):
                damaged = bytearray(data)
                damaged[chance.randrange(len(data))] = chance.randrange(256)
                with self.subTest(seed=seed):
                    try:
                        read(bytes(damaged))
                    except der.DerFault:
                        pass


def _pem(path: pathlib.Path) -> bytes:
    """Returns the one section of a PEM file."""
    (body,) = re.findall(r"-----BEGIN [A-Z0-9 ]+-----(.*?)-----END", path.read_text(), re.DOTALL)
    return base64.b64decode(body)


if __name__ == "__main__":
    unittest.main()
