//! DER as text: base64 in JSON, and PEM (RFC 7468).

use std::{borrow::Cow, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
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
