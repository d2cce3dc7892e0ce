//! Every request of a run with its begin, its end and its answer. Visits, values and venues are numbers here, because a
//! long run reads the same names very often; [`Names`] has the texts.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// A name as a number.
pub(crate) type Name = u32;

/// What a request is meant to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// `PUT` of a visit, the first time or again.
    CheckIn { visit: Name, value: Name },
    /// `PATCH` of its phone number.
    Correct { visit: Name, value: Name },
    /// `DELETE`.
    Erase { visit: Name },
    /// `GET` of the guest's own record.
    Read { visit: Name },
    /// The guest list of a venue.
    List { venue: Name },
    /// The guest list of a venue when all faults are over and all regions say that they are complete. There are several
    /// rounds: all regions must show the same in all of them.
    FinalList { venue: Name, round: u32 },
}

impl Act {
    /// Its name in reports.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Act::CheckIn { .. } => "check-in",
            Act::Correct { .. } => "correction",
            Act::Erase { .. } => "erasure",
            Act::Read { .. } => "read",
            Act::List { .. } => "list",
            Act::FinalList { .. } => "final list",
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No connection was made, so the request had no effect.
    NotSent,
    /// No answer came: it may have had its effect, or have it later.
    Unknown,
    /// The status of the answer.
    Answered(u16),
}

/// A visit as a list or a read shows it, with all concurrent values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub visit: Name,
    pub values: Box<[Name]>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    /// Microseconds after the begin of the run.
    pub begin: u64,
    /// As `begin`; later than everything if no answer came.
    pub end: u64,
    /// Requests of one session follow one another, each with the token of the answer before. `None` without a token.
    pub session: Option<u32>,
    pub region: u8,
    pub act: Act,
    pub outcome: Outcome,
    /// What the answer shows.
    pub shows: Vec<Row>,
    /// The regions that the answer names as having the write.
    pub confirmed: Vec<u8>,
    /// The answer says that it may be older than what the session has seen.
    pub is_stale: bool,
}

impl Op {
    /// Whether the answer has this status.
    pub(crate) fn is(&self, status: u16) -> bool {
        self.outcome == Outcome::Answered(status)
    }

    /// Whether the answer promises that the write holds.
    pub(crate) fn is_acknowledged(&self) -> bool {
        matches!(self.outcome, Outcome::Answered(200..=299))
    }

    /// Whether the request certainly had no effect.
    pub(crate) fn had_no_effect(&self) -> bool {
        matches!(self.outcome, Outcome::NotSent | Outcome::Answered(400..=499))
    }
}

/// Texts and their numbers.
#[derive(Default)]
pub(crate) struct Names {
    numbers: HashMap<String, Name>,
    texts: Vec<String>,
}

impl Names {
    /// The number of a text; a new one if it was never seen.
    pub(crate) fn number(&mut self, text: &str) -> Name {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = Name::try_from(self.texts.len()).unwrap();
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        number
    }

    /// The text of a number.
    pub(crate) fn text(&self, number: Name) -> &str {
        &self.texts[number as usize]
    }
}

/// Takes the requests of all clients down.
pub(crate) struct Recorder {
    begun: Instant,
    kept: Mutex<(Vec<Op>, Names)>,
}

impl Recorder {
    pub(crate) fn start() -> Recorder {
        Recorder { begun: Instant::now(), kept: Mutex::default() }
    }

    /// Microseconds since the begin of the run.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    /// The number of a text.
    pub(crate) fn name(&self, text: &str) -> Name {
        self.kept.lock().1.number(text)
    }

    /// Takes a request down that is over.
    pub(crate) fn take(&self, op: Op) {
        self.kept.lock().0.push(op);
    }

    /// Everything so far, in the order of the begins, with the texts.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&[Op], &Names) -> T) -> T {
        let mut kept = self.kept.lock();
        let (ops, names) = &mut *kept;
        ops.sort_by_key(|op| op.begin);
        look(ops, names)
    }
}

/// A request as one line of JSON.
pub(crate) fn line(op: &Op, names: &Names, regions: &[&str]) -> Value {
    let (visit, value) = match op.act {
        Act::CheckIn { visit, value } | Act::Correct { visit, value } => (Some(visit), Some(value)),
        Act::Erase { visit } | Act::Read { visit } => (Some(visit), None),
        Act::List { .. } | Act::FinalList { .. } => (None, None),
    };
    let texts = |of: &[Name]| of.iter().map(|name| names.text(*name).to_owned()).collect::<Vec<_>>();
    let rows = op.shows.iter().map(|row| json!([names.text(row.visit), texts(&row.values)]));
    let venue = match op.act {
        Act::List { venue } | Act::FinalList { venue, .. } => Some(names.text(venue)),
        _ => None,
    };
    json!({
        "begin_us": op.begin,
        "end_us": (op.end != u64::MAX).then_some(op.end),
        "session": op.session,
        "region": regions[usize::from(op.region)],
        "act": op.act.kind(),
        "visit": visit.map(|name| names.text(name)),
        "value": value.map(|name| names.text(name)),
        "venue": venue,
        "outcome": match op.outcome {
            Outcome::NotSent => json!("not sent"),
            Outcome::Unknown => json!("unknown"),
            Outcome::Answered(status) => json!(status),
        },
        "shows": rows.collect::<Vec<_>>(),
        "confirmed": op.confirmed.iter().map(|region| regions[usize::from(*region)]).collect::<Vec<_>>(),
        "stale": op.is_stale,
    })
}
