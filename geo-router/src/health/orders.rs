//! Operators' orders on regions. They lie in the nodes' replicated cluster document, and the router follows the newest.
//! Only the nodes' admin listeners show the author and the reason of an order.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use api::orders::Order;
use serde::{Deserialize, Serialize};

/// The newest order on each region, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Orders(BTreeMap<String, Order>);

impl Orders {
    /// Takes an order that a node showed. A node that lags shows an old order, so only a newer one counts; of two at
    /// the same moment the one that sends fewer clients there counts. Returns whether anything changed.
    pub fn take(&mut self, region: &str, order: Order) -> bool {
        let known = self.0.get(region);
        let rank = |order: &Order| (order.since, order.kind, Reverse(order.keep), order.until);
        let newer = known.is_none_or(|known| rank(known) < rank(&order));
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
    use api::orders::{Order, OrderKind};

    use super::Orders;

    fn order(kind: OrderKind, since: &str, until: Option<&str>) -> Order {
        let until = until.map(|until| until.parse().unwrap());
        Order { kind, keep: 0, since: since.parse().unwrap(), until, by: None, reason: None }
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
