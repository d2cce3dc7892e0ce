//! Explains why an address goes where it goes: to operators over the admin listener and the command line, and to
//! everybody over `TXT explain.<service>`.

use std::net::IpAddr;

use api::explanation::{AddressSource, Explanation, Located, Ranked};

use crate::view::View;

/// Explains why `view` sends `address` where it does.
#[must_use]
pub fn explain(view: &View, address: IpAddr, address_source: AddressSource) -> Explanation {
    let route = view.route(address);
    let located = view.places.locate(address);
    let shares = view.assignment.shares(route.leaf.class);
    let ranking = view.places.place(route.leaf.class).order.iter().map(|index| {
        let region = view.fleet.region(*index);
        Ranked {
            region: region.name.clone(),
            state: view.regions[index.at()].state,
            km: located.position.map(|position| region.position.km_to(position).round() as u32),
            share: shares.iter().find(|(known, _)| known == index).map_or(0.0, |(_, share)| *share),
        }
    });
    Explanation {
        prefix: format!("{}/{}", route.leaf.network, route.leaf.prefix),
        address_source,
        located: Located {
            source: located.source,
            country: located.country.map(|country| country.to_string()),
            position: located.position,
        },
        region: view.fleet.region(route.region).name.clone(),
        reason: route.reason,
        ranking: ranking.collect(),
        shed: view.shed(route.leaf.class),
        ttl: view.ttl,
        epoch: view.epoch,
        frozen: view.frozen,
    }
}

/// An explanation as the strings of a TXT record, each at most 255 bytes: one for the client, one for the answer, one
/// for each region.
#[must_use]
pub(crate) fn to_texts(explanation: &Explanation) -> Vec<String> {
    let Explanation { prefix, address_source, located, region, reason, ranking, ttl, epoch, frozen, .. } = explanation;
    let country = located.country.as_deref().unwrap_or("?");
    let mut texts = vec![
        format!("client={prefix} from={address_source} country={country} located-by={}", located.source),
        format!("region={region} reason={reason} ttl={ttl} epoch={epoch} frozen={frozen}"),
    ];
    texts.extend(ranking.iter().enumerate().map(|(rank, one)| {
        let km = one.km.map_or_else(|| "?".to_owned(), |km| km.to_string());
        format!("{}. {} state={} km={km} share={:.2}", rank + 1, one.region, one.state, one.share)
    }));
    texts
}
