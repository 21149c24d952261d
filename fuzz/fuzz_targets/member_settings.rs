#![no_main]

#[path = "../src/member_settings.rs"]
mod member_settings;

libfuzzer_sys::fuzz_target!(|data: &[u8]| member_settings::member_settings(data));
