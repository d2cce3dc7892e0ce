//! Turns the octets of a query into the octets of its answer: one function for every transport, without I/O.
//!
//! # Invariants
//! - The question comes back octet by octet, with the upper and lower case of the query (0x20).
//! - An answer has an OPT record if and only if the query had one; the client's subnet comes back as it was sent.
//! - An answer that depends on the client states the network for which it holds: a leaf of the merged, disjoint table,
//!   which health never changes. Every other answer, and every negative one, holds for all (scope 0; RFC 7871, section
//!   7.4).
//! - The addresses of the client's own region come first in an answer. Those of further regions follow as far as they fit,
//!   and are never a reason to truncate it.
//! - Over UDP an answer is no longer than the client accepts, and no longer than `udp_size`.

use std::net::{IpAddr, Ipv6Addr};

use super::answers::{Answers, NameRecords, RecordSet};
use super::config::MOST_REGIONS;
use super::cookie::Proof;
use super::dnssec::Asker;
use super::edns::{ClientSubnet, Told};
use super::limit::Verdict;
use super::query::{self, DropReason, Fault, Question};
use super::reply::{Records, Reply, Room, Routed, write};
use super::secure::secure;
use super::wire::{
    CLASS_IN, Rcode, TYPE_A, TYPE_AAAA, TYPE_ANY, TYPE_AXFR, TYPE_CNAME, TYPE_DS, TYPE_IXFR, TYPE_NSEC, TYPE_NXNAME,
    TYPE_OPT, TYPE_RRSIG, TYPE_TXT,
};
use crate::fleet::RegionIndex;
use api::explanation::AddressSource;

/// The transport of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over TCP.
    Tcp,
    /// Over TLS.
    Tls,
}

/// The facts about a query besides its octets.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedFrom {
    /// The sender, usually a resolver.
    pub from: IpAddr,
    /// The transport.
    pub transport: Transport,
    /// Seconds since 1970, of which only the low 32 bits count: cookies and signatures have a time.
    pub time: u32,
    /// How long its connection may be idle, in tenths of a second; `None` over UDP.
    pub idle: Option<u16>,
}

/// The outcome of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    /// The answer was written.
    Answered(Answered),
    /// There is no answer.
    Dropped(DropReason),
}

/// Facts about an answer, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The type that was asked for, if it could be parsed.
    pub kind: Option<u16>,
    /// The outcome.
    pub rcode: Rcode,
    /// The answer did not fit and was left out.
    pub truncated: bool,
    /// The query carried a client's subnet.
    pub subnet: bool,
    /// Where the client was sent.
    pub routed: Option<Routed>,
    /// The proof of the query's cookie, if it had one.
    pub(super) cookie: Option<Proof>,
}

