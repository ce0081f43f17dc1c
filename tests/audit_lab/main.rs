//! The whole `audit` against a laboratory of providers, each good but for one fault (`table.rs`): what it finds and ends with,
//! with and without an account; how gentle and how fast it is; and whether `run` registers exactly where `audit` says that it would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]
#![allow(clippy::print_stdout, reason = "and tell what it measured")]

#[path = "../gateway/mod.rs"]
mod gateway;
mod knocks;
mod lab;
mod others;
mod table;

use futures_util::StreamExt as _;
use gateway::{Gateway, PROGRAM, schema};
use knocks::Knocks;
use lab::{HOSTILE, Lab, MANY, domain, many};
use serde_json::Value;
use std::time::{Duration, Instant};
use table::{Case, TABLE};
use tokio::process::Command;
use tokio::sync::Mutex;

/// One laboratory at a time: two of them are slower than what is asserted of one.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What a command ended with.
struct Ended {
    code: i32,
    output: String,
    errors: String,
}

impl Ended {
    fn of(output: std::process::Output) -> Ended {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code().unwrap(), output: text(output.stdout), errors: text(output.stderr) }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.output, self.errors))
    }
}

fn command(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("audit").args(arguments).current_dir(lab.directory.path()).env("HOME", lab.directory.path());
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    command
}

/// Runs `audit` with the laboratory's authority and DNS.
async fn audit(lab: &Lab, arguments: &[&str]) -> Ended {
    Ended::of(command(lab, arguments).args(lab.options()).output().await.unwrap())
}

/// Runs `audit` without any of that.
async fn offline(lab: &Lab, arguments: &[&str]) -> Ended {
    Ended::of(command(lab, arguments).output().await.unwrap())
}

/// `ID severity` of all findings that are neither passed nor mere information.
fn findings(report: &Value) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    let line = |it: &Value| format!("{} {}", it["id"].as_str().unwrap(), it["severity"].as_str().unwrap());
    all.map(line).filter(|line| !line.ends_with(" pass") && !line.ends_with(" info")).collect()
}

fn rule(report: &Value) -> &str {
    report["verdict"]["rule"].as_str().unwrap_or_default()
}

/// The exit code that an audit of this alone has.
fn exit(report: &Value) -> u8 {
    match report["verdict"]["outcome"].as_str().unwrap() {
        "accepted" => 0,
        "refused" => 1,
        _ => 3,
    }
}

/// What differs from the table, in words; empty if nothing does.
fn difference(case: &Case, report: &Value, with_account: bool) -> String {
    let (found, expected) = (findings(report), case.findings(with_account));
    if (exit(report), rule(report), &found) == (case.exit, case.rule, &expected) {
        return String::new();
    }
    let only =
        |a: &[String], b: &[String]| a.iter().filter(|it| !b.contains(it)).cloned().collect::<Vec<_>>().join(", ");
    format!(
        "{}: exit {} for {}, rule {:?} for {:?}, missing [{}], too much [{}]\n   {}\n",
        case.name,
        exit(report),
        case.exit,
        rule(report),
        case.rule,
        only(&expected, &found),
        only(&found, &expected),
        report["verdict"]
    )
}

fn valid(reports: &[Value]) {
    let schema: Value = serde_json::from_str(include_str!("../../docs/schema/audit.json")).unwrap();
    for report in reports {
        schema::check(&schema, report, report["facts"]["target"].as_str().unwrap());
    }
}

