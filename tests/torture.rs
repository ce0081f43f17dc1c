//! The messages of RFC 4475 and RFC 5118 over the running program's own TLS connection: each gets an answer that it may
//! get, or none, and none keeps the next good message from being answered.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips::sip::{CSeq, Message, Method, NameAddr, Request, Response};
use galene_sips_lab::registrar::FlowId;
use galene_sips_lab::scene::{GATEWAY, Scene};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// A message that is still incomplete after 64·T1 is given up.
const INCOMPLETE: Duration = Duration::from_secs(32);
/// How soon things happen: an answer, or the next connection after one that had worked.
const SOON: Duration = Duration::from_secs(5);

/// What every message is answered with, 100 left out; `false`: the place in the stream is lost and the connection closed.
const ANSWERS: [(&str, &[u16], bool); 61] = [
    ("badaspec", &[200], true),
    ("badbranch", &[400], true),
    ("baddate", &[488], true),
    ("baddn", &[200], true),
    ("badinv01", &[400], true),
    ("badvers", &[505], true),
    ("bcast", &[], true),
    ("bext01", &[420], true),
    ("bigcode", &[], true),
    ("cparam01", &[405], true),
    ("cparam02", &[405], true),
    // On a stream the tail is a second message. It has no Contact, and five bytes more than it announces.
    ("dblreq", &[405, 400], false),
    ("esc01", &[488], true),
    ("esc02", &[501], true),
    ("escnull", &[405], true),
    ("escruri", &[400], true),
    // No Via to send a response by.
    ("extra-test", &[], true),
    ("insuf", &[400], true),
    ("intmeth", &[501], true),
    ("inv2543", &[400], false),
    ("invut", &[415], true),
    ("longreq", &[488], true),
    ("ltgtruri", &[400], true),
    ("lwsdisp", &[200], true),
    ("lwsruri", &[400], true),
    ("lwsstart", &[400], true),
    ("mcl01", &[400], false),
    ("mismatch01", &[400], true),
    ("mismatch02", &[400], true),
    ("mpart01", &[405], true),
    ("multi01", &[400], true),
    ("ncl", &[400], false),
    ("noreason", &[], true),
    ("novelsc", &[416], true),
    ("quotbal", &[400], true),
    ("regaut01", &[405], true),
    ("regbadct", &[400], true),
    ("regescrt", &[405], true),
    ("scalar02", &[400], true),
    ("scalarlg", &[], true),
    ("sdp01", &[406], true),
    ("semiuri", &[200], true),
    ("transports", &[200], true),
    ("trws", &[400], true),
    ("unkscm", &[416], true),
    ("unksm2", &[405], true),
    ("unreason", &[], true),
    ("wsinv", &[481], true),
    ("zeromf", &[200], true),
    // RFC 5118; the only wrong one is ipv6-bad.
    ("ipv4-mapped-ipv6", &[488], true),
    ("ipv6-bad", &[400], true),
    ("ipv6-bug-abnf-3-colons", &[200], true),
    ("ipv6-correct-abnf-2-colons", &[200], true),
    ("ipv6-good", &[405], true),
    ("ipv6-in-sdp", &[488], true),
    ("mult-ip-in-header", &[481], true),
    ("mult-ip-in-sdp", &[488], true),
    ("port-ambiguous", &[405], true),
    ("port-unambiguous", &[405], true),
    ("via-received-param-no-delim", &[200], true),
    ("via-received-param-with-delim", &[481], true),
];

/// It announces a body that does not come.
const ENDLESS: &str = "clerr";

fn data(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(directory)
}

fn message(name: &str) -> Vec<u8> {
    let file = ["rfc4475", "rfc5118"].map(|directory| data(directory).join(format!("{name}.dat")));
    let mut bytes = fs::read(file.iter().find(|file| file.exists()).unwrap()).unwrap();
    if name == "baddn" {
        bytes.extend(b"\r\n"); // the archive's copy lacks the empty line
    }
    bytes
}

