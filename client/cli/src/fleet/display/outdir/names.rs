//! The names of files, of hosts.

use std::collections::{HashMap, HashSet};

/// The longest name, in bytes: with `.out` behind it a file system takes no more.
const LONGEST: usize = 251;

/// The number of hexadecimal digits of a digest in a name.
const DIGITS: usize = 16;

/// Returns for each host what its files are called, without `.out` and `.err`. No two are called the same,
/// and none has a slash.
///
/// A slash becomes `_`. Names that would be called the same, and those that are too long, get a digest of
/// the whole name.
pub(crate) fn stems<'a>(hosts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let hosts: Vec<_> = hosts.collect();
    let plain: Vec<_> = hosts.iter().map(|host| host.replace('/', "_")).collect();
    let mut uses = HashMap::new();
    for stem in &plain {
        *uses.entry(stem).or_insert(0_usize) += 1;
    }
    let digested = |host: &&str, stem: &String| {
        let room = stem.floor_char_boundary(LONGEST - DIGITS - 1);
        let digest = blake3::hash(host.as_bytes()).to_hex();
        let digest = digest.get(..DIGITS).unwrap_or_default();
        format!("{}-{digest}", stem.get(..room).unwrap_or_default())
    };
    let mut stems: Vec<_> = hosts
        .iter()
        .zip(&plain)
        .map(|(host, stem)| {
            let unique = uses.get(stem).is_none_or(|uses| *uses == 1);
            if unique && stem.len() <= LONGEST { stem.clone() } else { digested(host, stem) }
        })
        .collect();
    // Whoever is called as another's digest says gets one as well.
    loop {
        let mut seen = HashSet::new();
        let twice: HashSet<_> = stems.iter().filter(|stem| !seen.insert(*stem)).cloned().collect();
        if twice.is_empty() {
            return stems;
        }
        let mut changed = false;
        for ((host, plain), stem) in hosts.iter().zip(&plain).zip(&mut stems) {
            if twice.contains(stem) && stem == plain {
                *stem = digested(host, plain);
                changed = true;
            }
        }
        if !changed {
            return stems;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(hosts: &[&str]) -> Vec<String> {
        let stems = stems(hosts.iter().copied());
        assert_eq!(stems.iter().collect::<HashSet<_>>().len(), hosts.len(), "{stems:?}");
        assert!(stems.iter().all(|stem| !stem.contains('/') && stem.len() <= LONGEST), "{stems:?}");
        stems
    }

    #[test]
    fn a_host_s_files_have_its_name() {
        assert_eq!(called(&["web1", "WEB1", "[::1]:7001"]), ["web1", "WEB1", "[::1]:7001"]);
        assert_eq!(called(&[".", "..", "../../etc/passwd"]), [".", "..", ".._.._etc_passwd"]);
    }

    #[test]
    fn names_that_map_to_one_file_both_get_digests() {
        let stems = called(&["a/b", "a_b", "c"]);
        assert!(stems[0].starts_with("a_b-") && stems[1].starts_with("a_b-"), "{stems:?}");
        assert_eq!(stems[2], "c");
        assert_eq!(stems[0].len(), "a_b-".len() + DIGITS);
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let (ascii, wide) = ("x".repeat(251), "é".repeat(126));
        assert_eq!(called(&[&ascii]), std::slice::from_ref(&ascii));
        let (one, other) = (ascii.clone() + "1", ascii + "2");
        let stems = called(&[&one, &other, &wide]);
        assert!(stems[0].starts_with(&"x".repeat(234)) && stems[0].len() == 251);
        assert_eq!(stems[2].chars().filter(|c| *c == 'é').count(), 117);
    }

    #[test]
    fn a_host_that_is_called_like_another_s_digest_does_not_get_its_file() {
        let digest = called(&["a/b", "a_b"])[0].clone();
        let stems = called(&["a/b", "a_b", &digest]);
        assert_eq!(stems[0], digest);
        assert!(stems[2].starts_with(&digest) && stems[2].len() > digest.len());
    }
}
