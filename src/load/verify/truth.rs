//! What the regions must show, and what one target shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use indicatif::ProgressBar;
use jiff::Timestamp;
use registry::{Person, Secret, VisitId};
use replication::DocumentId;
use serde::Deserialize;
use serde_json::Value;

use super::super::ledger::SentVisit;
use super::super::run::Ran;
use super::super::shared::Shared;
use super::{Checked, EXAMPLES, list};

/// How a target shows one visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ListedState {
    #[default]
    Absent,
    First,
    Corrected,
    /// Other persons, another area, another arrival, or unexpected concurrent values.
    Other,
    Twice,
}

/// The contents of one target.
pub(super) struct Seen {
    visits: Vec<ListedState>,
    rows: u64,
    strangers: Vec<String>,
    stranger_count: u64,
}

/// All visits that may exist, in the order of their ids.
pub(super) struct Truth {
    shared: Arc<Shared>,
    /// In the order of their ids.
    pub(super) visits: Vec<SentVisit>,
}

/// One line of a guest list, with only the fields that are compared.
#[derive(Deserialize)]
struct Row {
    visit_id: String,
    area: Option<String>,
    arrived: Timestamp,
    persons: Vec<Person>,
    #[serde(default)]
    conflicts: BTreeMap<String, Value>,
}

impl Truth {
    /// The truth that follows from the answers of a run.
    pub(super) fn new(shared: Arc<Shared>, ran: &Ran) -> Self {
        let mut visits = ran.visits.clone();
        visits.sort_unstable_by_key(|visit| visit.id);
        Self { shared, visits }
    }

    /// The number of targets to read.
    pub(super) fn targets(&self) -> usize {
        self.shared.read_at.len()
    }

    /// A target of which nothing was read yet.
    pub(super) fn nothing_seen(&self) -> Seen {
        Seen { visits: vec![ListedState::Absent; self.visits.len()], rows: 0, strangers: Vec::new(), stranger_count: 0 }
    }

    /// Reads all venues of one target.
    pub(super) async fn read(&self, target: usize, seen: &mut Seen, bar: &ProgressBar) -> anyhow::Result<()> {
        let base = &self.shared.read_at[target];
        for (index, venue) in self.shared.venues.iter().enumerate() {
            bar.set_message(format!("reading {base}: venue {} of {}", index + 1, self.shared.venues.len()));
            bar.tick();
            list::stream(base, venue, |line| self.row(index, line, seen)).await?;
        }
        Ok(())
    }

    fn row(&self, venue: usize, line: &[u8], seen: &mut Seen) -> anyhow::Result<()> {
        let row: Row = serde_json::from_slice(line).with_context(|| {
            format!("a row is not the JSON that is expected: {}", String::from_utf8_lossy(&line[..line.len().min(120)]))
        })?;
        seen.rows += 1;
        let known = number(&row.visit_id).and_then(|id| self.visits.binary_search_by_key(&id, |visit| visit.id).ok());
        match known.filter(|index| usize::from(self.visits[*index].venue) == venue) {
            Some(index) => {
                let shown = &mut seen.visits[index];
                *shown = if *shown == ListedState::Absent {
                    self.shown(&self.visits[index], &row)
                } else {
                    ListedState::Twice
                };
            }
            None => {
                seen.stranger_count += 1;
                if seen.strangers.len() < EXAMPLES {
                    seen.strangers.push(row.visit_id);
                }
            }
        }
        Ok(())
    }

    fn shown(&self, visit: &SentVisit, row: &Row) -> ListedState {
        let payload = self.shared.pool.get(visit.payload);
        if !row.conflicts.is_empty() || row.area != payload.area || row.arrived.as_millisecond() != arrival(visit) {
            ListedState::Other
        } else if row.persons == payload.first {
            ListedState::First
        } else if row.persons == payload.corrected {
            ListedState::Corrected
        } else {
            ListedState::Other
        }
    }

    /// Compares what a target shows with what it may show.
    pub(super) fn judge(&self, target: usize, seen: &Seen, examples: &mut Vec<String>) -> Checked {
        let name = self.shared.read_at[target].to_string();
        let mut checked =
            Checked { rows: seen.rows, strangers: seen.stranger_count, target: name.clone(), ..Checked::default() };
        let mut tell = |what: &str, id: &str| {
            if examples.len() < EXAMPLES {
                examples.push(format!("{name}: {what}: {id}"));
            }
        };
        for (visit, shown) in self.visits.iter().zip(&seen.visits) {
            let allowed = visit.allowed();
            let (count, what) = match shown {
                ListedState::Absent if allowed.absent => continue,
                ListedState::First if allowed.first => continue,
                ListedState::Corrected if allowed.corrected => continue,
                ListedState::Absent => (&mut checked.missing, "missing"),
                ListedState::Twice => (&mut checked.twice, "in the list more than once"),
                // An erased visit must not be shown at all.
                _ if !allowed.first && !allowed.corrected => (&mut checked.resurrected, "erased but still in the list"),
                ListedState::First => (&mut checked.wrong, "corrected but shown as before"),
                ListedState::Corrected => (&mut checked.wrong, "shown corrected without a correction"),
                ListedState::Other => (&mut checked.wrong, "shown with other content"),
            };
            *count += 1;
            tell(what, &id(visit));
        }
        seen.strangers.iter().for_each(|id| tell("never sent but in the list", id));
        checked
    }

    /// Counts the visits that targets show differently.
    pub(super) fn differing(&self, targets: &[&Seen], examples: &mut Vec<String>) -> u64 {
        let mut differing = 0;
        let [first, others @ ..] = targets else { return 0 };
        for (index, visit) in self.visits.iter().enumerate() {
            if others.iter().any(|other| other.visits[index] != first.visits[index]) {
                differing += 1;
                if examples.len() < EXAMPLES {
                    let shown: Vec<ListedState> = targets.iter().map(|target| target.visits[index]).collect();
                    examples.push(format!("{} differs between targets: {shown:?}", id(visit)));
                }
            }
        }
        differing
    }
}

/// Arrival in Unix milliseconds.
fn arrival(visit: &SentVisit) -> i64 {
    DocumentId(visit.id.to_be_bytes()).arrival().0.cast_signed()
}

fn id(visit: &SentVisit) -> String {
    VisitId::of(DocumentId(visit.id.to_be_bytes()).arrival(), &Secret(visit.secret)).to_string()
}

/// A visit id as a number.
fn number(id: &str) -> Option<u128> {
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    if digits.len() == 32 { u128::from_str_radix(&digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use registry::{Secret, VisitId};
    use replication::Wall;

    #[test]
    fn ids_are_numbers() {
        let id = VisitId::of(Wall(1_767_225_600_000), &Secret([7; 16]));
        assert_eq!(super::number(&id.to_string()), Some(u128::from_be_bytes(id.document_id().0)));
        assert_eq!(super::number("x"), None);
    }
}
