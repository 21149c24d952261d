//! Explanations of faults that this side found itself, for which the reason is exact.

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};
use rustls_pki_types::UnixTime;

use super::explanation::{Explanation, Side};
use crate::{
    clock::{date, span},
    text::printable,
    tls::remedy,
};

pub(super) fn explain(side: Side, error: &Error) -> Explanation {
    let peer = side.peer();
    match error {
        Error::InvalidCertificate(error) => certificate(side, error),
        Error::NoCertificatesPresented => Explanation::new(
            format!("the {peer} presented no certificate"),
            match side {
                Side::Client => side.check_peer(),
                Side::Server => {
                    "to let the client in, enroll it with a token: `rcmd-certs token client USER`"
                }
            },
        ),
        Error::PeerIncompatible(reason) => incompatible(side, reason),
        Error::NoApplicationProtocol => Explanation::new(
            format!("the {peer} does not speak the protocol rcmd/1 (ALPN)"),
            side.check_version(),
        ),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge,
        ) => Explanation::new(format!("the {peer} does not speak TLS"), side.check_peer()),
        Error::DecryptError => Explanation::new(
            format!("what the {peer} sent could not be decrypted"),
            "something between the two machines changed the data; try again, then check the network",
        ),
        other => Explanation::new(
            format!("the TLS handshake with the {peer} failed: {}", printable(&other.to_string())),
            side.check_peer(),
        ),
    }
}

fn incompatible(side: Side, reason: &PeerIncompatible) -> Explanation {
    use PeerIncompatible::{
        NoCertificateRequestSignatureSchemesInCommon, NoCipherSuitesInCommon, NoKxGroupsInCommon,
        NoSignatureSchemesInCommon, ServerDoesNotSupportTls12Or13,
        ServerTlsVersionIsDisabledByOurConfig, SupportedVersionsExtensionRequired, Tls12NotOffered,
        Tls12NotOfferedOrEnabled,
    };

    let (me, peer) = (side.own(), side.peer());
    let missing = match reason {
        ServerDoesNotSupportTls12Or13
        | ServerTlsVersionIsDisabledByOurConfig
        | SupportedVersionsExtensionRequired
        | Tls12NotOffered
        | Tls12NotOfferedOrEnabled => {
            let text = format!("the {peer} speaks TLS 1.2 or older, and only TLS 1.3 is accepted");
            return Explanation::new(text, side.check_peer());
        }
        NoCipherSuitesInCommon => "cipher",
        NoKxGroupsInCommon => "key exchange",
        NoSignatureSchemesInCommon | NoCertificateRequestSignatureSchemesInCommon => {
            "kind of signature"
        }
        _ => {
            let text = format!("the TLS of the {peer} does not fit that of this {me} ({reason:?})");
            return Explanation::new(text, side.check_version());
        }
    };
    Explanation::new(
        format!("the {peer} and this {me} have no {missing} in common"),
        side.check_version(),
    )
}

