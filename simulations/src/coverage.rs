//! What came up in a run, so that a sweep can say what it has never seen.

use std::collections::BTreeSet;

use crate::scenario::FaultKind;

/// Something that must happen in some run of a sweep, otherwise the sweep has a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// A fault had an effect.
    Fault(FaultKind),
    /// A replica took a new id.
    Reincarnated,
    /// A clock was doubted.
    Doubt,
    /// A day's bucket was dropped while requests were still made.
    Forgot,
    /// A visit was erased where it had not been seen.
    ErasedUnseen,
    /// Two values of one field were shown.
    Conflict,
    /// A check-in was refused because another one has its id.
    OtherContent,
    /// Two regions changed the retention of a venue, and neither knew of the other's change.
    ChangedAtOnce,
    /// A visit was taken under a second key, in a region that knew other changes of the retention than the first.
    SecondKey,
    /// A repeat was recognised although the retention had changed since.
    RepeatAfterChange,
    /// A repeat came to a region where the visit had expired.
    RepeatAfterExpiry,
    /// A write was refused because the document is at its bounds.
    Full,
    /// Regions together took more changes of a document than one of them would have.
    Overfull,
    /// A read was answered while a batch was on its way to the disk.
    ReadWhileSyncing,
    /// An answer said that it was stale.
    Stale,
    /// A request was answered by another region than the nearest.
    Failover,
    /// A peer's horizon was refused.
    HorizonRefused,
    /// A replica had forgotten early: it may have dropped documents that have not expired.
    ForgotEarly,
    /// All entries of an origin were over, and a replica forgot its name.
    Retired,
    /// A replica took back what a relay had said of a log, when the log's own node was heard.
    Contradicted,
    /// A link was closed for silence.
    SilentLink,
    /// A partition let one direction pass.
    OneWay,
    /// A partition opened and closed again.
    Flapping,
    /// A frame was lost on an open path.
    Lost,
    /// A frame came twice.
    Duplicated,
    /// A frame was overtaken.
    Overtaken,
    /// A crash took a batch.
    BatchLost,
    /// A crash left a batch in some buckets and not in others.
    BatchTorn,
    /// All regions agreed and no client wrote, and the check that they come to rest was made.
    Rest,
}

/// What came up in one run.
#[derive(Debug, Default)]
pub(crate) struct Covered(BTreeSet<Coverage>);

impl Covered {
    pub(crate) fn insert(&mut self, seen: Coverage) {
        self.0.insert(seen);
    }

    /// A fault of this kind had an effect.
    pub(crate) fn fault(&mut self, kind: FaultKind) {
        self.insert(Coverage::Fault(kind));
    }

    /// The same, if it had one.
    pub(crate) fn fault_if(&mut self, kind: FaultKind, happened: bool) {
        if happened {
            self.fault(kind);
        }
    }

    /// These and others.
    pub(crate) fn union(&self, others: &BTreeSet<Coverage>) -> BTreeSet<Coverage> {
        self.0.union(others).copied().collect()
    }
}
