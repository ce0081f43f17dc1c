//! The laboratory's group server, message by message, and sound through it. Every expectation here is what a real
//! Galène does: with `GALENE_BIN` (and perhaps `GALENE_STATIC`) in the environment the same tests run against that one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use futures_util::{SinkExt, StreamExt};
use galene_sips::galene::Event;
use galene_sips_lab::certificates::server_name;
use galene_sips_lab::group_peer::{GroupPeer, JoinOptions};
use galene_sips_lab::group_server::{GroupDescription, GroupServerOptions};
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::real::galene::INVITATION;
use galene_sips_lab::real::server::{ELSEWHERE, HOST, OPERATOR, Server};
use galene_sips_lab::sound::sine;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

const SOON: Duration = Duration::from_secs(3);

/// The server's protocol without a client's comfort.
trait Raw {
    async fn tls(&self) -> TlsStream<TcpStream>;
    /// `GET path`, as the status line, all fields in lower case, and the body.
    async fn get(&self, path: &str) -> (String, String, String);
    async fn connect(&self, id: &str) -> Client;
    /// Connects and joins `conf`; the messages until the client's own `user add` are read and checked.
    async fn join(&self, id: &str, name: &str, password: &str) -> Client;
}

impl Raw for Server {
    async fn tls(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let connector = TlsConnector::from(self.authority().client_config().unwrap());
        connector.connect(server_name(HOST).unwrap(), stream).await.unwrap()
    }

    async fn get(&self, path: &str) -> (String, String, String) {
        let mut stream = self.tls().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}:8443\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let (status, fields) = head.split_once("\r\n").unwrap();
        (status.to_owned(), fields.to_ascii_lowercase(), body.to_owned())
    }

    async fn connect(&self, id: &str) -> Client {
        let (socket, _) = tokio_tungstenite::client_async(format!("wss://{HOST}/ws"), self.tls().await).await.unwrap();
        let mut client = Client { socket, id: id.into(), name: String::new() };
        client.send(json!({ "type": "handshake", "version": ["2"], "id": id })).await;
        assert_eq!(client.next().await, json!({ "type": "handshake", "version": ["2"] }));
        client
    }

    async fn join(&self, id: &str, name: &str, password: &str) -> Client {
        let mut client = self.connect(id).await;
        client
            .send(json!({ "type": "join", "kind": "join", "group": "conf", "username": name, "password": password }))
            .await;
        client.name = name.into();
        assert_eq!(client.next().await["kind"], "join");
        loop {
            let message = client.next().await;
            if message["type"] == "user" && message["id"] == id {
                return client;
            }
            assert_eq!(message["type"], "chathistory", "{message}");
        }
    }
}

struct Client {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    id: String,
    name: String,
}

impl Client {
    async fn send(&mut self, message: Value) {
        self.socket.send(Frame::text(message.to_string())).await.unwrap();
    }

    /// Sends a message with our `source` and `username`.
    async fn say(&mut self, mut message: Value) {
        message["source"] = self.id.clone().into();
        message["username"] = self.name.clone().into();
        self.send(message).await;
    }

    /// The next message without what differs from run to run: times and the ids of chat messages.
    async fn next(&mut self) -> Value {
        let frame = tokio::time::timeout(SOON, self.socket.next()).await.expect("a message").unwrap().unwrap();
        let mut message: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap_or_else(|_| panic!("{frame:?}"));
        let object = message.as_object_mut().unwrap();
        object.remove("time");
        if object["type"] == "chat" || object["type"] == "chathistory" {
            object.remove("id");
        }
        message
    }

    /// The Close frame that comes next.
    async fn closed(&mut self) -> (u16, String) {
        match tokio::time::timeout(SOON, self.socket.next()).await.expect("a frame") {
            Some(Ok(Frame::Close(Some(frame)))) => (frame.code.into(), frame.reason.to_string()),
            Some(Ok(Frame::Close(None))) => (1005, String::new()),
            other => panic!("{other:?}"),
        }
    }

