//! The paths of rcmd's files.
//!
//! One folder holds everything: `ca.pem`, `authority/`, `server/`, `client/`, `server.toml`,
//! `policy.cedar` and `client.toml`. It is `--dir`, else `$RCMD_DIR`, else a default that
//! differs between a host and a user.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::names::Kind;

/// The environment variable that names the folder when `--dir` does not.
pub const DIR_VARIABLE: &str = "RCMD_DIR";

/// The default folder of servers and authorities.
pub const HOST_DIR: &str = "/etc/rcmd";

/// The names of rcmd's files under one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

/// The error that no folder could be found for this user's client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no folder for this user's certificates: HOME is not set; give --dir DIR or set {DIR_VARIABLE}"
)]
pub struct NoHome;

impl Layout {
    /// Returns the layout under `dir`. The folder need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns the layout of a server or an authority: `flag`, else `$RCMD_DIR`, else `/etc/rcmd`.
    pub fn for_host(flag: Option<&Path>) -> Self {
        Self::host_with(flag, |name| env::var_os(name))
    }

    /// Returns the layout of a client: `flag`, else `$RCMD_DIR`, else `$XDG_CONFIG_HOME/rcmd`, else
    /// `~/.config/rcmd` (XDG Base Directory Specification: a relative `XDG_CONFIG_HOME` is
    /// ignored).
    ///
    /// # Errors
    /// [`NoHome`] when none of them is set.
    pub fn for_user(flag: Option<&Path>) -> Result<Self, NoHome> {
        Self::user_with(flag, |name| env::var_os(name))
    }

    fn host_with(flag: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        Self::new(chosen(flag, variable).unwrap_or_else(|| PathBuf::from(HOST_DIR)))
    }

    fn user_with(
        flag: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, NoHome> {
        if let Some(dir) = chosen(flag, &variable) {
            return Ok(Self::new(dir));
        }
        let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")))
            .map(|config| Self::new(config.join("rcmd")))
            .ok_or(NoHome)
    }

    /// Returns the folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the file of the authorities to trust, one or several, in PEM.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Returns the rules for the certificates of other authorities.
    pub fn identity_toml(&self) -> PathBuf {
        self.dir.join("identity.toml")
    }

    /// Returns the authority's own folder.
    pub fn authority_dir(&self) -> PathBuf {
        self.dir.join("authority")
    }

    /// Returns the folder of the authority that is to take this one's place, with the same layout.
    pub fn next_authority(&self) -> Self {
        Self::new(self.authority_dir().join("next"))
    }

    /// Returns the authority's certificate.
    pub fn authority_cert(&self) -> PathBuf {
        self.authority_dir().join("cert.pem")
    }

    /// Returns the authority's private key.
    pub fn authority_key(&self) -> PathBuf {
        self.authority_dir().join("key.pem")
    }

    /// Returns the store of tokens, members, certificates and revocations.
    pub fn store(&self) -> PathBuf {
        self.authority_dir().join("store.redb")
    }

    /// Returns the journal of all that the authority signed, a line each.
    pub fn journal(&self) -> PathBuf {
        self.authority_dir().join("journal.jsonl")
    }

    /// Returns the authority's settings: addresses, lives, dates.
    pub fn authority_toml(&self) -> PathBuf {
        self.authority_dir().join("authority.toml")
    }

    /// Returns the authority's newest revocation lists, to be carried by hand to servers that cannot
    /// reach it.
    pub fn authority_list(&self) -> PathBuf {
        self.authority_dir().join("list.pem")
    }

    /// Returns the folder of a member.
    pub fn member_dir(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Server => self.server_dir(),
            Kind::Client => self.client_dir(),
        }
    }

    /// Returns a member's certificate, followed by its intermediates if it has any.
    pub fn member_cert(&self, kind: Kind) -> PathBuf {
        self.member_dir(kind).join("cert.pem")
    }

    /// Returns a member's private key.
    pub fn member_key(&self, kind: Kind) -> PathBuf {
        self.member_dir(kind).join("key.pem")
    }

