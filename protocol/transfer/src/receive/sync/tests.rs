use std::{
    cell::RefCell,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        net::UnixStream,
    },
    path::Path,
    sync::Arc,
    thread,
};

use rustix::fs::{XattrFlags, fgetxattr, setxattr};

use crate::{Destination, NoObserver, Transfer, TransferOptions, TransferSource};

const ACCESS_LIST: &str = "system.posix_acl_access";

/// What a file is when it is synced: its owner and group, its mode, and whether it has an access list.
type Synced = ((u32, u32), u32, bool);

thread_local! {
    /// What each file was that this thread has synced.
    static SYNCED: RefCell<Vec<Synced>> = const { RefCell::new(Vec::new()) };
}

/// Notes what a file is that is about to be synced.
pub(super) fn note(file: &File) {
    let facts = file.metadata().expect("its facts");
    let has_list = fgetxattr(file, ACCESS_LIST, &mut [0; 64][..]).is_ok();
    let synced = ((facts.uid(), facts.gid()), facts.mode() & 0o7777, has_list);
    SYNCED.with_borrow_mut(|all| all.push(synced));
}

/// Sends a file to a place. The receiving end is this thread.
fn send(options: TransferOptions, from: &Path, to: &Path) {
    let folder = |path: &Path| File::open(path.parent().expect("a folder")).expect("its folder");
    let name = |path: &Path| path.file_name().expect("a name").as_bytes().to_vec();
    let source = TransferSource::entry(Arc::new(folder(from).into()), &name(from));
    let source = source.expect("the source");
    let destination = Destination::named(folder(to).into(), &name(to)).expect("the place");
    let (near, far) = UnixStream::pair().expect("a stream");
    thread::scope(|scope| {
        scope.spawn(move || {
            let reader = near.try_clone().expect("a reader");
            let sender = Transfer::with_options(options);
            sender.send(reader, near, vec![source], &mut NoObserver).expect("it is sent");
        });
        let reader = far.try_clone().expect("a reader");
        let receiver = Transfer::with_peers_options();
        receiver.receive(reader, far, destination, &mut NoObserver).expect("it is received");
    });
}

#[test]
fn a_part_stays_private_and_known_as_one_until_its_content_is_on_the_disk() {
    let place = tempfile::tempdir().expect("a folder");
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    // Version 2: the owner rw, user 65534 r, the group r, the mask r, others nothing.
    let none = u32::MAX;
    let entries = [(1, 6, none), (2, 4, 65_534), (4, 4, none), (0x10, 4, none), (0x20, 0, none)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend([u16::to_le_bytes(tag), u16::to_le_bytes(permissions)].concat());
        list.extend(u32::to_le_bytes(id));
    }
    for size in [7, 400_000] {
        fs::write(&from, vec![b'n'; size]).expect("the source");
        fs::write(&to, b"old").expect("the old file");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o640)).expect("its mode");
        let own = fs::metadata(&from).expect("its facts");
        let own = (own.uid(), own.gid());
        let old = if own.0 == 0 { (1_234, 4_321) } else { own };
        chown(&to, Some(old.0), Some(old.1)).expect("its owner");
        let has_list = setxattr(&to, ACCESS_LIST, &list, XattrFlags::empty()).is_ok();
        drop(SYNCED.take());
        send(TransferOptions { sync: true, ..TransferOptions::default() }, &from, &to);
        // One without a name has its group already, which has no rights yet.
        let group = if size < 256 << 10 { old.1 } else { own.1 };
        let expected = [((own.0, group), 0o600, false), (old, 0o640, has_list)];
        assert_eq!(SYNCED.take(), expected, "{size}");
    }
}
