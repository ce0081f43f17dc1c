//! The engine: one media stream's ZRTP.
//!
//! In: datagrams, time, "authentic SRTP was seen", "the SAS was compared". Out: [`Output`]s. RFC 6189 §4–§6, §9.
//!
//! ```text
//!                     ┌─ SentCommit ── SentDhPart2 ── SentConfirm2 ─┐      initiator
//! Discovery ──────────┤       │ lost contention                     ├── Secure
//!                     └─ SentDhPart1 ── SentConfirm1 ───────────────┘      responder
//! any but Secure ── Failed
//! ```

mod confirming;
mod discovery;
mod initiator;
mod responder;
mod secure;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
pub(crate) use testing::Recorded;

use crate::agreement::software::Software;
use crate::chain::OwnChain;
use crate::fragment::Reassembly;
use crate::message::{self, Hello, Message, VERSION};
use crate::timer::{Due, Limit, Repeats};
use crate::wire::{self, Content};
use crate::{
    Agreements, Cache, Config, Dropped, Failure, HelloHash, Output, Purpose, Random, Receipt, Secret, Warning,
};
use core::fmt;
use state::{Candidate, State};
use std::collections::VecDeque;
use std::time::Instant;
use zeroize::Zeroizing;

/// One media stream's ZRTP. See the [crate's documentation](crate) for how to drive it.
pub struct Engine {
    config: Config,
    random: Box<dyn Random>,
    cache: Box<dyn Cache>,
    agreements: Box<dyn Agreements>,
    chain: OwnChain,
    /// Our Hello, the same in every transmission.
    hello: Vec<u8>,
    /// Of the next packet that we send.
    sequence: u16,
    state: State,
    /// What the signalling announced.
    announced: Option<HelloHash>,
    /// Hellos that may be the peer's, the first heard first. More than one only if somebody forges them.
    candidates: Vec<Candidate>,
    hello_sent: bool,
    /// The peer has our Hello: by a HelloACK or a Commit.
    hello_acknowledged: bool,
    /// A HelloACK that came before any Hello: its SSRC.
    early_ack: Option<u32>,
    /// When [`Output::Unanswered`] is due.
    answer_by: Option<Instant>,
    hello_repeats: Option<Repeats>,
    commit_at: Option<Instant>,
    /// The message that we repeat until it is answered: Commit, DHPart2, Confirm2 or Error.
    repeats: Option<(Repeats, Vec<u8>)>,
    /// When a responder gives up waiting.
    silence_at: Option<Instant>,
    reassembly: Reassembly,
    limit: Limit,
    warned: Vec<Warning>,
    outputs: VecDeque<Output>,
    /// What a test replays instead of choosing itself.
    #[cfg(test)]
    recorded: testing::Recorded,
}

impl Engine {
    /// An engine for one RTP stream, quiet until [`Engine::start`] or the peer's first Hello.
    pub fn new(config: Config, random: impl Random + 'static, cache: impl Cache + 'static) -> Self {
        Engine::with_agreements(config, random, cache, Software)
    }

    /// As [`Engine::new`], with other key agreements than the crate's own.
    pub fn with_agreements(
        mut config: Config,
        mut random: impl Random + 'static,
        cache: impl Cache + 'static,
        agreements: impl Agreements + 'static,
    ) -> Self {
        config.offer = config.offer.completed();
        let mut h0 = Zeroizing::new([0; 32]);
        random.fill(Purpose::HashPreimage, &mut *h0);
        let chain = OwnChain::new(&h0);
        let mut sequence = [0; 2];
        random.fill(Purpose::SequenceNumber, &mut sequence);
        Engine {
            hello: own_hello(&config, chain.h3).to_message(&chain.h2),
            // "initialized to a random value"; bzrtp ignores 0 and whatever comes after an overflow
            sequence: (u16::from_be_bytes(sequence) & 0x7fff) + 1,
            config,
            random: Box::new(random),
            cache: Box::new(cache),
            agreements: Box::new(agreements),
            chain,
            state: State::Discovery,
            announced: None,
            candidates: Vec::new(),
            hello_sent: false,
            hello_acknowledged: false,
            early_ack: None,
            answer_by: None,
            hello_repeats: None,
            commit_at: None,
            repeats: None,
            silence_at: None,
            reassembly: Reassembly::default(),
            limit: Limit::new(),
            warned: Vec::new(),
            outputs: VecDeque::new(),
            #[cfg(test)]
            recorded: testing::Recorded::default(),
        }
    }

