//! A report for a terminal: verdict first, then what to do, grade, findings, what was not tested, the configuration.
//!
//! Nothing that a provider wrote can command the terminal (`printable`), and no line is longer than the width, except
//! lines of configuration, which must stay exact. Colour never says what a word does not say too.

use super::{Grade, Remedy, Report, Verdict, sentence};
use crate::audit::catalogue::Check;
use crate::audit::finding::{Finding, Severity};
use crate::sip::printable;

/// Where the words behind a severity begin.
const COLUMN: usize = 12;

/// The report for a terminal of this width.
pub fn text(report: &Report, width: usize, colour: bool) -> String {
    let mut page = Page { width: width.max(40), colour, out: String::new() };
    verdict(&mut page, report);
    grade(&mut page, report);
    for (category, findings) in report.by_category() {
        let tested = |finding: &&&Finding| finding.severity != Severity::Unknown;
        if findings.iter().any(|finding| tested(&finding)) {
            page.title(category.title());
        }
        // what is unknown stands under "Not tested", with its reason
        for finding in findings.iter().filter(tested) {
            self::finding(&mut page, finding);
        }
    }
    page.title("Not tested");
    for item in &report.not_tested {
        page.lines("  ", &sentence(item));
    }
    if report.not_tested.is_empty() {
        page.lines("  ", "Nothing was left out.");
    }
    page.title("Configuration");
    configuration(&mut page, &report.configuration);
    page.out.push('\n');
    page.lines("", &format!("Made {}.", report.made()));
    page.out
}

/// A table with a row for each report: target, verdict, grade, worst finding.
pub fn summary(reports: &[Report]) -> String {
    let mut page = Page { width: 80, colour: false, out: String::new() };
    let target = reports.iter().map(|report| columns(&printable(&report.facts.target))).max().unwrap_or(0);
    let widths = [target.clamp(6, 28), 12, 5];
    page.row(widths, ["target", "verdict", "grade", "worst finding"]);
    for report in reports {
        let letter = report.grade.as_ref().map_or("-", |grade| &grade.letter);
        let worst = report.worst().map_or("everything passed".to_owned(), |finding| {
            format!("{}: {} [{}]", finding.severity.as_str(), finding.summary, finding.id)
        });
        page.row(widths, [&report.facts.target, report.outcome(), letter, &worst]);
    }
    page.out
}

/// What a check is about, for `--explain`.
pub fn explanation(check: &Check) -> String {
    let mut page = Page { width: 80, colour: false, out: String::new() };
    page.lines("", &format!("{}: {}", check.id, check.title));
    page.out.push('\n');
    page.lines("", check.why);
    page.out.push('\n');
    page.lines("", &format!("Counts under \"{}\". See {}.", check.category.title(), check.reference));
    page.out
}

fn verdict(page: &mut Page, report: &Report) {
    let colour = match report.verdict {
        Verdict::Accepted => Severity::Pass,
        Verdict::Refused { .. } => Severity::Critical,
        Verdict::Inconclusive { .. } => Severity::Unknown,
    };
    page.lines("", &report.facts.target);
    let word = page.painted(colour, &report.outcome().to_uppercase());
    page.out.push_str(&format!("{word}\n\n"));
    page.lines("", &format!("{} ({}).", report.meaning(), report.scope.as_str()));
    match &report.verdict {
        Verdict::Refused { rule, reason, .. } => page.labelled("Why", &format!("{} [{rule}]", sentence(reason))),
        Verdict::Inconclusive { reason } => page.labelled("Why", &sentence(reason)),
        Verdict::Accepted => {}
    }
    if let Some(why) = &report.facts.interrupted {
        page.labelled("Cut short", &sentence(why));
    }
    for (number, step) in report.steps().into_iter().enumerate() {
        page.labelled(if number == 0 { "To do" } else { "" }, &sentence(step));
    }
}

fn grade(page: &mut Page, report: &Report) {
    let Some(Grade { letter, score, categories, caps }) = &report.grade else {
        page.title("No grade");
        page.lines("  ", &sentence(&report.no_grade));
        return;
    };
    page.title("Grade");
    page.lines("  ", &format!("{letter}, with {score} of 100 points"));
    for category in categories {
        let score = category.score.map_or("not tested".to_owned(), |score| format!("{score} of 100"));
        let start = format!("  {:<11}", category.category.title());
        page.lines(&start, &format!("{score}, counts {} %", category.weight));
    }
    for cap in caps {
        page.lines("  ", &format!("no better than {}: {} [{}]", cap.letter, sentence(&cap.reason), cap.id));
    }
}

