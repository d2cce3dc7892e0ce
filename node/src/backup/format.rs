//! The format of a backup, before it is compressed and encrypted.
//!
//! `meridian`, the version as two bytes, then records: the length as four bytes (little-endian) and a record in postcard.
//! The first is the [`Head`], the last the end. The end has counts and the SHA-256 of everything before it, so that a
//! backup whose end is missing, or whose middle is, is noticed whatever compression and encryption say.
//!
//! # Invariants
//! - A length is checked before memory is taken, and memory grows only with bytes that are there.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use replication::Bucket;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::storage::Pairs;

const MAGIC: &[u8; 8] = b"meridian";
const VERSION: u16 = 1;
/// The longest record: the largest row of a document, and a whole chunk.
const LONGEST: u32 = 32 << 20;

/// The first record: the node that the backup is of, and when it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The region of the node.
    pub region: String,
    /// The node.
    pub node: String,
    /// The id under which it wrote.
    pub replica: String,
    /// When the backup began, in Unix milliseconds.
    pub begun_ms: u64,
    /// The longest retention of the store.
    pub max_retention_ms: u64,
    /// The format of the store.
    pub store_format: u16,
    /// The release that made it.
    pub made_by: String,
}

#[derive(Serialize, Deserialize)]
enum Record {
    Head(Head),
    Pairs { bucket: Bucket, pairs: Vec<(ByteBuf, ByteBuf)> },
    End { pairs: u64, dropped: BTreeSet<Bucket>, sha256: [u8; 32] },
}

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// It ends, or breaks, before its end; or the storage that it lies in failed.
    #[error("the backup is cut short or damaged: take another one")]
    Broken(#[source] io::Error),
    /// It is something else.
    #[error("this is not a backup of Meridian")]
    Foreign,
    /// It is encrypted to another key.
    #[error("the identity does not open this backup: give the one whose public key the backup was made for")]
    WrongIdentity,
    /// A later release made it.
    #[error(
        "the backup has format {found}, this release reads {VERSION}: use the release that made it, or a later one"
    )]
    Version {
        /// Its format.
        found: u16,
    },
    /// A record that no release writes.
    #[error("the backup is damaged: take another one")]
    Malformed,
    /// Its end does not match its contents.
    #[error("the backup does not match its checksum: take another one")]
    Checksum,
}

impl From<io::Error> for FormatError {
    fn from(error: io::Error) -> Self {
        FormatError::Broken(error)
    }
}

/// Writes a backup.
pub(super) struct BackupWriter<W> {
    to: W,
    hash: Sha256,
    pairs: u64,
}

impl<W: Write> BackupWriter<W> {
    pub(super) fn begin(to: W, head: Head) -> io::Result<BackupWriter<W>> {
        let mut writer = BackupWriter { to, hash: Sha256::new(), pairs: 0 };
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        writer.record(&Record::Head(head))?;
        Ok(writer)
    }

    pub(super) fn pairs(&mut self, Pairs { bucket, pairs }: Pairs) -> io::Result<()> {
        self.pairs += pairs.len() as u64;
        let pairs = pairs.into_iter().map(|(key, value)| (ByteBuf::from(key), ByteBuf::from(value))).collect();
        self.record(&Record::Pairs { bucket, pairs })
    }

    /// Writes the end. `dropped` are the days that were dropped since the begin.
    pub(super) fn finish(mut self, dropped: BTreeSet<Bucket>) -> io::Result<W> {
        let sha256 = self.hash.clone().finalize().into();
        self.record(&Record::End { pairs: self.pairs, dropped, sha256 })?;
        Ok(self.to)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        let bytes = postcard::to_stdvec(record).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= LONGEST);
        let length = length.ok_or_else(|| io::Error::other("a row is larger than a backup can hold"))?;
        self.put(&length.to_le_bytes())?;
        self.put(&bytes)
    }
}

/// Reads a backup.
pub(super) struct BackupReader<R> {
    from: R,
    hash: Sha256,
    pairs: u64,
}

/// What comes next in a backup.
pub(super) enum Next {
    Pairs(Pairs),
    /// The end, which matches: these days were dropped since the begin.
    End(BTreeSet<Bucket>),
}

impl<R: Read> BackupReader<R> {
    pub(super) fn begin(from: R) -> Result<(BackupReader<R>, Head), FormatError> {
        let mut reader = BackupReader { from, hash: Sha256::new(), pairs: 0 };
        let (mut magic, mut version) = ([0; MAGIC.len()], [0; 2]);
        reader.get(&mut magic)?;
        if magic != *MAGIC {
            return Err(FormatError::Foreign);
        }
        reader.get(&mut version)?;
        let found = u16::from_le_bytes(version);
        if found != VERSION {
            return Err(FormatError::Version { found });
        }
        match reader.record()? {
            (Record::Head(head), _) => Ok((reader, head)),
            _ => Err(FormatError::Malformed),
        }
    }

    /// The next pairs, or the end.
    pub(super) fn next(&mut self) -> Result<Next, FormatError> {
        match self.record()? {
            (Record::Head(_), _) => Err(FormatError::Malformed),
            (Record::Pairs { bucket, pairs }, _) => {
                self.pairs += pairs.len() as u64;
                let pairs = pairs.into_iter().map(|(key, value)| (key.into_vec(), value.into_vec())).collect();
                Ok(Next::Pairs(Pairs { bucket, pairs }))
            }
            (Record::End { pairs, dropped, sha256 }, before) => {
                if pairs != self.pairs || sha256 != before {
                    return Err(FormatError::Checksum);
                }
                // The last bytes of what encloses it are read, and checked, only with the end.
                if self.from.read(&mut [0])? != 0 {
                    return Err(FormatError::Malformed);
                }
                Ok(Next::End(dropped))
            }
        }
    }

    fn get(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.from.read_exact(bytes)?;
        self.hash.update(&*bytes);
        Ok(())
    }

    /// A record, and the hash of everything before it.
    fn record(&mut self) -> Result<(Record, [u8; 32]), FormatError> {
        let before = self.hash.clone().finalize().into();
        let mut length = [0; 4];
        self.get(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > LONGEST {
            return Err(FormatError::Malformed);
        }
        let mut bytes = Vec::new();
        let read = self.from.by_ref().take(length.into()).read_to_end(&mut bytes)?;
        if read as u64 != u64::from(length) {
            return Err(FormatError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        self.hash.update(&bytes);
        let (record, rest) = postcard::take_from_bytes(&bytes).map_err(|_| FormatError::Malformed)?;
        if rest.is_empty() { Ok((record, before)) } else { Err(FormatError::Malformed) }
    }
}
