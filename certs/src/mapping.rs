//! The rules for which users, groups and hosts the certificates of other authorities name.
//!
//! step-ca, SPIFFE and others write names of their own into certificates. `identity.toml` maps these
//! to users, groups and hosts:
//!
//! ```toml
//! [[user]]
//! match = "spiffe://example.org/user/*"   # the star is the user's name
//! groups = ["staff"]                      # groups of everybody whom this rule names
//! ca = "spiffe.pem"                       # who may vouch for them, in the same folder
//!
//! [[user]]
//! match = "spiffe://example.org/ns/ci/sa/deploy"
//! name = "ci"
//!
//! [[group]]
//! match = "spiffe://example.org/group/*"
//! ca = "spiffe.pem"
//!
//! [[host]]
//! match = "spiffe://example.org/host/*"
//! ca = "spiffe.pem"
//! ```
//!
//! `match` is a URI, or `email:` or `dns:` and a name of that kind, compared byte for byte. There may be one
//! star, which stands for a name as [`names`] allows it, so that it never crosses a slash. An authority in a
//! rule's `ca` vouches only for that rule's names. Those in `ca.pem` vouch for `rcmd://` names and for rules
//! without `ca`. No authority can name what is another's.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    files::{self, FileError, shown},
    identity::{Identity, IdentityError, MAX_GROUPS},
    names::{self, HostName, NameError},
    text::{place, setting_fault, without_long_words},
    x509::Certificate,
};

/// The most rules of one kind.
const MAX_RULES: usize = 256;

/// The rules of `identity.toml`; none without the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    users: Vec<Rule>,
    groups: Vec<Rule>,
    hosts: Vec<Rule>,
}

/// A rule: names of this form, vouched for by these authorities, mean this user, group or host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    name: Option<String>,
    groups: Vec<String>,
    ca: Option<PathBuf>,
}

/// The pattern that a name of a certificate is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    kind: Kind,
    before: String,
    /// The text after the star, if there is one.
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Uri,
    Email,
    Dns,
}

/// The reason why `identity.toml` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not valid; the message has line and column.
    #[error("{}: {reason}", shown(path))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The reason, with its place.
        reason: String,
    },
    /// A rule is not valid.
    #[error("{}: {what} rule {number}: {reason}", shown(path))]
    Rule {
        /// The file.
        path: PathBuf,
        /// The kind of rule: `user`, `group` or `host`.
        what: &'static str,
        /// The place of the rule among those of its kind, from 1.
        number: usize,
        /// The reason, and what to write instead.
        reason: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MappingFile {
    user: Vec<RuleEntry>,
    group: Vec<RuleEntry>,
    host: Vec<RuleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    r#match: String,
    name: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    ca: Option<String>,
}

/// Returns line, column and fault of a text that is not TOML, without the line itself: it may be a key that was
/// put in the file's place.
fn place_and_fault(text: &str, error: &toml::de::Error) -> String {
    let (line, column) = place(text.as_bytes(), error.span().map_or(0, |span| span.start));
    format!("line {line}, column {column}: {}", setting_fault(error.message()))
}

impl Mapping {
    /// Reads the rules in the file at `path`, which is `identity.toml`; none when there is no
    /// such file.
    ///
    /// # Errors
    /// [`MappingError`] when the file can't be read, or a rule is not valid.
    pub fn load(path: &Path) -> Result<Self, MappingError> {
        let text = match files::read_public(path) {
            Err(FileError::Missing(_)) => return Ok(Self::default()),
            read => read?,
        };
        let syntax = |reason: String| MappingError::Syntax { path: path.to_owned(), reason };
        let text = String::from_utf8(text).map_err(|error| {
            syntax(format!("not UTF-8 from byte {}", error.utf8_error().valid_up_to()))
        })?;
        let file: MappingFile =
            toml::from_str(&text).map_err(|error| syntax(place_and_fault(&text, &error)))?;
        let read = |what, entries: Vec<RuleEntry>| {
            if entries.len() > MAX_RULES {
                let reason = format!("at most {MAX_RULES} rules of a kind are read");
                return Err(MappingError::Rule {
                    path: path.to_owned(),
                    what,
                    number: MAX_RULES + 1,
                    reason,
                });
            }
            let rule = |(index, entry): (usize, RuleEntry)| {
                Rule::read(what, entry, path.parent().unwrap_or(Path::new("."))).map_err(|reason| {
                    let reason = without_long_words(&reason);
                    MappingError::Rule { path: path.to_owned(), what, number: index + 1, reason }
                })
            };
            entries.into_iter().enumerate().map(rule).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            users: read("user", file.user)?,
            groups: read("group", file.group)?,
            hosts: read("host", file.host)?,
        })
    }

    /// Returns the files of the authorities that vouch for the names of single rules only.
    pub fn authorities(&self) -> BTreeSet<&Path> {
        let rules = self.users.iter().chain(&self.groups).chain(&self.hosts);
        rules.filter_map(|rule| rule.ca.as_deref()).collect()
    }

    /// Returns the identity that a client's certificate names, if the authorities in `ca` vouch for it: a file of
    /// [`Mapping::authorities`], or `ca.pem` when `None`.
    ///
    /// # Errors
    /// [`IdentityError`] when it names nobody whom these authorities may name, or more than one.
    pub fn identify(
        &self,
        leaf: &Certificate,
        ca: Option<&Path>,
    ) -> Result<Identity, IdentityError> {
        if leaf.names.broken > 0 {
            return Err(IdentityError::BrokenNames(leaf.names.broken));
        }
        let own = Identity::from_certificate(leaf);
        if ca.is_none() && !matches!(own, Err(IdentityError::NoUser)) {
            return own;
        }
        let mut users = BTreeSet::new();
        let mut groups = BTreeSet::new();
        for rule in self.users.iter().filter(|rule| rule.ca.as_deref() == ca) {
            for name in rule.names(leaf) {
                names::check_user(name)?;
                users.insert(name);
                groups.extend(rule.groups.iter().map(String::as_str));
            }
        }
        for rule in self.groups.iter().filter(|rule| rule.ca.as_deref() == ca) {
            for name in rule.names(leaf) {
                names::check_group(name)?;
                groups.insert(name);
            }
        }
        if groups.len() > MAX_GROUPS {
            return Err(IdentityError::ManyGroups(groups.len()));
        }
        match users.len() {
            0 => Err(IdentityError::NoUser),
            1 => {
                let user = users.into_iter().collect::<String>();
                Ok(Identity::mapped(leaf, user, groups.into_iter().map(str::to_owned).collect()))
            }
            many => Err(IdentityError::ManyUsers(many)),
        }
    }

    /// Returns the files of the authorities that may certify a server as `host`; `None` in the set is `ca.pem`.
    pub fn vouchers_of_host(&self, leaf: &Certificate, host: &str) -> BTreeSet<Option<&Path>> {
        let named = |rule: &&Rule| {
            rule.names(leaf)
                .any(|name| name.eq_ignore_ascii_case(host) && HostName::parse(name).is_ok())
        };
        self.hosts.iter().filter(named).map(|rule| rule.ca.as_deref()).collect()
    }
}

