//! Turns the written form into the checked one: checks bounds of single values, then contradictions between them.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::NodeName;
use hyper::Uri;

use service::authority::IdentityFiles;
use service::certificates::CertificateSection;
use service::config::{self, Listen};

use super::{
    BackupConfig, BackupSection, DrillsConfig, DrillsSection, LimitsConfig, LimitsSection, ListenConfig, ListenSection,
    NewVenues, NodeConfig, NodeFile, PeerConfig, PeerSection, RegistryConfig, RegistrySection, ReplicationConfig,
    ReplicationSection, StorageConfig, StorageSection, TlsSection, ValueError,
};

/// Checks a whole file whose relative paths count from `folder`.
pub(super) fn node(file: NodeFile, folder: &Path) -> Result<NodeConfig, ValueError> {
    let name = match file.name {
        Some(name) => name,
        None => NodeName::try_from(file.region.to_string())
            .map_err(|_| config::ValueError::Empty { key: "name".to_owned() })?,
    };
    let listen = ListenConfig::try_from(file.listen)?;
    for address in listen.admin.all() {
        config::admin("listen.admin", *address, file.admin.operators.is_some())?;
    }
    let peers = peers(file.peers, &name, &listen)?;
    let (tls, public_certificate) = tls(file.tls, folder)?;
    Ok(NodeConfig {
        position: file.position.check("position")?,
        data: config::path("data", &file.data, folder)?,
        pid_file: file.pid_file.map(|path| config::path("pid_file", &path, folder)).transpose()?,
        tls,
        public_certificate,
        storage: file.storage.try_into()?,
        replication: file.replication.try_into()?,
        registry: registry(file.registry, folder)?,
        cors_origins: file.http.cors_origins.into_iter().map(origin).collect::<Result<_, _>>()?,
        limits: file.limits.try_into()?,
        backup: backup(file.backup)?,
        faults: file.faults.enabled,
        drills: drills(&file.drills, folder)?,
        least_regions: config::whole("admin.least_regions", file.admin.least_regions, 1, 100)?,
        operators: file.admin.operators.map(|path| config::path("admin.operators", &path, folder)).transpose()?,
        access_log: file.log.access.map(|path| config::path("log.access", &path, folder)).transpose()?,
        region: file.region,
        name,
        listen,
        peers,
    })
}

/// The node's identity, and the certificate of its public listener.
fn tls(written: TlsSection, folder: &Path) -> Result<(IdentityFiles, CertificateSection), ValueError> {
    let identity = IdentityFiles {
        ca: config::path("tls.ca", &written.ca, folder)?,
        certificate: config::path("tls.certificate", &written.certificate, folder)?,
        key: config::path("tls.key", &written.key, folder)?,
        revoked: written.revoked.map(|path| config::path("tls.revoked", &path, folder)).transpose()?,
    };
    let public = match written.public {
        Some(public) => public.within("tls.public", folder)?,
        None => CertificateSection { certificate: identity.certificate.clone(), key: identity.key.clone() },
    };
    Ok((identity, public))
}

fn backup(written: BackupSection) -> Result<BackupConfig, ValueError> {
    let kept_mib = config::whole("backup.kept_mib", written.kept_mib, 1, 65_536)?;
    let recipient = |text: String| text.parse().map_err(|source| ValueError::BadRecipient { text, source });
    let recipients = written.recipients.into_iter().map(recipient).collect::<Result<_, _>>()?;
    Ok(BackupConfig { recipients, most_kept: usize::try_from(kept_mib << 20).unwrap_or(usize::MAX) })
}

fn drills(written: &DrillsSection, folder: &Path) -> Result<DrillsConfig, ValueError> {
    let file = |path: &PathBuf| config::path("drills.check", path, folder);
    let check = written.check.iter().map(file).collect::<Result<_, _>>()?;
    let every = config::whole("drills.every_min", written.every_min, 1, 24 * 60)?;
    Ok(DrillsConfig { check, every: Duration::from_mins(every) })
}

fn peers(written: Vec<PeerSection>, own: &NodeName, listen: &ListenConfig) -> Result<Vec<PeerConfig>, ValueError> {
    config::whole("peers (their number)", written.len() as u64, 0, 100)?;
    let mut peers: Vec<PeerConfig> = Vec::with_capacity(written.len());
    for (index, peer) in written.into_iter().enumerate() {
        let Ok(address) = peer.address.parse::<api::HostPort>() else {
            return Err(ValueError::BadAddress { index, address: peer.address });
        };
        if peer.name == *own {
            return Err(ValueError::PeerIsSelf { index, name: peer.name });
        }
        if address.literal() == Some(listen.replication) {
            return Err(ValueError::PeerIsOwnListener { index, address });
        }
        for (other, earlier) in peers.iter().enumerate() {
            if earlier.name == peer.name {
                return Err(ValueError::PeerTwice { index, other, field: "name" });
            }
            if earlier.address == address {
                return Err(ValueError::PeerTwice { index, other, field: "address" });
            }
        }
        let position = peer.position.map(|position| position.check(&format!("peers[{index}].position"))).transpose()?;
        peers.push(PeerConfig { name: peer.name, region: peer.region, address, position });
    }
    Ok(peers)
}

