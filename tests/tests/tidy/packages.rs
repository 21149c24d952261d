//! Rules for packages: which may depend on which.

use rcmd_tests::binaries::workspace;

use super::tree::{assert_none, read};

#[test]
fn server_and_client_do_not_know_each_other() {
    for (krate, other) in [
        ("client", "rcmd-server"),
        ("server", "rcmd-client"),
        ("protocol", "rcmd-"),
        ("certs", "rcmd-"),
        ("certs/authority", "rcmd-server"),
        ("certs/authority", "rcmd-client"),
    ] {
        let manifest = read(&workspace().join(krate).join("Cargo.toml"));
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        let named = dependencies.lines().filter(|line| line.starts_with(other));
        assert_none(&format!("{krate} depends on"), named.map(str::to_owned).collect());
    }
}