    /// The hash of our Hello, for `a=zrtp-hash` in the offer or answer (§8.1).
    pub fn hello_hash(&self) -> HelloHash {
        HelloHash::of(&self.hello)
    }

    /// The signalling announced the peer's Hello: from now on no other counts (§8.1).
    pub fn announced(&mut self, now: Instant, hash: HelloHash) {
        self.announced = Some(hash);
        for candidate in &mut self.candidates {
            candidate.announced = hash.matches(&candidate.message);
        }
        self.candidates.retain(|candidate| candidate.announced);
        if self.state.peer().is_some_and(|peer| !hash.matches(&peer.message)) && !self.state.is_over() {
            return self.fail(now, Failure::HelloNotAnnounced);
        }
        if let Some(peer) = self.state.peer_mut() {
            peer.announced = hash.matches(&peer.message);
        }
    }

    /// Begins to send Hellos, or begins anew when they were not answered. Call it when packets can reach the peer, and again
    /// when that changes (the answer, the end of ICE, the first packet of the peer). Does nothing after an answer.
    pub fn start(&mut self, now: Instant) {
        if !matches!(self.state, State::Discovery) || self.hello_acknowledged {
            return;
        }
        let hello = self.hello.clone();
        self.transmit(&hello);
        self.hello_sent = true;
        self.hello_repeats = Some(Repeats::start(now, &self.config.timers.hello));
        self.answer_by = Some(now + self.config.timers.hello_expected.total());
    }

    /// A datagram from the peer.
    pub fn handle_packet(&mut self, now: Instant, datagram: &[u8]) -> Receipt {
        match self.take_packet(now, datagram) {
            Ok(Trust::None) => Receipt::Accepted,
            Ok(Trust::Announced) => Receipt::Bound,
            Err(dropped) => {
                if dropped == Dropped::HashChain {
                    self.warn(Warning::ForgedMessage);
                }
                Receipt::Dropped(dropped)
            }
        }
    }

    fn take_packet(&mut self, now: Instant, datagram: &[u8]) -> Result<Trust, Dropped> {
        let packet = wire::open(datagram)?;
        match packet.content {
            Content::Message(message) => self.take_message(now, packet.ssrc, message),
            Content::Fragment(piece) => {
                let whole = self.reassembly.add(now, packet.ssrc, &piece)?;
                self.take_message(now, packet.ssrc, &whole)
            }
        }
    }

    fn take_message(&mut self, now: Instant, ssrc: u32, octets: &[u8]) -> Result<Trust, Dropped> {
        let message = message::parse(octets)?;
        if let Message::Ping { endpoint } = message {
            return self.on_ping(now, ssrc, endpoint);
        }
        if let Message::Hello(hello) = message {
            return self.on_hello(now, ssrc, hello, octets);
        }
        self.check_ssrc(ssrc)?;
        if self.silence_at.is_some() {
            self.silence_at = Some(now + self.config.timers.silence);
        }
        match message {
            Message::Hello(_) | Message::Ping { .. } => Err(Dropped::Unexpected),
            Message::HelloAck => self.on_hello_ack(now, ssrc),
            Message::Commit(commit) => self.on_commit(now, ssrc, &commit, octets),
            Message::DhPart1(part) => self.on_dh_part1(now, &part, octets),
            Message::DhPart2(part) => self.on_dh_part2(now, &part, octets),
            Message::Confirm1(confirm) => self.on_confirm1(now, &confirm),
            Message::Confirm2(confirm) => self.on_confirm2(now, &confirm, octets),
            Message::Conf2Ack => self.on_conf2_ack(),
            Message::Error(code) => self.on_error(now, code),
            Message::ErrorAck => self.on_error_ack(),
            Message::GoClear => self.on_go_clear(now),
            Message::SasRelay => self.on_sas_relay(now),
            Message::ClearAck | Message::RelayAck | Message::PingAck => Err(Dropped::Unexpected),
        }
    }

