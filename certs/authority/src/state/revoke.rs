//! Revocations, and the lists that publish them.

use std::sync::Arc;

use rcmd_certs::{
    clock::date,
    enroll::{message::MAX_RESPONSE, token::Names},
    files::{self, Existing, NewFile},
    names::Kind,
    pem::{Der, pem},
    text::printable,
};
use serde::{Deserialize, Serialize};

use super::{
    authority_state::{AuthorityState, later},
    error::StateError,
    journal::Event,
    records::{
        ADDRESSES, CERTIFICATES, LAST, LISTS, ListsRecord, MEMBERS, MemberRecord, MemberRevocation,
        NEWEST, Published, REVOKED, RevocationReason, RevokedRecord, TAKEN, TOKENS, USES, short,
    },
    store::Transaction,
};
use crate::ca;

/// The seconds for which a certificate stays on the list and in the store after its end: clocks differ, and
/// somebody may ask about it.
const KEEP: i64 = 7 * 24 * 60 * 60;

/// The seconds for which a token or a member is still known after its end, so that a refusal can state
/// the reason.
const REMEMBER: i64 = 60 * 24 * 60 * 60;

/// The shortest part of a token's id that names it.
const SHORTEST_ID: usize = 8;

/// The members, certificates and tokens that a revocation concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Members, as `server web1` or `client alice`.
    pub members: Vec<String>,
    /// The serial numbers of the certificates that are on the list because of it.
    pub serials: Vec<String>,
    /// Tokens, by the first digits of their ids.
    pub tokens: Vec<String>,
    /// The clients that do not know of it yet, if a server was revoked.
    #[serde(default)]
    pub clients: Option<UnawareClients>,
}

/// The clients that accept a revoked server until they have the new lists. Those that enrolled with a token
/// get them when they renew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnawareClients {
    /// The last second at which one that enrolled with a token may not have renewed yet, RFC 3339 in UTC;
    /// `None` if there is no such client.
    pub until: Option<String>,
    /// The number of those certified by command: they never renew, and get lists only by hand.
    pub by_command: usize,
}

impl AuthorityState {
    /// Revokes all members of a name and the open tokens that allow it, the member that has a certificate of a
    /// serial number, or the token of an id. With `unlisted`, a serial number that is not known here goes on the
    /// list as well. New lists are signed at once.
    ///
    /// # Errors
    /// [`StateError`] when nothing has this name, or when it could not be recorded.
    pub fn revoke(
        &self,
        what: &str,
        reason: RevocationReason,
        unlisted: bool,
        now: i64,
    ) -> Result<Revoked, StateError> {
        let (revoked, lists) = self.store.change(|rows| {
            let mut revoked = Revoked::default();
            let servers = self.revoke_members(rows, what, reason, now, &mut revoked)?;
            revoked.clients = servers.then(|| unaware_clients(rows, now)).transpose()?;
            revoke_tokens(rows, what, now, &mut revoked)?;
            if revoked == Revoked::default() {
                let serial = unlisted.then(|| serial_of(what)).flatten();
                let serial = serial.ok_or_else(|| nothing(what, unlisted))?;
                let record =
                    RevokedRecord { issuer: None, at: now, reason, not_after: i64::MAX - KEEP };
                rows.put(&REVOKED, &serial, &record)?;
                revoked.serials.push(serial);
            }
            self.journal.add(
                now,
                Event::Revoked {
                    what: printable(what),
                    reason: reason.to_string(),
                    serials: revoked.serials.clone(),
                },
            )?;
            let lists = self.sign_lists(rows, now)?;
            Ok::<_, StateError>((revoked, lists))
        })?;
        self.tell(lists)?;
        Ok(revoked)
    }

    /// Revokes members; returns whether there is a server among them.
    fn revoke_members(
        &self,
        rows: &Transaction,
        what: &str,
        reason: RevocationReason,
        now: i64,
        revoked: &mut Revoked,
    ) -> Result<bool, StateError> {
        let mut servers = false;
        let certificates = rows.all(&CERTIFICATES)?;
        let serial = serial_of(what);
        let owner = certificates.iter().find(|(each, _)| Some(each) == serial.as_ref());
        let owner = owner.map(|(_, certificate)| certificate.key.to_string());
        for (key, mut member) in rows.all(&MEMBERS)? {
            let named = member.names.iter().any(|name| name == what);
            if !named && owner.as_ref() != Some(&key) {
                continue;
            }
            servers |= member.kind == Kind::Server;
            revoked.members.push(format!("{} {}", member.kind, member.names.join(", ")));
            member.revoked.get_or_insert(MemberRevocation { at: now, reason });
            rows.put(&MEMBERS, &key, &member)?;
            for (serial, certificate) in &certificates {
                if certificate.key.to_string() == key && certificate.not_after >= now {
                    let record = RevokedRecord {
                        issuer: Some(certificate.issuer),
                        at: now,
                        reason,
                        not_after: certificate.not_after,
                    };
                    rows.put(&REVOKED, serial, &record)?;
                    revoked.serials.push(serial.clone());
                }
            }
        }
        Ok(servers)
    }

