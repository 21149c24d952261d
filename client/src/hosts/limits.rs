//! The limits of sets.

use rcmd_protocol::limits::STRING;

use crate::inventory::name;
pub(crate) use crate::inventory::name::MAX_NAME;

/// The maximum number of hosts in a set.
pub const MAX_HOSTS: usize = name::MAX_HOSTS;

/// The maximum number of names in all terms of a set and of its groups together. A name counts each time.
pub const MAX_WORK: usize = 10 * MAX_HOSTS;

/// The longest expression, in bytes: the longest argument of a program (execve(2)).
pub const MAX_EXPRESSION: usize = STRING;

/// The longest file of expressions, in bytes.
pub const MAX_LIST: u64 = 32 << 20;

/// The maximum number of digits of a number in brackets, including digits next to the brackets.
pub(crate) const MAX_DIGITS: usize = 18;

/// The maximum depth of nested groups.
pub(crate) const DEEPEST: usize = 32;
