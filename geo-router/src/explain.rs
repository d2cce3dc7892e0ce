//! Explains why an address goes where it goes: to operators over the admin listener and the command line, and to
//! everybody over `TXT explain.<service>`.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::location::{Located, Locator};
use crate::view::{Reason, RegionState, View};

/// How the client's address was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressSource {
    /// EDNS client subnet.
    ClientSubnet,
    /// The resolver that asks.
    Resolver,
    /// A request for an explanation names the address.
    Given,
}

/// Explains routes with everything that the locator knows.
#[derive(Debug)]
pub struct Explainer {
    locator: Arc<Locator>,
}

/// One explanation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The prefix whose clients are all treated alike, such as `46.4.0.0/16`.
    pub prefix: String,
    /// How the address was learnt.
    pub address_source: AddressSource,
    /// The location of the address.
    pub located: Located,
    /// The region to which it goes.
    pub region: String,
    /// The reason.
    pub reason: Reason,
    /// All regions, the most suitable first.
    pub ranking: Vec<Ranked>,
    /// The part of this class of places for which no region has capacity.
    pub shed: f64,
    /// Seconds for which DNS answers may be kept.
    pub ttl: u32,
    /// The number of the view.
    pub epoch: u64,
    /// Too few routers are heard for a verdict, so the last one holds.
    pub frozen: bool,
}

/// One region in an explanation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// Its name.
    pub region: String,
    /// Its state.
    pub state: RegionState,
    /// Great-circle distance, if the client's location is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub km: Option<u32>,
    /// The share of this class of places that it takes now.
    pub share: f64,
}

impl Explainer {
    /// An explainer.
    #[must_use]
    pub fn new(locator: Arc<Locator>) -> Explainer {
        Explainer { locator }
    }

    /// Explains why `view` sends `address` where it does.
    #[must_use]
    pub fn explain(&self, view: &View, address: IpAddr, address_source: AddressSource) -> Explanation {
        let route = view.route(address);
        let located = self.locator.locate(address);
        let shares = view.assignment.shares(route.leaf.class);
        let ranking = view.places.place(route.leaf.class).order.iter().map(|index| {
            let region = view.fleet.region(*index);
            Ranked {
                region: region.name.to_string(),
                state: view.regions[index.at()].state,
                km: located.position.map(|position| region.position.km_to(position).round() as u32),
                share: shares.iter().find(|(known, _)| known == index).map_or(0.0, |(_, share)| *share),
            }
        });
        Explanation {
            prefix: format!("{}/{}", route.leaf.network, route.leaf.prefix),
            address_source,
            located,
            region: view.fleet.region(route.region).name.to_string(),
            reason: route.reason,
            ranking: ranking.collect(),
            shed: view.shed(route.leaf.class),
            ttl: view.ttl,
            epoch: view.epoch,
            frozen: view.frozen,
        }
    }
}

impl Explanation {
    /// As the strings of a TXT record, each at most 255 bytes: one for the client, one for the answer, one for each
    /// region.
    #[must_use]
    pub fn to_texts(&self) -> Vec<String> {
        let source = match self.address_source {
            AddressSource::ClientSubnet => "client-subnet",
            AddressSource::Resolver => "resolver",
            AddressSource::Given => "given",
        };
        let country = self.located.country.map_or_else(|| "?".to_owned(), |country| country.to_string());
        let by = match self.located.source {
            crate::location::Source::Override => "override",
            crate::location::Source::Database => "database",
            crate::location::Source::Unknown => "unknown",
        };
        let mut texts = vec![
            format!("client={} from={source} country={country} located-by={by}", self.prefix),
            format!(
                "region={} reason={} ttl={} epoch={} frozen={}",
                self.region,
                self.reason.name(),
                self.ttl,
                self.epoch,
                self.frozen
            ),
        ];
        texts.extend(self.ranking.iter().enumerate().map(|(rank, one)| {
            let km = one.km.map_or_else(|| "?".to_owned(), |km| km.to_string());
            format!("{}. {} state={} km={km} share={:.2}", rank + 1, one.region, one.state.name(), one.share)
        }));
        texts
    }
}
