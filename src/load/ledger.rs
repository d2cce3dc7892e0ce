//! The knowledge of this process about each visit that it sent. Verification compares the regions with it.

/// One visit whose check-in was acknowledged, or may have had an effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentVisit {
    /// The visit id as a number.
    pub(crate) id: u128,
    /// The guest's secret.
    pub(crate) secret: [u8; 16],
    /// The persons, as an index into the pool.
    pub(crate) payload: u32,
    /// The venue, as an index into the list.
    pub(crate) venue: u16,
    /// The target that acknowledged it.
    pub(crate) home: u16,
    /// Whether the check-in was acknowledged.
    pub(crate) acknowledged: bool,
    /// Whether the phone number was corrected.
    pub(crate) correction: Change,
    /// Whether it was erased.
    pub(crate) erasure: Change,
}

/// The state of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Change {
    /// Not requested, or refused.
    #[default]
    None,
    Acknowledged,
    /// Requested without an answer.
    Unknown,
}

/// The ways in which a region's guest list may show a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Not in the list.
    pub(crate) absent: bool,
    /// In the list, as first sent.
    pub(crate) first: bool,
    /// In the list, corrected.
    pub(crate) corrected: bool,
}

impl SentVisit {
    /// The ways in which a complete guest list may show the visit, derived from all answers.
    pub(crate) fn allowed(&self) -> Allowed {
        let present = self.erasure != Change::Acknowledged;
        Allowed {
            absent: self.erasure != Change::None || !self.acknowledged,
            first: present && self.correction != Change::Acknowledged,
            corrected: present && self.correction != Change::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowed, Change, SentVisit};

    #[test]
    fn answers_decide_what_may_be_seen() {
        let visit = |acknowledged, correction, erasure| {
            let visit =
                SentVisit { id: 0, secret: [0; 16], payload: 0, venue: 0, home: 0, acknowledged, correction, erasure };
            let Allowed { absent, first, corrected } = visit.allowed();
            (absent, first, corrected)
        };
        use Change::{Acknowledged, None, Unknown};
        assert_eq!(visit(true, None, None), (false, true, false));
        assert_eq!(visit(true, Acknowledged, None), (false, false, true));
        assert_eq!(visit(true, Unknown, None), (false, true, true));
        assert_eq!(visit(true, Acknowledged, Acknowledged), (true, false, false));
        assert_eq!(visit(true, None, Unknown), (true, true, false));
        assert_eq!(visit(false, None, None), (true, true, false));
    }
}
