#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| channels_fuzz::messages(input));
