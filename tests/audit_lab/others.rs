//! A second and a third opinion: testssl.sh (with only its checks of protocols, ciphers and the server's defaults) and sslyze, about
//! those providers that differ in versions, suites, chain or expiry.

use super::lab::{Lab, domain};
use super::{audit, findings};
use galene_sips::units::Date;
use galene_sips_lab::real::program::require;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::process::Command;

pub(crate) const COMPARED: &[&str] = &[
    "good",
    "ssl-3",
    "tls-1-0-only",
    "tls-1-1-too",
    "tls-1-2-only",
    "static-rsa-only",
    "static-rsa-too",
    "rc4-only",
    "null-too",
    "anonymous-too",
    "rsa-1024",
    "sha-1",
    "expired",
    "not-yet-valid",
    "no-intermediate",
    "self-signed",
];

/// Where somebody sees something else than we do, `provider, tool: what`, and why we are right.
pub(crate) const EXPLAINED: &[(&str, &str)] = &[
    ("ssl-3, sslyze: versions", NO_WHOLE_HANDSHAKE),
    ("ssl-3, sslyze: suites", NO_WHOLE_HANDSHAKE),
    ("ssl-3, sslyze: trusted", NO_WHOLE_HANDSHAKE),
    ("ssl-3, sslyze: ends", NO_WHOLE_HANDSHAKE),
    (
        "sha-1, testssl.sh: trusted",
        "it lets OpenSSL judge chains, which takes a leaf signed with SHA-1; RFC 9155 forbids that, and sslyze agrees",
    ),
];

const NO_WHOLE_HANDSHAKE: &str = "no library of today speaks SSL 3, so this server answers a hello by hand and gets no further; sslyze needs whole handshakes";

/// What all three can tell of a server.
#[derive(PartialEq, Eq, Debug, Default)]
struct Opinion {
    /// `TLS 1.2`.
    versions: BTreeSet<String>,
    /// `TLS 1.2 TLS_RSA_WITH_NULL_SHA`.
    suites: BTreeSet<String>,
    /// Whether the chain leads to the laboratory's authority, within its dates.
    trusted: bool,
    /// The minute in which the certificate ends, UTC: `2027-11-24 10:38`.
    ends: String,
}

/// What they see otherwise than we do: `provider, tool: what`, then ours and theirs.
pub(crate) async fn compare(lab: &Lab, name: &str) -> Vec<(String, String)> {
    let address = lab.addresses.iter().find(|(known, _)| *known == name).unwrap().1.to_string();
    let ours = ours(lab, name).await;
    let mut differences = Vec::new();
    for (tool, theirs) in
        [("testssl.sh", testssl(lab, name, &address).await), ("sslyze", sslyze(lab, name, &address).await)]
    {
        let mut differ = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                differences.push((format!("{name}, {tool}: {what}"), format!("{ours} for {theirs}")));
            }
        };
        differ("versions", format!("{:?}", ours.versions), format!("{:?}", theirs.versions));
        let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| format!("{:?}", a.difference(b).collect::<Vec<_>>());
        differ("suites", only(&ours.suites, &theirs.suites), only(&theirs.suites, &ours.suites));
        differ("trusted", ours.trusted.to_string(), theirs.trusted.to_string());
        differ("ends", ours.ends.clone(), theirs.ends);
    }
    differences
}

async fn ours(lab: &Lab, name: &str) -> Opinion {
    let ended = audit(lab, &[&domain(name), "--format", "json"]).await;
    let report = ended.json();
    assert!(!findings(&report).is_empty());
    let (tls, certificate) =
        (&report["facts"]["servers"][0]["tls"]["known"], &report["facts"]["servers"][0]["certificate"]["known"]);
    let version = |name: &str| match name {
        "ssl3" => "SSL 3".to_owned(),
        tls => format!("TLS {}.{}", &tls[3..4], &tls[4..]),
    };
    let taken = tls["versions"].as_array().unwrap().iter().filter(|it| it[1]["known"] == true);
    let suites = tls["suites"].as_array().unwrap().iter();
    let ends = certificate["chain"][0]["not_after"].as_u64().unwrap();
    Opinion {
        versions: taken.map(|it| version(it[0].as_str().unwrap())).collect(),
        suites: suites
            .map(|it| format!("{} {}", version(it["version"].as_str().unwrap()), it["name"].as_str().unwrap()))
            .collect(),
        trusted: certificate["judged"]["chain"] == "trusted" && certificate["judged"]["validity"] == "valid",
        ends: format!("{} {:02}:{:02}", day(ends / 86_400), ends / 3_600 % 24, ends / 60 % 60),
    }
}

fn day(days: u64) -> Date {
    Date::from_unix_days(u32::try_from(days).unwrap())
}

