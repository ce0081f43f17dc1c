//! What README.md says is true, as far as a machine can tell.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use gateway::{Directory, command};
use std::fs;
use std::path::Path;
use std::process::Command;

fn readme() -> String {
    fs::read_to_string("README.md").unwrap()
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_galene-sips")).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_linked_file_exists() {
    let text = readme();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files: Vec<&str> = links.filter(|link| !link.starts_with("https://")).collect();
    assert!(files.len() > 5);
    for file in files {
        assert!(Path::new(file).exists(), "{file}");
    }
}

#[test]
fn every_command_and_option_exists() {
    let text = readme();
    let commands = text.split("galene-sips ").skip(1).filter_map(|rest| rest.split([' ', '`', '\n']).next());
    let commands: Vec<&str> =
        commands.filter(|word| word.chars().all(|c| c.is_ascii_lowercase()) && !word.is_empty()).collect();
    for command in ["run", "check", "example", "status", "calls", "hangup", "peers"] {
        assert!(commands.contains(&command), "README says nothing of {command}");
        help(&[command]);
    }
    let options = ["--account", "--password-file", "--group-file", "--config"];
    let run = help(&["run"]);
    assert!(options.iter().all(|option| text.contains(option) && run.contains(option)));
    let calls = help(&["calls"]);
    assert!(
        ["--json", "--admin-socket", "--config"].iter().all(|option| text.contains(option) && calls.contains(option))
    );
}

#[test]
fn the_configuration_is_a_good_one() {
    let text = readme();
    let config = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let directory = Directory::new("readme");
    directory.secret("config.toml", config);
    directory.secret("sip.password", "the SIP password\n");
    let output = command(directory.path(), &["check", "--config", "config.toml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
