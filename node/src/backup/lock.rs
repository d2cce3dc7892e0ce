//! The layers around a backup: compressed with zstd, then encrypted with age.
//!
//! # Why `age`
//! It is the format of operators' own tools (`age -d`), encrypts a stream in pieces that are each authenticated, and
//! has no options to get wrong.

use std::io::{self, BufRead, Read, Write};

use super::format::FormatError;
use crate::backup_key::{Identity, Recipient};

/// The default of zstd.
const EFFORT: i32 = 3;
/// The largest memory of a decompression: 8 MiB.
const WINDOW_LOG: u32 = 23;

/// What is written into it is compressed, and encrypted to `recipients`.
pub(super) struct Locked<W: Write>(zstd::stream::write::Encoder<'static, age::stream::StreamWriter<W>>);

impl<W: Write> Locked<W> {
    pub(super) fn new(to: W, recipients: &[Recipient]) -> io::Result<Locked<W>> {
        let recipients = recipients.iter().map(Recipient::as_age);
        let encrypted = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?.wrap_output(to)?;
        Ok(Locked(zstd::stream::write::Encoder::new(encrypted, EFFORT)?))
    }

    /// Writes the ends of both layers.
    pub(super) fn finish(self) -> io::Result<W> {
        self.0.finish()?.finish()
    }
}

impl<W: Write> Write for Locked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What [`Locked`] was given.
pub(super) fn open<R: BufRead>(from: R, identity: &Identity) -> Result<impl Read + use<R>, FormatError> {
    let wrong = |error| match error {
        age::DecryptError::NoMatchingKeys => FormatError::WrongIdentity,
        age::DecryptError::InvalidHeader | age::DecryptError::UnknownFormat => FormatError::Foreign,
        age::DecryptError::Io(error) => FormatError::Broken(error),
        other => FormatError::Broken(io::Error::other(other)),
    };
    let decryptor = age::Decryptor::new_buffered(from).map_err(wrong)?;
    let decrypted = decryptor.decrypt(std::iter::once(identity.as_age())).map_err(wrong)?;
    let mut plain = zstd::stream::read::Decoder::new(decrypted).map_err(FormatError::Broken)?;
    plain.window_log_max(WINDOW_LOG).map_err(FormatError::Broken)?;
    Ok(plain)
}
