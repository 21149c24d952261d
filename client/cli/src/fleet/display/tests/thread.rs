//! The thread: backpressure, and places that can't be written.

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::harness::{PIPE, exited, targets};
use super::*;
use crate::fleet::display::screen::Look;

/// A writer that fails from the beginning.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn look() -> Look {
    Look { terminal: false, colour: false, columns: Box::new(|| 80) }
}

/// The bytes of a piece, which are counted as long as they are held.
struct Share(Arc<AtomicUsize>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_reader_that_went_away_is_told_once_and_results_and_account_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let result = dir.path().join("r.jsonl");
    let outdir = Some(dir.path().join("o"));
    let settings = DisplaySettings {
        result: Some(result.clone()),
        outdir,
        summary: Summary::Table,
        ..settings(DisplayForm::Lines)
    };
    let (seen, screens, _) = Captured::screens(PIPE);
    drop(screens);
    let (told, failures) = Failures::channel();
    let stdout = Screen::new(look(), Box::new(Gone));
    let screens = Screens::new(stdout, Screen::new(look(), seen.err_pen()), false, told.clone());
    let targets = targets("a[1-2]");
    let context =
        Context { targets: Arc::clone(&targets), screens, store: Store::default(), raw: false };
    let worker = Worker::new(settings, context, &told).unwrap();
    drop(told);
    let (mut display, shown) = Display::start(worker, failures).unwrap();
    let output = |index| Shown::Output { index, stream: Stream::Stdout, chunk: chunk(b"x\n") };
    assert!(shown.send(output(0)).await.is_ok());
    let (place, error) = display.failed().await;
    assert_eq!(
        (place, error.kind()),
        (Place::Screen(sink::Place::Stdout), io::ErrorKind::BrokenPipe)
    );
    let mut account = Account::new("5f1e".to_owned(), targets);
    for index in 0..2 {
        assert!(shown.send(output(index)).await.is_ok());
        account.add(index, &exited(0), false);
        let report = Box::new(exited(0));
        assert!(shown.send(Shown::Ended { index, report }).await.is_ok());
    }
    drop(shown);
    display.finish(account).await.unwrap();
    assert_eq!(fs::read_to_string(result).unwrap().lines().count(), 2);
    assert_eq!(fs::read(dir.path().join("o/a1.out")).unwrap(), b"x\nx\n");
    assert_eq!(seen.err(), "rcmd: 2 hosts: 2 exited 0\n");
}

#[tokio::test]
async fn every_piece_gives_its_share_of_memory_back() {
    for form in [DisplayForm::Lines, DisplayForm::Fold, DisplayForm::Json] {
        let shares = Arc::new(AtomicUsize::new(0));
        let (_seen, screens, failures) = Captured::screens(PIPE);
        let targets = targets("a1");
        let context =
            Context { targets: Arc::clone(&targets), screens, store: Store::default(), raw: false };
        let (told, _) = Failures::channel();
        let worker = Worker::new(settings(form), context, &told).unwrap();
        let (display, shown) = Display::start(worker, failures).unwrap();
        for _ in 0..1_000 {
            shares.fetch_add(1, Ordering::Relaxed);
            let bytes = Bytes::from_owner(Share(Arc::clone(&shares)));
            let (stream, chunk) = (Stream::Stdout, Chunk { bytes, ..chunk(b"") });
            assert!(shown.send(Shown::Output { index: 0, stream, chunk }).await.is_ok());
            assert!(shares.load(Ordering::Relaxed) <= WAITING + 2, "a sender waits for the thread");
        }
        drop(shown);
        display.finish(Account::new(String::new(), targets)).await.unwrap();
        assert_eq!(shares.load(Ordering::Relaxed), 0);
    }
}
