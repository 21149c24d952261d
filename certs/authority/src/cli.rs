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

/// The example of the short help, which has to fit a screen.
const EXAMPLE: &str = "Example: rcmd-certs quickstart demo";

const EXAMPLES: &str = "\
Examples:
  rcmd-certs quickstart demo
  rcmd-certs token client alice --group ops";

/// The certificate authority of rcmd
#[derive(Debug, Parser)]
#[command(name = "rcmd-certs", version, after_help = EXAMPLE, after_long_help = EXAMPLES)]
#[command(max_term_width = 100, disable_help_subcommand = true, disable_version_flag = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print version
    // Not in the short help, which has to fit a screen.
    #[arg(short = 'V', long, action = clap::ArgAction::Version, hide_short_help = true)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an authority, a server and an admin client for a first try
    Quickstart {
        /// Folder to make them in; it must not have an authority yet
        dir: PathBuf,
        #[command(flatten)]
        key: KeyOptions,
    },
    /// Make an authority: ca.pem and the folder authority
    Init {
        #[command(flatten)]
        dir: DirOption,
        #[command(flatten)]
        key: KeyOptions,
        /// Sign with an intermediate, and write the root's key into this folder, to be kept offline
        #[arg(long, value_name = "DIR")]
        offline_root: Option<PathBuf>,
    },
    /// Take over an authority that was made elsewhere
    Import {
        #[command(flatten)]
        dir: DirOption,
        /// Certificate of the authority in PEM, followed by those between it and the root
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// Private key of the authority in PEM (PKCS #8)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Root certificate in PEM, which members will trust
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
    },
    /// Serve members: enrollment, renewal and revocation lists
    Serve(serve::ServeOptions),
    /// Print a token with which a server or a client enrolls
    #[command(subcommand)]
    Token(token::Bearer),
    /// Write a token into a file for the image of a machine
    Bundle {
        #[command(flatten)]
        to: token::BundleOptions,
        #[command(subcommand)]
        bearer: token::Bearer,
    },
    /// Make a key and a certificate without a token
    #[command(subcommand)]
    Issue(Issue),
    /// List members, tokens and the age of the revocation lists
    List {
        #[command(flatten)]
        dir: DirOption,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Revoke a member, a certificate or a token
    Revoke {
        /// Name of a member, serial number, or first digits of a token's id
        #[arg(value_name = "NAME|SERIAL|TOKEN")]
        what: String,
        #[command(flatten)]
        dir: DirOption,
        /// Reason, which is written to the revocation list
        #[arg(long, value_enum, default_value_t)]
        reason: Reason,
        /// Revoke a serial number that this authority has not recorded
        #[arg(long)]
        unlisted: bool,
    },
    /// Write the authority into one encrypted file
    Backup(backup::BackupOptions),
    /// Restore the authority from a backup
    Restore(backup::RestoreOptions),
    /// Replace the authority by a new one, in three steps
    Rotate(rotate::RotateOptions),
    /// Show certificates and revocation lists
    Show {
        /// PEM files [default: the certificates and lists in the folder]
        files: Vec<PathBuf>,
        #[command(flatten)]
        dir: DirOption,
        /// Print one line of JSON for each certificate
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    Completions {
        /// Shell to complete for
        shell: Shell,
    },
    /// Print the manual page, or write all pages
    Man {
        /// Write rcmd-certs.1 and one page for each command into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum Issue {
    /// Make server/cert.pem and server/key.pem
    Server {
        /// Names and addresses by which clients reach the server
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        options: IssueOptions,
    },
    /// Make client/cert.pem and client/key.pem
    Client {
        /// User that the certificate is for
        #[arg(value_name = "NAME")]
        user: String,
        /// Group that the user belongs to; repeatable
        #[arg(long = "group", value_name = "G")]
        groups: Vec<String>,
        /// For an emergency: valid for an hour, even where the revocation list is too old; audited as such
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
}
