//! The settings of `cp`.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use rcmd_certs::Layout;
use rcmd_certs::files::shown;
use rcmd_client::Target;
use rcmd_protocol::limits;
use rcmd_protocol::outcome::{ErrorKind, WireError};
use rcmd_transfer::{FileRules, Landing, MetadataOptions, TransferLimits, TransferOptions};

use super::file::File;
use super::{Reached, Verbosity, host_of, sets};
use crate::arguments::copy::{CopyArguments, Pattern};
use crate::arguments::places::{
    LocalSources, LocalTarget, RemotePlace, Sides, is_set, last_name, shell_word,
};
use crate::arguments::sets::SetOptions;

mod guard;

/// The number of hosts at a time, unless it is typed.
const FANOUT: u32 = 16;

/// The size of a file of patterns at most, in bytes. Those that a transfer takes are fewer.
const PATTERNS: u64 = 1 << 20;

/// A transfer of files, to one host or many.
#[derive(Debug)]
pub(crate) struct CopyRun {
    pub(crate) layout: Layout,
    /// The time limit for look-up, TCP and TLS together.
    pub(crate) connect_timeout: Duration,
    pub(crate) compress: bool,
    pub(crate) hosts: Vec<CopyHost>,
    /// True if the hosts were named as a set, of which there is an account.
    pub(crate) is_set: bool,
    pub(crate) work: CopyWork,
    pub(crate) options: TransferOptions,
    /// What a host may make this machine write.
    pub(crate) limits: TransferLimits,
    /// The time after which the host ends the transfer.
    pub(crate) timeout: Option<Duration>,
    /// The lock that the transfer needs, and the time to wait for it.
    pub(crate) lock: Option<(String, Duration)>,
    /// The bytes a second that may cross, to and from all hosts together.
    pub(crate) rate: Option<NonZeroU64>,
    pub(crate) fanout: usize,
    pub(crate) show: CopyShow,
    /// How a file is written whose name begins with what was taken for a port.
    pub(crate) instead_of_port: Option<String>,
}

/// One of the hosts.
#[derive(Clone, Debug)]
pub(crate) struct CopyHost {
    pub(crate) name: String,
    pub(crate) target: Target,
    /// The user to read or write as.
    pub(crate) user: Option<OsString>,
}

/// What is to be transferred.
#[derive(Clone, Debug)]
pub(crate) enum CopyWork {
    /// From here: the sources, and the path and its meaning there.
    Push { sources: LocalSources, to: Vec<u8>, landing: Landing },
    /// From there: the paths, whether they are literal, and the place here.
    Fetch { paths: Vec<Vec<u8>>, is_literal: bool, to: LocalTarget, landing: Landing },
}

/// What is shown of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyShow {
    pub(crate) json: bool,
    pub(crate) itemize: bool,
    pub(crate) progress: bool,
    pub(crate) verbosity: Verbosity,
}

