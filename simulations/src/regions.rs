//! Where regions are and how long a message takes between two of them.
//!
//! Names are those of `meridian up` (`eu-central`), of AWS (`eu-west-1`) or of IBM Cloud with `ibm-` before them;
//! round-trip times come from the table in `data/rtt.csv`, or from positions for regions that are not in it.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use api::Position;

const TABLE: &str = include_str!("../data/rtt.csv");

/// The regions of `meridian up` and what they are called in the table.
const OURS: [(&str, &str); 5] = [
    ("eu-central", "eu-central-1"),
    ("us-east", "us-east-1"),
    ("ap-southeast", "ap-southeast-1"),
    ("sa-east", "sa-east-1"),
    ("ap-northeast", "ap-northeast-1"),
];

/// Light in fibre: kilometres per millisecond, there and back.
const FIBRE_KM_PER_MS_OF_RTT: f64 = 102.1;
/// Real routes against the fibre floor: the median of the table.
const STRETCH: f64 = 1.69;

/// A region that scenarios may name.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Known {
    /// As scenarios write it.
    pub name: String,
    /// Where it is.
    pub city: String,
    /// Where its round-trip times come from.
    pub source: String,
}

#[derive(Default)]
struct Table {
    positions: BTreeMap<String, Position>,
    /// City and source by name.
    described: BTreeMap<String, (String, String)>,
    /// One way, in milliseconds: half of the round trip as seen from the first.
    one_way_ms: BTreeMap<(String, String), f64>,
}

fn table() -> &'static Table {
    static PARSED: OnceLock<Table> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut table = Table::default();
        let mut reader = csv::Reader::from_reader(TABLE.as_bytes());
        for row in reader.records().flatten() {
            let number = |column: usize| row.get(column).and_then(|field| field.parse::<f64>().ok());
            let name = |column: usize| {
                let prefix = if row.get(0) == Some("ibm") { "ibm-" } else { "" };
                format!("{prefix}{}", row.get(column).unwrap_or_default())
            };
            let (a, b) = (name(1), name(5));
            let text = |column: usize| row.get(column).unwrap_or_default().to_owned();
            for (region, city) in [(&a, 2), (&b, 6)] {
                table.described.entry(region.clone()).or_insert_with(|| (text(city), text(14)));
            }
            for (region, column) in [(&a, 3), (&b, 7)] {
                if let (Some(latitude), Some(longitude)) = (number(column), number(column + 1)) {
                    table.positions.insert(region.clone(), Position { latitude, longitude });
                }
            }
            if let (Some(there), Some(back)) = (number(10), number(11)) {
                table.one_way_ms.insert((a.clone(), b.clone()), there / 2.0);
                table.one_way_ms.insert((b, a), back / 2.0);
            }
        }
        table
    })
}

fn in_table(name: &str) -> &str {
    OURS.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, theirs)| theirs)
}

/// Where a region of the table is.
#[must_use]
pub fn position(name: &str) -> Option<Position> {
    table().positions.get(in_table(name)).copied()
}

/// Every name that [`position`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    OURS.iter().map(|(ours, _)| *ours).chain(table().positions.keys().map(String::as_str))
}

/// Every region that [`position`] knows, with its city and source: first those of `meridian up`.
#[must_use]
pub fn known() -> Vec<Known> {
    let of = |name: &str| table().described.get(name).cloned().unwrap_or_default();
    let ours = OURS.iter().map(|(ours, theirs)| {
        let (city, source) = of(theirs);
        Known { name: (*ours).to_owned(), city, source: format!("meridian up, measured as {theirs}: {source}") }
    });
    let theirs = table().described.iter();
    let theirs =
        theirs.map(|(name, (city, source))| Known { name: name.clone(), city: city.clone(), source: source.clone() });
    ours.chain(theirs).collect()
}

/// Names that resemble `wrong`, or that begin with it, or whose city it is: the best three.
#[must_use]
pub fn near(wrong: &str) -> Vec<&'static str> {
    /// Names less alike than this have little more than `-1` in common.
    const ALIKE: f64 = 0.8;
    let wrong = wrong.to_lowercase();
    let alike = |name: &'static str| {
        let city = table().described.get(in_table(name)).map(|(city, _)| city.to_lowercase()).unwrap_or_default();
        let begins = !wrong.is_empty() && (name.starts_with(&wrong) || city.starts_with(&wrong));
        let score = strsim::jaro_winkler(&wrong, name).max(strsim::jaro_winkler(&wrong, &city));
        (if begins { 1.0 } else { score }, name)
    };
    let mut near: Vec<(f64, &str)> = names().map(alike).filter(|(score, _)| *score >= ALIKE).collect();
    // The sort is stable: of equals, those of `meridian up` come first.
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// One way from `a` to `b` by the table, if it has the pair.
#[must_use]
pub fn measured(a: &str, b: &str) -> Option<Duration> {
    let pair = (in_table(a).to_owned(), in_table(b).to_owned());
    table().one_way_ms.get(&pair).map(|ms| Duration::from_secs_f64(ms / 1_000.0))
}

/// One way by distance: fibre, the usual detour, and a millisecond of equipment.
#[must_use]
pub fn estimated(a: Position, b: Position) -> Duration {
    let rtt_ms = a.km_to(b) / FIBRE_KM_PER_MS_OF_RTT * STRETCH + 1.0;
    Duration::from_secs_f64(rtt_ms / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::{estimated, known, measured, names, near, position};

    #[test]
    fn the_table_is_read() {
        assert_eq!(names().count(), 5 + 31);
        let there = measured("us-east", "eu-central").unwrap();
        assert!((44.0..48.0).contains(&(there.as_secs_f64() * 1_000.0)), "{there:?}");
        assert!(measured("ibm-eu-de", "ibm-us-east").is_some());
        assert!(measured("eu-central", "ibm-us-east").is_none(), "two providers' tables do not meet");
    }

    #[test]
    fn every_name_is_described() {
        let known = known();
        assert_eq!(known.iter().map(|known| known.name.as_str()).collect::<Vec<_>>(), names().collect::<Vec<_>>());
        assert!(known.iter().all(|known| !known.city.is_empty() && !known.source.is_empty()), "{known:?}");
    }

    #[test]
    fn names_that_resemble_are_found() {
        for (wrong, right) in [
            ("eu-centrl", "eu-central"),
            ("us-east1", "us-east"),
            ("frankfurt", "eu-central"),
            ("Tokyo", "ap-northeast"),
            ("ibm", "ibm-"),
        ] {
            let near = near(wrong);
            assert!(near.len() <= 3 && near.iter().any(|name| name.starts_with(right)), "{wrong}: {near:?}");
        }
        assert!(near("atlantis").is_empty(), "{:?}", near("atlantis"));
    }

    #[test]
    fn positions_give_times_of_the_right_size() {
        let (mut near, mut all) = (0, 0);
        for a in names() {
            for b in names().filter(|b| *b != a) {
                let (Some(measured), Some(from), Some(to)) = (measured(a, b), position(a), position(b)) else {
                    continue;
                };
                let ratio = estimated(from, to).as_secs_f64() / measured.as_secs_f64();
                near += u32::from((0.4..2.0).contains(&ratio));
                all += 1;
            }
        }
        assert!(all > 400 && near * 10 > all * 9, "{near} of {all}");
    }
}
