//! The files of an identity: each written whole, the key last.

use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{
    clock_off::{CLOCK_TOLERANCE, ClockOff},
    contact::Contact,
    error::EnrollError,
};
use crate::{
    clock::now_unix,
    crl::{CrlError, CrlRefused, CrlSet},
    enroll::{
        key::KeyAlgorithm,
        message::{MemberResponse, ResponseBody},
    },
    files::{self, Existing, FileError, NewFile},
    fingerprint::Fingerprint,
    identity::Identity,
    names::Kind,
    paths::Layout,
    pem::{Der, chain_pem, pem},
    tls::{self, TlsError},
    x509::Certificate,
};

/// A certificate that was fetched and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The names in it: for a server, those that it is reached by; for a client, the user's.
    pub names: Vec<String>,
    /// The user's groups; empty for a server.
    pub groups: Vec<String>,
    /// The serial number of the certificate, in lower-case hexadecimal.
    pub serial: String,
    /// The first second of its validity, in Unix time.
    pub not_before: i64,
    /// The last second of its validity, in Unix time.
    pub not_after: i64,
    /// The time until which the key may be renewed if it is not renewed before, in Unix time.
    pub renew_until: i64,
    /// True if `ca.pem` was changed as well.
    pub new_roots: bool,
    /// The two clocks, if they are further apart than [`CLOCK_TOLERANCE`].
    pub clock: Option<ClockOff>,
    /// The files that were written.
    pub written: Vec<PathBuf>,
    /// The reason why the revocation lists that came with it were not accepted, if they were not.
    pub lists: Option<String>,
}

/// The folder of an identity.
pub(super) struct Folder {
    layout: Layout,
    kind: Kind,
}

/// A key that waits for its certificate in a file of its own, so that an answer that is lost with
/// this process can be asked for again.
pub(super) struct Pending {
    key: KeyPair,
    path: PathBuf,
}

/// A certificate that the authority granted, checked against the request.
pub(super) struct Grant {
    chain: Vec<Der>,
    roots: Vec<Der>,
    authorities: Vec<Fingerprint>,
    facts: Certificate,
    renew_until: i64,
    clock: Option<ClockOff>,
}

impl Grant {
    /// Takes the answer to a request for the key `own`, from an authority known by `contact`.
    pub(super) fn take(
        answer: MemberResponse,
        own: Fingerprint,
        contact: &Contact,
    ) -> Result<Self, EnrollError> {
        let lost = |text: &str| EnrollError::Lost(text.to_owned());
        let ResponseBody::Certificate { chain, roots, renew_until } = answer.body else {
            return Err(lost("it does not go with the question"));
        };
        let parse = |der: &Der| {
            Certificate::parse(&der.0).map_err(|error| EnrollError::Lost(error.to_string()))
        };
        let facts = parse(chain.first().ok_or_else(|| lost("it has no certificate"))?)?;
        if facts.key != own {
            return Err(lost("the certificate is for another key"));
        }
        let authorities: Vec<_> =
            roots.iter().map(|root| Ok(parse(root)?.key)).collect::<Result<_, EnrollError>>()?;
        // An authority that changes its root still names the one that this member knows it by.
        if !authorities.iter().any(|authority| contact.authorities.contains(authority)) {
            return Err(lost("its roots are not those that it is known by"));
        }
        let clock = ClockOff { ours: now_unix(), theirs: answer.time };
        let off = clock.ours.abs_diff(clock.theirs) > CLOCK_TOLERANCE.as_secs();
        let clock = off.then_some(clock);
        Ok(Self { chain, roots, authorities, facts, renew_until, clock })
    }

    fn fetched(&self, new_roots: bool, written: Vec<PathBuf>) -> Fetched {
        let facts = &self.facts;
        let identity = Identity::from_certificate(facts).ok();
        let addresses = facts.names.addresses.iter().map(ToString::to_string);
        let names = match &identity {
            Some(identity) => vec![identity.user().to_owned()],
            None => facts.names.dns.iter().cloned().chain(addresses).collect(),
        };
        Fetched {
            names,
            groups: identity.map(|identity| identity.groups().to_vec()).unwrap_or_default(),
            serial: facts.serial.clone(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            renew_until: self.renew_until,
            new_roots,
            clock: self.clock,
            written,
            lists: None,
        }
    }
}

impl Folder {
    /// Returns the folder of an existing identity.
    pub(super) fn of(layout: &Layout, kind: Kind) -> Self {
        Self { layout: layout.clone(), kind }
    }

    /// Makes and returns the folder of a new identity.
    pub(super) fn open(layout: &Layout, kind: Kind) -> Result<Self, EnrollError> {
        let folder = Self::of(layout, kind);
        if files::is_taken(&folder.key()) {
            return Err(EnrollError::Exists(folder.key()));
        }
        files::check_folder(&layout.member_dir(kind))?;
        files::create_private_dir(&layout.member_dir(kind))?;
        Ok(folder)
    }

    fn key(&self) -> PathBuf {
        self.layout.member_key(self.kind)
    }

    fn cert(&self) -> PathBuf {
        self.layout.member_cert(self.kind)
    }

