//! What both ends do with contents: digests that they compare, chunks by which two versions are compared, and a
//! smaller form for the way.

pub(crate) mod chunks;
pub(crate) mod digest;
pub(crate) mod packing;
