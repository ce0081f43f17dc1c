//! `setup`: three answers become a configuration with which the gateway runs, or nothing is written at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use galene_sips_lab::certificates::{Authority, Kind, Tls};
use galene_sips_lab::group_server::{GroupDescription, GroupServer, GroupServerOptions, PRESENT};
use galene_sips_lab::registrar::{Registrar, RegistrarOptions};
use gateway::scene::{DOMAIN, PASSWORD, TOKEN};
use gateway::{Directory, Gateway, command_with_input};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::time::Duration;

struct World {
    directory: Directory,
    provider: Registrar,
    group: GroupServer,
}

impl World {
    async fn new(name: &str, certificate: Kind, permissions: &'static [&'static str]) -> World {
        let directory = Directory::new(name);
        let authority = Authority::new("Laboratory CA").unwrap();
        let tls = authority.issue(certificate, DOMAIN).unwrap().server_config(Tls::Both).unwrap();
        let options = RegistrarOptions::new(tls, DOMAIN).with_user("conference", PASSWORD);
        let provider = Registrar::start(options).await.unwrap();
        let tls = authority.issue_for_address([127, 0, 0, 1].into()).unwrap().server_config(Tls::Both).unwrap();
        let group = GroupDescription::open("Lab").with_token(TOKEN, permissions);
        let group = GroupServer::start(GroupServerOptions::new(tls).with_group("lab", group)).await.unwrap();
        directory.file("ca.pem", 0o644, &authority.pem());
        World { directory, provider, group }
    }

    fn invitation(&self) -> String {
        format!("{}?token={TOKEN}", self.group.url("127.0.0.1", "lab"))
    }

    /// Answers the three questions.
    async fn set_up(&self, answers: [&str; 3]) -> Output {
        let input = format!("{}\n", answers.join("\n"));
        let server = format!("sips:{}", self.provider.address());
        let path = self.directory.path().to_owned();
        let run = move || {
            let arguments = [
                "setup",
                "--config",
                "made.toml",
                "--server",
                &server,
                "--ca-file",
                "ca.pem",
                "--group-ca-file",
                "ca.pem",
            ];
            command_with_input(&path, &arguments, &input)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    fn made(&self) -> Vec<String> {
        let names = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> =
            names.map(|name| name.into_string().unwrap()).filter(|name| name != "ca.pem").collect();
        names.sort();
        names
    }
}

fn said(output: &Output) -> String {
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!all.contains(PASSWORD) && !all.contains(TOKEN), "a secret in:\n{all}");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn three_answers_make_a_configuration_with_which_the_gateway_runs() {
    let world = World::new("setup", Kind::Good, PRESENT).await;
    let address = format!("conference@{DOMAIN}");
    let output = world.set_up([&address, PASSWORD, &world.invitation()]).await;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for word in
        ["accepted, grade", "login with SHA-256", "Phone gateway", "expires", "galene-sips run --config made.toml"]
    {
        assert!(said.contains(word), "no \"{word}\" in:\n{said}");
    }
    assert_eq!(world.made(), ["made.password", "made.toml"]);
    let text = fs::read_to_string(world.directory.path().join("made.toml")).unwrap();
    assert!(text.lines().count() <= 12, "{text}");
    for file in world.made() {
        let mode = fs::metadata(world.directory.path().join(&file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert!(!world.provider.registered("conference", Duration::ZERO).await, "the trial's binding is gone");

    let gateway = Gateway::start(world.directory.path(), &["run", "--config", "made.toml"]);
    assert!(world.provider.registered("conference", Duration::from_secs(15)).await, "{}", gateway.output());

    // what is there is never overwritten
    let again = world.set_up([&address, PASSWORD, &world.invitation()]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));
    assert_eq!(fs::read_to_string(world.directory.path().join("made.toml")).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_is_not_written() {
    let address = format!("conference@{DOMAIN}");
    let world = World::new("setup-bad", Kind::Good, PRESENT).await;
    let invitation = world.invitation();
    let wrong_token = invitation.replace(TOKEN, "another");
    for (answers, words) in [
        (["nobody", PASSWORD, &invitation], vec!["no address", "user@domain"]),
        ([&address, "", &invitation], vec!["a password is needed"]),
        ([&address, PASSWORD, "https://127.0.0.1/group/lab/"], vec!["no token"]),
        ([&address, "wrong", &invitation], vec!["refuses the login"]),
        ([&address, PASSWORD, &wrong_token], vec!["does not let us in", "new one"]),
    ] {
        let output = world.set_up(answers).await;
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in words.into_iter().chain(["Nothing was written"]) {
            assert!(said.contains(word), "no \"{word}\" in:\n{said}");
        }
        assert!(world.made().is_empty(), "{:?}", world.made());
    }
    let silent = World::new("setup-silent", Kind::Good, &["message"]).await;
    let output = silent.set_up([&address, PASSWORD, &silent.invitation()]).await;
    assert!(output.status.code() == Some(1) && said(&output).contains("does not let its guests speak"));
    let wrong = World::new("setup-wrong", Kind::WrongName, PRESENT).await;
    let output = wrong.set_up([&address, PASSWORD, &wrong.invitation()]).await;
    assert!(output.status.code() == Some(1) && said(&output).contains("[certificate-name]"));
    assert!(silent.made().is_empty() && wrong.made().is_empty());
}
