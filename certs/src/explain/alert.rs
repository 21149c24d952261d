//! Explanations of the peer's alert (RFC 8446 section 6.2), with the help of our own certificate.

use rustls::AlertDescription as Alert;

use super::explanation::{Explanation, Side};
use crate::{
    clock::{date, now_unix},
    text::printable,
    tls::{Problem, date_problem, remedy},
    x509::Certificate,
};

pub(super) fn explain(side: Side, alert: Alert, own: Option<&Certificate>) -> Explanation {
    let (me, peer) = (side.own(), side.peer());
    let kind = side.kind();
    let anew = remedy::enroll_anew(kind);
    match alert {
        Alert::CertificateRequired => Explanation::new(
            format!("the {peer} requires a certificate, and this {me} presented none"),
            remedy::enroll(kind),
        ),
        Alert::UnknownCA => unknown_authority(side, own),
        Alert::CertificateExpired => dates(side, own),
        Alert::UnsupportedCertificate => Explanation::new(
            format!(
                "the {peer} refused this {me}'s certificate: it is not for a {me} (wrong usage)"
            ),
            anew,
        ),
        Alert::BadCertificate if side == Side::Server => Explanation::new(
            "the client refused this server's certificate: most likely it does not have the name \
             that the client dialled (wrong host name), or it is broken",
            "have clients use a name in the certificate, or enroll the server again with a token for all \
             its names: `rcmd-certs token server NAME...`",
        ),
        Alert::BadCertificate => Explanation::new(
            format!("the {peer} could not use this {me}'s certificate (bad certificate)"),
            format!("look at it with `rcmd-certs show`, or {anew}"),
        ),
        Alert::CertificateUnknown => match own {
            Some(own) if own.self_issued || own.is_ca => unknown_authority(side, Some(own)),
            _ => Explanation::new(
                format!("the {peer} refused this {me}'s certificate without saying why"),
                format!("look at it with `rcmd-certs show`, or {anew}"),
            ),
        },
        Alert::CertificateRevoked => {
            Explanation::new(format!("this {me}'s certificate has been revoked"), anew)
        }
        Alert::DecryptError => Explanation::new(
            format!(
                "the {peer} found a wrong signature on this {me}'s certificate or handshake: it \
                 may come from another authority of the same name"
            ),
            anew,
        ),
        Alert::AccessDenied => Explanation::new(
            format!(
                "the {peer} accepts no client at present: its revocation list is missing or past its \
                 date (access denied)"
            ),
            "run `rcmd-server status` on the server's machine to see why; for an emergency: \
             `rcmd-certs issue client NAME --break-glass --out DIR`",
        ),
        Alert::ProtocolVersion => Explanation::new(
            format!("the {peer} does not speak TLS 1.3 (protocol version)"),
            format!("{}; nothing older than TLS 1.3 is accepted", side.check_peer()),
        ),
        Alert::HandshakeFailure | Alert::InsufficientSecurity => Explanation::new(
            format!("the {peer} found no cipher, key exchange or signature in common"),
            side.check_version(),
        ),
        Alert::NoApplicationProtocol => Explanation::new(
            format!("the {peer} does not speak the protocol rcmd/1 (ALPN)"),
            side.check_version(),
        ),
        Alert::UnrecognisedName => Explanation::new(
            format!("the {peer} does not answer to the name that was dialled"),
            "use a name that is in its certificate",
        ),
        other => Explanation::new(
            format!("the {peer} ended the TLS handshake with the alert {other:?}"),
            format!("see the {peer}'s log"),
        ),
    }
}

fn unknown_authority(side: Side, own: Option<&Certificate>) -> Explanation {
    let (me, peer) = (side.own(), side.peer());
    let because = match own {
        Some(own) if own.self_issued => "it is self-signed".to_owned(),
        Some(own) => {
            format!("the {peer} does not trust its authority, `{}`", printable(&own.issuer))
        }
        None => format!("the {peer} does not trust its authority"),
    };
    let hint = match side {
        Side::Client => {
            "use the folder of that authority's identity (--dir DIR), or enroll with a token of it: \
             `rcmd-certs token client USER`, `rcmd-client enroll`"
        }
        Side::Server => {
            "enroll the client with a token of this server's authority, or this server with one of \
             the client's"
        }
    };
    Explanation::new(
        format!("this {me}'s certificate was refused: {because} (unknown authority)"),
        hint,
    )
}

/// Explains an alert that is the same for an expired certificate and one that is not valid yet.
fn dates(side: Side, own: Option<&Certificate>) -> Explanation {
    let (me, peer) = (side.own(), side.peer());
    let renew = remedy::renew(side.kind());
    let Some(own) = own else {
        return Explanation::new(
            format!("the {peer} finds this {me}'s certificate expired, or not valid yet"),
            format!("compare `date -u` on both machines; if both clocks are right: {renew}"),
        );
    };
    let now = now_unix();
    let (begin, end, clock) = (date(own.not_before), date(own.not_after), date(now));
    match date_problem(own, now) {
        Some(problem @ Problem::NotYetValid(_)) => Explanation::new(
            format!(
                "this {me}'s certificate {problem}: it begins at {begin}, and by this {me}'s clock \
                 it is {clock}"
            ),
            remedy::CLOCKS,
        ),
        Some(problem) => Explanation::new(
            format!(
                "this {me}'s certificate {problem}: it ended at {end}, and by this {me}'s clock it \
                 is {clock}"
            ),
            renew,
        ),
        None => Explanation::new(
            format!(
                "the {peer} finds this {me}'s certificate expired or not valid yet, though it is \
                 good from {begin} to {end} and by this {me}'s clock it is {clock}"
            ),
            remedy::CLOCKS,
        ),
    }
}
