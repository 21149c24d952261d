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
    /// For a server, with the names and addresses that clients reach it by
    Server {
        #[command(flatten)]
        names: NameOptions,
        #[command(flatten)]
        options: TokenOptions,
    },
    /// For a user's client
    Client {
        #[command(flatten)]
        names: NameOptions,
        /// A group that the user belongs to; may be given more than once
        #[arg(long = "group", value_name = "G")]
        groups: Vec<String>,
        #[command(flatten)]
        options: TokenOptions,
    },
}

#[derive(Args, Debug)]
pub(super) struct NameOptions {
    /// The names that it gives
    #[arg(required_unless_present = "each", value_name = "NAME")]
    names: Vec<String>,
    /// One name of these for each use, as in 'web[01-50]', instead of NAME
    #[arg(long = "for", value_name = "PATTERN", conflicts_with = "names", id = "each")]
    each: Option<Pattern>,
    /// How often it may be used; with --for
    #[arg(long, value_name = "N", requires = "each")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    uses: Option<u32>,
}

#[derive(Args, Debug)]
pub(super) struct TokenOptions {
    #[command(flatten)]
    dir: DirOption,
    /// How long it may be used, as in 30m, 8h or 7d [default: token_life of authority.toml, 1h; a bundle 7d]
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    expires: Option<Duration>,
    /// Where the authority is reached; may be given more than once [default: what `serve` listens on]
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

/// Where a bundle is written.
#[derive(Args, Debug)]
pub(super) struct BundleOptions {
    /// The file to write, to go into the image
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub(super) force: bool,
}
