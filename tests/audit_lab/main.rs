//! The whole `audit` against a laboratory of providers, each good but for one fault (`table.rs`): what it finds, what it ends
//! with, how gentle it is; and whether `run` registers exactly where `audit` says that it would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

#[path = "../gateway/mod.rs"]
mod gateway;
mod lab;
mod table;

use gateway::{Gateway, PROGRAM, schema};
use lab::{Lab, domain};
use serde_json::Value;
use std::time::{Duration, Instant};
use table::TABLE;
use tokio::process::Command;

/// Runs `audit` with the laboratory's options: its exit code, what it printed, what it complained of.
async fn audit(lab: &Lab, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.arg("audit").args(lab.options()).args(arguments).current_dir(lab.directory.path());
    let output = command.env("HOME", lab.directory.path()).kill_on_drop(true).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// `ID severity` of all findings that are neither passed nor mere information.
fn findings(report: &Value) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    let line = |finding: &Value| format!("{} {}", finding["id"].as_str().unwrap(), finding["severity"].as_str().unwrap());
    all.map(line).filter(|line| !line.ends_with(" pass") && !line.ends_with(" info")).collect()
}

fn rule(report: &Value) -> &str {
    report["verdict"]["rule"].as_str().unwrap_or_default()
}

fn exit(report: &Value) -> u8 {
    match report["verdict"]["outcome"].as_str().unwrap() {
        "accepted" => 0,
        "refused" => 1,
        _ => 3,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_has_exactly_the_findings_of_the_table() {
    let lab = Lab::start("audit-lab").await;
    let targets: String = TABLE.iter().map(|case| domain(case.name) + "\n").collect();
    lab.directory.file("targets", 0o644, &targets);
    let started = Instant::now();
    let (code, json, errors) = audit(&lab, &["--targets", "targets", "--parallel", "16", "--format", "json"]).await;
    println!("{} providers in {:?}", TABLE.len(), started.elapsed());
    let reports: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}{errors}"));
    std::fs::write("/tmp/w/lab.json", &json).unwrap();
    let mut wrong = String::new();
    for (case, report) in TABLE.iter().zip(reports.as_array().unwrap()) {
        assert_eq!(report["facts"]["target"], domain(case.name), "the order is that of the list");
        let (found, expected) = (findings(report), case.findings(false));
        if (exit(report), rule(report), &found) != (case.exit, case.rule, &expected) {
            let odd = |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
            wrong += &format!(
                "{}: exit {} for {}, rule {:?} for {:?}, missing {:?}, too much {:?}\n   {}\n",
                case.name, exit(report), case.exit, rule(report), case.rule, odd(&expected, &found), odd(&found, &expected), report["verdict"]
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n{}", lab.troubles());
    assert_eq!(code, 1);
}
