//! The results of a run: as text, as JSON, and between the markers of a Markdown file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Options;
use super::machine::Machine;
use super::table::Table;

pub(crate) struct Document {
    /// The section between whose markers the text goes; none means the markers without a name.
    section: Option<String>,
    machine: Machine,
    /// The rounds and the amount of data, in words.
    manner: String,
    pub(crate) tables: Vec<Table>,
    /// The programs that were not found, and how to install them.
    pub(crate) missing: Vec<String>,
    /// Rows that failed altogether.
    pub(crate) failures: Vec<String>,
}

impl Document {
    pub(crate) fn new(options: &Options) -> Self {
        let manner = format!(
            "{} rounds{}; throughput of {} MiB.",
            options.rounds(),
            if options.quick { ", quick: the figures mean little" } else { "" },
            options.bytes() >> 20
        );
        let (tables, missing, failures) = (vec![], vec![], vec![]);
        let section = options.section.clone();
        Self { section, machine: Machine::here(), manner, tables, missing, failures }
    }

    /// Returns the failures of whole rows, and of single contestants.
    pub(crate) fn all_failures(&self) -> Vec<String> {
        let single = self.tables.iter().flat_map(|table| {
            table.failures.iter().map(move |failure| format!("{}: {failure}", table.row))
        });
        self.failures.iter().cloned().chain(single).collect()
    }

    /// Returns the document as JSON.
    ///
    /// # Errors
    ///
    /// None that is known: every value has a form in JSON.
    pub(crate) fn json(&self) -> Result<String> {
        let value = json!({
            "machine": self.machine.json(), "manner": self.manner,
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
            "missing": self.missing, "failures": self.all_failures(),
        });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.machine.text(), self.manner);
        for missing in &self.missing {
            let _ = write!(text, "\nNot found: {missing}\n");
        }
        for failure in &self.failures {
            let _ = write!(text, "\nFailed: {failure}\n");
        }
        for table in &self.tables {
            let _ = write!(text, "\n{}", table.markdown());
        }
        text
    }

    /// Puts the text between the markers of `file`.
    ///
    /// # Errors
    ///
    /// When the file can't be read or written, or lacks a marker.
    pub(crate) fn write_into(&self, file: &Path) -> Result<()> {
        let markers = markers(self.section.as_deref());
        fs::write(file, replaced(&fs::read_to_string(file)?, &self.text(), &markers)?)?;
        Ok(())
    }
}

/// Returns the comments that begin and end a section.
fn markers(section: Option<&str>) -> [String; 2] {
    let name = section.map_or_else(String::new, |section| format!("{section}:"));
    ["begin", "end"].map(|place| format!("<!-- bench:{name}{place} -->"))
}

fn replaced(whole: &str, text: &str, [begin, end]: &[String; 2]) -> Result<String> {
    let (before, rest) =
        whole.split_once(begin).with_context(|| format!("there is no {begin} in it"))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("there is no {end} in it"))?;
    Ok(format!("{before}{begin}\n\n{}\n{end}{after}", text.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_markers_is_replaced_and_nothing_else() {
        for section in [None, Some("own")] {
            let markers = markers(section);
            let [begin, end] = &markers;
            let whole = format!("before\n{begin}\nold\n{end}\nafter\n");
            let once = replaced(&whole, "new\n", &markers).unwrap();
            assert_eq!(once, format!("before\n{begin}\n\nnew\n\n{end}\nafter\n"));
            assert_eq!(replaced(&once, "new\n", &markers).unwrap(), once);
            assert!(replaced("no markers", "new", &markers).is_err());
        }
        assert_eq!(markers(Some("own"))[0], "<!-- bench:own:begin -->");
    }
}
