//! EDNS(0) and client subnet, exactly as in RFC 6891 and RFC 7871.
//!
//! # Invariants
//! - A client's subnet is written back bit by bit; only the scope is ours.
//! - An OPT record that breaks a rule is a fault of the query. The answer still has an OPT record, so the sender learns
//!   that we speak EDNS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{Reader, TYPE_OPT};

/// Option code of client subnet.
const CLIENT_SUBNET: u16 = 8;

/// The bit of the OPT record's flags that asks for DNSSEC records.
const DNSSEC_OK: u16 = 0x8000;

/// The contents of a query's OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    /// The largest UDP answer that the client accepts.
    pub payload: u16,
    pub version: u8,
    /// Copied into the answer (RFC 3225).
    pub dnssec_ok: bool,
    pub subnet: Option<ClientSubnet>,
}

/// A client's network, as a resolver sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientSubnet {
    /// Its bits beyond `source` are zero.
    pub address: IpAddr,
    /// Number of bits of the address that were sent.
    pub source: u8,
}

/// A rule of RFC 6891 or RFC 7871 is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadOption;

impl Edns {
    /// The fields of an OPT record that are always valid.
    pub(super) fn new(class: u16, ttl: u32) -> Edns {
        let version = (ttl >> 16) as u8;
        Edns { payload: class, version, dnssec_ok: ttl as u16 & DNSSEC_OK != 0, subnet: None }
    }

    /// Reads the options and ignores unknown ones.
    pub(super) fn read_options(&mut self, data: &[u8]) -> Result<(), BadOption> {
        let mut reader = Reader::new(data);
        while !reader.is_empty() {
            let (code, length) = (reader.u16().ok_or(BadOption)?, reader.u16().ok_or(BadOption)?);
            let option = reader.take(usize::from(length)).ok_or(BadOption)?;
            if code == CLIENT_SUBNET {
                let subnet = ClientSubnet::read(option)?;
                // Two subnets contradict each other, and nothing says which one is right.
                if self.subnet.replace(subnet).is_some() {
                    return Err(BadOption);
                }
            }
        }
        Ok(())
    }

    /// The length of what [`Edns::write`] writes.
    pub(super) fn written_len(&self) -> usize {
        11 + self.subnet.map_or(0, |subnet| 8 + subnet.octets())
    }

    /// The OPT record of an answer.
    pub(super) fn write(&self, out: &mut Vec<u8>, payload: u16, extended_rcode: u8, scope: u8) {
        out.push(0);
        out.extend_from_slice(&TYPE_OPT.to_be_bytes());
        out.extend_from_slice(&payload.to_be_bytes());
        // We speak version 0, whatever the query asked for.
        out.extend_from_slice(&[extended_rcode, 0]);
        out.extend_from_slice(&(if self.dnssec_ok { DNSSEC_OK } else { 0 }).to_be_bytes());
        let Some(subnet) = self.subnet else {
            out.extend_from_slice(&[0, 0]);
            return;
        };
        let octets = subnet.octets() as u16;
        out.extend_from_slice(&(octets + 8).to_be_bytes());
        out.extend_from_slice(&CLIENT_SUBNET.to_be_bytes());
        out.extend_from_slice(&(octets + 4).to_be_bytes());
        match subnet.address {
            IpAddr::V4(address) => {
                out.extend_from_slice(&[0, 1, subnet.source, scope]);
                out.extend_from_slice(&address.octets()[..subnet.octets()]);
            }
            IpAddr::V6(address) => {
                out.extend_from_slice(&[0, 2, subnet.source, scope]);
                out.extend_from_slice(&address.octets()[..subnet.octets()]);
            }
        }
    }
}

impl ClientSubnet {
    /// How many octets of the address are on the wire.
    fn octets(self) -> usize {
        usize::from(self.source.div_ceil(8))
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
