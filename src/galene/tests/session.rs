//! Handshake, joining, keep-alive, chat, permissions, the end.

use super::*;
use proptest::prelude::*;

#[test]
fn a_client_greets_and_joins_with_its_token_or_its_password() {
    let mut world = World::new(Role::Listen);
    let id = world.client.id().to_owned();
    assert_eq!(world.next_said(), json!({"type": "handshake", "version": ["2"], "id": id}));
    assert_eq!(
        world.next_said(),
        json!({"type": "join", "kind": "join", "group": "g", "username": "Alice", "token": "T0KEN"})
    );
    assert!(world.said.is_empty());

    let credentials = Credentials::Password { username: "robot".to_owned(), password: Secret::from("pw") };
    let mut client = Client::new(world.now, ClientConfig { credentials, ..config(Role::Speak) }, &mut Counter(9));
    assert!(matches!(client.poll(), Some(Output::Text(text)) if text.contains("handshake")));
    let Some(Output::Text(join)) = client.poll() else { panic!("no join") };
    let join: Value = serde_json::from_str(&join).unwrap();
    assert_eq!(join, json!({"type": "join", "kind": "join", "group": "g", "username": "robot", "password": "pw"}));
    assert_ne!(client.id(), id);
}

#[test]
fn only_a_listener_asks_for_sound_and_never_for_pictures() {
    let joined = json!({"type": "joined", "kind": "join", "username": "Alice (2)", "permissions": ["present"]});
    for (role, requests) in
        [(Role::Listen, vec![json!({"type": "request", "request": {"": ["audio"]}})]), (Role::Speak, vec![])]
    {
        let mut world = World::new(role);
        world.server(json!({"type": "handshake", "version": ["2"]}));
        world.said.clear();
        world.server(joined.clone());
        assert_eq!(Vec::from(world.said.clone()), requests);
        let event = Event::Joined { username: "Alice (2)".to_owned(), permissions: vec!["present".to_owned()] };
        assert!(world.happened(&event), "the server's name counts");
    }
}

#[test]
fn a_refusal_is_told_in_the_servers_words_and_ends_the_client() {
    let mut world = World::new(Role::Listen);
    world.server(json!({"type": "handshake", "version": ["2"]}));
    world.server(json!({"type": "joined", "kind": "fail", "error": "need-username", "value": "username required"}));
    let (error, message) = (Some("need-username".to_owned()), "username required".to_owned());
    assert_eq!(world.last_event(), Some(&Event::JoinFailed { error, message }));
    assert_eq!(world.closed_with, Some(1000));
    assert_eq!(world.client.wake(), None);
    world.server(json!({"type": "joined", "kind": "join", "username": "Alice"}));
    world.client.handle_closed(world.now, "closed");
    world.client.leave(world.now);
    world.run(100 * SECOND);
    assert_eq!(world.events.len(), 1, "{:?}", world.events);
}

#[test]
fn a_group_that_moves_meanwhile_is_not_followed() {
    let mut world = World::new(Role::Listen);
    world.server(json!({"type": "handshake", "version": ["2"]}));
    world.server(json!({"type": "joined", "kind": "redirect", "value": "https://evil.example/group/g/"}));
    assert!(matches!(world.last_event(), Some(Event::JoinFailed { error: Some(error), message })
        if error == "redirect" && message.contains("invitation")));
}

#[test]
fn what_is_not_galene_2_is_gone() {
    for (greeting, reason) in [
        (json!({"type": "handshake", "version": ["3", "1"]}).to_string(), "another version"),
        (json!({"type": "handshake"}).to_string(), "another version"),
        (json!({"type": "joined", "kind": "join"}).to_string(), "does not greet"),
        ("<html>".to_owned(), "not JSON"),
        ("x".repeat(MESSAGE_LIMIT + 1), "1048577 bytes"),
    ] {
        let mut world = World::new(Role::Listen);
        world.client.handle_text(world.now, &greeting);
        world.settle();
        assert!(
            matches!(world.last_event(), Some(Event::Gone { reason: given }) if given.contains(reason)),
            "{reason}"
        );
        assert_eq!(world.closed_with, Some(1000));
    }
}

