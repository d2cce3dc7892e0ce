//! The rules of the replica, one file for each concern. The tests play its peers, disks and clocks.
//!
//! One binary, because linking each file alone took longer than running it.

mod acknowledging;
mod believing;
mod bounds;
mod changes;
mod common;
mod conditions;
mod erasing;
mod forgetting;
mod greeting;
mod healing;
mod membership;
mod operator_override;
mod origins;
mod recovering;
mod restarting;
mod restoring;
mod salvaging;
mod sealing;
mod versions;
