#![no_main]

#[path = "../src/hosts.rs"]
mod hosts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hosts::hosts(data));
