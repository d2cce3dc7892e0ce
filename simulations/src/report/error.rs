//! Errors in writing a report. Each variant names the file or the plot.

use std::io;
use std::path::PathBuf;

use plotters::drawing::DrawingAreaErrorKind;

use crate::scenario::ScenarioError;

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder's path exists and is not a folder.
    #[error("{} exists and is not a folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The folder cannot be made.
    #[error("cannot create the folder {}", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A table cannot be written.
    #[error("cannot write the table {}", path.display())]
    Table {
        /// The path.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// The measurements cannot be written.
    #[error("cannot write the measurements to {}", path.display())]
    Data {
        /// The path.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The scenario or the plan cannot be written down.
    #[error("cannot write the scenario to {}", path.display())]
    Scenario {
        /// The path.
        path: PathBuf,
        /// Why.
        source: ScenarioError,
    },
    /// A plot cannot be drawn.
    #[error("cannot draw the plot {plot}")]
    Draw {
        /// Its file.
        plot: &'static str,
        /// Why.
        source: DrawingAreaErrorKind<io::Error>,
    },
    /// The page's template cannot be filled with its data.
    #[error("cannot fill the page {}", path.display())]
    Page {
        /// The path.
        path: PathBuf,
        /// Why.
        source: minijinja::Error,
    },
}
