//! Recorded handshakes, replayed octet by octet in both roles.
//!
//! The recording supplies what the endpoint drew at random and what its peer sent; all it sent must come out of the engine
//! again: whole datagrams with sequence numbers and CRCs where the recorded endpoint sent just the packets that we send
//! (bzrtp), messages where it counted otherwise (libzrtp commits instead of acknowledging; fragments).

use super::{data, hex, octets, unhex};
use crate::agreement::software::Software;
use crate::algorithms::Name;
use crate::derive::kdf;
use crate::engine::Recorded;
use crate::message::{self, Message};
use crate::*;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Handshakes, roles replayed, datagrams compared whole, messages compared.
const EXPECTED: (usize, usize) = if cfg!(feature = "x1m1") { (48, 94) } else { (20, 38) };

#[test]
fn recorded_handshakes_replay_in_both_roles() {
    let all = data(include_str!("../../tests/data/handshakes.json"));
    let (mut handshakes, mut roles) = (0, 0);
    for recording in all.as_array().unwrap() {
        if KeyAgreement::from_name(name_at(recording, "key_agreement")).is_none() {
            continue; // X1M1 where it is not built
        }
        handshakes += 1;
        for role in [Role::Initiator, Role::Responder] {
            if let Some(reason) = not_ours(recording, role) {
                println!("left out: {} as {role:?}: {reason}", recording["name"]);
                continue;
            }
            Replay::new(recording, role).run();
            roles += 1;
        }
    }
    assert_eq!((handshakes, roles), EXPECTED);
}

/// What this engine never is.
fn not_ours(recording: &Value, role: Role) -> Option<&'static str> {
    let own = recording[key(role)].as_str().unwrap();
    own.starts_with("pbx").then_some("it acts as a PBX: flag M in its Hello")
}

fn key(role: Role) -> &'static str {
    match role {
        Role::Initiator => "initiator",
        Role::Responder => "responder",
    }
}

fn name_at(recording: &Value, kind: &str) -> Name {
    recording["algorithms"][kind].as_str().unwrap().as_bytes().try_into().unwrap()
}

fn suite(recording: &Value) -> Suite {
    Suite {
        hash: Hash::from_name(name_at(recording, "hash")).unwrap(),
        cipher: Cipher::from_name(name_at(recording, "cipher")).unwrap(),
        auth_tag: AuthTag::from_name(name_at(recording, "auth")).unwrap(),
        agreement: KeyAgreement::from_name(name_at(recording, "key_agreement")).unwrap(),
        sas: SasType::from_name(name_at(recording, "sas")).unwrap(),
    }
}

/// One recorded endpoint and our engine in its place.
struct Replay<'a> {
    recording: &'a Value,
    role: Role,
    engine: Engine,
    now: Instant,
    sent: VecDeque<Vec<u8>>,
    outputs: Vec<Output>,
}

impl<'a> Replay<'a> {
    fn new(recording: &'a Value, role: Role) -> Self {
        let own = recording[key(role)].as_str().unwrap();
        let packets = || recording["packets"].as_array().unwrap().iter().filter(|packet| packet["from"] == own);
        let first = unhex(packets().next().unwrap()["hex"].as_str().unwrap());
        let hello = packets()
            .map(|packet| unhex(packet["hex"].as_str().unwrap()))
            .find(|datagram| &datagram[16..24] == b"Hello   ")
            .unwrap();
        let Ok(Message::Hello(hello)) = message::parse(&hello[12..hello.len() - 4]) else { panic!("no Hello") };
        let lists = [hello.hashes, hello.ciphers, hello.auth_tags, hello.agreements, hello.sas_types];
        let ssrc = u32::from_be_bytes(first[8..12].try_into().unwrap());
        let mut config = Config::new(hello.zid, ssrc);
        config.client_id = hello.client_id;
        config.timers.commit_delay = Duration::ZERO;
        config.offer = Offer {
            hashes: spoken(&lists[0], Hash::from_name),
            ciphers: spoken(&lists[1], Cipher::from_name),
            auth_tags: spoken(&lists[2], AuthTag::from_name),
            agreements: spoken(&lists[3], KeyAgreement::from_name),
            sas_types: spoken(&lists[4], SasType::from_name),
        };
        config.aux_secret = octets(recording, &format!("auxsecret/{}", key(role))).map(Secret::new);
        let confirm = if role == Role::Initiator { "Confirm2" } else { "Confirm1" };
        let plain = octets(recording, &format!("confirm/{confirm}/plaintext")).unwrap();
        config.lifetime = Lifetime(u32::from_be_bytes(plain[36..40].try_into().unwrap()));
        let mut commits = packets().map(|packet| unhex(packet["hex"].as_str().unwrap()));
        let lost_commit = commits.find(|datagram| role == Role::Responder && &datagram[16..24] == b"Commit  ");
        // libzrtp prefers other algorithms of its list than the first; bzrtp's choice must be ours
        let forced = (recording["source"] == "libzrtp" && role == Role::Initiator).then(|| suite(recording));
        let recorded =
            Recorded { suite: forced, commit: lost_commit.map(|datagram| datagram[12..datagram.len() - 4].to_vec()) };
        let random = Draws(draws(recording, role, &first));
        let cache = Kept(entry(recording, role, plain[35] & 4 != 0));
        let mut engine = if recording["dh"]["pvi"].is_string() {
            Engine::with_agreements(config, random, cache, Known(recording.clone()))
        } else {
            Engine::with_agreements(config, random, cache, Software)
        };
        engine.replay(lists, recorded);
        Replay { recording, role, engine, now: Instant::now(), sent: VecDeque::new(), outputs: Vec::new() }
    }

