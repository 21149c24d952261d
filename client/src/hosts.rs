//! Sets of hosts by name: `web[01-20],db1!web07`, in ClusterShell's syntax.
//!
//! | module | holds |
//! | --- | --- |
//! | `expression` | text to terms: names with ranges, groups, wildcards |
//! | `pattern`, `range` | one term's names, counted before they are made |
//! | `evaluation` | terms to a set, by an inventory |
//! | `wildcard` | names with `*` and `?` |
//! | `set` | hosts in the order in which they were written, each once |
//! | `targets` | where the hosts of a set are reached |
//! | `fold` | a set as the shortest text that means it |
//! | `list` | files with an expression a line |
//! | `limits` | how much a set may be, and cost |
//! | `error` | what is wrong, where, and what to write instead |
//!
//! A host is its name as it was written: `a1`, `A1`, `a01` and `a1:7263` are four. A set is made in
//! bounded time and memory whatever the text is: no more than [`MAX_HOSTS`] hosts, known before any
//! is made, and [`MAX_WORK`] names in all of its terms and groups.

mod error;
mod evaluation;
mod expression;
mod fold;
mod limits;
mod list;
mod pattern;
mod range;
mod set;
mod targets;
mod wildcard;

pub use error::{Fault, HostsError, Origin};
pub use evaluation::{Evaluation, IdleExclusion};
pub use expression::Expression;
pub use limits::{MAX_EXPRESSION, MAX_HOSTS, MAX_LIST, MAX_WORK};
pub use list::read_list;
pub use set::HostSet;
pub use targets::HostTarget;

/// Returns whether the text is an expression, and so a set, even if one host is left in it: it has
/// brackets other than those of an IPv6 address, an operator, a wildcard, or begins with `@`.
///
/// ```
/// use rcmd_client::hosts::is_expression;
///
/// assert!(["web[1-3]", "a,b", "@web", "web*", "a!a"].iter().all(|text| is_expression(text)));
/// assert!(["web1", "web1:22", "::1", "[::1]", "[::1]:22", ""].iter().all(|text| !is_expression(text)));
/// ```
#[must_use]
pub fn is_expression(text: &str) -> bool {
    let rest = expression::address_in_brackets(text).map_or(text, |(_, rest)| rest);
    text.starts_with('@') || rest.contains([',', '!', '&', '^', '*', '?', '[', ']'])
}
