//! Calls whose keys ZRTP agrees on: the phone's engine against the line, in virtual time.

use super::*;
use crate::keying::Secured;
use crate::peers::Verifier;
use crate::policy::ZrtpHash;
use crate::room::{Author, Command, LegKeys};
use crate::srtp::{MasterKey, Protector, RtpOut, Suite, Unprotector};
use crate::units::Ssrc;
use std::collections::VecDeque;
use zrtp_proto::{Cache, CacheEntry, Config, Engine, Lookup, Output as Made, Secure, SrtpKeys};

/// The phone's side of ZRTP.
pub(super) struct Handset {
    engine: Engine,
    /// What our side got: contexts of the leg, in order.
    orders: Vec<&'static str>,
    to_line: VecDeque<Vec<u8>>,
    secure: Option<Box<Secure>>,
    keys: [Option<SrtpKeys>; 2],
    kept: Option<CacheEntry>,
    failed: bool,
    protector: Option<Box<Protector>>,
    unprotector: Option<Box<Unprotector>>,
}

/// What the phone remembers.
struct PhoneCache(Option<CacheEntry>);

impl Cache for PhoneCache {
    fn lookup(&mut self, _peer: &Zid) -> Lookup {
        self.0.take().map_or(Lookup::Unknown, Lookup::Known)
    }
}

const PHONE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7)), 7078);

impl Handset {
    fn new(seed: u64, kept: Option<CacheEntry>) -> Self {
        let mut numbers = Seeded(seed, Arc::default());
        let random = move |octets: &mut [u8]| numbers.fill(octets);
        Handset {
            engine: Engine::new(Config::new(Zid([2; 12]), 77), random, PhoneCache(kept)),
            orders: Vec::new(),
            to_line: VecDeque::new(),
            secure: None,
            keys: [None, None],
            kept: None,
            failed: false,
            protector: None,
            unprotector: None,
        }
    }

    fn of_device(seed: u64, zid: Zid, ssrc: u32) -> Self {
        let mut numbers = Seeded(seed, Arc::default());
        let random = move |octets: &mut [u8]| numbers.fill(octets);
        Handset { engine: Engine::new(Config::new(zid, ssrc), random, PhoneCache(None)), ..Handset::new(seed, None) }
    }

    fn offer(&self) -> String {
        sdp("RTP/AVP", "96 0", &[&format!("zrtp-hash:{}", self.engine.hello_hash())])
    }

    fn drain(&mut self, now: Instant) {
        let _ = now;
        while let Some(made) = self.engine.poll() {
            match made {
                Made::Transmit(datagram) => self.to_line.push_back(datagram),
                Made::ReceiveKeys(keys) => self.keys[0] = Some(keys),
                Made::SendKeys(keys) => self.keys[1] = Some(keys),
                Made::Remember(remember) => self.kept = remember.entry,
                Made::Secure(secure) => self.secure = Some(secure),
                Made::Failed(_) => self.failed = true,
                _ => {}
            }
        }
    }
}

impl World {
    /// Lets phone and line exchange ZRTP for this long; `passes` says which of the phone's packets arrive.
    fn zrtp(&mut self, handset: &mut Handset, time: Duration, passes: impl FnMut(&[u8]) -> bool) {
        self.zrtp_of(handset, CallNumber(1), time, passes);
    }

