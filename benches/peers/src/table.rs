//! The table of one load: medians of all rounds, and ratios to one store.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};

use crate::peers::Store;
use crate::work::Found;

/// What each store showed in each round.
pub(crate) type Rounds = BTreeMap<Store, Vec<Found>>;

const HEADER: [&str; 10] = [
    "store",
    "CPU s / 1,000",
    "ratio",
    "erasures",
    "ratio",
    "writes/s",
    "p50 / p99 ms",
    "equal after ms",
    "bytes on disk",
    "wrong",
];

pub(crate) fn render(rounds: &Rounds, against: Option<Store>) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(HEADER);
    let unit = against.and_then(|store| rounds.get(&store));
    let mut rows: Vec<(&Store, &Vec<Found>)> = rounds.iter().collect();
    rows.sort_by(|(_, one), (_, other)| writing(one).total_cmp(&writing(other)));
    for (store, found) in rows {
        let ratio = |of: fn(&Found) -> f64| {
            unit.map_or(String::new(), |unit| format!("{:.2}", median(found, of) / median(unit, of)))
        };
        let erasing = |found: &Found| found.erasures.cpu_s_per_1000;
        table.add_row([
            store.name().to_owned(),
            format!("{:.3}", writing(found)),
            ratio(|found| found.writes.cpu_s_per_1000),
            format!("{:.3}", median(found, erasing)),
            ratio(erasing),
            format!("{:.0}", median(found, |found| found.writes.per_s)),
            format!(
                "{:.1} / {:.1}",
                median(found, |found| found.writes.p50_ms),
                median(found, |found| found.writes.p99_ms)
            ),
            format!("{:.0}", median(found, |found| found.writes.equal_after_ms)),
            format!("{:.0}", median(found, |found| found.stored_bytes)),
            found.iter().map(|found| found.missing + found.left).sum::<usize>().to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn writing(found: &[Found]) -> f64 {
    median(found, |found| found.writes.cpu_s_per_1000)
}

fn median(found: &[Found], of: impl Fn(&Found) -> f64) -> f64 {
    let mut values: Vec<f64> = found.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