#[test]
fn a_server_that_does_not_let_us_in_in_time_is_gone() {
    let mut world = World::new(Role::Listen);
    world.server(json!({"type": "handshake", "version": ["2"]}));
    world.run(14 * SECOND);
    assert!(world.events.is_empty());
    world.run(2 * SECOND);
    assert!(matches!(world.last_event(), Some(Event::Gone { .. })));
}

#[test]
fn silence_is_met_with_pings_and_after_65_seconds_with_the_end() {
    let mut world = World::joined(Role::Listen);
    world.run(14 * SECOND);
    assert!(world.said.is_empty());
    world.run(2 * SECOND);
    assert_eq!(world.next_said(), json!({"type": "ping"}));
    world.server(json!({"type": "pong"}));
    world.run(64 * SECOND);
    assert_eq!(world.said_of("ping").len(), 4);
    assert!(world.closed_with.is_none());
    world.run(2 * SECOND);
    assert!(matches!(world.last_event(), Some(Event::Gone { reason }) if reason.contains("silent")));
}

#[test]
fn a_ping_is_answered() {
    let mut world = World::joined(Role::Listen);
    world.server(json!({"type": "ping"}));
    assert_eq!(world.next_said(), json!({"type": "pong"}));
}

#[test]
fn leaving_closes_with_code_1000() {
    let mut world = World::publishing();
    world.client.leave(world.now);
    world.settle();
    assert_eq!((world.closed_with, world.last_event()), (Some(1000), Some(&Event::Left)));
    assert!(world.open_sockets.is_empty());
    assert!(world.happened(&Event::Publishing(false)));
}

#[test]
fn a_broken_websocket_ends_everything() {
    let mut world = World::joined(Role::Listen);
    world.talker("stream", "bob");
    world.run(SECOND);
    world.client.handle_closed(world.now, "connection reset");
    world.settle();
    assert_eq!(world.last_event(), Some(&Event::Gone { reason: "connection reset".to_owned() }));
    assert!(matches!(world.events[world.events.len() - 2].1, Event::StreamEnded { .. }));
    assert!(world.open_sockets.is_empty());
    assert_eq!(world.closed_with, None, "it is closed already");
}

#[test]
fn only_the_server_kicks_and_only_operators_mute() {
    let kick = |source: Value, privileged: bool| {
        json!({"type": "usermessage", "kind": "kicked", "source": source,
        "username": "op", "privileged": privileged, "value": "bye"})
    };
    let mut world = World::joined(Role::Listen);
    world.server(kick(json!("mallory"), false));
    world.server(kick(json!("operator"), true));
    world.server(kick(Value::Null, false));
    world.server(kick(json!(""), false));
    let mute = |privileged: bool| json!({"type": "usermessage", "kind": "mute", "source": "x", "username": "X", "privileged": privileged});
    world.server(mute(false));
    for kind in ["error", "warning"] {
        world.server(
            json!({"type": "usermessage", "kind": kind, "source": "mallory", "privileged": false, "value": "boo"}),
        );
    }
    assert_eq!(world.events.len(), 1, "only the joining: {:?}", world.events);
    world.server(mute(true));
    assert_eq!(world.last_event(), Some(&Event::Muted { by: "X".to_owned() }));
    world.server(json!({"type": "usermessage", "kind": "error", "privileged": true, "value": "not authorised"}));
    let notice = Event::Notice { level: NoticeLevel::Error, message: "not authorised".to_owned() };
    assert_eq!(world.last_event(), Some(&notice));
    world.server(kick(Value::Null, true));
    assert_eq!(world.last_event(), Some(&Event::Kicked { message: "bye".to_owned() }));
    assert_eq!(world.closed_with, Some(1000));
    world.client.handle_closed(world.now, "kicked out");
    world.settle();
    assert_eq!(world.last_event(), Some(&Event::Kicked { message: "bye".to_owned() }), "no Gone after it");
}

