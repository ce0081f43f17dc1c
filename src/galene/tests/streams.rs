//! Publishing, hearing, and repairing both.

use super::*;

#[test]
fn what_we_publish_reaches_the_server_complete() {
    let mut world = World::joined(Role::Speak);
    world.client.publish(world.now);
    world.settle();
    let id = world.client.id().to_owned();
    let offer = world.next_said();
    assert_eq!((&offer["type"], &offer["source"], &offer["username"]), (&json!("offer"), &json!(id), &json!("Alice")));
    assert!(offer["sdp"].as_str().unwrap().contains("a=candidate:"), "our candidate is in the offer");
    world.run(SECOND);
    assert!(world.said_of("ice").is_empty() && world.said_of("offer").is_empty());
    assert!(world.happened(&Event::Publishing(true)));
    world.speak(0, 100);
    let sequences: Vec<u64> = world.heard.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, (0..100).collect::<Vec<_>>());
    assert_eq!(world.heard[7].1, 7u64.to_be_bytes());
}

#[test]
fn a_candidate_that_overtakes_the_answer_is_kept_until_it_can_be_used() {
    let mut world = World::joined(Role::Speak);
    world.answers = false;
    world.client.publish(world.now);
    world.settle();
    let offer = world.next_said();
    let name = offer["id"].as_str().unwrap().to_owned();
    let (far_at, mut link) = (address(40_000), Link::new(world.now, address(40_000)).unwrap());
    // a server that never sends the first packet: behind a firewall, the client's check has to open the path
    let sdp = link.accept_offer(world.now, &without_candidates(offer["sdp"].as_str().unwrap()).0).unwrap();
    world.far.insert(name.clone(), Far { link, at: far_at });
    let (sdp, candidates) = without_candidates(&sdp);
    world.send_candidates(&name, candidates);
    assert!(world.sent.is_empty());
    world.server(json!({"type": "answer", "id": name, "sdp": sdp}));
    world.run(SECOND);
    assert!(world.sent.iter().any(|(_, to)| *to == far_at), "without being touched first");
    assert!(world.happened(&Event::Publishing(true)));
}

#[test]
fn each_connection_begins_below_65536_and_counts_on() {
    let mut world = World::publishing();
    world.speak(65_530 + 3 * 65_536, 12);
    let sequences: Vec<u64> = world.heard.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, (65_530..65_542).collect::<Vec<_>>(), "the server's rollover counter begins at 0");
}

#[test]
fn what_is_sent_before_there_is_a_connection_is_not_sent_late() {
    let mut world = World::joined(Role::Speak);
    world.path = false;
    world.client.publish(world.now);
    world.speak(0, 50);
    world.path = true;
    world.run(5 * SECOND);
    assert!(world.happened(&Event::Publishing(true)));
    assert!(world.heard.is_empty());
}

#[test]
fn without_the_permission_nothing_is_published_until_it_comes() {
    let change = |permissions: Value| json!({"type": "joined", "kind": "change", "group": "g", "username": "Alice", "permissions": permissions});
    let mut world = World::publishing();
    let first = world.far.keys().next().unwrap().clone();
    world.server(change(json!(["message"])));
    assert_eq!(world.last_event(), Some(&Event::Publishing(false)));
    assert!(world.open_sockets.is_empty());
    world.server(json!({"type": "abort", "id": first}));
    world.run(20 * SECOND);
    assert!(world.said_of("offer").is_empty() && world.said_of("close").is_empty(), "{:?}", world.said);
    world.server(change(json!(["message", "present"])));
    world.run(SECOND);
    assert_eq!(world.said_of("offer").len(), 1);
    assert_ne!(world.said_of("offer")[0]["id"], first, "a new stream, a new id");
    assert_eq!(world.last_event(), Some(&Event::Publishing(true)));
    world.client.unpublish(world.now);
    world.settle();
    assert_eq!(world.said_of("close").len(), 1);
    world.server(change(json!(["present"])));
    world.run(SECOND);
    assert_eq!(world.said_of("offer").len(), 1, "unpublished stays unpublished");
}

