//! EDNS(0), client subnet, cookies, the name of the server and how long a connection may be idle, exactly as in RFC 6891,
//! 7871, 7873, 5001 and 7828; padding as in RFC 7830 and RFC 8467.
//!
//! # Invariants
//! - A client's subnet is written back bit by bit; only the scope is ours.
//! - The OPT record is the last of an answer, and padding is its last option, so that its length is known.
//! - An OPT record that breaks a rule is a fault of the query. The answer still has an OPT record, so the sender learns
//!   that we speak EDNS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cookie::{self, Cookie};
use super::wire::{Reader, TYPE_OPT};

/// Option code of the server's name (RFC 5001).
const NSID: u16 = 3;

/// Option code of client subnet.
const CLIENT_SUBNET: u16 = 8;

/// Option code of cookies.
const COOKIE: u16 = 10;

/// Option code of how long a TCP connection may be idle (RFC 7828).
const TCP_KEEPALIVE: u16 = 11;

/// Option code of padding (RFC 7830).
const PADDING: u16 = 12;

/// Answers are padded to multiples of this number of octets (RFC 8467, section 4.1).
const BLOCK: usize = 468;

/// Most octets of a message over TCP and TLS.
const MOST: usize = u16::MAX as usize;

/// The bit of the OPT record's flags that asks for DNSSEC records.
const DNSSEC_OK: u16 = 0x8000;

/// The bit that allows NXDOMAIN together with a compact proof (RFC 9824, section 5.1).
const COMPACT_OK: u16 = 0x4000;

/// The contents of a query's OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    /// The largest UDP answer that the client accepts.
    pub payload: u16,
    pub version: u8,
    /// Copied into the answer (RFC 3225).
    pub dnssec_ok: bool,
    /// The client takes NXDOMAIN with a compact proof. Copied into answers that are signed.
    pub compact_ok: bool,
    pub subnet: Option<ClientSubnet>,
    /// The client asks which server answers (RFC 5001).
    pub asks_nsid: bool,
    pub cookie: Option<Cookie>,
    /// The client asks how long a connection may be idle (RFC 7828).
    pub asks_idle: bool,
    /// The client pads its queries, so it wants padded answers (RFC 7830).
    pub asks_padding: bool,
}

/// The contents of an answer's OPT record that are not in the query's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told<'a> {
    /// The largest UDP message that we send.
    pub payload: u16,
    pub extended_rcode: u8,
    /// The scope of the client's subnet.
    pub scope: u8,
    /// Our name, for a client that asks for it; empty if we have none.
    pub nsid: &'a [u8],
    /// The contents of the answer's cookie, if the query had one.
    pub cookie: Option<[u8; cookie::WHOLE]>,
    /// How long the connection may be idle, in tenths of a second, for a client that asks for it; `None` over UDP.
    pub idle: Option<u16>,
    /// The transport hides everything but lengths, so padding has a purpose.
    pub is_private: bool,
    /// The zone is signed.
    pub is_signed: bool,
}

/// A client's network, as a resolver sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientSubnet {
    /// Its bits beyond `source` are zero.
    pub address: IpAddr,
    /// Number of bits of the address that were sent.
    pub source: u8,
}

/// A rule of RFC 6891, RFC 7871 or RFC 7873 is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadOption;

impl Edns {
    /// The fields of an OPT record that are always valid.
    pub(super) fn new(class: u16, ttl: u32) -> Edns {
        let version = (ttl >> 16) as u8;
        let flags = ttl as u16;
        let dnssec_ok = flags & DNSSEC_OK != 0;
        Edns {
            payload: class,
            version,
            dnssec_ok,
            compact_ok: dnssec_ok && flags & COMPACT_OK != 0,
            subnet: None,
            asks_nsid: false,
            cookie: None,
            asks_idle: false,
            asks_padding: false,
        }
    }

