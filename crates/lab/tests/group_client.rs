//! The library's client in a group: on the laboratory's server, or on a real Galène when `GALENE_BIN` names one.
//!
//! `GALENE_SIPS_FULL=1` lets outages last so long that ICE gives up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail loudly"
)]

use galene_sips::galene::{Event, UserChange};
use galene_sips_lab::group_peer::{GroupPeer, JoinError, JoinOptions};
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::real::full;
use galene_sips_lab::real::server::Server;
use galene_sips_lab::sound::{sine, speech_like};
use std::time::{Duration, Instant};

const SECOND: usize = 48_000;
const SOON: Duration = Duration::from_secs(5);

fn refusal(result: Result<GroupPeer, JoinError>) -> (Option<String>, String) {
    match result {
        Err(JoinError::Refused { error, message }) => (error, message),
        Err(other) => panic!("another error: {other}"),
        Ok(peer) => panic!("{} was let in", peer.username()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_passwords_let_in_and_everything_else_is_refused_with_the_servers_reason() {
    let server = Server::start().await.unwrap();
    let op = server.operator().await.unwrap();
    let invitation = server.invitation();
    let guest = GroupPeer::join(JoinOptions::new(&invitation, "guest")).await.expect("the token lets in");
    assert_eq!(guest.username(), "guest");
    let alice =
        GroupPeer::join(JoinOptions::new(server.url("conf"), "alice").password("alice's")).await.expect("password");
    assert!(
        op.wait_for(
            SOON,
            |event| matches!(event, Event::User { change: UserChange::Added, username, .. } if username == "alice")
        )
        .await
        .is_some()
    );
    assert_eq!(op.participants().len(), 3);

    let duplicate = GroupPeer::join(JoinOptions::new(&invitation, "alice")).await;
    assert_eq!(refusal(duplicate).0.as_deref(), Some("duplicate-username"));
    let bad = GroupPeer::join(JoinOptions::new(format!("{invitation}x"), "g")).await;
    assert_eq!(refusal(bad), (None, "not authorised".to_owned()));
    let bad = GroupPeer::join(JoinOptions::new(server.url("conf"), "alice").password("wrong")).await;
    assert_eq!(refusal(bad), (None, "not authorised".to_owned()));
    let bad = GroupPeer::join(JoinOptions::new(server.url("closed"), "nobody").password("x")).await;
    assert_eq!(refusal(bad), (None, "not authorised".to_owned()));
    assert!(matches!(GroupPeer::join(JoinOptions::new(server.url("nowhere"), "x")).await, Err(JoinError::Address(_))));

    alice.chat("good evening");
    alice.chat_to("guest", "only you");
    assert!(guest.wait_for(SOON, |event| matches!(event, Event::Chat(chat) if chat.private && chat.text == "only you" && !chat.privileged && chat.live)).await.is_some());
    op.chat("from above");
    let wanted = |event: &Event| matches!(event, Event::Chat(chat) if chat.privileged && chat.text == "from above");
    assert!(guest.wait_for(SOON, wanted).await.is_some());
    assert_eq!(op.chats().len(), 1, "the private line went to one, and there is no echo: {:?}", op.chats());
    guest.leave().await;
    let late = server.peer("late").await.unwrap();
    assert!(
        late.wait_for(SOON, |event| matches!(event, Event::Chat(chat) if !chat.live && chat.text == "good evening"))
            .await
            .is_some()
    );
    assert_eq!(server.complaints(), [""; 0], "leaving is clean");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tone_is_heard_by_everybody_else() {
    let server = Server::start().await.unwrap();
    let (alice, bob) = (server.peer("alice-2").await.unwrap(), server.peer("bob").await.unwrap());
    let begun = Instant::now();
    alice.publish(sine(48_000, 440.0, 0.25, 5 * SECOND)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let heard = bob.hearing().remove("alice-2").expect("alice is heard");
    let share = tone_share(&heard.samples, 48_000, 440.0);
    eprintln!(
        "tone share {share:.5}, {} packets, {} lost, longest gap {:?}, first after {:?}",
        heard.packets,
        heard.lost,
        heard.longest_gap,
        heard.first.unwrap() - begun
    );
    assert!(share > 0.9);
    assert!(heard.packets > 225 && heard.lost == 0);
    assert!(!alice.heard().contains_key("alice-2"), "nobody hears himself");
    alice.unpublish();
    assert!(bob.wait_for(SOON, |event| matches!(event, Event::StreamEnded { .. })).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_already_talks_is_heard_at_once() {
    let server = Server::start().await.unwrap();
    let talker = server.peer("talker").await.unwrap();
    let talking = talker.publish(speech_like(48_000, 40 * SECOND, 1));
    let listening = async {
        assert!(talker.wait_for(SOON, |event| *event == Event::Publishing(true)).await.is_some());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut delays = Vec::new();
        let joins = if full() { 14 } else { 5 };
        for n in 0..joins {
            let begun = Instant::now();
            let listener = server.peer(&format!("listener {n}")).await.unwrap();
            assert!(listener.wait_until_heard("talker", SOON).await, "join {n}");
            delays.push(begun.elapsed().as_millis());
            tokio::time::sleep(Duration::from_millis(500)).await;
            let heard = listener.hearing().remove("talker").unwrap();
            assert_eq!(heard.lost, 0, "join {n}");
            listener.leave().await;
        }
        delays.sort_unstable();
        eprintln!("join to first packet, ms: {delays:?}");
        assert!(delays[joins - 1] < 1000);
    };
    tokio::select! { () = talking => panic!("the listeners took too long"), () = listening => {} }
}

/// Galène forgets those who come between a talker's offer and his first packet.
#[tokio::test(flavor = "multi_thread")]
async fn who_begins_to_talk_while_we_join_is_heard() {
    let server = Server::start().await.unwrap();
    let mut forgotten = 0;
    for n in 0..6 {
        let talker = server.peer("talker").await.unwrap();
        talker.offer();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let listener = server.peer(&format!("listener {n}")).await.unwrap();
        let talking = talker.publish(sine(48_000, 440.0, 0.2, 8 * SECOND));
        let listening = listener.wait_until_heard("talker", SOON);
        tokio::select! { () = talking => panic!("listener {n} hears nothing"), heard = listening => assert!(heard, "{n}") }
        forgotten += usize::from(listener.messages().iter().any(|text| text.contains(r#""type":"close""#)));
        listener.leave().await;
    }
    eprintln!("{forgotten} of 6 listeners came in that moment");
    assert!(forgotten > 0, "else this shows nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_talkers_are_all_heard() {
    let server = Server::start().await.unwrap();
    let listener = server.peer("listener").await.unwrap();
    let mut peers = Vec::new();
    for n in 0..10 {
        let name = format!("talker {n}");
        peers.push(GroupPeer::join(JoinOptions::new(server.url("conf"), name).deaf()).await.unwrap());
    }
    let sounds =
        peers.iter().enumerate().map(|(n, peer)| peer.publish(sine(48_000, 300.0 + 100.0 * n as f64, 0.2, 4 * SECOND)));
    futures_util::future::join_all(sounds).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let heard = listener.hearing();
    for n in 0..10 {
        let heard = &heard[&format!("talker {n}")];
        let share = tone_share(&heard.samples, 48_000, 300.0 + 100.0 * n as f64);
        eprintln!(
            "talker {n}: {share:.4}, {} packets, {} lost, longest gap {:?}",
            heard.packets, heard.lost, heard.longest_gap
        );
        assert!(share > 0.9 && heard.packets > 150 && heard.lost == 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_phones_are_not_pulled_back() {
    let server = Server::start().await.unwrap();
    let (listener, phone, other) = (
        server.peer("listener").await.unwrap(),
        server.peer("phone").await.unwrap(),
        server.peer("other").await.unwrap(),
    );
    listener.ignore(phone.id());
    tokio::join!(
        phone.publish(sine(48_000, 440.0, 0.2, 2 * SECOND)),
        other.publish(sine(48_000, 660.0, 0.2, 2 * SECOND))
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    let heard = listener.hearing();
    assert!(heard["other"].packets > 50 && !heard.contains_key("phone"));
    assert!(other.hearing()["phone"].packets > 50, "others hear the phone");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_kick_mute_and_take_and_give_the_floor() {
    let server = Server::start().await.unwrap();
    let (op, alice, bob) =
        (server.operator().await.unwrap(), server.peer("alice-2").await.unwrap(), server.peer("bob").await.unwrap());
    let talking = alice.publish(sine(48_000, 440.0, 0.2, 60 * SECOND));
    let acting = async {
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        op.mute("alice-2");
        assert_eq!(
            alice.wait_for(SOON, |event| matches!(event, Event::Muted { .. })).await,
            Some(Event::Muted { by: "op".to_owned() })
        );
        bob.mute("alice-2");
        op.user_action("unpresent", "alice-2", "");
        assert!(alice.wait_for(SOON, |event| *event == Event::Publishing(false)).await.is_some());
        assert!(bob.wait_for(SOON, |event| matches!(event, Event::StreamEnded { .. })).await.is_some());
        tokio::time::sleep(Duration::from_secs(1)).await;
        bob.clear_heard();
        let seen = alice.events().len();
        let begun = Instant::now();
        op.user_action("present", "alice-2", "");
        assert!(alice.wait_after(seen, SOON, |event| *event == Event::Publishing(true)).await.is_some());
        let published = begun.elapsed();
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        eprintln!("present -> publishing {published:?}, heard {:?}", begun.elapsed());
        assert_eq!(
            alice.events().iter().filter(|(_, event)| matches!(event, Event::Muted { .. })).count(),
            1,
            "bob is no operator"
        );
        op.kick("alice-2");
        let kicked = alice.wait_for(SOON, |event| matches!(event, Event::Kicked { .. })).await;
        assert_eq!(kicked, Some(Event::Kicked { message: "kicked by the test".to_owned() }));
        assert!(
            matches!(alice.events().last(), Some((_, Event::Kicked { .. }))),
            "nothing follows: {:?}",
            alice.events()
        );
    };
    tokio::join!(talking, acting); // the sound ends with the connection
    assert_eq!(server.complaints(), [""; 0], "a stream that the server ended is not closed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn kicked_cannot_be_forged_by_a_participant() {
    let server = Server::start().await.unwrap();
    let (alice, bob) = (server.peer("alice-2").await.unwrap(), server.peer("bob").await.unwrap());
    bob.raw(serde_json::json!({"type": "usermessage", "kind": "kicked", "dest": alice.id(), "value": "bye", "privileged": true}));
    bob.chat("still here?");
    assert!(alice.wait_for(SOON, |event| matches!(event, Event::Chat(_))).await.is_some());
    assert!(!alice.events().iter().any(|(_, event)| matches!(event, Event::Kicked { .. })));
    assert!(alice.messages().iter().any(|text| text.contains("kicked")), "the server passed it on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_opus_says_so() {
    let server = Server::start().await.unwrap();
    let peer = GroupPeer::join(JoinOptions::new(server.url("pcm"), "alice-2")).await.unwrap();
    let publishing = peer.publish(sine(48_000, 440.0, 0.2, SECOND));
    let waiting = peer.wait_for(SOON, |event| matches!(event, Event::CodecRefused { source: None }));
    tokio::select! { () = publishing => panic!("published"), event = waiting => assert!(event.is_some()) }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!peer.events().iter().any(|(_, event)| matches!(event, Event::Publishing(true) | Event::Gone { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renegotiated_stream_loses_nothing() {
    let server = Server::start().await.unwrap();
    let (alice, bob) = (server.peer("alice-2").await.unwrap(), server.peer("bob").await.unwrap());
    let talking = alice.publish(sine(48_000, 440.0, 0.2, 6 * SECOND));
    let acting = async {
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let offer = bob.messages().into_iter().find(|text| text.contains(r#""type":"offer""#)).unwrap();
            let offer: serde_json::Value = serde_json::from_str(&offer).unwrap();
            bob.raw(serde_json::json!({"type": "renegotiate", "id": offer["id"]}));
        }
    };
    tokio::join!(talking, acting);
    let offers = bob.messages().iter().filter(|text| text.contains(r#""type":"offer""#)).count();
    let heard = bob.hearing().remove("alice-2").unwrap();
    eprintln!("{offers} offers, {} packets, {} lost, longest gap {:?}", heard.packets, heard.lost, heard.longest_gap);
    assert_eq!((offers, heard.streams), (4, 1));
    assert!(heard.lost <= 3 * server.loss_at_restart(), "{} lost", heard.lost);
    assert!(heard.packets > 270);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_replaces_another_is_heard_in_its_place() {
    let server = Server::start().await.unwrap();
    let (alice, bob) = (server.peer("alice-2").await.unwrap(), server.peer("bob").await.unwrap());
    let talking = alice.publish(sine(48_000, 440.0, 0.2, 60 * SECOND));
    let acting = async {
        for n in 1..=3 {
            assert!(bob.wait_until_heard("alice-2", SOON).await);
            let seen = bob.events().len();
            alice.replace_stream();
            assert!(bob.wait_after(seen, SOON, |event| matches!(event, Event::StreamStarted { .. })).await.is_some());
            bob.clear_heard();
            let ended = bob.events().iter().filter(|(_, event)| matches!(event, Event::StreamEnded { .. })).count();
            assert_eq!(ended, n, "one stream at a time");
        }
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        let offers = bob.messages().into_iter().filter(|text| text.contains(r#""replace":"#)).count();
        assert_eq!(offers, 3);
    };
    tokio::select! { () = talking => panic!("too slow"), () = acting => {} }
    assert_eq!(server.complaints(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_and_full_groups_refuse_in_the_operators_words() {
    let server = Server::start().await.unwrap();
    let op = server.operator().await.unwrap();
    let action = |kind: &str, value: &str| serde_json::json!({"type": "groupaction", "kind": kind, "source": op.id(), "username": op.username(), "value": value});
    for (value, text) in [("", "this group is locked"), ("Back at two o'clock", "Back at two o'clock")] {
        op.raw(action("lock", value));
        tokio::time::sleep(Duration::from_millis(200)).await;
        let locked = GroupPeer::join(JoinOptions::new(server.invitation(), "guest")).await;
        assert_eq!(refusal(locked), (None, text.to_owned()));
        assert!(server.operator().await.is_ok(), "operators are let in");
    }
    op.raw(action("unlock", ""));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(server.peer("guest").await.is_ok());

    let mut crowd = Vec::new();
    for n in 0..3 {
        crowd.push(GroupPeer::join(JoinOptions::new(server.url("full"), format!("guest {n}"))).await.unwrap());
    }
    let full = GroupPeer::join(JoinOptions::new(server.url("full"), "one more")).await;
    assert_eq!(refusal(full), (None, "too many users".to_owned()));
    drop(crowd.pop());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(GroupPeer::join(JoinOptions::new(server.url("full"), "one more")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_noticed_and_can_be_joined_again() {
    let mut server = Server::start().await.unwrap();
    let alice = server.peer("alice-2").await.unwrap();
    let bob = server.peer("bob").await.unwrap();
    let talking = alice.publish(sine(48_000, 440.0, 0.2, 60 * SECOND));
    let stopping = async {
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        server.stop();
        let begun = Instant::now();
        for peer in [&alice, &bob] {
            assert!(peer.wait_for(SOON, |event| matches!(event, Event::Gone { .. })).await.is_some());
        }
        eprintln!("Gone after {:?}: {:?}", begun.elapsed(), alice.events().last());
        server.restart().await.unwrap();
    };
    tokio::join!(talking, stopping); // what is left of the sound ends with the connection
    let (alice, bob) = (server.peer("alice-2").await.unwrap(), server.peer("bob").await.unwrap());
    alice.publish(sine(48_000, 440.0, 0.2, 2 * SECOND)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(tone_share(&bob.heard()["alice-2"], 48_000, 440.0) > 0.9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_was_dead_is_repaired_as_soon_as_it_lives_again() {
    let server = Server::start().await.unwrap();
    let (alice, bob) = (server.peer("alice-2").await.unwrap(), server.peer("bob").await.unwrap());
    let talking = alice.publish(sine(48_000, 440.0, 0.2, 60 * SECOND));
    let acting = async {
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        server.lose_media(true).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        bob.clear_heard();
        tokio::time::sleep(Duration::from_secs(if full() { 28 } else { 3 })).await;
        assert!(bob.hearing().is_empty(), "the path is dead");
        server.lose_media(false).unwrap();
        let begun = Instant::now();
        assert!(bob.wait_until_heard("alice-2", Duration::from_secs(10)).await);
        eprintln!("heard {:?} after the path came back", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_secs(8)).await;
        let heard = bob.hearing().remove("alice-2").unwrap();
        eprintln!("then {} packets in {:?}, {} lost", heard.packets, begun.elapsed(), heard.lost);
        assert!(heard.packets > 300);
        let sent = |peer: &GroupPeer, what: &str| peer.messages().iter().filter(|text| text.contains(what)).count();
        eprintln!(
            "{} answers to alice, {} offers to bob",
            sent(&alice, r#""type":"answer""#),
            sent(&bob, r#""type":"offer""#)
        );
    };
    tokio::select! { () = talking => panic!("the outage was too long"), () = acting => {} }
}

/// Frozen, not dead: what the client must sit out.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_frozen_goes_on() {
    let server = Server::start().await.unwrap();
    let (alice, bob) = (server.peer("alice-2").await.unwrap(), server.peer("bob").await.unwrap());
    let talking = alice.publish(sine(48_000, 440.0, 0.2, 80 * SECOND));
    let acting = async {
        // long enough that ICE gives up on our side; after 45 s Galène itself would drop everybody
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        server.freeze(true).unwrap();
        tokio::time::sleep(Duration::from_secs(if full() { 26 } else { 3 })).await;
        bob.clear_heard();
        let begun = Instant::now();
        server.freeze(false).unwrap();
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        let heard_after = begun.elapsed();
        tokio::time::sleep(Duration::from_secs(6)).await;
        let heard = bob.hearing().remove("alice-2").unwrap();
        eprintln!("heard after {heard_after:?}, then {} packets in 6 s", heard.packets);
        assert!(heard.packets > 250);
    };
    tokio::select! { () = talking => panic!("frozen too long"), () = acting => {} }
    assert!(!alice.events().iter().chain(&bob.events()).any(|(_, event)| matches!(event, Event::Gone { .. })));
}
