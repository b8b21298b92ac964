//! The memory for decoding a message, counted by the allocator. There is one test, because the counts are per process.

#![allow(clippy::unwrap_used)] // all of it is a test

use std::alloc::System;

use channel_layer::Message;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The documented bound, for each byte of the input.
const MOST: usize = 80;
/// The memory of an empty message.
const EMPTY: usize = 1024;

/// All memory allocated during the decoding, including that of failures.
fn allocated(input: &[u8]) -> (usize, bool) {
    let region = Region::new(ALLOCATOR);
    let is_read = Message::from_bytes(input).is_ok();
    (region.change().bytes_allocated, is_read)
}

fn list(item: &[u8], count: u32) -> Vec<u8> {
    [b"\x81\xa1v\xdd", &count.to_be_bytes()[..], &item.repeat(count as usize)].concat()
}

#[test]
fn decoding_memory_is_bounded() {
    let keys: Vec<u8> = (0..10_000_u16)
        .flat_map(|n| [b"\xa2", &[b'0' + (n % 64) as u8, (n / 128) as u8][..], b"\xc0"].concat())
        .collect();
    let densest: [(&str, Vec<u8>); 9] = [
        ("nulls", list(b"\xc0", 100_000)),
        ("empty lists", list(b"\x90", 100_000)),
        ("empty maps", list(b"\x80", 100_000)),
        ("lists of one", list(b"\x91\xc0", 100_000)),
        ("maps of one", list(b"\x81\xa0\xc0", 100_000)),
        ("texts of one", list(b"\xa1x", 100_000)),
        ("nested", list(&[&[0x91; 100][..], b"\xc0"].concat(), 1000)),
        ("many keys", [b"\xde\x27\x10", &keys[..]].concat()),
        ("one key", [b"\xde\x27\x10", &b"\xa0\xc0".repeat(10_000)[..]].concat()),
    ];
    for (name, input) in densest {
        let (bytes, is_read) = allocated(&input);
        println!("{name}: {} bytes for each", bytes / input.len());
        assert!(is_read, "{name}");
        assert!(bytes <= MOST * input.len() + EMPTY, "{name}: {bytes} bytes for {}", input.len());
    }
    let hostile: [&[u8]; 6] = [
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1v\xdd\xff\xff\xff\xff",
        b"\x81\xa1v\xdf\xff\xff\xff\xff",
        b"\x81\xa1v\xdb\xff\xff\xff\xff",
        b"\x81\xa1v\xc6\xff\xff\xff\xff",
        &[&b"\x81\xa1v"[..], &b"\xdc\xff\xff".repeat(100)].concat(),
    ];
    for input in hostile {
        let (bytes, is_read) = allocated(input);
        assert!(!is_read && bytes <= MOST * input.len() + EMPTY, "{bytes} bytes for {input:x?}");
    }
}
