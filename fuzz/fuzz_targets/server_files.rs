#![no_main]

#[path = "../src/server_files.rs"]
mod server_files;

libfuzzer_sys::fuzz_target!(|data: &[u8]| server_files::server_files(data));