impl CopyRun {
    /// Combines the settings, as [`super::Run::resolve`] does.
    ///
    /// # Errors
    /// A usage error, with advice. Nothing was looked up or connected to then but `hosts.toml`.
    pub(crate) fn resolve(typed: CopyArguments) -> Result<Self, WireError> {
        refuse_nothing(&typed)?;
        let sides = Sides::read(&typed.paths).map_err(|failure| or_a_file_here(failure, &typed))?;
        let reads_patterns =
            typed.exclude_from.iter().filter(|path| *path == Path::new("-")).count();
        let reads_source = matches!(&sides, Sides::Push { sources: LocalSources::Standard, .. });
        if reads_patterns + usize::from(reads_source) > 1 {
            return Err(usage("standard input is read for two things")
                .hint("Write a file in place of one of the `-`."));
        }
        let rules = rules(&typed.patterns)?;
        let verbosity = super::verbosity(&typed.common);
        let (place, work) = work(sides, &typed)?;
        let is_itself = match &work {
            CopyWork::Push { landing, .. } | CopyWork::Fetch { landing, .. } => landing.is_itself,
        };
        let options = TransferOptions {
            recursive: typed.recursive,
            preserve: typed.preserve || typed.recursive && !typed.no_preserve,
            checksum: typed.checksum,
            update: typed.update,
            delete: typed.delete,
            max_delete: typed.max_delete,
            dry_run: typed.dry_run,
            in_place: typed.in_place,
            sync: typed.sync,
            fail_fast: typed.fail_fast,
            // The folders of a place that was named itself are its own.
            keep_folders: is_itself,
            metadata: MetadataOptions {
                owner: typed.owner,
                xattrs: typed.xattrs,
                acls: typed.acls,
                chown: typed.chown.clone(),
                chmod: typed.chmod.clone(),
            },
            compress: typed.compress,
            delta: typed.delta,
            rules,
        };
        if typed.delete {
            guard::refuse_deletion(&work)?;
        }
        let is_set = is_set(&place) || typed.fanout.is_some();
        if is_set && has_stream(&work) {
            return Err(usage("`-` cannot be combined with a set of hosts")
                .hint("Name one host, or a file or folder in place of `-`."));
        }
        if let CopyWork::Fetch { to: LocalTarget::Standard, .. } = &work {
            refuse_lines(&typed)?;
        }
        let layout = super::layout(typed.common.dir.as_deref())?;
        let file = File::read(&layout.client_toml())?;
        let hosts = hosts(&place, is_set, &typed, &layout, verbosity)?;
        let notices = rule_notices(&typed.patterns);
        for notice in notices.iter().filter(|_| verbosity > Verbosity::Quiet) {
            crate::text::say(&crate::text::line(crate::text::Tone::Notice, notice));
        }
        let lock_wait = typed.lock_wait.unwrap_or_default();
        let entries = if has_stream(&work) { 1 } else { u64::MAX };
        Ok(Self {
            limits: TransferLimits { entries, ..TransferLimits::default() },
            connect_timeout: super::connect_timeout(&typed.common, &file),
            // Content is not compressed twice.
            compress: file.compress.unwrap_or(false) && !typed.compress,
            layout,
            hosts,
            is_set,
            work,
            options,
            timeout: typed.timeout,
            lock: typed.lock.map(|name| (name, lock_wait)),
            rate: typed.bwlimit,
            fanout: usize::try_from(typed.fanout.unwrap_or(FANOUT)).unwrap_or(usize::MAX),
            show: CopyShow {
                json: typed.common.json,
                itemize: typed.itemize || typed.dry_run,
                progress: typed.progress,
                verbosity,
            },
            instead_of_port: place.instead_of_port,
        })
    }
}

fn usage(message: &str) -> WireError {
    WireError::new(ErrorKind::Usage, message)
}

/// Returns whether one side is standard input or output.
fn has_stream(work: &CopyWork) -> bool {
    matches!(
        work,
        CopyWork::Push { sources: LocalSources::Standard, .. }
            | CopyWork::Fetch { to: LocalTarget::Standard, .. }
    )
}

/// Refuses to print lines where the content goes.
fn refuse_lines(typed: &CopyArguments) -> Result<(), WireError> {
    let printed = [("--json", typed.common.json), ("--itemize", typed.itemize)];
    match printed.into_iter().find(|(_, is_typed)| *is_typed) {
        None => Ok(()),
        Some((option, _)) => {
            let message = format!("{option} cannot be combined with `-` as the destination");
            Err(usage(&message).hint(
                "Standard output gets the content and nothing else: name a file in place of `-`.",
            ))
        }
    }
}

/// Refuses empty values that are never intended, as of a shell variable that is not set.
fn refuse_nothing(typed: &CopyArguments) -> Result<(), WireError> {
    let all = [
        (
            "--user",
            typed.user.as_deref(),
            "Name a user, or leave the option out for the server's own.",
        ),
        ("--lock", typed.lock.as_deref().map(OsStr::new), "Write a name, or leave the option out."),
    ];
    match all.into_iter().find(|(_, value, _)| value.is_some_and(OsStr::is_empty)) {
        None => Ok(()),
        Some((name, _, remedy)) => Err(usage(&format!("{name} is empty")).hint(remedy)),
    }
}

