//! `quickstart`, `init` and `issue`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::KeyPair;
use rcmd_authority::{
    ca::{Authority, LEAF_DAYS, LeafSpec},
    state::{AdminClient, AdminRequest, AdminResponse, Issue},
};
use rcmd_certs::{
    enroll::key::{KeyAlgorithm, request},
    files::{self, Existing, FileError, NewFile, shown},
    identity::BREAK_GLASS_LIFE,
    names::{HostName, Kind},
    paths::Layout,
    pem::{Der, chain_pem},
    tls,
    x509::Certificate,
};

use super::{error::Error, options::IssueOptions};

/// The user of `quickstart`'s client, and its group.
const ADMIN: &str = "admin";

/// Files that are complete in memory and not yet written, with their folders.
#[derive(Default)]
struct Plan {
    dirs: Vec<PathBuf>,
    files: Vec<(PathBuf, String, bool)>,
}

impl Plan {
    fn public(&mut self, path: PathBuf, text: String) {
        self.files.push((path, text, false));
    }

    fn pair(&mut self, dir: PathBuf, cert: PathBuf, cert_pem: String, key: (PathBuf, String)) {
        self.dirs.push(dir);
        self.files.push((key.0, key.1, true));
        self.public(cert, cert_pem);
    }

    fn authority(&mut self, layout: &Layout, authority: &Authority) {
        let key = (layout.authority_key(), authority.key_pem());
        self.pair(layout.authority_dir(), layout.authority_cert(), authority.cert_pem(), key);
        self.public(layout.ca(), authority.root_pem());
    }

    fn member(&mut self, layout: &Layout, kind: Kind, issued: &Issued) {
        let key = (layout.member_key(kind), issued.key.serialize_pem());
        self.pair(layout.member_dir(kind), layout.member_cert(kind), issued.cert_pem(), key);
    }

    fn write(&self, existing: Existing) -> Result<(), Error> {
        for dir in &self.dirs {
            files::create_private_dir(dir)?;
        }
        let files: Vec<NewFile<'_>> = self
            .files
            .iter()
            .map(|(path, text, private)| NewFile {
                path,
                bytes: text.as_bytes(),
                private: *private,
            })
            .collect();
        Ok(files::write_all(&files, existing)?)
    }
}

/// A certificate that the authority has recorded, and its key.
struct Issued {
    chain: Vec<Der>,
    key: KeyPair,
}

impl Issued {
    /// Makes a key here, and has it certified.
    async fn new(
        admin_client: &mut AdminClient,
        issue: Issue,
        algorithm: KeyAlgorithm,
    ) -> Result<Self, Error> {
        let key = algorithm.generate()?;
        let request = AdminRequest::Issue { issue, request: Der(request(&key)?) };
        match admin_client.request(request).await? {
            AdminResponse::Certificate(chain) => Ok(Self { chain, key }),
            _ => Err(Error::Response),
        }
    }

    fn cert_pem(&self) -> String {
        chain_pem(&self.chain)
    }
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}

fn server(names: Vec<String>, life: Duration) -> Issue {
    Issue { kind: Kind::Server, names, groups: Vec::new(), life, break_glass: false }
}

fn client(user: String, groups: Vec<String>, life: Duration) -> Issue {
    Issue { kind: Kind::Client, names: vec![user], groups, life, break_glass: false }
}

