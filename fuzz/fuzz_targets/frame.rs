#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rcmd_fuzz::frame(data));
