//! What an authority writes into certificates: names, purposes and times.

use std::time::SystemTime;

use api::NodeName;
use data_encoding::HEXLOWER;
use jiff::civil::Date;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType,
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// How long an authority lasts, and how long a list of revoked certificates claims to be the newest: until after the end of
/// the authority, because nodes do not fetch another one.
pub(super) const AUTHORITY_YEARS: i16 = 10;
/// How long a node's certificate lasts.
pub(super) const NODE_YEARS: i16 = 2;
/// How the name of every authority begins. In release 0.1 this was the whole name.
pub(super) const AUTHORITY_NAME: &str = "Meridian private CA";

/// The name of an authority with this key.
pub(super) fn name_of(key: &KeyPair) -> String {
    let hash = Sha256::digest(key.subject_public_key_info());
    format!("{AUTHORITY_NAME} {}", HEXLOWER.encode(&hash[..8]))
}

pub(super) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    lasting(&mut params, name, AUTHORITY_YEARS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(super) fn node(name: &NodeName) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    lasting(&mut params, name.as_str(), NODE_YEARS);
    // Not `CertificateParams::new`, which would make an address of a name such as "10".
    params.subject_alt_names = vec![SanType::DnsName(name.as_str().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Names the subject and sets the time of validity: from yesterday, because clocks of regions differ.
fn lasting(params: &mut CertificateParams, name: &str, years: i16) {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let today = day(SystemTime::now());
    params.not_before = date(today.yesterday().unwrap_or(today), 0);
    params.not_after = date(today, years);
}

/// The day (UTC) of a time.
pub(super) fn day(time: SystemTime) -> Date {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// The begin of a day so many years later, in the type that certificates are made with.
pub(super) fn date(date: Date, years: i16) -> OffsetDateTime {
    // Most years have no 29th of February; every year has the 28th.
    let day = date.day().min(if date.month() == 2 { 28 } else { 31 });
    rcgen::date_time_ymd(i32::from(date.year() + years), date.month().unsigned_abs(), day.unsigned_abs())
}