impl Rule {
    fn read(what: &'static str, entry: RuleEntry, dir: &Path) -> Result<Self, String> {
        let pattern = Pattern::read(&entry.r#match)?;
        let check = |name: &str| match what {
            "user" => names::check_user(name),
            "group" => names::check_group(name),
            _ => HostName::parse(name).map(drop),
        };
        match (&entry.name, &pattern.after) {
            (None, None) => {
                return Err("without a star in `match` it needs a `name`".to_owned());
            }
            (Some(_), Some(_)) => {
                return Err("the star in `match` is the name already; remove `name`".to_owned());
            }
            (Some(name), None) => check(name).map_err(|error: NameError| error.to_string())?,
            (None, Some(_)) => {}
        }
        if what != "user" && !entry.groups.is_empty() {
            return Err("`groups` belongs to rules of users".to_owned());
        }
        for group in &entry.groups {
            names::check_group(group).map_err(|error| error.to_string())?;
        }
        let ca = match entry.ca {
            Some(file) if file.is_empty() || file.contains('/') || file.starts_with('.') => {
                return Err(format!(
                    "`ca` is the name of a file beside identity.toml, not `{file}`"
                ));
            }
            file => file.map(|file| dir.join(file)),
        };
        Ok(Self { pattern, name: entry.name, groups: entry.groups, ca })
    }

    /// Returns the names that this rule finds in a certificate.
    fn names<'a>(&'a self, leaf: &'a Certificate) -> impl Iterator<Item = &'a str> {
        let all = match self.pattern.kind {
            Kind::Uri => &leaf.names.uris,
            Kind::Email => &leaf.names.emails,
            Kind::Dns => &leaf.names.dns,
        };
        let found = all.iter().filter_map(|name| self.pattern.find(name));
        found.map(|found| self.name.as_deref().unwrap_or(found))
    }
}

impl Pattern {
    fn read(text: &str) -> Result<Self, String> {
        let (kind, rest) = match text.split_once(':') {
            Some(("email", rest)) => (Kind::Email, rest),
            Some(("dns", rest)) => (Kind::Dns, rest),
            Some((scheme, _)) if !scheme.is_empty() && !scheme.contains('*') => (Kind::Uri, text),
            _ => {
                return Err(format!(
                    "`{text}` is not a URI and begins with neither `email:` nor `dns:`"
                ));
            }
        };
        if kind == Kind::Uri
            && text.as_bytes().get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"rcmd:"))
        {
            return Err("names that begin with `rcmd:` are read without a rule".to_owned());
        }
        let mut parts = rest.split('*');
        let before = parts.next().unwrap_or_default().to_owned();
        let after = parts.next().map(str::to_owned);
        if parts.next().is_some() {
            return Err(format!("`{text}` has more than one star"));
        }
        Ok(Self { kind, before, after })
    }

    /// Returns the text that the star stands for in `name`, empty if there is no star; `None` if it does not match.
    fn find<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(self.before.as_str())?;
        match &self.after {
            None => rest.is_empty().then_some(rest),
            // A star that would cross a slash matches nothing, so that a deeper path names nobody.
            Some(after) => rest.strip_suffix(after.as_str()).filter(|name| {
                !name.is_empty()
                    && !name.contains('/')
                    && (self.kind != Kind::Email || !name.contains('@'))
            }),
        }
    }
}

#[cfg(test)]
mod tests;