fn registry(written: RegistrySection, folder: &Path) -> Result<RegistryConfig, ValueError> {
    let policy = written.policy;
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=40).contains(&policy.len()) || !policy.bytes().all(allowed) {
        return Err(ValueError::BadPolicy { policy });
    }
    let key_file = |path: &PathBuf| config::path("registry.console_keys", path, folder);
    if written.new_venues == NewVenues::Invited && written.console_keys.is_empty() {
        return Err(ValueError::NoKeysForInvitations);
    }
    let unused_days = config::whole("registry.unused_venues_days", written.unused_venues_days, 0, 3_650)?;
    Ok(RegistryConfig {
        policy,
        policies: written.policies.map(|path| config::path("registry.policies", &path, folder)).transpose()?,
        public_url: written.public_url.map(public_url).transpose()?,
        console_keys: written.console_keys.iter().map(key_file).collect::<Result<_, _>>()?,
        new_venues: written.new_venues,
        unused_venues: (unused_days > 0).then(|| Duration::from_hours(24 * unused_days)),
    })
}

fn public_url(url: String) -> Result<String, ValueError> {
    let usable = url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            // The URL parser drops a fragment silently.
            && !url.contains('#')
    });
    if usable { Ok(url.trim_end_matches('/').to_owned()) } else { Err(ValueError::BadUrl { url }) }
}

/// An origin as browsers serialise it (RFC 6454, section 6.2), because it is compared byte by byte.
fn origin(origin: String) -> Result<String, ValueError> {
    let serialised = origin.parse::<Uri>().ok().and_then(|uri| {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let usual = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => return None,
        };
        let port = authority.port_u16().filter(|port| Some(*port) != usual).map(|port| format!(":{port}"));
        Some(format!("{scheme}://{}{}", authority.host().to_ascii_lowercase(), port.unwrap_or_default()))
    });
    if origin == "*" || serialised.as_ref() == Some(&origin) {
        Ok(origin)
    } else {
        Err(ValueError::BadOrigin { origin })
    }
}

impl TryFrom<ListenSection> for ListenConfig {
    type Error = ValueError;

    fn try_from(written: ListenSection) -> Result<Self, ValueError> {
        let ListenSection { public, public_tls, replication, admin } = written;
        let mut listeners: Vec<(&'static str, SocketAddr)> = Vec::new();
        let mut add = |key, listen: &Listen| listeners.extend(listen.all().iter().map(|address| (key, *address)));
        add("listen.public", &public);
        public_tls.iter().for_each(|listen| add("listen.public_tls", listen));
        add("listen.replication", &replication.into());
        add("listen.admin", &admin);
        if let Some((key, _)) = listeners.iter().find(|(_, address)| address.port() == 0) {
            return Err(ValueError::PortZero { key });
        }
        config::distinct(&listeners)?;
        Ok(Self { public, public_tls, replication, admin })
    }
}

impl TryFrom<StorageSection> for StorageConfig {
    type Error = ValueError;

    fn try_from(written: StorageSection) -> Result<Self, ValueError> {
        let cache_mib = config::whole("storage.cache_mib", written.cache_mib, 1, 65_536)?;
        let reserve_mib = config::whole("storage.reserve_mib", written.reserve_mib, 0, 1_048_576)?;
        let scrub_every_s = config::whole("storage.scrub_every_s", written.scrub_every_s, 1, 2_592_000)?;
        let ballast_mib = config::whole("storage.ballast_mib", written.ballast_mib, 0, 65_536)?;
        Ok(Self {
            engine: written.engine,
            cache_bytes: cache_mib << 20,
            reserve_bytes: reserve_mib << 20,
            scrub_every: Duration::from_secs(scrub_every_s),
            ballast_bytes: ballast_mib << 20,
        })
    }
}

impl TryFrom<ReplicationSection> for ReplicationConfig {
    type Error = ValueError;

    fn try_from(written: ReplicationSection) -> Result<Self, ValueError> {
        let heartbeat_ms = config::whole("replication.heartbeat_ms", written.heartbeat_ms, 50, 10_000)?;
        let relay_after_ms = config::whole("replication.relay_after_ms", written.relay_after_ms, 100, 600_000)?;
        if relay_after_ms <= heartbeat_ms {
            return Err(ValueError::RelayTooSoon { relay_after_ms, heartbeat_ms });
        }
        let skew_s = config::whole("replication.max_clock_skew_s", written.max_clock_skew_s, 1, 3_600)?;
        let in_flight_kib = config::whole("replication.in_flight_kib", written.in_flight_kib, 64, 1_048_576)?;
        Ok(Self {
            heartbeat: Duration::from_millis(heartbeat_ms),
            max_clock_skew: Duration::from_secs(skew_s),
            relay_after: Duration::from_millis(relay_after_ms),
            in_flight_bytes: in_flight_kib << 10,
        })
    }
}

impl TryFrom<LimitsSection> for LimitsConfig {
    type Error = ValueError;

    fn try_from(written: LimitsSection) -> Result<Self, ValueError> {
        let count = |key: &'static str, value: u64| -> Result<usize, ValueError> {
            Ok(usize::try_from(config::whole(key, value, 1, 1_000_000)?).unwrap_or(usize::MAX))
        };
        let per_hour = |key: &'static str, value: u64| -> Result<NonZeroU32, ValueError> {
            let value = config::whole(key, value, 1, 1_000_000)?;
            Ok(u32::try_from(value).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX))
        };
        Ok(Self {
            connections: count("limits.connections", written.connections)?,
            connections_per_client: count("limits.connections_per_client", written.connections_per_client)?,
            unread: Duration::from_secs(config::whole("limits.unread_s", written.unread_s, 1, 3_600)?),
            routers: written.routers,
            venues_per_hour: per_hour("limits.venues_per_hour", written.venues_per_hour)?,
            erasures_per_hour: per_hour("limits.erasures_per_hour", written.erasures_per_hour)?,
        })
    }
}
