//! Reading and writing the files of an authority's folder.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::CertsError;

/// Replaces a file whole: a reader sees the old or the new one, and a key is never readable by others, even briefly.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertsError> {
    let new = path.with_added_extension("new");
    let result = (|| {
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    result.map_err(|source| CertsError::File { path: path.to_owned(), source })
}

/// Makes a folder, unless it exists.
pub(super) fn make_folder(path: &Path) -> Result<(), CertsError> {
    std::fs::create_dir_all(path).map_err(|source| CertsError::File { path: path.to_owned(), source })
}

/// The first certificate in a file.
pub(super) fn certificate(path: &Path) -> Result<CertificateDer<'static>, CertsError> {
    CertificateDer::from_pem_file(path).map_err(|source| CertsError::Pem { path: path.to_owned(), source })
}

/// Everything of one kind in a file.
pub(super) fn all<T: PemObject>(path: &Path) -> Result<Vec<T>, CertsError> {
    let pem = |source| CertsError::Pem { path: path.to_owned(), source };
    T::pem_file_iter(path).map_err(pem)?.collect::<Result<_, _>>().map_err(pem)
}

/// A certificate as PEM (RFC 7468).
pub(super) fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64.encode(certificate);
    let lines: String =
        text.as_bytes().chunks(64).flat_map(|line| [String::from_utf8_lossy(line), "\n".into()]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}