    /// Nothing more comes within a moment.
    async fn silent(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(150), self.socket.next()).await;
        assert!(next.is_err(), "{next:?}");
    }
}

fn user(kind: &str, id: &str, name: &str, permissions: &[&str]) -> Value {
    let mut user = json!({ "type": "user", "kind": kind, "id": id, "username": name });
    if !permissions.is_empty() {
        user["permissions"] = json!(permissions);
    }
    user
}

fn server_says(kind: &str, dest: &str, text: &str) -> Value {
    json!({ "type": "usermessage", "kind": kind, "dest": dest, "privileged": true, "value": text })
}

#[tokio::test]
async fn the_status_says_where_the_group_is() {
    let server = Server::start().await.unwrap();
    let (status, fields, body) = server.get("/group/conf/.status").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(fields.contains("content-type: application/json"), "{fields}");
    let expected = json!({
        "name": "conf", "displayName": "Lab",
        "location": format!("https://{HOST}:8443/group/conf/"), "endpoint": format!("wss://{HOST}:8443/ws"),
    });
    let mut got: Value = serde_json::from_str(&body).unwrap();
    got.as_object_mut().unwrap().remove("clientCount");
    assert_eq!(got, expected);

    let (status, ..) = server.get("/group/nowhere/.status").await;
    assert_eq!(status, "HTTP/1.1 404 Not Found");
    let (status, fields, _) = server.get("/group/moved/").await;
    assert_eq!(status, "HTTP/1.1 308 Permanent Redirect");
    assert!(fields.contains(&format!("location: {ELSEWHERE}")), "{fields}");
    let (_, _, body) = server.get("/group/moved/.status").await;
    let got: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(got, json!({ "name": "moved", "redirect": ELSEWHERE }));
    let (status, fields, _) = server.get("/group/conf/.status.json").await;
    assert_eq!(status, "HTTP/1.1 308 Permanent Redirect");
    assert!(fields.contains("location: /group/conf/.status"), "{fields}");
}

#[tokio::test]
async fn a_server_with_a_canonical_name_sends_everybody_there() {
    // Only the laboratory's: the real one takes the name from a file that the tests do not write.
    let change = |options: GroupServerOptions| GroupServerOptions {
        canonical_host: Some("other.lab.example".into()),
        ..options.with_group("conf", GroupDescription::open("Lab"))
    };
    let server = Server::start_laboratory(change).await.unwrap();
    let (status, fields, _) = server.get("/group/conf/.status").await;
    assert_eq!(status, "HTTP/1.1 301 Moved Permanently");
    assert!(fields.contains("location: https://other.lab.example/group/conf/.status"), "{fields}");
}

#[tokio::test]
async fn joining_and_leaving_is_told_in_order() {
    let server = Server::start().await.unwrap();
    let mut ann = server.connect("ann").await;
    ann.send(json!({ "type": "join", "kind": "join", "group": "conf", "username": "Ann" })).await;
    let mut joined = ann.next().await;
    joined["status"].as_object_mut().unwrap().remove("canChangePassword");
    let expected = json!({
        "type": "joined", "kind": "join", "group": "conf", "username": "Ann",
        "permissions": ["present", "message"],
        "status": { "name": "conf", "displayName": "Lab", "clientCount": 1 },
        "rtcConfiguration": {},
    });
    assert_eq!(joined, expected);
    let speaker = ["present", "message"];
    assert_eq!(ann.next().await, user("add", "ann", "Ann", &speaker));

    let mut bob = server.join("bob", "Bob", "").await;
    assert_eq!(bob.next().await, user("add", "ann", "Ann", &speaker));
    assert_eq!(ann.next().await, user("add", "bob", "Bob", &speaker));

    bob.send(json!({ "type": "ping" })).await;
    assert_eq!(bob.next().await, json!({ "type": "pong" }));
    bob.send(json!({ "type": "join", "kind": "leave", "group": "conf" })).await;
    let left = bob.next().await;
    assert_eq!((&left["type"], &left["kind"], &left["group"]), (&json!("joined"), &json!("leave"), &json!("conf")));
    assert!(left.get("permissions").is_none());
    assert_eq!(ann.next().await, user("delete", "bob", "Bob", &[]));

    drop(ann);
    let mut bob = server.join("bob", "Bob", "").await;
    bob.silent().await;
}

