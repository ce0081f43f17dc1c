//! The letter: points per category, and caps that no number of points gets over.
//!
//! A category's points are those of its tested checks; what was not tested counts neither way, and where nothing of a
//! category could be tested there is no letter at all. Each cap has its reason beside it.

use super::catalogue;
use super::finding::{Category, Finding, Severity};
use super::report::{Cap, CategoryScore, Grade};

/// Categories with their shares in the whole, in per cent.
const WEIGHTS: [(Category, u32); 5] = [
    (Category::Signalling, 30),
    (Category::Identity, 20),
    (Category::Login, 15),
    (Category::Media, 25),
    (Category::Exposure, 10),
];

/// From best to worst; `T` says that who the server is was not proved, whatever its encryption is worth.
const LETTERS: [&str; 8] = ["A+", "A", "B", "C", "D", "E", "F", "T"];

/// The letter for so many points.
fn letter(score: u32) -> &'static str {
    match score {
        95.. => "A+",
        85.. => "A",
        70.. => "B",
        55.. => "C",
        40.. => "D",
        25.. => "E",
        _ => "F",
    }
}

fn place(letter: &str) -> usize {
    LETTERS.iter().position(|known| *known == letter).unwrap_or(LETTERS.len())
}

/// Whether the first letter is worse than the second.
pub fn is_worse(letter: &str, bar: &str) -> bool {
    place(letter) > place(bar)
}

/// The grade, or why there is none: a sentence without a full stop.
pub(super) fn grade(findings: &[Finding]) -> Result<Grade, String> {
    let categories: Vec<CategoryScore> = WEIGHTS
        .iter()
        .map(|(category, weight)| CategoryScore {
            category: *category,
            score: score(findings, *category),
            weight: *weight,
        })
        .collect();
    // media belongs to the phase with a call, which this version has not
    let promised = |score: &&CategoryScore| score.category != Category::Media;
    if let Some(missing) = categories.iter().filter(promised).find(|score| score.score.is_none()) {
        return Err(format!("nothing of the category {} could be tested", name(missing.category)));
    }
    let tested: Vec<(u32, u32)> =
        categories.iter().filter_map(|category| Some((category.score?, category.weight))).collect();
    let weights: u32 = tested.iter().map(|(_, weight)| weight).sum();
    let score = tested.iter().map(|(score, weight)| score * weight).sum::<u32>() / weights.max(1);
    let caps = caps(findings);
    let worst = caps.iter().map(|cap| place(&cap.letter)).chain([place(letter(score))]).max().unwrap_or(0);
    Ok(Grade { letter: LETTERS[worst.min(LETTERS.len() - 1)].to_owned(), score, categories, caps })
}

fn name(category: Category) -> &'static str {
    match category {
        Category::Signalling => "signalling",
        Category::Identity => "identity",
        Category::Login => "login",
        Category::Media => "media",
        Category::Exposure => "exposure",
    }
}

/// 0 to 100: each tested check gives its share, according to how bad it is.
fn score(findings: &[Finding], category: Category) -> Option<u32> {
    let mut points = 0;
    let mut possible = 0;
    for finding in findings.iter().filter(|finding| finding.category == category) {
        let Some(share) = share(finding.severity) else { continue };
        let weight = catalogue::find(&finding.id).map_or(0, |check| check.weight);
        points += weight * share;
        possible += weight;
    }
    (possible > 0).then(|| points / possible)
}

fn share(severity: Severity) -> Option<u32> {
    match severity {
        Severity::Pass | Severity::Info => Some(100),
        Severity::Low => Some(75),
        Severity::Medium => Some(50),
        Severity::High => Some(20),
        Severity::Critical => Some(0),
        Severity::Unknown => None,
    }
}

