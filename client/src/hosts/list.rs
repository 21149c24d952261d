//! Files with one expression on each line.

use std::path::Path;

use super::{
    error::{Fault, HostsError, Origin},
    evaluation::Evaluation,
    expression::Expression,
    limits::MAX_HOSTS,
    set::HostSet,
};

/// Adds the hosts of a file to `set`. Each line is an expression; `#` begins a comment. Blanks around expressions,
/// empty lines, CRLF, a byte order mark and a missing last newline are accepted. `file` is named in errors; `None`
/// stands for standard input.
///
/// # Errors
/// The fault, with its line.
pub fn read_list(
    text: &str,
    file: Option<&Path>,
    evaluation: &mut Evaluation<'_>,
    set: &mut HostSet,
) -> Result<(), HostsError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, number) in text.lines().zip(1..) {
        let shown = line.split('#').next().unwrap_or_default();
        let expression = shown.trim();
        if expression.is_empty() {
            continue;
        }
        let indent = shown.chars().take_while(|c| c.is_whitespace()).count();
        let here = |error: HostsError| match error.origin {
            Origin::Given { .. } => {
                let column = if error.column == 0 { 0 } else { error.column + indent };
                let origin = Origin::Line { file: file.map(Path::to_owned), line: number };
                HostsError { origin, column, ..error }
            }
            _ => error,
        };
        let hosts = Expression::parse(expression).and_then(|read| evaluation.evaluate(&read));
        set.extend(hosts.map_err(here)?.iter().cloned());
        if set.len() > MAX_HOSTS {
            let given = HostsError::given(expression, 1, Fault::TooMany(set.len() as u128));
            return Err(here(given));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;

    fn read(text: &str) -> Result<String, HostsError> {
        let inventory = Inventory::default();
        let mut set = HostSet::default();
        read_list(text, Some("F".as_ref()), &mut Evaluation::new(&inventory), &mut set)?;
        Ok(set.iter().map(|name| &**name).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn files_are_taken_as_people_have_them() {
        let text = "\u{feff}# racks [1-3] are down, see node[5\r\na1  # old\r\n\r\n  a2\r\na[2-3]";
        assert_eq!(read(text).unwrap(), "a1 a2 a3");
        assert_eq!(read("").unwrap(), "");
        assert_eq!(read("\n \n#x\n").unwrap(), "");
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        for (text, told) in [
            ("a1\n\n a1 root", "F:3:4: it contains a blank"),
            ("root@a1", "F:1:5: a name cannot contain a user"),
            ("a1\na[1-\n", "F:2:2: the bracket is not closed"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
        assert_eq!(read("root@a1").unwrap_err().fault.hint(), "Name the user with -l: -l root a1.");
    }
}
