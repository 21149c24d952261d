//! The rules of a host, and a cache of their slices.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    diagnostic::Diagnostic,
    parse::{Parsed, parse},
    rule::Rule,
    slice::PolicySlice,
    vocabulary::{Action, Host, Vocabulary},
};
use crate::trust::Principal;

/// The maximum number of cached slices. When the cache is full, it is cleared.
const SLICES: usize = 256;

/// The rules of a host as they were when the policy was read.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Arc<Rule>>,
    host: Host,
    vocabulary: Vocabulary,
    warnings: Vec<Diagnostic>,
    is_missing: bool,
    slices: Mutex<HashMap<Principal, Arc<PolicySlice>>>,
}

impl Rules {
    /// Parses a policy for this host, to be read under this vocabulary.
    ///
    /// # Errors
    /// All errors of the policy, in the order of the text.
    pub fn parse(text: &str, host: Host, vocabulary: Vocabulary) -> Result<Self, Vec<Diagnostic>> {
        let Parsed { rules, warnings } = parse(text, vocabulary)?;
        let slices = Mutex::default();
        Ok(Self { rules, host, vocabulary, warnings, is_missing: false, slices })
    }

    /// Returns the rules of a host that has no policy: there are none, so everything is denied.
    pub fn missing(host: Host, vocabulary: Vocabulary) -> Self {
        Self {
            rules: Vec::new(),
            host,
            vocabulary,
            warnings: Vec::new(),
            is_missing: true,
            slices: Mutex::default(),
        }
    }

    /// Returns the same rules under this vocabulary. They are not validated again.
    pub fn under(&self, vocabulary: Vocabulary) -> Self {
        Self {
            rules: self.rules.clone(),
            host: self.host.clone(),
            vocabulary,
            warnings: self.warnings.clone(),
            is_missing: self.is_missing,
            slices: Mutex::default(),
        }
    }

    /// Returns the vocabulary under which the rules are read.
    pub fn vocabulary(&self) -> Vocabulary {
        self.vocabulary
    }

    /// Returns whether the host has no policy at all.
    pub fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// Returns the number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Returns whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns the warnings: valid text that is probably a mistake, such as a rule that never
    /// applies, or letters that look alike.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Returns the host that the rules are for.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns whether the rules permit somebody to start commands and nobody to attach to them,
    /// which is probably a mistake.
    pub fn starts_without_attach(&self) -> bool {
        let any = |action| self.rules.iter().any(|rule| rule.permits(action, self.vocabulary));
        (any(Action::Run) || any(Action::Shell)) && !any(Action::Attach)
    }

    pub(super) fn all(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Returns the rules that can apply to this identity. A slice is computed when it is first
    /// used, as the peer connects, and cached until the policy is read again.
    pub fn slice(&self, principal: &Principal) -> Arc<PolicySlice> {
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = slices.get(principal) {
            return Arc::clone(slice);
        }
        if slices.len() >= SLICES {
            slices.clear();
        }
        let slice =
            PolicySlice::new(&self.rules, &self.host, principal, self.vocabulary, self.is_missing);
        let slice = Arc::new(slice);
        slices.insert(principal.clone(), Arc::clone(&slice));
        slice
    }
}