    fn zrtp_of(
        &mut self,
        handset: &mut Handset,
        call: CallNumber,
        time: Duration,
        mut passes: impl FnMut(&[u8]) -> bool,
    ) {
        let end = self.now + time;
        loop {
            self.settle();
            let mut quiet = true;
            for want in std::mem::take(&mut self.wants) {
                quiet = false;
                match want {
                    Output::Order(_, LegOrder::Send(packet)) => {
                        let _ = handset.engine.handle_packet(self.now, packet.as_bytes());
                    }
                    Output::Order(_, LegOrder::Address(_)) => handset.orders.push("address"),
                    Output::Order(_, LegOrder::Receive(unprotector)) => {
                        handset.orders.push("receive");
                        handset.unprotector = Some(unprotector);
                    }
                    Output::Order(_, LegOrder::Speak(protector)) => {
                        handset.orders.push("speak");
                        handset.protector = Some(protector);
                    }
                    Output::Keep(changes) => handset.orders.extend(changes.iter().map(|_| "keep")),
                    Output::Join(setup) => assert!(matches!(setup.keys, LegKeys::Awaited), "no keys yet"),
                    Output::Leave(_) => handset.orders.push("leave"),
                    Output::Announce(..) => handset.orders.push("announce"),
                    _ => {}
                }
            }
            handset.drain(self.now);
            while let Some(packet) = handset.to_line.pop_front() {
                quiet = false;
                if passes(&packet) {
                    self.room(RoomEvent::Zrtp { call, from: PHONE, packet });
                }
            }
            if quiet {
                let wakes = [self.line.wake(), self.phone.wake(), handset.engine.wake()];
                let Some(next) = wakes.into_iter().flatten().min().filter(|next| *next <= end) else { break };
                self.now = self.now.max(next);
                self.line.handle_timeout(self.now);
                self.phone.handle_timeout(self.now);
                handset.engine.handle_timeout(self.now);
            }
        }
        self.now = end;
        self.settle();
    }

    fn secured(&self) -> Option<Secured> {
        self.line.report(self.now).calls.first()?.sound.clone()?.zrtp
    }
}

pub(super) fn by_voice() -> Verifier {
    Verifier::Voice { operator: "op".to_owned(), group: "meeting".to_owned(), call: 1 }
}

fn with_minimum(media_minimum: MediaLevel) -> World {
    World::with_rules(Rules { media_minimum, ..Rules::strict("gateway@example.org") })
}

/// A call of a phone with this memory, until ZRTP is over.
pub(super) fn called(world: &mut World, seed: u64, kept: Option<CacheEntry>) -> (DialogId, Handset) {
    let mut handset = Handset::new(seed, kept);
    let dialog = world.call(&handset.offer());
    assert_eq!(world.statuses(dialog), [180, 200]);
    let answer = String::from_utf8(world.responses(dialog).pop().unwrap().body).unwrap();
    assert!(!answer.contains("a=crypto") && answer.contains(" RTP/AVP "), "{answer}");
    let hash = answer.lines().find_map(|line| line.strip_prefix("a=zrtp-hash:")).unwrap();
    handset.engine.announced(world.now, hash.parse().unwrap());
    handset.engine.start(world.now);
    assert_eq!(world.states(), ["securing"]);
    world.zrtp(&mut handset, 2 * SECOND, |_| true);
    (dialog, handset)
}

fn packet(sequence: u16) -> RtpOut<'static> {
    RtpOut { payload_type: 96, marker: false, sequence, timestamp: 0, ssrc: Ssrc(7), payload: b"hello" }
}

#[test]
fn both_sides_show_the_same_code_and_understand_each_other() {
    let mut world = World::new();
    let (dialog, mut handset) = called(&mut world, 7, None);
    let secured = world.secured().expect("secure");
    let theirs = handset.secure.take().unwrap();
    assert_eq!(secured.sas, theirs.sas_text());
    assert_eq!((secured.level, secured.verified), (MediaLevel::Zrtp, false));
    assert!(secured.first_contact && !secured.cache_mismatch);
    assert_eq!(world.states(), ["talking"]);

    // the phone's key was there before the packet that lets it speak, and ours only when both had confirmed
    let order = |word: &str| handset.orders.iter().position(|order| *order == word);
    assert!(order("address") < order("receive") && order("receive") < order("speak"), "{:?}", handset.orders);
    assert!(order("keep").is_some(), "{:?}", handset.orders);

    let suite = Suite::parse(world.line.report(world.now).calls[0].sound.as_ref().unwrap().suite).unwrap();
    let proof = {
        let facts = crate::policy::KeyFacts {
            call: CallNumber(1),
            signalling: crate::policy::SignallingLevel::Verified,
            method: crate::policy::KeyingMethod::Sdes,
            suite: crate::policy::SuiteStrength::Full,
            current: None,
        };
        judge(&Rules::strict("a@b"), &facts).allowed().unwrap()
    };
    let master = |keys: &SrtpKeys| {
        let octets = [keys.key.expose(), keys.salt.expose()].concat();
        MasterKey::new(suite, crate::secret::Secret::new(octets)).unwrap()
    };
    let [receive, send] = handset.keys.each_ref().map(|keys| master(keys.as_ref().unwrap()));
    let (mut phone_out, mut phone_in) =
        (Protector::new(&proof, &send).unwrap(), Unprotector::new(&proof, &receive).unwrap());
    let mut heard = phone_out.rtp(&packet(1)).unwrap().as_bytes().to_vec();
    assert_eq!(handset.unprotector.unwrap().rtp(&mut heard).unwrap().payload, b"hello");
    let mut said = handset.protector.unwrap().rtp(&packet(1)).unwrap().as_bytes().to_vec();
    assert_eq!(phone_in.rtp(&mut said).unwrap().payload, b"hello");

    let hold = handset_offer_again(&handset.engine, "sendonly");
    assert_eq!(world.again(dialog, Method::INVITE, Some(&hold)).status, 200);
    assert_eq!(world.secured().unwrap(), secured, "hold keeps keys and code");
    assert!(!world.wanted().iter().any(|word| word.starts_with("rekey") || word.starts_with("zrtp")));
}

