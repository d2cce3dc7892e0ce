//! Frames from a peer: decoding never panics, and what it accepts survives being encoded and decoded again.
#![no_main]

mod seeds;

use libfuzzer_sys::fuzz_target;
use replication::{Frame, Protocol};

fuzz_target!(init: seeds::write_if_asked(), |bytes: &[u8]| {
    if let Ok(frame) = Frame::decode(bytes) {
        // A greeting of a later version is read as well; no other frame is.
        let is_oldest = bytes[0].to_string() == Protocol::OLDEST.to_string();
        let version = if is_oldest { Protocol::OLDEST } else { Protocol::NEWEST };
        let again = Frame::decode(&frame.encode_in(version));
        assert_eq!(Some(&frame), again.as_ref().ok());
    }
});
