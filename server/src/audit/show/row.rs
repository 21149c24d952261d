//! A record for people: in columns, or in short lines for a narrow terminal.

use rcmd_certs::text::escaped;

/// The length of a day in a time of the log, as in `2026-11-21`.
const DAY: usize = 10;
/// The length of a time of the log down to the second.
const SECOND: usize = 19;

/// The facts of a record that are shown. An empty text stands for a fact that the record does not have.
pub(super) struct Row<'a> {
    /// RFC 3339, in UTC.
    pub(super) time: &'a str,
    pub(super) peer: &'a str,
    pub(super) address: &'a str,
    pub(super) account: &'a str,
    pub(super) job: &'a str,
    /// The event, such as the end of the command.
    pub(super) what: &'a str,
    pub(super) command: &'a str,
}

impl Row<'_> {
    /// Returns the row as one line, without its end: always the same columns, `-` for a fact that is not there.
    pub(super) fn columns(&self) -> String {
        let Self { peer, what, command, .. } = self;
        let second = self.time.get(..SECOND).unwrap_or(self.time);
        let [address, account, job] = [self.address, self.account, self.job].map(or_dash);
        let row = format!(
            "{second}Z  {peer:<12}  {account:<8}  {address:<21}  {job:<16}  {what:<12}  {command}"
        );
        escaped(row.trim_end())
    }

    /// Returns the day of the row.
    pub(super) fn day(&self) -> &str {
        self.time.get(..DAY).unwrap_or(self.time)
    }

    /// Returns the row as lines of at most 80 columns, unless a name, what happened or the command is longer:
    /// who, from where and which job; below, set in, what happened and the command. A record that is about
    /// no command has one line.
    pub(super) fn narrow(&self) -> String {
        let Self { peer, what, command, .. } = self;
        let facts = [self.address, self.account, self.job, self.command];
        let time = self.time.get(DAY + 1..SECOND).unwrap_or(self.time);
        if facts.iter().all(|fact| fact.is_empty()) {
            return escaped(&format!("{time}  {peer:<12}  {what}")) + "\n";
        }
        let [address, account, job] = [self.address, self.account, self.job].map(or_dash);
        let who = format!("{time}  {peer:<12}  {account:<8}  {address:<21}  {job}");
        let between = if command.is_empty() { "" } else { ":  " };
        let below = format!("          {what}{between}{command}");
        format!("{}\n{}\n", escaped(who.trim_end()), escaped(below.trim_end()))
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row<'_> = Row {
        time: "2026-11-28T06:01:02.345Z",
        peer: "alice",
        address: "192.0.2.200:51234",
        account: "root",
        job: "0123456789abcdef",
        what: "exited 0, 12 ms",
        command: "systemctl restart nginx",
    };

    #[test]
    fn a_narrow_row_fits_eighty_columns_and_has_all_that_the_columns_have() {
        let narrow = ROW.narrow();
        let lines: Vec<_> = narrow.lines().collect();
        assert_eq!(
            lines,
            [
                "06:01:02  alice         root      192.0.2.200:51234      0123456789abcdef",
                "          exited 0, 12 ms:  systemctl restart nginx",
            ]
        );
        assert!(lines.iter().all(|line| line.len() <= 80));
        assert_eq!(ROW.day(), "2026-11-28");
        let columns = ROW.columns();
        assert!(columns.starts_with("2026-11-28T06:01:02Z  alice"), "{columns}");
        for fact in [ROW.account, ROW.address, ROW.job, ROW.what, ROW.command] {
            assert!(columns.contains(fact) && narrow.contains(fact), "{fact}");
        }
    }

    #[test]
    fn a_record_about_no_command_has_one_line_and_control_characters_are_escaped() {
        let row = Row { address: "", account: "", job: "", command: "", peer: "-", ..ROW };
        assert_eq!(row.narrow(), "06:01:02  -             exited 0, 12 ms\n");
        let row = Row { command: "\u{1b}[2J\nx", ..ROW };
        assert_eq!(row.narrow().lines().count(), 2);
        assert!(!row.narrow().contains('\u{1b}') && !row.columns().contains(['\u{1b}', '\n']));
        let odd = Row { time: "?", ..ROW };
        assert!(odd.narrow().starts_with("?  alice") && odd.day() == "?");
    }
}
