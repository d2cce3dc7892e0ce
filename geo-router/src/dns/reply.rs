//! Writes an answer: the header, the records as far as they fit, with their signatures and proofs, and the OPT record.
//!
//! # Invariants
//! - Records are whole or left out. What was asked for and is left out is a reason to ask again over TCP.
//!
//! # Not here
//! What the answer to a query is: [`super::answer`].

use std::borrow::Cow;

use super::answers::{Answers, RecordSet};
use super::config::MOST_REGIONS;
use super::delegations::Delegation;
use super::edns::Told;
use super::query::Query;
use super::wire::{HEADER, Rcode, TO_QUESTION};
use crate::fleet::RegionIndex;
use api::explanation::{AddressSource, RouteReason};

/// Where a client was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The region.
    pub region: RegionIndex,
    /// The reason.
    pub reason: RouteReason,
    /// The source of the address that was looked up.
    pub source: AddressSource,
    /// Whether the location of that address is known.
    pub known: bool,
}

/// An answer before it is written.
pub(super) struct Reply<'a> {
    pub rcode: Rcode,
    pub authoritative: bool,
    pub records: Records<'a>,
    /// The scope of the client's subnet.
    pub scope: u8,
    pub routed: Option<Routed>,
    /// Signatures and proofs, for a client that asks for them.
    pub secured: Option<Box<Secured<'a>>>,
}

/// The records of DNSSEC that go with an answer, whole.
#[derive(Debug, Default)]
pub(super) struct Secured<'a> {
    /// The signatures of the answer.
    pub answer: Cow<'a, [u8]>,
    pub answer_count: u16,
    /// Signatures and proofs of the authority section.
    pub authority: Vec<u8>,
    pub authority_count: u16,
}

/// The records of an answer.
pub(super) enum Records<'a> {
    None,
    Kept(&'a RecordSet),
    /// The addresses of several regions, the client's own first.
    Regions([Option<&'a RecordSet>; MOST_REGIONS]),
    Made(RecordSet),
    /// The SOA record; the zone's name begins at this offset within the question's name.
    Start(usize),
    /// The question is for other name servers; the name of the delegation begins at this offset within the question's name.
    Referral(usize, &'a Delegation),
}

const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
/// Operation and "recursion desired" come back as they were sent (RFC 1035, section 4.1.1). "Checking disabled" does not: it
/// is for validating resolvers, and an authority clears it (RFC 4035, section 3.1.6). That holds for operations that we do
/// not know as well (RFC 8906, section 8.1.4).
const KEPT_FLAGS: u16 = 0x7900;
const RESPONSE: u16 = 0x8000;

impl Reply<'_> {
    /// An answer that is only a code.
    pub(super) fn refusal(rcode: Rcode) -> Reply<'static> {
        Reply { rcode, authoritative: false, records: Records::None, scope: 0, routed: None, secured: None }
    }
}

/// The room of an answer.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// For records, in octets.
    pub records: usize,
    /// It is above the rate limit: the answer only tells the client to use TCP.
    pub is_limited: bool,
}

impl Room {
    /// What header, question and OPT record leave of an answer of `most` octets.
    pub(super) fn of(most: u16, query: &Query<'_>, told: &Told<'_>, is_limited: bool) -> Room {
        let question = query.question.map_or(0, |question| question.bytes.len());
        let always = HEADER + question + query.edns.map_or(0, |edns| edns.written_len(told));
        Room { records: usize::from(most).saturating_sub(always), is_limited }
    }
}