fn handset_offer_again(engine: &Engine, direction: &str) -> String {
    sdp("RTP/AVP", "96 0", &[&format!("zrtp-hash:{}", engine.hello_hash()), direction])
}

#[test]
fn a_secure_call_is_not_weakened_and_gets_no_second_exchange() {
    let mut world = World::new();
    let (dialog, _handset) = called(&mut world, 7, None);
    let secured = world.secured().unwrap();
    world.wants.clear();
    let other = format!("zrtp-hash:1.10 {}", "ab".repeat(32));
    let weaker = [sdp("RTP/AVP", "96 0", &[]), offer(), sdp("RTP/AVP", "96 0", &[&other])];
    for weaker in weaker {
        for method in [Method::INVITE, Method::UPDATE] {
            assert_eq!(world.again(dialog, method, Some(&weaker)).status, 488, "{weaker}");
        }
    }
    assert_eq!((world.secured().unwrap(), world.states()), (secured, vec!["talking"]));
    assert!(world.wanted().is_empty());
}

#[test]
fn where_an_announcement_is_optional_a_later_offer_without_one_keeps_the_keys_and_the_code() {
    let rules = Rules {
        media_minimum: MediaLevel::Zrtp,
        zrtp_hash: ZrtpHash::Optional,
        ..Rules::strict("gateway@example.org")
    };
    let mut world = World::with_rules(rules);
    let (dialog, _handset) = called(&mut world, 7, None);
    let secured = world.secured().unwrap();
    world.wants.clear();
    let answer = world.again(dialog, Method::INVITE, Some(&sdp("RTP/AVP", "96 0", &[])));
    assert_eq!((answer.status, world.again(dialog, Method::INVITE, Some(&offer())).status), (200, 488));
    assert_eq!((world.secured().unwrap(), world.states()), (secured, vec!["talking"]));
    assert!(!world.wanted().iter().any(|word| word.starts_with("rekey") || word.starts_with("zrtp")));
}

#[test]
fn an_sdes_call_does_not_turn_to_zrtp() {
    let (mut world, dialog) = World::talking();
    let handset = Handset::new(7, None);
    assert_eq!(world.again(dialog, Method::INVITE, Some(&handset.offer())).status, 488);
    world.wants.clear();
    world.room(RoomEvent::Zrtp { call: CallNumber(1), from: PHONE, packet: b"\x10\0\0\0ZRTP".to_vec() });
    assert!(world.wanted().is_empty());
    assert_eq!(world.states(), ["talking"]);
}

#[test]
fn a_phone_that_announces_zrtp_and_does_not_speak_it_gets_a_bye_that_says_so() {
    let mut world = World::new();
    let mut handset = Handset::new(7, None);
    let dialog = world.call(&handset.offer());
    world.zrtp(&mut handset, 11 * SECOND, |_| false);
    assert_eq!((world.bye(dialog), world.states()), (None, vec!["securing"]), "a phone may be slow");
    world.zrtp(&mut handset, 4 * SECOND, |_| false);
    let reason = world.bye(dialog).expect("a BYE");
    assert!(reason.contains("did not speak it"), "{reason}");
    assert!(!handset.orders.contains(&"speak") && handset.orders.contains(&"leave"), "{:?}", handset.orders);
}

