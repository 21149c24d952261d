//! The command line of `cp`.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, ValueHint};
use rcmd_transfer::{ModeChange, OwnerChange};

use super::{Common, Refused, duration, rate};

const USAGE: &str = "rcmd-client cp [OPTIONS] SRC... DST";

const EXAMPLES: &str = "\
Examples:
  rcmd-client cp -r site/ web1:/srv/site     the contents of a folder
  rcmd-client cp '@web:/etc/hosts' out/      from many: out/HOST/hosts";

const MORE: &str = "\
Examples:
  rcmd-client cp FILE web1:/tmp/             a file into a folder of web1
  rcmd-client cp web1:/var/log/syslog .      and from there
  rcmd-client cp -r site web1:/srv           a folder: it becomes /srv/site
  rcmd-client cp -r site/ web1:/srv/site     the contents of a folder
  rcmd-client cp -r --delete site/ web1:/srv/site    and nothing else
  rcmd-client cp web1:'/var/log/*.log' logs/ a pattern, expanded there
  rcmd-client cp conf 'web[1-20]:/etc/app/'  to many hosts
  rcmd-client cp '@web:/etc/hosts' out/      from many: out/HOST/hosts
  make-list | rcmd-client cp - web1:list     standard input as a file

One side names a host: HOST:PATH or HOST:PORT:PATH, where HOST is as for commands. A relative PATH begins at the \
home there. A text with a slash before the first colon is a path here: write a file `a:b` as `./a:b`, and one called \
`22:x` there as `HOST:./22:x`.

SRC goes into DST if that is a folder, or ends in a slash; otherwise it becomes DST. `SRC/` is the contents of a \
folder. A file has its name only when all of it is there and has the digest that was sent; a transfer that ended early, \
of one file or a tree, goes on where it stopped when it is run again.

A file is sent, as a whole, if its size or its time differs; without -p or -r times are not kept, so that it is sent \
again the next time. Files of builds that set every time to the same date need --checksum. Times of 0 and 1 s after 1970 \
never count as the same.

PATTERN is a line of a gitignore file; of several the last that matches decides. No ignore file is read, and hidden \
files go along. What is excluded is also spared by --delete.

Links in what was typed are followed, and none below it: they are copied as links. Devices, pipes and sockets are \
named, left out, and counted as failed.

Exit status: 0 if everything is there; 1 if something failed or was not deleted, which standard error names; 124 if --timeout ended it; \
125 if nothing was transferred: host unreachable, denied, busy or wrong usage; 128 + N after signal N; 255 if the \
connection was lost and the end is not known: run it again. For a set: 255 if any is unknown, else 125, 124 or 1 likewise.";

