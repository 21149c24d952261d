//! What is in the packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcmd_tests::binaries::workspace;
use rcmd_tests::{require, skip};
use tempfile::TempDir;

use super::packages::{self, NAMES, file, version};

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|part| String::from_utf8(part).unwrap()).concat();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// Returns the tree of a package, with its control files in `DEBIAN`.
fn unpacked(package: &Path) -> TempDir {
    let folder = TempDir::new().unwrap();
    output(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(folder.path()));
    folder
}

/// Returns the program of a package and, beside it, the other programs.
fn programs(name: &'static str) -> Vec<&'static str> {
    if name == "rcmd-client" { vec![name, "rcmd-ssh"] } else { vec![name] }
}

/// Returns the folder of the units.
fn units() -> PathBuf {
    workspace().join("deploy/systemd")
}

#[test]
fn each_package_has_programs_completions_and_manual_pages() {
    let built = require!(packages::all());
    for name in NAMES {
        let package = file(built, name, version());
        let tree = unpacked(&package);
        let has = |path: &str| assert!(tree.path().join(path).exists(), "{name} has no {path}");
        for program in programs(name) {
            let said =
                output(Command::new(tree.path().join("usr/bin").join(program)).arg("--version"));
            assert!(said.contains(version()), "{program}: {said}");
            let sections = output(
                Command::new("readelf")
                    .arg("--sections")
                    .arg("--wide")
                    .arg(tree.path().join("usr/bin").join(program)),
            );
            assert!(
                !sections.contains(".debug_line") && !sections.contains(".symtab"),
                "{sections}"
            );
            has(&format!("usr/share/man/man1/{program}.1.gz"));
        }
        let script = tree.path().join(format!("usr/share/bash-completion/completions/{name}"));
        let line = format!("source {} && complete -p {name}", script.display());
        let said = output(Command::new("bash").args(["--norc", "-c", &line]));
        assert!(said.ends_with(&format!(" {name}\n")), "{said}");
        let zsh = fs::read_to_string(
            tree.path().join(format!("usr/share/zsh/vendor-completions/_{name}")),
        );
        assert!(zsh.unwrap().starts_with(&format!("#compdef {name}\n")));
        has(&format!("usr/share/fish/vendor_completions.d/{name}.fish"));
        let depends = output(Command::new("dpkg-deb").arg("--field").arg(&package).arg("Depends"));
        assert!(depends.contains("libc6 (>= "), "{name}: {depends}");
    }
}

#[test]
fn the_server_s_package_has_the_scripts_units_and_settings_of_the_source_tree() {
    let built = require!(packages::all());
    let tree = unpacked(&file(built, "rcmd-server", version()));
    let same = |ours: &Path, theirs: &str| {
        let theirs = tree.path().join(theirs);
        let packed = fs::read(&theirs).unwrap_or_else(|error| panic!("{theirs:?}: {error}"));
        assert!(packed == fs::read(ours).unwrap(), "{theirs:?} is not {ours:?}");
    };
    let folder = workspace().join("deploy/debian");
    for script in ["preinst", "postinst", "prerm", "postrm"] {
        let ours = folder.join(format!("rcmd-server.{script}"));
        same(&ours, &format!("DEBIAN/{script}"));
        output(Command::new("sh").arg("-n").arg(&ours));
    }
    let mut services = 0;
    for entry in fs::read_dir(units()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        match name.split_once('.') {
            Some((_, "service" | "socket")) => {
                services += 1;
                same(&entry.path(), &format!("usr/lib/systemd/system/{name}"));
            }
            Some(("rcmd", kind @ ("sysusers" | "tmpfiles"))) => {
                same(&entry.path(), &format!("usr/lib/{kind}.d/rcmd.conf"));
            }
            _ => {}
        }
    }
    assert!(services > 0, "no unit in {:?}", units());
    // The package enables the unit on a host that has no certificate yet.
    let unit = fs::read_to_string(units().join("rcmd-server.service")).unwrap();
    let condition = "\nConditionPathExists=/etc/rcmd/server/cert.pem\n";
    assert!(unit.contains(condition), "without it a host that is not enrolled starts it for ever");
    same(&folder.join("server.toml"), "usr/share/rcmd-server/server.toml");
    // A file that people or the programs change is none that dpkg asks about.
    assert!(!tree.path().join("DEBIAN/conffiles").exists());
    assert!(!tree.path().join("etc").exists());
}

#[test]
fn lintian_has_nothing_to_say() {
    let lintian = require!(skip::need_tool("lintian"));
    let built = require!(packages::all());
    let mut check = Command::new(lintian);
    check.args(["--no-cfg", "--allow-root", "--fail-on", "error,warning"]);
    let said = output(check.args(NAMES.map(|name| file(built, name, version()))));
    assert_eq!(said, "");
}

#[test]
fn the_same_programs_make_the_same_packages_and_symbols() {
    require!(packages::all());
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    for folder in &folders {
        packages::build(folder.path(), &["--fast", "rcmd-certs"]);
    }
    for name in ["rcmd-certs", "rcmd-certs-dbgsym"] {
        let [one, other] =
            [&folders[0], &folders[1]].map(|folder| file(folder.path(), name, version()));
        assert!(fs::read(&one).unwrap() == fs::read(other).unwrap(), "two {name} differ");
    }
    // The debugger finds symbols by the program's build ID.
    let symbols = file(folders[0].path(), "rcmd-certs-dbgsym", version());
    let id = output(Command::new("dpkg-deb").arg("--field").arg(&symbols).arg("Build-Ids"));
    let tree = unpacked(&file(folders[0].path(), "rcmd-certs", version()));
    let notes =
        Command::new("readelf").arg("--notes").arg(tree.path().join("usr/bin/rcmd-certs")).output();
    assert!(String::from_utf8(notes.unwrap().stdout).unwrap().contains(id.trim()), "{id}");
    let tree = unpacked(&symbols);
    let (first, rest) = id.trim().split_at(2);
    let found = tree.path().join(format!("usr/lib/debug/.build-id/{first}/{rest}.debug"));
    let sections = output(Command::new("readelf").args(["--sections", "--wide"]).arg(found));
    assert!(sections.contains(".debug_line"), "{sections}");
}
