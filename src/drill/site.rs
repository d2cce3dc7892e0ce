//! The deployment in which a drill runs: its nodes and routers, where they listen, and their processes if they run here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use api::client::Base;
use api::{NodeName, RegionId};
use geo_router::config::RouterConfig;
use node::config::NodeConfig;

use super::plan::{Plan, SiteSection};
use crate::args::Usage;
use crate::support::deployment;

/// The deployment.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) nodes: Vec<Node>,
    pub(crate) routers: Vec<Router>,
    /// The name that clients ask DNS for.
    pub(crate) service: String,
    /// Check-ins per second that a region can take, as far as it is known.
    pub(crate) capacity: BTreeMap<RegionId, f64>,
    /// The folder of the deployment, if `meridian up` made it.
    pub(crate) folder: Option<PathBuf>,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) region: RegionId,
    pub(crate) public: Base,
    pub(crate) admin: Base,
    /// Its folder, if `meridian up` made it.
    pub(crate) process: Option<Process>,
    /// Its configuration, if `meridian up` made it.
    pub(crate) config: Option<Arc<NodeConfig>>,
}

/// One router.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    pub(crate) name: NodeName,
    pub(crate) admin: Base,
    pub(crate) edge: Base,
    pub(crate) dns: SocketAddr,
    pub(crate) process: Option<Process>,
}

/// The files of a process that `meridian up` runs.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// The file with its process id.
    pub(crate) pid_file: PathBuf,
    /// The file that says when it is started again.
    pub(crate) return_file: PathBuf,
}

impl Process {
    fn of(pid_file: Option<&Path>) -> Option<Process> {
        let pid_file = pid_file?;
        let return_file = deployment::return_file(pid_file.parent()?);
        Some(Process { pid_file: pid_file.to_owned(), return_file })
    }
}

impl Site {
    /// The deployment that the plan names, otherwise the one in `data`.
    pub(crate) fn find(plan: &Plan, data: &Path) -> anyhow::Result<Site> {
        let site = match &plan.site {
            Some(section) => Site::written(section, Some(data)),
            None => Site::of_up(data)?,
        };
        site.checked(plan)
    }

    /// The deployment that the plan names; no folder on this machine has a part in it.
    pub(crate) fn named(plan: &Plan) -> anyhow::Result<Option<Site>> {
        plan.site.as_ref().map(|section| Site::written(section, None).checked(plan)).transpose()
    }

    fn checked(self, plan: &Plan) -> anyhow::Result<Site> {
        let mut site = self;
        site.capacity.extend(plan.capacity.iter().map(|(region, capacity)| (region.clone(), *capacity)));
        if site.nodes.is_empty() || site.routers.is_empty() {
            return Err(Usage::error("a drill needs nodes and at least one router"));
        }
        for region in plan.region.iter().chain(plan.capacity.keys()) {
            if !site.regions().contains(region) {
                let names: Vec<String> = site.regions().iter().map(ToString::to_string).collect();
                return Err(Usage::error(format!(
                    "there is no region `{region}`; the regions are {}",
                    names.join(", ")
                )));
            }
        }
        Ok(site)
    }

    fn of_up(data: &Path) -> anyhow::Result<Site> {
        let nodes = deployment::read(data)
            .context("there is no deployment for the drill (start `meridian up`, or give --data or `[site]`)")?;
        let nodes = nodes.into_iter().map(|node| Node {
            name: node.config.name.clone(),
            region: node.config.region.clone(),
            public: Base::from(node.config.listen.public.first()),
            admin: deployment::authorised(Base::from(node.config.listen.admin.first()), Some(data)),
            process: Process::of(node.config.pid_file.as_deref()),
            config: Some(Arc::new(node.config)),
        });
        let (mut routers, mut service, mut capacity) = (Vec::new(), None, BTreeMap::new());
        for config in deployment::routers(data)? {
            let RouterConfig { name, admin, dns: Some(dns), edge: Some(edge), fleet, pid_file, .. } = config else {
                continue;
            };
            service.get_or_insert(dns.service.to_ascii());
            let known = fleet.regions.iter().filter_map(|region| Some((region.name.clone(), region.capacity?)));
            capacity.extend(known);
            let process = Process::of(pid_file.as_deref());
            let (admin, edge) =
                (deployment::authorised(Base::from(admin.first()), Some(data)), Base::from(edge.listen.first()));
            routers.push(Router { name, admin, edge, dns: dns.listen.first(), process });
        }
        let service = service.unwrap_or_default();
        Ok(Site { nodes: nodes.collect(), routers, service, capacity, folder: Some(data.to_owned()) })
    }

    fn written(section: &SiteSection, data: Option<&Path>) -> Site {
        let nodes = section.nodes.iter().map(|node| Node {
            name: node.name.clone(),
            region: node.region.clone(),
            public: node.public.clone(),
            admin: deployment::authorised(node.admin.clone(), data),
            process: None,
            config: None,
        });
        let routers = section.routers.iter().map(|router| Router {
            name: router.name.clone(),
            admin: deployment::authorised(router.admin.clone(), data),
            edge: router.edge.clone(),
            dns: router.dns,
            process: None,
        });
        let service = section.service.clone();
        Site { nodes: nodes.collect(), routers: routers.collect(), service, capacity: BTreeMap::new(), folder: None }
    }

    /// The regions, in the order of their names.
    pub(crate) fn regions(&self) -> Vec<RegionId> {
        let mut regions: Vec<RegionId> = self.nodes.iter().map(|node| node.region.clone()).collect();
        regions.sort();
        regions.dedup();
        regions
    }

    /// The nodes of a region.
    pub(crate) fn of<'a>(&'a self, region: &'a RegionId) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().filter(move |node| node.region == *region)
    }

    /// The node whose address DNS answered.
    pub(crate) fn at(&self, address: IpAddr) -> Option<&Node> {
        self.nodes.iter().find(|node| node.public.host() == address.to_string())
    }
}
