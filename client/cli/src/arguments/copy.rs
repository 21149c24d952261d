//! The command line of `cp`.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, ValueHint};

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
folder. A file has its name only when all of it is there and has the digest that was sent; an interrupted transfer goes \
on where it stopped when it is run again.

A file is sent if its size or its time differs. Files of builds that set every time to the same date need --checksum. \
Times of 0 and 1 s after 1970 never count as the same.

PATTERN is a line of a gitignore file; of several the last that matches decides. No ignore file is read, and hidden \
files go along. What is excluded is also spared by --delete.

Links in what was typed are followed, and none below it: they are copied as links. Devices, pipes and sockets are \
named, left out, and counted as failed.

Exit status: 0 if everything is there; 1 if something failed, which standard error names; 124 if --timeout ended it; \
125 if nothing was transferred: host unreachable, denied, busy or wrong usage; 128 + N after signal N; 255 if the \
connection was lost and the end is not known. For a set: 255 if any is unknown, else 125, 124 or 1 likewise.";

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
    /// Keep permission bits and times; -r does
    #[arg(short, long)]
    pub(crate) preserve: bool,
    /// With -r: do not keep permission bits and times
    ///
    /// New files get the permission bits of the source less the umask; files that are replaced keep theirs.
    #[arg(long, conflicts_with = "preserve", hide_short_help = true)]
    pub(crate) no_preserve: bool,
    /// DST is the place itself, also if it is a folder
    #[arg(short = 'T')]
    pub(crate) no_target_folder: bool,
    /// Delete in DST what SRC does not have
    ///
    /// With SRC/ or -T. Deletes last, and only after everything has arrived. What is excluded is spared.
    #[arg(long, requires = "recursive")]
    pub(crate) delete: bool,
    /// Number of entries that --delete may delete
    ///
    /// If there is more to delete, nothing is deleted. Without this option it is 1,000 or half of what is in
    /// DST, whichever is less, and nothing if the source has no file.
    #[arg(long, value_name = "N", requires = "delete", hide_short_help = true)]
    pub(crate) max_delete: Option<u64>,
    /// Leave out what matches; repeatable
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
    /// As in a gitignore file: a line with `!` includes.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Compare contents instead of times
    #[arg(long)]
    pub(crate) checksum: bool,
    /// Leave files that are newer in DST
    #[arg(long, hide_short_help = true)]
    pub(crate) update: bool,
    /// Ask, and list what would be done; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print a line for each file
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
        "-r keeps permission bits, times, links and hard links; owners are not kept.",
    ),
    (&["-R"], "Write -r."),
    (&["-n"], "Write --dry-run."),
    (&["-c"], "Write --checksum."),
    (&["-u"], "Write --update; a user is named with -l USER."),
    (&["-L", "-H", "--dereference"], "Links in what is typed are followed, and none below it."),
    (&["--inplace"], "Write --in-place."),
    (&["-z", "-C"], "Write --compress."),
    (&["--no-whole-file"], "Write --delta."),
    (&["--limit-rate"], "Write --bwlimit, as in --bwlimit 500K."),
    (&["--itemize-changes"], "Write --itemize."),
    (&["--del", "--delete-after", "--delete-before", "--delete-during"], "Write --delete."),
    (&["--max-size", "--min-size"], "Choose files with --include and --exclude."),
    (&["--ignore-times"], "Write --checksum."),
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
        let matches = command().try_get_matches_from(typed).map_err(refused)?;
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

/// Returns a complaint with advice on options that `cp` does not have.
fn refused(error: clap::Error) -> Refused {
    let hint = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => advice(option),
        _ => None,
    };
    match (Refused::from(error), hint) {
        (Refused::Usage(failure), Some(hint)) => Refused::Usage(failure.hint(hint)),
        (refused, _) => refused,
    }
}

fn advice(option: &str) -> Option<&'static str> {
    OPTIONS.iter().find(|(names, _)| names.contains(&option)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<CopyArguments, Refused> {
        let typed: Vec<_> = ["rcmd-client"].iter().chain(line).map(OsString::from).collect();
        CopyArguments::read(typed.iter())
    }

    fn complaint(line: &[&str]) -> String {
        match read(line) {
            Err(Refused::Usage(failure)) => {
                format!("{failure} {}", failure.hint.as_deref().unwrap_or_default())
            }
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn patterns_are_one_list_in_the_order_of_the_line() {
        let line =
            ["--exclude", "a", "--include=b", "--exclude-from", "f", "--exclude", "c", "s", "h:d"];
        let patterns = [
            Pattern::Exclude("a".into()),
            Pattern::Include("b".into()),
            Pattern::ExcludeFrom("f".into()),
            Pattern::Exclude("c".into()),
        ];
        let read = read(&line).unwrap();
        assert_eq!(read.patterns, patterns);
        assert_eq!(read.paths, ["s", "h:d"]);
    }

    #[test]
    fn options_stand_on_both_sides_of_the_paths_and_two_dashes_end_them() {
        let typed = read(&["a", "-r", "h:b", "--sync"]).unwrap();
        assert!(typed.recursive && typed.sync && typed.paths == ["a", "h:b"]);
        assert_eq!(read(&["--", "-rf", "h:b"]).unwrap().paths, ["-rf", "h:b"]);
        assert_eq!(read(&["-", "h:b"]).unwrap().paths, ["-", "h:b"]);
    }

    #[test]
    fn options_that_there_are_not_are_refused_with_advice() {
        for (line, says) in [
            (&["-x", "web3", "a", "h:b"][..], "'@web!web3:PATH'"),
            (&["-P", "22", "a", "h:b"], "web1:7000:/tmp/x"),
            (&["-a", "a", "h:b"], "-r keeps"),
            (&["--owner", "a", "h:b"], "`rcmd-client cp -h`"),
            (&["--chown", "root", "a", "h:b"], "unexpected argument"),
            (&["--delta", "--in-place", "a", "h:b"], "cannot be used with"),
            (&["--bwlimit", "10mb", "a", "h:b"], "10MB or 10Mbit"),
            (&["--bwlimit", "0", "a", "h:b"], "leave the option out"),
            (&["--delete", "a", "h:b"], "--recursive"),
            (&["--max-delete", "3", "a", "h:b"], "--delete"),
            (&["-p", "--no-preserve", "a", "h:b"], "cannot be used with"),
            (&["--fanout", "0", "a", "h:b"], "--fanout"),
        ] {
            assert!(complaint(line).contains(says), "{line:?}: {}", complaint(line));
        }
        let command = command();
        let is_ours = |name: &&&str| {
            command.get_arguments().any(|arg| {
                arg.get_long().is_some_and(|long| format!("--{long}") == ***name)
                    || arg.get_short().is_some_and(|short| format!("-{short}") == ***name)
            })
        };
        let names = OPTIONS.iter().flat_map(|(names, _)| *names);
        assert_eq!(names.filter(is_ours).collect::<Vec<_>>(), [&""; 0]);
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let help = command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 25, "{}\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        for option in ["--delete", "--exclude", "--dry-run", "--checksum", "--recursive"] {
            assert!(help.contains(option), "{option}: {help}");
        }
    }

    #[test]
    fn the_whole_help_says_when_a_changed_file_is_not_seen_and_how_it_ended() {
        let help = command().render_long_help().to_string();
        for text in ["--checksum", "the same date", "255 if", "HOST:./22:x", "gitignore"] {
            assert!(help.contains(text), "{text}: {help}");
        }
    }
}