#[test]
fn chat_tells_live_from_history_and_who_vouches() {
    let mut world = World::joined(Role::Listen);
    let line = |kind: &str| {
        json!({"type": kind, "id": "m1", "source": "s", "username": "Bob", "privileged": true,
        "time": "2026-11-24T20:00:00Z", "value": "!sas 3 ok"})
    };
    let chat = |live: bool| {
        Event::Chat(Chat {
            source: Some("s".to_owned()),
            username: Some("Bob".to_owned()),
            private: false,
            privileged: true,
            time: Some("2026-11-24T20:00:00Z".to_owned()),
            live,
            kind: None,
            text: "!sas 3 ok".to_owned(),
        })
    };
    world.server(line("chat"));
    assert_eq!(world.last_event(), Some(&chat(true)));
    world.server(line("chathistory"));
    assert_eq!(world.last_event(), Some(&chat(false)));
    world.server(json!({"type": "chat", "source": "", "dest": "us", "kind": "me", "time": 12, "value": {"odd": 1}}));
    assert!(matches!(world.last_event(), Some(Event::Chat(chat)) if chat.source.is_none() && chat.private
        && !chat.privileged && chat.time.is_none() && chat.text == r#"{"odd":1}"#));
}

#[test]
fn we_chat_under_the_name_that_the_server_gave_us() {
    let mut world = World::new(Role::Listen);
    world.said.clear();
    world.client.chat(world.now, None, "too early");
    world.settle();
    assert!(world.said.is_empty());
    world.server(json!({"type": "handshake", "version": ["2"]}));
    world.server(json!({"type": "joined", "kind": "join", "username": "Alice (2)", "permissions": []}));
    world.said.clear();
    let id = world.client.id().to_owned();
    world.client.chat(world.now, None, "a\"b");
    world.client.chat(world.now, Some("bob"), "psst");
    world.settle();
    let line = json!({"type": "chat", "source": id, "username": "Alice (2)", "noecho": true, "value": "a\"b"});
    assert_eq!(world.next_said(), line);
    assert_eq!(world.next_said()["dest"], "bob");
}

#[test]
fn participants_come_change_and_go() {
    let mut world = World::joined(Role::Listen);
    for (kind, change) in [("add", UserChange::Added), ("change", UserChange::Changed), ("delete", UserChange::Left)] {
        world.server(json!({"type": "user", "kind": kind, "id": "b", "username": "Bob", "permissions": ["op"], "data": {"x": 1}}));
        let (id, username, permissions) = ("b".to_owned(), "Bob".to_owned(), vec!["op".to_owned()]);
        assert_eq!(world.last_event(), Some(&Event::User { change, id, username, permissions }));
    }
    let many: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    world.server(json!({"type": "user", "kind": "add", "id": "b", "permissions": many}));
    assert!(matches!(world.last_event(), Some(Event::User { permissions, .. }) if permissions.len() == 32));
}

/// Any JSON, with the protocol's own words more often than chance would have them.
fn any_value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "handshake",
        "joined",
        "join",
        "change",
        "leave",
        "user",
        "add",
        "offer",
        "answer",
        "ice",
        "renegotiate",
        "close",
        "abort",
        "chat",
        "usermessage",
        "kicked",
        "mute",
        "ping",
        "stream",
        "m=audio 9",
        "candidate:1 1 udp 1 ::1 1 typ host",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("(candidate|x)", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_message_of_the_server_makes_the_client_panic(
        messages in prop::collection::vec(
            (prop::sample::select(vec!["joined", "user", "offer", "answer", "ice", "renegotiate", "close", "abort", "chat",
                "chathistory", "usermessage", "handshake", "ping", "other"]),
            prop::collection::btree_map("(kind|id|source|username|dest|sdp|candidate|value|permissions|replace|privileged|version|time|error)",
                any_value(), 0..8)),
            1..8,
        ),
        text in ".{0,64}",
    ) {
        let mut world = World::joined(Role::Listen);
        world.answers = false;
        world.client.publish(world.now);
        for (kind, mut fields) in messages {
            fields.insert("type".to_owned(), Value::from(kind));
            world.server(json!(fields));
        }
        world.client.handle_text(world.now, &text);
        world.settle();
    }
}