/// Answers one query into `out`, for any input. `limit` says how the rate limit treats it, given whether a cookie shows
/// that its address is not forged.
pub fn answer(
    message: &[u8],
    asked: ReceivedFrom,
    answers: &Answers,
    limit: impl FnOnce(bool) -> Verdict,
    out: &mut Vec<u8>,
) -> QueryOutcome {
    out.clear();
    let query = match query::read(message) {
        Ok(query) => query,
        Err(reason) => return QueryOutcome::Dropped(reason),
    };
    let cookie = query.edns.and_then(|edns| edns.cookie);
    let cookie = cookie.map(|cookie| answers.cookie_secrets.check(&cookie, asked.from, asked.time));
    let is_proven = cookie.is_some_and(|cookie| cookie.proof == Proof::Good);
    let mut is_limited = match limit(is_proven) {
        Verdict::Answer => false,
        Verdict::Slip => true,
        Verdict::Drop => return QueryOutcome::Dropped(DropReason::Limited),
    };
    let mut reply = match (query.fault, &query.question) {
        // A resolver that relies on an answer does not send malformed queries at such a rate.
        (Some(_), _) if is_limited => return QueryOutcome::Dropped(DropReason::Limited),
        (Some(Fault::Operation), _) => Reply::refusal(Rcode::NotImp),
        (Some(Fault::Version), _) => Reply::refusal(Rcode::BadVers),
        (Some(Fault::Format), _) => Reply::refusal(Rcode::FormErr),
        // Only a query for a cookie has no question.
        (None, None) => Reply::refusal(Rcode::NoError),
        (None, Some(_)) if is_limited => Reply::refusal(Rcode::NoError),
        (None, Some(question)) => resolve(question, query.edns.and_then(|edns| edns.subnet), asked.from, answers),
    };
    let most = match asked.transport {
        Transport::Udp => query.edns.map_or(512, |edns| edns.payload.clamp(512, answers.udp_size)),
        Transport::Tcp | Transport::Tls => u16::MAX,
    };
    let told = Told {
        payload: answers.udp_size,
        extended_rcode: reply.rcode as u8 >> 4,
        scope: reply.scope,
        nsid: &answers.nsid,
        cookie: cookie.map(|cookie| cookie.answer),
        idle: asked.idle,
        is_private: asked.transport == Transport::Tls,
        is_signed: answers.signer.is_some(),
    };
    if let (Some(signer), Some(edns), Some(question)) = (&answers.signer, &query.edns, &query.question)
        && edns.dnssec_ok
    {
        let asker = Asker { time: asked.time, is_proven: is_proven || asked.transport != Transport::Udp };
        let room = Room::of(most, &query, &told, is_limited).records;
        if secure(&mut reply, question, edns.compact_ok, room, answers, signer, asker).is_err() {
            // An answer without its signatures would be taken for a forged one, and a code without a proof as well.
            (reply.rcode, is_limited) = (Rcode::NoError, true);
        }
    }
    let room = Room::of(most, &query, &told, is_limited);
    let truncated = write(&query, &reply, &told, room, answers, out);
    QueryOutcome::Answered(Answered {
        kind: query.question.map(|question| question.kind),
        rcode: reply.rcode,
        truncated,
        subnet: query.edns.is_some_and(|edns| edns.subnet.is_some()),
        routed: reply.routed,
        cookie: cookie.map(|cookie| cookie.proof),
    })
}