fn caps(findings: &[Finding]) -> Vec<Cap> {
    let limit = |finding: &Finding| -> Option<(&'static str, &'static str)> {
        use Severity::{Critical, High, Medium, Unknown};
        match (finding.id.as_str(), finding.severity) {
            ("T-TLS", Critical) => Some(("F", "no TLS")),
            ("C-CHAIN", Critical) => Some(("T", "the chain of the certificate proves nothing")),
            ("C-NAME", Critical) => Some(("T", "the certificate is for another name")),
            ("C-NAME", Medium) => Some(("B", "a wildcard is no name in SIP")),
            ("C-LIFE", Critical) => Some(("T", "the certificate is out of its time")),
            ("C-OCSP", Critical) => Some(("T", "the certificate was revoked")),
            ("L-VERSIONS", Critical) => Some(("F", "only broken versions of TLS, or SSL 3")),
            ("L-VERSIONS", High) => Some(("B", "forbidden versions of TLS")),
            ("L-VERSIONS", Medium) => Some(("A", "no TLS 1.3")),
            ("L-SUITES", Critical) => Some(("F", "suites that protect nothing")),
            ("L-SUITES", High) => Some(("C", "broken ciphers")),
            ("L-PFS", High) => Some(("B", "no forward secrecy, or a short prime")),
            ("L-PFS", Medium) => Some(("A", "suites without forward secrecy")),
            ("D-DNSSEC", Critical) => Some(("F", "DNS answers that are proved false")),
            ("D-TLSA", High) => Some(("B", "a certificate that DNS does not name")),
            ("S-DIGEST", Critical) => Some(("F", "passwords in the open, or none at all")),
            ("S-DIGEST", High) => Some(("C", "no login that can be used")),
            ("S-DIGEST", Medium) => Some(("B", "MD5 only")),
            ("T-PLAIN", High) => Some(("B", "logins on port 5060, without TLS")),
            ("L-VERSIONS" | "L-SUITES" | "C-CHAIN" | "C-NAME" | "C-LIFE" | "S-DIGEST" | "T-PLAIN", Unknown) => {
                Some(("B", "something that matters could not be tested"))
            }
            _ => None,
        }
    };
    let mut caps: Vec<Cap> = findings
        .iter()
        .filter_map(|finding| {
            let (letter, reason) = limit(finding)?;
            Some(Cap { letter: letter.to_owned(), id: finding.id.clone(), reason: reason.to_owned() })
        })
        .collect();
    caps.push(Cap { letter: "A".to_owned(), id: "M".to_owned(), reason: "A+ needs the media to be tested".to_owned() });
    caps
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    fn all(severity: Severity) -> Vec<Finding> {
        catalogue::CHECKS
            .iter()
            .map(|check| Finding {
                id: check.id.to_owned(),
                category: check.category,
                severity,
                summary: String::new(),
                evidence: Vec::new(),
                fix: String::new(),
                reference: String::new(),
            })
            .collect()
    }

    fn with(id: &str, severity: Severity) -> Grade {
        let mut findings = all(Severity::Pass);
        findings.iter_mut().find(|finding| finding.id == id).unwrap().severity = severity;
        grade(&findings).unwrap()
    }

    #[test]
    fn a_perfect_provider_gets_an_a_as_long_as_media_is_not_tested() {
        let grade = grade(&all(Severity::Pass)).unwrap();
        assert_eq!((grade.letter.as_str(), grade.score), ("A", 100));
    }

    #[test]
    fn caps_hold_whatever_the_points_say() {
        for (id, severity, letter) in [
            ("C-CHAIN", Severity::Critical, "T"),
            ("C-NAME", Severity::Critical, "T"),
            ("C-NAME", Severity::Medium, "B"),
            ("L-SUITES", Severity::Critical, "F"),
            ("L-VERSIONS", Severity::High, "B"),
            ("S-DIGEST", Severity::Medium, "B"),
            ("S-DIGEST", Severity::Critical, "F"),
            ("T-PLAIN", Severity::High, "B"),
            ("S-DIGEST", Severity::Unknown, "B"),
        ] {
            let grade = with(id, severity);
            assert!(grade.score > 70, "{id}: {}", grade.score);
            assert_eq!(grade.letter, letter, "{id}");
            assert!(grade.caps.iter().any(|cap| cap.id == id && cap.letter == letter));
        }
    }

    #[test]
    fn points_fall_with_severity_and_the_unknown_gives_none() {
        let score = |severity| grade(&all(severity)).map(|grade| grade.score);
        assert_eq!(score(Severity::Info), Ok(100));
        assert_eq!(score(Severity::Low), Ok(75));
        assert_eq!(score(Severity::Medium), Ok(50));
        assert_eq!(score(Severity::High), Ok(20));
        assert_eq!(score(Severity::Critical), Ok(0));
        assert!(score(Severity::Unknown).is_err());
    }

    #[test]
    fn no_letter_where_a_whole_category_was_not_tested() {
        let mut findings = all(Severity::Pass);
        for finding in findings.iter_mut().filter(|finding| finding.category == Category::Login) {
            finding.severity = Severity::Unknown;
        }
        assert_eq!(grade(&findings), Err("nothing of the category login could be tested".to_owned()));
    }
}