    /// Returns the key that waits for the token of this id; makes one if none waits.
    pub(super) fn pending_key(
        &self,
        token: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<Pending, EnrollError> {
        let mark = token.get(..12).unwrap_or(token);
        let path = self.layout.member_dir(self.kind).join(format!(".enroll-{mark}.pem"));
        if let Some(key) = load_key(&path)? {
            return Ok(Pending { key, path });
        }
        // Enrollment does not leave these: a certificate without a key, and no key that waits for it.
        if let Some(other) = [self.cert(), self.layout.contact(self.kind)]
            .into_iter()
            .find(|path| files::is_taken(path))
        {
            return Err(EnrollError::Exists(other));
        }
        let key = algorithm.generate()?;
        let text = key.serialize_pem();
        let file = NewFile { path: &path, bytes: text.as_bytes(), private: true };
        match files::write_all(&[file], Existing::Keep) {
            Ok(()) => Ok(Pending { key, path }),
            // Another process enrolls here at the same time: both use one key and get one certificate.
            Err(FileError::Exists(path)) => match load_key(&path)? {
                Some(key) => Ok(Pending { key, path }),
                None => Err(EnrollError::Exists(path)),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a new identity, its key last.
    pub(super) fn install(
        &self,
        grant: &Grant,
        contact: &Contact,
        pending: Pending,
    ) -> Result<Fetched, EnrollError> {
        let new_roots = self.trust(grant, contact)?;
        let contact = Contact { authorities: grant.authorities.clone(), ..contact.clone() };
        let (cert, key, place) = (self.cert(), self.key(), self.layout.contact(self.kind));
        let (chain, place_text) = (chain_pem(&grant.chain), contact.to_toml(&place)?);
        let public = [
            NewFile { path: &cert, bytes: chain.as_bytes(), private: false },
            NewFile { path: &place, bytes: place_text.as_bytes(), private: false },
        ];
        files::write_all(&public, Existing::Replace)?;
        let key_text = pending.key.serialize_pem();
        let private = NewFile { path: &key, bytes: key_text.as_bytes(), private: true };
        files::write_all(&[private], Existing::Keep).map_err(|error| match error {
            FileError::Exists(path) => EnrollError::Exists(path),
            other => other.into(),
        })?;
        // A copy of the key that stays is as private as the key itself.
        let _ = files::remove(&pending.path);
        Ok(grant.fetched(new_roots, vec![key, cert, place, self.layout.ca()]))
    }

    /// Writes a renewed certificate over the one before.
    pub(super) fn replace(&self, grant: &Grant, contact: &Contact) -> Result<Fetched, EnrollError> {
        let new_roots = self.trust(grant, contact)?;
        let (cert, chain) = (self.cert(), chain_pem(&grant.chain));
        let file = NewFile { path: &cert, bytes: chain.as_bytes(), private: false };
        files::write_all(&[file], Existing::Replace)?;
        if grant.authorities != contact.authorities {
            let place = self.layout.contact(self.kind);
            let contact = Contact { authorities: grant.authorities.clone(), ..contact.clone() };
            let text = contact.to_toml(&place)?;
            let file = NewFile { path: &place, bytes: text.as_bytes(), private: false };
            files::write_all(&[file], Existing::Replace)?;
        }
        Ok(grant.fetched(new_roots, vec![cert]))
    }

    /// Writes the lists that came with a certificate, if they are to replace those in use. A renewal does so
    /// before it writes the certificate: whoever holds back the lists holds back both.
    pub(super) fn take_lists(&self, grant: &Grant, lists: CrlSet) -> Result<(), CrlRefused> {
        let path = self.layout.member_list(self.kind);
        let current = CrlSet::load(&path).ok().flatten();
        let mut issuers = tls::load_all(&self.layout.ca(), "").unwrap_or_default();
        let granted = grant.roots.iter().chain(grant.chain.iter().skip(1));
        issuers.extend(granted.map(|der| CertificateDer::from(der.0.clone())));
        let lists = lists.accept(current.as_ref(), &issuers, now_unix())?;
        Ok(lists.write(&path).map_err(CrlError::from)?)
    }

    /// Brings `ca.pem` up to date: adds the authority's present roots, removes those that it no longer has, and
    /// leaves the others. Returns whether anything changed.
    fn trust(&self, grant: &Grant, contact: &Contact) -> Result<bool, EnrollError> {
        let path = self.layout.ca();
        let before = match tls::load_all(&path, "") {
            Ok(roots) => roots,
            Err(TlsError::Missing { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let is_given = |der: &[u8]| grant.roots.iter().any(|root| root.0 == der);
        let is_dropped = |der: &[u8]| {
            let key = Certificate::parse(der).map(|facts| facts.key);
            !is_given(der) && key.is_ok_and(|key| contact.authorities.contains(&key))
        };
        let mut after: Vec<Vec<u8>> =
            before.iter().filter(|der| !is_dropped(der)).map(|der| der.to_vec()).collect();
        for root in &grant.roots {
            if !after.contains(&root.0) {
                after.push(root.0.clone());
            }
        }
        if before.iter().map(AsRef::as_ref).eq(after.iter().map(Vec::as_slice)) {
            return Ok(false);
        }
        let text: String = after.iter().map(|der| pem("CERTIFICATE", der)).collect();
        let file = NewFile { path: &path, bytes: text.as_bytes(), private: false };
        files::write_all(&[file], Existing::Replace)?;
        Ok(true)
    }
}

impl Pending {
    pub(super) fn key(&self) -> &KeyPair {
        &self.key
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_key(&self.key.subject_public_key_info())
    }
}

/// Returns the key that waits in a file, if there is one. A file that cannot be read is removed.
fn load_key(path: &Path) -> Result<Option<KeyPair>, EnrollError> {
    let text = match files::read_private(path) {
        Ok(text) => text,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let key = PrivateKeyDer::from_pem_slice(text.expose())
        .ok()
        .and_then(|der| KeyPair::try_from(&der).ok());
    if key.is_none() {
        files::remove(path)?;
    }
    Ok(key)
}
