//! `--outdir`: the output of each host in files of its own, byte for byte.
#![expect(
    clippy::disallowed_methods,
    reason = "the program `rcmd-client` before anything starts, and its thread `display`"
)]

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rcmd_certs::files::{create_folders, shown};
use rcmd_certs::text::printable;
use rcmd_client::hosts::{HostSet, HostTarget};
use rcmd_client::{ErrorKind, Report, WireError};
use rcmd_protocol::frame::Stream;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;

use super::place::{Failures, Place};
use super::results::Results;

mod names;

pub(crate) use names::stems;

/// The file with the result of each host.
const RESULTS: &str = "results.jsonl";

/// The number of files that are open at a time. Hosts may be many more; a file is opened again when its host
/// goes on.
const OPEN: usize = 128;

/// Names that are told of files of other hosts.
const TOLD: usize = 1_000;

/// A file by which it is known again: device and inode.
type Identity = (u64, u64);

/// The two streams of a target.
type Of = (usize, Stream);

/// A folder with the files of all targets.
pub(super) struct Outdir {
    path: PathBuf,
    folder: OwnedFd,
    /// The names of the targets' files without `.out` and `.err`, in the order of the set.
    stems: Vec<String>,
    /// The files `.out` and `.err` of each target, as they were made.
    made: Vec<[Identity; 2]>,
    /// The files that are open, and when each was used last.
    open: HashMap<Of, (File, u64)>,
    uses: u64,
    /// The files that can't be written.
    broken: HashSet<Of>,
    results: Results,
    failures: Failures,
}

impl Outdir {
    /// Makes the files of the targets anew, empty: none of an older run may stand for a target of this one.
    /// Targets that are left alone ended earlier in the same run, and keep their files.
    ///
    /// # Errors
    /// A failure of kind `local_io` that names the file.
    pub(super) fn create(
        path: &Path,
        targets: &[HostTarget],
        left_alone: &HashSet<usize>,
        failures: &Failures,
    ) -> Result<Self, WireError> {
        let failed = |file: &Path, error: io::Error| {
            WireError::new(ErrorKind::LocalIo, format!("cannot make {}: {error}", shown(file)))
                .hint("Nothing ran; name another folder for --outdir.")
        };
        create_folders(path).map_err(|error| failed(path, error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            openat(CWD, path, flags, Mode::empty()).map_err(|error| failed(path, error.into()))?;
        let stems = stems(targets.iter().map(|target| &*target.name));
        let make =
            |name: &str| make(&folder, name).map_err(|error| failed(&path.join(name), error));
        let mut made = Vec::with_capacity(stems.len());
        for (index, stem) in stems.iter().enumerate() {
            let mut pair = [(0, 0); 2];
            if left_alone.contains(&index) {
                made.push(pair);
                continue;
            }
            for (identity, stream) in pair.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
                (_, *identity) = make(&name(stem, stream))?;
            }
            made.push(pair);
        }
        let (results, _) = make(RESULTS)?;
        let results = Results::new(path.join(RESULTS), results, failures.clone());
        let (open, broken, failures) = (HashMap::new(), HashSet::new(), failures.clone());
        let path = path.to_owned();
        Ok(Self { path, folder, stems, made, open, uses: 0, broken, results, failures })
    }

    /// Returns what to tell of files that an older run left for hosts that are not in this one.
    pub(super) fn left(&self) -> Option<String> {
        let ours: HashSet<_> = self.stems.iter().map(String::as_str).collect();
        let mut endings: HashMap<String, usize> = HashMap::new();
        for entry in fs::read_dir(&self.path).ok()?.flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let stem = [Stream::Stdout, Stream::Stderr]
                .iter()
                .find_map(|stream| name.strip_suffix(ending(*stream)));
            if let Some(stem) = stem.filter(|stem| !ours.contains(stem)) {
                *endings.entry(stem.to_owned()).or_default() += 1;
                if endings.len() == TOLD {
                    break;
                }
            }
        }
        // A single `.out` may be anybody's.
        let hosts = endings.into_iter().filter(|(_, endings)| *endings == 2);
        let hosts: HostSet = hosts.map(|(stem, _)| stem.into()).collect();
        (!hosts.is_empty()).then(|| {
            let names = printable(&hosts.fold());
            format!(
                "{} also has files of hosts that are not in this run: {names}",
                shown(&self.path)
            )
        })
    }

