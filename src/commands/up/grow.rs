//! A running deployment of `meridian up` grows and shrinks: `meridian region add` and `remove` change its folder, and
//! `up`, which runs in another process, starts and stops what follows.
//!
//! # Invariants
//! - The settings in the folder always describe what the next `up` starts.
//! - A new node's folder is complete before the file is written by which `up` starts it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::client::{self, Base, Call};
use api::members::{Member, Membership, NewMember, RemoveMember};
use api::status::{NodeStatus, PeerStatus};
use api::{NodeName, Position, RegionId};
use hyper::Method;
use service::authority::CertificateAuthority;

use super::addresses::Addresses;
use super::folder::{MARKER, write_config};
use super::layout::{Layout, NodePlace};
use super::settings::{REGIONS, Settings};
use crate::args::Usage;
use crate::support::deployment;

/// A node that is to be added.
pub(crate) struct NewNode {
    /// Its name.
    pub(crate) name: NodeName,
    /// The order that adds it.
    pub(crate) order: NewMember,
}

/// A region whose folders are made and whose processes do not run yet.
pub(crate) struct Grown {
    layout: Layout,
    /// The settings with it, which count from its start on.
    settings: Settings,
    region: RegionId,
    by: String,
    reason: String,
}

/// Whether `data` is a folder of `meridian up`.
pub(crate) fn is_up(data: &Path) -> bool {
    data.join(MARKER).is_file()
}

fn settings(data: &Path) -> anyhow::Result<Settings> {
    let file = data.join(MARKER);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is damaged", file.display()))
}

/// The addresses of the running deployment, by the configuration of its nodes.
fn addresses(data: &Path, settings: &Settings) -> anyhow::Result<Addresses> {
    let nodes = deployment::read(data)?;
    let first = nodes.first().context("the deployment has no node")?;
    let public = first.config.listen.public.first();
    let routers = deployment::routers(data)?;
    let dns = routers.iter().find_map(|router| router.dns.as_ref()).map(|dns| dns.listen.first().port());
    anyhow::ensure!(
        public.ip() != Ipv4Addr::LOCALHOST,
        "127.0.1.x cannot be bound on this machine, so the addresses of all processes depend on their number: stop \
         `meridian up` and start it again with one more region (--regions)"
    );
    let base_port = public.port();
    let (regions, nodes) = (settings.regions, settings.nodes);
    Ok(Addresses { aliased: true, base_port, dns_port: dns.unwrap_or(base_port + 3), regions, nodes })
}

/// The settings with one more region.
fn with_region(mut settings: Settings, region: &RegionId) -> anyhow::Result<Settings> {
    let names = || REGIONS.iter().map(|(name, ..)| *name);
    let Some(place) = names().position(|name| name == region.as_str()) else {
        let names: Vec<&str> = names().collect();
        return Err(Usage::error(format!("`meridian up` has places for these regions: {}", names.join(", "))));
    };
    let number = u8::try_from(place + 1)?;
    if number <= settings.regions && !settings.removed.contains(region) {
        return Err(Usage::error(format!("{region} is a region of the deployment already")));
    }
    settings.removed.retain(|removed| removed != region);
    // Regions before it that the deployment does not have stay out.
    for name in names().take(place).skip(usize::from(settings.regions)) {
        settings.removed.push(name.parse()?);
    }
    settings.regions = settings.regions.max(number);
    Ok(settings)
}

/// Makes the folders of a region that the deployment does not have.
pub(crate) fn prepare(data: &Path, region: &RegionId, by: &str, reason: &str) -> anyhow::Result<Grown> {
    let data = std::path::absolute(data)?;
    let before = settings(&data)?;
    let addresses = addresses(&data, &before)?;
    let settings = with_region(before, region)?;
    let addresses = Addresses { regions: settings.regions, ..addresses };
    let layout = Layout::new(&data, &settings, &addresses);
    let authority = CertificateAuthority::load_or_create(&layout.certs())?;
    for node in layout.nodes.iter().filter(|node| node.region == *region) {
        authority.issue(&node.process.name, false)?;
        write_config(&node.process, toml::to_string(&layout.file(node))?)?;
    }
    Ok(Grown { layout, settings, region: region.clone(), by: by.to_owned(), reason: reason.to_owned() })
}

impl Grown {
    fn places(&self) -> impl Iterator<Item = &NodePlace> {
        self.layout.nodes.iter().filter(|node| node.region == self.region)
    }

    /// Its nodes, with the orders that add them.
    pub(crate) fn nodes(&self) -> Vec<NewNode> {
        let node = |place: &NodePlace| NewNode {
            name: place.process.name.clone(),
            order: new_member(place, &self.by, &self.reason),
        };
        self.places().map(node).collect()
    }