    /// Reads the options and ignores unknown ones.
    pub(super) fn read_options(&mut self, data: &[u8]) -> Result<(), BadOption> {
        let mut reader = Reader::new(data);
        while !reader.is_empty() {
            let (code, length) = (reader.u16().ok_or(BadOption)?, reader.u16().ok_or(BadOption)?);
            let option = reader.take(usize::from(length)).ok_or(BadOption)?;
            match code {
                CLIENT_SUBNET => {
                    let subnet = ClientSubnet::read(option)?;
                    // Two subnets contradict each other, and nothing says which one is right.
                    if self.subnet.replace(subnet).is_some() {
                        return Err(BadOption);
                    }
                }
                // It should be empty, and a server ignores what is in it (RFC 5001, section 2).
                NSID => self.asks_nsid = true,
                // The first one counts, and the others are ignored (RFC 7873, section 5.2).
                COOKIE if self.cookie.is_none() => self.cookie = Some(Cookie::read(option).ok_or(BadOption)?),
                // Its time is the server's to tell; one in a query means nothing.
                TCP_KEEPALIVE => self.asks_idle = true,
                PADDING => self.asks_padding = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// The length of what [`Edns::write`] writes, without padding, for which there always is room.
    pub(super) fn written_len(&self, told: &Told<'_>) -> usize {
        11 + self.options_len(told)
    }

    fn options_len(&self, told: &Told<'_>) -> usize {
        let subnet = self.subnet.map_or(0, |subnet| 8 + subnet.octets());
        let cookie = told.cookie.map_or(0, |cookie| 4 + cookie.len());
        let idle = self.idle(told).map_or(0, |_| 6);
        subnet + cookie + idle + self.nsid(told).map_or(0, |name| 4 + name.len())
    }

    /// The time that a connection may be idle, if there is one and the client asks for it.
    fn idle(&self, told: &Told<'_>) -> Option<u16> {
        told.idle.filter(|_| self.asks_idle)
    }

    /// Our name, if the client asks for it.
    fn nsid<'a>(&self, told: &Told<'a>) -> Option<&'a [u8]> {
        Some(told.nsid).filter(|name| self.asks_nsid && !name.is_empty())
    }

    /// The OPT record at the end of an answer.
    pub(super) fn write(&self, out: &mut Vec<u8>, told: &Told<'_>) {
        out.push(0);
        out.extend_from_slice(&TYPE_OPT.to_be_bytes());
        out.extend_from_slice(&told.payload.to_be_bytes());
        // We speak version 0, whatever the query asked for.
        out.extend_from_slice(&[told.extended_rcode, 0]);
        let compact_ok = if self.compact_ok && told.is_signed { COMPACT_OK } else { 0 };
        out.extend_from_slice(&(if self.dnssec_ok { DNSSEC_OK | compact_ok } else { 0 }).to_be_bytes());
        let options = self.options_len(told);
        // Behind the length of the options, which is written now, come the options.
        let padding = padding(out.len() + 2 + options).filter(|_| self.asks_padding && told.is_private);
        let all = options + padding.map_or(0, |padding| 4 + padding);
        out.extend_from_slice(&(all as u16).to_be_bytes());
        if let Some(name) = self.nsid(told) {
            push_head(out, NSID, name.len());
            out.extend_from_slice(name);
        }
        if let Some(cookie) = told.cookie {
            push_head(out, COOKIE, cookie.len());
            out.extend_from_slice(&cookie);
        }
        if let Some(idle) = self.idle(told) {
            push_head(out, TCP_KEEPALIVE, 2);
            out.extend_from_slice(&idle.to_be_bytes());
        }
        if let Some(subnet) = self.subnet {
            push_head(out, CLIENT_SUBNET, 4 + subnet.octets());
            subnet.write(out, told.scope);
        }
        if let Some(padding) = padding {
            push_head(out, PADDING, padding);
            out.resize(out.len() + padding, 0);
        }
    }
}

/// The number of octets that pad a message of this length, apart from the option's head; `None` if there is no room for it.
/// A message that a whole block would make too long gets as much as there is room for (RFC 8467, section 4.1).
fn padding(length: usize) -> Option<usize> {
    let with_head = length + 4;
    with_head.next_multiple_of(BLOCK).min(MOST).checked_sub(with_head)
}

/// Code and length of an option. No option of ours is longer than a block.
fn push_head(out: &mut Vec<u8>, code: u16, length: usize) {
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&(length as u16).to_be_bytes());
}

impl ClientSubnet {
    /// How many octets of the address are on the wire.
    fn octets(self) -> usize {
        usize::from(self.source.div_ceil(8))
    }

    fn write(self, out: &mut Vec<u8>, scope: u8) {
        match self.address {
            IpAddr::V4(address) => {
                out.extend_from_slice(&[0, 1, self.source, scope]);
                out.extend_from_slice(&address.octets()[..self.octets()]);
            }
            IpAddr::V6(address) => {
                out.extend_from_slice(&[0, 2, self.source, scope]);
                out.extend_from_slice(&address.octets()[..self.octets()]);
            }
        }
    }

    /// Section 6 of RFC 7871: a known family, no scope in a query, as many octets as the prefix needs, and no bit
    /// beyond it.
    fn read(option: &[u8]) -> Result<ClientSubnet, BadOption> {
        let [0, family, source, 0, told @ ..] = option else { return Err(BadOption) };
        let address = match family {
            1 => IpAddr::V4(Ipv4Addr::from(padded::<4>(told, *source)?)),
            2 => IpAddr::V6(Ipv6Addr::from(padded::<16>(told, *source)?)),
            _ => return Err(BadOption),
        };
        Ok(ClientSubnet { address, source: *source })
    }
}

fn padded<const N: usize>(told: &[u8], source: u8) -> Result<[u8; N], BadOption> {
    let needed = usize::from(source.div_ceil(8));
    if needed > N || told.len() != needed {
        return Err(BadOption);
    }
    let mut octets = [0; N];
    octets[..needed].copy_from_slice(told);
    let host_bits = (8 - source % 8) % 8;
    match told.last() {
        Some(last) if last.trailing_zeros() < u32::from(host_bits) => Err(BadOption),
        _ => Ok(octets),
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, MOST, padding};

    #[test]
    fn padded_lengths_are_multiples_of_a_block_as_far_as_a_message_goes() {
        for length in 12..MOST + 100 {
            match padding(length) {
                Some(padding) => {
                    let all = length + 4 + padding;
                    assert!(all.is_multiple_of(BLOCK) || all == MOST && length + 4 > MOST / BLOCK * BLOCK, "{length}");
                    assert!(padding < BLOCK, "{length}");
                }
                None => assert!(length + 4 > MOST, "{length}"),
            }
        }
    }
}
