//! Rules for single lines and files.

use rcmd_tests::binaries::workspace;

use super::tree::{assert_none, files, is_comment, lines_of_rust, read, short, texts};

/// The most lines that a source file may have.
const LONGEST: usize = 600;

/// The most characters that a function's name may have.
const LONGEST_NAME: usize = 79;

/// The length in lines that nineteen of twenty files do not exceed.
const LONG: usize = 400;

#[test]
fn source_files_are_short() {
    let lengths: Vec<_> =
        files("rs").into_iter().map(|path| (read(&path).lines().count(), short(&path))).collect();
    let longer_than = |limit| {
        let longer = lengths.iter().filter(move |(length, _)| *length > limit);
        longer.map(|(length, path)| format!("{path}: {length} lines")).collect::<Vec<_>>()
    };
    assert_none(&format!("longer than {LONGEST} lines"), longer_than(LONGEST));
    let long = longer_than(LONG);
    assert!(long.len() * 20 <= lengths.len(), "too many past {LONG} lines: {long:#?}");
}

#[test]
fn no_module_is_a_mod_rs() {
    let named = files("rs").into_iter().filter(|path| path.ends_with("mod.rs"));
    assert_none("use `foo.rs` beside `foo/`", named.map(|path| short(&path)).collect());
}

#[test]
fn names_of_tests_can_be_read_at_a_glance() {
    let long = lines_of_rust(|_, line| {
        let name = line.split_once("fn ").map_or("", |(_, rest)| rest.split('(').next().unwrap());
        name.len() > LONGEST_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    });
    assert_none("put the circumstance into a module", long);
}

#[test]
fn no_test_is_ignored() {
    let ignored = lines_of_rust(|_, line| line.trim_start().starts_with("#[ignore"));
    assert_none("say `skipped: needs X` instead", ignored);
}

#[test]
fn unsafe_code_stands_only_where_processes_are_made() {
    for krate in ["protocol", "protocol/transfer", "certs", "certs/authority", "client"] {
        let lib = read(&workspace().join(krate).join("src/lib.rs"));
        assert!(lib.contains("#![forbid(unsafe_code)]"), "{krate}/src/lib.rs does not forbid it");
    }
    let elsewhere = lines_of_rust(|name, line| {
        let opens = ["unsafe {", "unsafe fn ", "unsafe impl ", "unsafe extern "];
        !name.starts_with("server/src/process")
            && !is_comment(line)
            && opens.iter().any(|word| line.contains(word))
    });
    assert_none("unsafe outside server/src/process", elsewhere);
}

#[test]
fn the_protocol_knows_no_runtime_outside_io() {
    let uses = lines_of_rust(|name, line| {
        name.starts_with("protocol/src/")
            && name != "protocol/src/io.rs"
            && !name.starts_with("protocol/src/io/")
            && !is_comment(line)
            && line.contains("tokio::")
    });
    assert_none("tokio in the sans-IO core", uses);
}

#[test]
fn enrollment_is_written_in_one_way() {
    let mut found = Vec::new();
    for path in ["rs", "md", "toml"].into_iter().flat_map(texts) {
        for (number, line) in read(&path).lines().enumerate() {
            // The audit's kind of record is older than the rule.
            let text = line.to_lowercase().replace("\"enrolment\"", "").replace("`enrolment`", "");
            let other = text.split("enrol").skip(1).any(|rest| !rest.starts_with('l'));
            if other {
                found.push(format!("{}:{}: {line}", short(&path), number + 1));
            }
        }
    }
    assert_none("write `enroll` and `enrollment`", found);
}

#[test]
fn no_text_names_a_place_that_only_one_machine_has() {
    let mut found = Vec::new();
    for extension in ["rs", "md", "toml", "py"] {
        for path in texts(extension) {
            for (number, line) in read(&path).lines().enumerate() {
                if ["/work/", "../shared", "/root/."].iter().any(|place| line.contains(place)) {
                    found.push(format!("{}:{}: {line}", short(&path), number + 1));
                }
            }
        }
    }
    assert_none("paths of one machine", found);
}
