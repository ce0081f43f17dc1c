//! `audit`: what encryption a provider really supports, and whether this gateway would trust it.
//!
//! Results go to standard output or `--output`, progress to a terminal on standard error. Exit codes: 0 accepted, 1 refused,
//! 2 usage, 3 inconclusive. Interrupted, it writes what it has, marked as such.

use super::{CONFIG, FAILED, USAGE, fail, show};
use crate::audit::report::{Report, Verdict, html, json, text};
use crate::audit::target::Target;
use crate::audit::{catalogue, finding::Severity, report as judge};
use crate::io::audit::{self, Credentials, Plan, Progress};
use crate::io::{files, unix_time};
use clap::{Args, ValueEnum};
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// It cannot be said whether the provider would be accepted.
const INCONCLUSIVE: u8 = 3;

#[derive(Args)]
pub(super) struct Arguments {
    /// What to audit: a domain, a server as sips:HOST[:PORT], or an account's address
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// The form of the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Where the result goes, instead of standard output; for HTML of several targets, a directory
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The authorities that count, in PEM form, instead of the public ones
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The name that the certificate has to show, if it is not the domain
    #[arg(long, value_name = "HOST")]
    expected_name: Option<String>,
    /// Log in with this account, which is removed from the registrar again
    #[arg(long, value_name = "USER@DOMAIN", requires = "password_file")]
    account: Option<String>,
    /// A file with the account's password; - for standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The name that the login uses, if it is not the address's user
    #[arg(long, value_name = "NAME", requires = "password_file")]
    auth_user: Option<String>,
    /// A file with targets, one a line; # begins a comment
    #[arg(id = "list", long = "targets", value_name = "FILE", conflicts_with = "password_file")]
    targets_file: Option<PathBuf>,
    /// How many targets at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    /// Judge saved JSON again, without any network
    #[arg(long, value_name = "FILE", conflicts_with_all = ["targets", "list", "password_file"])]
    offline: Option<PathBuf>,
    /// End with 1 also if a finding is as bad as this (low, medium, high, critical), or the grade worse than this (A to F)
    #[arg(long, value_name = "LEVEL")]
    fail_on: Option<Bar>,
    /// What has to be tested for a conclusion: media (never, in this version, so the exit code is 3)
    #[arg(long, value_enum)]
    require: Option<Requirement>,
    /// Say what a check is about, and end
    #[arg(long, value_name = "ID", conflicts_with_all = ["targets", "list", "offline"])]
    explain: Option<String>,
    /// Ask this DNS server instead of the system's
    #[arg(long, value_name = "ADDRESS:PORT")]
    dns_server: Vec<SocketAddr>,
    /// Trust this key of DNSSEC instead of the root's
    #[arg(long, value_name = "FILE")]
    trust_anchor: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs; the schema is docs/schema/audit.json
    Json,
    /// The same, one line a target
    Jsonl,
    /// A page to read and to send
    Html,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Requirement {
    /// Whether calls are encrypted
    Media,
}

/// What `--fail-on` takes.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Bar {
    Severity(Severity),
    Grade(String),
}

impl std::str::FromStr for Bar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const SEVERITIES: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        let severity = SEVERITIES.into_iter().find(|severity| severity.as_str().eq_ignore_ascii_case(text));
        let letter = text.to_ascii_uppercase();
        match (severity, ["A+", "A", "B", "C", "D", "E", "F"].contains(&letter.as_str())) {
            (Some(severity), _) => Ok(Bar::Severity(severity)),
            (None, true) => Ok(Bar::Grade(letter)),
            (None, false) => Err("write low, medium, high or critical, or a grade from A+ to F".to_owned()),
        }
    }
}

impl Bar {
    fn is_reached(&self, report: &Report) -> bool {
        match self {
            // what is unknown is not good enough for somebody who drew a line
            Bar::Severity(bar) => report.findings.iter().any(|finding| finding.severity >= *bar),
            Bar::Grade(bar) => report.grade.as_ref().is_none_or(|grade| crate::audit::is_worse(&grade.letter, bar)),
        }
    }
}

