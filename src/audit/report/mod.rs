//! The result of one audit, as every format shows it: verdict first, then grade, findings, and what was not tested.
//!
//! A `Report` is made of facts by `judge` and knows no format; `text`, `json` and `html` know only the report.

pub mod html;
pub mod json;
pub mod text;

use super::facts::Facts;
use super::finding::{Category, Finding, Severity};
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

impl Report {
    /// The verdict as one word.
    pub fn outcome(&self) -> &'static str {
        match self.verdict {
            Verdict::Accepted => "accepted",
            Verdict::Refused { .. } => "refused",
            Verdict::Inconclusive { .. } => "inconclusive",
        }
    }

    /// What the verdict means: one sentence without a full stop.
    pub fn meaning(&self) -> &'static str {
        match self.verdict {
            Verdict::Accepted => "A gateway with the default settings would use this provider",
            Verdict::Refused { .. } => "A gateway with the default settings would not use this provider",
            Verdict::Inconclusive { .. } => {
                "It cannot be said whether a gateway with the default settings would use this provider"
            }
        }
    }

    /// What to do, most urgent first: the verdict's hint, then the remedy of each grave finding; a sentence each.
    pub fn steps(&self) -> Vec<&str> {
        let mut steps = Vec::new();
        if let Verdict::Refused { hint, .. } = &self.verdict {
            steps.push(hint.as_str());
        }
        let mut grave: Vec<&Finding> =
            self.findings.iter().filter(|one| matches!(one.severity, Severity::High | Severity::Critical)).collect();
        grave.sort_by_key(|one| one.severity.rank());
        for finding in grave {
            if !finding.fix.is_empty() && !steps.contains(&finding.fix.as_str()) {
                steps.push(&finding.fix);
            }
        }
        steps
    }

    /// The findings of each category that has any, worst first.
    pub fn by_category(&self) -> Vec<(Category, Vec<&Finding>)> {
        let mut groups = Vec::new();
        for category in Category::ALL {
            let mut group: Vec<&Finding> = self.findings.iter().filter(|one| one.category == category).collect();
            group.sort_by_key(|one| one.severity.rank());
            if !group.is_empty() {
                groups.push((category, group));
            }
        }
        groups
    }

    /// The worst finding, unless everything passed.
    pub fn worst(&self) -> Option<&Finding> {
        self.findings.iter().filter(|one| one.severity != Severity::Pass).min_by_key(|one| one.severity.rank())
    }

    /// When and how it was made, as one line.
    pub fn made(&self) -> String {
        let connections: u32 = self.facts.servers.iter().map(|server| server.connections).sum();
        let seconds = self.facts.took_ms as f64 / 1000.0;
        let plural = if connections == 1 { "" } else { "s" };
        format!(
            "{}, in {seconds:.1} s over {connections} TLS connection{plural}, by {}",
            self.facts.started, self.program
        )
    }
}

impl Scope {
    /// As it is written behind the verdict.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Signalling => "signalling only, media not tested",
            Scope::Login => "signalling and login, media not tested",
        }
    }
}

impl Category {
    /// All of them, in the order of reports.
    pub const ALL: [Category; 5] =
        [Category::Signalling, Category::Identity, Category::Login, Category::Media, Category::Exposure];

    /// The name in reports.
    pub fn title(self) -> &'static str {
        match self {
            Category::Signalling => "Signalling",
            Category::Identity => "Identity",
            Category::Login => "Login",
            Category::Media => "Media",
            Category::Exposure => "Exposure",
        }
    }
}

impl Severity {
    /// The place in reports: what is worst comes first, what is unknown before all that is harmless.
    fn rank(self) -> u8 {
        match self {
            Severity::Critical => 0,
            Severity::High => 1,
            Severity::Medium => 2,
            Severity::Low => 3,
            Severity::Unknown => 4,
            Severity::Info => 5,
            Severity::Pass => 6,
        }
    }
}

/// A sentence as it is shown: printable, with its full stop.
fn sentence(text: &str) -> String {
    let mut text = crate::sip::printable(text.trim());
    if !text.is_empty() && !text.ends_with(['.', '!', '?', ':']) {
        text.push('.');
    }
    text
}
