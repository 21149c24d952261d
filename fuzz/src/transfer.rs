//! Either end of a transfer, against another that says anything: nothing outside the target is touched, nothing panics
//! or hangs, and what was not agreed on is not reported as done.

use std::{
    fs::{self, File},
    io::{self, Cursor},
    sync::Arc,
};

use rcmd_transfer::{
    Destination, MetadataOptions, NoObserver, Transfer, TransferLimits, TransferOptions,
    TransferSource,
};

/// The hello of an end that takes the other's options.
fn hello(role: u8) -> Vec<u8> {
    [&[0, 0, 0, 9, 1][..], b"rcft", &[0, 1, role, 0]].concat()
}

/// Returns the options that a byte selects, and the other end's bytes: without its hello, unless the byte is 255.
fn parts(role: u8, data: &[u8]) -> Option<(TransferOptions, Vec<u8>)> {
    let (switches, said) = data.split_first()?;
    let has = |bit: u8| switches & bit != 0;
    let options = TransferOptions {
        recursive: true,
        preserve: has(1),
        checksum: has(2),
        update: has(4),
        delete: has(8),
        dry_run: has(16),
        in_place: has(32),
        fail_fast: has(64),
        compress: has(128),
        delta: has(128),
        metadata: MetadataOptions {
            owner: has(128),
            xattrs: has(128),
            acls: has(128),
            ..MetadataOptions::default()
        },
        ..TransferOptions::default()
    };
    let begins = if *switches == u8::MAX { Vec::new() } else { hello(role) };
    Some((options, [&begins, said].concat()))
}

/// Receives whatever a sender says, into a folder that has something in it.
pub fn transfer_receiver(data: &[u8]) {
    let Some((options, said)) = parts(1, data) else {
        return;
    };
    let place = tempfile::tempdir().expect("a folder");
    let target = place.path().join("target");
    fs::create_dir_all(target.join("folder/below")).expect("folders");
    fs::write(target.join("file"), b"content").expect("a file");
    std::os::unix::fs::symlink("..", target.join("link")).expect("a link");
    if options.delta {
        fs::write(target.join("large"), vec![0; 300_000]).expect("a file");
    }
    let limits = TransferLimits { file_bytes: 1 << 20, bytes: 4 << 20, entries: 10_000 };
    let destination = Destination::inside(File::open(&target).expect("opened").into());
    let transfer = Transfer::with_options(options).limits(limits).telling_chunks();
    let ended = transfer.receive(
        said.as_slice(),
        io::sink(),
        destination.expect("a folder"),
        &mut NoObserver,
    );
    if let Ok(summary) = ended {
        assert!(summary.counts.bytes <= limits.bytes);
    }
    assert_eq!(fs::read_dir(place.path()).expect("read").count(), 1);
}

/// Sends a small tree to whatever a receiver says.
pub fn transfer_sender(data: &[u8]) {
    let Some((options, said)) = parts(2, data) else {
        return;
    };
    let place = tempfile::tempdir().expect("a folder");
    let top = place.path().join("top");
    fs::create_dir_all(top.join("folder")).expect("folders");
    fs::write(top.join("file"), vec![b'x'; 20_000]).expect("a file");
    fs::hard_link(top.join("file"), top.join("folder/again")).expect("a link");
    std::os::unix::fs::symlink("..", top.join("link")).expect("a link");
    let folder = File::open(place.path()).expect("opened");
    let source = TransferSource::entry(Arc::new(folder.into()), b"top").expect("a source");
    let ended = Transfer::with_options(options).send(
        Cursor::new(said),
        io::sink(),
        vec![source],
        &mut NoObserver,
    );
    // The digest at the end is that of this tree, which has times of its own: nobody guesses it.
    assert!(ended.is_err());
}
