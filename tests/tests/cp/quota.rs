//! Places of which the account may have only a part.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcmd_tests::{World, require, skip};

use crate::{cp, there};

/// A file system of btrfs on a loop device, with an account of what each subvolume takes.
struct Btrfs {
    place: PathBuf,
}

impl Btrfs {
    /// Makes and mounts one.
    ///
    /// # Errors
    /// The kernel has no btrfs, or no loop devices.
    fn at(image: &Path, place: &Path) -> Result<Self, String> {
        fs::File::create(image).unwrap().set_len(128 << 20).unwrap();
        fs::create_dir(place).unwrap();
        run(Command::new("mkfs.btrfs").arg("-q").arg(image))?;
        run(Command::new("mount").args(["-o", "loop"]).args([image, place]))?;
        let mounted = Self { place: place.to_owned() };
        run(Command::new("btrfs").args(["quota", "enable"]).arg(place))?;
        Ok(mounted)
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(&self.place));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.stdout(Stdio::null()).output();
    let done = done.map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
}

#[test]
fn what_a_quota_has_no_room_for_fails_alone_and_leaves_nothing() {
    require!(skip::need_root());
    require!(skip::need_tool("mkfs.btrfs"));
    let world = World::start();
    let place = world.scratch("disk");
    let _disk = match Btrfs::at(&world.scratch("image"), &place) {
        Ok(disk) => disk,
        // No package brings these.
        Err(missing) => return println!("skipped: needs btrfs on a loop device ({missing})"),
    };
    let limited = place.join("limited");
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(&limited)).unwrap();
    run(Command::new("btrfs").args(["qgroup", "limit", "8M"]).arg(&limited)).unwrap();
    fs::create_dir(world.scratch("s")).unwrap();
    fs::write(world.scratch("s/a small one"), b"small").unwrap();
    // What packs well would take no room if the file system packed it.
    let noise: Vec<u8> =
        (0_u32..4 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(world.scratch("s/large"), &noise).unwrap();
    let to = there(&world, limited.join("d"));
    let done = cp(&world, ["-r", "s", &to]).run();
    done.assert_code(1).assert_says("s/large: ").assert_says("(no_space)");
    let names: Vec<_> =
        fs::read_dir(limited.join("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a small one"]);
    // When there is room, the next run does the rest.
    run(Command::new("btrfs").args(["qgroup", "limit", "64M"]).arg(&limited)).unwrap();
    cp(&world, ["-rT", "s", &to]).run().assert_code(0);
    assert!(fs::read(limited.join("d/large")).unwrap() == noise);
}
