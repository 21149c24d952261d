//! The member's side of an authority: enrollment, renewal, and news of revocations.
//!
//! [`enroll`] makes a key, which never leaves this machine, and fetches a certificate for a
//! [`Token`]. From then on a [`Member`] renews the certificate for the same key and fetches
//! revocation lists. Nothing here runs by itself: the program decides when to do what.

use std::time::Duration;

use crate::{
    clock,
    crl::{Crl, CrlSet},
    enroll::{
        key::{KeyAlgorithm, request},
        message::{MAX_WAIT, MemberRequest, ResponseBody},
        token::{Names, Token},
    },
    names::HostName,
    paths::Layout,
    pem::Der,
    tls,
};

mod clock_off;
mod contact;
mod dial;
mod error;
mod files;
pub mod key;
pub mod message;
pub mod token;

pub use crate::enroll::message::RefusalReason;
pub use crate::names::Kind;
pub use clock_off::{CLOCK_TOLERANCE, ClockOff};
pub use contact::Contact;
pub use error::EnrollError;
pub use files::Fetched;

use dial::AuthorityConnection;
use files::{Folder, Grant};

/// The options of an enrollment.
#[derive(Clone, Debug, Default)]
pub struct EnrollmentOptions {
    /// The name to take, if the token leaves a choice.
    pub name: Option<String>,
    /// The kind of key to make.
    pub algorithm: KeyAlgorithm,
}

/// Makes a key and fetches a certificate for it, then the revocation lists. Writes `key.pem`, `cert.pem` and
/// `authority.toml` in the folder of the kind, and `ca.pem`. `key.pem` is written last, so that an identity
/// exists only when all of its files do. An existing identity is never overwritten.
///
/// A lost answer does no harm: the key waits in the folder, and for some minutes the same token with the
/// same key gets the same certificate. Of the names that a token leaves to choose, this host's own is taken
/// if it is among them and [`EnrollmentOptions::name`] is `None`.
///
/// # Errors
/// [`EnrollError`]; then no identity was written.
///
/// # Cancel safety
/// Cancel safe: the next call with the same token takes up what was begun.
pub async fn enroll(
    token: &Token,
    layout: &Layout,
    options: &EnrollmentOptions,
) -> Result<Fetched, EnrollError> {
    let name = chosen_name(token, options.name.as_deref(), &own_name())?;
    let folder = Folder::open(layout, token.kind)?;
    let pending = folder.pending_key(&token.secret.id(), options.algorithm)?;
    let contact =
        Contact { addresses: token.addresses.clone(), authorities: vec![token.authority] };
    let ask = || -> Result<MemberRequest, EnrollError> {
        Ok(MemberRequest::Enroll {
            secret: token.secret.clone(),
            name: name.clone(),
            request: Der(request(pending.key())?),
            time: clock::now_unix(),
        })
    };
    // The same key with the same token gets the same answer, so that a lost one may be asked for again.
    let mut tries = 0;
    let answer = loop {
        tries += 1;
        let mut connection = AuthorityConnection::open(&contact, None).await?;
        match connection.ask(&ask()?, Duration::ZERO).await {
            Err(EnrollError::Lost(_)) if tries < TRIES => {}
            other => break other?,
        }
    };
    let grant = Grant::take(answer, pending.fingerprint(), &contact)?;
    let fetched = folder.install(&grant, &contact, pending)?;
    // Only members get the lists, so this connection presents the new certificate.
    let member = Member::load(layout, token.kind)?;
    let lists = async {
        match &member {
            Some(member) => member.fetch_lists(0).await,
            None => Ok(None),
        }
    };
    let refused = match lists.await {
        Ok(Some(lists)) => folder.take_lists(&grant, lists).err().map(|error| error.to_string()),
        Ok(None) => None,
        Err(error) => Some(error.to_string()),
    };
    Ok(Fetched { lists: refused, ..fetched })
}

/// The number of times that a lost answer is asked for.
const TRIES: u32 = 3;

/// Returns the name to ask for.
fn chosen_name(
    token: &Token,
    wanted: Option<&str>,
    own: &str,
) -> Result<Option<String>, EnrollError> {
    let wanted = match (token.kind, wanted) {
        (Kind::Server, Some(name)) => Some(name.to_ascii_lowercase()),
        (_, name) => name.map(str::to_owned),
    };
    match (&token.names, wanted) {
        (Names::OneOf(pattern), None) if token.kind == Kind::Server && pattern.contains(own) => {
            Ok(Some(own.to_owned()))
        }
        (Names::OneOf(pattern), None) => Err(EnrollError::Name(format!(
            "this token is for one of {pattern}; choose the name with --name NAME"
        ))),
        (Names::OneOf(pattern), Some(name)) if !pattern.contains(&name) => {
            Err(EnrollError::Name(format!(
                "this token is for one of {pattern}, not for {name}; use one of its names with --name, \
                 or get a token for {name}",
                name = crate::text::printable(&name)
            )))
        }
        (_, wanted) => Ok(wanted),
    }
}

/// Returns the name of this host, in lower case.
fn own_name() -> String {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    HostName::parse(&node).map(|name| name.to_string()).unwrap_or_default()
}

/// An identity that was enrolled with a token, and the way to its authority.
#[derive(Clone, Debug)]
pub struct Member {
    kind: Kind,
    layout: Layout,
    contact: Contact,
}