/// Adds to the error of sides that make no sense how a file of this machine is written, if there is one whose name has
/// a colon.
fn or_a_file_here(failure: WireError, typed: &CopyArguments) -> WireError {
    let Some(path) = typed.paths.iter().find(|path| guard::is_file_with_colon(path)) else {
        return failure;
    };
    let here = shell_word(&[&b"./"[..], path.as_encoded_bytes()].concat());
    failure.hint(format!("The file of that name here is written {here}."))
}

/// Returns the rules that the patterns make.
fn rules(patterns: &[Pattern]) -> Result<FileRules, WireError> {
    let mut lines = Vec::new();
    for pattern in patterns {
        match pattern {
            Pattern::Exclude(pattern) => lines.push(FileRules::exclude(pattern)),
            Pattern::Include(pattern) => lines.push(FileRules::include(pattern)),
            Pattern::ExcludeFrom(path) => {
                let bytes = guard::patterns(path, PATTERNS).map_err(|error| {
                    usage(&error).hint("--exclude-from takes a file with a pattern on each line.")
                })?;
                let text = String::from_utf8(bytes).map_err(|_| {
                    usage(&format!("{} is not UTF-8", shown(path)))
                        .hint("A pattern matches names that are not text by `*` and `?`.")
                })?;
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
                lines.extend(text.lines().map(str::to_owned));
            }
        }
    }
    let is_empty = |pattern: &&Pattern| match pattern {
        Pattern::Exclude(text) | Pattern::Include(text) => text.is_empty(),
        Pattern::ExcludeFrom(_) => false,
    };
    if let Some(pattern) = patterns.iter().find(is_empty) {
        let is_include = matches!(pattern, Pattern::Include(_));
        let option = if is_include { "--include" } else { "--exclude" };
        return Err(usage(&format!("{option} is empty"))
            .hint("Write a pattern, as in --exclude '*.o', or leave the option out."));
    }
    FileRules::new(lines).map_err(|error| {
        usage(&error.to_string()).hint("A pattern is a line of a gitignore file (gitignore(5)).")
    })
}

/// Returns what people are told about patterns that do something else than they look like.
fn rule_notices(patterns: &[Pattern]) -> Vec<String> {
    let is_exclusion = |pattern: &Pattern| !matches!(pattern, Pattern::Include(_));
    let mut notices = Vec::new();
    if !patterns.is_empty() && !patterns.iter().any(is_exclusion) {
        notices.push(
            "--include alone leaves nothing out: it takes back what --exclude leaves out"
                .to_owned(),
        );
    }
    let takes_folders = |pattern: &Pattern| *pattern == Pattern::Include("*/".to_owned());
    let shuts = patterns.iter().position(|pattern| *pattern == Pattern::Exclude("*".to_owned()));
    let opens = patterns.iter().rposition(|pattern| matches!(pattern, Pattern::Include(_)));
    match (shuts, opens) {
        (Some(shuts), Some(opens)) if opens < shuts => notices.push(
            "--exclude '*' comes last, so that nothing goes along: of several patterns the last that matches decides"
                .to_owned(),
        ),
        (Some(shuts), Some(_)) if !patterns.iter().skip(shuts).any(takes_folders) => notices.push(
            "--exclude '*' leaves out folders too; --include '*/' takes them along".to_owned(),
        ),
        _ => {}
    }
    notices
}

