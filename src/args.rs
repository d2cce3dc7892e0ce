//! Parts of the command line that several commands have.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PathBufValueParser, TypedValueParser};

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// The command line or a configuration file must be changed: exit status 2.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    /// An error that tells the caller what to change.
    pub(crate) fn error(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self(message.into()))
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The default folder of `meridian up`.
pub(crate) fn default_data() -> PathBuf {
    PathBuf::from("meridian-data")
}

/// Reads a path; one that begins with `~` or has a variable is refused, because no shell has expanded it.
pub(crate) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| service::config::literal(&path).map(|()| path))
}

/// Reads a length of time such as `10s`, `500ms` or `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    api::duration::parse(text).map_err(|error| format!("`{text}` {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn durations_have_units() {
        assert_eq!(super::duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(super::duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(super::duration("10").is_err());
        assert!(super::duration("-1s").is_err());
    }
}