pub(super) async fn quickstart(
    dir: &Path,
    algorithm: KeyAlgorithm,
    out: &mut impl Write,
) -> Result<(), Error> {
    let layout = Layout::new(dir);
    refuse_second_authority(&layout)?;
    for kind in [Kind::Server, Kind::Client] {
        let (key, cert) = (layout.member_key(kind), layout.member_cert(kind));
        if let Some(path) = [key, cert].into_iter().find(|path| files::is_taken(path)) {
            return Err(FileError::Exists(path).into());
        }
    }
    let mut plan = Plan::default();
    plan.authority(&layout, &Authority::create(algorithm)?);
    let has_policy = files::is_taken(&layout.policy());
    // The vocabulary in new settings must not widen an old policy, and old settings are not changed.
    let has_settings = has_policy || files::is_taken(&layout.server_toml());
    if !has_policy {
        plan.public(layout.policy(), rcmd_authority::POLICY.to_owned());
    }
    if !has_settings {
        plan.public(layout.server_toml(), rcmd_authority::SETTINGS.to_owned());
    }
    plan.write(Existing::Keep)?;

    let names: Vec<String> = own_names().iter().map(ToString::to_string).collect();
    let mut admin_client = AdminClient::open(&layout).await?;
    let life = days(LEAF_DAYS);
    let own = Issued::new(&mut admin_client, server(names.clone(), life), algorithm).await?;
    let admin = client(ADMIN.to_owned(), vec![ADMIN.to_owned()], life);
    let admin = Issued::new(&mut admin_client, admin, algorithm).await?;
    let mut plan = Plan::default();
    plan.member(&layout, Kind::Server, &own);
    plan.member(&layout, Kind::Client, &admin);
    plan.write(Existing::Keep)?;

    let dir = quoted(dir);
    writeln!(out, "{}  the authority, which signed the others", shown(&layout.ca()))?;
    writeln!(out, "{}  server: {}", shown(&layout.server_cert()), names.join(", "))?;
    writeln!(out, "{}  client: user {ADMIN}, group {ADMIN}", shown(&layout.client_cert()))?;
    writeln!(out, "{}  the policy: the group {ADMIN} may do everything", shown(&layout.policy()))?;
    if !has_settings {
        writeln!(out, "{}  the settings of the server", shown(&layout.server_toml()))?;
    }
    writeln!(out)?;
    writeln!(out, "Now type:")?;
    writeln!(out, "  rcmd-server --dir {dir} &")?;
    writeln!(out, "  rcmd-client --dir {dir} localhost uname -a")?;
    Ok(())
}

pub(super) fn init(
    layout: &Layout,
    algorithm: KeyAlgorithm,
    offline_root: Option<&Path>,
    out: &mut impl Write,
) -> Result<(), Error> {
    refuse_second_authority(layout)?;
    let mut plan = Plan::default();
    match offline_root {
        None => plan.authority(layout, &Authority::create(algorithm)?),
        Some(dir) => {
            let (root, signing) = Authority::create_pair(algorithm)?;
            let key = (dir.join("key.pem"), root.key_pem());
            plan.pair(dir.to_owned(), dir.join("cert.pem"), root.cert_pem(), key);
            plan.authority(layout, &signing);
        }
    }
    plan.write(Existing::Keep)?;

    if let Some(dir) = offline_root {
        let key = shown(&dir.join("key.pem"));
        writeln!(out, "{key}  the root's private key: keep it offline, nothing here needs it")?;
    }
    next_steps(layout, out)
}

fn next_steps(layout: &Layout, out: &mut impl Write) -> Result<(), Error> {
    writeln!(
        out,
        "{}  the authority's certificate, which servers and clients trust",
        shown(&layout.ca())
    )?;
    writeln!(out, "{}  its private key: keep it secret", shown(&layout.authority_key()))?;
    let dir = quoted(layout.dir());
    writeln!(out)?;
    writeln!(out, "Now type:")?;
    // Tokens carry this name to other machines, where `localhost` would be another one.
    let own = own_names()
        .into_iter()
        .find(|name| matches!(name, HostName::Dns(name) if name != "localhost"));
    let own = own.map_or_else(|| "NAME".to_owned(), |name| name.to_string());
    writeln!(out, "  rcmd-certs serve --dir {dir} --name {own} &")?;
    writeln!(out, "  rcmd-certs token server NAME --dir {dir}")?;
    writeln!(out, "  rcmd-certs token client USER --dir {dir}")?;
    writeln!(
        out,
        "Other machines must reach this one by the name after --name; change the name if they use another."
    )?;
    Ok(())
}

/// The paths of the files that another authority made.
pub(super) struct Parts {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) root: PathBuf,
}

/// Takes over an authority. It is put together in a folder beside its place and loaded from there, so
/// that files that do not fit leave nothing behind.
pub(super) fn import(layout: &Layout, parts: &Parts, out: &mut impl Write) -> Result<(), Error> {
    refuse_second_authority(layout)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let cert = text(files::read_public(&parts.cert)?);
    let key = text(files::read_private(&parts.key)?.into_exposed());
    let root = text(files::read_public(&parts.root)?);
    files::create_folders(layout.dir())?;
    let folder = tempfile::Builder::new().prefix(".rcmd-").tempdir_in(layout.dir())?;
    let trial = Layout::new(folder.path());
    let mut plan = Plan::default();
    plan.pair(trial.authority_dir(), trial.authority_cert(), cert, (trial.authority_key(), key));
    plan.public(trial.ca(), root);
    plan.write(Existing::Keep)?;
    let authority = Authority::load(&trial)?;

    let mut plan = Plan::default();
    plan.authority(layout, &authority);
    plan.write(Existing::Keep)?;
    next_steps(layout, out)
}

