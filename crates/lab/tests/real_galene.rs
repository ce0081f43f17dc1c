//! The library's client against the real Galène. Needs a machine (or a network namespace) with an address that is not
//! loopback, because Galène offers no loopback candidates:
//!
//! `GALENE_BIN=/path/galene GALENE_STATIC=/path/static GALENE_ADDRESS=10.78.0.1 cargo test -p galene-sips-lab --test real_galene -- --ignored --test-threads=1`
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
use galene_sips_lab::sound::{sine, speech_like};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SECOND: usize = 48_000;
const SOON: Duration = Duration::from_secs(5);

struct Galene {
    child: Child,
    directory: PathBuf,
    address: String,
    port: u16,
}

impl Galene {
    fn start(port: u16) -> Self {
        let directory = std::env::temp_dir().join(format!("real-galene-{}-{port}", std::process::id()));
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let group = |extra: &str| {
            format!(
                r#"{{"users":{{"op":{{"password":"oppw","permissions":"op"}},"alice":{{"password":"alicepw","permissions":"present"}},"watcher":{{"password":"pw","permissions":"observe"}}}},
                "wildcard-user":{{"password":{{"type":"wildcard"}},"permissions":"present"}}{extra}}}"#
            )
        };
        write("groups/conf.json", &group(""));
        write("groups/closed.json", r#"{"users":{"op":{"password":"oppw","permissions":"op"}}}"#);
        write("groups/pcm.json", &group(r#","codecs":["vp8","pcmu"]"#));
        write(
            "data/config.json",
            r#"{"users":{"root":{"password":"rootpw","permissions":"admin"}},"writableGroups":true}"#,
        );
        let address = std::env::var("GALENE_ADDRESS").expect("GALENE_ADDRESS");
        let child = Self::spawn(&directory, &address, port);
        Galene { child, directory, address, port }
    }

    fn spawn(directory: &std::path::Path, address: &str, port: u16) -> Child {
        std::fs::create_dir_all(directory.join("recordings")).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap();
        let child = Command::new(std::env::var("GALENE_BIN").expect("GALENE_BIN"))
            .args(["-http", &format!("{address}:{port}"), "-turn", "", "-udp-range", "42000-44000"])
            .args(["-static", &std::env::var("GALENE_STATIC").expect("GALENE_STATIC")])
            .args(["-data", "data", "-groups", "groups", "-recordings", "recordings"])
            .current_dir(directory)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .expect("Galène starts");
        let begun = Instant::now();
        while TcpStream::connect((address, port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "Galène listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    fn restart(&mut self) {
        self.child = Self::spawn(&self.directory, &self.address, self.port);
    }

    fn url(&self, group: &str) -> String {
        format!("https://{}:{}/group/{group}/", self.address, self.port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    async fn join(&self, name: &str) -> GroupPeer {
        GroupPeer::join(JoinOptions::new(self.url("conf"), name)).await.expect("joins")
    }

    async fn join_op(&self) -> GroupPeer {
        GroupPeer::join(JoinOptions::new(self.url("conf"), "op").password("oppw")).await.expect("op joins")
    }
}

impl Drop for Galene {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn refusal(result: Result<GroupPeer, JoinError>) -> (Option<String>, String) {
    match result {
        Err(JoinError::Refused { error, message }) => (error, message),
        Err(other) => panic!("another error: {other}"),
        Ok(peer) => panic!("{} was let in", peer.username()),
    }
}

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn tokens_and_passwords_let_in_and_everything_else_is_refused_with_the_servers_reason() {
    let galene = Galene::start(18101);
    let op = galene.join_op().await;
    op.raw(serde_json::json!({"type": "groupaction", "kind": "maketoken", "source": op.id(), "username": "op",
        "value": {"group": "conf", "expires": "2099-01-01T00:00:00Z", "permissions": ["present", "message"]}}));
    let mut token = None;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        token = op.messages().iter().find_map(|text| {
            let message: serde_json::Value = serde_json::from_str(text).unwrap();
            (message["kind"] == "token").then(|| message["value"]["token"].as_str().unwrap().to_owned())
        });
        if token.is_some() {
            break;
        }
    }
    let invitation = format!("{}?token={}", galene.url("conf"), token.expect("a token"));
    let guest = GroupPeer::join(JoinOptions::new(&invitation, "guest")).await.expect("the token lets in");
    assert_eq!(guest.username(), "guest");
    let alice =
        GroupPeer::join(JoinOptions::new(galene.url("conf"), "alice").password("alicepw")).await.expect("password");
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
    let bad = GroupPeer::join(JoinOptions::new(galene.url("conf"), "alice").password("wrong")).await;
    assert_eq!(refusal(bad), (None, "not authorised".to_owned()));
    let bad = GroupPeer::join(JoinOptions::new(galene.url("closed"), "nobody").password("x")).await;
    assert_eq!(refusal(bad), (None, "not authorised".to_owned()));
    assert!(matches!(GroupPeer::join(JoinOptions::new(galene.url("nowhere"), "x")).await, Err(JoinError::Address(_))));

    alice.chat("good evening");
    alice.chat_to("guest", "only you");
    assert!(guest.wait_for(SOON, |event| matches!(event, Event::Chat(chat) if chat.private && chat.text == "only you" && !chat.privileged && chat.live)).await.is_some());
    op.chat("from above");
    let wanted = |event: &Event| matches!(event, Event::Chat(chat) if chat.privileged && chat.text == "from above");
    assert!(guest.wait_for(SOON, wanted).await.is_some());
    assert_eq!(op.chats().len(), 1, "the private line went to one, and there is no echo: {:?}", op.chats());
    guest.leave().await;
    let late = galene.join("late").await;
    assert!(
        late.wait_for(SOON, |event| matches!(event, Event::Chat(chat) if !chat.live && chat.text == "good evening"))
            .await
            .is_some()
    );
    let log = galene.log();
    assert!(!log.contains("close 100"), "leaving is clean: {log}");
}

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn a_tone_is_heard_by_everybody_else() {
    let galene = Galene::start(18102);
    let (alice, bob) = (galene.join("alice-2").await, galene.join("bob").await);
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

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn who_already_talks_is_heard_at_once() {
    let galene = Galene::start(18103);
    let talker = galene.join("talker").await;
    let talking = talker.publish(speech_like(48_000, 40 * SECOND, 1));
    let listening = async {
        assert!(talker.wait_for(SOON, |event| *event == Event::Publishing(true)).await.is_some());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut delays = Vec::new();
        for n in 0..14 {
            let begun = Instant::now();
            let listener = galene.join(&format!("listener {n}")).await;
            assert!(listener.wait_until_heard("talker", SOON).await, "join {n}");
            delays.push(begun.elapsed().as_millis());
            tokio::time::sleep(Duration::from_millis(500)).await;
            let heard = listener.hearing().remove("talker").unwrap();
            assert_eq!(heard.lost, 0, "join {n}");
            listener.leave().await;
        }
        delays.sort_unstable();
        eprintln!("join to first packet, ms: {delays:?}");
        assert!(delays[13] < 1000);
    };
    tokio::select! { () = talking => panic!("the listeners took too long"), () = listening => {} }
}

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn ten_talkers_are_all_heard() {
    let galene = Galene::start(18104);
    let listener = galene.join("listener").await;
    let mut peers = Vec::new();
    for n in 0..10 {
        let name = format!("talker {n}");
        peers.push(GroupPeer::join(JoinOptions::new(galene.url("conf"), name).deaf()).await.unwrap());
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

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn our_own_phones_are_not_pulled_back() {
    let galene = Galene::start(18105);
    let (listener, phone, other) =
        (galene.join("listener").await, galene.join("phone").await, galene.join("other").await);
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

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn operators_kick_mute_and_take_and_give_the_floor() {
    let galene = Galene::start(18106);
    let (op, alice, bob) = (galene.join_op().await, galene.join("alice-2").await, galene.join("bob").await);
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
    tokio::select! { () = talking => panic!("she should not have finished"), () = acting => {} }
    assert!(!galene.log().contains("Deleting up connection"), "{}", galene.log());
}

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn kicked_cannot_be_forged_by_a_participant() {
    let galene = Galene::start(18107);
    let (alice, bob) = (galene.join("alice-2").await, galene.join("bob").await);
    bob.raw(serde_json::json!({"type": "usermessage", "kind": "kicked", "dest": alice.id(), "value": "bye", "privileged": true}));
    bob.chat("still here?");
    assert!(alice.wait_for(SOON, |event| matches!(event, Event::Chat(_))).await.is_some());
    assert!(!alice.events().iter().any(|(_, event)| matches!(event, Event::Kicked { .. })));
    assert!(alice.messages().iter().any(|text| text.contains("kicked")), "Galène passed it on");
}

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn a_group_without_opus_says_so() {
    let galene = Galene::start(18108);
    let peer = GroupPeer::join(JoinOptions::new(galene.url("pcm"), "alice-2")).await.unwrap();
    let publishing = peer.publish(sine(48_000, 440.0, 0.2, SECOND));
    let waiting = peer.wait_for(SOON, |event| matches!(event, Event::CodecRefused { source: None }));
    tokio::select! { () = publishing => panic!("published"), event = waiting => assert!(event.is_some()) }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!peer.events().iter().any(|(_, event)| matches!(event, Event::Publishing(true) | Event::Gone { .. })));
}

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn a_renegotiated_stream_loses_nothing() {
    let galene = Galene::start(18109);
    let (alice, bob) = (galene.join("alice-2").await, galene.join("bob").await);
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
    assert!(offers == 4 && heard.lost == 0 && heard.streams == 1);
    assert!(heard.packets > 270);
}

#[tokio::test]
#[ignore = "needs a real Galène"]
async fn a_stopped_server_is_noticed_and_can_be_joined_again() {
    let mut galene = Galene::start(18110);
    let alice = galene.join("alice-2").await;
    let bob = galene.join("bob").await;
    let talking = alice.publish(sine(48_000, 440.0, 0.2, 60 * SECOND));
    let stopping = async {
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        galene.stop();
        let begun = Instant::now();
        for peer in [&alice, &bob] {
            assert!(peer.wait_for(SOON, |event| matches!(event, Event::Gone { .. })).await.is_some());
        }
        eprintln!("Gone after {:?}: {:?}", begun.elapsed(), alice.events().last());
        galene.restart();
    };
    tokio::join!(talking, stopping); // what is left of the sound ends with the connection
    let (alice, bob) = (galene.join("alice-2").await, galene.join("bob").await);
    alice.publish(sine(48_000, 440.0, 0.2, 2 * SECOND)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(tone_share(&bob.heard()["alice-2"], 48_000, 440.0) > 0.9);
}

/// Needs `nft` and the right to use it: run in a network namespace of your own.
#[tokio::test]
#[ignore = "needs a real Galène"]
async fn a_path_that_was_dead_is_repaired_as_soon_as_it_lives_again() {
    let galene = Galene::start(18111);
    let (alice, bob) = (galene.join("alice-2").await, galene.join("bob").await);
    let talking = alice.publish(sine(48_000, 440.0, 0.2, 60 * SECOND));
    let acting = async {
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        nft(
            "add table inet outage; add chain inet outage in { type filter hook input priority 0; }; add rule inet outage in meta l4proto udp drop",
        );
        tokio::time::sleep(Duration::from_secs(28)).await;
        nft("delete table inet outage");
        bob.clear_heard();
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
#[tokio::test]
#[ignore = "needs a real Galène"]
async fn a_server_that_was_frozen_goes_on() {
    let galene = Galene::start(18112);
    let (alice, bob) = (galene.join("alice-2").await, galene.join("bob").await);
    let talking = alice.publish(sine(48_000, 440.0, 0.2, 80 * SECOND));
    let acting = async {
        // long enough that ICE gives up on our side; after 45 s Galène itself would drop everybody
        assert!(bob.wait_until_heard("alice-2", SOON).await);
        galene.signal("STOP");
        tokio::time::sleep(Duration::from_secs(26)).await;
        bob.clear_heard();
        let begun = Instant::now();
        galene.signal("CONT");
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

fn nft(commands: &str) {
    assert!(Command::new("nft").arg(commands).status().expect("nft runs").success());
}