#[test]
fn a_stream_that_the_server_throws_out_is_offered_again_after_a_pause() {
    let mut world = World::publishing();
    let name = world.far.keys().next().unwrap().clone();
    world.server(json!({"type": "abort", "id": name}));
    assert_eq!(world.said_of("close").len(), 1, "an abort is answered by a close");
    world.run(4 * SECOND);
    assert!(world.said_of("offer").is_empty());
    world.run(2 * SECOND);
    assert_eq!(world.said_of("offer").len(), 1);
    assert_eq!(world.last_event(), Some(&Event::Publishing(true)));
}

#[test]
fn a_group_without_opus_is_recognised_by_its_rejection() {
    let mut world = World::joined(Role::Speak);
    world.answers = false;
    world.client.publish(world.now);
    world.settle();
    let offer = world.next_said();
    // as pion rejects: no a=mid, which no parser of ours would take
    let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 00\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\n";
    world.server(json!({"type": "answer", "id": offer["id"], "sdp": sdp}));
    assert_eq!(world.next_said(), json!({"type": "close", "id": offer["id"]}));
    assert!(world.happened(&Event::CodecRefused { source: None }));
    assert!(world.open_sockets.is_empty());
    world.run(30 * SECOND);
    assert!(world.said_of("offer").is_empty(), "not again by itself");
    world.client.publish(world.now);
    world.settle();
    assert_eq!(world.said_of("offer").len(), 1);
}

#[test]
fn an_answer_that_cannot_be_used_ends_the_stream_and_is_tried_again() {
    let mut world = World::joined(Role::Speak);
    world.answers = false;
    world.client.publish(world.now);
    world.settle();
    let offer = world.next_said();
    world.server(json!({"type": "answer", "id": offer["id"], "sdp": "m=audio 9 nonsense"}));
    assert_eq!(world.said_of("close").len(), 1);
    world.answers = true;
    world.run(7 * SECOND);
    assert!(world.happened(&Event::Publishing(true)));
}

#[test]
fn a_socket_that_cannot_be_opened_is_tried_again() {
    let mut world = World::publishing();
    let stream = *world.open_sockets.keys().next().unwrap();
    world.client.socket_failed(world.now, stream, "network unreachable");
    world.run(7 * SECOND);
    assert_eq!(world.said_of("close").len(), 1);
    assert_eq!(world.last_event(), Some(&Event::Publishing(true)));
}

#[test]
fn the_server_may_ask_for_a_restart_at_any_time_and_gets_one_offer_at_a_time() {
    let mut world = World::publishing();
    let name = world.far.keys().next().unwrap().clone();
    world.answers = false;
    for _ in 0..3 {
        world.server(json!({"type": "renegotiate", "id": name}));
    }
    let offer = world.next_said();
    assert_eq!(offer["id"], name);
    assert!(world.said.is_empty(), "the first is not answered yet");
    world.answers = true;
    world.react(&offer);
    assert_eq!(world.said_of("offer").len(), 1, "then the wish is granted once more");
    assert_ne!(ufrag(world.said_of("offer")[0]), ufrag(&offer), "ICE restarts");
    world.run(SECOND);
    world.speak(100, 10);
    assert_eq!(world.heard.len(), 10);
    assert!(!world.happened(&Event::Publishing(false)));
}

#[test]
fn a_candidate_that_overtakes_the_answer_to_a_restart_survives_the_restart() {
    let mut world = World::publishing();
    let name = world.far.keys().next().unwrap().clone();
    world.answers = false;
    world.server(json!({"type": "renegotiate", "id": name}));
    let offer = world.next_said();
    world.send_candidates(&name, vec!["candidate:1 1 udp 2130706431 192.0.2.77 4000 typ host".to_owned()]);
    world.sent.clear();
    world.react(&offer);
    world.run(SECOND);
    assert!(world.sent.iter().any(|(_, to)| *to == SocketAddr::from(([192, 0, 2, 77], 4000))));
}

