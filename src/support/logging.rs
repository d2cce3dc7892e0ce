//! Log lines of every command. They go to standard error, because standard output is for results.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::args::{LogFormat, Usage};

/// Starts logging, filtered by `MERIDIAN_LOG`.
pub(crate) fn init(format: LogFormat) -> anyhow::Result<()> {
    let filter = match std::env::var("MERIDIAN_LOG") {
        Ok(text) if !text.is_empty() => text.parse::<EnvFilter>().map_err(|error| {
            Usage::error(format!("MERIDIAN_LOG=\"{text}\" is not a log filter, such as info or node=debug: {error}"))
        })?,
        // Automerge opens a span for every merge and formats its arguments, which at the usual level costs more than
        // the merge.
        _ => EnvFilter::new("info,automerge=warn,h2=error,rustls=error"),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