#[tokio::test]
async fn refusals_have_galenes_words_and_leave_the_connection_open() {
    let server = Server::start().await.unwrap();
    let mut client = server.connect("x").await;
    let cases = [
        (json!({ "group": "conf", "username": "op", "password": "wrong" }), "not authorised"),
        (json!({ "group": "conf", "username": "/x" }), "not authorised"),
        (json!({ "group": "conf", "username": "x", "token": "bad" }), "not authorised"),
        (json!({ "group": "closed", "username": "x" }), "not authorised"),
        (json!({ "group": "nowhere", "username": "x" }), "group does not exist"),
        (json!({ "group": "conf" }), "internal server error"),
    ];
    for (mut join, text) in cases {
        join["type"] = "join".into();
        join["kind"] = "join".into();
        let begun = Instant::now();
        client.send(join.clone()).await;
        let refused = client.next().await;
        assert_eq!(refused["kind"], "fail", "{refused}");
        assert_eq!(refused["value"], text, "{join}");
        assert_eq!(refused["group"], join["group"]);
        assert_eq!(begun.elapsed() >= Duration::from_millis(200), text == "not authorised", "{join}");
    }
    client.send(json!({ "type": "join", "kind": "join", "group": "conf", "username": "x" })).await;
    assert_eq!(client.next().await["kind"], "join");
}

#[tokio::test]
async fn an_invitation_needs_a_name_of_ones_own() {
    let server = Server::start().await.unwrap();
    let mut client = server.connect("x").await;
    let join = |name: Option<&str>| json!({ "type": "join", "kind": "join", "group": "conf", "username": name, "token": INVITATION });
    client.send(join(None)).await;
    let refused = client.next().await;
    assert_eq!((&refused["error"], &refused["value"]), (&json!("need-username"), &json!("username required")));
    client.send(join(Some("op"))).await;
    let refused = client.next().await;
    assert_eq!(refused["error"], "duplicate-username");
    assert_eq!(refused["value"], "not authorised: this username is taken");
    client.send(join(Some("Guest"))).await;
    let joined = client.next().await;
    assert_eq!((&joined["kind"], &joined["username"]), (&json!("join"), &json!("Guest")));
}

#[tokio::test]
async fn chat_goes_to_all_and_is_kept_for_those_who_come_later() {
    let server = Server::start().await.unwrap();
    let mut op = server.join("op-id", OPERATOR.0, OPERATOR.1).await;
    let mut ann = server.join("ann", "Ann", "").await;
    ann.next().await;
    op.next().await;
    let said = |source: &str, name: &str, text: &str| json!({ "type": "chat", "source": source, "username": name, "value": text });

    ann.say(json!({ "type": "chat", "value": "hello" })).await;
    assert_eq!(ann.next().await, said("ann", "Ann", "hello"));
    assert_eq!(op.next().await, said("ann", "Ann", "hello"));

    op.say(json!({ "type": "chat", "noecho": true, "value": "!sas 3 ok" })).await;
    let mut expected = said("op-id", "op", "!sas 3 ok");
    expected["privileged"] = true.into();
    expected["noecho"] = true.into();
    assert_eq!(ann.next().await, expected);

    op.say(json!({ "type": "chat", "dest": "ann", "value": "for you" })).await;
    let mut expected = said("op-id", "op", "for you");
    expected["privileged"] = true.into();
    expected["dest"] = "ann".into();
    assert_eq!(ann.next().await, expected);
    op.silent().await;

    ann.say(json!({ "type": "chat", "dest": "nobody", "value": "?" })).await;
    assert_eq!(ann.next().await, server_says("error", "ann", "user unknown"));
    ann.say(json!({ "type": "chat", "kind": "caption", "value": "?" })).await;
    assert_eq!(ann.next().await, server_says("error", "ann", "not authorised"));

    let mut late = server.connect("late").await;
    late.send(json!({ "type": "join", "kind": "join", "group": "conf", "username": "Late" })).await;
    late.next().await;
    let kept = |source: &str, name: &str, text: &str| json!({ "type": "chathistory", "source": source, "username": name, "value": text });
    assert_eq!(late.next().await, kept("ann", "Ann", "hello"));
    assert_eq!(late.next().await, kept("op-id", "op", "!sas 3 ok"));
    assert_eq!(late.next().await["type"], "user");
}