#[test]
fn a_phone_that_comes_late_is_still_secure() {
    let mut world = World::new();
    let mut handset = Handset::new(7, None);
    world.call(&handset.offer());
    world.zrtp(&mut handset, 8 * SECOND, |_| false);
    handset.engine.start(world.now);
    world.zrtp(&mut handset, 2 * SECOND, |_| true);
    assert_eq!(world.secured().unwrap().sas, handset.secure.unwrap().sas_text());
}

#[test]
fn another_s_hello_is_nothing() {
    let mut world = World::new();
    let mut handset = Handset::new(7, None);
    world.call(&handset.offer());
    let mut stranger = Handset::of_device(8, Zid([4; 12]), 78);
    stranger.engine.start(world.now);
    world.zrtp(&mut stranger, SECOND, |_| true);
    assert!(!stranger.orders.contains(&"address") && !stranger.orders.contains(&"receive"), "{:?}", stranger.orders);
    handset.engine.start(world.now);
    world.zrtp(&mut handset, 2 * SECOND, |_| true);
    assert_eq!(world.secured().unwrap().sas, handset.secure.unwrap().sas_text());
}

#[test]
fn a_changed_message_ends_the_call_with_a_bye() {
    let mut world = World::new();
    let mut handset = Handset::new(7, None);
    let dialog = world.call(&handset.offer());
    handset.engine.start(world.now);
    // its Confirm never comes: whatever the two agreed on, nobody confirmed it
    world.zrtp(&mut handset, 20 * SECOND, |packet| packet.get(16..23) != Some(b"Confirm"));
    assert!(!handset.orders.contains(&"speak"), "{:?}", handset.orders);
    assert!(world.bye(dialog).expect("a BYE").contains("ZRTP did not succeed"));
}

#[test]
fn the_minimum_zrtp_takes_nothing_less_and_verified_wants_an_enrolled_phone() {
    let mut world = with_minimum(MediaLevel::Zrtp);
    let dialog = world.call(&offer());
    assert_eq!(world.statuses(dialog), [488], "SDES is not enough");
    let mut world = with_minimum(MediaLevel::ZrtpVerified);
    let (dialog, handset) = called(&mut world, 7, None);
    let reason = world.bye(dialog).expect("a BYE");
    assert!(reason.contains("compared in an earlier call") && reason.contains("Enrol the phone"), "{reason}");
    assert!(!handset.orders.contains(&"speak"), "nothing was heard: {:?}", handset.orders);
}

#[test]
fn a_verified_phone_is_known_in_its_next_call() {
    let mut world = with_minimum(MediaLevel::Zrtp);
    let (dialog, mut handset) = called(&mut world, 7, None);
    handset.engine.sas_compared(true);
    handset.drain(world.now);
    world.line.sas_compared(world.now, CallNumber(1), true, by_voice()).unwrap();
    world.settle();
    world.phone.bye(world.now, dialog, None);
    world.run(SECOND);
    let kept = handset.kept.take();
    assert!(kept.as_ref().is_some_and(|kept| kept.verified));

    let mut handset = Handset::new(9, kept);
    let dialog = world.call(&handset.offer());
    handset.engine.start(world.now);
    let number = world.line.report(world.now).calls[0].number;
    assert_eq!(number, CallNumber(2), "numbers are never used again");
    world.zrtp_of(&mut handset, number, 2 * SECOND, |_| true);
    assert_eq!(world.bye(dialog), None);
    let secured = world.secured().unwrap();
    assert!(secured.verified && secured.level == MediaLevel::ZrtpVerified, "{secured:?}");
    assert!(!secured.cache_mismatch && !secured.first_contact);
}