    /// Writes a piece of a target's output.
    pub(super) fn output(&mut self, index: usize, stream: Stream, bytes: &[u8]) {
        let of = (index, stream);
        if self.broken.contains(&of) {
            return;
        }
        let written = self.file(of).and_then(|file| file.write_all(bytes));
        if let Err(error) = written {
            self.give_up(of, error);
        }
    }

    /// Empties the files of a target, whose command is run again.
    pub(super) fn empty(&mut self, index: usize) {
        for of in [(index, Stream::Stdout), (index, Stream::Stderr)] {
            if !self.broken.contains(&of)
                && let Err(error) = self.file(of).and_then(|file| file.set_len(0))
            {
                self.give_up(of, error);
            }
        }
    }

    /// Writes a file no more. A full disk fails all of them; one is told.
    fn give_up(&mut self, of: Of, error: io::Error) {
        self.open.remove(&of);
        self.broken.insert(of);
        if self.broken.len() == 1 {
            let (index, stream) = of;
            let stem = self.stems.get(index).map(String::as_str).unwrap_or_default();
            let path = self.path.join(name(stem, stream));
            self.failures.tell(Place::File(path), error);
        }
    }

    /// Writes the result of a target that ended, and closes its files.
    pub(super) fn ended(&mut self, index: usize, report: &Report) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.open.remove(&(index, stream));
        }
        self.results.put(report);
    }

    /// Returns a file, which is opened if it is not; the one that was not used for longest is closed for
    /// it.
    fn file(&mut self, of: Of) -> io::Result<&mut File> {
        self.uses += 1;
        if !self.open.contains_key(&of) {
            if self.open.len() >= OPEN {
                let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used);
                if let Some(oldest) = oldest.map(|(of, _)| *of) {
                    self.open.remove(&oldest);
                }
            }
            let file = self.append(of)?;
            self.open.insert(of, (file, self.uses));
        }
        let (file, used) = self.open.get_mut(&of).ok_or(io::ErrorKind::NotFound)?;
        *used = self.uses;
        Ok(file)
    }

    /// Opens a file that this run made, and no other that lies in its place.
    fn append(&self, (index, stream): Of) -> io::Result<File> {
        let place = usize::from(stream == Stream::Stderr);
        let made = self.made.get(index).and_then(|made| made.get(place));
        let stem = self.stems.get(index).ok_or(io::ErrorKind::NotFound)?;
        // Without NONBLOCK a pipe in its place would be waited for.
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags | OFlags::CLOEXEC;
        let file = openat(&self.folder, name(stem, stream), flags, Mode::empty())?;
        let stat = fstat(&file)?;
        if made != Some(&(stat.st_dev, stat.st_ino)) {
            return Err(io::Error::other("another file was put in its place"));
        }
        Ok(File::from(file))
    }
}

fn ending(stream: Stream) -> &'static str {
    if stream == Stream::Stderr { ".err" } else { ".out" }
}

fn name(stem: &str, stream: Stream) -> String {
    format!("{stem}{}", ending(stream))
}

