//! Each rule against a history that breaks it, and against one that does not.

use std::collections::BTreeMap;

use super::{Rule, check};
use crate::history::{Act, Name, Op, Outcome, Row};

const VENUE: Name = 0;
const VISIT: Name = 1;
const FIRST: Name = 10;
const SECOND: Name = 11;
const THIRD: Name = 12;

/// A history that is being written. Requests follow one another, unless a test says otherwise.
#[derive(Default)]
struct History(Vec<Op>);

impl History {
    /// A request in a region, with its answer. Returns it for changes.
    fn then(&mut self, region: u8, act: Act, status: u16) -> &mut Op {
        let begin = 10 * self.0.len() as u64 + 10;
        self.0.push(Op {
            begin,
            end: begin + 5,
            session: None,
            region,
            act,
            outcome: Outcome::Answered(status),
            shows: Vec::new(),
            confirmed: Vec::new(),
            is_stale: false,
        });
        self.0.last_mut().unwrap()
    }

    fn check_in(&mut self, region: u8) -> &mut Op {
        self.then(region, Act::CheckIn { visit: VISIT, value: FIRST }, 201)
    }

    fn correct(&mut self, region: u8, value: Name) -> &mut Op {
        self.then(region, Act::Correct { visit: VISIT, value }, 200)
    }

    fn erase(&mut self, region: u8) -> &mut Op {
        self.then(region, Act::Erase { visit: VISIT }, 204)
    }

    /// A read that shows these values, or is 404 without any.
    fn read(&mut self, region: u8, values: &[Name]) -> &mut Op {
        let op = self.then(region, Act::Read { visit: VISIT }, if values.is_empty() { 404 } else { 200 });
        op.shows = rows(values);
        op
    }

    fn list(&mut self, region: u8, values: &[Name]) -> &mut Op {
        let op = self.then(region, Act::List { venue: VENUE }, 200);
        op.shows = rows(values);
        op
    }

    fn last_list(&mut self, region: u8, values: &[Name]) -> &mut Op {
        let op = self.then(region, Act::FinalList { venue: VENUE, round: 0 }, 200);
        op.shows = rows(values);
        op
    }

    /// All requests belong to one session.
    fn in_session(mut self) -> History {
        self.0.iter_mut().for_each(|op| op.session = Some(0));
        self
    }

    /// The rules that are broken.
    #[track_caller]
    fn breaks(&self, rules: &[Rule]) {
        let found = check(&self.0, &BTreeMap::from([(VISIT, VENUE)]));
        assert_eq!(found.iter().map(|breach| breach.rule).collect::<Vec<_>>(), rules, "{found:?}");
    }
}

/// The visit with these values, or nothing.
fn rows(values: &[Name]) -> Vec<Row> {
    if values.is_empty() { Vec::new() } else { vec![Row { visit: VISIT, values: values.into() }] }
}

fn without_answer(op: &mut Op) {
    (op.end, op.outcome) = (u64::MAX, Outcome::Unknown);
}

#[test]
fn a_history_without_breaches_has_none() {
    let mut history = History::default();
    history.check_in(0);
    history.check_in(1).outcome = Outcome::Answered(200);
    history.read(2, &[]);
    history.correct(1, SECOND);
    history.list(1, &[SECOND]);
    history.last_list(0, &[SECOND]);
    history.last_list(1, &[SECOND]);
    history.breaks(&[]);
}

#[test]
fn a_visit_that_is_missing_in_the_end_is_lost() {
    let mut history = History::default();
    history.check_in(0);
    history.last_list(0, &[]);
    history.breaks(&[Rule::Lost]);
    // Without an answer it may be there or not, and the same everywhere.
    without_answer(&mut history.0[0]);
    history.breaks(&[]);
    history.last_list(1, &[FIRST]);
    history.breaks(&[Rule::Different]);
}

#[test]
fn a_visit_that_is_gone_and_was_never_erased_is_lost() {
    let mut history = History::default();
    history.check_in(0);
    history.then(1, Act::Read { visit: VISIT }, 410);
    history.breaks(&[Rule::Lost]);
    let mut erased_later = history;
    erased_later.erase(0);
    erased_later.breaks(&[Rule::Lost]);
}

