//! The C programs of this folder.
//!
//! In: their sources, built once with the system's `cc` against the installed libbzrtp. Out: where they are, and what a
//! handshake costs there. A compiler or library that is missing panics and says how to install it; nothing is skipped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const REMEDY: &str = "These tests build a peer with the C compiler, libbzrtp and SQLite.\n\
    Debian and Ubuntu: apt-get install build-essential libbzrtp-dev libsqlite3-dev (./test does it).";

/// Builds `{name}.c` and says where the program is.
pub(crate) fn build(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libbzrtp-{name}"));
    // moved into place when it is whole, so that a run that goes on beside this one never meets half a program
    let unfinished = program.with_extension(std::process::id().to_string());
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra"])
        .arg(folder.join(format!("{name}.c")))
        .arg("-o")
        .arg(&unfinished)
        .args(["-lbzrtp", "-lbctoolbox", "-lsqlite3"])
        .output()
        .unwrap_or_else(|error| panic!("cc cannot be started: {error}\n{REMEDY}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}.c cannot be built.\n{REMEDY}\n\n{complaint}");
    std::fs::rename(&unfinished, &program).unwrap();
    program
}

/// The CPU time that a side of one handshake takes in libbzrtp, as the median of so many.
pub(crate) fn cpu_time_per_side(handshakes: u64, offer: &str) -> Duration {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| build("bench"));
    let output = Command::new(program).arg(handshakes.to_string()).arg(offer).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "the benchmark of libbzrtp failed: {}", String::from_utf8_lossy(&output.stderr));
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    Duration::from_nanos(result["cpu_ns_per_side"].as_u64().unwrap())
}