pub(super) async fn execute(arguments: Arguments) -> ExitCode {
    if let Some(id) = &arguments.explain {
        return explain(id);
    }
    let reports = match &arguments.offline {
        Some(file) => match offline(file) {
            Ok(reports) => reports,
            Err(code) => return code,
        },
        None => match online(&arguments).await {
            Ok(reports) => reports,
            Err(code) => return code,
        },
    };
    match write(&arguments, &reports) {
        Ok(()) => exit_code(&arguments, &reports),
        Err(code) => code,
    }
}

fn explain(id: &str) -> ExitCode {
    match catalogue::find(id) {
        Some(check) => {
            show::print(&text::explanation(check));
            ExitCode::SUCCESS
        }
        None => {
            let known: Vec<&str> = catalogue::CHECKS.iter().map(|check| check.id).collect();
            fail(USAGE, &format!("there is no check of this name; there are: {}", known.join(", ")))
        }
    }
}

/// Reports that were saved, judged again for the time at which they were measured.
fn offline(file: &std::path::Path) -> Result<Vec<Report>, ExitCode> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        fail(FAILED, &format!("{name} cannot be read: {error}; name a file that --format json wrote"))
    })?;
    let saved = json::read(&text).map_err(|error| {
        fail(FAILED, &format!("{name} is no report: {error}; name a file that --format json wrote"))
    })?;
    Ok(saved
        .into_iter()
        .map(|report| {
            let at = report.facts.measured_at(unix_time());
            judge(report.facts, at)
        })
        .collect())
}

async fn online(arguments: &Arguments) -> Result<Vec<Report>, ExitCode> {
    let targets = targets(arguments)?;
    let trust = files::authorities(arguments.ca_file.as_deref()).map_err(|error| fail(CONFIG, &error.to_string()))?;
    let dns = audit::resolver(&arguments.dns_server, arguments.trust_anchor.as_deref())
        .map_err(|error| fail(CONFIG, &error.to_string()))?;
    let several = targets.len() > 1;
    let mut plans = Vec::new();
    for target in targets {
        let credentials = credentials(arguments, &target)?;
        plans.push(Plan {
            expected_name: arguments.expected_name.clone().unwrap_or_else(|| target.host.clone()),
            target,
            trust: trust.clone(),
            dns: dns.clone(),
            credentials,
        });
    }
    let progress = show_progress(several);
    let facts = until_interrupted(|stop| audit::run_all(plans, usize::from(arguments.parallel), progress, stop)).await;
    if std::io::stderr().is_terminal() {
        show::progress("");
    }
    Ok(facts.into_iter().map(|facts| judge(facts, unix_time())).collect())
}

