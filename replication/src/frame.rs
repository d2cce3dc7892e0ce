//! Frames of the link protocol: encoding and decoding that never panics.
//!
//! A frame is `version | kind | payload`. Deltas travel in columns (all dots, all ids, all changes, ...) in one zstd
//! block. Neighbours look alike, so a batch is much smaller than the sum of its entries. A change's actor id follows
//! from its content and is left out; its checksum is sent and proves what the receiver rebuilds.
//!
//! # Invariants
//! - Compressed sizes, expanded sizes and counts are bounded before anything is allocated for them.
//! - Entries of one frame are in log order, within `(after, through]`, and of one origin.

mod check;

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zstd::bulk::{Compressor, Decompressor};

use crate::change::Change;
use crate::chunk::ChangeError;
use crate::claim::Claim;
use crate::encode::encode;
use crate::head::Head;
use crate::ids::{Dot, NodeName, RegionId, ReplicaId};
use crate::key::{Collection, DocumentId, DocumentName, TenantId};
use crate::log::{Body, Delta, Reason};
use crate::protocol::Protocol;
use crate::time::{Hlc, Wall};
use crate::version::VersionVector;

pub use check::{Check, Compare, Compared, Repair, Want};
pub(crate) use check::{Copied, Digest, MOST_ROWS, MOST_WANTED, Scope, Slice, row_digest, slice_digest};

/// Largest frame on the wire.
pub const MAX_FRAME: usize = 1 << 20;
/// Largest frame after expansion.
const MAX_EXPANDED: usize = 4 << 20;
/// Most entries of one frame: one storage batch.
pub(crate) const MAX_ENTRIES: usize = 256;
const ZSTD_LEVEL: i32 = 1;

const HELLO: u8 = 1;
const DELTAS: u8 = 2;
const PROGRESS: u8 = 3;
const CHECK: u8 = 4;

/// The first frame in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's incarnation.
    pub replica: ReplicaId,
    /// Its node; the link's certificate must prove the same name.
    pub node: NodeName,
    /// Tells its process from every other one, so that two processes that take turns under one name are noticed.
    pub boot: u64,
    /// Its region.
    pub region: RegionId,
    /// What it durably knows.
    pub vector: VersionVector,
    /// What it holds, durable or not. No dot in it may be used again.
    pub seen: VersionVector,
    /// The rolling hash that it knows of the log of the replica that it greets, if it knows that replica's id. The
    /// replica compares it with its own.
    pub yours: Option<(ReplicaId, Head)>,
    /// Its wall clock.
    pub wall: Wall,
    /// Milliseconds. Must be equal everywhere, otherwise forgetting is not safe.
    pub max_retention_ms: u64,
    /// The newest version of the protocol that it speaks. Follows the other fields, because version 3 does not have it.
    #[serde(skip)]
    pub newest: Protocol,
}

/// Log entries of one origin: all that is left to know of `(after, through]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deltas {
    /// The replica that wrote the log.
    pub origin: ReplicaId,
    /// The receiver must know the log up to here already.
    pub after: u64,
    /// With this frame the receiver knows the log up to here.
    pub through: u64,
    /// The log's rolling hash at `after` and at `through`, if the origin itself sends it.
    pub heads: Option<[u32; 2]>,
    /// The entries, in log order.
    pub entries: Vec<Delta>,
}

/// What a replica knows by now; sent after each durable batch and at least every heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it durably knows.
    pub vector: VersionVector,
    /// What it has received beyond that. It is on its way to the disk and need not be sent again.
    pub received: Vec<(ReplicaId, u64)>,
    /// Its complete-through claim, if it can make one.
    pub claim: Option<Claim>,
    /// Its horizon: all that expired up to this moment is gone there.
    pub horizon: Wall,
    /// Its wall clock.
    pub wall: Wall,
    /// Origins with which it has a link of its own.
    pub direct: Vec<ReplicaId>,
    /// Origins of which it received a frame past a gap. They are to be sent again from `vector`.
    pub missing: Vec<ReplicaId>,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Greeting.
    Hello(Hello),
    /// Log entries.
    Deltas(Deltas),
    /// Acknowledgement and heartbeat.
    Progress(Progress),
    /// Comparison and repair of rows.
    Check(Check),
}

/// Which kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A [`Hello`].
    Hello,
    /// [`Deltas`].
    Deltas,
    /// A [`Progress`].
    Progress,
    /// A [`Check`].
    Check,
}

