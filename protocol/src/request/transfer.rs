//! Requests to transfer files: a verb with its options and paths, read from the arguments.
//!
//! The arguments are the verb, then options, then `--`, then paths.

use super::bounds::within;
use crate::{
    limits,
    outcome::{ErrorKind, WireError},
};

/// A request to transfer files, as its arguments say it.
///
/// ```
/// use rcmd_protocol::request::{Request, TransferVerb};
///
/// let verb = TransferVerb::Send { is_literal: false };
/// let request = Request::transfer(verb, ["releases/"]).stdin(true).build()?;
/// assert_eq!(request.args(), [&b"send"[..], b"--", b"releases/"]);
/// let transfer = request.as_transfer();
/// assert!(transfer.is_some_and(|transfer| transfer.verb == verb && transfer.paths.len() == 1));
/// # Ok::<_, rcmd_protocol::outcome::WireError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransferRequest<'a> {
    /// The verb, with its options.
    pub verb: TransferVerb,
    /// The paths on the server's host, of any bytes but NUL: at least one, and one alone unless files are sent.
    pub paths: &'a [Vec<u8>],
}

/// What a server does in a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransferVerb {
    /// It receives files into the one path.
    Receive {
        /// True if the path is the place of the one source, whatever is there.
        is_itself: bool,
        /// True if there are several sources.
        has_several: bool,
        /// True if the client is told which parts the files have that are replaced: they are read then, too.
        is_delta: bool,
    },
    /// It sends what stands at the paths.
    Send {
        /// True if the characters `*`, `?` and `[` in the paths stand for themselves.
        is_literal: bool,
    },
    /// It lists what stands at the one path.
    List {
        /// True if all that is known of each entry is listed.
        is_long: bool,
    },
}

/// What ends the options.
const PATHS: &[u8] = b"--";

impl TransferVerb {
    /// Returns the verb's name, the first argument.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receive { .. } => "receive",
            Self::Send { .. } => "send",
            Self::List { .. } => "list",
        }
    }

    /// Returns the verb of this name, without options.
    fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"receive" => {
                Some(Self::Receive { is_itself: false, has_several: false, is_delta: false })
            }
            b"send" => Some(Self::Send { is_literal: false }),
            b"list" => Some(Self::List { is_long: false }),
            _ => None,
        }
    }

    /// Returns the options that the verb has, each with its place.
    fn options(&mut self) -> Vec<(&'static str, &mut bool)> {
        match self {
            Self::Receive { is_itself, has_several, is_delta } => {
                vec![("--itself", is_itself), ("--several", has_several), ("--delta", is_delta)]
            }
            Self::Send { is_literal } => vec![("--literal", is_literal)],
            Self::List { is_long } => vec![("--long", is_long)],
        }
    }

    /// Returns the arguments before the paths.
    pub(super) fn arguments(mut self) -> Vec<Vec<u8>> {
        let name = self.as_str();
        let given = self.options().into_iter().filter(|(_, is_given)| **is_given);
        let words = [name].into_iter().chain(given.map(|(option, _)| option)).map(str::as_bytes);
        words.chain([PATHS]).map(<[u8]>::to_vec).collect()
    }
}

impl<'a> TransferRequest<'a> {
    /// Reads a transfer from the arguments of a request.
    ///
    /// # Errors
    /// Fails with kind `usage` or `too_big`; the message names the argument.
    pub(super) fn parse(args: &'a [Vec<u8>]) -> Result<Self, WireError> {
        let usage = |message: String| WireError::new(ErrorKind::Usage, message);
        let (name, mut rest) =
            args.split_first().ok_or_else(|| usage("there is no verb".to_owned()))?;
        let mut verb = TransferVerb::parse(name).ok_or_else(|| {
            usage(format!("{} is no verb of a transfer", quoted(name)))
                .hint("The verbs are receive, send and list.")
        })?;
        loop {
            let (word, after) = rest.split_first().ok_or_else(|| {
                usage("a transfer names no paths".to_owned()).hint("They stand behind \"--\".")
            })?;
            rest = after;
            if word == PATHS {
                break;
            }
            let named = verb.options().into_iter().find(|(option, _)| option.as_bytes() == word);
            let Some((_, is_given)) = named else {
                let message = format!("{} has no option {}", verb.as_str(), quoted(word));
                return Err(
                    usage(message).hint("Leave it out, or update the side that does not know it.")
                );
            };
            *is_given = true;
        }
        check_paths(verb, rest)?;
        Ok(Self { verb, paths: rest })
    }
}

/// Checks the number of the paths, and the length of each.
fn check_paths(verb: TransferVerb, paths: &[Vec<u8>]) -> Result<(), WireError> {
    let most = match verb {
        TransferVerb::Send { .. } => limits::PATHS,
        TransferVerb::Receive { .. } | TransferVerb::List { .. } => 1,
    };
    if paths.is_empty() || paths.iter().any(Vec::is_empty) {
        let message = "a transfer names an empty path, or none";
        return Err(WireError::new(ErrorKind::Usage, message).hint("A home is named by \".\"."));
    }
    let too_big = |failure: WireError| failure.hint("Name the folder that holds them instead.");
    within(&format!("paths to {}", verb.as_str()), paths.len(), most).map_err(too_big)?;
    for path in paths {
        within("bytes in one path", path.len() + 1, limits::PATH).map_err(too_big)?;
    }
    Ok(())
}

fn quoted(word: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(word))
}
