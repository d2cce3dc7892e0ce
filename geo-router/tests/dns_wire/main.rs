//! The DNS server from outside: raw packets in, raw packets out. hickory-proto judges what is well formed.

#![allow(clippy::unwrap_used)]

mod addresses;
mod answers;
mod battery;
mod cookies;
mod craft;
mod delegations;
mod gdnsd;
mod options;
mod properties;
mod regions;
mod server;
mod signed;
mod streams;
mod validators;
mod world;
