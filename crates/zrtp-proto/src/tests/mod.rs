//! Tests that look inside the engine: recorded handshakes and values, captures of real phones, hostile peers, the state table.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may fail loudly"
)]

mod captures;
mod hostile;
mod replay;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod values;

use serde_json::Value;

/// A file of `tests/data`.
fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The octets at a path like `dh/result`; `None` if there is nothing.
fn octets(value: &Value, path: &str) -> Option<Vec<u8>> {
    value.pointer(&format!("/{path}")).and_then(Value::as_str).map(unhex)
}