/// A request that is always answered 200.
fn options(number: usize) -> (String, Vec<u8>) {
    let call_id = format!("good-{number}");
    let text = format!(
        "OPTIONS sip:{GATEWAY}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKgood{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:tester@sip.lab.test>;tag=t\r\nTo: <sip:{GATEWAY}@sip.lab.test>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    (call_id, text.into_bytes())
}

/// The ACK of a refusal (RFC 3261 §17.1.1.3), if the INVITE has what it is made of.
fn ack(invite: &Request, refusal: &Response) -> Option<Vec<u8>> {
    let mut ack = Request::new(Method::ACK, invite.uri.clone());
    ack.headers.push("Via", invite.headers.list("Via").next()?);
    ack.headers.push("From", invite.headers.get("From")?);
    ack.headers.push("To", refusal.headers.get("To")?);
    ack.headers.push("Call-ID", invite.headers.get("Call-ID")?);
    ack.headers.push("CSeq", CSeq { number: invite.headers.cseq().ok()?.number, method: Method::ACK });
    Some(ack.to_bytes())
}

/// The gateway's connection as the provider sees it.
fn flow(scene: &Scene) -> Option<FlowId> {
    scene.provider.bindings(GATEWAY).last().map(|binding| binding.flow)
}

/// The responses of the gateway after the first entries of the provider's log.
fn responses(scene: &Scene, after: usize) -> Vec<Response> {
    let received = scene.provider.log().split_off(after).into_iter().filter(|entry| entry.from_peer);
    received
        .filter_map(|entry| match entry.message {
            Message::Response(response) => Some(response),
            Message::Request(_) => None,
        })
        .collect()
}

async fn wait(patience: Duration, what: &str, scene: &Scene, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < patience, "{what}: not within {patience:?}\n{}", scene.log());
        sleep(Duration::from_millis(5)).await;
    }
}

/// Sends a good message and waits for its answer.
async fn good_message_is_answered(scene: &Scene, number: usize, after: &str) {
    let before = scene.provider.log().len();
    let (call_id, good) = options(number);
    assert!(scene.provider.inject(GATEWAY, good));
    wait(SOON, &format!("a good message after {after}"), scene, || answers(scene, before, &call_id)).await;
}

fn answers(scene: &Scene, after: usize, call_id: &str) -> bool {
    let is_it = |response: &Response| response.status == 200 && response.headers.call_id() == Ok(call_id);
    responses(scene, after).iter().any(is_it)
}

/// Sends a message and a good one right behind it. Returns the responses, 100 left out, and whether the connection
/// stayed; if not, the good message comes again over the next one.
async fn exchange(scene: &Scene, name: &str, number: usize) -> (Vec<Response>, bool) {
    let before = scene.provider.log().len();
    let old = flow(scene);
    let (call_id, good) = options(number);
    assert!(scene.provider.inject(GATEWAY, [message(name), good].concat()));
    wait(SOON, name, scene, || answers(scene, before, &call_id) || flow(scene) != old).await;
    let stays = answers(scene, before, &call_id);
    if !stays {
        wait(SOON, &format!("registered after {name}"), scene, || flow(scene).is_some_and(|new| Some(new) != old))
            .await;
        good_message_is_answered(scene, number, name).await;
    }
    let of_the_message =
        |response: &Response| response.status > 100 && response.headers.call_id() != Ok(call_id.as_str());
    (responses(scene, before).into_iter().filter(of_the_message).collect(), stays)
}

/// What every response has to have of its request (RFC 3261 §8.2.6.2), and a status of its own (§21.4, §21.5).
fn assert_answers(name: &str, request: &Request, response: &Response) {
    let same = |header| request.headers.all(header).eq(response.headers.all(header));
    for header in ["Via", "From", "Call-ID", "CSeq"] {
        assert!(same(header), "{name}: {header} of {response:?}");
    }
    let has_tag = |to: NameAddr| to.tag().is_some();
    assert_eq!(request.headers.to().is_ok(), response.headers.to().is_ok_and(has_tag), "{name}: {response:?}");
    let wanted = match response.status {
        200 | 405 | 501 => "Allow",
        406 | 488 => "Warning",
        415 => "Accept",
        420 => "Unsupported",
        _ => "Via",
    };
    assert!(response.headers.get(wanted).is_some(), "{name}: no {wanted} in {response:?}");
}

fn labels() -> Vec<Value> {
    let labels: Value = serde_json::from_slice(&fs::read(data("rfc4475").join("labels.json")).unwrap()).unwrap();
    labels["messages"].as_array().unwrap().clone()
}