impl Member {
    /// Loads the identity of this kind; `None` if it was not enrolled with a token.
    ///
    /// # Errors
    /// [`EnrollError::Contact`] when `authority.toml` cannot be used.
    pub fn load(layout: &Layout, kind: Kind) -> Result<Option<Self>, EnrollError> {
        let contact = Contact::load(&layout.contact(kind))?;
        Ok(contact.map(|contact| Self { kind, layout: layout.clone(), contact }))
    }

    /// Returns the kind of member.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the layout of its files.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the way to its authority.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Fetches another certificate for the same key and writes `cert.pem`; also `ca.pem` and `authority.toml`
    /// if the roots changed. A client, which watches no lists, also gets the newest lists, and no certificate
    /// without them. This works with an expired certificate too, until [`Fetched::renew_until`]. An authority
    /// that renewed the certificate a moment ago returns the same one again.
    ///
    /// # Errors
    /// [`EnrollError`]; then the files are as they were.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn renew(&self) -> Result<Fetched, EnrollError> {
        let key = tls::load_leaf(&self.layout.member_cert(self.kind))?.key;
        let mut connection = self.connection().await?;
        let answer = connection
            .ask(&MemberRequest::Renew { time: clock::now_unix() }, Duration::ZERO)
            .await?;
        let grant = Grant::take(answer, key, &self.contact)?;
        let folder = Folder::of(&self.layout, self.kind);
        let lists = match self.kind {
            Kind::Client => lists(&mut connection, 0, 0).await?,
            Kind::Server => None,
        };
        let refused = lists.and_then(|lists| folder.take_lists(&grant, lists).err());
        let fetched = folder.replace(&grant, &self.contact)?;
        Ok(Fetched { lists: refused.map(|error| error.to_string()), ..fetched })
    }

    /// Returns whether the authority has changed its roots, or which of them signs, since this identity was
    /// last renewed. It must then be renewed, whatever the certificate's age.
    pub fn is_to_move(&self, lists: &CrlSet) -> bool {
        !lists.roots().is_empty() && lists.roots() != self.contact.authorities
    }

    /// Returns the revocation lists, if their number is higher than `newer_than` (0: any). Nothing is written;
    /// the verifier must judge them first.
    ///
    /// # Errors
    /// [`EnrollError`] when the authority cannot be reached or refuses.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn fetch_lists(&self, newer_than: u64) -> Result<Option<CrlSet>, EnrollError> {
        let mut connection = self.connection().await?;
        lists(&mut connection, newer_than, 0).await
    }

    /// Opens a connection on which new lists arrive within a second after they are made.
    ///
    /// # Errors
    /// [`EnrollError`] when the authority cannot be reached or refuses.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn watch(&self) -> Result<Watch, EnrollError> {
        Ok(Watch { connection: self.connection().await? })
    }

    async fn connection(&self) -> Result<AuthorityConnection, EnrollError> {
        AuthorityConnection::open(&self.contact, Some((&self.layout, self.kind))).await
    }
}

/// A connection on which new lists arrive.
#[derive(Debug)]
pub struct Watch {
    connection: AuthorityConnection,
}

impl Watch {
    /// Waits for lists with a number above `newer_than`, for as long as it takes.
    ///
    /// # Errors
    /// [`EnrollError`] when the connection is lost; open another.
    ///
    /// # Cancel safety
    /// Not cancel safe: drop the `Watch` afterwards.
    pub async fn next(&mut self, newer_than: u64) -> Result<CrlSet, EnrollError> {
        loop {
            if let Some(lists) = lists(&mut self.connection, newer_than, MAX_WAIT).await? {
                return Ok(lists);
            }
        }
    }
}

async fn lists(
    connection: &mut AuthorityConnection,
    newer_than: u64,
    wait: u64,
) -> Result<Option<CrlSet>, EnrollError> {
    let answer = connection
        .ask(&MemberRequest::Lists { newer_than, wait }, Duration::from_secs(wait))
        .await?;
    match answer.body {
        ResponseBody::Unchanged { .. } => Ok(None),
        ResponseBody::Lists { number, lists, roots } if number > newer_than => {
            let lists = lists.iter().map(|der| Crl::from_der(&der.0));
            let lists = CrlSet::new(lists.collect::<Result<_, _>>()?)?;
            Ok(Some(lists.with_roots(roots)))
        }
        _ => Err(EnrollError::Lost("it does not go with the question".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{enroll::token::Secret, fingerprint::Fingerprint};

    #[test]
    fn a_host_takes_its_own_name_of_a_fleet_s() {
        let token = Token {
            addresses: vec!["ca.example:7264".into()],
            authority: Fingerprint::of_key(b"a key"),
            kind: Kind::Server,
            names: Names::OneOf("web[01-50]".parse().unwrap()),
            secret: Secret::random().unwrap(),
        };
        let chosen = |wanted, own| chosen_name(&token, wanted, own).ok().flatten();
        assert_eq!(chosen(None, "web09").as_deref(), Some("web09"));
        assert_eq!(chosen(Some("Web07"), "web09").as_deref(), Some("web07"));
        assert_eq!(chosen(None, "db1"), None);
        assert_eq!(chosen(Some("web51"), "web09"), None);
    }
}