pub(super) async fn issue_server(
    names: Vec<String>,
    options: &IssueOptions,
    out: &mut impl Write,
) -> Result<(), Error> {
    let names = names.iter().map(|name| HostName::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let names = names.iter().map(ToString::to_string).collect();
    issue(server(names, days(options.days)), options, out).await
}

pub(super) async fn issue_client(
    user: String,
    groups: Vec<String>,
    break_glass: bool,
    options: &IssueOptions,
    out: &mut impl Write,
) -> Result<(), Error> {
    let life = if break_glass { BREAK_GLASS_LIFE } else { days(options.days) };
    // Bad names are refused here, before a folder is made or an authority is asked.
    LeafSpec::client(&user, &groups)?;
    issue(Issue { break_glass, ..client(user, groups, life) }, options, out).await
}

async fn issue(issue: Issue, options: &IssueOptions, out: &mut impl Write) -> Result<(), Error> {
    let home = options.dir.layout();
    let target = options.out.as_ref().map_or_else(|| home.clone(), Layout::new);
    let kind = issue.kind;
    let mut plan = Plan::default();
    // Everything that can be refused is refused before anything is signed.
    let authority = Authority::load(&home)?;
    trust(&mut plan, &target, &home, &authority)?;
    let key = target.member_key(kind);
    if !options.force && files::is_taken(&key) {
        return Err(Error::IdentityExists(key));
    }
    let issued =
        Issued::new(&mut AdminClient::open(&home).await?, issue, options.key.into()).await?;
    plan.member(&target, kind, &issued);
    let existing = if options.force { Existing::Replace } else { Existing::Keep };
    plan.write(existing).map_err(|error| match error {
        Error::File(FileError::Exists(path)) => Error::IdentityExists(path),
        other => other,
    })?;
    report(&target.member_cert(kind), &issued, out)
}

/// Makes sure that the `ca.pem` beside a new certificate trusts the authority that signed it.
fn trust(
    plan: &mut Plan,
    target: &Layout,
    home: &Layout,
    authority: &Authority,
) -> Result<(), Error> {
    let ca = target.ca();
    let fingerprint = &authority.root().fingerprint;
    match tls::load_certificates(&ca) {
        Ok(trusted) if trusted.iter().any(|each| each.fingerprint == *fingerprint) => Ok(()),
        Ok(_) => Err(Error::ForeignCa { ca, own: home.ca() }),
        Err(tls::TlsError::Missing { .. }) => {
            plan.public(ca, authority.root_pem());
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn report(cert: &Path, issued: &Issued, out: &mut impl Write) -> Result<(), Error> {
    writeln!(out, "{}", shown(cert))?;
    match issued.chain.first().map(|leaf| Certificate::parse(&leaf.0)) {
        Some(Ok(facts)) => super::show::describe(&facts, out),
        _ => Ok(()),
    }
}

fn refuse_second_authority(layout: &Layout) -> Result<(), Error> {
    let there = [layout.authority_key(), layout.authority_cert(), layout.ca()]
        .into_iter()
        .find(|path| files::is_taken(path));
    there.map_or(Ok(()), |path| Err(Error::AuthorityExists(path)))
}

/// Returns the names by which this host is reached from itself and by others.
fn own_names() -> Vec<HostName> {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut names = Vec::new();
    for name in ["localhost", &node, "127.0.0.1", "::1"] {
        // A host's name may be one that no certificate can carry; the others still work.
        if let Ok(name) = HostName::parse(name)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// Returns a path quoted for a shell.
fn quoted(path: &Path) -> String {
    let text = shown(path);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@%:,=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_when_a_shell_would_split_it() {
        assert_eq!(quoted(Path::new("demo/a-b_1.c")), "demo/a-b_1.c");
        assert_eq!(quoted(Path::new("my demo")), "'my demo'");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
    }

    #[test]
    fn this_host_has_localhost_first_and_no_name_twice() {
        let names = own_names();
        assert_eq!(names.first(), Some(&HostName::Dns("localhost".into())));
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name} stands there twice");
        }
    }
}