    /// Once a peer is known its SSRC says which stream this is; others "may initiate an independent ZRTP protocol session" (§5).
    fn check_ssrc(&self, ssrc: u32) -> Result<(), Dropped> {
        let known = match self.state.peer() {
            Some(peer) => peer.ssrc == ssrc,
            None => self.candidates.iter().any(|candidate| candidate.ssrc == ssrc),
        };
        let nobody_yet = self.candidates.is_empty() && matches!(self.state, State::Discovery | State::Failed(_));
        if known || nobody_yet { Ok(()) } else { Err(Dropped::Ssrc) }
    }

    /// When [`Engine::handle_timeout`] is due.
    pub fn wake(&self) -> Option<Instant> {
        let hello = self.hello_repeats.as_ref().map(|repeats| repeats.at);
        let exchange = self.repeats.as_ref().map(|(repeats, _)| repeats.at);
        [hello, exchange, self.commit_at, self.silence_at, self.answer_by].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.repeat_hello(now);
        self.repeat_message(now);
        if self.silence_at.is_some_and(|at| at <= now) {
            self.fail(now, Failure::Timeout);
        }
        self.commit_if_due(now);
        if self.answer_by.is_some_and(|at| at <= now) {
            self.unanswered();
        }
    }

    fn repeat_message(&mut self, now: Instant) {
        let Some((repeats, _)) = &mut self.repeats else { return };
        match repeats.due(now, &self.config.timers.exchange) {
            Due::Nothing => {}
            Due::Repeat => {
                if let Some((repeats, message)) = self.repeats.take() {
                    self.transmit(&message);
                    self.repeats = Some((repeats, message));
                }
            }
            Due::Exhausted => {
                self.repeats = None;
                if !self.state.is_over() {
                    self.fail(now, Failure::Timeout);
                }
            }
        }
    }

    /// The next thing to do. Call until `None` after each of the other methods.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// An SRTP packet of the peer had a valid authentication tag under the [`Output::ReceiveKeys`]: counts as Conf2ACK (§4.6).
    pub fn srtp_authenticated(&mut self, _now: Instant) {
        // "The initiator MUST treat the first valid SRTP media from the responder as equivalent to receiving a Conf2ACK"
        let _ = self.on_conf2_ack();
    }

    /// A key for the application's own use (§4.5.2): `octets` at most the length of the agreed hash, the label not empty and
    /// without zero octets. Both sides get the same for the same label. `None` before [`Output::Secure`].
    pub fn export(&self, label: &[u8], octets: usize) -> Option<Secret> {
        match &self.state {
            State::Secure(done) => done.exporter.export(label, octets),
            _ => None,
        }
    }

    /// Sends a message once.
    fn transmit(&mut self, message: &[u8]) {
        let datagram = wire::seal(self.sequence, self.config.ssrc, message);
        self.sequence = self.sequence.wrapping_add(1);
        self.outputs.push_back(Output::Transmit(datagram));
    }

    /// Sends a message and repeats it until `self.repeats` is cleared.
    fn transmit_until_answered(&mut self, now: Instant, message: Vec<u8>) {
        self.transmit(&message);
        self.repeats = Some((Repeats::start(now, &self.config.timers.exchange), message));
    }

    /// Answers a message that nobody authenticated, within a rate.
    fn answer(&mut self, now: Instant, message: &[u8]) -> Result<(), Dropped> {
        if !self.limit.allows(now) {
            return Err(Dropped::RateLimited);
        }
        self.transmit(message);
        Ok(())
    }