/// Copy files to a host or from it.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-client cp",
    bin_name = "rcmd-client cp",
    override_usage = USAGE,
    disable_version_flag = true,
    max_term_width = 100
)]
#[command(after_help = EXAMPLES, after_long_help = MORE, args_override_self = true)]
pub(crate) struct CopyArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Copy folders with all that is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Keep permission bits and times; implied by -r
    #[arg(short, long)]
    pub(crate) preserve: bool,
    /// With -r: do not keep permission bits and times
    ///
    /// New files get the permission bits of the source less the umask; files that are replaced keep theirs.
    #[arg(long, conflicts_with = "preserve", hide_short_help = true)]
    pub(crate) no_preserve: bool,
    /// Keep owner and group, by name where both sides know it
    ///
    /// Needs root where files are received; a group that the account is in may be kept without.
    #[arg(long, hide_short_help = true)]
    pub(crate) owner: bool,
    /// Give everything to this owner or group of the destination
    ///
    /// USER, USER:GROUP or :GROUP, by name or number. Goes before --owner. Needs root, as --owner.
    #[arg(long, value_name = "USER[:GROUP]", hide_short_help = true)]
    pub(crate) chown: Option<OwnerChange>,
    /// Change permission bits, such as u+x, go= or D755,F644
    ///
    /// As for chmod, or several with commas between; one that begins with D or F is for folders or files alone. What
    /// it makes of the bits of SRC is set, also on files that were there. Setuid and setgid are never set.
    #[arg(long, value_name = "MODE", hide_short_help = true, allow_hyphen_values = true)]
    pub(crate) chmod: Option<ModeChange>,
    /// Keep extended attributes: those of `user.`, and no others
    #[arg(long, hide_short_help = true)]
    pub(crate) xattrs: bool,
    /// Keep POSIX access lists
    #[arg(long, hide_short_help = true)]
    pub(crate) acls: bool,
    /// DST is the place itself, also if it is a folder
    #[arg(short = 'T')]
    pub(crate) no_target_folder: bool,
    /// Delete in DST what SRC/ does not have
    ///
    /// With SRC/ or -T. Deletes last, and only after everything has arrived. What is excluded is spared.
    #[arg(long, requires = "recursive")]
    pub(crate) delete: bool,
    /// Number of entries that --delete may delete
    ///
    /// If there is more to delete, nothing is deleted, and the exit status is 1. Without this option it is 1,000 or half of what is in
    /// DST, whichever is less, and nothing (exit status 125) if the source has no file.
    #[arg(long, value_name = "N", requires = "delete", hide_short_help = true)]
    pub(crate) max_delete: Option<u64>,
    /// Leave out what matches in a folder; repeatable
    ///
    /// What is typed as SRC itself goes along in any case.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Take along what an earlier pattern leaves out
    ///
    /// --include and --exclude are one list, in the order of the command line. What is in a folder that is left
    /// out can't be included.
    #[arg(long, value_name = "PATTERN", hide_short_help = true)]
    pub(crate) include: Vec<String>,
    /// Read patterns from a file, one a line
    ///
    /// As in a gitignore file: a line with `!` includes. `-` is standard input.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Compare contents instead of times
    #[arg(long)]
    pub(crate) checksum: bool,
    /// Leave files that are newer in DST
    #[arg(long, hide_short_help = true)]
    pub(crate) update: bool,
    /// Ask, and list what would be done; change nothing
    ///
    /// Fails where the real run would for what can be known without writing: denied, no permission, no room.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print a line for each file that differs
    ///
    /// With -v also for those that do not. Not with `-` as DST.
    #[arg(long)]
    pub(crate) itemize: bool,
    /// Write over files instead of replacing them
    ///
    /// For files with several names, and mount points. A transfer that is interrupted leaves a file that is
    /// neither the old nor the new one.
    #[arg(long, hide_short_help = true)]
    pub(crate) in_place: bool,
    /// Compress contents on the way
    ///
    /// With zstd. What does not get smaller crosses as it is.
    #[arg(long, hide_short_help = true)]
    pub(crate) compress: bool,
    /// Send only the parts of a file that changed
    ///
    /// The side that has the old file reads it, and tells of its parts by digests. So a host's policy must permit to
    /// read DST, too. For large files over links that are slower than disks.
    #[arg(long, conflicts_with = "in_place", hide_short_help = true)]
    pub(crate) delta: bool,
    /// Have each file on the disk before it is counted
    #[arg(long, hide_short_help = true)]
    pub(crate) sync: bool,
    /// Stop at the first file that fails
    #[arg(long, hide_short_help = true)]
    pub(crate) fail_fast: bool,
    /// Take `*`, `?` and `[` in a path there as they are
    #[arg(long, hide_short_help = true)]
    pub(crate) literal: bool,
    /// Remote user [default: that of the server]
    #[arg(short = 'l', long, value_name = "USER")]
    pub(crate) user: Option<OsString>,
    /// Show a progress line at a terminal, also beside --itemize
    #[arg(long, hide_short_help = true)]
    pub(crate) progress: bool,
    /// Transfer only while holding this lock of the host
    ///
    /// As for commands: see `rcmd-client --help`.
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) lock: Option<String>,
    /// Time to wait for --lock [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_or_none, requires = "lock")]
    #[arg(hide_short_help = true)]
    pub(crate) lock_wait: Option<Duration>,
    /// End the transfer after this time, such as 10m
    ///
    /// The exit status is 124. What was transferred by then stays.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_limit, hide_short_help = true)]
    pub(crate) timeout: Option<Duration>,
    /// Transfer no more than this a second, such as 500K or 20Mbit
    ///
    /// For all hosts together, in both directions. K, M and G are 1,024s of bytes, KB, MB and GB 1,000s, kbit, Mbit
    /// and Gbit bits; a number alone counts K, as for rsync.
    #[arg(long, value_name = "RATE", value_parser = rate::parse, hide_short_help = true)]
    pub(crate) bwlimit: Option<NonZeroU64>,
    /// Hosts at a time [default: 16]
    #[arg(short = 'f', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    #[arg(hide_short_help = true)]
    pub(crate) fanout: Option<u32>,
    /// Sources and destination: PATH, HOST:PATH, HOST:PORT:PATH, or - for a stream
    #[arg(value_name = "SRC... DST", value_hint = ValueHint::AnyPath, hide_short_help = true)]
    pub(crate) paths: Vec<OsString>,
    /// The patterns, in the order of the command line.
    #[arg(skip)]
    pub(crate) patterns: Vec<Pattern>,
}

/// One of the options that say which files go along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exclude(String),
    Include(String),
    ExcludeFrom(PathBuf),
}

