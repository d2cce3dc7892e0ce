//! What several commands need.
//!
//! | module | concern |
//! | --- | --- |
//! | `out`, `table` | printing |
//! | `logging` | log lines |
//! | `options` | options that the commands of operators share |
//! | `backup` | taking a backup of a running node |
//! | `objects` | files and objects in which backups are kept |
//! | `shell` | commands that are printed to be copied |
//! | `deployment` | the folder of a deployment that `meridian up` made |
//! | `process` | the life of a server process: signals, its pid file, its limits |
//! | `poll` | waiting for a condition |
//! | `venue` | creating a venue through the public API |

#[macro_use]
pub(crate) mod out;

pub(crate) mod backup;
pub(crate) mod deployment;
pub(crate) mod logging;
pub(crate) mod objects;
pub(crate) mod options;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod shell;
pub(crate) mod table;
pub(crate) mod venue;
