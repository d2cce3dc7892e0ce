//! Frames from a peer: decoding never panics, and what it accepts survives being encoded and decoded again.
#![no_main]

mod seeds;

use libfuzzer_sys::fuzz_target;
use replication::Frame;

fuzz_target!(init: seeds::write_if_asked(), |bytes: &[u8]| {
    if let Ok(frame) = Frame::decode(bytes) {
        let again = Frame::decode(&frame.encode());
        assert_eq!(Some(&frame), again.as_ref().ok());
    }
});
