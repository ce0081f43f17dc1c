//! A report as one page to read, print and send: no script, nothing that is loaded from elsewhere.
//!
//! `element` escapes whatever is put in; the page forbids scripts and loads besides, by a policy of its own. What a colour
//! says, a word says too.

mod chain;
mod element;
mod findings;
mod path;

use super::{Grade, Remedy, Report, Verdict, sentence};
use crate::audit::finding::Category;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use element::{Element, escaped, list, sign};
use sha2::{Digest as _, Sha256};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// The report as one page.
pub fn html(report: &Report) -> String {
    let target = &report.facts.target;
    let sections = [
        Some(verdict(report)),
        Some(Element::new("div").class("pair").add(steps(report)).add(grade(report))),
        Some(path::path(&report.facts)),
        chain::chains(&report.facts),
        findings::findings(report),
        Some(not_tested(report)),
        Some(configuration(&report.configuration)),
    ];
    let main: String = sections.iter().flatten().map(Element::html).collect();
    filled(
        PAGE,
        &[
            ("title", &escaped(&format!("{target}: {} – SIP encryption report", report.outcome()))),
            ("style", STYLE),
            ("style-hash", &BASE64.encode(Sha256::digest(STYLE))),
            ("target", &escaped(target)),
            ("main", &main),
            ("made", &escaped(&report.made())),
        ],
    )
}

/// The template with each `{{name}}` replaced; what is put in is not looked at again.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut parts = template.split("{{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or_default();
        out.push_str(values.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value));
        out.push_str(rest);
    }
    out
}

/// A section of the page with its heading, which names it for screen readers.
fn section(class: &'static str, id: &'static str, title: &str) -> Element {
    let heading = Element::new("h2").with("id", id).text(title);
    Element::new("section").class(class).with("aria-labelledby", id).add(heading)
}

fn paragraph(class: &'static str, text: &str) -> Element {
    Element::new("p").class(class).text(text)
}

fn verdict(report: &Report) -> Element {
    let (mark, word) = match report.verdict {
        Verdict::Accepted => ("✓", "Accepted"),
        Verdict::Refused { .. } => ("✗", "Refused"),
        Verdict::Inconclusive { .. } => ("?", "Inconclusive"),
    };
    let heading = Element::new("h2").with("id", "verdict").add(sign(mark)).text(word);
    let mut says = Element::new("div").class("says").add(heading);
    says = says.add(paragraph("lead", &format!("{}.", report.meaning())));
    let (reason, rule) = match &report.verdict {
        Verdict::Refused { rule, reason, .. } => (reason.as_str(), Some(rule.as_str())),
        Verdict::Inconclusive { reason } => (reason.as_str(), None),
        Verdict::Accepted => ("", None),
    };
    if !reason.is_empty() {
        let rule = rule.map(|rule| Element::new("code").text(rule));
        says = says.add(paragraph("", &format!("{} ", sentence(reason))).add(rule));
    }
    if let Some(why) = &report.facts.interrupted {
        says = says.add(paragraph("", &format!("The audit was cut short: {}", sentence(why))));
    }
    says = says.add(paragraph("scope", &format!("Scope: {}.", report.scope.as_str())));
    let letter = report.grade.as_ref().map(|grade| {
        let letter = Element::new("strong").text(&grade.letter);
        let score = Element::new("span").text(&format!(" {} of 100", grade.score));
        Element::new("p").class("letter").add(Element::new("span").text("Grade ")).add(letter).add(score)
    });
    let class = match report.verdict {
        Verdict::Accepted => "verdict accepted",
        Verdict::Refused { .. } => "verdict refused",
        Verdict::Inconclusive { .. } => "verdict inconclusive",
    };
    Element::new("section").class(class).with("aria-labelledby", "verdict").add(says).add(letter)
}

fn steps(report: &Report) -> Option<Element> {
    let steps = list("steps", report.steps().into_iter().map(|step| Element::new("li").text(&sentence(step))))?;
    Some(section("", "steps", "What to do").add(steps))
}

fn grade(report: &Report) -> Element {
    let Some(Grade { letter, score, categories, caps }) = &report.grade else {
        return section("", "grade", "No grade").add(paragraph("", &sentence(&report.no_grade)));
    };
    let section = section("", "grade", &format!("Grade {letter}, with {score} of 100 points"));
    let section = section.add(list("bars", categories.iter().map(|one| bar(one.category, one.score, one.weight))));
    let caps = list(
        "caps",
        caps.iter().map(|cap| {
            let entry = Element::new("li").add(Element::new("b").text(&format!("No better than {}: ", cap.letter)));
            entry.text(&sentence(&cap.reason)).text(" ").add(Element::new("code").text(&cap.id))
        }),
    );
    section.add(caps)
}

/// The bar is for the eye; the words say the same.
fn bar(category: Category, score: Option<u32>, weight: u32) -> Element {
    let width = score.unwrap_or(0).min(100).to_string();
    let rect = |class, width: &str| Element::new("rect").class(class).with("width", width).with("height", "8");
    let level = match score.unwrap_or(0) {
        85.. => "full good",
        55.. => "full fair",
        _ => "full poor",
    };
    let picture = Element::new("svg").with("viewBox", "0 0 100 8").with("preserveAspectRatio", "none");
    let picture = picture.with("aria-hidden", "true").add(rect("empty", "100")).add(rect(level, &width));
    let words = score.map_or("not tested".to_owned(), |score| format!("{score} of 100"));
    Element::new("li")
        .add(Element::new("span").class("name").text(category.title()).text(" "))
        .add(picture)
        .add(Element::new("span").class("value").text(&words).text(" "))
        .add(Element::new("span").class("weight").text(&format!("counts {weight} %")))
}

fn not_tested(report: &Report) -> Element {
    let section = section("", "not-tested", "What was not tested");
    match list("plain", report.not_tested.iter().map(|item| Element::new("li").text(&sentence(item)))) {
        Some(items) => section.add(items),
        None => section.add(paragraph("", "Nothing was left out.")),
    }
}

fn configuration(remedy: &Remedy) -> Element {
    let section = section("", "configuration", "Configuration");
    match remedy {
        Remedy::Nothing => section.add(paragraph("", "Accepted by the default policy: nothing has to be written.")),
        Remedy::Toml(lines) => {
            let block = lines.lines().fold(Element::new("code"), |code, line| code.text(line).end_line());
            let lead = "With these lines in its configuration, a gateway would use this provider:";
            section.add(paragraph("", lead)).add(Element::new("pre").add(block))
        }
        Remedy::Impossible(why) => section.add(paragraph("", &format!("No configuration helps: {}", sentence(why)))),
        Remedy::Unknown => section.add(paragraph("", "It cannot be said what would have to be written.")),
    }
}
