#![no_main]

#[path = "../src/client_files.rs"]
mod client_files;

libfuzzer_sys::fuzz_target!(|data: &[u8]| client_files::client_files(data));
