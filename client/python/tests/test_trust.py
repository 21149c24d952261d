"""Who is believed: names, roles, authorities, revocation, and files that others could change."""

from __future__ import annotations

import os
import pathlib
import shutil
import ssl
import subprocess
import tempfile
import unittest
from typing import Any, Callable, Optional, Tuple

import rcmd
from rcmd._host import inventory
from tests.liar import Liar, Peer
from tests.world import World, WorldCase


def honest(peer: Peer) -> None:
    """Runs what is asked for, which ends with 0."""
    peer.begin()
    peer.end()


class Servers(unittest.TestCase):
    """Certificates of servers. They are signed by openssl, since rcmd-certs signs none that are wrong."""

    world: World

    @classmethod
    def setUpClass(cls) -> None:
        if shutil.which("openssl") is None:
            raise unittest.SkipTest("needs openssl")
        cls.world = World()
        cls.addClassCleanup(cls.world.close)

    def setUp(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=self.world.root))

    def openssl(self, *words: Any) -> None:
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def issue(self, *extensions: str, serial: int = 77, days: int = 3, key: bool = True) -> Tuple[str, str]:
        """Returns the files of a certificate with these extensions, signed by the world's authority."""
        cert, private, request = (self.folder / name for name in ("cert.pem", "key.pem", "request.pem"))
        (self.folder / "extensions").write_text("\n".join(extensions))
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", private)
        self.openssl("req", "-new", "-key", private, "-subj", "/CN=localhost", "-out", request)
        authority = self.world.dir / "authority"
        signed_by = ("-CA", authority / "cert.pem", "-CAkey", authority / "key.pem", "-set_serial", serial)
        more = ("-extfile", self.folder / "extensions", "-days", days)
        self.openssl("x509", "-req", "-in", request, *signed_by, *more, "-out", cert)
        return str(cert), str(private)

    def run_with(self, cert: Optional[Tuple[str, str]], script: Callable[[Peer], None] = honest, **more: Any) -> rcmd.Result:
        with Liar(self.world.dir, script, cert=cert, **more) as liar:
            return rcmd.run(liar.host, ["true"], dir=self.world.dir)

    def refused(self, cert: Optional[Tuple[str, str]], word: str, **more: Any) -> None:
        def never(peer: Peer) -> None:
            header, _ = peer.read()
            raise AssertionError(f"it was told {header}")

        with self.assertRaises(rcmd.NotStarted) as raised:
            self.run_with(cert, never, **more)
        self.assertEqual((raised.exception.kind, raised.exception.returncode), ("tls", 125))
        self.assertIn(word, str(raised.exception))

    def test_a_certificate_of_the_name_and_the_role_is_believed(self) -> None:
        for extensions in (
            ("subjectAltName=DNS:localhost", "extendedKeyUsage=serverAuth"),
            ("subjectAltName=DNS:other,DNS:localhost", "basicConstraints=CA:FALSE"),
        ):
            self.assertEqual(self.run_with(self.issue(*extensions)).returncode, 0)

    def test_another_name_is_not(self) -> None:
        server = "extendedKeyUsage=serverAuth"
        for name in ("DNS:elsewhere.test", "DNS:*.localhost", "URI:rcmd://host/localhost", "IP:127.0.0.1"):
            self.refused(self.issue(f"subjectAltName={name}", server), "wrong host name")
        # The common name is localhost, and counts for nothing.
        self.refused(self.issue(server), "wrong host name")

    def test_another_role_is_not(self) -> None:
        name = "subjectAltName=DNS:localhost"
        self.refused(self.issue(name, "extendedKeyUsage=clientAuth"), "serverAuth")
        self.refused(self.issue(name, "basicConstraints=critical,CA:TRUE"), "authority's own")

    def test_a_certificate_that_has_ended_is_not(self) -> None:
        self.refused(self.issue("subjectAltName=DNS:localhost", days=-1), "has expired")

    def test_another_authority_is_not(self) -> None:
        other = World()
        self.addCleanup(other.close)
        cert = (str(other.dir / "server/cert.pem"), str(other.dir / "server/key.pem"))
        self.refused(cert, "unknown authority")

    def test_a_server_of_another_protocol_is_not(self) -> None:
        self.refused(None, "rcmd/1", alpn=())
        self.refused(None, "TLS", version=ssl.TLSVersion.TLSv1_2)

    def revoke(self, serial: int, days: Tuple[str, str], by: Optional[World] = None) -> None:
        """Writes a list of the authority into the client's folder."""
        authority = (by or self.world).dir / "authority"
        index, config, crl = (self.folder / name for name in ("index", "config", "list.pem"))
        index.write_text(f"R\t301231235959Z\t260101000000Z\t{serial:02X}\tunknown\t/CN=x\n")
        (self.folder / "number").write_text("01\n")
        config.write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={index}\ncrlnumber={self.folder}/number\ndefault_md=default\n"
            "crl_extensions=more\n[more]\nauthorityKeyIdentifier=keyid\n"
        )
        signed_by = ("-cert", authority / "cert.pem", "-keyfile", authority / "key.pem")
        dates = ("-crl_lastupdate", days[0], "-crl_nextupdate", days[1])
        self.openssl("ca", "-config", config, "-gencrl", *signed_by, *dates, "-out", crl)
        target = self.world.dir / "client/list.pem"
        self.addCleanup(target.unlink)
        shutil.copy(crl, target)

    NOW = ("20200101000000Z", "20990101000000Z")
    PAST = ("20200101000000Z", "20200102000000Z")

    def test_a_revoked_certificate_is_not_believed_also_by_a_list_that_is_past_its_date(self) -> None:
        extensions = ("subjectAltName=DNS:localhost", "extendedKeyUsage=serverAuth")
        for dates in (self.NOW, self.PAST):
            with self.subTest(dates):
                self.revoke(0x99AA, dates)
                self.refused(self.issue(*extensions, serial=0x99AA), "revoked")
                self.assertEqual(self.run_with(self.issue(*extensions, serial=0x99AB)).returncode, 0)
                self.doCleanups()

    def test_a_list_of_another_authority_says_nothing(self) -> None:
        other = World()
        self.addCleanup(other.close)
        self.revoke(77, self.NOW, by=other)
        cert = self.issue("subjectAltName=DNS:localhost", serial=77)
        self.assertEqual(self.run_with(cert).returncode, 0)

    def test_a_list_that_was_changed_is_believed_by_nobody(self) -> None:
        self.revoke(0x99AA, self.NOW)
        path = self.world.dir / "client/list.pem"
        import base64

        lines = path.read_text().split("\n")
        body = bytearray(base64.b64decode("".join(lines[1:-2])))
        body[-1] ^= 1  # in the signature
        text = base64.encodebytes(body).decode()
        path.write_text(f"{lines[0]}\n{text}{lines[-2]}\n")
        self.refused(self.issue("subjectAltName=DNS:localhost", serial=77), "refused")
        path.write_text("garbage")
        with self.assertRaises(rcmd.NotStarted) as raised:
            self.run_with(self.issue("subjectAltName=DNS:localhost"))
        self.assertIn("--renew", str(raised.exception))

    def test_the_list_that_rcmd_certs_writes_is_read(self) -> None:
        self.world.certs("revoke", "localhost", "--dir", str(self.world.dir))
        target = self.world.dir / "client/list.pem"
        self.addCleanup(target.unlink)
        shutil.copy(self.world.dir / "authority/list.pem", target)
        self.refused(None, "revoked")


