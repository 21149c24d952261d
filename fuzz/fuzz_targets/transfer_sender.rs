#![no_main]

#[path = "../src/transfer.rs"]
#[allow(dead_code)] // The other end has a target of its own.
mod transfer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| transfer::transfer_sender(data));