#[test]
fn a_talker_is_heard_with_long_sequence_numbers() {
    let mut world = World::joined(Role::Listen);
    world.talker("stream", "bob");
    let answer = world.said_of("answer");
    assert!(answer[0]["sdp"].as_str().unwrap().contains("a=candidate:"), "our candidate is in the answer");
    world.run(SECOND);
    let stream = *world.open_sockets.keys().next().unwrap();
    let (source, username) = ("bob".to_owned(), "bob".to_owned());
    assert!(world.happened(&Event::StreamStarted { stream, source, username }));
    world.talk("stream", 65_530, 10);
    assert_eq!(world.audio(), (65_530..65_540).collect::<Vec<_>>());
    world.server(json!({"type": "close", "id": "stream"}));
    assert_eq!(world.last_event(), Some(&Event::StreamEnded { stream }));
    assert!(world.open_sockets.is_empty());
    world.server(json!({"type": "close", "id": "stream"}));
    world.server(json!({"type": "ice", "id": "stream", "candidate": {"candidate": ""}}));
    assert_eq!(world.last_event(), Some(&Event::StreamEnded { stream }), "unknown ids are ignored");
}

#[test]
fn sound_is_asked_for_again_once_if_a_stream_was_not_ready_when_we_came() {
    let request = json!({"type": "request", "request": {"": ["audio"]}});
    let mut world = World::joined(Role::Listen);
    world.run(100 * MS);
    for id in ["early", "a-camera-without-sound"] {
        world.server(json!({"type": "close", "id": id}));
    }
    world.run(490 * MS);
    assert!(world.said.is_empty(), "not before the stream can be ready");
    world.run(20 * MS);
    assert_eq!(world.next_said(), request);
    world.server(json!({"type": "close", "id": "a-camera-without-sound"}));
    world.run(10 * SECOND);
    assert!(world.said.is_empty(), "once");

    let mut world = World::joined(Role::Listen);
    world.run(5100 * MS);
    world.server(json!({"type": "close", "id": "of a phone that we refused"}));
    world.run(10 * SECOND);
    assert!(world.said.is_empty(), "later a refusal means nothing");
    let mut world = World::joined(Role::Speak);
    world.server(json!({"type": "close", "id": "x"}));
    world.run(10 * SECOND);
    assert!(world.said.is_empty());
}

#[test]
fn the_servers_candidates_are_held_back_for_60_ms_so_that_its_check_comes_first() {
    let mut world = World::joined(Role::Listen);
    world.path = false;
    world.talker("stream", "bob");
    let offered = world.now;
    world.run(300 * MS);
    let first = world.sent.first().expect("ICE begins by itself in the end").0 - offered;
    assert!((60 * MS..70 * MS).contains(&first), "{first:?}");
}

#[test]
fn own_phones_and_what_a_speaker_did_not_ask_for_are_aborted_at_once() {
    for (role, source) in [(Role::Listen, "phone"), (Role::Speak, "bob")] {
        let mut world = World::joined(role);
        world.client.ignore("phone");
        world.talker("stream", source);
        assert_eq!(world.next_said(), json!({"type": "abort", "id": "stream"}));
        assert!(world.said.is_empty() && world.open_sockets.is_empty());
        assert_eq!(world.events.len(), 1, "only the joining");
    }
    let mut world = World::joined(Role::Listen);
    world.talker("stream", "phone");
    world.run(SECOND);
    world.said.clear();
    world.client.ignore("phone");
    world.settle();
    assert_eq!(world.next_said(), json!({"type": "abort", "id": "stream"}));
    assert!(matches!(world.last_event(), Some(Event::StreamEnded { .. })));
    world.client.heed("phone");
    world.talker("stream 2", "phone");
    assert_eq!(world.next_said()["type"], "answer");
}

