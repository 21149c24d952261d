//! Figures with a name, and their ratios.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// The figures of one contestant, one a round.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

impl Series {
    /// Returns the series of a figure that was measured once.
    pub(crate) fn single(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), values: vec![value] }
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.values)
    }

    fn least(&self) -> f64 {
        self.values.iter().copied().fold(f64::NAN, f64::min)
    }

    fn most(&self) -> f64 {
        self.values.iter().copied().fold(f64::NAN, f64::max)
    }
}

/// Returns the middle value, or the mean of the two in the middle; NaN if there are no values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The bound that a ratio should keep.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_reached_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("at most {}", figure(limit)),
            Self::AtLeast(limit) => format!("at least {}", figure(limit)),
        }
    }
}

#[derive(Debug, Clone)]
struct Ratio {
    name: String,
    value: f64,
    goal: Option<Goal>,
}

/// One thing that was measured.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The row of the program that it came from.
    pub(crate) row: &'static str,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) series: Vec<Series>,
    ratios: Vec<Ratio>,
    /// Contestants that failed, with the reason.
    pub(crate) failures: Vec<String>,
    /// Contestants that this machine can't have, with the reason.
    pub(crate) notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(row: &'static str, title: impl Into<String>, unit: &'static str) -> Self {
        let (title, series, ratios) = (title.into(), vec![], vec![]);
        Self { row, title, unit, series, ratios, failures: vec![], notes: vec![] }
    }

    pub(crate) fn with(mut self, series: Vec<Series>) -> Self {
        self.series = series;
        self
    }

    fn find(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// Adds the ratio of two series, if both were measured: the median over the rounds.
    pub(crate) fn ratio(&mut self, of: &str, to: &str, goal: Option<Goal>) {
        let (Some(above), Some(below)) = (self.find(of), self.find(to)) else { return };
        let value = if above.values.len() == below.values.len() {
            let each: Vec<f64> = above
                .values
                .iter()
                .zip(&below.values)
                .map(|(above, below)| above / below)
                .collect();
            median(&each)
        } else {
            above.median() / below.median()
        };
        self.add_ratio(format!("{of} / {to}"), value, goal);
    }

    pub(crate) fn add_ratio(&mut self, name: String, value: f64, goal: Option<Goal>) {
        self.ratios.push(Ratio { name, value, goal });
    }

    pub(crate) fn json(&self) -> Value {
        let series = self.series.iter().map(|series| {
            json!({
                "name": series.name, "median": series.median(), "min": series.least(),
                "max": series.most(), "values": series.values,
            })
        });
        let ratios = self.ratios.iter().map(|ratio| {
            json!({
                "name": ratio.name, "value": ratio.value,
                "goal": ratio.goal.map(Goal::text),
                "reached": ratio.goal.map(|goal| goal.is_reached_by(ratio.value)),
            })
        });
        json!({
            "row": self.row, "title": self.title, "unit": self.unit,
            "series": series.collect::<Vec<_>>(), "ratios": ratios.collect::<Vec<_>>(),
            "failures": self.failures, "notes": self.notes,
        })
    }

    /// Returns the table in Markdown, which is readable as plain text too.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}: {}\n\n", self.row, self.title);
        let rows = self.series.iter().map(|series| {
            let spread = match series.values.len() {
                0 | 1 => String::new(),
                _ => format!("{} to {}", figure(series.least()), figure(series.most())),
            };
            [series.name.clone(), figure(series.median()), spread]
        });
        grid(&mut text, ["", self.unit, "spread"], &rows.collect::<Vec<_>>());
        if !self.ratios.is_empty() {
            text.push('\n');
            let rows = self.ratios.iter().map(|ratio| {
                let goal = ratio.goal.map_or_else(String::new, |goal| {
                    let judged =
                        if goal.is_reached_by(ratio.value) { "reached" } else { "**missed**" };
                    format!("{}: {judged}", goal.text())
                });
                [ratio.name.clone(), figure(ratio.value), goal]
            });
            grid(&mut text, ["", "ratio", "goal"], &rows.collect::<Vec<_>>());
        }
        for failure in &self.failures {
            let _ = write!(text, "\nNot measured: {failure}\n");
        }
        for note in &self.notes {
            let _ = write!(text, "\nLeft out: {note}\n");
        }
        text
    }
}

/// Appends a Markdown table whose first column is padded and whose second is aligned to the right.
fn grid(text: &mut String, head: [&str; 3], rows: &[[String; 3]]) {
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max();
        longest.unwrap_or(0).max(head[column].chars().count()).max(3)
    };
    let (first, second, third) = (width(0), width(1), width(2));
    let mut line = |cells: [&str; 3]| {
        let [a, b, c] = cells;
        let _ = writeln!(text, "| {a:first$} | {b:>second$} | {c:third$} |");
    };
    line(head);
    line([&"-".repeat(first), &format!("{}:", "-".repeat(second - 1)), &"-".repeat(third)]);
    for row in rows {
        line([&row[0], &row[1], &row[2]]);
    }
}

/// Formats a number with three significant digits, thousands set apart.
pub(crate) fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "none".to_owned();
    }
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{:.0}", value.abs());
            let mut grouped = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            if value < 0.0 { format!("-{grouped}") } else { grouped }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_stands_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn figures_have_three_digits_and_groups() {
        let told = [0.01234, 1.234, 12.34, 123.4, 1_234_567.8, -1234.0].map(figure);
        assert_eq!(told, ["0.0123", "1.23", "12.3", "123", "1,234,568", "-1,234"]);
    }

    #[test]
    fn a_ratio_is_the_median_within_the_rounds_and_is_judged() {
        let mut table = Table::new("row", "title", "ms").with(vec![
            Series { name: "a".into(), values: vec![1.0, 20.0, 3.0] },
            Series { name: "b".into(), values: vec![2.0, 40.0, 3.0] },
        ]);
        table.ratio("a", "b", Some(Goal::AtMost(0.5)));
        table.ratio("a", "missing", None);
        let json = table.json();
        assert_eq!(json["ratios"][0]["value"], 0.5);
        assert_eq!(json["ratios"][0]["reached"], true);
        assert_eq!(json["ratios"].as_array().unwrap().len(), 1);
        assert!(table.markdown().contains("at most 0.50: reached"));
    }
}
