//! A request as records contain it: whole, or its beginning.
//!
//! Before a request is judged, only its beginning is recorded, so that an identity that may run
//! nothing can't fill the disk. A request that is then started is recorded whole.

use rcmd_protocol::{frame::Mode, request::Request};

use super::{Audit, record::Asked, redact::Redactor, text::Text};

/// The maximum bytes of a request that are recorded before it is judged.
pub(super) const BEGINNING: usize = 1024;
/// The maximum bytes of a request that are recorded for a dry run.
pub(super) const OF_A_QUESTION: usize = 256;
/// The maximum bytes of a request that operators are shown, and the maximum characters of it.
const SHOWN: usize = 256;

/// Returns the bytes of a request's strings, each with its NUL, as they are sent.
pub(super) fn size(request: &Request) -> usize {
    let strings = request.args().iter().chain(request.env()).map(Vec::as_slice);
    strings.chain(request.cwd()).chain(request.user()).map(|string| string.len() + 1).sum()
}

impl Audit {
    /// Returns the beginning of a request's command for people, on one line without control
    /// characters, and without what the settings redact.
    pub fn shown(&self, request: &Request) -> String {
        let asked = Asked::of(request, &self.settings.redactor, SHOWN);
        let mut shown = command(request.mode() == Mode::Shell, &asked.args, SHOWN);
        if size(request) > SHOWN && !shown.ends_with('…') {
            shown.push('…');
        }
        shown
    }
}

impl Asked {
    /// Returns the first `limit` bytes of a request, in the order of arguments, user, folder and
    /// environment.
    pub(super) fn of(request: &Request, redactor: &Redactor, limit: usize) -> Self {
        let mut left = limit;
        let mut cut = |string| beginning(string, &mut left);
        let args: Vec<_> = request.args().iter().map_while(|arg| cut(arg)).collect();
        let user = request.user().and_then(&mut cut);
        let cwd = request.cwd().and_then(&mut cut);
        let env: Vec<_> = request.env().iter().map_while(|setting| cut(setting)).collect();
        Self {
            args: match (request.mode(), args.as_slice()) {
                (Mode::Shell, [line]) => vec![redactor.line(line)],
                (_, args) => redactor.args(args),
            },
            env: redactor.env(&env),
            cwd: cwd.map(Text::of),
            user: user.map(Text::of),
        }
    }
}

/// Returns a command for people: a line behind a `$`, a program with its arguments quoted where a shell
/// would need it. What follows the first `longest` characters is left out.
pub(super) fn command(is_line: bool, args: &[Text], longest: usize) -> String {
    let mut shown = match args {
        [line] if is_line => format!("$ {}", line.shown()),
        args => args.iter().map(quoted).collect::<Vec<_>>().join(" "),
    };
    if let Some((cut, _)) = shown.char_indices().nth(longest) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

/// Quotes a word as a shell would need it, so that its ends can be seen.
fn quoted(word: &Text) -> String {
    let shown = word.shown();
    let plain = |c: char| c.is_alphanumeric() || "%+,-./:=@_*".contains(c);
    if !shown.is_empty() && shown.chars().all(plain) {
        return shown;
    }
    format!("'{}'", shown.replace('\'', "'\\''"))
}

/// Returns as much of a string as `left` permits; text is not cut within a character.
fn beginning<'a>(string: &'a [u8], left: &mut usize) -> Option<&'a [u8]> {
    if *left == 0 {
        return None;
    }
    let room = std::mem::replace(left, left.saturating_sub(string.len() + 1));
    let Some(cut) = string.get(..room).filter(|cut| cut.len() < string.len()) else {
        return Some(string);
    };
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => cut.get(..error.valid_up_to()),
        _ => Some(cut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: &Request, limit: usize) -> Asked {
        Asked::of(request, &Redactor::default(), limit)
    }

    #[test]
    fn of_a_large_request_the_beginning_is_kept_and_no_character_is_cut() {
        let mut builder = Request::exec(["cat", "zoë", "last"]);
        builder.user("bob").cwd("/srv").env("A=1").env("B=2");
        let request = builder.build().unwrap();
        let all = asked(&request, usize::MAX);
        assert_eq!((all.args.len(), all.env.len()), (3, 2));
        assert_eq!(size(&request), b"cat.zo..last.bob./srv.A=1.B=2.".len() + 1);
        assert_eq!(asked(&request, size(&request)), all);
        let shown = |limit| {
            let some = asked(&request, limit);
            let strings = some.args.iter().chain(&some.user).chain(&some.cwd).chain(&some.env);
            strings.map(Text::shown).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([shown(1), shown(4), shown(7)], ["c", "cat", "cat zo"]);
        assert_eq!(shown(16), "cat zoë last bo");
        assert_eq!(shown(27), "cat zoë last bob /srv A=1");
        assert_eq!(asked(&Request::shell("echo x").build().unwrap(), 3).args, [Text::of(b"ech")]);
    }

    #[test]
    fn a_secret_is_hidden_also_where_the_request_is_cut() {
        let redactor = Redactor::new(&["--password=*".to_owned()]).unwrap();
        let request = Request::shell("x --password='hunter2 2hunter' y").build().unwrap();
        for limit in 1..size(&request) {
            let text = serde_json::to_string(&Asked::of(&request, &redactor, limit)).unwrap();
            assert!(!text.contains("hun"), "{text}");
        }
    }
}
