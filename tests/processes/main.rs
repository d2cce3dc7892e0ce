//! Meridian as people run it: real processes, real sockets, real files.
//!
//! | file | concern |
//! | --- | --- |
//! | `walk.rs` | the walk of the README, and visits that end at their second |
//! | `failover_matrix.rs` | every failure of a node against every kind of request, at one router |
//! | `failures.rs` | regions that are killed, frozen, cut off, or lose their disk |
//! | `disks.rs` | disks that are full, hang or fail, kills before their calls, two processes on one |
//! | `damage.rs` | files of a store that are damaged or lost |
//! | `faults.rs` | faults that an operator makes for a drill |
//! | `drills.rs` | `meridian drill`: modes, refusals, guard rails, exit codes |
//! | `observed.rs` | metrics and access logs of real processes |
//! | `operators.rs` | tokens, roles and the audit trail |
//! | `private.rs` | what other users of the machine and pages of other sites must not get at |
//! | `membership.rs` | regions that join, move and leave |
//! | `revocation.rs` | certificates that are revoked while all nodes run |
//! | `router.rs` | the nearest region by DNS and by HTTP, operators' orders |
//! | `node_tls.rs` | TLS between routers and nodes, and nodes by host name |
//! | `router_changes.rs` | regions and nodes that come and go while a router runs |
//! | `replace.rs` | a router that replaces another, and event streams that end when their node or router does |
//! | `running.rs` | nodes with a fast or a wrong clock, peers by host name |
//! | `documents.rs` | the OpenAPI documents against nodes and the edge |
//! | `data_set.rs` | what guests typed comes back byte for byte |
//! | `hostile.rs` | hostile bytes from clients and from peers |
//! | `backup.rs` | backups that are taken, refused and put back |
//! | `browser.rs` | the pages in a real browser |
//! | `dnssec.rs` | the keys of a signed zone on the command line |
//! | `signals.rs` | signals that operators and their tools send |
//! | `simulate.rs` | the command `meridian simulate` |
//! | `release.rs` | stores of the release before |
//! | `common.rs` | deployments, proxies and clients for these tests |
//!
//! They are one program because most of them wait for other processes: here their waits overlap.

#![allow(clippy::unwrap_used)]

mod backup;
mod browser;
mod common;
mod damage;
mod data_set;
mod disks;
mod dnssec;
mod documents;
mod drills;
mod failover_matrix;
mod failures;
mod faults;
mod hostile;
mod membership;
mod node_tls;
mod observed;
mod operators;
mod private;
mod release;
mod replace;
mod revocation;
mod router;
mod router_changes;
mod running;
mod signals;
mod simulate;
mod walk;
