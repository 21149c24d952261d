//! A record for people: in columns, or in short lines for a narrow terminal.

use rcmd_certs::text::{columns_of, escaped};

/// The length of a day in a time of the log, as in `2026-11-21`.
const DAY: usize = 10;
/// The length of a time of the log down to the second.
const SECOND: usize = 19;

/// The beginning of a line that goes on with the record above it.
const INDENT: &str = "          ";

/// The facts of a record that are shown. An empty text stands for a fact that the record does not have.
pub(super) struct Row<'a> {
    /// The time as RFC 3339 has it, in UTC.
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
    /// Returns the row as one line, without its end: always the same columns, `-` for a fact that is not there. On
    /// a terminal of `width` columns a longer row goes on below, set in.
    pub(super) fn columns(&self, width: Option<usize>) -> String {
        let Self { peer, what, command, .. } = self;
        let second = self.time.get(..SECOND).unwrap_or(self.time);
        let [address, account, job] = [self.address, self.account, self.job].map(or_dash);
        let row = format!(
            "{second}Z  {peer:<12}  {account:<8}  {address:<21}  {job:<16}  {what:<12}  {command}"
        );
        let row = escaped(row.trim_end());
        match width {
            Some(width) => broken(&row, width),
            None => row,
        }
    }

    /// Returns the day of the row.
    pub(super) fn day(&self) -> &str {
        self.time.get(..DAY).unwrap_or(self.time)
    }

    /// Returns the row as lines of at most `width` columns: who, from where and which job; below, set in, what
    /// happened and the command. A record that is about no command has no such second part.
    pub(super) fn narrow(&self, width: usize) -> String {
        let Self { peer, what, command, .. } = self;
        let facts = [self.address, self.account, self.job, self.command];
        let time = self.time.get(DAY + 1..SECOND).unwrap_or(self.time);
        if facts.iter().all(|fact| fact.is_empty()) {
            return broken(&escaped(&format!("{time}  {peer:<12}  {what}")), width) + "\n";
        }
        let [address, account, job] = [self.address, self.account, self.job].map(or_dash);
        let who = format!("{time}  {peer:<12}  {account:<8}  {address:<21}  {job}");
        let between = if command.is_empty() { "" } else { ":  " };
        let below = format!("{INDENT}{what}{between}{command}");
        let [who, below] = [who, below].map(|text| broken(&escaped(text.trim_end()), width));
        format!("{who}\n{below}\n")
    }
}

/// Breaks a line at `width` columns. What follows is set in: a terminal would begin it where records begin, and
/// a command could then hold the text of other records.
fn broken(line: &str, width: usize) -> String {
    let width = width.max(2 * INDENT.len());
    let (mut text, mut used) = (String::with_capacity(line.len()), 0);
    for character in line.chars() {
        let columns = columns_of(character);
        if used + columns > width {
            text.push('\n');
            text.push_str(INDENT);
            used = INDENT.len();
        }
        text.push(character);
        used += columns;
    }
    text
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
        let narrow = ROW.narrow(80);
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
        let columns = ROW.columns(None);
        assert!(columns.starts_with("2026-11-28T06:01:02Z  alice"), "{columns}");
        for fact in [ROW.account, ROW.address, ROW.job, ROW.what, ROW.command] {
            assert!(columns.contains(fact) && narrow.contains(fact), "{fact}");
        }
    }

    #[test]
    fn a_command_never_begins_a_line_where_records_begin() {
        // On 80 columns the forged record would begin a row.
        let filler = "x".repeat(80 - INDENT.len() - "exited 0, 12 ms:  ".len());
        let forged = format!("{filler}06:40:02  alice         root      192.0.2.7:50412");
        let row = Row { command: &forged, ..ROW };
        let narrow = row.narrow(80);
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(narrow.lines().skip(1).all(|line| line.starts_with(INDENT)), "{narrow}");
        for width in [0, 132, 200] {
            let lines = row.columns(Some(width));
            assert!(lines.lines().skip(1).all(|line| line.starts_with(INDENT)), "{lines}");
            assert_eq!(lines.replace(&format!("\n{INDENT}"), ""), row.columns(None));
        }
        let wide = Row { command: &"\u{6f22}".repeat(100), ..ROW }.narrow(80);
        let columns =
            |line: &str| line.chars().map(|c| 1 + usize::from(!c.is_ascii())).sum::<usize>();
        assert!(wide.lines().all(|line| columns(line) <= 80), "{wide}");
    }

    #[test]
    fn a_record_about_no_command_has_one_line_and_control_characters_are_escaped() {
        let row = Row { address: "", account: "", job: "", command: "", peer: "-", ..ROW };
        assert_eq!(row.narrow(80), "06:01:02  -             exited 0, 12 ms\n");
        let row = Row { command: "\u{1b}[2J\nx", ..ROW };
        assert_eq!(row.narrow(80).lines().count(), 2);
        assert!(
            !row.narrow(80).contains('\u{1b}') && !row.columns(None).contains(['\u{1b}', '\n'])
        );
        let odd = Row { time: "?", ..ROW };
        assert!(odd.narrow(80).starts_with("?  alice") && odd.day() == "?");
    }
}
