//! Changes of permission bits, as people type them for `chmod` and `rsync --chmod`: octal or symbolic, several of them
//! with commas between, and `D` or `F` before one that is for folders or for files alone.

use std::str::FromStr;

/// The bytes of a change at most.
pub(crate) const LONGEST: usize = 256;

/// The permission bits of owner, group and others.
const ALL: u32 = 0o777;

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange {
    text: String,
    clauses: Vec<Clause>,
}

/// A text that is no change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no mode")]
pub struct ModeError(String);

/// What one part between commas does, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause {
    files: bool,
    folders: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The bits are these.
    Octal(u32),
    Symbolic {
        who: Who,
        operator: Operator,
        bits: Bits,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Who {
    owner: bool,
    group: bool,
    others: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    /// Read 4, write 2, execute 1; execute where anybody may or in a folder; setuid and setgid; sticky.
    Named { triple: u32, execute_if: bool, set_id: bool, sticky: bool },
    /// Those that one of the three has, by the place of its lowest bit.
    Of(u32),
}

impl ModeChange {
    /// Returns the text that it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns what it makes of the bits of a file or a folder. The umask counts where nobody is named, as in `+w`.
    #[must_use]
    pub fn apply(&self, mode: u32, is_folder: bool, umask: u32) -> u32 {
        let meant = |clause: &&Clause| if is_folder { clause.folders } else { clause.files };
        let steps = self.clauses.iter().filter(meant).flat_map(|clause| &clause.steps);
        steps.fold(mode & 0o7777, |mode, step| step.apply(mode, is_folder, umask))
    }
}

impl FromStr for ModeChange {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let clauses: Option<Vec<_>> = text.split(',').map(clause).collect();
        match clauses.filter(|_| text.len() <= LONGEST) {
            Some(clauses) => Ok(Self { text: text.to_owned(), clauses }),
            None => Err(ModeError(text.chars().take(LONGEST).collect())),
        }
    }
}

/// Reads one part.
fn clause(text: &str) -> Option<Clause> {
    let (files, folders, text) = match text.split_at_checked(1) {
        Some(("D", rest)) => (false, true, rest),
        Some(("F", rest)) => (true, false, rest),
        _ => (true, true, text),
    };
    let is_octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let steps = if is_octal {
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777)?;
        vec![Step::Octal(bits)]
    } else {
        symbolic(text)?
    };
    Some(Clause { files, folders, steps })
}

/// Reads whom it is about, and one operator with bits or several.
fn symbolic(text: &str) -> Option<Vec<Step>> {
    let start = text.find(['+', '-', '='])?;
    let (named, mut rest) = text.split_at_checked(start)?;
    let mut who = Who::default();
    for letter in named.chars() {
        match letter {
            'u' => who.owner = true,
            'g' => who.group = true,
            'o' => who.others = true,
            'a' => who = Who { owner: true, group: true, others: true },
            _ => return None,
        }
    }
    let mut steps = Vec::new();
    while let Some((operator, after)) = rest.split_at_checked(1) {
        let operator = match operator {
            "+" => Operator::Add,
            "-" => Operator::Remove,
            "=" => Operator::Set,
            _ => return None,
        };
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        let (letters, after) = after.split_at_checked(end)?;
        steps.push(Step::Symbolic { who, operator, bits: bits(letters)? });
        rest = after;
    }
    Some(steps)
}

/// Reads bits: letters, or one of `u`, `g` and `o`, whose bits are meant then.
fn bits(letters: &str) -> Option<Bits> {
    match letters {
        "u" => return Some(Bits::Of(6)),
        "g" => return Some(Bits::Of(3)),
        "o" => return Some(Bits::Of(0)),
        _ => {}
    }
    let (mut triple, mut execute_if, mut set_id, mut sticky) = (0, false, false, false);
    for letter in letters.chars() {
        match letter {
            'r' => triple |= 4,
            'w' => triple |= 2,
            'x' => triple |= 1,
            'X' => execute_if = true,
            's' => set_id = true,
            't' => sticky = true,
            _ => return None,
        }
    }
    Some(Bits::Named { triple, execute_if, set_id, sticky })
}

