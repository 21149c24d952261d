//! The command line: the commands, and the modules that carry them out.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

mod backup;
mod error;
mod listing;
mod make;
mod options;
mod rotate;
mod serve;
mod show;
mod token;

pub(crate) use error::Error;
use options::{DirOption, IssueOptions, KeyOptions, Reason};

const EXAMPLES: &str = "\
Examples:
  rcmd-certs quickstart demo
  rcmd-certs token client alice --group ops";

/// The certificate authority of rcmd: who is who.
#[derive(Debug, Parser)]
#[command(name = "rcmd-certs", version, after_help = EXAMPLES)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make everything for a first try: authority, this host's server, an admin client
    Quickstart {
        /// The folder to make it in; refused if it has an authority already
        dir: PathBuf,
        #[command(flatten)]
        key: KeyOptions,
    },
    /// Make an authority: ca.pem and authority/
    Init {
        #[command(flatten)]
        dir: DirOption,
        #[command(flatten)]
        key: KeyOptions,
        /// Sign with an intermediate, and write the root's key into this folder, to be carried away
        #[arg(long, value_name = "DIR")]
        offline_root: Option<PathBuf>,
    },
    /// Take over an authority that another one made, such as an intermediate
    Import {
        #[command(flatten)]
        dir: DirOption,
        /// Its certificate in PEM, followed by what is between it and the root
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// Its private key in PEM (PKCS #8)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The root in PEM, which members are to trust
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
    },
    /// Answer members: tokens become certificates, certificates are renewed, lists go out
    Serve(serve::ServeOptions),
    /// Print an enrollment token: one line that makes a server or a client
    #[command(subcommand)]
    Token(token::Bearer),
    /// Write a token into a file for a machine's image
    Bundle {
        #[command(flatten)]
        to: token::BundleOptions,
        #[command(subcommand)]
        bearer: token::Bearer,
    },
    /// Sign a certificate for a server or a client, with a new key, without a token
    #[command(subcommand)]
    Issue(Issue),
    /// List members, tokens, and how old the revocation lists are
    List {
        #[command(flatten)]
        dir: DirOption,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Revoke a member, a certificate or a token, and tell the servers
    Revoke {
        /// A member's name, a serial number, or the first digits of a token's id
        #[arg(value_name = "NAME|SERIAL|TOKEN")]
        what: String,
        #[command(flatten)]
        dir: DirOption,
        /// Why; it stands on the list
        #[arg(long, value_enum, default_value_t)]
        reason: Reason,
        /// Put a serial number on the list although nobody here knows it
        #[arg(long)]
        unlisted: bool,
    },
    /// Write the authority into one file, under a passphrase
    Backup(backup::BackupOptions),
    /// Make the authority of a backup anew
    Restore(backup::RestoreOptions),
    /// Put a new authority in place of the old one, in three steps, while both are trusted
    Rotate(rotate::RotateOptions),
    /// Show certificates and revocation lists: names, issuer, usage, dates, fingerprint
    Show {
        /// PEM files; without any, the certificates of the folder
        files: Vec<PathBuf>,
        #[command(flatten)]
        dir: DirOption,
        /// One JSON object a line for each certificate
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for every command
    #[command(hide = true)]
    Man {
        /// Write rcmd-certs.1 and one page for each command into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum Issue {
    /// Sign a certificate for a server: server/cert.pem and server/key.pem
    Server {
        /// The names and addresses that clients reach it by
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        options: IssueOptions,
    },
    /// Sign a certificate for a client: client/cert.pem and client/key.pem
    Client {
        /// The user that it stands for
        #[arg(value_name = "NAME")]
        user: String,
        /// A group that the user belongs to; may be given more than once
        #[arg(long = "group", value_name = "G")]
        groups: Vec<String>,
        /// For an emergency: an hour at most, taken by servers whose revocation list is too old, and
        /// audited as such
        #[arg(long, conflicts_with = "days")]
        break_glass: bool,
        #[command(flatten)]
        options: IssueOptions,
    },
}

/// Carries out the command line, and writes its report to standard output.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let many = matches!(arguments.command, Command::Serve(_));
    let mut builder = if many {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build()?.block_on(carry_out(arguments.command))
}

async fn carry_out(command: Command) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    match command {
        Command::Quickstart { dir, key } => make::quickstart(&dir, key.into(), &mut out).await?,
        Command::Init { dir, key, offline_root } => {
            make::init(&dir.layout(), key.into(), offline_root.as_deref(), &mut out)?;
        }
        Command::Import { dir, cert, key, root } => {
            make::import(&dir.layout(), &make::Parts { cert, key, root }, &mut out)?;
        }
        Command::Serve(options) => serve::serve(options, &mut out).await?,
        Command::Token(bearer) => token::token(bearer, &mut out).await?,
        Command::Bundle { to, bearer } => {
            token::bundle(bearer, &to.out, to.force, &mut out).await?;
        }
        Command::Issue(Issue::Server { names, options }) => {
            make::issue_server(names, &options, &mut out).await?;
        }
        Command::Issue(Issue::Client { user, groups, break_glass, options }) => {
            make::issue_client(user, groups, break_glass, &options, &mut out).await?;
        }
        Command::List { dir, json } => listing::list(&dir.layout(), json, &mut out).await?,
        Command::Revoke { what, dir, reason, unlisted } => {
            listing::revoke(&dir.layout(), &what, reason, unlisted, &mut out).await?;
        }
        Command::Backup(options) => backup::backup(&options, &mut out).await?,
        Command::Restore(options) => backup::restore(&options, &mut out)?,
        Command::Rotate(options) => return rotate::rotate(&options, &mut out).await,
        Command::Show { files, dir, json } => {
            let (layout, form) = (dir.layout(), show::Form::new(json));
            return show::show(&files, &layout, form, &mut out);
        }
        Command::Completions { shell } => {
            // Written into memory first: the generator panics when its writer fails.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "rcmd-certs", &mut script);
            // For bash, the generator writes a name with a `-` in two ways, and then finds no subcommand.
            let script = String::from_utf8_lossy(&script);
            let script = script.replace("rcmd__subcmd__certs", "rcmd__certs");
            out.write_all(script.as_bytes())?;
        }
        Command::Man { out: None } => {
            clap_mangen::Man::new(Arguments::command()).render(&mut out)?
        }
        Command::Man { out: Some(dir) } => {
            rcmd_certs::files::create_folders(&dir)?;
            clap_mangen::generate_to(Arguments::command(), &dir)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_short_help_fits_a_screen_and_has_two_examples() {
        let help = Arguments::command().render_help().to_string();
        assert!(help.lines().count() <= 26, "{help}");
        assert_eq!(help.matches("  rcmd-certs ").count(), 2, "{help}");
    }
}
