//! What README.md and docs/linphone.md say is true, as far as a machine can tell.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use gateway::{Directory, command};
use std::fs;
use std::path::Path;
use std::process::Command;

fn readme() -> String {
    fs::read_to_string("README.md").unwrap()
}

fn guide() -> String {
    fs::read_to_string("docs/linphone.md").unwrap()
}

/// The examples in TOML, in their order.
fn examples(text: &str) -> Vec<&str> {
    text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The commands of the program that a text names.
fn commands(text: &str) -> Vec<&str> {
    let words = text.split("galene-sips ").skip(1).filter_map(|rest| rest.split([' ', '`', '\n']).next());
    words.filter(|word| word.chars().all(|c| c.is_ascii_lowercase()) && !word.is_empty()).collect()
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_galene-sips")).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_linked_file_exists() {
    for (text, directory, least) in [(readme(), ".", 6), (guide(), "docs", 2)] {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let files: Vec<&str> = links.filter(|link| !link.starts_with("https://")).collect();
        assert!(files.len() >= least);
        for file in files {
            let file = file.split('#').next().unwrap();
            assert!(Path::new(directory).join(file).exists(), "{directory}: {file}");
        }
    }
}

#[test]
fn the_first_screen_leads_to_a_real_phone() {
    let text = readme();
    let first_screen = text.lines().take(35).collect::<Vec<_>>().join("\n");
    assert!(first_screen.contains("./demo") && first_screen.contains("](docs/linphone.md)"));
    assert!(guide().contains("sip.linphone.org was not measured"));
}

#[test]
fn every_command_and_option_exists() {
    let text = readme();
    let named = commands(&text);
    for command in ["run", "check", "example", "status", "calls", "hangup", "reload", "peers"] {
        assert!(named.contains(&command), "README says nothing of {command}");
        help(&[command]);
    }
    let options = ["--account", "--password-file", "--group-file", "--config"];
    let run = help(&["run"]);
    assert!(options.iter().all(|option| text.contains(option) && run.contains(option)));
    let calls = help(&["calls"]);
    assert!(
        ["--json", "--admin-socket", "--config"].iter().all(|option| text.contains(option) && calls.contains(option))
    );
    let guide = guide();
    let named = commands(&guide);
    assert!(["check", "run", "status", "peers"].iter().all(|command| named.contains(command)), "{named:?}");
    named.into_iter().for_each(|command| drop(help(&[command])));
}

#[test]
fn the_configuration_is_a_good_one() {
    let (readme, guide) = (readme(), guide());
    let directory = Directory::new("readme");
    directory.secret("sip.password", "the SIP password\n");
    for (text, minimum) in [(&readme, "srtp"), (&guide, "zrtp")] {
        let config = examples(text)[0];
        assert!(config.lines().count() <= 12);
        directory.secret("config.toml", config);
        let output = command(directory.path(), &["check", "--config", "config.toml"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let meaning = String::from_utf8(output.stdout).unwrap();
        assert!(meaning.contains(&format!("at least {minimum}\n")), "{meaning}");
    }
}

#[test]
fn the_service_gets_its_password_and_keeps_its_state_as_the_guide_says() {
    let guide = guide();
    let [config, change] = examples(&guide)[..] else { panic!("two examples") };
    let (credential, store) = change.split_once("\n\n").unwrap();
    let old = config.lines().find(|line| line.starts_with("password_file")).unwrap();
    let directory = Directory::new("readme-service");
    directory.secret("config.toml", &format!("{}\n{store}", config.replace(old, credential)));
    directory.secret("sip-password", "the SIP password\n");
    let output = Command::new(env!("CARGO_BIN_EXE_galene-sips"))
        .args(["check", "--config", "config.toml"])
        .current_dir(directory.path())
        .env("CREDENTIALS_DIRECTORY", directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let unit = fs::read_to_string("docs/galene-sips.service").unwrap();
    assert_eq!(credential, "password_credential = \"sip-password\"");
    assert!(store.contains("directory = \"/var/lib/galene-sips\""));
    for line in [
        "User=galene-sips",
        "ExecStart=/usr/local/bin/galene-sips run --config /etc/galene-sips/config.toml",
        "LoadCredential=sip-password:/etc/galene-sips/sip.password",
        "StateDirectory=galene-sips",
        "RestartPreventExitStatus=78",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    for place in ["/usr/local/bin/", "/etc/galene-sips/", "--admin-socket /var/lib/galene-sips/admin.socket"] {
        assert!(guide.contains(place), "{place}");
    }
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let codes = "0 done, 1 refused or failed, 2 usage, 78 bad configuration";
    assert!(readme().contains(codes));
    assert!(help(&[]).contains(codes));
}

#[test]
fn the_two_commands_are_there_and_ci_runs_the_second() {
    for script in ["./demo", "./test"] {
        assert!(readme().contains(script));
        assert!(fs::read_to_string(script).unwrap().starts_with("#!"));
    }
    assert!(fs::read_to_string(".ci/run").unwrap().contains("exec ./test"));
}

#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let version = "1.89";
    for (file, line) in [
        ("README.md", format!("at least {version}")),
        ("Cargo.toml", format!("rust-version = \"{version}\"")),
        ("scripts/prepare", format!("oldest_rust={version}")),
    ] {
        assert!(fs::read_to_string(file).unwrap().contains(&line), "{file}: {line}");
    }
}
