//! Operators' orders on regions. They lie in the nodes' replicated cluster document, and the router follows the newest.
//! Only the nodes' admin listeners show the author and the reason of an order.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an operator wants of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderKind {
    /// Clients are sent there as usual.
    Serving,
    /// New clients are sent elsewhere; connections and requests that exist end normally.
    Drained,
    /// No client is sent there.
    Maintenance,
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The kind of order.
    pub order: OrderKind,
    /// When the order was given.
    pub since: Timestamp,
    /// When the order lapses; without it the order holds until the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Order {
    /// The kind that holds at `wall`.
    #[must_use]
    pub fn at(&self, wall: Timestamp) -> OrderKind {
        if self.until.is_some_and(|until| until <= wall) { OrderKind::Serving } else { self.order }
    }
}

/// The newest order on each region, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Orders(BTreeMap<String, Order>);

impl Orders {
    /// Takes an order that a node showed. A node that lags shows an old order, so only a newer one counts; of two at
    /// the same moment the one that sends fewer clients there counts. Returns whether anything changed.
    pub fn take(&mut self, region: &str, order: Order) -> bool {
        let known = self.0.get(region);
        let newer =
            known.is_none_or(|known| (known.since, known.order, known.until) < (order.since, order.order, order.until));
        if newer {
            self.0.insert(region.to_owned(), order);
        }
        newer
    }

    /// The order on a region.
    #[must_use]
    pub fn on(&self, region: &str) -> Option<&Order> {
        self.0.get(region)
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, OrderKind, Orders};

    fn order(order: OrderKind, since: &str, until: Option<&str>) -> Order {
        Order { order, since: since.parse().unwrap(), until: until.map(|until| until.parse().unwrap()) }
    }

    #[test]
    fn the_newest_order_holds_whatever_a_lagging_node_says() {
        let mut orders = Orders::default();
        let drained = order(OrderKind::Drained, "2026-05-01T10:00:00Z", None);
        let serving = order(OrderKind::Serving, "2026-05-01T11:00:00Z", None);
        assert!(orders.take("eu", drained.clone()));
        assert!(orders.take("eu", serving.clone()));
        assert!(!orders.take("eu", drained));
        assert_eq!(orders.on("eu"), Some(&serving));
        // Given in two regions at the same moment: all routers end with the same order.
        assert!(orders.take("eu", order(OrderKind::Drained, "2026-05-01T11:00:00Z", None)));
        assert!(!orders.take("eu", serving));
    }

    #[test]
    fn an_order_lapses() {
        let order = order(OrderKind::Drained, "2026-05-01T10:00:00Z", Some("2026-05-01T12:00:00Z"));
        assert_eq!(order.at("2026-05-01T11:59:59Z".parse().unwrap()), OrderKind::Drained);
        assert_eq!(order.at("2026-05-01T12:00:00Z".parse().unwrap()), OrderKind::Serving);
    }
}