fn certificate(side: Side, error: &CertificateError) -> Explanation {
    let (me, peer) = (side.own(), side.peer());
    // The peer's certificate, which the peer must replace.
    let anew = match side {
        Side::Client => {
            "use no server that you do not know; its operator enrolls it again with a token \
             (`rcmd-certs token server NAME...`, `rcmd-server enroll`)"
        }
        Side::Server => {
            "to let the client in, enroll it with a token of this server's authority \
             (`rcmd-certs token client USER`, `rcmd-client enroll`)"
        }
    };
    // By a clock that is ahead, a valid certificate looks expired.
    let by_the_clock = match side {
        Side::Client => {
            "compare `date -u` on both machines; if both clocks are right, `rcmd-server status` on the \
             server's machine says why it was not renewed"
        }
        Side::Server => {
            "compare `date -u` on both machines; if both clocks are right, the client renews it: \
             `rcmd-client enroll --renew`, or with a new token"
        }
    };
    let (what, hint) = match error {
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = span(time.as_secs().saturating_sub(not_after.as_secs()));
            let (end, now) = (moment(not_after), moment(time));
            let text = format!(
                "expired {ago} ago: it ended at {end}, and by this {me}'s clock it is {now}"
            );
            (text, by_the_clock)
        }
        CertificateError::Expired => ("has expired".to_owned(), by_the_clock),
        CertificateError::NotValidYetContext { time, not_before } => {
            let wait = span(not_before.as_secs().saturating_sub(time.as_secs()));
            let (begin, now) = (moment(not_before), moment(time));
            let text = format!(
                "is not valid yet, for another {wait}: it begins at {begin}, and by this {me}'s \
                 clock it is {now}"
            );
            (text, remedy::CLOCKS)
        }
        CertificateError::NotValidYet => ("is not valid yet".to_owned(), remedy::CLOCKS),
        CertificateError::UnknownIssuer => unknown_issuer(side),
        CertificateError::NotValidForNameContext { expected, presented } => {
            (names(&expected.to_str(), presented), DIAL)
        }
        CertificateError::NotValidForName => ("is not for the name dialled".to_owned(), DIAL),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            (format!("is not for a {peer} (wrong usage)"), anew)
        }
        CertificateError::Revoked => ("has been revoked".to_owned(), anew),
        CertificateError::ApplicationVerificationFailure => (
            "cannot be judged: this server's revocation list is missing or past its date"
                .to_owned(),
            "run `rcmd-server status` to see which; the authority sends a new list (`rcmd-certs serve`)",
        ),
        CertificateError::BadSignature => (
            "has a wrong signature: another authority of the same name may have signed it"
                .to_owned(),
            anew,
        ),
        CertificateError::BadEncoding => ("cannot be read".to_owned(), anew),
        CertificateError::UnhandledCriticalExtension => {
            ("has a critical extension that rcmd does not know".to_owned(), anew)
        }
        CertificateError::Other(reason) if reason.to_string().contains("CaUsedAsEndEntity") => {
            ("is an authority's own, or self-signed (CA:TRUE): unknown authority".to_owned(), anew)
        }
        other => (format!("was refused: {}", printable(&other.to_string())), anew),
    };
    Explanation::new(format!("the {peer}'s certificate {what}"), hint)
}

fn moment(time: &UnixTime) -> String {
    date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

const DIAL: &str = "use one of its names, or enroll the server again with a token for this name \
                    too: `rcmd-certs token server NAME...`";

fn unknown_issuer(side: Side) -> (String, &'static str) {
    let text = "is self-signed, or another authority's than those in ca.pem (unknown authority)";
    let hint = match side {
        Side::Client => {
            "check that the address is that of the right server; for a server of another authority, \
             get an identity of that authority with a token (`rcmd-client enroll --dir DIR`)"
        }
        Side::Server => {
            "to let the client in, enroll it with a token of this server's authority \
             (`rcmd-certs token client USER`, `rcmd-client enroll`)"
        }
    };
    (text.to_owned(), hint)
}

/// Returns a few of the names: a certificate may carry thousands, and the server chose them.
fn names(expected: &str, presented: &[String]) -> String {
    const SHOWN: usize = 5;

    // webpki writes them as `DnsName("web1.example")` and `IpAddress(192.0.2.7)`, and URIs bare.
    let mut names: Vec<String> = presented
        .iter()
        .filter_map(|name| name.strip_suffix(')')?.split_once('('))
        .filter(|(kind, _)| matches!(*kind, "DnsName" | "IpAddress"))
        .map(|(_, name)| printable(name.trim_matches('"')))
        .collect();
    let expected = printable(expected);
    if names.is_empty() {
        return format!("carries no name at all, so it is not for {expected} (wrong host name)");
    }
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    format!("is for {}, not for {expected} (wrong host name)", names.join(", "))
}
