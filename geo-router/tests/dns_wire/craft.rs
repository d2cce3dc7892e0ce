//! Builds queries octet by octet, including queries that no library would write.

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const SOA: u16 = 6;
pub(crate) const MX: u16 = 15;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const OPT: u16 = 41;
pub(crate) const IXFR: u16 = 251;
pub(crate) const AXFR: u16 = 252;
pub(crate) const ANY: u16 = 255;

/// The identifier of every crafted query.
pub(crate) const ID: u16 = 0x4D21;

pub(crate) fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [ID, flags].iter().chain(&counts).flat_map(|number| number.to_be_bytes()).collect()
}

pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}

pub(crate) fn question(text: &str, kind: u16) -> Vec<u8> {
    question_of(text, kind, 1)
}

pub(crate) fn question_of(text: &str, kind: u16, class: u16) -> Vec<u8> {
    [name(text), kind.to_be_bytes().to_vec(), class.to_be_bytes().to_vec()].concat()
}

/// An option of EDNS.
pub(crate) fn option(code: u16, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

/// The option of a client's subnet, valid or not.
pub(crate) fn subnet(family: u16, source: u8, scope: u8, address: &[u8]) -> Vec<u8> {
    option(8, &[&family.to_be_bytes()[..], &[source, scope], address].concat())
}

/// An OPT record.
pub(crate) fn opt(payload: u16, version: u8, flags: u16, options: &[u8]) -> Vec<u8> {
    let mut octets = vec![0];
    octets.extend_from_slice(&OPT.to_be_bytes());
    octets.extend_from_slice(&payload.to_be_bytes());
    octets.extend_from_slice(&[0, version]);
    octets.extend_from_slice(&flags.to_be_bytes());
    octets.extend_from_slice(&(options.len() as u16).to_be_bytes());
    octets.extend_from_slice(options);
    octets
}

/// A plain query.
pub(crate) fn plain(text: &str, kind: u16) -> Vec<u8> {
    [header(0x0100, [1, 0, 0, 0]), question(text, kind)].concat()
}

/// A query with options.
pub(crate) fn edns(text: &str, kind: u16, options: &[u8]) -> Vec<u8> {
    [header(0x0100, [1, 0, 0, 1]), question(text, kind), opt(1_232, 0, 0, options)].concat()
}
