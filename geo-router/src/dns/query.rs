//! Reads a query: what it asks, and what is wrong with it.
//!
//! # Invariants
//! - Any octets can be read: nothing here panics or allocates.
//! - The trustworthy part of a broken query is kept, so that its sender gets its question and EDNS back. A resolver
//!   reads an answer without OPT as "no EDNS here" and then leaves out the client's subnet for hours.
//! - A response is never answered, otherwise two servers could answer each other for ever.

use super::edns::Edns;
use super::wire::{HEADER, Reader, TYPE_IXFR, TYPE_OPT};

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Too short to have an identifier.
    Short,
    /// The message is a response.
    Response,
    /// Above the rate limit.
    Limited,
}

/// The fault of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The format is wrong.
    Format,
    /// The operation is not a query.
    Operation,
    /// The version of EDNS is unknown.
    Version,
}

/// A query, as far as it could be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    /// Identifier and flags.
    pub id: [u8; 2],
    pub flags: u16,
    pub question: Option<Question<'a>>,
    pub edns: Option<Edns>,
    pub fault: Option<Fault>,
}

/// The question of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// Name, type and class as in the query, with upper and lower case.
    pub bytes: &'a [u8],
    /// The name alone.
    pub name: &'a [u8],
    pub kind: u16,
    pub class: u16,
}

const RESPONSE: u16 = 0x8000;
const OPERATION: u16 = 0x7800;

/// Reads a message.
pub(super) fn read(message: &[u8]) -> Result<Query<'_>, DropReason> {
    let Some((&[id_high, id_low, flags_high, flags_low, ref counts @ ..], rest)) =
        message.split_first_chunk::<HEADER>()
    else {
        return Err(DropReason::Short);
    };
    let flags = u16::from_be_bytes([flags_high, flags_low]);
    if flags & RESPONSE != 0 {
        return Err(DropReason::Response);
    }
    let counts = [0, 2, 4, 6].map(|at| u16::from_be_bytes([counts[at], counts[at + 1]]));
    let mut query = Query { id: [id_high, id_low], flags, question: None, edns: None, fault: None };
    let well_formed = query.read_body(message, rest, counts).is_some();
    query.fault = if flags & OPERATION != 0 {
        Some(Fault::Operation)
    } else if query.edns.is_some_and(|edns| edns.version != 0) {
        Some(Fault::Version)
    } else if !well_formed {
        Some(Fault::Format)
    } else {
        None
    };
    Ok(query)
}

impl<'a> Query<'a> {
    /// `None` at the first fault; what was read before it stays.
    fn read_body(&mut self, message: &'a [u8], rest: &'a [u8], counts: [u16; 4]) -> Option<()> {
        let [questions, answers, authorities, additionals] = counts;
        let mut reader = Reader::new(message);
        reader.take(message.len() - rest.len())?;
        // TC means nothing in a query, so it is ignored like other flags that do not (RFC 8906, section 3.1.3).
        let mut sound = questions <= 1;
        let mut first = None;
        for _ in 0..questions {
            let bytes = reader.clone();
            let name = reader.plain_name()?;
            let (kind, class) = (reader.u16()?, reader.u16()?);
            first = first.or(Some(Question { bytes: bytes.up_to(&reader), name, kind, class }));
        }
        // If there are several questions, none is repeated, because none of them is answered.
        self.question = first.filter(|_| questions == 1);
        // Only an incremental transfer has records in the authority section (RFC 1995).
        let transfer = self.question.is_some_and(|question| question.kind == TYPE_IXFR);
        sound &= answers == 0 && (authorities == 0 || transfer);
        for _ in 0..u32::from(answers) + u32::from(authorities) {
            let record = read_record(&mut reader)?;
            sound &= record.kind != TYPE_OPT;
            record.data?;
        }
        for _ in 0..additionals {
            let record = read_record(&mut reader)?;
            if record.kind == TYPE_OPT {
                sound &= record.of_root && self.edns.is_none();
                sound &= self.edns.is_some() || self.read_edns(&record);
            }
            record.data?;
        }
        // Without a question a client asks for a cookie alone (RFC 7873, section 5.4).
        let asks = self.question.is_some() || self.edns.is_some_and(|edns| edns.cookie.is_some());
        (sound && asks && reader.is_empty()).then_some(())
    }

    /// Whether its options are valid.
    fn read_edns(&mut self, record: &ResourceRecord<'_>) -> bool {
        let mut edns = Edns::new(record.class, record.ttl);
        // The form of options in other versions is unknown.
        let sound = edns.version != 0 || record.data.is_some_and(|data| edns.read_options(data).is_ok());
        if !sound {
            (edns.subnet, edns.cookie) = (None, None);
        }
        self.edns = Some(edns);
        sound
    }
}

/// A record without its owner.
struct ResourceRecord<'a> {
    of_root: bool,
    kind: u16,
    class: u16,
    ttl: u32,
    /// `None` if its length leads beyond the message.
    data: Option<&'a [u8]>,
}

fn read_record<'a>(reader: &mut Reader<'a>) -> Option<ResourceRecord<'a>> {
    let of_root = reader.skip_owner()?;
    let (kind, class, ttl, length) = (reader.u16()?, reader.u16()?, reader.u32()?, reader.u16()?);
    Some(ResourceRecord { of_root, kind, class, ttl, data: reader.take(usize::from(length)) })
}
