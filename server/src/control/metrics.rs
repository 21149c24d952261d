//! The state of the server as Prometheus reads it: in its text form, version 0.0.4, and as OpenMetrics,
//! version 1.0.0.
//!
//! No label's value comes from a peer: there are as many series, whoever connects.

use std::fmt::{Display, Write as _};

use crate::{
    job::counts::{NamedCount, SPAWN_BOUNDS},
    state::Snapshot,
};

/// The form of a page of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// The text form.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

impl Form {
    /// Returns the form that the header `Accept` prefers.
    pub(super) fn of(accept: &str) -> Self {
        let quality = |of: &str| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                parts.next().filter(|name| name.eq_ignore_ascii_case(of))?;
                let quality = parts.find_map(|part| part.strip_prefix("q="));
                Some(quality.map_or(1.0, |quality| quality.trim().parse().unwrap_or(0.0)))
            });
            ranges.fold(0.0_f64, f64::max)
        };
        let open = quality("application/openmetrics-text");
        if open > 0.0 && open >= quality("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    /// Returns the media type of a page.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A page of metrics that is being written.
struct Page {
    form: Form,
    text: String,
}

/// Returns a server's state as a page of metrics.
pub(super) fn page(of: &Snapshot, form: Form) -> String {
    let mut page = Page { form, text: String::with_capacity(8192) };
    page.info("rcmd_build", "The version of the program.", "version", &of.version);
    page.gauge("rcmd_start_timestamp_seconds", "The start of the server, in Unix time.", of.since);
    page.gauge(
        "rcmd_draining",
        "1 once the server stops and starts no command.",
        flag(of.draining),
    );
    connections(of, &mut page);
    commands(of, &mut page);
    audit(of, &mut page);
    page.gauge("rcmd_policy_rules", "The rules of the policy in use.", of.rules);
    for (name, help, date) in [
        (
            "rcmd_certificate_expiry_timestamp_seconds",
            "The date at which the server's certificate expires, in Unix time.",
            of.certificate_expiry,
        ),
        (
            "rcmd_revocation_list_expiry_timestamp_seconds",
            "The date after which no client is let in without a newer revocation list, in Unix time.",
            of.list_expiry,
        ),
    ] {
        if let Some(date) = date {
            page.gauge(name, help, date);
        }
    }
    page.end()
}

fn connections(of: &Snapshot, page: &mut Page) {
    page.gauge(
        "rcmd_connections",
        "Connections of peers that have shown who they are.",
        of.connections,
    );
    page.gauge("rcmd_connections_limit", "The maximum of connections.", of.limits.connections);
    page.counter(
        "rcmd_connections_accepted",
        "Connections that were accepted, from whomever.",
        of.accepted,
    );
    page.counters(
        "rcmd_handshake_failures",
        "Peers that were sent away before their connection was served.",
        "kind",
        &of.handshake_failures,
    );
}

fn commands(of: &Snapshot, page: &mut Page) {
    let counts = &of.commands;
    page.gauge("rcmd_commands_running", "Commands that run.", of.running);
    page.gauge(
        "rcmd_commands_running_limit",
        "The maximum of commands that run.",
        of.limits.running,
    );
    page.gauge("rcmd_commands_queued", "Commands that wait for a turn or for a lock.", of.queued);
    page.gauge(
        "rcmd_commands_queued_limit",
        "The maximum of commands that wait.",
        of.limits.queued,
    );
    page.gauge("rcmd_commands_kept", "Commands whose client is gone and may come back.", of.kept);
    page.counter("rcmd_commands_started", "Commands whose process was started.", counts.started);
    page.counters(
        "rcmd_commands_ended",
        "Commands whose process was started and that have ended.",
        "outcome",
        &counts.ended,
    );
    page.counters(
        "rcmd_commands_refused",
        "Requests whose command was not started.",
        "kind",
        &counts.refused,
    );
    page.counter(
        "rcmd_stdin_bytes",
        "Bytes that commands took as standard input.",
        counts.stdin_bytes,
    );
    let output = [("stdout", counts.stdout_bytes), ("stderr", counts.stderr_bytes)];
    let output = output.map(|(name, count)| NamedCount { name: name.to_owned(), count });
    page.counters("rcmd_output_bytes", "Bytes that commands wrote.", "stream", &output);
    let name = "rcmd_spawn_duration_seconds";
    page.family(name, "histogram", "The time that it took to start a process.");
    for (bound, count) in SPAWN_BOUNDS.iter().zip(&counts.spawns) {
        page.sample(&format!("{name}_bucket"), Some(("le", &seconds(*bound))), count);
    }
    page.sample(&format!("{name}_bucket"), Some(("le", "+Inf")), counts.started);
    page.sample(&format!("{name}_sum"), None, seconds(counts.spawn_us));
    page.sample(&format!("{name}_count"), None, counts.started);
}

fn audit(of: &Snapshot, page: &mut Page) {
    page.gauge("rcmd_audit_writable", "1 while the audit can be written.", flag(!of.audit.failing));
    page.counter(
        "rcmd_audit_failures",
        "Times that the audit could no longer be written.",
        of.audit.failures,
    );
    page.gauge("rcmd_audit_waiting_records", "Records that wait to be written.", of.audit.waiting);
    page.gauge(
        "rcmd_audit_unsynced_records",
        "Records that were written and may not be on disk yet.",
        of.audit.unsynced,
    );
    page.gauge(
        "rcmd_audit_disk_scarce",
        "1 while little room is left on the disk of the audit.",
        flag(of.audit.scarce),
    );
}

fn flag(is_set: bool) -> u8 {
    u8::from(is_set)
}

/// Returns microseconds as seconds.
fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

impl Page {
    /// Begins a family of samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: impl Display) {
        let _ = match label {
            Some((label, of)) => writeln!(self.text, "{name}{{{label}=\"{of}\"}} {value}"),
            None => writeln!(self.text, "{name} {value}"),
        };
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, None, value);
    }

    /// Adds a counter, whose sample has `_total` behind its name. In OpenMetrics the family has the name
    /// without that.
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let sample = self.counter_family(name, help);
        self.sample(&sample, None, value);
    }

    /// Adds counters that one label tells apart.
    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[NamedCount]) {
        let sample = self.counter_family(name, help);
        for NamedCount { name, count } in values {
            self.sample(&sample, Some((label, name)), count);
        }
    }

    fn counter_family(&mut self, name: &str, help: &str) -> String {
        let sample = format!("{name}_total");
        let family = if self.form == Form::Text { &sample } else { name };
        self.family(family, "counter", help);
        sample
    }

    /// Adds a constant whose label is what matters. In the text form it is a gauge.
    fn info(&mut self, name: &str, help: &str, label: &str, value: &str) {
        let sample = format!("{name}_info");
        match self.form {
            Form::Text => self.family(&sample, "gauge", help),
            Form::OpenMetrics => self.family(name, "info", help),
        }
        self.sample(&sample, Some((label, value)), 1);
    }

    fn end(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_preferred() {
        let prometheus = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, form) in [
            ("", Form::Text),
            ("*/*", Form::Text),
            (prometheus, Form::OpenMetrics),
            ("application/openmetrics-text; version=1.0.0", Form::OpenMetrics),
            ("text/plain, application/openmetrics-text;q=0.5", Form::Text),
            ("application/openmetrics-text;q=0", Form::Text),
            ("application/openmetrics-text;q=x,;;,q=1", Form::Text),
        ] {
            assert_eq!(Form::of(accept), form, "{accept}");
        }
    }

    #[test]
    fn times_are_seconds() {
        let shown = [0, 500, 1_000_000, 20_000_000, 1_500_000].map(seconds);
        assert_eq!(shown, ["0.0", "0.0005", "1.0", "20.0", "1.5"]);
    }
}
