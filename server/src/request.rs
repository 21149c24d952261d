//! From a frame that asks for a command to the job that it becomes.

pub(crate) mod authorize;
pub(crate) mod start;
