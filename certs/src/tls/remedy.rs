//! Remedies for an identity that is missing, expired, or refused. None of them weakens anything: no
//! longer life, no key that travels, no group that is lost.

use crate::names::Kind;

/// Returns how a member gets an identity that it does not have, or no longer has.
pub fn enroll(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => {
            "get a token from whoever runs the authority (`rcmd-certs token server NAME...`, NAME being \
             how clients reach it), then type `rcmd-server enroll`"
        }
        Kind::Client => {
            "get a token from whoever runs the authority (`rcmd-certs token client USER`), then type \
             `rcmd-client enroll`"
        }
    }
}

/// Returns how a member gets another identity in place of the one that it has.
pub fn enroll_anew(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => {
            "enroll it anew: get a token from whoever runs the authority (`rcmd-certs token server \
             NAME...`), move the folder server/ away, then type `rcmd-server enroll`"
        }
        Kind::Client => {
            "enroll anew: get a token from whoever runs the authority (`rcmd-certs token client USER`), \
             move the folder client/ away, then type `rcmd-client enroll`"
        }
    }
}

/// Returns what to do about a certificate that has expired by a clock that is right.
pub fn renew(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => {
            "one that came by a token renews by itself, and `rcmd-server status` says why it did not; \
             else it needs a token (`rcmd-certs token server NAME...`)"
        }
        Kind::Client => {
            "renew it with `rcmd-client enroll --renew`; one that no token brought needs one \
             (`rcmd-certs token client USER`)"
        }
    }
}

/// The remedy for dates that are wrong by one clock or the other.
pub const CLOCKS: &str = "compare `date -u` on both machines: one of the two clocks may be wrong";
