//! Sets of hosts by name: `web[01-20],db1!web07`, in ClusterShell's syntax.
//!
//! | module | holds |
//! | --- | --- |
//! | `expression` | from text to terms: names with ranges, groups, wildcards |
//! | `pattern`, `range` | the names of one term, counted before they are made |
//! | `evaluation` | from terms to a set, with an inventory |
//! | `wildcard` | names with `*` and `?` |
//! | `set` | hosts in the order in which they were written, each once |
//! | `targets` | the addresses of the hosts of a set |
//! | `fold` | from a set to a short expression |
//! | `list` | files with one expression on each line |
//! | `limits` | the limits of size and work |
//! | `error` | errors in expressions, with their place and advice |
//!
//! A host is identified by its name as written: `a1`, `A1`, `a01` and `a1:7263` are four hosts. Time and memory for
//! a set are bounded for every text: it has at most [`MAX_HOSTS`] hosts, counted before any name is made, and its
//! terms and groups have at most [`MAX_WORK`] names together.

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

/// Returns whether a text is an expression and so means a set, even of one host: it has an operator, a wildcard or
/// brackets that are not those of an IPv6 address, or begins with `@`.
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