    /// Returns the address file of a member's authority; only an identity that was enrolled with a token has one.
    pub fn contact(&self, kind: Kind) -> PathBuf {
        self.member_dir(kind).join("authority.toml")
    }

    /// Returns the newest revocation lists that a member has accepted.
    pub fn member_list(&self, kind: Kind) -> PathBuf {
        self.member_dir(kind).join("list.pem")
    }

    /// Returns the newest revocation lists that the server has accepted.
    pub fn server_list(&self) -> PathBuf {
        self.member_list(Kind::Server)
    }

    /// Returns the server's folder.
    pub fn server_dir(&self) -> PathBuf {
        self.dir.join("server")
    }

    /// Returns the server's certificate, followed by its intermediates if it has any.
    pub fn server_cert(&self) -> PathBuf {
        self.server_dir().join("cert.pem")
    }

    /// Returns the server's private key.
    pub fn server_key(&self) -> PathBuf {
        self.server_dir().join("key.pem")
    }

    /// Returns the client's folder.
    pub fn client_dir(&self) -> PathBuf {
        self.dir.join("client")
    }

    /// Returns the client's certificate, followed by its intermediates if it has any.
    pub fn client_cert(&self) -> PathBuf {
        self.client_dir().join("cert.pem")
    }

    /// Returns the client's private key.
    pub fn client_key(&self) -> PathBuf {
        self.client_dir().join("key.pem")
    }

    /// Returns the server's configuration file, which is optional.
    pub fn server_toml(&self) -> PathBuf {
        self.dir.join("server.toml")
    }

    /// Returns the policy: who may do what on this host. Without it everything is denied.
    pub fn policy(&self) -> PathBuf {
        self.dir.join("policy.cedar")
    }

    /// Returns the client's configuration file, which is optional.
    pub fn client_toml(&self) -> PathBuf {
        self.dir.join("client.toml")
    }
}

/// Returns the flag, else the variable. An empty variable counts as unset, as in a shell's
/// `${RCMD_DIR:-}`.
fn chosen(flag: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    flag.map(Path::to_path_buf)
        .or_else(|| variable(DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    #[test]
    fn the_flag_beats_the_environment() {
        let set = with(&[("RCMD_DIR", "/env")]);
        let flag = Path::new("/flag");
        assert_eq!(Layout::host_with(Some(flag), &set).dir(), flag);
        assert_eq!(Layout::user_with(Some(flag), &set).unwrap().dir(), flag);
    }

    #[test]
    fn the_environment_beats_the_default() {
        let set = with(&[("RCMD_DIR", "/env"), ("HOME", "/home/a")]);
        assert_eq!(Layout::host_with(None, &set).dir(), Path::new("/env"));
        assert_eq!(Layout::user_with(None, &set).unwrap().dir(), Path::new("/env"));
    }

    #[test]
    fn an_empty_variable_is_no_variable() {
        let set = with(&[("RCMD_DIR", ""), ("HOME", "/home/a")]);
        assert_eq!(Layout::host_with(None, &set).dir(), Path::new(HOST_DIR));
        assert_eq!(Layout::user_with(None, &set).unwrap().dir(), Path::new("/home/a/.config/rcmd"));
    }

    #[test]
    fn a_user_without_a_home_is_told_what_to_set() {
        let error = Layout::user_with(None, with(&[])).unwrap_err();
        assert!(error.to_string().contains("--dir"), "{error}");
    }

    #[test]
    fn a_relative_xdg_folder_is_ignored() {
        let set = with(&[("XDG_CONFIG_HOME", "here"), ("HOME", "/home/a")]);
        assert_eq!(Layout::user_with(None, &set).unwrap().dir(), Path::new("/home/a/.config/rcmd"));
        let set = with(&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/home/a")]);
        assert_eq!(Layout::user_with(None, &set).unwrap().dir(), Path::new("/x/rcmd"));
    }
}
