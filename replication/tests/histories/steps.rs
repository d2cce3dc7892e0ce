//! What can happen in a history.

use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};

/// Most replicas of a history.
pub(crate) const REPLICAS: usize = 3;

/// How a wall clock is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wrong {
    /// Within the skew that is taken for normal.
    Seconds(i8),
    /// Hours ahead, which after a restart looks like a downtime.
    HoursAhead(u8),
    /// A month ahead.
    MonthAhead,
    /// A month behind.
    MonthBehind,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Creates document `slot` of the current hour, with one of a few contents and lifetimes.
    Create { at: usize, slot: u8, content: u8, lifetime: u8 },
    /// Corrects a field of a document that is live there.
    Amend { at: usize, pick: u8, content: u8 },
    /// Repeats an acknowledged creation, perhaps elsewhere.
    Repeat { at: usize, pick: u8 },
    /// Erases a document, whether it was seen there or not.
    Erase { at: usize, pick: u8 },
    /// Time passes in ticks of 100 ms; frames and timers run.
    Run { ticks: u8 },
    /// Hours pass at once.
    Sleep { hours: u8 },
    /// No frame crosses between the two.
    Cut { a: usize, b: usize },
    /// All cuts heal.
    Heal,
    /// The network loses, repeats and reorders this share (percent) of frames.
    Lossy { percent: u8 },
    /// The process dies; unsynced batches vanish in part.
    Crash { at: usize, wrong: Option<Wrong> },
    /// The disk is copied.
    Backup { at: usize },
    /// The process dies and its disk goes back to the copy.
    RollBack { at: usize },
    /// The wall clock steps.
    Clock { at: usize, wrong: Option<Wrong> },
    /// The process stops running for a while, its memory and clocks intact.
    Pause { at: usize },
    /// It runs again.
    Resume { at: usize },
    /// The disk is slow: batches stay unsynced until it recovers.
    SlowDisk { at: usize, slow: bool },
    /// An erasure is on its way to the disk when the process dies: some buckets have it, others have not.
    EraseThenCrash { at: usize, pick: u8 },
    /// When all agree, one replica is cut off and restarted with a clock a few hours ahead, and an operator confirms
    /// that clock. The replica forgets a day too early. Then its clock is put right, and it meets the others again and
    /// tells its horizon.
    ForgetTooEarly { at: usize, hours: u8 },
}

/// Which links work again at the end. Any connected graph must converge.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// All of them.
    Mesh,
    /// All except the one between the two outer replicas, which meet only through the middle one.
    Line { middle: usize },
}

/// A history and the seed of everything that the world draws.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub seed: u64,
    /// How many replicas. Steps assume three and are folded onto fewer.
    pub replicas: usize,
    pub ending: Ending,
    pub steps: Vec<Step>,
}

fn wrong() -> BoxedStrategy<Option<Wrong>> {
    prop_oneof![
        3 => Just(None),
        2 => (-9i8..10).prop_map(|s| Some(Wrong::Seconds(s))),
        1 => (3u8..22).prop_map(|hours| Some(Wrong::HoursAhead(hours))),
        1 => Just(Some(Wrong::MonthAhead)),
        1 => Just(Some(Wrong::MonthBehind)),
    ]
    .boxed()
}

fn step() -> BoxedStrategy<Step> {
    let at = || 0..REPLICAS;
    prop_oneof![
        10 => (at(), 0u8..4, 0u8..2, 0u8..5)
            .prop_map(|(at, slot, content, lifetime)| Step::Create { at, slot, content, lifetime }),
        6 => (at(), any::<u8>(), any::<u8>()).prop_map(|(at, pick, content)| Step::Amend { at, pick, content }),
        2 => (at(), any::<u8>()).prop_map(|(at, pick)| Step::Repeat { at, pick }),
        4 => (at(), any::<u8>()).prop_map(|(at, pick)| Step::Erase { at, pick }),
        8 => (1u8..20).prop_map(|ticks| Step::Run { ticks }),
        2 => (1u8..30).prop_map(|hours| Step::Sleep { hours }),
        1 => (30u8..130).prop_map(|hours| Step::Sleep { hours }),
        3 => (at(), at()).prop_map(|(a, b)| Step::Cut { a, b }),
        2 => Just(Step::Heal),
        1 => (0u8..50).prop_map(|percent| Step::Lossy { percent }),
        3 => (at(), wrong()).prop_map(|(at, wrong)| Step::Crash { at, wrong }),
        1 => at().prop_map(|at| Step::Backup { at }),
        1 => at().prop_map(|at| Step::RollBack { at }),
        2 => (at(), wrong()).prop_map(|(at, wrong)| Step::Clock { at, wrong }),
        1 => at().prop_map(|at| Step::Pause { at }),
        1 => at().prop_map(|at| Step::Resume { at }),
        2 => (at(), any::<bool>()).prop_map(|(at, slow)| Step::SlowDisk { at, slow }),
        2 => (at(), any::<u8>()).prop_map(|(at, pick)| Step::EraseThenCrash { at, pick }),
        1 => (at(), 6u8..23).prop_map(|(at, hours)| Step::ForgetTooEarly { at, hours }),
    ]
    .boxed()
}

/// Histories of this many steps.
pub(crate) fn history(steps: std::ops::Range<usize>) -> impl Strategy<Value = History> {
    let replicas = prop_oneof![8 => Just(REPLICAS), 1 => Just(2usize), 1 => Just(1usize)];
    let ending = prop_oneof![Just(Ending::Mesh), (0..REPLICAS).prop_map(|middle| Ending::Line { middle })];
    (any::<u64>(), replicas, ending, proptest::collection::vec(step(), steps))
        .prop_map(|(seed, replicas, ending, steps)| History { seed, replicas, ending, steps })
}