#[test]
fn a_code_that_differs_ends_the_call_and_only_this_session_s_secret_is_forgotten() {
    let mut world = World::new();
    let (dialog, mut handset) = called(&mut world, 7, None);
    world.line.sas_compared(world.now, CallNumber(1), true, by_voice()).unwrap();
    world.settle();
    world.phone.bye(world.now, dialog, None);
    world.run(SECOND);
    let kept = handset.kept.take();
    let mut handset = Handset::new(9, kept);
    let dialog = world.call(&handset.offer());
    handset.engine.start(world.now);
    world.zrtp_of(&mut handset, CallNumber(2), 2 * SECOND, |_| true);
    assert!(!world.secured().unwrap().cache_mismatch);
    let before = handset.kept.take();
    world.line.sas_compared(world.now, CallNumber(2), false, by_voice()).unwrap();
    world.settle();
    assert!(world.bye(dialog).expect("a BYE").contains("code"), "{:?}", world.bye(dialog));
    let book = world.peers.list(crate::units::UnixTime(1_800_000_000));
    assert_eq!(book.len(), 1, "the phone is still known");
    assert!(book[0].verification.is_none() && book[0].has_secret, "{book:?}");
    // the phone kept the bad session's secret first and the good one's second: they still recognise each other
    let mut handset = Handset::new(10, before);
    world.call(&handset.offer());
    handset.engine.start(world.now);
    world.zrtp_of(&mut handset, CallNumber(3), 2 * SECOND, |_| true);
    assert!(!world.secured().unwrap().cache_mismatch && !world.secured().unwrap().verified);
}

#[test]
fn nobody_can_speak_of_a_code_that_is_not_there() {
    let mut world = World::new();
    let mut handset = Handset::new(7, None);
    world.call(&handset.offer());
    assert!(world.line.sas_compared(world.now, CallNumber(1), true, by_voice()).is_err(), "not secure yet");
    assert!(world.line.sas_compared(world.now, CallNumber(2), true, by_voice()).is_err(), "no such call");
    handset.engine.start(world.now);
    world.zrtp(&mut handset, 2 * SECOND, |_| true);
    assert!(!world.secured().unwrap().verified);
    let (mut world, _) = World::talking();
    assert!(world.line.sas_compared(world.now, CallNumber(1), true, by_voice()).is_err(), "SDES has no code");
}

#[test]
fn a_phone_that_lost_its_memory_is_a_mismatch_and_never_verified() {
    let mut world = World::new();
    let (dialog, _) = called(&mut world, 7, None);
    world.line.sas_compared(world.now, CallNumber(1), true, by_voice()).unwrap();
    world.settle();
    world.phone.bye(world.now, dialog, None);
    world.run(SECOND);
    let mut handset = Handset::new(9, None);
    world.call(&handset.offer());
    handset.engine.start(world.now);
    world.zrtp_of(&mut handset, CallNumber(2), 2 * SECOND, |_| true);
    let secured = world.secured().unwrap();
    assert!(secured.cache_mismatch && !secured.verified, "{secured:?}");
    assert_eq!(secured.level, MediaLevel::Zrtp);
}

#[test]
fn without_an_announcement_only_a_minimum_of_zrtp_lets_it_begin() {
    let clear = sdp("RTP/AVP", "96 0", &[]);
    for media_minimum in [MediaLevel::Srtp, MediaLevel::Zrtp] {
        for zrtp_hash in [ZrtpHash::Required, ZrtpHash::Optional] {
            let mut world =
                World::with_rules(Rules { media_minimum, zrtp_hash, ..Rules::strict("gateway@example.org") });
            let dialog = world.call(&clear);
            let taken = media_minimum == MediaLevel::Zrtp && zrtp_hash == ZrtpHash::Optional;
            assert_eq!(
                world.statuses(dialog).last(),
                Some(if taken { &200 } else { &488 }),
                "{media_minimum:?} {zrtp_hash:?}"
            );
            if taken {
                let mut handset = Handset::new(7, None);
                handset.engine.start(world.now);
                world.zrtp(&mut handset, 2 * SECOND, |_| true);
                assert_eq!(world.secured().unwrap().sas, handset.secure.unwrap().sas_text());
                assert!(!handset.orders.contains(&"address"), "nothing says whose packets they are");
            }
        }
    }
}

