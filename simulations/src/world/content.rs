//! The text of large corrections.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// Incompressible text of this length. It differs for each operation and is the same in every region.
pub(super) fn filler(operation: usize, bytes: usize) -> String {
    const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    let block = |block: u64| {
        let mut hasher = SipHasher13::new_with_keys(operation as u64, block);
        hasher.write_u8(0);
        hasher.finish128().as_bytes()
    };
    let digits = (0..).flat_map(block).map(|byte| char::from(DIGITS[usize::from(byte % 64)]));
    digits.take(bytes).collect()
}
