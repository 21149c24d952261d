//! Values that are never printed.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A value that is never printed: a private key as its file holds it, a passphrase, the text of a token. It has
/// no `Display`, and its `Debug` shows only that it is there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidential<T>(T);

impl<T> Confidential<T> {
    /// Wraps a value that must be kept from every output.
    pub fn new(content: T) -> Self {
        Self(content)
    }

    /// Returns the content, for the one use that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Returns the content itself.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Confidential<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confidential")
    }
}

/// Reads a word of a command line.
impl FromStr for Confidential<String> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_confidential_is_never_printed() {
        let key = Confidential::new(b"secret".to_vec());
        for printed in [format!("{key:?}"), format!("{key:#?}"), format!("{:?}", Some(&key))] {
            assert!(!printed.contains("secret") && !printed.contains("115"), "{printed}");
        }
        let word: Confidential<String> = "secret".parse().unwrap();
        assert!(!format!("{word:?}").contains("secret"));
        assert_eq!(word.expose(), "secret");
    }
}