class Clients(WorldCase):
    """What a server says to clients that it does not let in."""

    def folder_of(self, world: World) -> pathlib.Path:
        folder = self.file("dir")
        shutil.copytree(world.dir, folder, ignore=shutil.ignore_patterns("running", "audit", "*.toml", "control.*"))
        return folder

    def test_a_client_of_another_authority_knows_that_nothing_ran(self) -> None:
        other = World()
        self.addCleanup(other.close)
        folder = self.folder_of(other)
        shutil.copy(self.world.dir / "ca.pem", folder / "ca.pem")
        with self.assertRaises(rcmd.NotStarted) as raised:
            self.world.run(["true"], dir=folder)
        self.assertEqual(raised.exception.kind, "tls")
        self.assertIn("does not trust its authority", str(raised.exception))

    def test_a_server_s_certificate_is_no_client_s(self) -> None:
        folder = self.folder_of(self.world)
        for name in ("cert.pem", "key.pem"):
            shutil.copy(folder / "server" / name, folder / "client" / name)
        with self.assertRaises(rcmd.NotStarted) as raised:
            self.world.run(["true"], dir=folder)
        self.assertEqual(raised.exception.kind, "tls")

    def test_a_port_without_tls_is_named(self) -> None:
        import socket
        import threading

        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                client, _ = listener.accept()
                with client:
                    client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                    client.recv(65_536)

            thread = threading.Thread(target=answer)
            thread.start()
            with self.assertRaises(rcmd.NotStarted) as raised:
                self.world.run(["true"], host=f"localhost:{listener.getsockname()[1]}")
            thread.join()
        self.assertEqual(raised.exception.kind, "tls")


