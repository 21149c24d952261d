//! The Debian packages: what is in them, and how they are installed, upgraded and removed, in a Debian of their own and
//! under its service manager.

mod booted;
mod contents;
mod life;
mod packages;
mod root;
mod service;