    fn run(mut self) {
        let name = &self.recording["name"];
        let own = self.recording[key(self.role)].as_str().unwrap();
        let whole = self.recording["source"] == "bzrtp" && self.recording["reassembled"].is_null();
        let mut own_packets =
            self.recording["packets"].as_array().unwrap().iter().filter(|packet| packet["from"] == own);
        if &unhex(own_packets.next().unwrap()["hex"].as_str().unwrap())[16..24] == b"Hello   " {
            self.engine.start(self.now); // else it waited for the peer's
            self.collect();
        }
        for packet in self.recording["packets"].as_array().unwrap() {
            let datagram = unhex(packet["hex"].as_str().unwrap());
            if packet["from"] != own {
                if packet["lost"].is_null() {
                    let receipt = self.engine.handle_packet(self.now, &datagram);
                    let incomplete = packet["fragment"] == true && packet["completes"].is_null();
                    match receipt {
                        Receipt::Accepted => {}
                        Receipt::Dropped(Dropped::Incomplete) if incomplete => {}
                        Receipt::Dropped(Dropped::LostContention) => {}
                        other => panic!("{name} as {:?}: {other:?} for {}", self.role, packet["hex"]),
                    }
                    self.collect();
                }
                continue;
            }
            let expected = match packet["completes"].as_str() {
                Some(kind) => octets(self.recording, &format!("reassembled/{}", kind.trim_end())).unwrap(),
                None if packet["fragment"] == true => continue,
                None => datagram[12..datagram.len() - 4].to_vec(),
            };
            let sent = self.next_sent(&expected);
            assert_eq!(hex(&sent[12..sent.len() - 4]), hex(&expected), "{name} as {:?}", self.role);
            if whole {
                assert_eq!(hex(&sent), hex(&datagram), "{name} as {:?}", self.role);
            }
        }
        self.check_result();
    }

