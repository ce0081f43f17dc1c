//! The findings, by category, worst first; what passed is one line.

use super::element::{Element, list, sign};
use super::{paragraph, section};
use crate::audit::finding::{Finding, Severity};
use crate::audit::report::{Report, sentence};

/// Evidence with more characters than this is folded away.
const SHORT: usize = 300;

pub(super) fn findings(report: &Report) -> Option<Element> {
    let groups = report.by_category();
    if groups.is_empty() {
        return None;
    }
    let mut page = section("", "findings", "What was found");
    for (category, findings) in groups {
        page = page.add(Element::new("h3").text(category.title()));
        let (passed, others): (Vec<&Finding>, Vec<&Finding>) =
            findings.into_iter().partition(|finding| finding.severity == Severity::Pass);
        page = page.all(others.into_iter().map(one));
        page = page.add(list("passed", passed.into_iter().map(passed_one)));
    }
    Some(page)
}

fn one(finding: &Finding) -> Element {
    let (class, mark) = match finding.severity {
        Severity::Critical => ("finding critical", "✗"),
        Severity::High => ("finding high", "✗"),
        Severity::Medium => ("finding medium", "!"),
        Severity::Low => ("finding low", "!"),
        Severity::Info => ("finding info", "i"),
        Severity::Pass => ("finding pass", "✓"),
        Severity::Unknown => ("finding unknown", "?"),
    };
    let severity = Element::new("span").class("severity").add(sign(mark)).text(finding.severity.as_str());
    let heading = Element::new("h4").add(severity).text(" ").text(&finding.summary);
    let mut article = Element::new("article").class(class).add(heading).add(evidence(finding));
    if !finding.fix.is_empty() {
        let fix = Element::new("p").class("fix").add(Element::new("b").text("To do: "));
        article = article.add(fix.text(&sentence(&finding.fix)));
    }
    let mut source = paragraph("source", "").add(Element::new("code").text(&finding.id));
    if !finding.reference.is_empty() {
        source = source.text(" · ").text(&finding.reference);
    }
    article.add(source)
}

fn evidence(finding: &Finding) -> Option<Element> {
    let lines = list("evidence", finding.evidence.iter().map(|line| Element::new("li").text(line)))?;
    if finding.evidence.iter().map(|line| line.chars().count()).sum::<usize>() <= SHORT && finding.evidence.len() <= 5 {
        return Some(lines);
    }
    let count = finding.evidence.len();
    let plural = if count == 1 { "" } else { "s" };
    let summary = Element::new("summary").text(&format!("Evidence, {count} line{plural}"));
    Some(Element::new("details").add(summary).add(lines))
}

fn passed_one(finding: &Finding) -> Element {
    let word = Element::new("span").class("severity").add(sign("✓")).text("pass");
    Element::new("li").add(word).text(" ").text(&finding.summary).text(" ").add(Element::new("code").text(&finding.id))
}