    /// Says a warning, each kind once.
    fn warn(&mut self, warning: Warning) {
        if !self.warned.contains(&warning) {
            self.warned.push(warning);
            self.outputs.push_back(Output::Warning(warning));
        }
    }

    /// Ends the exchange: "no updates to the cached shared secrets and deletion of all crypto context" (§4.7.1).
    fn fail(&mut self, now: Instant, failure: Failure) {
        self.end_discovery();
        self.repeats = None;
        self.silence_at = None;
        self.state = State::Failed(self.state.peer().cloned().map(Box::new));
        if let Some(code) = failure.code() {
            self.transmit_until_answered(now, message::build(b"Error   ", &[&code.to_be_bytes()]));
        }
        self.outputs.push_back(Output::Failed(failure));
    }

    /// [`Engine::fail`] as the end of a handler: the packet was used.
    fn fail_with(&mut self, now: Instant, failure: Failure) -> Result<Trust, Dropped> {
        self.fail(now, failure);
        Ok(Trust::None)
    }

    /// No more Hellos, no more waiting for one.
    fn end_discovery(&mut self) {
        self.hello_acknowledged = true;
        self.hello_repeats = None;
        self.commit_at = None;
        self.answer_by = None;
    }

    fn on_error(&mut self, now: Instant, code: u32) -> Result<Trust, Dropped> {
        if self.candidates.is_empty() && self.state.peer().is_none() {
            return Err(Dropped::Unexpected);
        }
        self.answer(now, &message::build(b"ErrorACK", &[]))?;
        // nobody can authenticate an Error: it may stop what has not begun, never what is secure
        if self.state.is_over() {
            return Err(Dropped::Unexpected);
        }
        self.fail_with(now, Failure::PeerError(code))
    }

    fn on_error_ack(&mut self) -> Result<Trust, Dropped> {
        match self.state {
            State::Failed(_) if self.repeats.take().is_some() => Ok(Trust::None),
            _ => Err(Dropped::Unexpected),
        }
    }

    /// "A ZRTP endpoint MUST respond to a Ping with a PingACK" (§5.16). EndpointHash: the truncated ZID.
    fn on_ping(&mut self, now: Instant, ssrc: u32, endpoint: [u8; 8]) -> Result<Trust, Dropped> {
        let own = &self.config.zid.0[..8];
        let answer = message::build(b"PingACK ", &[&VERSION, own, &endpoint, &ssrc.to_be_bytes()]);
        self.answer(now, &answer)?;
        Ok(Trust::None)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("state", &self.state.name())
            .field("zid", &self.config.zid)
            .finish_non_exhaustive()
    }
}

/// Whether a used message is tied to the Hello that the signalling announced.
#[derive(Clone, Copy)]
enum Trust {
    None,
    Announced,
}

impl Trust {
    fn from_announced(announced: bool) -> Self {
        if announced { Trust::Announced } else { Trust::None }
    }
}

fn own_hello(config: &Config, h3: [u8; 32]) -> Hello {
    fn names<T: Copy>(list: &[T], name: fn(T) -> &'static str) -> Vec<[u8; 4]> {
        list.iter().filter_map(|item| name(*item).as_bytes().try_into().ok()).collect()
    }
    use crate::{AuthTag, Cipher, Hash, KeyAgreement, SasType};
    let offer = &config.offer;
    Hello {
        version: VERSION,
        client_id: config.client_id,
        h3,
        zid: config.zid,
        is_pbx: false,
        is_passive: false,
        hashes: names(&offer.hashes, Hash::name),
        ciphers: names(&offer.ciphers, Cipher::name),
        auth_tags: names(&offer.auth_tags, AuthTag::name),
        agreements: names(&offer.agreements, KeyAgreement::name),
        sas_types: names(&offer.sas_types, SasType::name),
    }
}
