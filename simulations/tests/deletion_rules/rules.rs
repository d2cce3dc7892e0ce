//! The switches: each rule of `ALGORITHM.md` can be left out, and each world has bounds.

/// The rules that the replicas keep. Section numbers are those of `replication/ALGORITHM.md`.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Rules {
    /// Section 5, rule 1: the expiry is in the key. Off: it is a field that a replica may raise later.
    pub expiry_immutable: bool,
    /// Section 5, rule 1: `x <= L(name)` is checked everywhere. Off: any expiry is taken.
    pub expiry_within_latest: bool,
    /// Section 5, rule 2: an erased document is refused everywhere. Off: it is stored (and hidden from readers).
    pub admission_refuses_erased: bool,
    /// Section 5, rule 2: an expired document is refused everywhere. Off: it is stored (and hidden from readers).
    pub admission_refuses_expired: bool,
    /// Section 5, rule 2: readers see no dead document. Off: they see every stored one.
    pub readers_see_no_dead: bool,
    /// Section 5, rule 3: a bucket goes at `end + s <= C`. Off: at `end <= C`.
    pub drop_waits_for_skew: bool,
    /// Section 5, rule 3: the horizon is durable before a bucket goes. Off: it becomes durable with the next batch.
    pub horizon_durable_before_drop: bool,
    /// Section 5, rule 4: `until = L(name)`. Off: the expiry of the document that is erased.
    pub tombstone_until_latest_expiry: bool,
    /// Section 5, rule 4: the tombstone is durable before the rows go. Off: one batch does both.
    pub tombstone_before_rows: bool,
    /// Section 2: after a crash the rows of tombstones are removed before the first read. Off: they are never removed.
    pub removals_finished_at_restart: bool,
    /// Section 5, rule 5: a peer's horizon is taken up to `C + s`. Off: always.
    pub horizon_bounded_by_own_time: bool,
    /// Section 5, rule 5: a peer's horizon drops nothing. Off: buckets that end before it go.
    pub horizon_drops_nothing: bool,
    /// Section 4: a clock that moved beyond the skew is not believed. Off: `C` follows it.
    pub trusted_time: bool,
    /// Section 4: `C` follows the wall clock only while it is confirmed. Off: at once.
    pub certain_time: bool,
    /// Section 3: a frame that begins beyond the vector is not applied. Off: the vector jumps over the lost entries.
    pub vector_not_past_gap: bool,
    /// Section 2: after a crash in the middle of a batch `V = previous`. Off: `V` is that of the batch.
    pub torn_batch_rolls_back: bool,
    /// Section 2: an acknowledgement waits until the batch is durable. Off: it goes out at once.
    pub acknowledged_when_durable: bool,
    /// Section 2: frames carry only durable entries. Off: they carry every visible entry.
    pub sent_when_durable: bool,
    /// Section 4: trusted time goes back only if it is ahead of a believed clock by more than `2 s`. Off: by more than
    /// `s`.
    pub time_back_beyond_twice_skew: bool,
    /// Section 3: a tombstone is accepted until its bucket is due to go. Off: only until it expires.
    pub tombstones_kept_until_droppable: bool,
    /// Section 2: the log says where an erased document's entry was. Off: there is a gap.
    pub erased_entries_say_so: bool,
    /// Section 3: a replica that learns of an erasure before its tombstone erases in its own log. Off: it hides the
    /// document.
    pub erasures_passed_on: bool,
    /// Section 3: a second tombstone of a name keeps its place in the log. Off: there is a gap.
    pub second_tombstones_stored: bool,
}

impl Rules {
    /// The algorithm.
    pub(crate) const ALL: Rules = Rules {
        expiry_immutable: true,
        expiry_within_latest: true,
        admission_refuses_erased: true,
        admission_refuses_expired: true,
        readers_see_no_dead: true,
        drop_waits_for_skew: true,
        horizon_durable_before_drop: true,
        tombstone_until_latest_expiry: true,
        tombstone_before_rows: true,
        removals_finished_at_restart: true,
        horizon_bounded_by_own_time: true,
        horizon_drops_nothing: true,
        trusted_time: true,
        certain_time: true,
        vector_not_past_gap: true,
        torn_batch_rolls_back: true,
        acknowledged_when_durable: true,
        sent_when_durable: true,
        time_back_beyond_twice_skew: true,
        tombstones_kept_until_droppable: true,
        erased_entries_say_so: true,
        erasures_passed_on: true,
        second_tombstones_stored: true,
    };
}

/// What may happen in a world. Everything else (delivery, removal, expiry, forgetting) may always happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Creations, in all replicas together.
    pub creations: u8,
    /// Erasures.
    pub erasures: u8,
    /// Crashes.
    pub crashes: u8,
    /// Steps of a wall clock.
    pub steps: u8,
    /// The moments of true time at which things happen, beginning with 0.
    pub moments: &'static [u8],
    /// Whether logs go through third replicas.
    pub relay: bool,
    /// Whether assumption A2 does not hold for one replica: its certain time follows a clock that is wrong beyond the
    /// skew.
    pub one_wrong_certain_time: bool,
}

impl Bounds {
    /// The last moment.
    pub(crate) fn last(&self) -> u8 {
        self.moments.last().copied().unwrap_or_default()
    }
}

/// Which properties are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Those that the algorithm promises.
    Promised,
    /// That every interesting situation is reached.
    Reached,
    /// Stronger ones that do not hold.
    Beyond,
}

/// The model: rules within bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeletionRules {
    /// Rules kept.
    pub rules: Rules,
    /// What may happen.
    pub bounds: Bounds,
    /// The properties to check.
    pub question: Question,
}
