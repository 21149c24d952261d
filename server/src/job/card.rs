//! What an operator of the host sees of a job, from its registration to its end.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What a request says about its job. It never changes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct About {
    /// The job's ID.
    pub job: String,
    /// The user that asked for it.
    pub user: String,
    /// The address that the request came from.
    pub address: String,
    /// The account that the command runs as.
    pub account: String,
    /// The beginning of the command, without what the settings of the audit redact.
    pub command: String,
    /// The time of the request in milliseconds since 1970.
    pub asked_at: u64,
}

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobStage {
    /// What it names is looked for, and the policy asked.
    #[default]
    Judging,
    /// It waits for its lock.
    Locked,
    /// It waits for its turn.
    Queued,
    /// Its process is being started.
    Starting,
    /// Its process runs, or what it left has to end.
    Running,
}

impl JobStage {
    /// Every stage, in its order.
    pub(crate) const ALL: [Self; 5] =
        [Self::Judging, Self::Locked, Self::Queued, Self::Starting, Self::Running];

    /// Returns the word for the stage.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Judging => "judging",
            Self::Locked => "locked",
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
        }
    }
}

/// What is shown of a job, kept up to date by its task.
#[derive(Debug, Default)]
pub(crate) struct Card {
    about: About,
    is_permitted: AtomicBool,
    /// The place of the stage in [`JobStage::ALL`].
    stage: AtomicU8,
    /// The process ID, or 0.
    pid: AtomicU32,
    /// The start of the process in milliseconds since 1970, or 0.
    started_at: AtomicU64,
    is_kept: AtomicBool,
    is_killed: AtomicBool,
}

/// The facts of a job at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct JobFacts {
    /// The job's ID.
    pub job: String,
    /// How far it is.
    pub state: JobStage,
    /// The time of the request in milliseconds since 1970.
    pub asked_at: u64,
    /// The start of its process in milliseconds since 1970, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// The process ID, in the server's own namespace, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The user that asked for it.
    pub user: String,
    /// The address that the request came from.
    pub address: String,
    /// The account that the command runs as.
    pub account: String,
    /// True while no client is attached and the job is kept for one that may come back.
    pub kept: bool,
    /// The beginning of the command.
    pub command: String,
}

impl Card {
    /// Makes the card of a job that has not been judged.
    pub(super) fn new(about: About) -> Self {
        Self { about, ..Self::default() }
    }

    /// Returns the job's ID.
    pub(crate) fn job(&self) -> &str {
        &self.about.job
    }

    /// Returns the user that asked for the job.
    pub(crate) fn user(&self) -> &str {
        &self.about.user
    }

    pub(super) fn is_permitted(&self) -> bool {
        self.is_permitted.load(Ordering::Acquire)
    }

    pub(super) fn set_permitted(&self) {
        self.is_permitted.store(true, Ordering::Release);
    }

    /// Notes how far the job is.
    pub(super) fn set_stage(&self, stage: JobStage) {
        let place = JobStage::ALL.iter().position(|of| *of == stage).unwrap_or_default();
        self.stage.store(u8::try_from(place).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Notes that the process runs.
    pub(super) fn set_running(&self, pid: u32, started_at: u64) {
        self.pid.store(pid, Ordering::Relaxed);
        self.started_at.store(started_at, Ordering::Relaxed);
        self.set_stage(JobStage::Running);
    }

    /// Returns whether the job is kept for a client that is gone.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Relaxed)
    }

    /// Notes whether the job is kept for a client that is gone.
    pub(super) fn set_kept(&self, is_kept: bool) {
        self.is_kept.store(is_kept, Ordering::Relaxed);
    }

    /// Notes that an operator ends the job. Returns whether none did before.
    pub(crate) fn set_killed(&self) -> bool {
        !self.is_killed.swap(true, Ordering::Relaxed)
    }

    /// Returns the facts of this moment.
    pub(crate) fn facts(&self) -> JobFacts {
        let About { job, user, address, account, command, asked_at } = self.about.clone();
        let stage = usize::from(self.stage.load(Ordering::Relaxed));
        let (pid, started_at) =
            (self.pid.load(Ordering::Relaxed), self.started_at.load(Ordering::Relaxed));
        JobFacts {
            job,
            state: JobStage::ALL.get(stage).copied().unwrap_or_default(),
            asked_at,
            started_at: (started_at > 0).then_some(started_at),
            pid: (pid > 0).then_some(pid),
            user,
            address,
            account,
            kept: self.is_kept(),
            command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told_as_it_was_noted() {
        let card = Card::new(About { job: "j".to_owned(), ..About::default() });
        assert_eq!(card.facts().state, JobStage::Judging);
        for stage in JobStage::ALL {
            card.set_stage(stage);
            assert_eq!(card.facts().state, stage);
            let json = serde_json::to_value(stage).unwrap();
            assert_eq!(json, stage.as_str());
        }
        assert_eq!((card.facts().pid, card.facts().started_at), (None, None));
        assert!(card.set_killed() && !card.set_killed());
        card.set_running(7, 9);
        card.set_kept(true);
        let facts = card.facts();
        assert_eq!((facts.pid, facts.started_at, facts.kept), (Some(7), Some(9), true));
    }
}