/// Whether the label of a message allows the answers; `None`: it has no label.
fn is_allowed(labels: &[Value], name: &str, statuses: &[u16]) -> Option<bool> {
    let label = labels.iter().find(|label| label["name"] == name)?;
    if label["kind"] == "response" {
        return Some(statuses.is_empty());
    }
    let allowed = label["expect"]["status_any_of"].as_array();
    let allows =
        |status: &u16| (200..700).contains(status) && allowed.is_none_or(|list| list.iter().any(|s| s == *status));
    Some(!statuses.is_empty() && statuses.iter().all(allows))
}

#[test]
fn no_message_is_left_out() {
    let mut files: Vec<String> = ["rfc4475", "rfc5118"]
        .iter()
        .flat_map(|directory| fs::read_dir(data(directory)).unwrap())
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".dat")?.to_owned()))
        .collect();
    let mut sent: Vec<&str> = ANSWERS.iter().map(|answer| answer.0).chain([ENDLESS]).collect();
    files.sort();
    sent.sort_unstable();
    assert_eq!(files, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_gets_an_answer_that_it_may_get_and_the_next_one_is_answered_too() {
    let scene = Scene::start(Path::new(env!("CARGO_BIN_EXE_galene-sips")), "debug").await.unwrap();
    let labels = labels();
    for (number, (name, statuses, stays)) in ANSWERS.into_iter().enumerate() {
        let (responses, stayed) = exchange(&scene, name, number).await;
        let got: Vec<u16> = responses.iter().map(|response| response.status).collect();
        assert_eq!((got.as_slice(), stayed), (statuses, stays), "{name}: {responses:#?}");
        assert_ne!(is_allowed(&labels, name, &got), Some(false), "{name}: {got:?}");
        let (Ok(Message::Request(request)), Some(first)) = (Message::parse(&message(name)), responses.first()) else {
            continue;
        };
        assert_answers(name, &request, first);
        // An answer to an ACK would be seen after the next message.
        if let Some(ack) = ack(&request, first).filter(|_| request.method == Method::INVITE && stayed) {
            scene.provider.inject(GATEWAY, ack);
        }
    }
    assert!(scene.calls().await.unwrap().is_empty());
    let (_, log) = scene.stop().await.unwrap();
    assert_says_little(&log);
}

/// Nobody fills the log: a few clean lines for each message, and never its text.
fn assert_says_little(log: &str) {
    assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "control characters");
    let lines = log.lines().count();
    assert!(lines < 5 * ANSWERS.len(), "{lines} lines for {} messages\n{log}", ANSWERS.len());
    for (name, ..) in ANSWERS {
        let bytes = message(name);
        let text = String::from_utf8_lossy(&bytes);
        for line in text.lines().skip(1).map(str::trim).filter(|line| line.len() > 12) {
            assert!(!log.contains(line), "{name}: {line}");
        }
    }
}

/// Sends bytes that are no whole message and waits until they are given up.
async fn given_up(what: &str, bytes: &[u8], statuses: &[u16]) {
    let scene = Scene::start(Path::new(env!("CARGO_BIN_EXE_galene-sips")), "debug").await.unwrap();
    let old = flow(&scene);
    let before = scene.provider.log().len();
    let start = Instant::now();
    assert!(scene.provider.inject(GATEWAY, bytes));
    wait(INCOMPLETE + SOON, what, &scene, || flow(&scene) != old).await;
    assert!(start.elapsed() > INCOMPLETE - Duration::from_secs(1), "{what}: given up after {:?}", start.elapsed());
    let got: Vec<u16> = responses(&scene, before).iter().map(|response| response.status).collect();
    assert_eq!(got, statuses, "{what}\n{}", scene.log());
    wait(SOON, &format!("registered after {what}"), &scene, || flow(&scene).is_some_and(|new| Some(new) != old)).await;
    good_message_is_answered(&scene, 0, what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_never_ends_is_given_up_after_32_s() {
    let (no_body, head) = (message(ENDLESS), message("lwsdisp"));
    let half = &head[..head.len() / 2];
    tokio::join!(given_up("a body that does not come", &no_body, &[400]), given_up("half of a head", half, &[]));
}
