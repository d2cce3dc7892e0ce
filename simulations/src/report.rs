//! Reports: the measurements as data files, plots, and a page that needs no other file.
//!
//! The same measurements give the same bytes. Nothing here reads a clock or depends on the order of a hash map. A
//! report without data is still a report: each plot says that there is nothing to draw.
//!
//! The page is filled by minijinja rather than by a macro: the template stays HTML that one can read and restyle, it
//! escapes by the template's name, it adds one crate without dependencies, and undefined names are errors.

mod availability;
mod axis;
mod canvas;
mod cdf;
mod chart;
mod compare;
mod error;
mod faults;
mod heat;
mod page;
mod plots;
mod stats;
mod style;
mod summary;
mod tables;
mod timelines;
mod traffic;
mod units;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use error::ReportError;

use crate::figures::Figures;
use page::{Page, Section, Source};
use summary::{Summary, telling};
use tables::Side;

/// The files of a report.
#[derive(Clone, Debug)]
pub struct Written {
    /// The page to open.
    pub index: PathBuf,
    /// All files, the page as well.
    pub files: Vec<PathBuf>,
}

/// One side of a comparison in `measured.json`.
#[derive(Serialize)]
struct Labelled<'a> {
    side: &'a str,
    runs: &'a [Figures],
}

/// Writes the report of one or many runs of one scenario to a folder, which is made if it is missing. `command` is
/// what reproduces the runs.
pub fn write(dir: &Path, runs: &[Figures], command: &str) -> Result<Written, ReportError> {
    let mut out = Folder::open(dir)?;
    out.data(&runs)?;
    let summary = Summary::of(runs);
    let first = runs.first();
    let sections = plots::of_runs(runs, &summary)?;
    let shown = telling(runs).filter(|_| runs.len() > 1).map_or_else(String::new, |run| {
        format!("The plots over time show the run with seed {}; the tables have all runs.", run.seed)
    });
    let page = Page {
        title: first.map_or_else(|| "No runs".into(), |run| run.name.clone()),
        about: first.map_or_else(String::new, |run| run.about.clone()),
        command,
        seeds: page::seeds(runs),
        runs: runs.len(),
        trace: page::trace(runs),
        source: out.source(runs)?,
        settings: settings(runs),
        verdict: page::verdict([(None, &summary)]),
        figures: page::figures(&summary),
        shown,
        ..Page::default()
    };
    out.report(page, sections, &[(None, runs)])
}

/// Writes a report that compares settings: each side is a label and its runs. Each side's own report is in a folder
/// of its own below.
pub fn write_comparison(dir: &Path, sides: &[(String, Vec<Figures>)], command: &str) -> Result<Written, ReportError> {
    let mut out = Folder::open(dir)?;
    let labelled: Vec<Labelled> = sides.iter().map(|(side, runs)| Labelled { side, runs }).collect();
    out.data(&labelled)?;
    let mut links = Vec::new();
    for (at, (label, runs)) in sides.iter().enumerate() {
        let folder = folder(at, label);
        out.files.extend(write(&dir.join(&folder), runs, command)?.files);
        links.push((label.clone(), folder));
    }
    let summaries: Vec<(String, Summary)> =
        sides.iter().map(|(label, runs)| (label.clone(), Summary::of(runs))).collect();
    let labels: Vec<&str> = sides.iter().map(|(label, _)| label.as_str()).collect();
    let all = || sides.iter().flat_map(|(_, runs)| runs);
    let page = Page {
        title: labels.join(" against "),
        about: all().next().map_or_else(String::new, |run| run.about.clone()),
        command,
        seeds: page::seeds(all()),
        runs: all().count(),
        settings: common(sides),
        verdict: page::verdict(summaries.iter().map(|(label, side)| (Some(label.as_str()), side))),
        sides: links,
        comparison: compare::rows(&summaries),
        ..Page::default()
    };
    let tables: Vec<Side> = sides.iter().map(|(label, runs)| (Some(label.as_str()), runs.as_slice())).collect();
    out.report(page, plots::of_sides(&summaries)?, &tables)
}

