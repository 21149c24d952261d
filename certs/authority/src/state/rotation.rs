//! Rotation: a new authority takes the place of the old one while both are trusted.
//!
//! ```text
//!              every member trusts both         every member has the new one's certificate
//! settled --> announced ---------------> switched ----------------------------> settled
//!        rotate            rotate                              rotate
//! ```
//!
//! *Announced*: members get both roots with each renewal, and the old one signs. *Switched*: the new
//! one signs, and members still trust both. Then the old one is dropped. Members that watch for lists learn
//! of each step at once, because the lists name the roots; members that only renew learn of it then.
//!
//! The new authority is in `authority/next/` until it is settled. The store has the present step, so that
//! after a kill either the step before or the next one holds.

use std::{collections::BTreeSet, sync::Arc};

use rcmd_certs::{
    enroll::key::KeyAlgorithm,
    files::{self, Existing, NewFile, shown},
    fingerprint::Fingerprint,
    pem::pem,
};
use serde::{Deserialize, Serialize};

use super::{
    authority_state::AuthorityState,
    error::StateError,
    journal::Event,
    records::{CERTIFICATES, MEMBERS, MemberRecord, Step, TOKENS, short},
    store::Transaction,
    trust::{HERE, ROTATION, RotationRecord, Trust, remove, settle_files, write_authority},
};
use crate::ca::Authority;

/// The most names in a report, which also has the number of the others.
const SHOWN: usize = 100;

/// The state of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The present step; `None` when there is no rotation.
    pub step: Option<Step>,
    /// True if the request moved it on.
    pub moved: bool,
    /// The fingerprint of the root that signs.
    pub signing: Fingerprint,
    /// The other root that members trust, if there is one.
    pub other: Option<Fingerprint>,
    /// The members that must be seen before the next step, at most a hundred.
    pub waiting: Vec<String>,
    /// The number of members that must be seen, without that limit.
    pub waiting_for: usize,
    /// The members whose certificates came by command. They never renew, so that nobody waits for them, and the
    /// next step leaves them behind. At most a hundred.
    #[serde(default)]
    pub left_behind: Vec<String>,
}

/// An action on a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationAction {
    /// Report the state of the rotation only.
    Tell,
    /// Take the next step, if nobody must be waited for.
    Next,
    /// Take the next step, whoever is left behind.
    Force,
    /// Give up a rotation that was only announced.
    Abort,
}

impl AuthorityState {
    /// Carries a rotation on, or reports its state.
    ///
    /// # Errors
    /// [`StateError`]; then the step before still holds.
    pub fn rotate(&self, action: RotationAction, now: i64) -> Result<Rotation, StateError> {
        let record = self.store.look(|rows| rows.get(&ROTATION, HERE))?;
        let step = record.map(|record| record.step);
        let (waiting, left) = self.behind(record, now)?;
        let may_move = match action {
            RotationAction::Tell => return self.tell_rotation(step, false, waiting, left),
            RotationAction::Abort => {
                self.abort(step)?;
                self.publish(now)?;
                return self.tell_rotation(None, true, Vec::new(), Vec::new());
            }
            RotationAction::Next => waiting.is_empty(),
            RotationAction::Force => true,
        };
        if !may_move {
            return self.tell_rotation(step, false, waiting, left);
        }
        let step = match step {
            None => self.announce(now)?,
            Some(Step::Announced) => self.switch(now)?,
            Some(Step::Switched | Step::Settling) => self.settle_rotation(now)?,
        };
        // The lists name the roots, so that members that watch for lists learn of the step.
        self.publish(now)?;
        let record = self.store.look(|rows| rows.get(&ROTATION, HERE))?;
        let (waiting, left) = self.behind(record, now)?;
        self.tell_rotation(step, true, waiting, left)
    }

    fn tell_rotation(
        &self,
        step: Option<Step>,
        moved: bool,
        mut waiting: Vec<String>,
        mut left_behind: Vec<String>,
    ) -> Result<Rotation, StateError> {
        let trust = self.trust.borrow();
        let waiting_for = waiting.len();
        waiting.truncate(SHOWN);
        left_behind.truncate(SHOWN);
        let other = trust.other.as_ref().map(|other| other.root().key);
        let signing = trust.signing.root().key;
        Ok(Rotation { step, moved, signing, other, waiting, waiting_for, left_behind })
    }

    fn announce(&self, now: i64) -> Result<Option<Step>, StateError> {
        let new = self.successor()?;
        let (old, root) = (self.signing().root().key, new.root().key);
        self.journal.add(now, Event::Rotation { step: Step::Announced, from: old, to: root })?;
        let record = RotationRecord { step: Step::Announced, since: now };
        self.store.change(|rows| rows.put(&ROTATION, HERE, &record))?;
        self.trust.borrow_mut().other = Some(Arc::new(new));
        self.write_roots()?;
        Ok(Some(Step::Announced))
    }