    /// Signs new lists, and forgets records that ended long ago. To be called every
    /// [`list_every`](super::AuthoritySettings::list_every).
    ///
    /// # Errors
    /// [`StateError`] when they could not be signed or recorded.
    pub fn publish(&self, now: i64) -> Result<Arc<Published>, StateError> {
        let lists = self.store.change(|rows| {
            forget(rows, now, |member| self.renew_until(member))?;
            self.sign_lists(rows, now)
        })?;
        self.tell(lists)
    }

    /// Returns the newest lists; `None` before the first.
    pub fn published(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }

    fn sign_lists(&self, rows: &Transaction, now: i64) -> Result<ListsRecord, StateError> {
        let number = rows.get(&LISTS, NEWEST)?.map_or(0, |lists| lists.number).saturating_add(1);
        let next_update = later(now, self.settings().list_life);
        let all = rows.all(&REVOKED)?;
        let mut lists = Vec::new();
        for authority in self.authorities() {
            let own = authority.certificate().key;
            let entries: Vec<_> = all
                .iter()
                .filter(|(_, record)| record.issuer.is_none_or(|issuer| issuer == own))
                .filter_map(|(serial, record)| {
                    let serial = hex::decode(serial).ok()?;
                    let reason = record.reason.code();
                    Some(ca::RevokedEntry { serial, at: record.at, reason })
                })
                .collect();
            let list = authority.sign_list(number, (now, next_update), &entries)?;
            lists.push(Der(list.to_vec()));
        }
        check_size(&lists)?;
        let event = Event::Lists { number, revoked: all.len(), next_update: date(next_update) };
        self.journal.add(now, event)?;
        let roots = self.root_keys();
        let record = ListsRecord { number, this_update: now, next_update, lists, roots };
        rows.put(&LISTS, NEWEST, &record)?;
        Ok(record)
    }

    /// Makes lists that are committed the newest, and writes `authority/list.pem`, to be carried by hand to
    /// servers that cannot reach the authority.
    fn tell(&self, lists: ListsRecord) -> Result<Arc<Published>, StateError> {
        let lists = Arc::new(Published::from(lists));
        self.published.replace(Some(Arc::clone(&lists)));
        let text: String = lists.lists.iter().map(|list| pem("X509 CRL", &list.0)).collect();
        let path = self.layout.authority_list();
        let file = NewFile { path: &path, bytes: text.as_bytes(), private: false };
        files::write_all(&[file], Existing::Replace)?;
        Ok(lists)
    }

    /// Records the addresses that `serve` listens on, for the tokens that are made from now on.
    ///
    /// # Errors
    /// Fails when the store fails.
    pub fn listening(&self, addresses: &[String]) -> Result<(), StateError> {
        if self.last_addresses()? == addresses {
            return Ok(());
        }
        Ok(self.store.change(|rows| rows.put(&ADDRESSES, LAST, &addresses.to_vec()))?)
    }

    pub(super) fn last_addresses(&self) -> Result<Vec<String>, StateError> {
        Ok(self.store.look(|rows| rows.get(&ADDRESSES, LAST))?.unwrap_or_default())
    }
}

/// Checks that members can accept lists of this size.
fn check_size(lists: &[Der]) -> Result<(), StateError> {
    // An answer has the keys of the roots beside the lists.
    const MOST: usize = MAX_RESPONSE as usize - 64 * 1024;
    let bytes: usize = lists.iter().map(|list| list.0.len().div_ceil(3) * 4).sum();
    if bytes <= MOST {
        return Ok(());
    }
    Err(StateError::Invalid(format!(
        "the revocation lists would have {bytes} bytes, of which members take {MOST}; nothing was changed. \
         Certificates leave the lists when they expire: issue shorter ones, or rotate to another root"
    )))
}