#[test]
fn a_late_offer_under_zrtp_is_one_of_zrtp() {
    let mut world = with_minimum(MediaLevel::Zrtp);
    let dialog = world.call_with(None);
    world.run(SECOND);
    let offer = String::from_utf8(world.responses(dialog).pop().unwrap().body).unwrap();
    assert!(offer.contains(" RTP/AVP ") && !offer.contains("a=crypto"), "{offer}");
    let hash = offer.lines().find_map(|line| line.strip_prefix("a=zrtp-hash:")).unwrap();
    let mut handset = Handset::new(7, None);
    handset.engine.announced(world.now, hash.parse().unwrap());
    world.phone.ack(world.now, dialog, Some(Body::sdp(&handset.offer())));
    world.settle();
    handset.engine.start(world.now);
    world.zrtp(&mut handset, 2 * SECOND, |_| true);
    assert_eq!(world.secured().unwrap().sas, handset.secure.unwrap().sas_text());
}

#[test]
fn a_late_offer_of_zrtp_is_not_answered_with_less() {
    let key = "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    for less in [sdp("RTP/AVP", "96 0", &[]), sdp("RTP/AVP", "96 0", &[key]), sdp("RTP/SAVP", "96 0", &[key])] {
        let mut world = with_minimum(MediaLevel::Zrtp);
        let dialog = world.call_with(None);
        world.run(SECOND);
        world.phone.ack(world.now, dialog, Some(Body::sdp(&less)));
        world.settle();
        assert!(world.bye(dialog).is_some(), "{less}");
        assert!(!world.wanted().iter().any(|word| word.starts_with("join")), "no way to be heard: {less}");
    }
}

#[test]
fn real_phones_zrtp_offers_are_answered_with_zrtp() {
    for name in ["app-zrtp-ice-avpf-mux", "probe-avp-zrtp", "probe-avp-crypto-zrtp"] {
        let mut world = World::new();
        let text = std::fs::read_to_string(format!("tests/data/sdp/{name}.sdp")).unwrap();
        let dialog = world.call(&text);
        assert_eq!(world.statuses(dialog), [180, 200], "{name}");
        let answer = String::from_utf8(world.responses(dialog).pop().unwrap().body).unwrap();
        assert!(answer.contains("a=zrtp-hash:1.10 ") && !answer.contains("a=crypto"), "{name}: {answer}");
    }
}

fn author(name: &str, is_operator: bool, is_private: bool) -> Author {
    Author { id: Some(format!("{name}-id")), name: name.to_owned(), is_operator, is_private }
}

impl World {
    /// Somebody in the group writes this; gives back what the gateway answers, and to whom.
    fn asked(&mut self, author: Author, command: Command) -> (Option<String>, String) {
        self.said.clear();
        self.room(RoomEvent::Asked { author, command });
        self.said.pop().expect("an answer")
    }

    fn all_said(&mut self) -> String {
        std::mem::take(&mut self.said).into_iter().map(|(_, text)| text + "\n").collect()
    }
}

