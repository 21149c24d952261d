//! From a frame that asks for a command to the job that it becomes.

pub mod authorize;
pub mod start;