/// Runs something that ends early, with what it has, when the operator presses Ctrl-C or the system wants the end.
async fn until_interrupted<T>(work: impl FnOnce(watch::Receiver<bool>) -> T) -> T::Output
where
    T: Future,
{
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).ok();
    let work = work(stopped);
    tokio::pin!(work);
    let terminated = async {
        match &mut terminate {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        done = &mut work => return done,
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
    let _ = stop.send(true); // whoever listened is done otherwise
    work.await
}

fn targets(arguments: &Arguments) -> Result<Vec<Target>, ExitCode> {
    let mut texts = arguments.targets.clone();
    if let Some(file) = &arguments.targets_file {
        let list = std::fs::read_to_string(file).map_err(|error| {
            fail(FAILED, &format!("{} cannot be read: {error}; it holds one target a line", file.display()))
        })?;
        let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        texts.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    if texts.is_empty() {
        texts.extend(arguments.account.clone());
    }
    if texts.is_empty() {
        return Err(fail(
            USAGE,
            "there is nothing to audit; name a domain, a server as sips:HOST, or a file of them with --targets FILE",
        ));
    }
    let mut targets: Vec<Target> = Vec::new();
    for text in texts {
        let target = Target::parse(&text).map_err(|error| fail(USAGE, &error.to_string()))?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if arguments.password_file.is_some() && targets.len() > 1 {
        return Err(fail(USAGE, "a password belongs to one account; audit the others without --password-file"));
    }
    Ok(targets)
}

fn credentials(arguments: &Arguments, target: &Target) -> Result<Option<Credentials>, ExitCode> {
    let Some(file) = &arguments.password_file else { return Ok(None) };
    let address = arguments
        .account
        .clone()
        .or_else(|| target.account())
        .ok_or_else(|| fail(USAGE, "a password needs its account; name it with --account USER@DOMAIN"))?;
    let account = Target::parse(&address).map_err(|error| fail(USAGE, &error.to_string()))?;
    let (Some(user), domain) = (account.user, account.host) else {
        return Err(fail(USAGE, "--account takes an address such as alice@example.org"));
    };
    let password = files::password(file).map_err(|error| fail(CONFIG, &error.to_string()))?;
    let auth_user = arguments.auth_user.clone().unwrap_or_else(|| user.clone());
    Ok(Some(Credentials::new(user, domain, auth_user, password)))
}

/// One line that is written over again and again, on a terminal only.
fn show_progress(several: bool) -> Progress {
    let terminal = std::io::stderr().is_terminal();
    Arc::new(move |step: &audit::Step| {
        if !terminal {
            return;
        }
        let line = match several {
            true => format!("{} of {} audited; {}: {}", step.done, step.all, step.target, step.doing),
            false => format!("{}: {}", step.target, step.doing),
        };
        show::progress(&line);
    })
}

fn write(arguments: &Arguments, reports: &[Report]) -> Result<(), ExitCode> {
    let failed = |path: &std::path::Path, error: std::io::Error| {
        fail(FAILED, &format!("{} cannot be written: {error}; name another place with --output", path.display()))
    };
    let save =
        |path: &std::path::Path, text: &str| files::replace(path, text.as_bytes()).map_err(|error| failed(path, error));
    let colour = arguments.output.is_none()
        && std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let result = match (arguments.format, reports) {
        (Format::Text, [one]) => text::text(one, 80, colour),
        (Format::Text, several) => text::summary(several),
        (Format::Json, [one]) => json::pretty(one),
        (Format::Json, several) => json::list(several),
        (Format::Jsonl, several) => several.iter().map(|report| json::line(report) + "\n").collect(),
        (Format::Html, [one]) => html::html(one),
        (Format::Html, several) => {
            let Some(directory) = &arguments.output else {
                return Err(fail(USAGE, "a page shows one target; name a directory for the pages with --output"));
            };
            std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
            for report in several {
                save(&directory.join(format!("{}.html", file_name(&report.facts.target))), &html::html(report))?;
            }
            show::print(&text::summary(several));
            return Ok(());
        }
    };
    match &arguments.output {
        Some(path) => save(path, &format!("{}\n", result.trim_end())),
        None => {
            show::print(&result);
            Ok(())
        }
    }
}

/// A target as a file's name: nothing but letters, digits, dots, hyphens, `@`.
fn file_name(target: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || ".-@".contains(c) { c } else { '_' };
    target.chars().map(keep).collect()
}

/// The worst of all: refused before inconclusive before accepted.
fn exit_code(arguments: &Arguments, reports: &[Report]) -> ExitCode {
    let refused = |report: &Report| matches!(report.verdict, Verdict::Refused { .. });
    let inconclusive = |report: &Report| matches!(report.verdict, Verdict::Inconclusive { .. });
    let barred =
        |report: &Report| !inconclusive(report) && arguments.fail_on.as_ref().is_some_and(|bar| bar.is_reached(report));
    if reports.iter().any(|report| refused(report) || barred(report)) {
        ExitCode::from(FAILED)
    } else if arguments.require == Some(Requirement::Media) || reports.iter().any(inconclusive) {
        ExitCode::from(INCONCLUSIVE)
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn a_bar_is_a_severity_or_a_grade() {
        assert_eq!("HIGH".parse(), Ok(Bar::Severity(Severity::High)));
        assert_eq!("b".parse(), Ok(Bar::Grade("B".to_owned())));
        assert!("pass".parse::<Bar>().is_err() && "unknown".parse::<Bar>().is_err() && "".parse::<Bar>().is_err());
    }

    #[test]
    fn a_targets_page_stays_in_its_directory() {
        assert_eq!(file_name("sips:[2001:db8::1]:5061"), "sips__2001_db8__1__5061");
        assert_eq!(file_name("alice@example.org"), "alice@example.org");
        assert!(!file_name("../x/../y").contains('/'));
    }
}
