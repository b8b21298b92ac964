#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| channel_layer_redis::fuzz_targets::address(input));