#[test]
fn people_get_the_code_in_halves_and_an_operator_s_word_counts() {
    let mut world = World::new();
    let (dialog, mut handset) = called(&mut world, 7, None);
    let sas = world.secured().unwrap().sas;
    let said = world.all_said();
    assert!(said.contains(&format!("Code {sas}")) && said.contains("☎ Alice #1"), "{said}");
    assert!(said.contains(&format!("you say \"{}\"", &sas[..2])), "the room says the first half: {said}");
    assert!(said.contains(&format!("caller says \"{}\"", &sas[2..])), "{said}");
    assert!(said.contains("!sas 1 ok"), "{said}");

    let (same, number) = (Command::Same(CallNumber(1)), CallNumber(1));
    let (to, answer) = world.asked(author("guest", false, false), same);
    assert!(to.is_none() && answer.contains("Only an operator"), "{answer}");
    let (_, answer) = world.asked(author("guest", false, false), Command::Different(number));
    assert!(answer.contains("Only an operator"), "{answer}");
    let (_, answer) = world.asked(author("op", true, false), Command::Same(CallNumber(9)));
    assert!(answer.contains("no call #9"), "{answer}");
    assert!(!world.secured().unwrap().compared && world.bye(dialog).is_none(), "none of that changed anything");

    let (to, answer) = world.asked(author("op", true, true), same);
    assert!(to.as_deref() == Some("op-id") && answer.contains("verified by op"), "privately: {answer}");
    assert!(world.secured().unwrap().compared);
    let book = world.peers.list(crate::units::UnixTime(1_800_000_000));
    let by = book[0].verification.clone().unwrap().by;
    assert_eq!(by, Verifier::Voice { operator: "op".to_owned(), group: "meeting".to_owned(), call: 1 });
    let (_, answer) = world.asked(author("guest", false, false), Command::Codes);
    assert!(answer.contains(&sas) && answer.contains("compared in this call"), "{answer}");

    handset.engine.sas_compared(true);
    handset.drain(world.now);
    world.phone.bye(world.now, dialog, None);
    world.run(SECOND);
    world.said.clear();
    let mut handset = Handset::new(9, handset.kept.take());
    world.call(&handset.offer());
    handset.engine.start(world.now);
    world.zrtp_of(&mut handset, CallNumber(2), 2 * SECOND, |_| true);
    let said = world.all_said();
    assert!(said.contains("verified by op in call #1") && said.contains("no need to compare"), "{said}");
}

#[test]
fn an_early_word_changes_nothing() {
    let mut world = World::new();
    let mut handset = Handset::new(7, None);
    world.call(&handset.offer());
    let (_, answer) = world.asked(author("op", true, false), Command::Same(CallNumber(1)));
    assert!(answer.contains("Nothing changed"), "{answer}");
    handset.engine.start(world.now);
    world.zrtp(&mut handset, 2 * SECOND, |_| true);
    assert!(!world.secured().unwrap().compared);
    assert!(world.peers.list(crate::units::UnixTime(1_800_000_000))[0].verification.is_none());
}

#[test]
fn people_are_warned_loudly_and_in_distinct_words() {
    let mut world = World::new();
    let (dialog, _) = called(&mut world, 7, None);
    world.phone.bye(world.now, dialog, None);
    world.run(SECOND);
    world.said.clear();
    let mut handset = Handset::new(9, None);
    world.call(&handset.offer());
    handset.engine.start(world.now);
    world.zrtp_of(&mut handset, CallNumber(2), 2 * SECOND, |_| true);
    let said = world.all_said();
    assert!(said.contains("SOMEBODY IS LISTENING IN BETWEEN") && !said.contains("unknown device"), "{said}");

    let mut other = Handset::of_device(10, Zid([3; 12]), 77);
    world.call(&other.offer());
    other.engine.start(world.now);
    world.zrtp_of(&mut other, CallNumber(3), 2 * SECOND, |_| true);
    let said = world.all_said();
    assert!(said.contains("known caller, unknown device") && !said.contains("SOMEBODY"), "{said}");
    assert!(world.line.report(world.now).calls[1].sound.as_ref().unwrap().new_device);
}

#[test]
fn what_cannot_be_stored_is_called_not_remembered_and_the_call_goes_on() {
    for in_store in [true, false] {
        let mut world = World::new();
        let (dialog, _handset) = called(&mut world, 7, None);
        let changes: Vec<u64> = (1..20).collect();
        world.peers.written(&changes, in_store);
        world.said.clear();
        world.run(5 * SECOND);
        assert_eq!(world.all_said().contains("not remembered"), !in_store);
        assert_eq!((world.bye(dialog), world.states()), (None, vec!["talking"]));
    }
}

#[test]
fn an_sdes_call_is_said_to_be_heard_by_the_provider_and_lowers_the_room() {
    let mut world = World::new();
    let (_, _handset) = called(&mut world, 7, None);
    world.said.clear();
    world.call(&offer());
    let said = world.all_said();
    assert!(said.contains("the provider, who can listen"), "{said}");
    assert!(said.contains("weakest phone in this group is now"), "{said}");
    assert_eq!(world.line.room_level(), Some(MediaLevel::Srtp));
}