impl Who {
    fn is_nobody(self) -> bool {
        self == Self::default()
    }

    /// Returns all bits that belong to these, those of setuid, setgid and sticky among them.
    fn all(self) -> u32 {
        let is_all = self.is_nobody();
        let bits = |is_named: bool, bits: u32| if is_named || is_all { bits } else { 0 };
        bits(self.owner, 0o4700) | bits(self.group, 0o2070) | bits(self.others, 0o1007)
    }
}

impl Step {
    fn apply(self, mode: u32, is_folder: bool, umask: u32) -> u32 {
        let (who, operator, bits) = match self {
            Self::Octal(bits) => return bits,
            Self::Symbolic { who, operator, bits } => (who, operator, bits),
        };
        let (triple, set_id, sticky) = match bits {
            Bits::Of(shift) => (mode >> shift & 7, false, false),
            Bits::Named { triple, execute_if, set_id, sticky } => {
                let executes = execute_if && (is_folder || mode & 0o111 != 0);
                (triple | u32::from(executes), set_id, sticky)
            }
        };
        let mut bits = triple << 6 | triple << 3 | triple;
        bits |= if set_id { 0o6000 } else { 0 } | if sticky { 0o1000 } else { 0 };
        bits &= who.all();
        if who.is_nobody() {
            bits &= !(umask & ALL);
        }
        match operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => mode & !who.all() | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, mode: u32, is_folder: bool) -> u32 {
        text.parse::<ModeChange>().unwrap().apply(mode, is_folder, 0o022)
    }

    #[test]
    fn files_change_as_chmod_changes_them() {
        for (text, mode, expected) in [
            ("644", 0o755, 0o644),
            ("0600", 0o4755, 0o600),
            ("04755", 0o644, 0o4755),
            ("u+x", 0o644, 0o744),
            ("go-rwx", 0o755, 0o700),
            ("a=r", 0o755, 0o444),
            ("u=rwx,go=rx", 0o600, 0o755),
            ("g=u", 0o740, 0o770),
            ("o=", 0o1777, 0o770),
            ("+x", 0o644, 0o755),
            ("+w", 0o444, 0o644),
            ("a+w", 0o444, 0o666),
            ("-w", 0o666, 0o466),
            ("=", 0o755, 0),
            ("a+X", 0o644, 0o644),
            ("a+X", 0o744, 0o755),
            ("u+rw-x", 0o100, 0o600),
            ("u+s", 0o755, 0o4755),
            ("g+s", 0o755, 0o2755),
            ("+s", 0o755, 0o6755),
            ("u-s", 0o4755, 0o755),
            ("+t", 0o755, 0o1755),
            ("u+t", 0o755, 0o755),
            ("D700,F600", 0o644, 0o600),
            ("Dg+s,Fgo-r", 0o644, 0o600),
        ] {
            assert_eq!(changed(text, mode, false), expected, "{text} {mode:o}");
        }
    }

    #[test]
    fn folders_have_changes_of_their_own() {
        for (text, mode, expected) in [
            ("a+X", 0o600, 0o711),
            ("D700,F600", 0o755, 0o700),
            ("F600", 0o755, 0o755),
            ("Dgo=,Dg+rx", 0o755, 0o750),
        ] {
            assert_eq!(changed(text, mode, true), expected, "{text} {mode:o}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        let long = "u+r,".repeat(100) + "u+r";
        for text in
            ["", "8", "x", "u", "u+z", "17777", "u+r,", ",", "ug", "u+ug", "u r", "D", "é+r", &long]
        {
            assert!(text.parse::<ModeChange>().is_err(), "{text}");
        }
        assert_eq!("u+z".parse::<ModeChange>().unwrap_err().to_string(), "`u+z` is no mode");
    }
}
