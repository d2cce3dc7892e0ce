//! The share of each class of places that goes to each region.

use crate::fleet::RegionIndex;
use crate::location::PlaceClass;

/// Shares below this are rounding errors.
const NOTHING: f64 = 1e-9;

/// One class: its shares, each more than 0, and the part that is shed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Parts {
    shares: Vec<(RegionIndex, f64)>,
    shed: f64,
}

/// Shares for all classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    classes: Vec<Parts>,
    /// Regions that these shares fill.
    full: Vec<RegionIndex>,
}

impl Assignment {
    /// Adds the next class; its shares are scaled down if their sum exceeds 1.
    pub fn push(&mut self, shares: impl IntoIterator<Item = (RegionIndex, f64)>) {
        let mut shares: Vec<_> = shares.into_iter().filter(|(_, share)| *share > NOTHING).collect();
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        if sum > 1.0 {
            shares.iter_mut().for_each(|(_, share)| *share /= sum);
        }
        let shed = if sum > 1.0 - NOTHING { 0.0 } else { 1.0 - sum };
        self.classes.push(Parts { shares, shed });
    }

    /// Adds a class whose clients go down an order: each region takes its admission of what the regions before it left.
    pub(crate) fn push_waterfall(&mut self, order: &[RegionIndex], admission: &[f64]) {
        let mut left = 1.0;
        let mut shares = Vec::with_capacity(order.len());
        for region in order {
            let taken = left * admission[region.at()];
            shares.push((*region, taken));
            left -= taken;
        }
        // If all regions ramp, a rest is left. They share it in the same proportion as the others.
        let sum = 1.0 - left;
        if sum > NOTHING {
            shares.iter_mut().for_each(|(_, share)| *share /= sum);
        }
        self.push(shares);
    }

    /// The shares use all the room that a region has.
    pub(crate) fn fill(&mut self, region: RegionIndex) {
        self.full.push(region);
    }

    /// Whether the shares leave no room in a region.
    #[must_use]
    pub(crate) fn is_full(&self, region: RegionIndex) -> bool {
        self.full.contains(&region)
    }

    /// The regions that take a part of a class; empty if all of it is shed.
    #[must_use]
    pub fn shares(&self, class: PlaceClass) -> &[(RegionIndex, f64)] {
        self.classes.get(class.at()).map_or(&[], |parts| &parts.shares)
    }

    /// The part of a class that no region takes.
    #[must_use]
    pub fn shed(&self, class: PlaceClass) -> f64 {
        self.classes.get(class.at()).map_or(0.0, |parts| parts.shed)
    }

    /// How many classes there are.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes.len()
    }
}
