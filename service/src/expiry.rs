//! When the certificates of a process end, as the metric `meridian_certificate_expires_seconds`.
//!
//! # Invariants
//! - A scrape shows the certificate that is in use at that moment, so a renewed one shows without a further step.
//! - Of a chain the certificate that ends first counts, because clients refuse the chain from then on.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts, Registry};
use rustls_pki_types::CertificateDer;
use yasna::{ASN1Error, ASN1ErrorKind, BERReader, Tag};

use crate::certificates::Certificates;

/// The ends of this process's certificates. Clones share them.
#[derive(Clone, Debug)]
pub struct Expiries {
    seconds: IntGaugeVec,
    sources: Arc<Mutex<Vec<Source>>>,
}

#[derive(Debug)]
struct Source {
    label: &'static str,
    certificates: Arc<Certificates>,
    /// Nothing else reads these files again.
    is_own: bool,
}

impl Expiries {
    /// Registers the metric.
    ///
    /// # Errors
    /// [`prometheus::Error`] if the registry has it already.
    pub fn register(registry: &Registry) -> prometheus::Result<Expiries> {
        let help = "Moment (Unix seconds) at which a certificate of this process ends, by its use";
        let seconds = IntGaugeVec::new(Opts::new("meridian_certificate_expires_seconds", help), &["certificate"])?;
        let expiries = Expiries { seconds, sources: Arc::default() };
        registry.register(Box::new(expiries.clone()))?;
        Ok(expiries)
    }

    /// Shows a certificate that is served. `label` says for what it is used.
    pub fn show(&self, label: &'static str, certificates: Arc<Certificates>) {
        self.sources.lock().push(Source { label, certificates, is_own: false });
    }

    /// Shows a certificate that another part serves from the same files, which are looked at again at each scrape.
    pub fn show_files_of(&self, label: &'static str, certificates: Arc<Certificates>) {
        self.sources.lock().push(Source { label, certificates, is_own: true });
    }

    /// Shows a chain until the next call for this label.
    pub fn set(&self, label: &str, chain: &[CertificateDer<'_>]) {
        match ends(chain) {
            Some(end) => self.seconds.with_label_values(&[label]).set(end),
            // An error means that there was none.
            None => drop(self.seconds.remove_label_values(&[label])),
        }
    }
}

impl Collector for Expiries {
    fn desc(&self) -> Vec<&Desc> {
        self.seconds.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for source in self.sources.lock().iter() {
            if source.is_own {
                // The part that serves them reports files that cannot be used; the old certificate stays in both.
                let _ = source.certificates.reload();
            }
            self.set(source.label, &source.certificates.chain());
        }
        self.seconds.collect()
    }
}

/// When the first certificate of a chain ends, in Unix seconds; `None` if that cannot be read.
fn ends(chain: &[CertificateDer<'_>]) -> Option<i64> {
    chain.iter().map(|certificate| not_after(certificate).ok()).collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// The end of a certificate's validity (RFC 5280, section 4.1.2.5). The verifier of rustls knows it and does not tell it.
fn not_after(certificate: &[u8]) -> Result<i64, ASN1Error> {
    yasna::parse_der(certificate, |reader| {
        reader.read_sequence(|reader| {
            let end = reader.next().read_sequence(|reader| {
                reader.read_optional(|reader| reader.read_tagged(Tag::context(0), |reader| reader.read_der()))?;
                for _serial_algorithm_issuer in 0..3 {
                    reader.next().read_der()?;
                }
                let end = reader.next().read_sequence(|reader| {
                    reader.next().read_der()?;
                    time(reader.next())
                })?;
                while reader.read_optional(|reader| reader.read_der())?.is_some() {}
                Ok(end)
            })?;
            for _algorithm_signature in 0..2 {
                reader.next().read_der()?;
            }
            Ok(end)
        })
    })
}

fn time(reader: BERReader<'_, '_>) -> Result<i64, ASN1Error> {
    let time = match reader.lookahead_tag()? {
        yasna::tags::TAG_UTCTIME => *reader.read_utctime()?.datetime(),
        yasna::tags::TAG_GENERALIZEDTIME => *reader.read_generalized_time()?.datetime(),
        _ => return Err(ASN1Error::new(ASN1ErrorKind::Invalid)),
    };
    Ok(time.unix_timestamp())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use prometheus::{Registry, TextEncoder};

    use super::Expiries;
    use crate::certificates::{CertificateSection, Certificates};

    fn write(folder: &Path, year: i32) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["edge".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 2);
        for (name, pem) in [("key", key.serialize_pem()), ("certificate", params.self_signed(&key).unwrap().pem())] {
            let path = folder.join(name);
            std::fs::write(&path, pem).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_permissions(Permissions::from_mode(0o600)).unwrap();
            // Times of files are coarse.
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(year.try_into().unwrap())).unwrap();
        }
    }

    fn shown(registry: &Registry) -> Vec<String> {
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// Years before 2050 are written in the one form of time, and later ones in the other.
    #[test]
    fn a_scrape_shows_the_end_of_the_certificate_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            CertificateSection { certificate: folder.path().join("certificate"), key: folder.path().join("key") };
        let registry = Registry::new();
        let expiries = Expiries::register(&registry).unwrap();
        assert!(shown(&registry).is_empty());
        write(folder.path(), 2049);
        let served = Certificates::load(files.clone()).unwrap();
        expiries.show("edge", served.clone());
        expiries.show_files_of("dns", Certificates::load(files).unwrap());
        let line =
            |label: &str, end: i64| format!("meridian_certificate_expires_seconds{{certificate=\"{label}\"}} {end}");
        assert_eq!(shown(&registry), [line("dns", 2_493_158_400), line("edge", 2_493_158_400)]);
        write(folder.path(), 2050);
        assert_eq!(
            shown(&registry),
            [line("dns", 2_524_694_400), line("edge", 2_493_158_400)],
            "the edge has not looked yet"
        );
        assert!(served.reload().unwrap());
        assert_eq!(shown(&registry), [line("dns", 2_524_694_400), line("edge", 2_524_694_400)]);
    }
}