    /// Returns the authority that is to take over. One that is its own root is made here; an intermediate must
    /// come from the place of its root.
    fn successor(&self) -> Result<Authority, StateError> {
        let next = self.layout.next_authority();
        if !self.signing().is_root() {
            if !files::exists(&next.authority_cert()) {
                let (cert, key) = (shown(&next.authority_cert()), shown(&next.authority_key()));
                return Err(StateError::Invalid(format!(
                    "this authority is an intermediate: have the next one signed where the root \
                     lies, put it into {cert} (with its issuers, the root last) and {key}, and \
                     order the rotation again"
                )));
            }
            return Ok(Authority::load(&next)?);
        }
        // Files of a rotation that was killed before its announcement belong to nobody.
        remove(&next)?;
        let algorithm = match self.signing().is_ed25519() {
            true => KeyAlgorithm::Ed25519,
            false => KeyAlgorithm::EcdsaP256,
        };
        let new = Authority::create(algorithm)?;
        files::create_private_dir(&next.authority_dir())?;
        write_authority(&next, &new)?;
        Ok(new)
    }

    fn switch(&self, now: i64) -> Result<Option<Step>, StateError> {
        let Trust { signing: old, other: Some(new) } = self.trust.borrow().clone() else {
            return Err(StateError::Invalid("there is no authority to switch to".into()));
        };
        let (from, to) = (old.root().key, new.root().key);
        self.journal.add(now, Event::Rotation { step: Step::Switched, from, to })?;
        let record = RotationRecord { step: Step::Switched, since: now };
        self.store.change(|rows| rows.put(&ROTATION, HERE, &record))?;
        *self.trust.borrow_mut() = Trust { signing: new, other: Some(old) };
        Ok(Some(Step::Switched))
    }

    fn settle_rotation(&self, now: i64) -> Result<Option<Step>, StateError> {
        let Trust { signing: new, other: old } = self.trust.borrow().clone();
        let (from, to) = (old.map_or(new.root().key, |old| old.root().key), new.root().key);
        self.journal.add(now, Event::Rotation { step: Step::Settling, from, to })?;
        let record = RotationRecord { step: Step::Settling, since: now };
        self.store.change(|rows| rows.put(&ROTATION, HERE, &record))?;
        settle_files(&self.layout, &new)?;
        self.store.change(|rows| rows.remove(&ROTATION, HERE))?;
        self.trust.borrow_mut().other = None;
        self.write_roots()?;
        Ok(None)
    }

    fn abort(&self, step: Option<Step>) -> Result<(), StateError> {
        if step != Some(Step::Announced) {
            let text = "only a rotation that is announced and not yet switched can be canceled";
            return Err(StateError::Invalid(text.into()));
        }
        self.store.change(|rows| rows.remove(&ROTATION, HERE))?;
        self.trust.borrow_mut().other = None;
        self.write_roots()?;
        Ok(remove(&self.layout.next_authority())?)
    }

    /// Returns the members that would lose the authority with the next step: those that only have to renew before
    /// it, and those that never do.
    fn behind(
        &self,
        record: Option<RotationRecord>,
        now: i64,
    ) -> Result<(Vec<String>, Vec<String>), StateError> {
        let Some(RotationRecord { step, since }) = record else {
            return Ok(Default::default());
        };
        let roots: BTreeSet<_> = self.roots_by_key();
        let signing = self.signing().certificate().key;
        self.store.look(|rows| {
            let (mut waiting, mut left) = (Vec::new(), Vec::new());
            for (_, member) in rows.all(&MEMBERS)? {
                let until = match member.enrolled {
                    true => self.renew_until(&member),
                    false => member.not_after,
                };
                let alive = member.revoked.is_none() && now <= until;
                if !alive || self.has_moved(rows, &member, step, &roots, signing)? {
                    continue;
                }
                let behind = if member.enrolled { &mut waiting } else { &mut left };
                behind.push(format!("{} {}", member.kind, member.names.join(",")));
            }
            for (id, token) in rows.all(&TOKENS)? {
                // The token's text names the old root, by which the listener proves itself until the switch.
                let open = token.left > 0 && token.revoked_at.is_none() && now <= token.expires_at;
                if step == Step::Announced && open && token.made_at <= since {
                    waiting.push(format!("token {}", short(&id)));
                }
            }
            Ok((waiting, left))
        })
    }

    fn has_moved(
        &self,
        rows: &Transaction,
        member: &MemberRecord,
        step: Step,
        roots: &BTreeSet<Fingerprint>,
        signing: Fingerprint,
    ) -> Result<bool, StateError> {
        Ok(match step {
            Step::Announced => roots.iter().all(|root| member.roots.contains(root)),
            Step::Switched | Step::Settling => {
                let last = rows.get(&CERTIFICATES, &member.serial)?;
                last.is_none_or(|last| last.issuer == signing)
            }
        })
    }

    fn roots_by_key(&self) -> BTreeSet<Fingerprint> {
        self.trust.borrow().all().map(|authority| authority.root().key).collect()
    }

    /// Brings the authority's own `ca.pem` up to date, which `rcmd-certs issue` writes beside certificates.
    fn write_roots(&self) -> Result<(), StateError> {
        let path = self.layout.ca();
        let text: String = self.roots().iter().map(|root| pem("CERTIFICATE", &root.0)).collect();
        let file = NewFile { path: &path, bytes: text.as_bytes(), private: false };
        Ok(files::write_all(&[file], Existing::Replace)?)
    }
}
