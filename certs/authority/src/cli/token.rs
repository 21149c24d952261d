//! `token` and `bundle`: tokens that make machines and users members.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use rcmd_authority::state::{AdminClient, AdminRequest, AdminResponse, NewToken, parse_span};
use rcmd_certs::{
    enroll::token::Names,
    files::{self, Existing, FileError, NewFile, shown},
    names::{Kind, Pattern},
    paths::Layout,
};

use super::{error::Error, options::DirOption};

/// The default life of a bundle: an image is built today and booted this week.
const BUNDLE_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Debug, Subcommand)]
pub(super) enum Bearer {
    /// For a server
    Server {
        #[command(flatten)]
        names: NameOptions,
        #[command(flatten)]
        options: TokenOptions,
    },
    /// For the client of a user
    Client {
        #[command(flatten)]
        names: NameOptions,
        /// Group that the user belongs to; repeatable
        #[arg(long = "group", value_name = "G")]
        groups: Vec<String>,
        #[command(flatten)]
        options: TokenOptions,
    },
}

#[derive(Args, Debug)]
pub(super) struct NameOptions {
    /// Names for the certificate: of the server, as clients reach it, or of the user
    #[arg(required_unless_present = "each", value_name = "NAME")]
    names: Vec<String>,
    /// Names for many hosts or users, one for each use, as in 'web[01-50]'
    #[arg(long = "for", value_name = "PATTERN", conflicts_with = "names", id = "each")]
    each: Option<Pattern>,
    /// Uses of a token with --for [default: one for each name]
    #[arg(long, value_name = "N", requires = "each")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    uses: Option<u32>,
}

#[derive(Args, Debug)]
pub(super) struct TokenOptions {
    #[command(flatten)]
    dir: DirOption,
    /// Time until the token expires, as in 30m, 8h or 7d [default: token_life of authority.toml or 1h; a bundle: 7d]
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    expires: Option<Duration>,
    /// Address of the authority; repeatable [default: those that `serve` listens on]
    #[arg(long = "address", value_name = "HOST:PORT")]
    addresses: Vec<String>,
}

impl Bearer {
    fn into_token(self) -> (Layout, NewToken) {
        let (kind, names, groups, options) = match self {
            Self::Server { names, options } => (Kind::Server, names, Vec::new(), options),
            Self::Client { names, groups, options } => (Kind::Client, names, groups, options),
        };
        let (uses, names) = match names.each {
            None => (1, Names::All(names.names)),
            Some(each) => {
                let all = u32::try_from(each.count()).unwrap_or(u32::MAX);
                (names.uses.unwrap_or(all), Names::OneOf(each))
            }
        };
        let TokenOptions { dir, expires: life, addresses } = options;
        (dir.layout(), NewToken { kind, names, groups, uses, life, addresses })
    }
}

/// Prints a token: one line, and nothing else, for use in scripts.
pub(super) async fn token(bearer: Bearer, out: &mut impl Write) -> Result<(), Error> {
    let (layout, new) = bearer.into_token();
    let text = make(&layout, new).await?;
    Ok(writeln!(out, "{text}")?)
}

/// Writes a token into a file for a machine's image.
pub(super) async fn bundle(
    bearer: Bearer,
    file: &Path,
    force: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let (layout, mut new) = bearer.into_token();
    let life = *new.life.get_or_insert(BUNDLE_LIFE);
    let existing = if force { Existing::Replace } else { Existing::Keep };
    if existing == Existing::Keep && files::is_taken(file) {
        return Err(Error::BundleExists(file.to_owned()));
    }
    let (kind, names, uses) = (new.kind, new.names.to_string(), new.uses);
    let token = make(&layout, new).await?;
    let life = rcmd_certs::clock::span(life.as_secs());
    let text = format!(
        "# An enrollment token of rcmd: {kind}, {names}; {uses} use(s), for {life} from its making.\n\
         # At the first boot: rcmd-{kind} enroll --token-file THIS. Afterwards it is worthless.\n\
         {token}\n"
    );
    let new = NewFile { path: file, bytes: text.as_bytes(), private: true };
    files::write_all(&[new], existing).map_err(|error| match error {
        FileError::Exists(path) => Error::BundleExists(path),
        other => other.into(),
    })?;
    writeln!(out, "{}  {kind}: {names}; {uses} use(s), for {life}", shown(file))?;
    Ok(())
}

async fn make(layout: &Layout, new: NewToken) -> Result<String, Error> {
    match AdminClient::open(layout).await?.request(AdminRequest::Token(new)).await? {
        AdminResponse::Token(text) => Ok(text.into_exposed()),
        _ => Err(Error::Response),
    }
}

/// The options for the file of a bundle.
#[derive(Args, Debug)]
pub(super) struct BundleOptions {
    /// File to write, for the image
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub(super) force: bool,
}
