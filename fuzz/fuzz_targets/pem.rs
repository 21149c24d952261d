#![no_main]

#[path = "../src/pem.rs"]
mod pem;

libfuzzer_sys::fuzz_target!(|data: &[u8]| pem::pem(data));
