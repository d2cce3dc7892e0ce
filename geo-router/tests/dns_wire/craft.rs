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

/// The contents of an OPT record: the upper bits of the code, and the options in their order.
pub(crate) type OptRecord = (u16, Vec<(u16, Vec<u8>)>);

/// The OPT record of an answer in which every other record has an owner of two octets or a whole name.
pub(crate) fn opt_of(answer: &[u8]) -> Option<OptRecord> {
    let count = |at: usize| usize::from(u16::from_be_bytes([answer[at], answer[at + 1]]));
    let owner = |mut at: usize| loop {
        match usize::from(answer[at]) {
            0 => return at + 1,
            0xC0.. => return at + 2,
            length => at += length + 1,
        }
    };
    let mut at = 12;
    for _ in 0..count(4) {
        at = owner(at) + 4;
    }
    let mut found = None;
    for _ in 0..count(6) + count(8) + count(10) {
        at = owner(at);
        let length = count(at + 8);
        if count(at) == usize::from(OPT) {
            let mut left = &answer[at + 10..at + 10 + length];
            let mut options = Vec::new();
            while let [code_high, code_low, high, low, rest @ ..] = left {
                let (data, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                options.push((u16::from_be_bytes([*code_high, *code_low]), data.to_vec()));
                left = rest;
            }
            found = Some((u16::from(answer[at + 4]), options));
        }
        at += 10 + length;
    }
    assert_eq!(at, answer.len(), "nothing is behind the records");
    found
}

/// An option of an answer.
pub(crate) fn option_of(answer: &[u8], code: u16) -> Option<Vec<u8>> {
    let (_, options) = opt_of(answer)?;
    options.into_iter().find(|(known, _)| *known == code).map(|(_, data)| data)
}

/// A plain query.
pub(crate) fn plain(text: &str, kind: u16) -> Vec<u8> {
    [header(0x0100, [1, 0, 0, 0]), question(text, kind)].concat()
}

/// A query with options.
pub(crate) fn edns(text: &str, kind: u16, options: &[u8]) -> Vec<u8> {
    [header(0x0100, [1, 0, 0, 1]), question(text, kind), opt(1_232, 0, 0, options)].concat()
}
