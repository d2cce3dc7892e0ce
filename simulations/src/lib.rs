//! The deterministic simulator around [`replication::Replica`], and its scenarios.
//!
//! Nothing is here yet; generated histories run in `replication/tests/histories` meanwhile.