/// Makes a file anew. Whatever has its name is removed, also a link, which is not followed.
fn make(folder: &OwnedFd, name: &str) -> io::Result<(File, Identity)> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::from_raw_mode(0o666))?;
    let stat = fstat(&file)?;
    Ok((File::from(file), (stat.st_dev, stat.st_ino)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::sync::mpsc;

    use super::super::tests::harness::{exited, targets};
    use super::*;

    fn create(path: &Path, hosts: &str) -> (Outdir, mpsc::Receiver<(Place, io::Error)>) {
        let (failures, told) = Failures::channel();
        (Outdir::create(path, &targets(hosts), &HashSet::new(), &failures).unwrap(), told)
    }

    #[test]
    fn each_host_has_its_bytes_and_the_results_a_line_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/o");
        let (mut outdir, mut told) = create(&path, "a[1-2]");
        assert_eq!(
            fs::read(path.join("a2.err")).unwrap(),
            b"",
            "it is there before anything starts"
        );
        outdir.output(0, Stream::Stdout, b"x");
        outdir.output(1, Stream::Stdout, b"x\n\xff\0");
        outdir.output(0, Stream::Stderr, b"e");
        outdir.ended(0, &exited(0));
        outdir.output(1, Stream::Stdout, b"y");
        outdir.ended(1, &exited(3));
        assert_eq!(fs::read(path.join("a1.out")).unwrap(), b"x");
        assert_eq!(fs::read(path.join("a2.out")).unwrap(), b"x\n\xff\0y");
        assert_eq!(fs::read(path.join("a1.err")).unwrap(), b"e");
        let results = fs::read_to_string(path.join("results.jsonl")).unwrap();
        let codes: Vec<_> = results
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["code"].clone())
            .collect();
        assert_eq!(codes, [0, 3]);
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn files_of_an_older_run_are_emptied_or_left_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let (mut old, _) = create(dir.path(), "a[1-9]");
        (0..9).for_each(|index| old.output(index, Stream::Stdout, b"one\n"));
        fs::write(dir.path().join("nohup.out"), "not ours").unwrap();
        let (new, _) = create(dir.path(), "a1,dead,a2");
        assert_eq!(fs::read(dir.path().join("a2.out")).unwrap(), b"");
        assert_eq!(fs::read(dir.path().join("a3.out")).unwrap(), b"one\n");
        let left = new.left().unwrap();
        assert!(left.ends_with("hosts that are not in this run: a[3-9]"), "{left}");
        let (whole, _) = create(dir.path(), "a[1-9],dead");
        assert_eq!(whole.left(), None);
    }

    #[test]
    fn a_link_in_place_of_a_file_is_replaced_and_what_it_leads_to_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("precious");
        fs::write(&other, "precious").unwrap();
        let path = dir.path().join("o");
        fs::create_dir(&path).unwrap();
        for name in ["a1.out", "results.jsonl"] {
            symlink(&other, path.join(name)).unwrap();
        }
        fs::hard_link(&other, path.join("a1.err")).unwrap();
        let (mut outdir, _) = create(&path, "a1");
        outdir.output(0, Stream::Stdout, b"x");
        outdir.output(0, Stream::Stderr, b"x");
        outdir.ended(0, &exited(0));
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        assert_eq!(fs::read(path.join("a1.out")).unwrap(), b"x");
    }

    #[test]
    fn what_is_put_in_place_of_a_file_meanwhile_is_not_written_and_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("precious");
        fs::write(&other, "precious").unwrap();
        let (mut outdir, mut told) = create(dir.path(), "a[1-3]");
        for name in ["a1.out", "a2.out"] {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        symlink(&other, dir.path().join("a1.out")).unwrap();
        fs::hard_link(&other, dir.path().join("a2.out")).unwrap();
        (0..3).for_each(|index| outdir.output(index, Stream::Stdout, b"x"));
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        assert_eq!(fs::read(dir.path().join("a3.out")).unwrap(), b"x", "the others go on");
        let (place, _) = told.try_recv().unwrap();
        assert_eq!(place, Place::File(dir.path().join("a1.out")));
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn more_hosts_than_files_may_be_open_write_in_turn() {
        let dir = tempfile::tempdir().unwrap();
        let (mut outdir, _) = create(dir.path(), "a[1-300]");
        for _ in 0..3 {
            for index in 0..300 {
                outdir.output(index, Stream::Stdout, b"x");
                assert!(outdir.open.len() <= OPEN);
            }
        }
        for index in 1..=300 {
            assert_eq!(fs::read(dir.path().join(format!("a{index}.out"))).unwrap(), b"xxx");
        }
    }

    #[test]
    fn a_folder_that_can_not_be_is_refused_before_anything_runs() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a1.out")).unwrap();
        let (failures, _) = Failures::channel();
        let failed = Outdir::create(dir.path(), &targets("a1"), &HashSet::new(), &failures);
        let error = failed.err().unwrap();
        assert_eq!(error.kind, ErrorKind::LocalIo);
        assert!(error.message.contains("a1.out"), "{}", error.message);
    }
}