    fn collect(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Transmit(datagram) => self.sent.push_back(datagram),
                other => self.outputs.push(other),
            }
        }
    }

    /// What the engine sends next; time passes if it must. libzrtp sends no HelloACK where it can commit: ours is passed over.
    fn next_sent(&mut self, expected: &[u8]) -> Vec<u8> {
        for _ in 0..10 {
            while let Some(sent) = self.sent.pop_front() {
                let extra = self.recording["source"] == "libzrtp"
                    && &sent[16..24] == b"HelloACK"
                    && &expected[4..12] != b"HelloACK";
                if !extra {
                    return sent;
                }
            }
            self.now = self.engine.wake().unwrap_or_else(|| {
                panic!(
                    "{} as {:?}: {:?} awaits, {:?}",
                    self.recording["name"],
                    self.role,
                    self.engine,
                    String::from_utf8_lossy(&expected[4..12])
                )
            });
            self.engine.handle_timeout(self.now);
            self.collect();
        }
        panic!("{}: nothing sent", self.recording["name"]);
    }

    fn check_result(mut self) {
        let (recording, role) = (self.recording, self.role);
        let name = recording["name"].to_string();
        let suite = suite(recording);
        let key_of = |label: &str| octets(recording, &format!("keys/{label}")).unwrap();
        let side = |role| if role == Role::Initiator { "Initiator" } else { "Responder" };
        let mut seen = Vec::new();
        for output in self.outputs.drain(..) {
            match output {
                Output::PeerFound(_) => {}
                Output::ReceiveKeys(keys) | Output::SendKeys(keys) if seen.len() < 2 => {
                    let sender = if seen.is_empty() { role.other() } else { role };
                    assert_eq!(
                        hex(keys.key.expose()),
                        hex(&key_of(&format!("{} SRTP master key", side(sender)))),
                        "{name}"
                    );
                    assert_eq!(
                        hex(keys.salt.expose()),
                        hex(&key_of(&format!("{} SRTP master salt", side(sender)))),
                        "{name}"
                    );
                    seen.push("keys");
                }
                Output::Remember(remember) => {
                    let rs1 = remember.entry.unwrap().rs1.unwrap();
                    assert_eq!(hex(rs1.secret.expose()), hex(&key_of("retained secret")), "{name}");
                    seen.push("remember");
                }
                Output::Secure(secure) => {
                    check_secure(recording, role, &secure, suite);
                    seen.push(if secure.continuity == Continuity::Mismatch { "mismatch" } else { "secure" });
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        match seen.as_slice() {
            ["keys", "keys", "remember", "secure"] => {}
            // the cache is not touched before the SAS is compared
            ["keys", "keys", "mismatch"] => {
                self.engine.sas_compared(true);
                let Some(Output::Remember(remember)) = self.engine.poll() else { panic!("{name}") };
                let entry = remember.entry.unwrap();
                assert!(entry.verified);
                assert_eq!(hex(entry.rs1.unwrap().secret.expose()), hex(&key_of("retained secret")), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        // "exportKey(label) = KDF(ExportedKey, label, KDF_Context)", as bzrtp makes it
        if let Some(exported) = octets(recording, "keys/Exported key") {
            let context = octets(recording, "kdf_context").unwrap();
            let own = self.engine.export(b"some label", suite.hash.octets()).unwrap();
            assert!(
                own.equals(kdf(suite.hash, &exported, b"some label", &context, suite.hash.octets()).expose()),
                "{name}"
            );
        }
    }
}

fn check_secure(recording: &Value, role: Role, secure: &Secure, suite: Suite) {
    let name = &recording["name"];
    assert_eq!(secure.role, role, "{name}");
    assert_eq!(secure.suite, suite, "{name}");
    assert_eq!(format!("{:08x}", secure.sas.value()), recording["sas"]["sasvalue"], "{name}");
    assert_eq!(secure.sas.base32().to_string(), recording["sas"]["base32"], "{name}");
    if let Some(reported) = recording["reported"].as_array() {
        let own = recording[key(role)].as_str().unwrap();
        let report = reported.iter().find(|report| report["who"] == own).unwrap();
        assert_eq!(u64::from(secure.verified), report["verified"].as_u64().unwrap(), "{name}");
        let mismatch = secure.continuity == Continuity::Mismatch;
        assert_eq!(u64::from(mismatch), report["cacheMismatch"].as_u64().unwrap(), "{name}");
        let aux = match secure.aux {
            AuxSecret::Match => 0,
            AuxSecret::Mismatch => 1,
            AuxSecret::None => 2,
        };
        assert_eq!(aux, report["auxMismatch"].as_u64().unwrap(), "{name}");
    }
}

fn spoken<T>(names: &[Name], from_name: fn(Name) -> Option<T>) -> Vec<T> {
    names.iter().filter_map(|name| from_name(*name)).collect()
}

/// What the recorded endpoint drew at random, by purpose.
struct Draws(BTreeMap<String, Vec<u8>>);

impl Random for Draws {
    fn fill(&mut self, purpose: Purpose, octets: &mut [u8]) {
        match self.0.get(&format!("{purpose:?}")) {
            Some(recorded) => octets.copy_from_slice(recorded),
            // what a losing Commit commits to was never sent
            None => octets.fill(7),
        }
    }
}

fn draws(recording: &Value, role: Role, first: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut draws = BTreeMap::new();
    let mut add = |purpose: Purpose, octets: Option<Vec<u8>>| {
        if let Some(octets) = octets {
            draws.insert(format!("{purpose:?}"), octets);
        }
    };
    let sequence = u16::from_be_bytes(first[2..4].try_into().unwrap());
    add(Purpose::SequenceNumber, Some((sequence.wrapping_sub(1) & 0x7fff).to_be_bytes().to_vec()));
    add(Purpose::HashPreimage, octets(recording, &format!("h0/{}", key(role))));
    let (own, confirm, part) = match role {
        Role::Initiator => ("secret_i", "Confirm2", "DHPart2"),
        Role::Responder => ("secret_r", "Confirm1", "DHPart1"),
    };
    add(Purpose::SecretValue, octets(recording, &format!("dh/{own}")));
    add(Purpose::ConfirmIv, octets(recording, &format!("confirm/{confirm}/iv")));
    for (at, which) in
        [AbsentSecret::Rs1, AbsentSecret::Rs2, AbsentSecret::Aux, AbsentSecret::Pbx].into_iter().enumerate()
    {
        add(Purpose::AbsentSecret(role, which), octets(recording, &format!("ids/{part}/{at}")));
    }
    let key_pair = octets(recording, "kem/mlkem_d").zip(octets(recording, "kem/mlkem_z"));
    add(Purpose::MlKemKeyPair, key_pair.map(|(d, z)| [d, z].concat()));
    add(Purpose::MlKemMessage, octets(recording, "kem/mlkem_m"));
    if role == Role::Initiator {
        add(Purpose::Nonce, octets(recording, "kem/nonce"));
    }
    draws
}

/// What the recorded endpoint had in its cache.
struct Kept(Option<CacheEntry>);

impl Cache for Kept {
    fn lookup(&mut self, _peer: &Zid) -> Lookup {
        self.0.take().map_or(Lookup::Unknown, Lookup::Known)
    }
}

fn entry(recording: &Value, role: Role, flag_v: bool) -> Option<CacheEntry> {
    let kept = |which| {
        let secret = octets(recording, &format!("retained/{}/{which}", key(role)))?;
        Some(Retained { secret: Secret::new(secret), lifetime: Lifetime::FOREVER })
    };
    let rs1 = kept("rs1")?;
    // after a mismatch flag V must be 0 whatever the cache says
    let verified = flag_v || recording["s1"].is_null();
    Some(CacheEntry { rs1: Some(rs1), rs2: kept("rs2"), verified })
}

/// Public values and result of a recording that has no secret values.
struct Known(Value);

struct KnownHalf {
    commit: Vec<u8>,
    own: Vec<u8>,
    peer: Vec<u8>,
    result: Vec<u8>,
}

impl Known {
    fn half(&self, role: Role) -> Box<dyn Agreement> {
        let value = |which: &str| octets(&self.0, &format!("dh/{which}")).unwrap_or_default();
        let (own, peer) = match role {
            Role::Initiator => (value("pvi"), value("pvr")),
            Role::Responder => (value("pvr"), value("pvi")),
        };
        let commit = if role == Role::Initiator { value("commit") } else { Vec::new() };
        Box::new(KnownHalf { commit, own, peer, result: value("result") })
    }
}

impl Agreements for Known {
    fn initiator(&mut self, _: KeyAgreement, _: Cipher, _: &mut dyn Random) -> Box<dyn Agreement> {
        // the contention may turn it into the responder's
        let zid = |which: &str| octets(&self.0, which).unwrap();
        let _ = zid;
        self.half(Role::Initiator)
    }

    fn responder(
        &mut self,
        _: KeyAgreement,
        _: Cipher,
        _: Hash,
        commit_value: &[u8],
        _: &mut dyn Random,
    ) -> Result<Box<dyn Agreement>, BadPublicValue> {
        assert_eq!(commit_value, octets(&self.0, "dh/commit").unwrap_or_default());
        Ok(self.half(Role::Responder))
    }
}

impl Agreement for KnownHalf {
    fn commit_value(&self) -> &[u8] {
        &self.commit
    }

    fn part_value(&self) -> &[u8] {
        &self.own
    }

    fn finish(self: Box<Self>, peer: &[u8], _: Hash) -> Result<Secret, BadPublicValue> {
        assert_eq!(peer, self.peer);
        Ok(Secret::new(self.result))
    }
}