#[test]
fn a_replaced_stream_ends_and_the_new_one_begins() {
    let mut world = World::joined(Role::Listen);
    world.talker("old", "bob");
    world.run(SECOND);
    let old = *world.open_sockets.keys().next().unwrap();
    let mut link = Link::new(world.now, address(41_000)).unwrap();
    let sdp = link.offer(world.now).unwrap();
    world.far.insert("new".to_owned(), Far { link, at: address(41_000) });
    world.server(
        json!({"type": "offer", "id": "new", "replace": "old", "source": "bob", "username": "bob", "sdp": sdp}),
    );
    assert!(world.happened(&Event::StreamEnded { stream: old }));
    assert!(!world.open_sockets.contains_key(&old) && world.open_sockets.len() == 1);
    world.run(SECOND);
    world.talk("new", 0, 3);
    assert_eq!(world.audio(), [0, 1, 2]);
}

#[test]
fn a_talker_without_opus_is_aborted() {
    let mut world = World::joined(Role::Listen);
    let mut link = Link::new(world.now, address(41_000)).unwrap();
    let sdp = link
        .offer(world.now)
        .unwrap()
        .replace("opus/48000/2", "PCMU/8000")
        .replace("SAVPF 111", "SAVPF 0")
        .replace(":111", ":0");
    world.answers = false;
    world.server(json!({"type": "offer", "id": "stream", "source": "bob", "username": "bob", "sdp": sdp}));
    assert_eq!(world.next_said(), json!({"type": "abort", "id": "stream"}));
    assert_eq!(world.last_event(), Some(&Event::CodecRefused { source: Some("bob".to_owned()) }));
    assert!(world.open_sockets.is_empty());
}

#[test]
fn offers_that_cannot_be_used_are_aborted_and_there_is_an_end_to_them() {
    let mut world = World::joined(Role::Listen);
    world.answers = false;
    let usable = Link::new(world.now, address(1)).unwrap().offer(world.now).unwrap();
    let huge = format!("{usable}a=x:{}\r\n", "x".repeat(64 * 1024));
    for sdp in ["", "v=0\r\n", "nonsense", &huge] {
        world.server(json!({"type": "offer", "id": "stream", "source": "bob", "sdp": sdp}));
        assert_eq!(world.next_said(), json!({"type": "abort", "id": "stream"}));
    }
    assert!(world.open_sockets.is_empty());
    for n in 0..70 {
        world.server(json!({"type": "offer", "id": format!("s{n}"), "source": "bob", "sdp": usable}));
    }
    assert_eq!(world.open_sockets.len(), 64);
    assert_eq!(world.said_of("abort").len(), 6);
}

#[test]
fn a_lost_path_is_repaired_by_both_sides_means_until_it_is_back() {
    let mut world = World::joined(Role::Listen);
    world.talker("stream", "bob");
    world.client.publish(world.now);
    world.run(SECOND);
    world.talk("stream", 0, 5);
    world.said.clear();
    world.path = false;
    for _ in 0..40 {
        world.server(json!({"type": "ping"}));
        world.run(SECOND);
    }
    let (offers, renegotiations) = (world.said_of("offer").len(), world.said_of("renegotiate").len());
    assert!((3..=10).contains(&offers) && (3..=10).contains(&renegotiations), "{offers} {renegotiations}");
    assert!(!world.happened(&Event::Publishing(false)), "the stream stays");
    world.path = true;
    world.run(4 * SECOND);
    world.talk("stream", 5, 5);
    world.speak(0, 5);
    assert_eq!((world.audio().len(), world.heard.len()), (10, 5));
    assert_eq!(world.open_sockets.len(), 2, "the sockets are the same");
    world.said.clear();
    world.run(10 * SECOND);
    assert_eq!(world.said_of("offer").len() + world.said_of("renegotiate").len(), 0, "then it is left alone");
}

#[test]
fn a_talker_whose_stream_failed_is_asked_for_again() {
    let mut world = World::joined(Role::Listen);
    world.talker("stream", "bob");
    world.run(SECOND);
    world.said.clear();
    world.far.get_mut("stream").unwrap().link.close(world.now);
    world.run(6 * SECOND);
    assert_eq!(world.said_of("abort").len(), 1, "without a word in 5 s");
    assert!(world.said_of("request").is_empty());
    world.run(5 * SECOND);
    assert_eq!(world.said_of("request").len(), 1);
    world.talker("stream", "bob");
    world.run(SECOND);
    world.talk("stream", 0, 5);
    assert_eq!(world.audio().len(), 5);
    world.run(20 * SECOND);
    assert_eq!(world.said_of("request").len(), 1, "once");
}