/// Returns the clients that do not know yet of the present revocations.
fn unaware_clients(rows: &Transaction, now: i64) -> Result<UnawareClients, StateError> {
    let mut unaware = UnawareClients::default();
    let mut last = None;
    for (_, member) in rows.all(&MEMBERS)? {
        let connects = member.revoked.is_none() && member.not_after >= now;
        if member.kind != Kind::Client || !connects {
            continue;
        }
        if member.enrolled {
            last = last.max(Some(member.not_after));
        } else {
            unaware.by_command += 1;
        }
    }
    unaware.until = last.map(date);
    Ok(unaware)
}

fn revoke_tokens(
    rows: &Transaction,
    what: &str,
    now: i64,
    revoked: &mut Revoked,
) -> Result<(), StateError> {
    let is_id = what.len() >= SHORTEST_ID && what.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id_begins = what.to_ascii_lowercase();
    for (id, mut token) in rows.all(&TOKENS)? {
        let is_open = token.left > 0 && token.expires_at >= now && token.revoked_at.is_none();
        // A pattern also allows other names, which were not to be revoked.
        let gives = |names: &Names| matches!(names, Names::All(names) if names.iter().any(|name| name == what));
        if is_id && id.starts_with(&id_begins) || is_open && gives(&token.names) {
            token.revoked_at.get_or_insert(now);
            rows.put(&TOKENS, &id, &token)?;
            revoked.tokens.push(short(&id).to_owned());
        }
    }
    Ok(())
}

/// Returns a serial number in the form in which it is stored: lower-case hexadecimal without separators or
/// leading zeros.
fn serial_of(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|digit| *digit != ':').collect();
    let bytes = hex::decode(&digits).ok().filter(|bytes| (1..=20).contains(&bytes.len()))?;
    Some(rcmd_certs::x509::serial_text(&bytes))
}

fn nothing(what: &str, unlisted: bool) -> StateError {
    let what = printable(what);
    StateError::Invalid(if unlisted {
        format!("`{what}` is not a serial number: write 1 to 20 bytes in hexadecimal")
    } else {
        format!(
            "no member, certificate or token is called `{what}`: `rcmd-certs list` shows them; \
             --unlisted puts a serial number on the list that is not known here"
        )
    })
}

/// Removes records that ended long ago.
fn forget(
    rows: &Transaction,
    now: i64,
    renew_until: impl Fn(&MemberRecord) -> i64,
) -> Result<(), StateError> {
    for (serial, record) in rows.all(&REVOKED)? {
        if record.not_after.saturating_add(KEEP) < now {
            rows.remove(&REVOKED, &serial)?;
        }
    }
    for (serial, record) in rows.all(&CERTIFICATES)? {
        if record.not_after.saturating_add(KEEP) < now {
            rows.remove(&CERTIFICATES, &serial)?;
        }
    }
    for (key, member) in rows.all(&MEMBERS)? {
        if renew_until(&member).saturating_add(REMEMBER) < now {
            rows.remove(&MEMBERS, &key)?;
        }
    }
    let mut gone = Vec::new();
    for (id, token) in rows.all(&TOKENS)? {
        if token.expires_at.saturating_add(REMEMBER) < now {
            rows.remove(&TOKENS, &id)?;
            gone.push(id);
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    let of_gone =
        |key: &str| key.split('/').next().is_some_and(|id| gone.iter().any(|each| each == id));
    for (key, _) in rows.all(&USES)?.into_iter().filter(|(key, _)| of_gone(key)) {
        rows.remove(&USES, &key)?;
    }
    for (key, _) in rows.all(&TAKEN)?.into_iter().filter(|(key, _)| of_gone(key)) {
        rows.remove(&TAKEN, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcmd_certs::enroll::message::ResponseBody;

    use super::*;

    #[test]
    fn lists_that_members_could_not_take_are_not_made() {
        let lists = |bytes: usize| vec![Der(vec![7; bytes / 2]), Der(vec![7; bytes / 2])];
        let answer = |lists: Vec<Der>| {
            let roots = Vec::new();
            let body = ResponseBody::Lists { number: u64::MAX, lists, roots };
            serde_json::to_vec(&body).unwrap().len()
        };
        let largest =
            (0..4 << 20).rev().step_by(4096).find(|&bytes| check_size(&lists(bytes)).is_ok());
        let largest = largest.unwrap();
        assert!(largest > 3_000_000 && answer(lists(largest)) + 32 * 1024 < MAX_RESPONSE as usize);
        let refused = check_size(&lists(largest + 8192)).unwrap_err().to_string();
        assert!(refused.contains("nothing was changed"), "{refused}");
    }
}
