//! What an audit leaves behind at a provider where the account is in use, and how it takes a provider that drops connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use gateway::command;
use gateway::scene::{DOMAIN, Scene};
use serde_json::Value;

/// Audits the scene's provider, with the gateway's own account or without one.
fn audit(scene: &Scene, with_account: bool) -> (Option<i32>, Value) {
    let (server, account) = (format!("sips:{}", scene.provider.address()), format!("conference@{DOMAIN}"));
    let mut arguments = vec!["audit", &server, "--expected-name", DOMAIN, "--ca-file", "ca.pem", "--format", "json"];
    if with_account {
        arguments.extend(["--account", &account, "--password-file", "sip.password"]);
    }
    let output = command(scene.directory.path(), &arguments);
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

fn severity<'a>(report: &'a Value, id: &str) -> &'a str {
    let all = report["findings"].as_array().unwrap();
    all.iter().find(|finding| finding["id"] == id).and_then(|finding| finding["severity"].as_str()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leaves_the_accounts_other_bindings_alone_and_takes_its_own_away() {
    let scene = Scene::start("audit-login").await;
    let contacts = || -> Vec<String> {
        let bindings = scene.provider.bindings("conference");
        bindings.iter().map(|binding| binding.contact.to_string()).collect()
    };
    let before = contacts();
    assert_eq!(before.len(), 1, "the gateway");
    let (code, report) = audit(&scene, true);
    assert_eq!((code, severity(&report, "S-LOGIN")), (Some(0), "pass"), "{report}");
    let account = &report["facts"]["account"]["known"];
    assert_eq!(account["registered"]["known"]["other_bindings"], 1, "{account}");
    assert_eq!(account["binding_removed"]["known"], true);
    assert_eq!(contacts(), before);
    // and calls still come to it
    let phone = scene.phone().await;
    phone.call(&format!("sip:conference@{DOMAIN}")).await.expect("the gateway is reached").bye().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_drops_one_connection_is_asked_again_and_one_that_drops_all_is_unknown() {
    let scene = Scene::start("audit-drops").await;
    scene.provider.behave(|behaviour| behaviour.drops = 1);
    let (code, report) = audit(&scene, false);
    // it answers OPTIONS with a refusal, which is an answer
    assert_eq!((code, severity(&report, "S-OPTIONS")), (Some(0), "info"), "{}", report["verdict"]);
    scene.provider.behave(|behaviour| behaviour.drops = u32::MAX);
    let (code, report) = audit(&scene, false);
    assert_eq!((code, severity(&report, "S-OPTIONS")), (Some(3), "unknown"), "{}", report["verdict"]);
}
