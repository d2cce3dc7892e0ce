//! The commands of `meridian`, a module each. A command reads its options, does its work and says how it went.

pub(crate) mod backup;
pub(crate) mod certs;
pub(crate) mod dnssec;
pub(crate) mod explain;
pub(crate) mod fault;
pub(crate) mod manual;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod region;
pub(crate) mod restore;
pub(crate) mod router;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod venue;
pub(crate) mod verify;
