//! A library between a process and the C library (`shim.c`), which makes calls fail or ends the process.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles the library into a folder.
pub(crate) fn shim(folder: &Path) -> PathBuf {
    let library = folder.join("shim.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/common/shim.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", source, "-ldl", "-o"]).arg(&library).output();
    let output = compiled.expect("a C compiler, which the build needs as well");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