#[tokio::test]
async fn an_operator_kicks_mutes_and_takes_permissions() {
    let server = Server::start().await.unwrap();
    let mut op = server.join("op-id", OPERATOR.0, OPERATOR.1).await;
    let mut ann = server.join("ann", "Ann", "").await;
    ann.next().await;
    op.next().await;

    ann.say(json!({ "type": "useraction", "kind": "kick", "dest": "op-id" })).await;
    assert_eq!(ann.next().await, server_says("error", "ann", "not authorised"));
    op.say(json!({ "type": "usermessage", "kind": "mute", "dest": "ann" })).await;
    let mute = json!({ "type": "usermessage", "kind": "mute", "source": "op-id", "username": "op", "dest": "ann", "privileged": true });
    assert_eq!(ann.next().await, mute);

    op.say(json!({ "type": "useraction", "kind": "unpresent", "dest": "ann" })).await;
    let changed = ann.next().await;
    assert_eq!((&changed["type"], &changed["kind"]), (&json!("joined"), &json!("change")));
    assert_eq!(changed["permissions"], json!(["message"]));
    assert_eq!(changed["rtcConfiguration"], json!({}));
    assert_eq!(ann.next().await, user("change", "ann", "Ann", &["message"]));
    assert_eq!(op.next().await, user("change", "ann", "Ann", &["message"]));

    ann.say(json!({ "type": "offer", "id": "s", "label": "camera", "sdp": "v=0\r\n" })).await;
    assert_eq!(ann.next().await, json!({ "type": "abort", "id": "s" }));
    assert_eq!(ann.next().await, server_says("error", "ann", "not authorised"));

    op.say(json!({ "type": "useraction", "kind": "kick", "dest": "nobody", "value": "x" })).await;
    assert_eq!(op.next().await, server_says("error", "op-id", "no such user"));
    op.say(json!({ "type": "useraction", "kind": "kick", "dest": "ann", "value": "bye" })).await;
    let mut kicked = server_says("kicked", "ann", "bye");
    kicked["id"] = "op-id".into();
    kicked["username"] = "op".into();
    assert_eq!(ann.next().await, kicked);
    assert_eq!(ann.closed().await, (1000, "kicked out (bye) by op".into()));
    assert_eq!(op.next().await, user("delete", "ann", "Ann", &[]));
}

