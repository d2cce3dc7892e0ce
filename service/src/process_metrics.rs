//! Metrics that every process of Meridian has: its build, and what it takes of the machine.
//!
//! # Not here
//! When certificates end: [`crate::expiry`].

use prometheus::{IntGauge, Opts, Registry};

/// Registers `meridian_build_info` and, on Linux, the usual `process_*` series (processor time, memory, open files, start).
/// `process` is `node` or `router`.
///
/// # Errors
/// [`prometheus::Error`] if the registry has them already.
pub fn register(registry: &Registry, process: &'static str) -> prometheus::Result<()> {
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let build = Opts::new("meridian_build_info", "1; the labels name the version, the process, and how it was built")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("process", process)
        .const_label("profile", profile);
    let build = IntGauge::with_opts(build)?;
    build.set(1);
    registry.register(Box::new(build))
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    #[test]
    fn a_scrape_names_the_build_and_the_process() {
        let registry = Registry::new();
        super::register(&registry, "node").unwrap();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let build = text.lines().find(|line| line.starts_with("meridian_build_info{")).unwrap();
        assert!(
            build.contains("process=\"node\"") && build.contains("version=\"0.") && build.ends_with(" 1"),
            "{build}"
        );
        if cfg!(target_os = "linux") {
            assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
            assert!(text.contains("\nprocess_open_fds "), "{text}");
        }
    }
}