class Files(WorldCase):
    def setUp(self) -> None:
        self.dir = self.file("dir")
        shutil.copytree(self.world.dir, self.dir, ignore=shutil.ignore_patterns("running", "audit", "server"))

    def refused(self, word: str) -> None:
        with self.assertRaises(rcmd.NotStarted) as raised:
            self.world.run(["true"], dir=self.dir)
        self.assertIn(word, str(raised.exception))
        self.assertIn(raised.exception.kind, ("tls", "usage"))
        self.assertEqual(raised.exception.returncode, None)

    def test_a_folder_as_it_should_be_is_used(self) -> None:
        self.assertEqual(self.world.run(["true"], dir=self.dir).returncode, 0)
        for mode in (0o400, 0o600):
            os.chmod(self.dir / "client/key.pem", mode)
            self.assertEqual(self.world.run(["true"], dir=self.dir).returncode, 0)

    def test_a_key_that_others_can_read_is_refused_with_the_remedy(self) -> None:
        for mode in (0o640, 0o604, 0o620, 0o610):
            os.chmod(self.dir / "client/key.pem", mode)
            self.refused(f"chmod 600 {self.dir}/client/key.pem")

    def test_what_others_may_change_is_refused(self) -> None:
        names = ["ca.pem", "client/cert.pem", "."]
        if inventory._toml() is not None:
            (self.dir / "hosts.toml").write_text("")
            names.append("hosts.toml")
        for name in names:
            path = self.dir / name
            mode = path.stat().st_mode
            os.chmod(path, 0o777 if path.is_dir() else 0o666)
            self.refused("chmod go-w")
            os.chmod(path, mode)

    def test_missing_and_broken_files_are_named(self) -> None:
        for name, word in (("client/key.pem", "enroll"), ("ca.pem", "enroll"), ("client/cert.pem", "enroll")):
            saved = (self.dir / name).read_bytes()
            (self.dir / name).unlink()
            self.refused(f"{self.dir}/{name} does not exist")
            (self.dir / name).write_bytes(b"garbage")
            os.chmod(self.dir / name, 0o600)
            self.refused(name)
            (self.dir / name).write_bytes(saved)

    def test_a_key_under_a_passphrase_asks_nobody(self) -> None:
        key = self.dir / "client/key.pem"
        words = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-passout", "pass:x", "-out", f"{key}.new"]
        subprocess.run(words, check=True, capture_output=True)
        os.replace(f"{key}.new", key)
        os.chmod(key, 0o600)
        self.refused("encrypted")

    def test_a_key_of_another_certificate_is_refused(self) -> None:
        shutil.copy(self.world.dir / "server/key.pem", self.dir / "client/key.pem")
        self.refused("can't be used together")

    def test_a_pipe_in_place_of_a_file_holds_nobody_up(self) -> None:
        (self.dir / "ca.pem").unlink()
        os.mkfifo(self.dir / "ca.pem")
        self.refused("not a regular file")

    def test_the_folder_is_found_as_the_client_finds_it(self) -> None:
        from rcmd._host.folder import folder

        def found(**variables: str) -> Optional[str]:
            saved = dict(os.environ)
            try:
                for name in ("RCMD_DIR", "XDG_CONFIG_HOME", "HOME"):
                    os.environ.pop(name, None)
                os.environ.update(variables)
                return folder(None)
            finally:
                os.environ.clear()
                os.environ.update(saved)

        self.assertEqual(found(RCMD_DIR="/a", HOME="/h"), "/a")
        self.assertEqual(found(RCMD_DIR="", XDG_CONFIG_HOME="/x", HOME="/h"), "/x/rcmd")
        self.assertEqual(found(XDG_CONFIG_HOME="relative", HOME="/h"), "/h/.config/rcmd")
        self.assertIsNone(found())
        self.assertEqual(folder(pathlib.Path("/p")), "/p")


if __name__ == "__main__":
    unittest.main()
