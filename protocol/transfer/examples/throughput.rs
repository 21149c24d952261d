//! Measures transfers over a pair of sockets, both ends in this process: `throughput FOLDER`, which is made and removed.
#![allow(clippy::disallowed_methods, reason = "it serves nobody")]
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::{
    error::Error,
    fs::{self, File},
    io::Write as _,
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rcmd_transfer::{Destination, NoObserver, Transfer, TransferOptions, TransferSource};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Fallible<()> {
    let folder = std::env::args_os().nth(1).ok_or("throughput FOLDER")?;
    let folder = Path::new(&folder);
    fs::create_dir(folder)?;
    let measured = measure(folder);
    fs::remove_dir_all(folder)?;
    measured
}

fn measure(folder: &Path) -> Fallible<()> {
    let small = folder.join("small");
    fs::create_dir(&small)?;
    for number in 0_u32..10_000 {
        let content: Vec<u8> = number.to_le_bytes().repeat(1_024);
        fs::write(small.join(number.to_string()), content)?;
    }
    for name in ["10,000 files of 4 KiB", "the same, unchanged"] {
        let took = transfer(&small, folder, "copy")?;
        println!("{name}: {:.0} files/s, {}", 10_000.0 / took.as_secs_f64(), peak());
    }
    let large = folder.join("large");
    let mut file = File::create(&large)?;
    let block: Vec<u8> = (0_u32..262_144).flat_map(u32::to_le_bytes).collect();
    for _ in 0..1_024 {
        file.write_all(&block)?;
    }
    let took = transfer(&large, folder, "large-copy")?;
    let rate = f64::from(1_u32 << 30) / took.as_secs_f64() / 1e6;
    println!("one file of 1 GiB: {rate:.0} MB/s, {}", peak());
    Ok(())
}

fn transfer(from: &Path, folder: &Path, name: &str) -> Fallible<Duration> {
    let above = File::open(from.parent().ok_or("no parent")?)?;
    let entry = from.file_name().ok_or("no name")?.as_encoded_bytes();
    let source = TransferSource::entry(Arc::new(above.into()), entry)?;
    let destination = Destination::named(File::open(folder)?.into(), name.as_bytes())?;
    let (near, far) = UnixStream::pair()?;
    let began = Instant::now();
    let receiver = thread::spawn(move || {
        let reader = far.try_clone()?;
        let transfer = Transfer::with_peers_options();
        let summary = transfer.receive(reader, far, destination, &mut NoObserver)?;
        Fallible::Ok(summary)
    });
    let options = TransferOptions { recursive: true, preserve: true, ..TransferOptions::default() };
    let reader = near.try_clone()?;
    let transfer = Transfer::with_options(options);
    let summary = transfer.send(reader, near, vec![source], &mut NoObserver)?;
    let took = began.elapsed();
    let other = receiver.join().map_err(|_| "the receiver has panicked")??;
    if summary != other || !summary.is_complete() {
        return Err(format!("{summary:?} {other:?}").into());
    }
    Ok(took)
}

/// Returns the most memory that this process had, of both ends.
fn peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