    /// Takes the folders back whose nodes were not added.
    pub(crate) fn undo(&self) -> anyhow::Result<()> {
        for place in self.places() {
            let file = place.process.config();
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        Ok(())
    }

    /// Lets `up` start its processes, now and at its next start.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        write_settings(&self.layout.data, &self.settings)?;
        for place in self.places() {
            let file = place.process.return_file();
            std::fs::write(&file, format!("{}\n", jiff::Timestamp::now()))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}

/// From its next start on `up` leaves a region out. Returns the settings until now.
pub(crate) fn leave_out(data: &Path, region: &RegionId) -> anyhow::Result<Left> {
    let before = settings(data)?;
    let mut after = before.clone();
    if !after.removed.contains(region) {
        after.removed.push(region.clone());
    }
    write_settings(data, &after)?;
    Ok(Left { data: data.to_owned(), before })
}

/// A region that the next start leaves out.
pub(crate) struct Left {
    data: PathBuf,
    before: Settings,
}

impl Left {
    /// The region was not removed after all.
    pub(crate) fn undo(&self) -> anyhow::Result<()> {
        write_settings(&self.data, &self.before)
    }

    /// The nodes were removed: `up` stops their processes once their configuration is gone. Returns the folders, which
    /// stay.
    pub(crate) fn stop(&self, nodes: &[NodeName]) -> anyhow::Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for node in nodes {
            let folder = self.data.join(node.as_str());
            let file = folder.join("node.toml");
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", file.display()));
                }
                _ => folders.push(folder),
            }
        }
        Ok(folders)
    }
}

fn write_settings(data: &Path, settings: &Settings) -> anyhow::Result<()> {
    let file = data.join(MARKER);
    std::fs::write(&file, toml::to_string(settings)?).with_context(|| format!("cannot write {}", file.display()))
}

/// After a start with other addresses or fewer regions than before: nodes that were added find each other by what the
/// deployment was told when they were added, so it is told again.
pub(super) async fn tell_addresses(layout: &Layout) -> anyhow::Result<()> {
    let Some(asked) = layout.nodes.first() else { return Ok(()) };
    let base = deployment::authorised(Base::from(asked.admin), Some(&layout.data));
    let known: Vec<Member> = client::get(&base, "/v1/admin/members").await?;
    let status: NodeStatus = client::get(&base, "/v1/admin/status").await?;
    let is_left_out = |peer: &&PeerStatus| !layout.nodes.iter().any(|place| place.process.name == peer.name);
    // Those that the nodes know only because they were introduced are among them.
    for member in status.peers.iter().filter(is_left_out) {
        let (by, reason) = ("up".to_owned(), "it is left out at this start (--regions)".to_owned());
        let call = Call::new(Method::DELETE, format!("/v1/admin/members/{}", member.name));
        let call = call.json(&RemoveMember { by, reason, force: true })?;
        call.send(&base).await?.json::<Member>()?;
    }
    for place in &layout.nodes {
        let Some(member) = known.iter().find(|member| member.name == place.process.name) else { continue };
        let is_right = member.membership == Membership::Member
            && member.replication == Some(place.replication.to_string())
            && member.public == Some(place.public)
            && member.public_tls == Some(place.public_tls.into());
        if !is_right {
            let order = new_member(place, "up", "the deployment was started at these addresses");
            let call = Call::new(Method::PUT, format!("/v1/admin/members/{}", member.name)).json(&order)?;
            call.send(&base).await?.json::<Member>()?;
        }
    }
    Ok(())
}

fn new_member(place: &NodePlace, by: &str, reason: &str) -> NewMember {
    let (latitude, longitude) = place.coordinates();
    NewMember {
        region: place.region.clone(),
        position: Position::new(latitude, longitude).ok(),
        replication: place.replication.to_string(),
        public: Some(place.public),
        public_tls: Some(place.public_tls.into()),
        server_name: None,
        by: by.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use node::config::Engine;

    use super::super::settings::Settings;
    use super::with_region;

    #[test]
    fn a_region_takes_its_own_place() {
        let settings = |regions: u8, removed: &[&str]| Settings {
            regions,
            nodes: 1,
            routers: 1,
            engine: Engine::Sled,
            removed: removed.iter().map(|name| name.parse().unwrap()).collect(),
        };
        let with = |settings, region: &str| with_region(settings, &region.parse().unwrap());
        assert_eq!(with(settings(3, &[]), "sa-east").unwrap(), settings(4, &[]));
        assert_eq!(with(settings(3, &[]), "ap-northeast").unwrap(), settings(5, &["sa-east"]));
        assert_eq!(with(settings(5, &["sa-east"]), "sa-east").unwrap(), settings(5, &[]));
        assert_eq!(with(settings(4, &["us-east"]), "us-east").unwrap(), settings(4, &[]));
        assert!(with(settings(3, &[]), "us-east").is_err() && with(settings(3, &[]), "moon").is_err());
    }
}
