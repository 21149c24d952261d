"""With which certificate, and which hosts are believed."""

from __future__ import annotations

import base64
import os
import re
import ssl
from typing import List, NoReturn, Optional

from .._protocol.limits import ALPN
from .._protocol.outcome import Failure
from . import der
from .files import MAX_LIST_FILE, FileFault, read_private, read_public, shown
from .text import printable

_ENROLL = (
    "Get a token from whoever runs the authority (`rcmd-certs token client USER`), then type `rcmd-client enroll`; "
    "or name another folder with dir=."
)
_LIST = re.compile(rb"-----BEGIN X509 CRL-----(.*?)-----END X509 CRL-----", re.DOTALL)
# The most lists in one file: an authority and its predecessors.
_MOST_LISTS = 16
# A certificate in ca.pem is trusted whoever signed it (X509_V_FLAG_PARTIAL_CHAIN); Python 3.9 has no name for it.
_PARTIAL_CHAIN = 0x80000
# What OpenSSL says of a list that it can't go by: there is none of this issuer, it is not valid yet, or not any
# more (X509_V_ERR_UNABLE_TO_GET_CRL, CRL_NOT_YET_VALID, CRL_HAS_EXPIRED).
_NO_VERDICT = (3, 11, 12)


class Untrusted(Exception):
    """Says why a folder can't be used, or a host not be believed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _unusable(message: str, hint: str = _ENROLL) -> Untrusted:
    return Untrusted(Failure("tls", message, hint))


class Credentials:
    """Holds what a folder has: the authorities, this client's certificate and key, and revocation lists."""

    def __init__(self, folder: str) -> None:
        """Reads ca.pem, client/cert.pem, client/key.pem and client/list.pem, of which the last may be missing.

        Raises:
            Untrusted: A file is missing, unsafe, or no good.
        """
        self._ca = os.path.join(folder, "ca.pem")
        self._cert = os.path.join(folder, "client", "cert.pem")
        self._key = os.path.join(folder, "client", "key.pem")
        self._list = os.path.join(folder, "client", "list.pem")
        self._authorities = self._read(self._ca)
        self._read(self._cert)
        self._read(self._key, private=True)
        self._lists = self._read_lists()
        self._lenient = self._context(with_lists=False)
        self._strict = self._context(with_lists=True) if self._lists else None

    def _read(self, path: str, private: bool = False) -> bytes:
        try:
            return read_private(path) if private else read_public(path)
        except FileNotFoundError:
            raise _unusable(f"{shown(path)} does not exist") from None
        except PermissionError:
            raise _unusable(f"this user may not read {shown(path)}") from None
        except FileFault as fault:
            raise Untrusted(Failure("tls", str(fault))) from None

    def _read_lists(self) -> List[der.RevocationList]:
        try:
            text = read_public(self._list, MAX_LIST_FILE)
            found = _LIST.findall(text)
            if not 1 <= len(found) <= _MOST_LISTS:
                raise FileFault(f"{shown(self._list)} has {len(found)} revocation lists, not 1 to {_MOST_LISTS}")
            return [der.read_list(base64.b64decode(b"".join(body.split()), validate=True)) for body in found]
        except FileNotFoundError:
            return []
        except PermissionError:
            raise _unusable(f"this user may not read {shown(self._list)}") from None
        except (FileFault, der.DerFault, ValueError) as fault:
            message = f"the revocation list {shown(self._list)} can't be used: {fault}"
            raise _unusable(message, "`rcmd-client enroll --renew` fetches it anew.") from None

    def _context(self, with_lists: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        context.hostname_checks_common_name = False
        context.options |= ssl.OP_NO_TICKET
        flags = int(context.verify_flags) | _PARTIAL_CHAIN
        try:
            context.load_verify_locations(cadata=self._authorities.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError) as error:
            raise _unusable(f"{shown(self._ca)} can't be used: {_reason(error)}") from None
        if with_lists:
            try:
                context.load_verify_locations(cafile=self._list)
            except (ssl.SSLError, OSError) as error:
                message = f"the revocation list {shown(self._list)} can't be used: {_reason(error)}"
                raise _unusable(message, "`rcmd-client enroll --renew` fetches it anew.") from None
            flags |= ssl.VERIFY_CRL_CHECK_LEAF
        context.verify_flags = ssl.VerifyFlags(flags)
        try:
            # Nobody is there to type a passphrase, and OpenSSL would ask on the terminal.
            context.load_cert_chain(self._cert, self._key, password=_no_passphrase)
        except _Encrypted:
            message = f"the private key in {shown(self._key)} is encrypted, and nobody can type its passphrase"
            raise _unusable(message, f"`openssl pkey -in {shown(self._key)} -out NEW.pem` decrypts it.") from None
        except (ssl.SSLError, OSError) as error:
            message = f"{shown(self._cert)} and {shown(self._key)} can't be used together: {_reason(error)}"
            raise _unusable(message, "Restore the files that fit, or enroll anew with a token.") from None
        return context

    def contexts(self) -> List[ssl.SSLContext]:
        """Returns the contexts to try, one after the other as `may_go_on` says."""
        return [self._lenient] if self._strict is None else [self._strict, self._lenient]

    def may_go_on(self, error: BaseException) -> bool:
        """Returns whether a verdict is only that no list says anything: the next context leaves lists to `check`.

        A list that is past its date still says who was revoked until then, and a host of an authority without
        a list is believed, as `rcmd-client` has it; OpenSSL would refuse both.
        """
        return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _NO_VERDICT

    def check(self, peer: Optional[bytes], protocol: Optional[str]) -> None:
        """Checks, after the handshake, what OpenSSL does not.

        Raises:
            Untrusted: The host is not to be believed.
        """
        if protocol != ALPN:
            message = "the server speaks TLS but does not name the protocol rcmd/1 (ALPN)"
            raise _unusable(message, "Is it an rcmd server's port?")
        try:
            leaf = der.read_certificate(peer or b"")
        except der.DerFault as fault:
            raise _unusable(f"the server's certificate can't be read: {fault}", "") from None
        if leaf.is_authority:
            message = "the server's certificate is an authority's own (CA:TRUE), which no client accepts"
            raise _unusable(message, "Enroll the server anew with a token.")
        if any(leaf.issuer == known.issuer and leaf.serial in known.serials for known in self._lists):
            raise Untrusted(_revoked())

    def explain(self, error: BaseException, name: str) -> Failure:
        """Returns what an error of TLS means, in a clause, and what to do."""
        if isinstance(error, Untrusted):
            return error.failure
        if isinstance(error, ssl.SSLCertVerificationError):
            return _of_certificate(error, name)
        for alert, message, hint in _ALERTS:
            if f"ALERT_{alert}" in (getattr(error, "reason", None) or ""):
                return Failure("tls", message, hint)
        return Failure("tls", f"the TLS handshake failed: {_reason(error)}", "Is it an rcmd server's port?")


def is_alert(error: Optional[BaseException]) -> bool:
    """Returns whether the server sent an alert: its refusal of this client."""
    reason = getattr(error, "reason", None) or ""
    return isinstance(error, ssl.SSLError) and "ALERT" in reason


def _revoked() -> Failure:
    message = "the server's certificate has been revoked"
    return Failure("tls", message, "Don't use this host; ask whoever runs the authority.")


def _of_certificate(error: ssl.SSLCertVerificationError, name: str) -> Failure:
    code = error.verify_code
    if code in (62, 64):
        message = f"the server's certificate is not for `{printable(name)}` (wrong host name)"
        return Failure("tls", message, "Use a name that it carries, or say `certificate` in hosts.toml.")
    if code in (9, 10):
        when = "is not valid yet" if code == 9 else "has expired"
        message = f"the server's certificate {when}"
        return Failure("tls", message, "Compare `date -u` on both machines; if both are right, renew it there.")
    if code in (18, 19, 20, 21):
        message = "the server's certificate was signed by no authority in ca.pem (unknown authority)"
        return Failure("tls", message, "Is this the folder for that host (dir=)?")
    if code == 26:
        message = "the server's certificate is not for a server (its extended key usage lacks serverAuth)"
        return Failure("tls", message, "Enroll the server anew with a token.")
    if code == 23:
        return _revoked()
    message = f"the server's certificate is refused: {printable(error.verify_message)}"
    return Failure("tls", message, "Look at it with `rcmd-certs show` on the host.")


_RENEW = "`rcmd-client enroll --renew` renews one that came by a token; compare `date -u` on both machines too."
# What a server says by an alert (RFC 8446, section 6.2) when it refuses this client.
_ALERTS = (
    ("CERTIFICATE_REQUIRED", "the server requires a certificate, and this client presented none", _ENROLL),
    ("UNKNOWN_CA", "this client's certificate was refused: the server does not trust its authority", _ENROLL),
    ("CERTIFICATE_EXPIRED", "the server finds this client's certificate expired, or not valid yet", _RENEW),
    ("CERTIFICATE_REVOKED", "this client's certificate has been revoked", _ENROLL),
    ("UNSUPPORTED_CERTIFICATE", "this client's certificate is not for a client (wrong usage)", _ENROLL),
    ("BAD_CERTIFICATE", "the server could not use this client's certificate (bad certificate)", _ENROLL),
    ("CERTIFICATE_UNKNOWN", "the server refused this client's certificate without saying why", _ENROLL),
    ("DECRYPT_ERROR", "the server found a wrong signature on this client's certificate or handshake", _ENROLL),
    (
        "ACCESS_DENIED",
        "the server takes nobody at present: its revocation list is missing or past its date",
        "On that machine `rcmd-server status` says more.",
    ),
    ("PROTOCOL_VERSION", "the server does not speak TLS 1.3", "Is it an rcmd server's port?"),
    ("NO_APPLICATION_PROTOCOL", "the server does not speak the protocol rcmd/1", "Is it an rcmd server's port?"),
)


class _Encrypted(Exception):
    """Says that a private key wants a passphrase."""


def _no_passphrase() -> NoReturn:
    raise _Encrypted


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return printable(str(reason).replace("_", " ").lower())