/// Options of other programs, and of ours for commands, with advice.
const OPTIONS: &[(&[&str], &str)] = &[
    (
        &["-x"],
        "Leave hosts out in the expression, as in '@web!web3:PATH'; --exclude is about files.",
    ),
    (&["-P", "--port"], "Write the port before the path, as in `web1:7000:/tmp/x`."),
    (
        &["-a", "--archive"],
        "-r keeps permission bits, times, links and hard links; write --owner, --xattrs and --acls for the rest.",
    ),
    (&["-R"], "Write -r."),
    (&["-n"], "Write --dry-run."),
    (&["-c"], "Write --checksum."),
    (&["-u"], "Write --update; a user is named with -l USER."),
    (&["-L", "-H", "--dereference"], "Links in what is typed are followed, and none below it."),
    (&["-o", "-g", "--group"], "Write --owner."),
    (&["-A"], "Write --acls."),
    (&["-X"], "Write --xattrs."),
    (&["--perms"], "Write -p."),
    (&["--inplace"], "Write --in-place."),
    (&["-z", "-C", "--compression"], "Write --compress."),
    (&["--no-whole-file"], "Write --delta."),
    (&["--limit-rate"], "Write --bwlimit, as in --bwlimit 500K."),
    (&["--itemize-changes"], "Write --itemize."),
    (&["--del", "--delete-after", "--delete-before", "--delete-during"], "Write --delete."),
    (&["--max-size", "--min-size"], "Choose files with --include and --exclude."),
    (&["--ignore-times"], "Write --checksum."),
    (&["--stats"], "-v prints the totals, also where no terminal is; --json has them all."),
    (&["--info"], "A terminal has a progress line; --itemize and -v say more."),
    (&["-i"], "Write --itemize."),
    (
        &["--partial", "--append", "--partial-dir"],
        "What was interrupted always goes on when it is run again.",
    ),
    (
        &["--size-only"],
        "A file is sent if its size or its time differs; --checksum compares contents.",
    ),
    (
        &["--ignore-existing"],
        "Leave them out with --exclude; --update leaves files that are newer in DST.",
    ),
    (&["--links", "--hard-links"], "-r copies links as links, and hard links as such."),
    (&["-3"], "Copy by way of this machine: from the one host, then to the other."),
    (&["-b", "--backup", "--suffix"], "Nothing is kept of what is replaced: copy it first."),
    (&["--rsh", "-e"], "The way to a host is in hosts.toml; nothing else is run."),
];

/// What `--json` prints here.
const JSON: &str = "Print JSON events instead of text

Each line is one object. Its `event` is file, note or end, and summary at the end of a set; `end` has the totals. \
docs/files.md lists the fields.";

/// Returns the subcommand `cp`.
pub(crate) fn command() -> clap::Command {
    CopyArguments::command()
        .mut_arg("json", |arg| arg.help("Print JSON events instead of text").long_help(JSON))
}

impl CopyArguments {
    /// Reads the command line of `cp`.
    ///
    /// # Errors
    /// [`Refused`] if an option is unknown or wrong, or help is asked for.
    pub(crate) fn read<'a>(typed: impl Iterator<Item = &'a OsString>) -> Result<Self, Refused> {
        let typed: Vec<_> = typed.collect();
        let refused = |error| refused(error, &typed);
        let matches = command().try_get_matches_from(&typed).map_err(refused)?;
        let mut read = Self::from_arg_matches(&matches).map_err(refused)?;
        read.patterns = in_order(&read, &matches);
        Ok(read)
    }
}

/// Returns the patterns in the order of the command line.
fn in_order(read: &CopyArguments, matches: &ArgMatches) -> Vec<Pattern> {
    let places = |name: &str| matches.indices_of(name).into_iter().flatten().collect::<Vec<_>>();
    let excluded = read.exclude.iter().cloned().map(Pattern::Exclude);
    let included = read.include.iter().cloned().map(Pattern::Include);
    let files = read.exclude_from.iter().cloned().map(Pattern::ExcludeFrom);
    let mut all: Vec<_> = places("exclude").into_iter().zip(excluded).collect();
    all.extend(places("include").into_iter().zip(included));
    all.extend(places("exclude_from").into_iter().zip(files));
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, pattern)| pattern).collect()
}

/// Returns a complaint with advice on options that `cp` does not have, and on files whose names begin with a dash.
fn refused(error: clap::Error, typed: &[&OsString]) -> Refused {
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) if error.kind() == ErrorKind::UnknownArgument => {
            Some(option.clone())
        }
        _ => None,
    };
    let failure = match Refused::from(error) {
        Refused::Usage(failure) => failure,
        answer => return answer,
    };
    let hint = failure.hint.clone().unwrap_or_default();
    // Another command than this one has these options.
    let hint = hint.replace("`rcmd-client -h`", "`rcmd-client cp -h`");
    let is_letter = |option: &&String| !option.starts_with("--");
    let dashed = unknown.as_ref().filter(is_letter).and_then(|option| {
        let words = typed.iter().skip(1).filter_map(|word| word.to_str());
        let mut words = words.filter(|word| !word.starts_with("--") && word.len() > 2);
        words.find(|word| word.starts_with(&**option))
    });
    Refused::Usage(failure.hint(match (unknown.as_deref().and_then(advice), dashed) {
        (Some(advice), None) => advice.to_owned(),
        (advice, Some(word)) => {
            let hint = advice.unwrap_or("`rcmd-client cp -h` lists the options.");
            format!("{hint} A file of that name is written `./{word}`, or behind `--`.")
        }
        (None, None) => hint,
    }))
}

fn advice(option: &str) -> Option<&'static str> {
    OPTIONS.iter().find(|(names, _)| names.contains(&option)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests;
