//! Limits of a request, each refused by its name.

use crate::outcome::{ErrorKind, WireError};

/// Checks that a number of these is within a limit.
///
/// # Errors
/// Fails with kind `too_big`; the message names both numbers.
pub(crate) fn within<N: PartialOrd + std::fmt::Display>(
    what: &str,
    number: N,
    limit: N,
) -> Result<(), WireError> {
    if number <= limit {
        return Ok(());
    }
    Err(WireError::new(ErrorKind::TooBig, format!("{number} {what} are past the limit of {limit}"))
        .hint("Send large input on standard input, or in a file."))
}
