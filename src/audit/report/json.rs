//! A report as JSON, on many lines or on one, and back again.
//!
//! docs/schema/audit.json describes the form. Written text is safe to show: whatever could command a terminal or turn a
//! line around is escaped, also where JSON would allow it. What is read may be any file; it is a report or an error.

use super::{Report, SCHEMA_VERSION};
use crate::sip::printable;
use serde::Deserialize as _;
use serde_json::{Deserializer, Value};
use thiserror::Error;

/// Why a file is not read; `Display` says what to do.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Unreadable {
    /// It is no JSON, or was cut off.
    #[error("it is no JSON: {0}. Save a report with --format json or jsonl")]
    NotJson(String),
    /// It holds nothing.
    #[error("it is empty. Save a report with --format json or jsonl")]
    Empty,
    /// It is JSON of something else.
    #[error("it is JSON, but no report of galene-sips audit. Save one with --format json or jsonl")]
    Foreign,
    /// It is of another version.
    #[error("it is a report in version {0}, and this program reads version {SCHEMA_VERSION}. Audit the provider again")]
    Version(String),
    /// It calls itself a report and is none.
    #[error("it is a damaged report: {0}. Audit the provider again")]
    Damaged(String),
}

/// A report on many lines.
pub fn pretty(report: &Report) -> String {
    safe(&serde_json::to_string_pretty(report).unwrap_or_default())
}

/// A report on one line, without its end.
pub fn line(report: &Report) -> String {
    safe(&serde_json::to_string(report).unwrap_or_default())
}

/// Several reports as one list.
pub fn list(reports: &[Report]) -> String {
    safe(&serde_json::to_string_pretty(reports).unwrap_or_default())
}

/// The reports of a file: one of [`pretty`], a [`list`], or any number of [`line()`].
///
/// # Errors
/// When it is anything else.
pub fn read(text: &str) -> Result<Vec<Report>, Unreadable> {
    let values = Deserializer::from_str(text).into_iter::<Value>().collect::<Result<Vec<_>, _>>();
    let values = values.map_err(|error| Unreadable::NotJson(printable(&error.to_string())))?;
    let reports: Vec<&Value> =
        values.iter().flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)).collect();
    if reports.is_empty() {
        return Err(Unreadable::Empty);
    }
    reports.into_iter().map(one).collect()
}

fn one(value: &Value) -> Result<Report, Unreadable> {
    let ours = value["program"].as_str().is_some_and(|program| program.starts_with("galene-sips "));
    let version = &value["schema_version"];
    if !ours || version.is_null() || value["verdict"].is_null() {
        return Err(Unreadable::Foreign);
    }
    if *version != SCHEMA_VERSION {
        return Err(Unreadable::Version(printable(&version.to_string())));
    }
    Report::deserialize(value).map_err(|error| Unreadable::Damaged(printable(&error.to_string())))
}

/// The same JSON, where what must not reach a terminal is escaped: serde_json lets DEL, C1 and bidi pass.
fn safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\n' | ' '..='~' => out.push(character),
            other => {
                let mut buffer = [0; 4];
                if printable(other.encode_utf8(&mut buffer)) == *other.encode_utf8(&mut [0; 4]) {
                    out.push(other);
                } else {
                    out.extend(other.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
                }
            }
        }
    }
    out
}
