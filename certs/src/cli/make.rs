//! `quickstart`, `init` and `issue`.

use std::io::Write;
use std::path::{Path, PathBuf};

use rcmd_certs::authority::{Algorithm, Authority, Issued, LeafSpec};
use rcmd_certs::files::{self, Existing, FileError, NewFile, shown};
use rcmd_certs::names::HostName;
use rcmd_certs::paths::Layout;
use rcmd_certs::tls;
use rcmd_certs::x509::Certificate;

use super::{Error, IssueOptions};

/// The user of `quickstart`'s client, and its group.
const ADMIN: &str = "admin";

/// Files that are complete in memory and not yet written.
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
        self.public(layout.ca(), authority.cert_pem());
    }

    fn server(&mut self, layout: &Layout, issued: &Issued) {
        let key = (layout.server_key(), issued.key_pem());
        self.pair(layout.server_dir(), layout.server_cert(), issued.cert_pem(), key);
    }

    fn client(&mut self, layout: &Layout, issued: &Issued) {
        let key = (layout.client_key(), issued.key_pem());
        self.pair(layout.client_dir(), layout.client_cert(), issued.cert_pem(), key);
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

pub(super) fn quickstart(
    dir: &Path,
    algorithm: Algorithm,
    out: &mut impl Write,
) -> Result<(), Error> {
    let layout = Layout::new(dir);
    refuse_second_authority(&layout)?;
    let authority = Authority::create(algorithm)?;
    let names = own_names();
    let server = authority.issue(&LeafSpec::server(&names), algorithm)?;
    let admin = LeafSpec::client(ADMIN, &[ADMIN.to_owned()])?;
    let client = authority.issue(&admin, algorithm)?;

    let mut plan = Plan::default();
    plan.authority(&layout, &authority);
    plan.server(&layout, &server);
    plan.client(&layout, &client);
    plan.write(Existing::Keep)?;

    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let dir = quoted(dir);
    writeln!(out, "{}  authority, signs the others", shown(&layout.ca()))?;
    writeln!(out, "{}  server: {}", shown(&layout.server_cert()), names.join(", "))?;
    writeln!(out, "{}  client: user {ADMIN}, group {ADMIN}", shown(&layout.client_cert()))?;
    writeln!(out)?;
    writeln!(out, "Now type:")?;
    writeln!(out, "  rcmd-server --dir {dir} &")?;
    writeln!(out, "  rcmd-client --dir {dir} localhost uname -a")?;
    Ok(())
}

pub(super) fn init(
    layout: &Layout,
    algorithm: Algorithm,
    out: &mut impl Write,
) -> Result<(), Error> {
    refuse_second_authority(layout)?;
    let authority = Authority::create(algorithm)?;
    let mut plan = Plan::default();
    plan.authority(layout, &authority);
    plan.write(Existing::Keep)?;

    let dir = quoted(layout.dir());
    writeln!(out, "{}  authority, to be trusted by servers and clients", shown(&layout.ca()))?;
    writeln!(out, "{}  its private key: keep it safe", shown(&layout.authority_key()))?;
    writeln!(out)?;
    writeln!(out, "Now type:")?;
    writeln!(out, "  rcmd-certs issue server NAME --dir {dir}")?;
    writeln!(out, "  rcmd-certs issue client USER --dir {dir}")?;
    Ok(())
}

pub(super) fn issue_server(
    names: &[String],
    options: &IssueOptions,
    out: &mut impl Write,
) -> Result<(), Error> {
    let names = names.iter().map(|name| HostName::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let spec = LeafSpec::server(&names).for_days(options.days);
    let (target, issued) = issue(&spec, options, Plan::server)?;
    report(&target.server_cert(), &issued, out)
}

pub(super) fn issue_client(
    user: &str,
    groups: &[String],
    options: &IssueOptions,
    out: &mut impl Write,
) -> Result<(), Error> {
    let spec = LeafSpec::client(user, groups)?.for_days(options.days);
    let (target, issued) = issue(&spec, options, Plan::client)?;
    report(&target.client_cert(), &issued, out)
}

fn issue(
    spec: &LeafSpec,
    options: &IssueOptions,
    add: impl FnOnce(&mut Plan, &Layout, &Issued),
) -> Result<(Layout, Issued), Error> {
    let home = options.dir.layout();
    let target = options.out.as_ref().map_or_else(|| home.clone(), Layout::new);
    let authority = Authority::load(&home)?;
    let issued = authority.issue(spec, options.key.into())?;

    let mut plan = Plan::default();
    add(&mut plan, &target, &issued);
    trust(&mut plan, &target, &home, &authority)?;
    let existing = if options.force { Existing::Replace } else { Existing::Keep };
    plan.write(existing).map_err(|error| match error {
        Error::File(FileError::Exists(path)) => Error::IdentityExists(path),
        other => other,
    })?;
    Ok((target, issued))
}

/// Makes sure that `ca.pem` beside a new certificate trusts the authority that signed it.
fn trust(
    plan: &mut Plan,
    target: &Layout,
    home: &Layout,
    authority: &Authority,
) -> Result<(), Error> {
    let ca = target.ca();
    let fingerprint = &authority.certificate().fingerprint;
    match tls::load_certificates(&ca) {
        Ok(trusted) if trusted.iter().any(|each| each.fingerprint == *fingerprint) => Ok(()),
        Ok(_) => Err(Error::ForeignCa { ca, own: home.authority_cert() }),
        Err(tls::TlsError::Missing { .. }) => {
            plan.public(ca, authority.cert_pem());
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn report(cert: &Path, issued: &Issued, out: &mut impl Write) -> Result<(), Error> {
    writeln!(out, "{}", shown(cert))?;
    if let Ok(facts) = Certificate::parse(&issued.cert_der()) {
        super::show::describe(&facts, out)?;
    }
    Ok(())
}

fn refuse_second_authority(layout: &Layout) -> Result<(), Error> {
    let there = [layout.authority_key(), layout.authority_cert(), layout.ca()]
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok());
    there.map_or(Ok(()), |path| Err(Error::AuthorityExists(path)))
}

/// How this host is reached from itself and by its own name.
fn own_names() -> Vec<HostName> {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut names = Vec::new();
    for name in ["localhost", &node, "127.0.0.1", "::1"] {
        // A host may be called what no certificate can carry; the others still work.
        if let Ok(name) = HostName::parse(name)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// A path as a shell takes it.
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