/// A name for a side's folder that every file system takes.
fn folder(at: usize, label: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let slug: String = label.chars().take(40).map(plain).collect();
    let words: Vec<&str> = slug.split('-').filter(|word| !word.is_empty()).collect();
    let number = (at + 1).to_string();
    std::iter::once(number.as_str()).chain(words).collect::<Vec<_>>().join("-")
}

/// The settings that all runs share.
fn common(sides: &[(String, Vec<Figures>)]) -> Vec<(String, String)> {
    let mut runs = sides.iter().flat_map(|(_, runs)| runs);
    let mut common = runs.next().map_or_else(Vec::new, |run| run.settings.clone());
    for run in runs {
        common.retain(|setting| run.settings.contains(setting));
    }
    common
}

/// The settings of runs of one scenario; a swarm draws some of them for each seed.
fn settings(runs: &[Figures]) -> Vec<(String, String)> {
    let Some(first) = runs.first() else { return Vec::new() };
    let mut settings = first.settings.clone();
    for setting in &mut settings {
        if runs.iter().any(|run| !run.settings.contains(setting)) {
            "differs by seed".clone_into(&mut setting.1);
        }
    }
    settings
}

/// The folder of a report while it is written.
struct Folder {
    dir: PathBuf,
    files: Vec<PathBuf>,
}

impl Folder {
    fn open(dir: &Path) -> Result<Self, ReportError> {
        if dir.exists() && !dir.is_dir() {
            return Err(ReportError::NotAFolder { path: dir.into() });
        }
        fs::create_dir_all(dir).map_err(|source| ReportError::Folder { path: dir.into(), source })?;
        Ok(Self { dir: dir.into(), files: Vec::new() })
    }

    fn data(&mut self, data: &impl Serialize) -> Result<(), ReportError> {
        let path = self.dir.join("measured.json");
        let file = File::create(&path).map_err(|source| ReportError::File { path: path.clone(), source })?;
        let mut writer = BufWriter::new(file);
        serde_json::to_writer(&mut writer, data).map_err(|source| ReportError::Data { path: path.clone(), source })?;
        writer.flush().map_err(|source| ReportError::File { path: path.clone(), source })?;
        self.files.push(path);
        Ok(())
    }

    /// Writes what makes the runs again: the plan of a single run, the scenario of several.
    fn source(&mut self, runs: &[Figures]) -> Result<Option<Source>, ReportError> {
        let (scenario, source) = match runs {
            [] => return Ok(None),
            [run] => (run.plan.as_ref(), Source::plan(run.seed)),
            [run, ..] => (run.asked.as_ref(), Source::scenario()),
        };
        let Some(scenario) = scenario else { return Ok(None) };
        let path = || self.dir.join(&source.file);
        let text = scenario.to_toml().map_err(|source| ReportError::Scenario { path: path(), source })?;
        self.text(&source.file, &text)?;
        Ok(Some(source))
    }

    fn text(&mut self, name: &str, text: &str) -> Result<PathBuf, ReportError> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(|source| ReportError::File { path: path.clone(), source })?;
        self.files.push(path.clone());
        Ok(path)
    }

    fn report(mut self, mut page: Page, sections: Vec<Section>, sides: &[Side]) -> Result<Written, ReportError> {
        page.tables = tables::write(&self.dir, sides)?;
        self.files.extend(page.tables.iter().map(|table| self.dir.join(table.file)));
        page.sections = sections;
        for section in &mut page.sections {
            self.text(&format!("{}.svg", section.id), &section.svg)?;
            // Inside HTML the namespace is known, and a page without any address is plainly one that loads nothing.
            section.svg = section.svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
        }
        let html = page.render().map_err(|source| ReportError::Page { path: self.dir.join("index.html"), source })?;
        let index = self.text("index.html", &html)?;
        Ok(Written { index, files: self.files })
    }
}
