//! `authority/authority.toml`: the settings of the authority. The file is optional.

use std::{net::SocketAddr, path::Path, time::Duration};

use rcmd_certs::{
    clock,
    enroll::token::is_address,
    files::{self, shown},
    text::{place, printable, setting_fault, without_long_words},
};
use serde::{Deserialize, Deserializer};

use super::error::StateError;

const DAY: u64 = 24 * 60 * 60;

/// The settings of the authority. Durations are written `30s`, `24h`, `7d`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthoritySettings {
    /// The addresses at which members reach it, `HOST:PORT` each. If empty: those that `serve` listens on.
    pub addresses: Vec<String>,
    /// The addresses that `serve` listens on, unless its command line names others.
    pub listen: Vec<SocketAddr>,
    /// The life of a client's certificate.
    #[serde(deserialize_with = "span")]
    pub client_life: Duration,
    /// The life of a server's certificate.
    #[serde(deserialize_with = "span")]
    pub server_life: Duration,
    /// The time after its last renewal in which a key may be renewed.
    #[serde(deserialize_with = "span")]
    pub renew_within: Duration,
    /// The time for which a token may be used, unless `--expires` sets another.
    #[serde(deserialize_with = "span")]
    pub token_life: Duration,
    /// The interval at which `serve` signs new revocation lists.
    #[serde(deserialize_with = "span")]
    pub list_every: Duration,
    /// The time for which a revocation list is accepted.
    #[serde(deserialize_with = "span")]
    pub list_life: Duration,
}

impl Default for AuthoritySettings {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            listen: Vec::new(),
            client_life: Duration::from_secs(DAY),
            server_life: Duration::from_secs(7 * DAY),
            renew_within: Duration::from_secs(30 * DAY),
            token_life: Duration::from_secs(60 * 60),
            list_every: Duration::from_secs(60 * 60),
            list_life: Duration::from_secs(7 * DAY),
        }
    }
}

impl AuthoritySettings {
    /// Reads the file. If it does not exist, all settings have their defaults.
    ///
    /// # Errors
    /// [`StateError::Settings`] with the line that is wrong.
    pub fn load(path: &Path) -> Result<Self, StateError> {
        let unusable =
            |reason: &str| StateError::Settings { path: shown(path), reason: printable(reason) };
        let bytes = match files::read_public(path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(Self::default()),
            Err(error) => return Err(unusable(&error.to_string())),
        };
        let text =
            std::str::from_utf8(&bytes).map_err(|_| unusable("the file is not UTF-8 text"))?;
        let settings: Self = toml::from_str(text).map_err(|error| {
            let (line, _) = place(&bytes, error.span().map_or(0, |span| span.start));
            unusable(&format!("line {line}: {}", setting_fault(error.message())))
        })?;
        if let Some(address) = settings.addresses.iter().find(|address| !is_address(address)) {
            return Err(unusable(&format!(
                "`{}` in `addresses` is not HOST:PORT; write an address such as \
                 ca.example.org:7264",
                without_long_words(address)
            )));
        }
        if settings.list_life <= settings.list_every {
            return Err(unusable("list_life must be longer than list_every"));
        }
        Ok(settings)
    }
}

/// Reads a duration of at least a second and at most ten years.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_span(&text).map_err(serde::de::Error::custom)
}

/// Reads a duration of at least a second and at most ten years, as in `90s`, `24h` or `7d`.
///
/// # Errors
/// Returns a sentence for people.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(3653 * DAY);

    let span = clock::parse_span(text)
        .map_err(|error| format!("`{}` is not a duration: {error}", printable(text)))?;
    if (Duration::from_secs(1)..=LONGEST).contains(&span) {
        Ok(span)
    } else {
        Err(format!(
            "`{}` is out of range: write a duration from 1s to 3653d (ten years), such as 30d",
            printable(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<AuthoritySettings, String> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("authority.toml");
        std::fs::write(&path, text).unwrap();
        AuthoritySettings::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_file_all_is_as_documented() {
        let settings = AuthoritySettings::load(Path::new("/nonexistent/authority.toml")).unwrap();
        assert_eq!(settings.client_life, Duration::from_secs(24 * 3600));
        assert_eq!(settings.server_life, Duration::from_secs(7 * 24 * 3600));
        assert_eq!(settings.renew_within, Duration::from_secs(30 * 24 * 3600));
        assert_eq!(load("").unwrap(), AuthoritySettings::default());
    }

    #[test]
    fn lives_are_settable() {
        let settings = load("client_life = \"8h\"\naddresses = [\"ca.example:7264\"]").unwrap();
        assert_eq!(settings.client_life, Duration::from_secs(8 * 3600));
        assert_eq!(settings.addresses, ["ca.example:7264"]);
    }

    #[test]
    fn nonsense_is_named_with_its_line() {
        for (text, part) in [
            ("\nclient_lief = \"8h\"", "line 2"),
            ("client_life = \"0s\"", "ten years"),
            ("client_life = \"soon\"", "not a duration"),
            ("addresses = [\"ca\"]", "HOST:PORT"),
            ("list_every = \"7d\"", "list_life"),
            ("listen = [\"here\"]", "line 1"),
        ] {
            let message = load(text).unwrap_err();
            assert!(message.contains(part) && message.contains("authority.toml"), "{message}");
        }
    }
}
