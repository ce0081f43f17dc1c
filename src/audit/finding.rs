//! One finding: what a check concluded, with its evidence and its remedy.

use serde::{Deserialize, Serialize};

/// How a check ended, from good to bad. `Unknown` stands apart: it is never good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Pass,
    /// Worth knowing.
    Info,
    /// A small weakness.
    Low,
    /// A weakness.
    Medium,
    /// Somebody can take advantage of it.
    High,
    /// There is no protection.
    Critical,
    /// Not tested, or not testable.
    Unknown,
}

impl Severity {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Pass => "pass",
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
            Severity::Unknown => "unknown",
        }
    }
}

/// The part of the audit that a check belongs to; the weights are in `grade`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// How SIP is carried: TLS.
    Signalling,
    /// Who it is: certificate and DNS.
    Identity,
    /// How one logs in.
    Login,
    /// How sound is carried.
    Media,
    /// What else is open.
    Exposure,
}

/// What a check concluded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The check: `L-VERSIONS`. See `catalogue`.
    pub id: String,
    /// Where it counts.
    pub category: Category,
    /// How it ended.
    pub severity: Severity,
    /// One sentence without a full stop: what was found. May hold the provider's text, made printable.
    pub summary: String,
    /// What it rests on, a line each. May hold the provider's text, made printable.
    pub evidence: Vec<String>,
    /// What to do, one sentence without a full stop; empty if nothing.
    pub fix: String,
    /// Where it is written: `RFC 8996, RFC 9325 §3.1.1`.
    pub reference: String,
}
