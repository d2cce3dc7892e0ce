//! Which nodes a request is tried at: passes, from the nodes that are well to the last resort.
//!
//! | pass | regions | nodes |
//! | --- | --- | --- |
//! | [`Pass::Well`] | that are well, have room and were not silent | up, admitted by their breakers |
//! | [`Pass::All`] | that are well, with room; those that are down if no region was full | admitted by their breakers |
//! | [`Pass::Anywhere`] | that are well, with room or without | admitted by their breakers |
//! | [`Pass::PastBreakers`] | as [`Pass::All`], if no region was full | one, whatever its breaker says |
//!
//! # Invariants
//! - A region that is down is never room: while another one is well, it is asked only if no region was full. Otherwise
//!   a load beyond the limits would go to the dead region, and its failures would stand where a 429 belongs.
//! - Pure: the caller keeps what was tried and what was full.

use crate::fleet::NodeId;
use crate::view::View;

/// The nodes that a pass tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// The nodes that are up, in regions that are well and have room.
    Well,
    /// All nodes, in regions that have room.
    All,
    /// All nodes of regions that are well.
    Anywhere,
    /// One node whose breaker is open. Otherwise no request would be served when all breakers are open.
    PastBreakers,
}

impl Pass {
    /// All of them, in their order.
    pub(super) const ALL: [Pass; 4] = [Pass::Well, Pass::All, Pass::Anywhere, Pass::PastBreakers];

    /// Whether the pass tries a node. `full` says whether a region was skipped for this request because it had no room.
    pub(super) fn tries(self, view: &View, node: NodeId, full: bool) -> bool {
        let is_spare = view.is_spare(node.region);
        match self {
            Pass::Well => !is_spare && view.is_up(node),
            Pass::All => !is_spare || !full,
            Pass::Anywhere => !is_spare,
            // A region that was full answers, so the request is better repeated in a moment.
            Pass::PastBreakers => !full,
        }
    }

    /// Whether the pass ignores that a region has no room.
    pub(super) fn ignores_limits(self) -> bool {
        self == Pass::Anywhere
    }
}

#[cfg(test)]
mod tests {
    use api::explanation::RegionState::{self, Down, Drained, Maintenance, Ramping, Unknown, Up};

    use super::super::testing::{fleet, view};
    use super::Pass;
    use crate::fleet::{NodeId, RegionIndex};

    /// The regions that each pass tries if the regions are in these states.
    fn tried(states: &[RegionState], full: bool) -> [Vec<u8>; 4] {
        let mut view = view(&fleet(&vec![1; states.len()]).into());
        view.regions.iter_mut().zip(states).for_each(|(region, state)| region.state = *state);
        let node = |region| NodeId { region: RegionIndex(region), node: 0 };
        let count = states.len() as u8;
        Pass::ALL.map(|pass| (0..count).filter(|region| pass.tries(&view, node(*region), full)).collect())
    }

    #[test]
    fn a_region_that_is_down_is_not_room_while_another_is_well() {
        for well in [Up, Ramping, Unknown, Drained] {
            assert_eq!(tried(&[Down, well], true), [vec![1], vec![1], vec![1], vec![]], "{well:?}");
            // No region was full, but those that are well have failed.
            assert_eq!(tried(&[Down, well], false), [vec![1], vec![0, 1], vec![1], vec![0, 1]], "{well:?}");
            assert_eq!(tried(&[well, Down, Down], true), [vec![0], vec![0], vec![0], vec![]], "{well:?}");
        }
    }

    #[test]
    fn if_no_region_is_well_all_are_tried() {
        let all = || vec![0, 1];
        for states in [[Down, Down], [Down, Maintenance]] {
            assert_eq!(tried(&states, true), [all(), all(), all(), vec![]], "{states:?}");
            assert_eq!(tried(&states, false), [all(), all(), all(), all()], "{states:?}");
        }
    }

    #[test]
    fn nodes_that_are_not_up_come_after_all_that_are() {
        let mut view = view(&fleet(&[2]).into());
        view.regions[0].nodes_up = vec![false, true];
        let node = |node| NodeId { region: RegionIndex(0), node };
        assert!(!Pass::Well.tries(&view, node(0), false) && Pass::Well.tries(&view, node(1), false));
        assert!(Pass::All.tries(&view, node(0), true) && Pass::Anywhere.tries(&view, node(0), true));
    }
}