fn finding(page: &mut Page, finding: &Finding) {
    let severity = finding.severity;
    page.severe(severity, &format!("{} [{}]", printable(&finding.summary), finding.id));
    if severity == Severity::Pass {
        return;
    }
    let hang = " ".repeat(COLUMN);
    for line in &finding.evidence {
        page.lines(&format!("{hang}| "), line);
    }
    if !finding.fix.is_empty() {
        page.lines(&hang, &sentence(&finding.fix));
    }
    if !finding.reference.is_empty() {
        page.lines(&hang, &format!("({})", finding.reference));
    }
}

fn configuration(page: &mut Page, remedy: &Remedy) {
    match remedy {
        Remedy::Nothing => page.lines("  ", "Accepted by the default policy: nothing has to be written."),
        Remedy::Toml(lines) => {
            // not wrapped: what is copied from here has to be exact
            for line in lines.lines() {
                page.out.push_str(&format!("  {}\n", printable(line)));
            }
        }
        Remedy::Impossible(why) => page.lines("  ", &format!("No configuration helps: {}", sentence(why))),
        Remedy::Unknown => page.lines("  ", "It cannot be said what would have to be written."),
    }
}

/// Lines that were written so far.
struct Page {
    width: usize,
    colour: bool,
    out: String,
}

impl Page {
    fn title(&mut self, title: &str) {
        let title = if self.colour { format!("\u{1b}[1m{title}\u{1b}[0m") } else { title.to_owned() };
        self.out.push_str(&format!("\n{title}\n"));
    }

    /// Text that begins each of its lines with `start`.
    fn lines(&mut self, start: &str, text: &str) {
        for line in wrapped(&printable(text), self.width - columns(start)) {
            self.out.push_str(&format!("{start}{line}\n"));
        }
    }

    /// Text behind a label.
    fn labelled(&mut self, label: &str, text: &str) {
        let lines = wrapped(&printable(text), self.width - COLUMN);
        for (number, line) in lines.iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            self.out.push_str(&format!("{label:<COLUMN$}{line}\n"));
        }
    }

    /// Text behind a severity.
    fn severe(&mut self, severity: Severity, text: &str) {
        let word = match severity {
            Severity::Critical | Severity::High => severity.as_str().to_uppercase(),
            other => other.as_str().to_owned(),
        };
        let gap = " ".repeat(COLUMN - 2 - word.len());
        let mut start = format!("  {}{gap}", self.painted(severity, &word));
        for line in wrapped(&printable(text), self.width - COLUMN) {
            self.out.push_str(&format!("{start}{line}\n"));
            start = " ".repeat(COLUMN);
        }
    }

    /// A row of cells, each of which goes on below itself; the last one has the width that is left.
    fn row(&mut self, widths: [usize; 3], cells: [&str; 4]) {
        let gap = 2;
        let taken: usize = widths.iter().map(|width| width + gap).sum();
        let widths = [widths[0], widths[1], widths[2], self.width - taken];
        let cells: Vec<Vec<String>> =
            cells.iter().zip(widths).map(|(cell, width)| wrapped(&printable(cell), width)).collect();
        for number in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                let text = cell.get(number).map_or("", String::as_str);
                line.push_str(text);
                line.push_str(&" ".repeat(width - columns(text) + gap));
            }
            self.out.push_str(line.trim_end());
            self.out.push('\n');
        }
    }

    fn painted(&self, severity: Severity, word: &str) -> String {
        let code = match severity {
            Severity::Critical => "1;31",
            Severity::High => "31",
            Severity::Medium => "33",
            Severity::Low => "36",
            Severity::Unknown => "35",
            Severity::Pass => "32",
            Severity::Info => "0",
        };
        if self.colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

/// Text in lines of at most `width` columns; a word that is longer is broken. At least one line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if used > 0 && used + 1 + columns(word) <= width {
            line.push(' ');
            used += 1;
        } else if used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for character in word.chars() {
            if used + wide(character) > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(character);
            used += wide(character);
        }
    }
    lines.push(line);
    lines
}

/// How many columns a terminal needs for it.
fn columns(text: &str) -> usize {
    text.chars().map(wide).sum()
}

/// One column or two: East Asian wide characters and emoji.
fn wide(character: char) -> usize {
    match character {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
