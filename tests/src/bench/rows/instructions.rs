//! Instructions of the protocol's hot paths, beside those of the committed baseline.

use anyhow::Result;

use crate::bench::stage::Stage;
use crate::bench::table::{Goal::AtMost, Series, Table};
use crate::instructions::{PATHS, baseline, driver, each};
use crate::skip;

pub(crate) fn run(_: &Stage) -> Result<Vec<Table>> {
    let title = "hot paths of the protocol, counted by callgrind";
    let mut table = Table::new("instructions", title, "instructions each");
    if let Err(missing) = skip::need_tool("valgrind") {
        table.notes.push(format!("all: {missing}; apt-get install valgrind"));
        return Ok(vec![table]);
    }
    let (driver, baseline) = (driver()?, baseline());
    for path in PATHS {
        let count = each(&driver, path)? as f64;
        table.series.push(Series::single(path, count));
        if let Some(&before) = baseline.get(path) {
            table.add_ratio(
                format!("{path} / baseline"),
                count / before as f64,
                Some(AtMost(1.05)),
            );
        }
    }
    Ok(vec![table])
}
