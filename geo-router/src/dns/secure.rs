//! Puts signatures and proofs with an answer, for a client that asks for them (DO).
//!
//! # Invariants
//! - Without DO, or in a zone that is not signed, nothing here runs.
//! - Every record of the zone that is answered is signed, except those that belong to other zones: the name servers of a
//!   delegation and their addresses.
//! - A name that does not exist gets NOERROR with a compact proof, because validators that do not know NXNAME would take
//!   NXDOMAIN with it for forged. A client that sets the CO flag gets NXDOMAIN (RFC 9824, section 5.1).
//!
//! # Not here
//! What there is room for: [`super::reply`]. How a signature is made: [`super::dnssec`].

use std::borrow::Cow;

use super::answers::{Answers, RecordSet};
use super::dnssec::{Asker, Exhausted, RrSet, Signer};
use super::query::Question;
use super::reply::{Records, Reply, Secured, push_owned};
use super::wire::{Rcode, TYPE_HINFO, TYPE_NSEC, TYPE_TXT};

/// Octets of an RRSIG record besides the name of the signer, with a pointer as its owner.
const SIGNATURE: usize = 2 + 10 + 18 + 64;

/// Completes an answer whose records have this much room.
///
/// # Errors
/// [`Exhausted`]: the client must ask again over TCP.
pub(super) fn secure<'a>(
    reply: &mut Reply<'a>,
    question: &Question<'_>,
    compact_ok: bool,
    room: usize,
    answers: &'a Answers,
    signer: &Signer,
    asker: Asker,
) -> Result<(), Exhausted> {
    let mut secured = Box::new(Secured::default());
    // Lengths of labels are smaller than the codes of letters, so only letters change.
    let name = || question.name.to_ascii_lowercase();
    let one = |sets: &[&RecordSet], kind: u16| {
        let owner = name();
        let ttl = sets.first().map_or(0, |set| set.ttl());
        let data = sets.iter().flat_map(|set| set.data()).collect();
        let signature = signer.sign_asked(&RrSet { owner: &owner, kind, ttl, data }, asker)?;
        let mut record = Vec::with_capacity(signature.len() + 2);
        push_owned(&mut record, 0, &signature);
        Ok(record)
    };
    match &mut reply.records {
        Records::None => return Ok(()),
        Records::Made(set) if set.count == 0 => return Ok(()),
        Records::Kept(set) if set.signature_count > 0 => {
            (secured.answer, secured.answer_count) = (Cow::Borrowed(&set.signatures[..]), set.signature_count);
        }
        // Only the answer to ANY is the same at every name, and has no signature yet.
        Records::Kept(set) => (secured.answer, secured.answer_count) = (one(&[set], TYPE_HINFO)?.into(), 1),
        Records::Made(set) => {
            let kind = if question.kind == TYPE_NSEC { TYPE_NSEC } else { TYPE_TXT };
            (secured.answer, secured.answer_count) = (one(&[set], kind)?.into(), 1);
        }
        Records::Regions(sets) => {
            // One signature covers the addresses of all regions, so what has no room is left out before it is made.
            let mut left = room.saturating_sub(SIGNATURE + answers.apex_len());
            let mut fits = true;
            for (at, slot) in sets.iter_mut().enumerate() {
                let length = slot.map_or(0, |set| set.bytes.len());
                fits &= at == 0 || length <= left;
                left = left.saturating_sub(length);
                *slot = slot.filter(|_| fits);
            }
            let all: Vec<&'a RecordSet> = sets.iter().flatten().copied().collect();
            (secured.answer, secured.answer_count) = match all[..] {
                [alone] if alone.signature_count > 0 => (Cow::Borrowed(&alone.signatures[..]), alone.signature_count),
                _ => (one(&all, question.kind)?.into(), 1),
            };
        }
        Records::Start(zone) => {
            let proof = answers.denial(&name(), question.kind);
            push_owned(&mut secured.authority, *zone, &answers.negative_signature);
            secured.authority.extend_from_slice(&proof.bytes);
            secured.authority.extend_from_slice(&one(&[&proof], TYPE_NSEC)?);
            secured.authority_count = 3;
            if reply.rcode == Rcode::NxDomain && !compact_ok {
                reply.rcode = Rcode::NoError;
            }
        }
        Records::Referral(at, delegation) => {
            for record in &delegation.proof {
                push_owned(&mut secured.authority, *at, record);
            }
            secured.authority_count = delegation.proof.len() as u16;
        }
    }
    reply.secured = Some(secured);
    Ok(())
}
