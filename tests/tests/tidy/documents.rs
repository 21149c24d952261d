//! Rules for documents: links resolve, and what they name exists.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use rcmd_tests::binaries::workspace;

use super::tree::{assert_none, files, read, short};

#[test]
fn the_readme_s_first_screen_has_the_two_commands() {
    let readme = read(&workspace().join("README.md"));
    let first: Vec<&str> = readme.lines().take(40).collect();
    for command in ["cargo demo uname -a", "cargo test --workspace"] {
        assert!(
            first.iter().any(|line| line.contains(command)),
            "README.md begins without {command}"
        );
    }
}

#[test]
fn links_between_documents_resolve() {
    let mut broken = Vec::new();
    for path in files("md") {
        for link in links(&read(&path)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => path.clone(),
                file => normal(&path.parent().unwrap().join(file)),
            };
            let anchor_there = || anchor.is_empty() || anchors(&read(&target)).contains(anchor);
            if !target.exists() || (target.is_file() && !anchor_there()) {
                broken.push(format!("{}: {link}", short(&path)));
            }
        }
    }
    assert_none("broken links", broken);
}

#[test]
fn the_summary_of_the_figures_says_what_the_tables_say() {
    let summary = read(&workspace().join("docs/performance.md"));
    let tables = read(&workspace().join("docs/performance/tables.md"));
    let rows: Vec<_> = summary.lines().filter_map(summarized).collect();
    assert!(rows.len() > 5, "only {rows:?}");
    let mut wrong = Vec::new();
    for (row, figures) in rows {
        let heading = format!("{row}: ");
        let sections = tables.split("\n### ").filter(|part| part.starts_with(&heading));
        let found: HashSet<_> = sections.flat_map(str::split_whitespace).collect();
        let missing = figures.into_iter().filter(|figure| !found.contains(&**figure));
        wrong.extend(missing.map(|figure| format!("{figure} in no table of {row}")));
    }
    assert_none("see the summary in docs/performance.md", wrong);
}

#[test]
fn the_reader_of_the_summary_finds_its_figures() {
    let line =
        "| 4 MiB over 10 Mbit/s | 1,048 MB/s | `ssh -4` 460, with aes128-gcm 7.40 s | `row` |";
    let figures = ["1,048", "460", "7.40"].map(str::to_owned).to_vec();
    assert_eq!(summarized(line), Some(("row", figures)));
    assert_eq!(summarized("| a | b |"), None);
    assert_eq!(summarized("| `row` | what is measured | | |"), None);
}

#[test]
fn the_finder_of_links_and_anchors_finds_them() {
    let text = "# One `two` three!\n[a](b.md#c) and [d](e)\n```\n[not](this)\n# nor this\n```\n# One\n# One";
    assert_eq!(links(text), ["b.md#c", "e"]);
    let expected = ["one-two-three", "one", "one-1"].map(str::to_owned);
    assert_eq!(anchors(text), HashSet::from(expected));
}

/// Returns the lines that are not inside a fenced block.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Returns the row of the benchmark that a line of the summary is about, and the figures that the line has of it.
fn summarized(line: &str) -> Option<(&str, Vec<String>)> {
    let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let [_, own, others, row] = cells[..] else { return None };
    let row = row.strip_prefix('`')?.strip_suffix('`')?;
    let words = [own, others].into_iter().flat_map(str::split_whitespace);
    let numbers = words.map(|word| word.trim_end_matches(','));
    let numbers = numbers.filter(|word| {
        let digits = word.chars().all(|c| c.is_ascii_digit() || ".,".contains(c));
        digits && word.starts_with(|c: char| c.is_ascii_digit())
    });
    Some((row, numbers.map(str::to_owned).collect()))
}

/// Returns the targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        for part in line.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// Returns the anchors of headings, as forges make them.
fn anchors(text: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let mut unique = slug.clone();
        for number in 1.. {
            if found.insert(unique.clone()) {
                break;
            }
            unique = format!("{slug}-{number}");
        }
    }
    found
}

/// Returns the path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}
