//! Versions of the link protocol, and which of them a link uses.
//!
//! While a deployment is renewed, its nodes are of two releases. Each side says in its `Hello` which version is the
//! newest that it speaks, and each sends the newest that both speak. Every frame names its version, so a receiver needs
//! no state to read it, and reads every version from [`Protocol::OLDEST`] on.
//!
//! | version | since | what it added |
//! | --- | --- | --- |
//! | 3 | 0.1 | columns, rolling hashes |
//! | 4 | 0.2 | `Hello` names the newest version; what a later one adds to `Hello` is skipped |
//! | 5 | 0.2 | frames that compare and repair rows |
//!
//! Version 3 has no room for that in its `Hello` and closes a link on which it hears of another version. A peer that did
//! not answer a `Hello` is therefore greeted in version 3 the next time, and in the newest one the time after that
//! ([`crate::Replica`] keeps which).

use std::fmt;

/// A version of the link protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(u8);

impl Protocol {
    /// The oldest version that is read, that of the release before.
    pub const OLDEST: Protocol = Protocol(3);
    /// The newest version.
    pub const NEWEST: Protocol = Protocol(5);

    /// The version whose `Hello` names the newest version first.
    pub(crate) const NEGOTIATED: Protocol = Protocol(4);

    /// Whether rows are compared and repaired.
    pub(crate) fn has_checks(self) -> bool {
        self >= Protocol(5) && self.is_spoken()
    }

    pub(crate) fn of(number: u8) -> Protocol {
        Protocol(number)
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// Whether frames other than a `Hello` are read in this version.
    pub(crate) fn is_spoken(self) -> bool {
        (Protocol::OLDEST..=Protocol::NEWEST).contains(&self)
    }

    /// The version in which a peer is sent frames that speaks up to this one.
    pub(crate) fn with_peer(self) -> Protocol {
        self.min(Protocol::NEWEST)
    }

    /// The version in which a peer is greeted that did not answer a `Hello` in this one.
    pub(crate) fn other(self) -> Protocol {
        if self == Protocol::NEWEST { Protocol::OLDEST } else { Protocol::NEWEST }
    }
}

impl Default for Protocol {
    fn default() -> Protocol {
        Protocol::NEWEST
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