#[test]
fn a_connection_closed_without_a_word_is_replaced() {
    let mut world = World::publishing();
    let name = world.far.keys().next().unwrap().clone();
    world.far.get_mut(&name).unwrap().link.close(world.now);
    world.run(4 * SECOND);
    assert!(world.said_of("close").is_empty(), "the explanation may be under way");
    world.run(8 * SECOND);
    assert_eq!(world.said_of("close").len(), 1);
    assert_eq!(world.last_event(), Some(&Event::Publishing(true)));
}

#[test]
fn strangers_datagrams_change_nothing() {
    let mut world = World::publishing();
    let stream = *world.open_sockets.keys().next().unwrap();
    let stranger = SocketAddr::from(([203, 0, 113, 7], 666));
    let sent = world.sent.len();
    for first in 0..=255u8 {
        for length in [1, 4, 12, 13, 20, 28, 100, 1500] {
            let mut bytes = vec![0x41; length];
            bytes[0] = first;
            world.client.handle_datagram(world.now, stream, stranger, &bytes);
        }
    }
    let close_notify = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0];
    world.client.handle_datagram(world.now, stream, stranger, &close_notify);
    world.client.handle_datagram(world.now, StreamId(999), stranger, &close_notify);
    world.settle();
    assert!(world.sent[sent..].iter().all(|(_, to)| *to != stranger));
    world.speak(0, 5);
    assert_eq!(world.heard.len(), 5);
}

#[test]
fn a_servers_dtls_that_overtakes_our_check_is_not_lost() {
    let mut world = World::joined(Role::Listen);
    world.checks_lost = true;
    world.talker("stream", "bob");
    world.run(100 * MS);
    world.checks_lost = false;
    world.run(700 * MS);
    world.talk("stream", 0, 5);
    assert_eq!(world.audio(), [0, 1, 2, 3, 4], "without waiting a second for the repetition");
}

#[test]
fn a_strangers_dtls_does_not_disturb_the_servers() {
    let mut elsewhere = World::joined(Role::Listen);
    elsewhere.talker("stream", "bob");
    elsewhere.run(SECOND);
    let foreign: Vec<Vec<u8>> = elsewhere.far_sent.into_iter().filter(|bytes| (20..64).contains(&bytes[0])).collect();
    assert!(!foreign.is_empty());

    let mut world = World::joined(Role::Listen);
    world.path = false;
    world.talker("stream", "bob");
    let stream = *world.open_sockets.keys().next().unwrap();
    for bytes in foreign {
        world.client.handle_datagram(world.now, stream, SocketAddr::from(([203, 0, 113, 7], 666)), &bytes);
    }
    world.path = true;
    world.run(900 * MS);
    world.talk("stream", 0, 5);
    assert_eq!(world.audio(), [0, 1, 2, 3, 4]);
}

#[test]
fn candidates_that_are_no_address_of_a_server_are_never_sent_to() {
    let mut world = World::joined(Role::Listen);
    world.path = false;
    world.talker("stream", "bob");
    let candidates =
        ["127.0.0.1", "::1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "ff02::1", "host.example", "x.local"];
    let line = |address: &str, transport: &str, port: u16| {
        format!("candidate:1 1 {transport} 2130706431 {address} {port} typ host")
    };
    let mut candidates: Vec<String> = candidates.iter().map(|address| line(address, "udp", 1234)).collect();
    candidates.extend([
        line("192.0.2.9", "tcp", 1234),
        line("192.0.2.9", "udp", 0),
        "candidate".to_owned(),
        "x".repeat(5000),
    ]);
    world.send_candidates("stream", candidates);
    world.run(2 * SECOND);
    assert!(!world.sent.is_empty());
    assert!(world.sent.iter().all(|(_, to)| *to == address(40_000)), "{:?}", world.sent);
}
