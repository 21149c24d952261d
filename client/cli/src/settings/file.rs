//! `client.toml`: default settings of the user.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use encoding_rs::Encoding;
use rcmd_certs::{
    files::{self, shown},
    text::{place, setting_fault},
};
use rcmd_protocol::outcome::{ErrorKind, WireError};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::{arguments::duration, output::encoding};

/// The settings in the file. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The default of `--connect-timeout`: text, or a number of seconds.
    #[serde(default, deserialize_with = "read_duration")]
    pub(crate) connect_timeout: Option<Duration>,
    /// The default of `--compress`.
    pub(crate) compress: Option<bool>,
    /// The default of `--encoding`.
    #[serde(default, deserialize_with = "read_encoding")]
    pub(crate) encoding: Option<&'static Encoding>,
    /// The default of `--timestamps`.
    pub(crate) timestamps: Option<bool>,
}

impl File {
    /// Reads the file. A missing file has no settings.
    ///
    /// # Errors
    /// If the file can't be read or is invalid; the message names line and column.
    pub(crate) fn read(path: &Path) -> Result<Self, WireError> {
        let bytes = match files::read_public(path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(Self::default()),
            Err(error) => return Err(WireError::new(ErrorKind::Usage, error.to_string())),
        };
        Self::parse(&bytes).map_err(|(line, column, reason)| {
            let place = format!("{}:{line}:{column}", shown(path));
            WireError::new(ErrorKind::Usage, format!("{place}: {reason}"))
                .hint("Correct the line, or remove it; `rcmd-client --help` lists the settings.")
        })
    }

    /// Returns the settings, or line, column and reason of the fault.
    fn parse(bytes: &[u8]) -> Result<Self, (usize, usize, String)> {
        let text = str::from_utf8(bytes).map_err(|error| {
            let (line, column) = place(bytes, error.valid_up_to());
            (line, column, "this is not UTF-8".to_owned())
        })?;
        toml::from_str(text).map_err(|error| {
            let (line, column) = place(bytes, error.span().map_or(0, |span| span.start));
            (line, column, setting_fault(error.message()))
        })
    }
}

fn read_duration<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    struct Either;
    impl Visitor<'_> for Either {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as \"30s\", or a number of seconds")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            duration::parse(text).map_err(E::custom)
        }

        fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
            self.visit_str(&seconds.to_string())
        }

        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            self.visit_str(&seconds.to_string())
        }
    }
    value.deserialize_any(Either).map(Some)
}

fn read_encoding<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<&'static Encoding>, D::Error> {
    let name = String::deserialize(value)?;
    encoding::named(&name).map(Some).map_err(|failure| D::Error::custom(failure.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_optional() {
        let file = File::parse(b"").unwrap();
        assert!(file.connect_timeout.is_none() && file.encoding.is_none());
        let all = b"connect_timeout = 3\ncompress = true\nencoding = 'gbk'\ntimestamps = true";
        let file = File::parse(all).unwrap();
        assert_eq!(file.compress, Some(true));
        assert_eq!(file.connect_timeout, Some(Duration::from_secs(3)));
        assert_eq!(file.encoding, Some(encoding_rs::GBK));
        assert_eq!(file.timestamps, Some(true));
        let file = File::parse(b"connect_timeout = '1m 30s'").unwrap();
        assert_eq!(file.connect_timeout, Some(Duration::from_secs(90)));
    }

    #[test]
    fn an_error_names_its_line_and_column() {
        for (text, line, column) in [
            (&b"# \xc3\xa9\ntimestamps = maybe"[..], 2, 14),
            (b"\n\nconnect_timeout = 'soon'", 3, 19),
            (b"encoding = 'klingon'", 1, 12),
            (b"timeout = 3", 1, 1),
            (b"a = \xff", 1, 5),
        ] {
            let (at_line, at_column, reason) = File::parse(text).unwrap_err();
            assert_eq!((at_line, at_column), (line, column), "{reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.toml");
        let largest = usize::try_from(files::MAX_FILE).unwrap();
        std::fs::write(&path, "#".repeat(largest)).unwrap();
        assert!(File::read(&path).is_ok());
        std::fs::write(&path, "#".repeat(largest + 1)).unwrap();
        let failure = File::read(&path).unwrap_err();
        assert!(failure.message.contains("client.toml is larger than"), "{failure}");
    }

    #[test]
    fn an_unknown_setting_is_answered_with_the_known_ones() {
        let (.., reason) = File::parse(b"colour = 1").unwrap_err();
        assert!(reason.contains("`colour`; known here: connect_timeout,"), "{reason}");
        let (.., reason) = File::parse(b"conect_timeout = 1").unwrap_err();
        assert!(reason.ends_with("did you mean `connect_timeout`?"), "{reason}");
    }
}
