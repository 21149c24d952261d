//! DER as text: base64 in JSON, and PEM (RFC 7468).

use std::{borrow::Cow, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::pem::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes in DER; base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Der(pub Vec<u8>);

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(|_| D::Error::custom("not base64"))
    }
}

/// Returns one section of PEM with this label and content.
pub fn pem(label: &str, der: &[u8]) -> String {
    // RFC 7468: 64 characters a line.
    let mut text = format!("-----BEGIN {label}-----\n");
    for chunk in der.chunks(48) {
        let _ = writeln!(text, "{}", STANDARD.encode(chunk));
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}

/// Returns a certificate and its intermediates in PEM.
pub fn chain_pem(chain: &[Der]) -> String {
    chain.iter().map(|der| pem("CERTIFICATE", &der.0)).collect()
}

/// The fault of a file that should be PEM. It quotes nothing of the file, where a private key may stand in any
/// place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// A section's first line does not end after its label.
    #[error("a `-----BEGIN` line goes on after its label; were line breaks lost or replaced?")]
    Begin,
    /// A section has no last line.
    #[error("a section has no `-----END` line of its own; was it cut, or were line breaks lost?")]
    End,
    /// A section's content is damaged.
    #[error("a section has text that is not base64")]
    Base64,
    /// A section is too large, or there are too many.
    #[error("it is too large")]
    TooMuch,
    /// There is no section of the kind that was looked for.
    #[error("there is no such section")]
    Nothing,
}

impl From<Error> for PemFault {
    fn from(error: Error) -> Self {
        match error {
            Error::IllegalSectionStart { .. } => Self::Begin,
            Error::MissingSectionEnd { .. } => Self::End,
            Error::SectionTooLarge => Self::TooMuch,
            Error::NoItemsFound => Self::Nothing,
            _ => Self::Base64,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};

    use super::*;

    #[test]
    fn a_damaged_section_is_named_by_its_fault_and_never_by_its_content() {
        let key = pem("PRIVATE KEY", &[0x5a; 96]);
        for (damaged, fault) in [
            (key.replace('\n', ""), PemFault::End),
            (key.replace('\n', " "), PemFault::End),
            (key.replace('\n', "\\n"), PemFault::Begin),
            (key.replace("-----END", "-----FIN"), PemFault::End),
            (key.replacen("\nWl", "\nW*", 1), PemFault::Base64),
            (key.replace("PRIVATE KEY", "SECRET KEY"), PemFault::Nothing),
        ] {
            let error = PrivateKeyDer::from_pem_slice(damaged.as_bytes()).unwrap_err();
            let found = PemFault::from(error);
            assert_eq!(found, fault, "{damaged:?}");
            assert!(!found.to_string().contains("Wlpa"), "{found}");
        }
    }
}
