//! Tests of what a process of the server's own program is handed over.

use std::fs::File;

use super::*;
use crate::process::{Folder, Handed, Sealed};

over_both! {
    what_is_handed_over_has_its_numbers_and_nothing_else_is_open,
    more_than_may_be_handed_over_is_refused,
}

fn handed(folders: &[&str]) -> Option<Handed> {
    let open = |path: &&str| Folder::new(File::open(path).unwrap().into());
    Some(Handed { folders: folders.iter().map(open).collect(), order: (*b"").into() })
}

async fn what_is_handed_over_has_its_numbers_and_nothing_else_is_open() {
    // Descriptors of the server's that have the numbers of what is handed over.
    let _occupied: Vec<_> = (0..60).map(|_| File::open("/").unwrap()).collect();
    let line = "echo $(ls /proc/self/fd); readlink /proc/$$/fd/4 /proc/$$/fd/5; printf hello >&3";
    for sealed in [None, Some(Sealed::new(File::open("/bin/sh").unwrap(), None))] {
        let plan = Plan { handed: handed(&["/usr", "/etc"]), sealed, ..shell(line) };
        let processes = processes();
        let mut started = start(&processes, &plan).await;
        let mut said = [0; 5];
        let mut socket = started.process.socket.take().unwrap();
        timeout(DEADLINE, socket.read_exact(&mut said)).await.expect("in time").unwrap();
        assert_eq!(&said, b"hello");
        // The last descriptor is the folder that lists them.
        assert_eq!(started.rest().await, "0 1 2 3 4 5 6\n/usr\n/etc\n");
        // Nothing else holds the process's end of the socket.
        let end = timeout(DEADLINE, socket.read(&mut said)).await.expect("in time").unwrap();
        assert_eq!(end, 0);
        started.process.exited().await;
        started.process.reap();
    }
}

async fn more_than_may_be_handed_over_is_refused() {
    let folders = ["/"; Handed::FOLDERS + 1];
    let most = Plan { handed: handed(&folders[1..]), ..shell("ls /proc/self/fd | wc -l") };
    assert_eq!(output_of(&processes(), &most).await, format!("{}\n", Handed::FOLDERS + 5));
    let plan = Plan { handed: handed(&folders), ..shell("true") };
    assert!(processes().spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.is_err());
}
