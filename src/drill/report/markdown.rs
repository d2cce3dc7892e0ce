//! `report.md`: the report for a wiki or a ticket.

use std::fmt::Write as _;

use super::{Earlier, Report, seconds};

/// The whole text. Writing to a string cannot fail.
pub(super) fn render(report: &Report, earlier: &[Earlier]) -> String {
    let mut out = String::new();
    let region = report.region.as_ref().map_or(String::new(), |region| format!(", {region}"));
    let _ = writeln!(
        out,
        "# Drill {} ({}{region}): {}\n\n{}\n",
        report.name,
        report.mode,
        report.verdict,
        escaped(&report.headline())
    );
    let _ = writeln!(
        out,
        "{} by {}, {} check-ins/s, meridian {}, run {}\n",
        report.begun.strftime("%Y-%m-%d %H:%M:%S UTC"),
        escaped(&report.by),
        report.rate,
        report.version,
        report.run
    );
    if !report.objectives.is_empty() {
        let _ = writeln!(out, "| objective | bound | measured | |\n| --- | --- | --- | --- |");
        for one in &report.objectives {
            let with_unit = |value| format!("{} {}", number(value), one.unit).trim_end().to_owned();
            let measured = one.measured.map_or_else(|| "never".to_owned(), with_unit);
            let met = if one.met { "met" } else { "**missed**" };
            let _ = writeln!(out, "| {} | {} | {measured} | {met} |", one.name, with_unit(one.bound));
        }
        let _ = writeln!(
            out,
            "\n| | |\n| --- | --- |\n| detected after | {} |\n| DNS answers elsewhere after | {} |\n| edge sends elsewhere after | {} |",
            seconds(report.detect_s),
            seconds(report.dns_s),
            seconds(report.edge_s),
        );
        for (kind, recovery) in &report.recovery {
            let failed = report.failed.get(kind).copied().unwrap_or_default();
            let sent = report.sent.get(kind).copied().unwrap_or_default();
            let _ = writeln!(
                out,
                "| clients `{kind}`: 95 / 99 / 100 % good after | {} / {} / {}; {failed} of {sent} failed |",
                seconds(recovery.p95_s),
                seconds(recovery.p99_s),
                seconds(recovery.p100_s)
            );
        }
        let _ = writeln!(
            out,
            "| acknowledged writes in no other region | {}, the oldest {} old |\n| lost for good | {} |\n| breaches of sessions | {} |\n| expired visits shown | {} |\n| equal again after | {} |\n| visits of the drill left behind | {} |",
            report.rpo.unreplicated.map_or_else(|| "–".to_owned(), |count| count.to_string()),
            seconds(report.rpo.oldest_s),
            report.rpo.lost,
            report.session_breaches,
            report.resurrected,
            seconds(report.converged_s),
            report.left_behind,
        );
    }
    if let Some(restored) = &report.restored {
        let _ = writeln!(out, "\n## Backup\n\n| | |\n| --- | --- |");
        for (what, value) in restored.lines() {
            let _ = writeln!(out, "| {what} | {} |", escaped(&value));
        }
    }
    let _ = writeln!(out, "\n## Before it began\n\n| condition | | seen |\n| --- | --- | --- |");
    for check in &report.checks {
        let passed = if check.passed { "holds" } else { "**fails**" };
        let _ = writeln!(out, "| {} | {passed} | {} |", check.name, escaped(&check.detail));
    }
    if !report.timeline.is_empty() {
        let _ = writeln!(out, "\n## Timeline\n");
        for event in &report.timeline {
            let _ = writeln!(out, "- {:.1} s: {}", event.at_s, escaped(&event.what));
        }
    }
    if !earlier.is_empty() {
        let _ = writeln!(
            out,
            "\n## Earlier runs\n\n| begun | verdict | DNS | RTO by DNS | failed (edge) | lost | equal after |\n| --- | --- | --- | --- | --- | --- | --- |"
        );
        for one in earlier {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                one.begun.strftime("%Y-%m-%d %H:%M"),
                escaped(&one.verdict),
                seconds(one.dns_s),
                seconds(one.rto_s.get("ttl").copied().flatten()),
                one.failed.get("edge").copied().unwrap_or_default(),
                one.rpo.lost,
                seconds(one.converged_s)
            );
        }
    }
    for error in &report.errors {
        let _ = writeln!(out, "\n> {}", escaped(error));
    }
    out
}

/// A number with at most two decimals.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text that cannot end a cell of a table, nor begin markup of its own.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '|' | '<' | '>' | '[' | ']' | '*' | '_' | '`' | '\\') {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}