/// Writes an answer. Returns whether something was left out, so that the client must ask again over TCP.
pub(super) fn write(
    query: &Query<'_>,
    reply: &Reply<'_>,
    told: &Told<'_>,
    room: Room,
    answers: &Answers,
    out: &mut Vec<u8>,
) -> bool {
    let Room { records: room, is_limited } = room;
    let question = query.question.map_or(&[][..], |question| question.bytes);

    let (mut counts, mut additional) = ([0_u16; 3], &[][..]);
    let (mut owner, mut authority): (usize, &[Vec<u8>]) = (0, &[]);
    let mut sets = match &reply.records {
        Records::Kept(set) => [Some(*set), None, None, None],
        Records::Made(set) => [Some(set), None, None, None],
        Records::Regions(sets) => *sets,
        Records::None | Records::Start(_) | Records::Referral(..) => [None; MOST_REGIONS],
    };
    let mut truncated = is_limited;
    let mut secured = reply.secured.as_deref();
    let signatures = secured.map_or(0, |secured| secured.answer.len());
    if let Some(set) = sets[0] {
        truncated |= set.bytes.len() + signatures > room;
        if truncated {
            sets = [None; MOST_REGIONS];
        } else if set.bytes.len() + set.additional.len() <= room && signatures == 0 {
            // Additional records were not asked for, so leaving them out is not a reason to ask again. They are left out of
            // signed answers, because their signatures would have to be there (RFC 4035, section 3.1.1).
            additional = &set.additional;
            counts[2] = set.additional_count;
        }
        // The first one fits. The order of regions has no gaps: behind one that does not fit there is no other.
        let mut left = room.saturating_sub(signatures);
        for slot in &mut sets {
            match slot.and_then(|set| left.checked_sub(set.bytes.len()).map(|left| (set.count, left))) {
                Some((count, now)) => (counts[0], left) = (counts[0] + count, now),
                None => {
                    left = 0;
                    *slot = None;
                }
            }
        }
    }
    match &reply.records {
        Records::Start(zone) => (owner, authority) = (*zone, std::slice::from_ref(&answers.negative)),
        Records::Referral(at, delegation) => {
            (owner, authority) = (*at, &delegation.servers);
            (additional, counts[2]) = (&delegation.glue, delegation.glue_count);
        }
        Records::None | Records::Kept(_) | Records::Made(_) | Records::Regions(_) => {}
    }
    if !authority.is_empty() {
        // A resolver cannot go on without glue, so it is no less necessary than the rest (RFC 9471, section 3.1).
        let length: usize = authority.iter().map(|record| 2 + record.len()).sum();
        let proofs = secured.map_or(0, |secured| secured.authority.len());
        truncated |= length + proofs + additional.len() > room;
        if truncated {
            (authority, additional, counts[2]) = (&[], &[], 0);
        }
        counts[1] = authority.len() as u16;
    }
    secured = secured.filter(|_| !truncated);
    if let Some(secured) = secured {
        counts[0] += secured.answer_count;
        counts[1] += secured.authority_count;
    }
    counts[2] += u16::from(query.edns.is_some());

    let mut flags = RESPONSE | query.flags & KEPT_FLAGS | u16::from(reply.rcode as u8 & 0x0F);
    flags |= if reply.authoritative { AUTHORITATIVE } else { 0 } | if truncated { TRUNCATED } else { 0 };
    out.extend_from_slice(&query.id);
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[0, u8::from(query.question.is_some())]);
    counts.iter().for_each(|count| out.extend_from_slice(&count.to_be_bytes()));
    out.extend_from_slice(question);
    sets.iter().flatten().for_each(|set| out.extend_from_slice(&set.bytes));
    if let Some(secured) = secured {
        out.extend_from_slice(&secured.answer);
    }
    for record in authority {
        push_owned(out, owner, record);
    }
    if let Some(secured) = secured {
        out.extend_from_slice(&secured.authority);
    }
    out.extend_from_slice(additional);
    if let Some(edns) = query.edns {
        edns.write(out, told);
    }
    truncated
}

/// Appends a record whose owner is the part of the question's name that begins at `owner`.
pub(super) fn push_owned(out: &mut Vec<u8>, owner: usize, record: &[u8]) {
    out.extend_from_slice(&(TO_QUESTION + owner as u16).to_be_bytes());
    out.extend_from_slice(record);
}