/// Why bytes are not a valid frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Empty, truncated, or longer than any frame.
    #[error("frame of {0} bytes")]
    Length(usize),
    /// A version of the protocol that is not spoken here.
    #[error("protocol version {0}; versions {old} to {new} are spoken here", old = Protocol::OLDEST, new = Protocol::NEWEST)]
    Version(Protocol),
    /// A kind of frame that this version does not know.
    #[error("frame kind {0}")]
    Kind(u8),
    /// The payload does not decode.
    #[error("malformed payload")]
    Payload,
    /// The zstd block is damaged or expands beyond bounds.
    #[error("undecompressible payload")]
    Compression(#[source] std::io::Error),
    /// Columns, counts or places in the log contradict each other.
    #[error("inconsistent entries")]
    Entries,
    /// A change does not match its place in the frame.
    #[error("bad change")]
    Change(#[from] ChangeError),
}

/// The entries of one frame, column by column.
#[derive(Default, Serialize, Deserialize)]
struct Columns {
    origin: u64,
    after: u64,
    through: u64,
    heads: Option<[[u8; 4]; 2]>,
    /// Distances to the previous seq (first: to `after`).
    seqs: Vec<u64>,
    /// Wrapping distances to the previous reading.
    hlcs: Vec<i64>,
    #[serde(with = "serde_bytes")]
    collections: Vec<u8>,
    /// Distinct tenants, and for each entry which of them.
    #[serde(with = "serde_bytes")]
    tenants: Vec<u8>,
    tenant_of: Vec<u16>,
    #[serde(with = "serde_bytes")]
    ids: Vec<u8>,
    /// Expiry less the id's arrival, wrapping: nearly constant in a batch.
    lifetimes: Vec<u64>,
    /// A change; a tombstone, by reason; or an erased change, by reason.
    #[serde(with = "serde_bytes")]
    kinds: Vec<u8>,
    lengths: Vec<u32>,
    #[serde(with = "serde_bytes")]
    changes: Vec<u8>,
}

thread_local! {
    // Reused, because for a frame of a few entries a new context costs more than the compression.
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::new(Compressor::new(ZSTD_LEVEL).unwrap_or_default());
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::default();
}

impl Frame {
    /// The frame's bytes in the newest version.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_in(Protocol::NEWEST)
    }

    /// The frame's bytes in a version that the receiver speaks.
    #[must_use]
    pub fn encode_in(&self, version: Protocol) -> Vec<u8> {
        debug_assert!(version.is_spoken(), "a frame in a version that is not spoken here");
        match self {
            Frame::Hello(hello) => {
                let mut out = plain(version, HELLO, hello);
                if version >= Protocol::NEGOTIATED {
                    out.push(hello.newest.number());
                }
                out
            }
            Frame::Progress(progress) => plain(version, PROGRESS, progress),
            Frame::Check(check) => plain(version, CHECK, check),
            Frame::Deltas(deltas) => {
                let mut out = vec![version.number(), DELTAS];
                let columns = encode(&Columns::of(deltas));
                // Compression in memory cannot fail either. If it did, the peer would refuse the empty payload.
                out.extend(COMPRESSOR.with_borrow_mut(|zstd| zstd.compress(&columns)).unwrap_or_default());
                out
            }
        }
    }

    /// The kind of an encoded frame, read from its header alone. `None` if the header is not one of a version that is
    /// spoken here. The payload may still be damaged.
    #[must_use]
    pub fn kind(bytes: &[u8]) -> Option<FrameKind> {
        match bytes {
            [version, ..] if !Protocol::of(*version).is_spoken() => None,
            [_, HELLO, ..] => Some(FrameKind::Hello),
            [_, DELTAS, ..] => Some(FrameKind::Deltas),
            [_, PROGRESS, ..] => Some(FrameKind::Progress),
            [version, CHECK, ..] if Protocol::of(*version).has_checks() => Some(FrameKind::Check),
            _ => None,
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`FrameError`] if the bytes are not a valid frame; never panics.
    pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        if bytes.len() > MAX_FRAME {
            return Err(FrameError::Length(bytes.len()));
        }
        match bytes {
            // A `Hello` of a later version is read as well, otherwise that node could not learn which version to use.
            [version, HELLO, payload @ ..] if Protocol::of(*version) >= Protocol::OLDEST => {
                hello(Protocol::of(*version), payload).map(Frame::Hello)
            }
            [version, ..] if !Protocol::of(*version).is_spoken() => Err(FrameError::Version(Protocol::of(*version))),
            [_, PROGRESS, payload @ ..] => parse(payload).map(Frame::Progress),
            [version, CHECK, payload @ ..] if Protocol::of(*version).has_checks() => {
                parse::<Check>(payload)?.checked().map(Frame::Check)
            }
            [_, DELTAS, payload @ ..] => {
                let expanded = DECOMPRESSOR.with_borrow_mut(|zstd| zstd.decompress(payload, MAX_EXPANDED));
                let expanded = expanded.map_err(FrameError::Compression)?;
                parse::<Columns>(&expanded)?.deltas().map(Frame::Deltas)
            }
            [_, kind, ..] => Err(FrameError::Kind(*kind)),
            short => Err(FrameError::Length(short.len())),
        }
    }
}

/// Reads the payload of a `Hello`.
fn hello(version: Protocol, payload: &[u8]) -> Result<Hello, FrameError> {
    let (hello, rest) = postcard::take_from_bytes::<Hello>(payload).map_err(|_| FrameError::Payload)?;
    match rest {
        [] if version < Protocol::NEGOTIATED => Ok(Hello { newest: version, ..hello }),
        // Later versions add fields behind this one.
        [newest, ..] if version >= Protocol::NEGOTIATED && *newest >= version.number() => {
            Ok(Hello { newest: Protocol::of(*newest), ..hello })
        }
        _ => Err(FrameError::Payload),
    }
}