/// Returns the place on the hosts, and the work.
fn work(sides: Sides, typed: &CopyArguments) -> Result<(RemotePlace, CopyWork), WireError> {
    match sides {
        Sides::Push { sources, to } => {
            let paths = match &sources {
                LocalSources::Paths(paths) => &paths[..],
                LocalSources::Standard if last_name(&to.path).is_none() => {
                    return Err(usage("standard input has no name of its own")
                        .hint("Name the file to write, as in `rcmd-client cp - web1:/tmp/list`."));
                }
                LocalSources::Standard => &[],
            };
            let mut landing = landing(paths, false, typed)?;
            landing.is_itself |= sources == LocalSources::Standard;
            let (place, to) = (to.clone(), to.path);
            Ok((place, CopyWork::Push { sources, to, landing }))
        }
        Sides::Fetch { from, paths, to } => {
            if paths.len() > limits::PATHS {
                let message = format!("{} sources are more than {}", paths.len(), limits::PATHS);
                return Err(usage(&message).hint("Name the folder that has them, or a pattern."));
            }
            let has_pattern = !typed.literal
                && paths.iter().any(|path| path.iter().any(|byte| b"*?[".contains(byte)));
            let landing = landing(&paths, has_pattern, typed)?;
            if to == LocalTarget::Standard && (landing.has_several || typed.recursive) {
                return Err(usage("standard output takes one file")
                    .hint("Name one file without a pattern, and leave out -r."));
            }
            let is_literal = typed.literal;
            Ok((from, CopyWork::Fetch { paths, is_literal, to, landing }))
        }
    }
}

/// Returns what the destination means for these sources.
///
/// # Errors
/// The contents of a folder beside other sources, two sources of one name, and what `--delete` and `-T` cannot mean.
fn landing(
    paths: &[Vec<u8>],
    has_pattern: bool,
    typed: &CopyArguments,
) -> Result<Landing, WireError> {
    let contents = paths.iter().find(|path| last_name(path).is_none());
    let several = paths.len() > 1 || has_pattern;
    if let Some(path) = contents.filter(|_| several) {
        let path = String::from_utf8_lossy(path).into_owned();
        return Err(usage(&format!(
            "`{path}` means the contents of a folder, beside other sources"
        ))
        .hint("Leave the slash out for the folder itself, or copy the contents by themselves."));
    }
    if let Some(path) = contents.filter(|_| !typed.recursive) {
        let shown = String::from_utf8_lossy(path);
        return Err(usage(&format!("`{shown}` means a folder"))
            .hint("Copy folders with -r; a file is written without a slash at its end."));
    }
    if typed.no_target_folder && several {
        return Err(
            usage("-T takes one source").hint("Without -T, DST is a folder that gets them all.")
        );
    }
    let is_itself = typed.no_target_folder || contents.is_some();
    if typed.delete && !is_itself {
        return Err(usage("--delete needs SRC/ or -T, so that it is clear what DST is to be like")
            .hint("Write `cp -r --delete SRC/ DST`: DST then has the contents of SRC, and nothing else."));
    }
    let mut names: Vec<_> = paths.iter().filter_map(|path| last_name(path)).collect();
    names.sort_unstable();
    if let Some([name, ..]) =
        names.windows(2).find(|pair| matches!(pair, [one, other] if one == other))
    {
        let name = String::from_utf8_lossy(name).into_owned();
        return Err(usage(&format!("two sources have the name `{name}`"))
            .hint("One would replace the other: copy them into different folders."));
    }
    Ok(Landing { is_itself, has_several: several })
}

/// Returns the hosts, and the user of each.
fn hosts(
    place: &RemotePlace,
    is_set: bool,
    typed: &CopyArguments,
    layout: &Layout,
    verbosity: Verbosity,
) -> Result<Vec<CopyHost>, WireError> {
    if !is_set {
        let Reached { target, user } =
            Reached::find(host_of(OsStr::new(&place.hosts))?, layout, verbosity)?;
        let user = typed.user.clone().or(user);
        return Ok(vec![CopyHost { name: target.to_string(), target, user }]);
    }
    let (inventory, passed_over) = super::inventory(layout)?;
    let (targets, mut notices) =
        sets::targets(Some(place.hosts.as_str()), &SetOptions::default(), &inventory)?;
    if verbosity == Verbosity::Verbose {
        notices.extend(passed_over);
    }
    for notice in notices.iter().filter(|_| verbosity > Verbosity::Quiet) {
        crate::text::say(&crate::text::line(crate::text::Tone::Notice, notice));
    }
    let hosts = targets.into_iter().map(|host| CopyHost {
        user: typed.user.clone().or_else(|| host.user().map(OsString::from)),
        name: host.name.to_string(),
        target: host.target,
    });
    Ok(hosts.collect())
}

#[cfg(test)]
mod tests;
