//! Files as they are damaged by editors, shells, disks and careless hands, and the search for what they
//! held in what programs print.

use std::collections::BTreeSet;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::random::Random;

/// Characters of a secret's text that are found again, in any case of letters.
const WINDOW: usize = 8;

/// A way to damage a file.
type Damage = fn(&mut Random, &[u8]) -> Vec<u8>;

/// All ways in which files are damaged.
const DAMAGES: [Damage; 17] = [
    |random, bytes| changed(random, bytes, |random, byte| byte ^ (1 << random.below(8))),
    |random, bytes| changed(random, bytes, |random, _| random.next_u64().to_le_bytes()[0]),
    |random, bytes| without(random, bytes),
    |random, bytes| {
        let more = random.take_bytes(9);
        with(random, bytes, &more)
    },
    |random, bytes| with(random, bytes, b"\n"),
    |random, bytes| bytes[..at(random, bytes)].to_vec(),
    |random, bytes| bytes[at(random, bytes)..].to_vec(),
    |_, bytes| replaced(bytes, b""),
    |_, bytes| replaced(bytes, b" "),
    |_, bytes| replaced(bytes, b"\\n"),
    |_, bytes| replaced(bytes, b"\r\n"),
    |_, bytes| replaced(bytes, b"\n    "),
    |_, bytes| [&b"\xef\xbb\xbf"[..], bytes].concat(),
    |_, bytes| [&b"\""[..], bytes, b"\""].concat(),
    |_, bytes| bytes.iter().flat_map(|byte| [*byte, 0]).collect(),
    |_, bytes| bytes.to_ascii_lowercase(),
    |random, bytes| {
        let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
        let (one, other) = (random.below(lines.len() as u64), random.below(lines.len() as u64));
        lines.swap(one as usize, other as usize);
        lines.join(&b'\n')
    },
];

/// Damages a file once, or up to three times.
#[must_use]
pub fn damaged(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let damage = random.choose(&DAMAGES);
        bytes = damage(random, &bytes);
    }
    bytes
}

fn at(random: &mut Random, bytes: &[u8]) -> usize {
    random.below(bytes.len() as u64 + 1) as usize
}

fn changed(random: &mut Random, bytes: &[u8], change: fn(&mut Random, u8) -> u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = at(random, &bytes);
    if let Some(byte) = bytes.get_mut(place) {
        *byte = change(random, *byte);
    }
    bytes
}

fn without(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let from = at(random, bytes);
    let to = (from + 1 + random.below(40) as usize).min(bytes.len());
    [&bytes[..from.min(to)], &bytes[to..]].concat()
}

fn with(random: &mut Random, bytes: &[u8], more: &[u8]) -> Vec<u8> {
    let place = at(random, bytes);
    [&bytes[..place], more, &bytes[place..]].concat()
}

/// Returns the bytes with `end` in the place of each newline.
fn replaced(bytes: &[u8], end: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(end)
}

/// The secrets that must be found in no output.
#[derive(Debug, Default)]
pub struct Secrets {
    /// Every [`WINDOW`] characters in a row of the secrets' texts, in lower case.
    windows: BTreeSet<String>,
    /// The same of the bytes that a text in base64 stands for.
    bytes: BTreeSet<Vec<u8>>,
}

impl Secrets {
    /// Adds a private key in PEM. What all keys of its kind begin with is no secret.
    ///
    /// # Panics
    ///
    /// When it is no PEM.
    pub fn add_key(&mut self, pem: &str) {
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        let body: String = lines.collect();
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("a key");
        // A key of Ed25519 in PKCS #8 is 16 bytes that are the same for all, and 32.
        self.add_text(body.get(22..).expect("a key"));
        self.bytes.extend(der.secret_der()[16..].windows(WINDOW).map(<[u8]>::to_vec));
    }

    /// Adds a text: a passphrase, the secret part of a token.
    pub fn add_text(&mut self, text: &str) {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let text = text.to_ascii_lowercase();
        let windows = text.as_bytes().windows(WINDOW);
        self.windows.extend(windows.map(|window| String::from_utf8_lossy(window).into_owned()));
    }

    /// Returns the first secret that stands in an output, as text, or as bytes that are written as
    /// numbers or in hexadecimal.
    #[must_use]
    pub fn found_in(&self, output: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(output).to_ascii_lowercase();
        let close: String = text.chars().filter(|c| !c.is_whitespace() && *c != '\\').collect();
        let texts = [close, numbers(&text), hexadecimal(&text)];
        let by_text = texts.iter().find_map(|text| self.text_in(&text.to_ascii_lowercase()));
        by_text.or_else(|| {
            let raw =
                texts[1..].iter().map(|text| text.chars().map(|c| c as u8).collect::<Vec<_>>());
            raw.chain([output.to_vec()]).find_map(|bytes| {
                let found = bytes.windows(WINDOW).find(|window| self.bytes.contains(*window));
                found.map(|window| format!("{window:?}"))
            })
        })
    }

    fn text_in(&self, text: &str) -> Option<String> {
        let letters: Vec<char> = text.chars().collect();
        let mut windows = letters.windows(WINDOW).map(|window| window.iter().collect::<String>());
        windows.find(|window| self.windows.contains(window))
    }
}

/// Returns the bytes of lists of numbers, a character each.
fn numbers(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    words.map(|word| word.parse::<u8>().map_or('\u{fffd}', char::from)).collect()
}

/// Returns the bytes of digits of hexadecimal, a character each.
fn hexadecimal(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() >= 2);
    let mut found = String::new();
    for word in words {
        let pairs = word.as_bytes().chunks_exact(2);
        let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).ok();
        found.extend(pairs.filter_map(byte).map(char::from));
        if word.len() > 2 {
            found.push('\u{fffd}');
        }
    }
    found
}