/// The zone's records for a question.
fn resolve<'a>(question: &Question<'_>, subnet: Option<ClientSubnet>, from: IpAddr, answers: &'a Answers) -> Reply<'a> {
    if matches!(question.kind, TYPE_OPT | TYPE_NXNAME) {
        return Reply::refusal(Rcode::FormErr);
    }
    let mut lower = [0; 256];
    let name = &mut lower[..question.name.len()];
    name.copy_from_slice(question.name);
    // Lengths of labels are smaller than the codes of letters, so only letters change.
    name.make_ascii_lowercase();
    let node = answers.node(name);
    let Some(zone) = (match node {
        Some(_) => name.len().checked_sub(answers.apex_len()),
        None => answers.zone_within(name),
    }) else {
        return Reply::refusal(Rcode::Refused);
    };
    if question.class != CLASS_IN || matches!(question.kind, TYPE_AXFR | TYPE_IXFR) {
        return Reply::refusal(Rcode::Refused);
    }
    // The question for DS is the only one at a delegation that this zone answers (RFC 4035, section 3.1.4.1).
    let referral = answers.delegations.find(name, zone).filter(|(at, _)| *at > 0 || question.kind != TYPE_DS);
    if let Some((at, delegation)) = referral {
        return Reply { records: Records::Referral(at, delegation), ..Reply::refusal(Rcode::NoError) };
    }
    let negative = |rcode| Reply { authoritative: true, records: Records::Start(zone), ..Reply::refusal(rcode) };
    let Some(node) = node else { return negative(Rcode::NxDomain) };
    let kept = |set: &'a RecordSet| match set.count {
        0 => negative(Rcode::NoError),
        _ => Reply { authoritative: true, records: Records::Kept(set), ..Reply::refusal(Rcode::NoError) },
    };
    match (node, question.kind) {
        (NameRecords::Fixed(sets), TYPE_ANY) if sets.is_empty() => negative(Rcode::NoError),
        (_, TYPE_ANY) => kept(&answers.any),
        // Signatures are no more to be asked for than everything is (RFC 8482, section 7).
        (_, TYPE_RRSIG) if answers.signer.is_some() => kept(&answers.any),
        (_, TYPE_NSEC) if answers.signer.is_some() => {
            let records = Records::Made(answers.existence(node, name));
            Reply { authoritative: true, records, ..Reply::refusal(Rcode::NoError) }
        }
        (NameRecords::Routed(_), TYPE_A | TYPE_AAAA) => {
            let client = Client::of(subnet, from);
            let route = answers.view.route(client.address);
            let addresses = |region: RegionIndex| {
                let of_region = &answers.regions[region.at()];
                if question.kind == TYPE_A { &of_region.a } else { &of_region.aaaa }
            };
            // Another region is no substitute: clients prefer IPv6, so they would leave their region for it.
            if addresses(route.region).count == 0 {
                return negative(Rcode::NoError);
            }
            let mut regions = [route.region; MOST_REGIONS];
            let takes = |region: RegionIndex| answers.takes_more[region.at()] && addresses(region).count > 0;
            let count = answers.view.others(&route, takes, &mut regions[..answers.regions_per_answer]);
            let mut sets = [None; MOST_REGIONS];
            for (set, region) in sets.iter_mut().zip(&regions[..count]) {
                *set = Some(addresses(*region));
            }
            let known = answers.view.places.place(route.leaf.class).is_known();
            let routed = Routed { region: route.region, reason: route.reason, source: client.source, known };
            let scope = client.scope(route.leaf.prefix);
            Reply {
                rcode: Rcode::NoError,
                authoritative: true,
                records: Records::Regions(sets),
                scope,
                routed: Some(routed),
                secured: None,
            }
        }
        // An alias stands alone at its name, and is the answer whatever is asked for (RFC 1034, section 3.6.2).
        (NameRecords::Fixed(sets) | NameRecords::Routed(sets), kind) => {
            let set = sets.iter().find(|(known, _)| *known == kind || *known == TYPE_CNAME);
            set.map_or_else(|| negative(Rcode::NoError), |(_, set)| kept(set))
        }
        (NameRecords::Explain, TYPE_TXT) if !answers.explains_to(from) => Reply::refusal(Rcode::Refused),
        (NameRecords::Explain, TYPE_TXT) => {
            let client = Client::of(subnet, from);
            let records = Records::Made(answers.explanation(client.address, client.source));
            let scope = client.scope(answers.view.places.leaf(client.address).prefix);
            Reply { authoritative: true, records, scope, ..Reply::refusal(Rcode::NoError) }
        }
        (NameRecords::Explain, _) => negative(Rcode::NoError),
    }
}

/// The client of an answer.
struct Client {
    address: IpAddr,
    source: AddressSource,
    /// Whether the subnet was an IPv4 address mapped into IPv6.
    is_v4_mapped: bool,
}

impl Client {
    /// The client whose subnet was sent; the resolver if none was sent, or one of length 0 (RFC 7871, section 7.1.2).
    fn of(subnet: Option<ClientSubnet>, from: IpAddr) -> Client {
        match subnet {
            Some(ClientSubnet { address, source: 1.. }) => {
                let is_v4_mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
                // A mapped address would be found in the IPv4 table, whose prefixes are not scopes in IPv6. There is no
                // such network on the Internet, so the address gets the answer of its neighbourhood in IPv6.
                let address = if is_v4_mapped { Ipv6Addr::UNSPECIFIED.into() } else { address };
                Client { address, source: AddressSource::ClientSubnet, is_v4_mapped }
            }
            _ => Client { address: from, source: AddressSource::Resolver, is_v4_mapped: false },
        }
    }

    /// The scope of an answer that holds for a prefix of the table.
    fn scope(&self, prefix: u8) -> u8 {
        match self.source {
            // ::ffff:0:0/96 is not part of a leaf that begins at :: and is this narrow.
            AddressSource::ClientSubnet if self.is_v4_mapped && prefix > 80 => 128,
            AddressSource::ClientSubnet => prefix,
            AddressSource::Resolver | AddressSource::Given => 0,
        }
    }
}