#[test]
fn each_fall_of_the_room_s_level_is_told_also_after_it_rose() {
    let mut world = World::new();
    let (_, _first) = called(&mut world, 7, None);
    world.line.sas_compared(world.now, CallNumber(1), true, by_voice()).unwrap();
    world.settle();
    world.said.clear();
    for call in [2, 3] {
        let mut second = Handset::of_device(10, Zid([3; 12]), 75 + call);
        let dialog = world.call(&second.offer());
        second.engine.start(world.now);
        world.zrtp_of(&mut second, CallNumber(call), 2 * SECOND, |_| true);
        let told = world.all_said().matches("weakest phone in this group is now encrypted end to end").count();
        assert_eq!(told, 1, "call {call}");
        world.phone.bye(world.now, dialog, None);
        world.run(SECOND);
        assert_eq!(world.line.room_level(), Some(MediaLevel::ZrtpVerified));
        world.said.clear();
    }
}

#[test]
fn a_newcomer_whose_provider_can_listen_is_announced_to_those_alone_who_are_better_protected() {
    let mut world = World::new();
    let (_, _handset) = called(&mut world, 7, None);
    world.wanted();
    let first = world.call(&offer());
    let told =
        |world: &mut World| world.wanted().into_iter().filter(|want| want.starts_with("announce")).collect::<Vec<_>>();
    assert_eq!(told(&mut world), ["announce provider-joined to 1"]);
    let second = world.call(&offer());
    assert!(told(&mut world).is_empty(), "the room does not fall any further");
    for dialog in [first, second] {
        world.phone.bye(world.now, dialog, None);
        world.settle();
    }
    world.call(&offer());
    assert_eq!(told(&mut world), ["announce provider-joined to 1"], "it had risen again meanwhile");
}

#[test]
fn a_newcomer_with_zrtp_lowers_a_room_of_verified_phones_and_is_announced_to_them() {
    let mut world = World::new();
    let (_, _handset) = called(&mut world, 7, None);
    world.line.sas_compared(world.now, CallNumber(1), true, by_voice()).unwrap();
    world.wanted();
    world.said.clear();
    let mut handset = Handset::of_device(10, Zid([3; 12]), 77);
    world.call(&handset.offer());
    handset.engine.start(world.now);
    world.zrtp_of(&mut handset, CallNumber(2), 2 * SECOND, |_| true);
    assert!(handset.orders.contains(&"announce"), "{:?}", handset.orders);
    assert!(world.all_said().contains("its code not compared"));
}

/// A GoClear (RFC 6189 §5.11) as anybody on the way can make one.
fn go_clear(sequence: u8) -> Vec<u8> {
    let mut packet =
        [&[0x10, 0, 0, sequence][..], b"ZRTP", &[0, 0, 0, 77], &[0x50, 0x5a, 0, 5], b"GoClear ", &[0; 8]].concat();
    let crc = packet.iter().fold(!0u32, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    });
    packet.extend((!crc).to_le_bytes());
    packet
}

#[test]
fn who_interferes_with_an_exchange_is_told_of_once_and_nothing_else_comes_of_it() {
    let mut world = World::new();
    let (dialog, _handset) = called(&mut world, 7, None);
    let secured = world.secured().unwrap();
    world.said.clear();
    let mut stranger = Handset::of_device(8, Zid([4; 12]), 78);
    stranger.engine.start(world.now);
    world.zrtp(&mut stranger, SECOND, |_| true);
    for sequence in 1..4 {
        world.room(RoomEvent::Zrtp { call: CallNumber(1), from: PHONE, packet: go_clear(sequence) });
    }
    let said = world.all_said();
    let lines: Vec<&str> = said.lines().collect();
    let [other, clear] = lines[..] else { panic!("{lines:#?}") };
    assert!(other.starts_with("⚠ ☎ Alice #1: a Hello came that the phone did not announce"), "{other}");
    assert!(
        clear.starts_with("⚠ ☎ Alice #1: somebody asked in the phone's name to go on without encryption"),
        "{clear}"
    );
    assert_eq!((world.secured().unwrap(), world.bye(dialog), world.states()), (secured, None, vec!["talking"]));
}