#[test]
fn a_correction_that_is_missing_in_the_end_is_lost() {
    let mut history = History::default();
    history.check_in(0);
    history.correct(1, SECOND);
    history.correct(2, THIRD);
    history.last_list(0, &[FIRST]);
    history.breaks(&[Rule::Lost]);
    // The later one can have replaced the earlier one, and not the other way round.
    history.0[3].shows = rows(&[SECOND]);
    history.breaks(&[Rule::Lost]);
    history.0[3].shows = rows(&[THIRD]);
    history.breaks(&[]);
    // The first one may have been carried out at any time after its begin.
    without_answer(&mut history.0[1]);
    history.0[3].shows = rows(&[SECOND]);
    history.breaks(&[]);
}

#[test]
fn an_erased_visit_stays_away() {
    let mut history = History::default();
    history.check_in(0);
    history.erase(1);
    history.read(0, &[FIRST]);
    history.breaks(&[]);
    history.list(1, &[FIRST]);
    history.breaks(&[Rule::Resurrected]);
    history.0[1].confirmed = vec![0, 1];
    history.breaks(&[Rule::Resurrected, Rule::Resurrected]);
    history.0.truncate(2);
    history.check_in(0);
    history.breaks(&[Rule::Resurrected]);
    history.0[1].confirmed.clear();
    history.last_list(2, &[FIRST]);
    history.breaks(&[Rule::Resurrected]);
}

#[test]
fn gone_never_turns_into_there() {
    let mut history = History::default();
    history.check_in(0);
    without_answer(history.erase(0));
    history.then(2, Act::Read { visit: VISIT }, 410);
    history.read(1, &[FIRST]);
    history.breaks(&[]);
    history.read(2, &[FIRST]);
    history.breaks(&[Rule::Resurrected]);
}

#[test]
fn a_visit_is_once_in_a_list() {
    let mut history = History::default();
    history.check_in(0);
    history.list(0, &[FIRST]).shows.extend(rows(&[FIRST]));
    history.breaks(&[Rule::Duplicated]);
}

#[test]
fn what_no_client_sent_is_invented() {
    let mut history = History::default();
    history.check_in(0);
    history.list(0, &[SECOND]);
    history.breaks(&[Rule::Invented]);
    history.0[1].shows = vec![Row { visit: 77, values: [FIRST].into() }];
    history.breaks(&[Rule::Invented]);
    history.0[1].shows = rows(&[FIRST]);
    history.0[0].outcome = Outcome::NotSent;
    history.breaks(&[Rule::Invented]);
}

#[test]
fn a_session_sees_what_it_wrote() {
    for (values, broken) in [(&[][..], true), (&[FIRST], true), (&[SECOND], false)] {
        let mut history = History::default();
        history.check_in(0);
        history.correct(0, SECOND);
        history.read(1, values);
        history.list(2, values);
        let mut history = history.in_session();
        history.breaks(if broken { &[Rule::Session, Rule::Session] } else { &[] });
        history.0.iter_mut().for_each(|op| op.is_stale = true);
        history.breaks(&[]);
        history.0.iter_mut().for_each(|op| (op.is_stale, op.session) = (false, None));
        history.breaks(&[]);
    }
}

#[test]
fn a_session_sees_what_it_saw() {
    let mut history = History::default();
    history.check_in(0).session = Some(1);
    history.correct(0, SECOND).session = Some(1);
    history.read(1, &[SECOND]).session = Some(2);
    history.read(2, &[FIRST]).session = Some(2);
    history.breaks(&[Rule::Session]);
    history.0[3].shows.clear();
    history.0[3].outcome = Outcome::Answered(404);
    history.breaks(&[Rule::Session]);
}

#[test]
fn a_session_does_not_see_what_it_erased() {
    let mut history = History::default();
    history.check_in(0);
    history.erase(0);
    history.read(1, &[FIRST]);
    history.list(2, &[FIRST]);
    history.in_session().breaks(&[Rule::Session, Rule::Session]);
}

#[test]
fn a_status_fits_its_request() {
    let mut history = History::default();
    history.then(0, Act::CheckIn { visit: VISIT, value: FIRST }, 409);
    history.breaks(&[Rule::Unexpected]);
}