#[tokio::test]
async fn unknown_streams_are_closed_and_broken_messages_end_the_connection() {
    let server = Server::start().await.unwrap();
    let mut ann = server.join("ann", "Ann", "").await;
    for kind in ["answer", "abort"] {
        ann.say(json!({ "type": kind, "id": "s", "sdp": "v=0" })).await;
        assert_eq!(ann.next().await, json!({ "type": "close", "id": "s" }), "{kind}");
    }
    for kind in ["close", "renegotiate"] {
        ann.say(json!({ "type": kind, "id": "s" })).await;
    }
    ann.say(json!({ "type": "ice", "id": "s", "candidate": { "candidate": "x" } })).await;
    ann.silent().await;

    let faults = [
        (json!({ "type": "ice", "id": "s" }), 1002, "null candidate"),
        (json!({ "type": "abort" }), 1002, "empty id"),
        (json!({ "type": "chat", "source": "somebody" }), 1002, "spoofed client id"),
        (json!({ "type": "chat", "username": "Somebody" }), 1002, "spoofed username"),
        (json!({ "type": "nonsense" }), 1002, "unexpected message"),
        (
            json!({ "type": "join", "kind": "join", "group": "conf", "username": "Bob" }),
            1002,
            "cannot join multiple groups",
        ),
        (json!({ "type": "groupaction", "kind": "nonsense" }), 1000, "unknown group action"),
        (json!({ "type": "join", "kind": "leave", "group": "closed" }), 1000, "you are not joined"),
    ];
    for (number, (message, code, text)) in faults.into_iter().enumerate() {
        let id = format!("client{number}");
        let mut client = server.join(&id, "Bob", "").await;
        client.next().await; // ann is there
        client.send(message.clone()).await;
        assert_eq!(client.next().await, server_says("error", &id, text), "{message}");
        assert_eq!(client.closed().await, (code, text.into()), "{message}");
    }
    let mut client = server.join("last", "Bob", "").await;
    client.next().await;
    client.send(json!({ "type": "requestStream", "id": "s", "request": [] })).await;
    assert_eq!(client.closed().await.0, 1011);

    let (socket, _) = tokio_tungstenite::client_async(format!("wss://{HOST}/ws"), server.tls().await).await.unwrap();
    let mut rude = Client { socket, id: String::new(), name: String::new() };
    rude.send(json!({ "type": "join" })).await;
    assert_eq!(rude.closed().await, (1002, "you must handshake first".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talker_is_heard_by_those_who_listen_and_by_those_who_come_later() {
    let server = Server::start().await.unwrap();
    let ann = server.peer("Ann").await.unwrap();
    let bob = server.peer("Bob").await.unwrap();
    let deaf = GroupPeer::join(JoinOptions::new(server.url("conf"), "Deaf").deaf()).await.unwrap();
    let begun = Instant::now();
    let speech = tokio::spawn(async move {
        ann.publish(sine(48_000, 440.0, 0.5, 3 * 48_000)).await;
        ann
    });
    assert!(bob.wait_until_heard("Ann", SOON).await);
    let delay = begun.elapsed();
    assert!(delay >= Duration::from_millis(200), "Galène waits 200 ms before it hands a stream on: {delay:?}");
    let late = server.peer("Late").await.unwrap();
    assert!(late.wait_until_heard("Ann", SOON).await);
    let ann = speech.await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for listener in [&bob, &late] {
        let hearing = listener.hearing().remove("Ann").unwrap();
        assert!(hearing.packets > 50, "{} packets", hearing.packets);
        assert_eq!(hearing.lost, 0);
        // The first packets are the encoder's onset.
        let share = tone_share(&hearing.samples[4_800..], 48_000, 440.0);
        assert!(share > 0.95, "{share}");
    }
    assert!(deaf.hearing().is_empty());
    assert!(ann.hearing().is_empty(), "nobody hears himself");

    let seen = bob.events().len();
    ann.leave().await;
    let ended = bob.wait_after(seen, SOON, |event| matches!(event, Event::StreamEnded { .. })).await;
    assert!(ended.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_present_loses_the_stream_and_may_publish_again_later() {
    let server = Server::start().await.unwrap();
    let op = server.operator().await.unwrap();
    let ann = server.peer("Ann").await.unwrap();
    op.wait_for(SOON, |event| matches!(event, Event::User { username, .. } if username == "Ann")).await.unwrap();
    ann.publish(sine(48_000, 440.0, 0.5, 48_000)).await;
    assert!(op.wait_until_heard("Ann", SOON).await);

    let (ann_seen, op_seen) = (ann.events().len(), op.events().len());
    op.user_action("unpresent", "Ann", "");
    let stopped = ann.wait_after(ann_seen, SOON, |event| matches!(event, Event::Publishing(false))).await;
    assert!(stopped.is_some());
    let ended = op.wait_after(op_seen, SOON, |event| matches!(event, Event::StreamEnded { .. })).await;
    assert!(ended.is_some());

    op.clear_heard();
    let ann_seen = ann.events().len();
    op.user_action("present", "Ann", "");
    let may = |event: &Event| matches!(event, Event::PermissionsChanged { .. });
    assert!(ann.wait_after(ann_seen, SOON, may).await.is_some());
    ann.publish(sine(48_000, 440.0, 0.5, 48_000)).await;
    assert!(op.wait_until_heard("Ann", SOON).await);
}

fn tone(seconds: usize) -> Vec<i16> {
    sine(48_000, 440.0, 0.5, seconds * 48_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_may_have_ice_restarted_without_a_loss() {
    let server = Server::start().await.unwrap();
    let (ann, bob) = (server.peer("Ann").await.unwrap(), server.peer("Bob").await.unwrap());
    let offers = || bob.messages().into_iter().filter(|text| text.contains(r#""type":"offer""#)).collect::<Vec<_>>();
    let restarting = async {
        assert!(bob.wait_until_heard("Ann", SOON).await);
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let offer: Value = serde_json::from_str(&offers()[0]).unwrap();
            bob.raw(json!({ "type": "renegotiate", "id": offer["id"] }));
        }
    };
    tokio::join!(ann.publish(tone(3)), restarting);
    assert_eq!(offers().len(), 3);
    let ufrag = |text: &String| text.split("ice-ufrag:").nth(1).unwrap().split("\\r").next().unwrap().to_owned();
    assert_ne!(ufrag(&offers()[0]), ufrag(&offers()[1]), "a restart has new credentials (RFC 8445 §9)");
    let hearing = bob.hearing().remove("Ann").unwrap();
    assert!(hearing.lost <= 2 * server.loss_at_restart(), "{} lost", hearing.lost);
    assert_eq!(hearing.streams, 1);
    assert!(hearing.packets > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_stream_is_closed_and_not_offered_again() {
    let server = Server::start().await.unwrap();
    let (ann, bob) = (server.peer("Ann").await.unwrap(), server.peer("Bob").await.unwrap());
    bob.ignore(ann.id());
    ann.publish(tone(1)).await;
    ann.unpublish();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(bob.hearing().is_empty());
    let is = |text: &String, kind: &str| text.contains(&format!(r#""type":"{kind}""#));
    // A request that is handled while the stream has no track yet is answered with one more `close`, before the offer; the
    // client then asks again, and is offered the stream once more.
    let messages: Vec<String> = bob.messages().into_iter().skip_while(|text| !is(text, "offer")).collect();
    let count = |kind: &str| messages.iter().filter(|text| is(text, kind)).count();
    assert!((1..=2).contains(&count("offer")), "{messages:#?}");
    assert_eq!(count("close"), count("offer") + 1, "one for each abort, one when the sender stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_goes_on_where_it_stopped() {
    let server = Server::start().await.unwrap();
    let (ann, bob) = (server.peer("Ann").await.unwrap(), server.peer("Bob").await.unwrap());
    let freezing = async {
        assert!(bob.wait_until_heard("Ann", SOON).await);
        server.freeze(true).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = bob.hearing()["Ann"].packets;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(bob.hearing()["Ann"].packets, before);
        server.freeze(false).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let burst = bob.hearing()["Ann"].packets - before;
        assert!(burst > 60, "what the kernel kept comes at once, but {burst} packets came");
    };
    tokio::join!(ann.publish(tone(4)), freezing);
    assert!(!bob.events().iter().any(|(_, event)| matches!(event, Event::Gone { .. })));
}
