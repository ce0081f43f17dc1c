//! The result of one audit, as every format shows it: verdict first, then grade, findings, and what was not tested.
//!
//! A `Report` is made of facts by `judge` and knows no format; `text`, `json` and `html` know only the report.

use super::facts::Facts;
use super::finding::{Category, Finding};
use serde::{Deserialize, Serialize};

/// The version of the JSON form; see docs/schema/audit.json.
pub const SCHEMA_VERSION: u32 = 1;

/// The result of one audit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `galene-sips 0.1.0`.
    pub program: String,
    /// Would this gateway trust the provider?
    pub verdict: Verdict,
    /// What the verdict is about.
    pub scope: Scope,
    /// A letter and how it came about; `None` where a part that the scope promises was not run.
    pub grade: Option<Grade>,
    /// Why there is no letter; empty if there is one.
    pub no_grade: String,
    /// In the catalogue's order.
    pub findings: Vec<Finding>,
    /// What would have to be written into the configuration.
    pub configuration: Remedy,
    /// What was not tested, a sentence each.
    pub not_tested: Vec<String>,
    /// What all of this rests on.
    pub facts: Facts,
}

/// Whether the default policy would use this provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Verdict {
    /// It would.
    Accepted,
    /// It would not.
    Refused {
        /// The rule of `policy`, as `run` would name it.
        rule: String,
        /// Why: one sentence without a full stop.
        reason: String,
        /// What to do: one sentence without a full stop.
        hint: String,
    },
    /// It cannot be said.
    Inconclusive {
        /// Why: one sentence without a full stop.
        reason: String,
    },
}

/// What was asked for and tested.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// Without an account.
    #[serde(rename = "signalling only, media not tested")]
    Signalling,
    /// With a login.
    #[serde(rename = "signalling and login, media not tested")]
    Login,
}

/// A letter, and how it came about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grade {
    /// `A+` to `F`, or `T`: not trusted.
    pub letter: String,
    /// 0 to 100, before the caps.
    pub score: u32,
    /// Each category that was tested.
    pub categories: Vec<CategoryScore>,
    /// What kept the letter down.
    pub caps: Vec<Cap>,
}

/// The points of one category.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CategoryScore {
    /// Which.
    pub category: Category,
    /// 0 to 100, of the checks that were tested; `None` if none was.
    pub score: Option<u32>,
    /// Its share in the whole, in per cent.
    pub weight: u32,
}

/// A limit to the letter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cap {
    /// The best letter that is left.
    pub letter: String,
    /// The check that set it.
    pub id: String,
    /// Why: one sentence without a full stop.
    pub reason: String,
}

/// What an operator would have to write.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Nothing: accepted by the default policy.
    Nothing,
    /// These lines of TOML, exactly.
    Toml(String),
    /// Nothing that an operator could write would do; why.
    Impossible(String),
    /// It cannot be said.
    Unknown,
}