async fn testssl(lab: &Lab, name: &str, address: &str) -> Opinion {
    let (ip, port) = address.rsplit_once(':').unwrap();
    let file = lab.directory.path().join(format!("{name}-testssl.json"));
    let mut command = Command::new(require("testssl").unwrap());
    command.args(["--quiet", "--warnings", "off", "--color", "0", "--nodns", "min", "--ip", ip, "--add-ca", "ca.pem"]);
    command.args(["-p", "-E", "-S", "--jsonfile"]).arg(&file).arg(format!("{}:{port}", domain(name)));
    let output = command.current_dir(lab.directory.path()).stdin(std::process::Stdio::null()).output().await.unwrap();
    let json = std::fs::read(&file).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let all: Value = serde_json::from_slice(&json).unwrap();
    let mut opinion = Opinion::default();
    let (mut chain, mut dates) = (false, false);
    for entry in all.as_array().unwrap() {
        let (id, finding) = (entry["id"].as_str().unwrap(), entry["finding"].as_str().unwrap());
        let version = |id: &str| match id.to_lowercase().as_str() {
            "sslv2" => "SSL 2".to_owned(),
            "sslv3" | "ssl3" => "SSL 3".to_owned(),
            "tls1" => "TLS 1.0".to_owned(),
            other => format!("TLS {}", other[3..].replace('_', ".")),
        };
        match id {
            "SSLv2" | "SSLv3" | "TLS1" | "TLS1_1" | "TLS1_2" | "TLS1_3" if finding.starts_with("offered") => {
                opinion.versions.insert(version(id));
            }
            "cert_chain_of_trust" => chain = finding.starts_with("passed"),
            "cert_expirationStatus" => dates = finding != "expired",
            "cert_notAfter" => opinion.ends = finding.to_owned(),
            _ => {}
        }
        if let Some((proto, _)) = id.strip_prefix("cipher-").and_then(|rest| rest.rsplit_once('_')) {
            let suite = finding.split_whitespace().last().unwrap();
            opinion.suites.insert(format!("{} {suite}", version(proto)));
        }
    }
    opinion.trusted = chain && dates;
    opinion
}

/// Where `scripts/prepare` puts it.
fn sslyze_program() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/sslyze/bin/sslyze")
}

/// Serial numbers and keys stand there as numbers that no machine word holds; here as 0.
fn without_huge_numbers(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for part in json.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        text.push_str(if digits.len() < 19 { digits } else { "0" });
        text.push_str(&part[digits.len()..]);
    }
    text
}

async fn sslyze(lab: &Lab, name: &str, address: &str) -> Opinion {
    let (ip, port) = address.rsplit_once(':').unwrap();
    let file = lab.directory.path().join(format!("{name}-sslyze.json"));
    let mut command = Command::new(sslyze_program());
    command.args(["--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--certinfo"]);
    command.args(["--certinfo_ca_file", "ca.pem"]).arg(format!("--json_out={}", file.display()));
    command.arg(format!("{}:{port}{{{ip}}}", domain(name))).current_dir(lab.directory.path());
    let output = command.stdin(std::process::Stdio::null()).output().await;
    let output = output.unwrap_or_else(|error| panic!("{error}: ./test --full puts sslyze there"));
    let json = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let all: Value = serde_json::from_str(&without_huge_numbers(&json)).unwrap();
    let result = &all["server_scan_results"][0]["scan_result"];
    let mut opinion = Opinion::default();
    for (key, version) in [
        ("ssl_2_0", "SSL 2"),
        ("ssl_3_0", "SSL 3"),
        ("tls_1_0", "TLS 1.0"),
        ("tls_1_1", "TLS 1.1"),
        ("tls_1_2", "TLS 1.2"),
        ("tls_1_3", "TLS 1.3"),
    ] {
        let accepted = result[format!("{key}_cipher_suites")]["result"]["accepted_cipher_suites"].as_array();
        for suite in accepted.unwrap_or(&Vec::new()) {
            opinion.versions.insert(version.to_owned());
            opinion.suites.insert(format!("{version} {}", suite["cipher_suite"]["name"].as_str().unwrap()));
        }
    }
    let deployment = &result["certificate_info"]["result"]["certificate_deployments"][0];
    let own = |it: &&Value| it["trust_store"]["name"] == "Supplied CA file";
    let validated = deployment["path_validation_results"].as_array().and_then(|all| all.iter().find(own));
    opinion.trusted = validated.is_some_and(|it| it["was_validation_successful"] == true);
    let ends = deployment["received_certificate_chain"][0]["not_valid_after"].as_str().unwrap_or_default();
    opinion.ends = ends.get(..16).unwrap_or_default().replace('T', " ");
    opinion
}