fn plain(version: Protocol, kind: u8, payload: &impl Serialize) -> Vec<u8> {
    let mut out = vec![version.number(), kind];
    out.extend(encode(payload));
    out
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(FrameError::Payload),
    }
}

impl Columns {
    fn of(deltas: &Deltas) -> Columns {
        let mut columns = Columns {
            origin: deltas.origin.0,
            after: deltas.after,
            through: deltas.through,
            heads: deltas.heads.map(|heads| heads.map(u32::to_be_bytes)),
            ..Columns::default()
        };
        debug_assert!(deltas.entries.len() <= MAX_ENTRIES, "a frame of ours has too many entries");
        let mut tenants: Vec<TenantId> = deltas.entries.iter().map(|d| d.key.name.tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        columns.tenants = tenants.iter().flat_map(|tenant| tenant.0).collect();
        let (mut seq, mut hlc) = (deltas.after, 0u64);
        for delta in &deltas.entries {
            let name = delta.key.name;
            columns.seqs.push(delta.dot.seq - seq);
            columns.hlcs.push(delta.hlc.0.wrapping_sub(hlc).cast_signed());
            (seq, hlc) = (delta.dot.seq, delta.hlc.0);
            columns.collections.push(name.collection.0);
            // At most MAX_ENTRIES tenants, so the index fits.
            let tenant = tenants.binary_search(&name.tenant).unwrap_or_default();
            columns.tenant_of.push(u16::try_from(tenant).unwrap_or_default());
            columns.ids.extend(name.id.0);
            columns.lifetimes.push(delta.key.expires_at.0.wrapping_sub(name.id.arrival().0));
            match &delta.body {
                Body::Change(change) => {
                    let blanked = change.clone().blanked();
                    columns.kinds.push(0);
                    columns.lengths.push(u32::try_from(blanked.len()).unwrap_or(u32::MAX));
                    columns.changes.extend(blanked);
                }
                Body::Tombstone(Reason::Subject) => columns.kinds.push(1),
                Body::Tombstone(Reason::Owner) => columns.kinds.push(2),
                Body::Erased(Reason::Subject) => columns.kinds.push(3),
                Body::Erased(Reason::Owner) => columns.kinds.push(4),
            }
        }
        columns
    }

    fn deltas(self) -> Result<Deltas, FrameError> {
        let count = self.seqs.len();
        let fits = count <= MAX_ENTRIES
            && self.hlcs.len() == count
            && self.collections.len() == count
            && self.tenants.len().is_multiple_of(16)
            && self.tenant_of.len() == count
            && self.ids.len() == 16 * count
            && self.lifetimes.len() == count
            && self.kinds.len() == count
            && self.through >= self.after;
        if !fits {
            return Err(FrameError::Entries);
        }
        let origin = ReplicaId(self.origin);
        let (mut seq, mut hlc) = (self.after, 0u64);
        let mut lengths = self.lengths.into_iter();
        let mut changes = self.changes.as_slice();
        let mut entries = Vec::with_capacity(count);
        for i in 0..count {
            seq = seq.checked_add(self.seqs[i]).ok_or(FrameError::Entries)?;
            if self.seqs[i] == 0 || seq > self.through {
                return Err(FrameError::Entries);
            }
            hlc = hlc.wrapping_add(self.hlcs[i].cast_unsigned());
            let tenant = self.tenants.chunks_exact(16).nth(usize::from(self.tenant_of[i]));
            let tenant = tenant.and_then(|t| t.try_into().ok()).ok_or(FrameError::Entries)?;
            let id = self.ids[16 * i..16 * i + 16].try_into().map(DocumentId).map_err(|_| FrameError::Entries)?;
            let name = DocumentName { collection: Collection(self.collections[i]), tenant: TenantId(tenant), id };
            let key = name.expiring(Wall(id.arrival().0.wrapping_add(self.lifetimes[i])));
            let body = match self.kinds[i] {
                0 => {
                    let length = lengths.next().ok_or(FrameError::Entries)? as usize;
                    let (change, rest) = changes.split_at_checked(length).ok_or(FrameError::Entries)?;
                    changes = rest;
                    Body::Change(Change::restore(&key, change.to_vec())?)
                }
                1 => Body::Tombstone(Reason::Subject),
                2 => Body::Tombstone(Reason::Owner),
                3 => Body::Erased(Reason::Subject),
                4 => Body::Erased(Reason::Owner),
                _ => return Err(FrameError::Entries),
            };
            entries.push(Delta { dot: Dot { origin, seq }, hlc: Hlc(hlc), key, body });
        }
        if lengths.next().is_some() || !changes.is_empty() {
            return Err(FrameError::Entries);
        }
        let heads = self.heads.map(|heads| heads.map(u32::from_be_bytes));
        Ok(Deltas { origin, after: self.after, through: self.through, heads, entries })
    }
}
