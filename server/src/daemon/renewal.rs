//! Renewal of the server's certificate and of revocation lists while the server runs, on the thread
//! of `upkeep`; only the first list is fetched before.

use std::time::Duration;

use rcmd_certs::{
    Layout,
    clock::{self, BACKDATE, span},
    enroll::{EnrollError, Kind, Member},
    tls,
};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::{
    state::ServerState,
    trust::{InstallError, age},
};

/// The longest sleep before the clock is read again, because it may be set meanwhile.
const LOOK: Duration = Duration::from_secs(60);
/// The maximum time for fetching the first list, before the server listens.
const FIRST_LIST: Duration = Duration::from_secs(5);
/// The shortest and the longest pause between attempts to reach the authority.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The dates of a certificate, in Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dates {
    life: u64,
    /// The time of the renewal, without jitter.
    due: i64,
    end: i64,
}

impl Dates {
    fn of(not_before: i64, not_after: i64) -> Self {
        // Certificates are valid from a little before they were signed.
        let begin = not_before.saturating_add_unsigned(BACKDATE.as_secs()).min(not_after);
        let life = not_after.abs_diff(begin);
        Self { life, due: begin.saturating_add_unsigned(life / 3 * 2), end: not_after }
    }
}

/// Fetches a list before the server listens, if the server has no valid one.
pub(super) async fn begin(layout: &Layout, state: &ServerState) {
    let stale = |lists: rcmd_certs::crl::CrlSet| lists.next_update() < clock::now_unix();
    if !state.trust.lists().is_none_or(stale) {
        return;
    }
    let Ok(Some(member)) = Member::load(layout, Kind::Server) else { return };
    match timeout(FIRST_LIST, member.fetch_lists(0)).await {
        Ok(Ok(Some(lists))) => taken(state.trust.install(lists)),
        Ok(Ok(None)) => {}
        Ok(Err(error)) => {
            error!(%error, "no revocation list: only clients with an emergency certificate are let in")
        }
        Err(_) => error!(
            "no revocation list in time: only clients with an emergency certificate are let in"
        ),
    }
}

/// Renews the certificate of an enrolled server, follows the lists, and warns about their age. Has
/// nothing to do for a server that never enrolled. Never returns.
pub(super) async fn tend(layout: &Layout, state: &ServerState) {
    match Member::load(layout, Kind::Server) {
        Ok(Some(_)) => {
            tokio::join!(renew(layout, state), follow_lists(layout, state), watch_age(state));
        }
        Ok(None) => {}
        Err(error) => {
            error!(%error, "this server neither renews its certificate nor learns of revocations")
        }
    }
    std::future::pending().await
}

/// Renews the certificate after two thirds of its life, with jitter, so that the servers of a fleet
/// do not all renew at once.
async fn renew(layout: &Layout, state: &ServerState) {
    let mut failures = 0_u32;
    loop {
        let dates = match tls::load_leaf(&layout.server_cert()) {
            Ok(leaf) => Dates::of(leaf.not_before, leaf.not_after),
            Err(error) => {
                error!(%error, "the server's certificate cannot be read and so is not renewed");
                sleep(LOOK).await;
                continue;
            }
        };
        let jitter = i64::try_from(random_below(dates.life / 12 + 1)).unwrap_or(0);
        wait_until(dates.due.saturating_add(jitter)).await;
        match renew_once(layout).await {
            Ok(()) => {
                failures = 0;
                state.jobs.audit.enrollment("renewal", None);
                match state.reload_trust("renewed certificate") {
                    Ok(()) => info!("certificate renewed; no connection was dropped"),
                    Err(error) => {
                        error!(%error, "renewed certificate not usable; the old one stays in use")
                    }
                }
            }
            Err(error) => {
                failures += 1;
                // Recorded once, however many attempts fail.
                if failures == 1 {
                    state.jobs.audit.enrollment("renewal", Some(error.to_string()));
                }
                let left = dates.end.saturating_sub(clock::now_unix());
                let left = u64::try_from(left).map_or_else(|_| "none".to_owned(), span);
                error!(%error, left, failures, "certificate not renewed; trying again");
                // Often enough before the certificate expires, without a burden on the authority.
                let pause = Duration::from_secs((dates.life / 50).clamp(1, 600));
                sleep(pause).await;
            }
        }
    }
}

