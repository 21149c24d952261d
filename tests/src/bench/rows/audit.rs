//! The cost of the audit: there is no server without one, but its records may be synced together or
//! each by itself.

use anyhow::Result;

use crate::bench::bed::{Bed, plain};
use crate::bench::measure::Race;
use crate::bench::stage::Stage;
use crate::bench::table::Table;

const GROUP: &str = "sync = \"group\"";
const EACH: &str = "sync = \"each\"";

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let count = stage.options.count(300, 60);
    let beds = [GROUP, EACH].map(|sync| (sync, Bed::with(&format!("[audit]\n{sync}"))));
    let mut tables = Vec::new();
    for at_once in [1, 16] {
        let mut race = Race::new();
        for (sync, bed) in &beds {
            race.add(sync, move || match bed {
                Ok(bed) => bed.commands(at_once, count, plain),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            });
        }
        let ([rates, medians, _], failures) = race.run(stage.options.rounds());
        let title = format!("`sh -c true`, {at_once} at once");
        let mut often = Table::new("audit", title.clone(), "commands/s").with(rates);
        let mut long = Table::new("audit", format!("{title}, one command"), "ms").with(medians);
        often.ratio(EACH, GROUP, None);
        long.ratio(EACH, GROUP, None);
        often.failures = failures;
        tables.extend([often, long]);
    }
    Ok(tables)
}
