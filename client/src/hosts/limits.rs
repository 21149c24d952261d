//! How much a set may be, and cost.

use rcmd_protocol::limits::STRING;

use crate::inventory::name;
pub(crate) use crate::inventory::name::MAX_NAME;

/// The most hosts of a set.
pub const MAX_HOSTS: usize = name::MAX_HOSTS;

/// The most names that all terms of a set and of its groups may have together, the same name counted
/// each time.
pub const MAX_WORK: usize = 10 * MAX_HOSTS;

/// The longest expression, in bytes: what fits one argument of a program (execve(2)).
pub const MAX_EXPRESSION: usize = STRING;

/// The longest file of expressions, in bytes.
pub const MAX_LIST: u64 = 32 << 20;

/// The most digits of a number in brackets, with those that touch the brackets.
pub(crate) const MAX_DIGITS: usize = 18;

/// How deep groups may hold groups.
pub(crate) const DEEPEST: usize = 32;