async fn renew_once(layout: &Layout) -> Result<(), EnrollError> {
    let kind = Kind::Server;
    let member = Member::load(layout, kind)?
        .ok_or_else(|| EnrollError::NotEnrolled { path: layout.contact(kind), kind })?;
    let fetched = member.renew().await?;
    if let Some(clock) = fetched.clock {
        warn!("{clock}");
    }
    Ok(())
}

/// Keeps a connection to the authority, which sends new lists as soon as they are made.
async fn follow_lists(layout: &Layout, state: &ServerState) {
    let mut pause = PAUSES.0;
    loop {
        let number = || state.trust.lists().map_or(0, |lists| lists.number());
        let followed = async {
            let kind = Kind::Server;
            let member = Member::load(layout, kind)?
                .ok_or_else(|| EnrollError::NotEnrolled { path: layout.contact(kind), kind })?;
            let mut watch = member.watch().await?;
            let mut newest = number();
            loop {
                let lists = watch.next(newest).await?;
                newest = lists.number().max(newest);
                pause = PAUSES.0;
                if Member::load(layout, kind)?.is_some_and(|member| member.is_to_move(&lists)) {
                    move_over(layout, state).await;
                }
                taken(state.trust.install(lists));
            }
        };
        let ended: Result<std::convert::Infallible, EnrollError> = followed.await;
        let Err(error) = ended;
        let in_use = state.trust.lists().as_ref().map_or_else(|| "none".to_owned(), age);
        warn!(%error, in_use, "not connected to the authority; trying again");
        sleep(pause + Duration::from_millis(random_below(500))).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Renews the certificate because the authority has changed its roots or its signing root: the
/// renewal brings both.
async fn move_over(layout: &Layout, state: &ServerState) {
    // The whole fleet receives the list at once.
    sleep(Duration::from_millis(random_below(500))).await;
    match renew_once(layout).await {
        Ok(()) => match state.reload_trust("the authority's new root") {
            Ok(()) => info!("moved over to the authority's new root"),
            Err(error) => error!(%error, "the authority's new root is not in use"),
        },
        Err(error) => {
            error!(%error, "not moved over to the authority's new root; the next list tries again")
        }
    }
}

fn taken(result: Result<(), InstallError>) {
    match result {
        Ok(()) => {}
        Err(InstallError::Refused(error)) => {
            error!(%error, "revocation list refused; the last good one stays")
        }
        Err(error) => error!(%error, "revocation list"),
    }
}

/// The state of the lists by their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Good,
    LastThird,
    Over,
}

/// Warns when a third of a list's life is left, and when peers are refused because it has expired.
async fn watch_age(state: &ServerState) {
    let mut told = Age::Good;
    loop {
        if let Some(lists) = state.trust.lists() {
            let life = lists.next_update().saturating_sub(lists.this_update());
            let left = lists.next_update().saturating_sub(clock::now_unix());
            let now = match left {
                ..0 => Age::Over,
                left if left < life / 3 => Age::LastThird,
                _ => Age::Good,
            };
            if now != told {
                let (left, in_use) = (span(u64::try_from(left).unwrap_or(0)), age(&lists));
                match now {
                    Age::Good => info!(in_use, "the revocation list is fresh again"),
                    Age::LastThird => warn!(
                        in_use,
                        left,
                        "the revocation list expires soon, and then no client is let in; is `rcmd-certs serve` reachable?"
                    ),
                    Age::Over => error!(
                        in_use,
                        "the revocation list is past its date: new peers are refused, emergencies apart"
                    ),
                }
                told = now;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until the clock shows `time`; the clock may be set meanwhile.
async fn wait_until(time: i64) {
    loop {
        match u64::try_from(time.saturating_sub(clock::now_unix())) {
            Ok(left) if left > 0 => sleep(Duration::from_secs(left).min(LOOK)).await,
            _ => return,
        }
    }
}

/// Returns a random number below `bound`, or 0 if the system provides none, which only loses the
/// jitter.
fn random_below(bound: u64) -> u64 {
    getrandom::u64().unwrap_or(0) % bound.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_renewed_after_two_thirds_of_it() {
        let (begin, week) = (1_000_000, 7 * 86_400);
        let dates = Dates::of(begin - 300, begin + week);
        assert_eq!(dates.life, 604_800);
        assert_eq!(dates.due, begin + 403_200);
    }

    #[test]
    fn a_certificate_shorter_than_its_backdating_is_due_at_its_end() {
        assert_eq!(Dates::of(0, 10), Dates { life: 0, due: 10, end: 10 });
    }
}
