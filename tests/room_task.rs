//! A room's own task, in a runtime of its own: whatever happens to its calls, no task of theirs is left. That no socket is,
//! and nobody in the group, is seen from outside in `galene.rs`.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips::audio::{Codec, Language};
use galene_sips::galene::{Credentials, GroupAddress};
use galene_sips::io::dns::{Anchors, Dns};
use galene_sips::io::ports::PortPool;
use galene_sips::io::room::{self, RoomMessage};
use galene_sips::io::tls::Trust;
use galene_sips::io::{SystemRandomness, wall_clock};
use galene_sips::policy::{KeyFacts, KeyingMethod, Rules, SignallingLevel, SuiteStrength, judge};
use galene_sips::room::{
    Direction, EndReason, LegKeys, LegSetup, PhoneCodec, RemoteMedia, Room, RoomConfig, RoomEvent,
};
use galene_sips::secret::Secret;
use galene_sips::srtp::{MasterKey, Protector, Suite, Unprotector};
use galene_sips::units::{CallNumber, Ssrc};
use galene_sips_lab::real::server::Server;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

const SECOND: Duration = Duration::from_secs(1);

/// A room in a runtime of its own, beside the server in another.
struct Lonely {
    /// Runs in the background for the whole test.
    outside: Runtime,
    server: Server,
    inside: Runtime,
    pool: Arc<PortPool>,
    messages: mpsc::Sender<RoomMessage>,
    events: mpsc::UnboundedReceiver<RoomEvent>,
}

impl Lonely {
    fn new() -> Lonely {
        let outside = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = outside.block_on(Server::start()).unwrap();
        let inside = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = GroupAddress::parse(&server.invitation()).unwrap();
        let file = std::env::temp_dir().join(format!("galene-sips-room-task-{}.pem", std::process::id()));
        std::fs::write(&file, server.authority().pem()).unwrap();
        let trust = Trust::only(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let credentials = Credentials::Token(address.token().unwrap().duplicate());
        let config = RoomConfig {
            credentials,
            robot_name: "Phone gateway".to_owned(),
            clock: wall_clock(),
            language: Language::default(),
        };
        let room = Room::new(config, Box::new(SystemRandomness::default()));
        let (messages, inbox) = mpsc::channel(64);
        let (outbox, events) = mpsc::unbounded_channel();
        let dns = Dns::new(&[], Anchors::iana()).unwrap();
        inside.spawn(room::run(room, Arc::new(address), dns, trust, inbox, outbox));
        let first = 19_000 + (std::process::id() % 100) as u16 * 20;
        Lonely { outside, server, inside, pool: PortPool::new(first..=first + 19), messages, events }
    }

    fn join(&mut self, number: u32) {
        let sockets = self.inside.block_on(self.pool.open(Instant::now(), [127, 0, 0, 1].into())).unwrap();
        self.messages.blocking_send(RoomMessage::Join(Box::new(setup(number)), sockets)).unwrap();
    }

    /// The dialog is over, perhaps before the room was ready for it.
    fn leave(&mut self, number: u32) {
        let call = CallNumber(number);
        self.messages.blocking_send(RoomMessage::Leave(call)).unwrap();
        let mut event = self.events.blocking_recv();
        if event == Some(RoomEvent::Ready { call }) {
            event = self.events.blocking_recv();
        }
        assert_eq!(event, Some(RoomEvent::Ended { call, reason: EndReason::Left }));
    }

    fn is_ready(&mut self, number: u32) {
        assert_eq!(self.events.blocking_recv(), Some(RoomEvent::Ready { call: CallNumber(number) }));
    }

    /// Tasks besides the room's own.
    fn tasks(&self) -> usize {
        self.inside.metrics().num_alive_tasks() - 1
    }

    /// A while after the last call there is no task more than before the first.
    fn nothing_is_left(&self, when: &str) {
        let end = Instant::now() + 6 * SECOND;
        while self.tasks() > 0 {
            assert!(Instant::now() < end, "{when}: {} tasks", self.tasks());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn setup(number: u32) -> LegSetup {
    let call = CallNumber(number);
    let suite = Suite::AesCm128HmacSha1_80;
    let facts = KeyFacts {
        call,
        signalling: SignallingLevel::Verified,
        method: KeyingMethod::Sdes,
        suite: SuiteStrength::Full,
        current: None,
    };
    let proof = judge(&Rules::strict("alice@example.org"), &facts).allowed().unwrap();
    let key = |fill| MasterKey::new(suite, Secret::new(vec![fill; suite.key_len() + suite.salt_len()])).unwrap();
    LegSetup {
        call,
        participant: format!("☎ {number}"),
        codec: PhoneCodec { codec: Codec::Pcmu, payload_type: 0 },
        ssrc: Ssrc(1),
        keys: LegKeys::Agreed {
            protector: Box::new(Protector::new(&proof, &key(1)).unwrap()),
            unprotector: Box::new(Unprotector::new(&proof, &key(2)).unwrap()),
        },
        remote: RemoteMedia { rtp: Some(([127, 0, 0, 1], 9).into()), rtcp: None, rtcp_mux: false },
        direction: Direction { from_phone: true, to_phone: true },
        warning: None,
    }
}

#[test]
fn whatever_happens_to_its_calls_no_task_of_a_room_is_left() {
    let mut room = Lonely::new();
    assert_eq!(room.tasks(), 0);

    for number in [1, 2] {
        room.join(number);
        room.is_ready(number);
    }
    assert_eq!(room.tasks(), 3, "a WebSocket for each, and one to listen");
    room.leave(1);
    room.leave(2);
    room.nothing_is_left("after two calls");

    for (number, after_ms) in (3..).zip([0, 1, 3, 10, 30]) {
        room.join(number);
        std::thread::sleep(Duration::from_millis(after_ms));
        room.leave(number);
        room.nothing_is_left("after a call that was given up");
    }

    room.join(8);
    room.is_ready(8);
    room.server.freeze(true).unwrap();
    room.leave(8);
    room.nothing_is_left("with a server that does not take leave");
    room.server.freeze(false).unwrap();

    room.join(9);
    room.is_ready(9);
    room.server.stop();
    std::thread::sleep(SECOND);
    room.leave(9);
    room.nothing_is_left("with a server that is gone");
    let mut server = room.server;
    room.outside.block_on(server.restart()).unwrap();
    assert_eq!(room.outside.block_on(server.members()).unwrap(), 0);
}