/// What a second audit of the same must repeat: every finding, without the milliseconds of a connection.
fn lasting(report: &Value) -> Vec<String> {
    let without_time = |finding: &Value| {
        let text = finding.to_string();
        let parts: Vec<&str> =
            text.split(" ms)").map(|part| part.trim_end_matches(|c: char| c.is_ascii_digit())).collect();
        parts.concat()
    };
    report["findings"].as_array().unwrap().iter().map(without_time).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_has_exactly_the_findings_of_the_table_and_is_asked_gently() {
    let _alone = ALONE.lock().await;
    let lab = Lab::start("audit-lab").await;
    let list = |cases: &mut dyn Iterator<Item = &Case>| cases.map(|case| domain(case.name) + "\n").collect::<String>();
    lab.directory.file("targets", 0o644, &list(&mut TABLE.iter()));
    lab.directory.file("backwards", 0o644, &list(&mut TABLE.iter().rev()));

    let knocks = Knocks::watch(&lab.directory.path().join("knocks.pcap")).unwrap();
    let started = Instant::now();
    let ended = audit(&lab, &["--targets", "targets", "--parallel", "16", "--format", "json"]).await;
    println!("{} providers in {:?}", TABLE.len(), started.elapsed());
    let knocks = knocks.stop().unwrap();
    let reports = ended.json();
    let reports = reports.as_array().unwrap();
    valid(reports);
    assert_eq!(ended.code, 1, "the worst of all");
    let mut wrong = String::new();
    for (case, report) in TABLE.iter().zip(reports) {
        assert_eq!(report["facts"]["target"], domain(case.name), "the order is that of the list");
        assert_eq!(report["scope"], "signalling only, media not tested");
        wrong += &difference(case, report, false);
    }
    assert!(wrong.is_empty(), "{wrong}\n{}", lab.troubles());
    for report in reports.iter().filter(|report| report["facts"]["target"] != domain("bogus")) {
        assert!(!report.to_string().contains("bogus"), "no false alarm of DNSSEC: {}", report["facts"]["dns"]);
    }

    let took = |name: &str| {
        let report = &reports[TABLE.iter().position(|case| case.name == name).unwrap()];
        Duration::from_millis(report["facts"]["took_ms"].as_u64().unwrap())
    };
    assert!(took("good") <= Duration::from_secs(10), "{:?}", took("good"));
    for name in ["silent", "closed", "bogus"] {
        assert!(took(name) <= Duration::from_secs(15), "{name}: {:?}", took(name));
    }
    let mut most = (0, 0);
    for (name, address) in &lab.addresses {
        let (all, in_a_second) = (knocks.at(address.ip()), knocks.in_a_second(address.ip()));
        if address.ip().is_loopback() {
            assert!(all <= 80 && in_a_second <= 10, "{name}: {all} connections, {in_a_second} in a second");
            most = (most.0.max(all), most.1.max(in_a_second));
        }
    }
    println!("at most {} connections to one address, {} in one second", most.0, most.1);
    assert!(most.0 > 10, "the capture saw them");

    let again = audit(&lab, &["--targets", "backwards", "--parallel", "16", "--format", "jsonl"]).await;
    let again: Vec<Value> = again.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(again.len(), TABLE.len());
    for (first, second) in reports.iter().zip(again.iter().rev()) {
        let (first, second) = (lasting(first), lasting(second));
        let differs = first.iter().zip(&second).find(|(first, second)| first != second);
        assert!(differs.is_none() && first.len() == second.len(), "the same input, other findings: {differs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_registers_where_an_audit_with_the_account_ends_with_0_and_refuses_the_others_by_the_same_rule() {
    let _alone = ALONE.lock().await;
    let lab = Lab::start("audit-run").await;
    // first the gateway, whose registrations must not be mistaken for those of the audit
    let runs = futures_util::stream::iter(TABLE).map(|case| run(&lab, case)).buffered(6);
    let wrong: String = runs.collect::<Vec<_>>().await.concat();
    assert!(wrong.is_empty(), "{wrong}");
    refused_servers_saw_no_credentials(&lab, "run");

    let before = lab.kamailio.log().len();
    let audits = futures_util::stream::iter(TABLE).map(|case| log_in(&lab, case)).buffered(8);
    let wrong: String = audits.collect::<Vec<_>>().await.concat();
    assert!(wrong.is_empty(), "{wrong}\n{}", lab.troubles());
    refused_servers_saw_no_credentials(&lab, "audit");
    let log = lab.kamailio.log();
    for case in TABLE.iter().filter(|case| case.exit == 0) {
        let line = format!("registered conference@{} with ", domain(case.name));
        let bindings: Vec<&str> = log[before..].lines().filter(|it| it.contains(&line)).collect();
        assert!(bindings.len() >= 2 && bindings.last().unwrap().contains("expires 0"), "{}: {bindings:?}", case.name);
        assert!(bindings.iter().all(|it| !it.contains("Contact: *")), "only its own binding: {bindings:?}");
    }

    let name = domain("good");
    lab.directory.secret("wrong-password", "battery staple\n");
    let account = format!("conference@{name}");
    let ended =
        audit(&lab, &[&name, "--account", &account, "--password-file", "wrong-password", "--format", "json"]).await;
    let report = ended.json();
    assert_eq!((ended.code, rule(&report)), (1, "login"));
    assert!(findings(&report).contains(&"S-LOGIN critical".to_owned()));
}

/// What `run` does otherwise than the table says, in words.
async fn run(lab: &Lab, case: &Case) -> String {
    let config = lab.directory.secret(&format!("{}.toml", case.name), &lab.configuration(case.name));
    let mut gateway = Gateway::start(lab.directory.path(), &["run", "--config", &config.display().to_string()]);
    let end = Instant::now() + Duration::from_secs(12);
    let told = |output: &str| {
        let says = |line: &&str| {
            ["registered", " ERROR ", "was not found", "cannot be reached"].iter().any(|it| line.contains(it))
        };
        output.lines().find(says).map(str::to_owned)
    };
    let line = loop {
        match told(&gateway.output()) {
            Some(line) => break line,
            None if Instant::now() > end => break String::new(),
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    gateway.terminate().await;
    let registered = lab.kamailio.log().contains(&format!("registered conference@{}", domain(case.name)));
    let names_rule = line.contains(&format!("rule=\"{}\"", case.rule));
    let fits = match case.exit {
        0 => registered && line.contains(" registered"),
        1 => !registered && names_rule,
        _ => !registered && !line.contains("rule="),
    };
    if fits { String::new() } else { format!("{}: registered {registered}; {line}\n", case.name) }
}

/// What an audit with the account does otherwise than the table says, in words.
async fn log_in(lab: &Lab, case: &Case) -> String {
    let (name, account) = (domain(case.name), format!("conference@{}", domain(case.name)));
    let ended = audit(lab, &[&name, "--account", &account, "--password-file", "password", "--format", "json"]).await;
    let report = ended.json();
    valid(std::slice::from_ref(&report));
    assert_eq!(ended.code, i32::from(case.exit), "{name}: {}", report["verdict"]);
    assert_eq!(report["scope"], "signalling and login, media not tested");
    difference(case, &report, true)
}

fn refused_servers_saw_no_credentials(lab: &Lab, who: &str) {
    let log = lab.kamailio.log();
    for case in TABLE {
        let Some((_, address)) = lab.addresses.iter().find(|(name, _)| *name == case.name) else { continue };
        let seen = log.contains(&format!("to {}: credentials\n", address.ip()));
        assert!(!seen || case.exit == 0, "{who} sent credentials to {}", case.name);
        let asks = case.exit == 0 && case.name != "no-password";
        assert!(seen || !asks, "{who} sent none to {}: the log does not show them", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_targets_are_audited_in_three_minutes() {
    let _alone = ALONE.lock().await;
    let lab = Lab::start("audit-many").await;
    let targets: String = (0..MANY).map(|number| domain(&many(number)) + "\n").collect();
    lab.directory.file("targets", 0o644, &targets);
    let started = Instant::now();
    let ended = audit(&lab, &["--targets", "targets", "--parallel", "16"]).await;
    let took = started.elapsed();
    println!("{MANY} targets in {took:?}");
    assert_eq!(ended.code, 0, "{}", ended.output);
    assert!(took < Duration::from_secs(180), "{took:?}");
    let rows: Vec<&str> = ended.output.lines().filter(|line| line.starts_with("many-")).collect();
    assert_eq!(rows.len(), MANY, "{}", ended.output);
    for (number, row) in rows.iter().enumerate() {
        assert!(row.starts_with(&format!("{} ", domain(&many(number)))) && row.contains(" accepted "), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_formats_and_interruptions() {
    let _alone = ALONE.lock().await;
    let lab = Lab::start("audit-options").await;
    let (good, wildcard, broken) = (domain("good"), domain("wildcard"), domain("null-too"));

    // --fail-on a level or a grade, --require, and what is unknown
    let saved = audit(&lab, &[&good, &broken, "--format", "json", "--output", "saved.json"]).await;
    assert_eq!((saved.code, saved.output.as_str()), (0, ""), "{}", saved.errors);
    for (arguments, code) in [
        (&[good.as_str()][..], 0),
        (&[&good, "--fail-on", "medium"], 0),
        (&[&good, "--fail-on", "low"], 1),
        (&[&good, "--fail-on", "A"], 0),
        (&[&good, "--fail-on", "a+"], 1),
        (&[&good, "--require", "media"], 3),
        (&[&broken, "--fail-on", "critical"], 1),
        (&[&broken, "--fail-on", "D"], 1),
        (&[&wildcard, "--require", "media"], 1),
        (&["--offline", "saved.json"], 0),
        (&["--offline", "saved.json", "--fail-on", "high"], 1),
        (&["--offline", "saved.json", "--require", "media"], 3),
        (&["--offline", "password"], 1),
        (&["--explain", "c-name"], 0),
        (&["--explain", "X"], 2),
        (&[&good, "--fail-on", "pass"], 2),
        (&["no domain"], 2),
        (&[], 2),
    ] {
        let ended = match arguments.first() {
            Some(&("--offline" | "--explain")) => offline(&lab, arguments).await,
            _ => audit(&lab, arguments).await,
        };
        assert_eq!(ended.code, code, "{arguments:?}: {}{}", ended.output, ended.errors);
        assert!(code != 2 || !ended.errors.is_empty());
    }
    let one = audit(&lab, &[&wildcard]).await;
    assert!(one.output.contains("REFUSED") && one.output.contains("certificate-wildcard"), "{}", one.output);
    assert!(one.output.contains("allow       = \"tls-wildcard-name\""), "{}", one.output);
    assert!(one.output.lines().all(|line| line.chars().count() <= 80), "{}", one.output);

    // saved facts are judged again, to the same reports
    let again = offline(&lab, &["--offline", "saved.json", "--format", "json"]).await;
    let saved = std::fs::read_to_string(lab.directory.path().join("saved.json")).unwrap();
    let line = again.output.lines().zip(saved.lines()).find(|(again, saved)| again != saved);
    assert_eq!((line, again.output.len()), (None, saved.len()));

    hostile_texts_are_texts(&lab).await;
    an_interrupted_audit_keeps_what_it_has(&lab).await;
}

async fn hostile_texts_are_texts(lab: &Lab) {
    let name = domain("hostile-texts");
    let account = format!("conference@{name}");
    for format in ["text", "json", "jsonl", "html"] {
        let arguments = [&name, "--account", &account, "--password-file", "password", "--format", format];
        let ended = audit(lab, &arguments).await;
        assert_eq!(ended.code, 0, "{}{}", ended.output, ended.errors);
        let odd = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}".contains(c);
        assert!(!ended.output.chars().any(odd), "{format}: {}", ended.output.escape_debug());
        let shown = match format {
            "html" => "&lt;script&gt;alert(1)&lt;/script&gt;",
            _ => "<script>alert(1)</script>",
        };
        assert!(ended.output.contains(shown), "{format} shows the text as it is: {}", ended.output);
        assert!(format != "html" || !ended.output.contains("<script"), "{}", ended.output);
        assert!(HOSTILE.contains("<script>"));
        if format.starts_with("json") {
            valid(&[ended.json()]);
        }
    }
}

async fn an_interrupted_audit_keeps_what_it_has(lab: &Lab) {
    let (good, silent) = (domain("good"), domain("silent"));
    let child = command(lab, &[&good, &silent, "--format", "json"])
        .args(lab.options())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let process = child.id().unwrap().to_string();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(Command::new("kill").args(["-INT", &process]).status().await.unwrap().success());
    let asked = Instant::now();
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert!(asked.elapsed() < Duration::from_secs(2), "it ends at once: {:?}", asked.elapsed());
    assert_eq!(ended.code, 3, "{}", ended.errors);
    let reports = ended.json();
    let reports = reports.as_array().unwrap();
    valid(reports);
    assert_eq!(reports.len(), 2);
    for report in reports {
        assert_eq!(report["verdict"]["outcome"], "inconclusive");
        assert_eq!(report["facts"]["interrupted"], "by the operator");
        assert_eq!(report["facts"]["servers"].as_array().unwrap().len(), 1, "what DNS said is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes of testssl.sh; ./test --full runs it"]
async fn testssl_and_sslyze_see_the_same_versions_suites_chain_and_expiry() {
    let _alone = ALONE.lock().await;
    let lab = Lab::start("audit-others").await;
    let compared = futures_util::stream::iter(others::COMPARED).map(|name| others::compare(&lab, name)).buffered(2);
    let differences: Vec<(String, String)> = compared.collect::<Vec<_>>().await.concat();
    let seen: Vec<&str> = differences.iter().map(|(what, _)| what.as_str()).collect();
    let explained: Vec<&str> = others::EXPLAINED.iter().map(|(what, _)| *what).collect();
    assert_eq!(
        seen, explained,
        "each difference has its explanation, and each explanation its difference: {differences:?}"
    );
}
