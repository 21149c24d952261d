//! What is printed while a command runs, and how.

pub(crate) mod encoding;
pub(crate) mod render;
pub(crate) mod sink;
pub(crate) mod stamp;
pub(crate) mod writer;
