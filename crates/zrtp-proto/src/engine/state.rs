//! The states of an engine, in protocol order, each with what it alone needs.

use crate::derive::{Exporter, Keys};
use crate::message::Hello;
use crate::retained::Known;
use crate::{Agreement, AuxSecret, Continuity, Lifetime, Peer, Secret, Suite};

/// Where the exchange is. Named for what we sent last.
pub(super) enum State {
    /// Hellos and HelloACKs.
    Discovery,
    /// Initiator: awaits DHPart1.
    SentCommit(Box<SentCommit>),
    /// Initiator: awaits Confirm1.
    SentDhPart2(Box<Keyed>),
    /// Initiator: awaits Conf2ACK or authentic SRTP.
    SentConfirm2(Box<Confirmed>),
    /// Responder: awaits DHPart2.
    SentDhPart1(Box<SentDhPart1>),
    /// Responder: awaits Confirm2.
    SentConfirm1(Box<Keyed>),
    /// Both have keys.
    Secure(Box<Done>),
    /// It is over. The peer is kept to know its Errors from others'.
    Failed(Option<Box<Candidate>>),
}

/// A Hello that may be the peer's.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) ssrc: u32,
    pub(super) hello: Hello,
    /// The whole message.
    pub(super) message: Vec<u8>,
    /// The signalling announced it.
    pub(super) announced: bool,
}

/// What both roles know from Commit on.
pub(super) struct Exchange {
    pub(super) peer: Candidate,
    pub(super) suite: Suite,
    pub(super) known: Known,
    /// The Commit, ours or the peer's.
    pub(super) commit: Vec<u8>,
}

pub(super) struct SentCommit {
    pub(super) exchange: Exchange,
    pub(super) half: Box<dyn Agreement>,
    /// Our DHPart2, to which the Commit commits.
    pub(super) part2: Vec<u8>,
    pub(super) hvi: [u8; 32],
}

pub(super) struct SentDhPart1 {
    pub(super) exchange: Exchange,
    pub(super) half: Box<dyn Agreement>,
    pub(super) part1: Vec<u8>,
    pub(super) peer_h2: [u8; 32],
    pub(super) hvi: [u8; 32],
}

/// There are keys; the peer has not confirmed them yet.
pub(super) struct Keyed {
    pub(super) exchange: Exchange,
    pub(super) keys: Keys,
    pub(super) continuity: Continuity,
    pub(super) aux: AuxSecret,
    /// The peer's DHPart, whose MAC its Confirm lets us check.
    pub(super) peer_part: Vec<u8>,
    pub(super) peer_h1: [u8; 32],
    /// What we sent last, to answer a repetition: Confirm1. Empty for an initiator, who repeats by himself.
    pub(super) answer: Vec<u8>,
    /// Confirms of the peer that did not authenticate.
    pub(super) bad_confirms: u32,
}

/// The peer has confirmed the keys.
pub(super) struct Confirmed {
    pub(super) keyed: Keyed,
    /// What the peer's Confirm says: flag V, flag D, and how long it wants the secret to live.
    pub(super) peer_verified: bool,
    pub(super) peer_discloses: bool,
    pub(super) peer_lifetime: Lifetime,
}

/// What is kept while a call is secure. The SRTP keys are with the caller, the rest is wiped.
pub(super) struct Done {
    pub(super) peer: Candidate,
    pub(super) exporter: Exporter,
    pub(super) known: Known,
    /// The new rs1, for what the comparison of the SAS does to the cache.
    pub(super) retained: Secret,
    pub(super) lifetime: Lifetime,
    /// The Confirm2 that we accepted as responder, to know its repetitions.
    pub(super) confirm2: Vec<u8>,
    pub(super) refused_go_clear: bool,
}

impl State {
    /// The peer, from Commit on.
    pub(super) fn peer(&self) -> Option<&Candidate> {
        Some(match self {
            State::Discovery => return None,
            State::SentCommit(state) => &state.exchange.peer,
            State::SentDhPart1(state) => &state.exchange.peer,
            State::SentDhPart2(keyed) | State::SentConfirm1(keyed) => &keyed.exchange.peer,
            State::SentConfirm2(confirmed) => &confirmed.keyed.exchange.peer,
            State::Secure(done) => &done.peer,
            State::Failed(peer) => return peer.as_deref(),
        })
    }

    pub(super) fn peer_mut(&mut self) -> Option<&mut Candidate> {
        Some(match self {
            State::Discovery => return None,
            State::SentCommit(state) => &mut state.exchange.peer,
            State::SentDhPart1(state) => &mut state.exchange.peer,
            State::SentDhPart2(keyed) | State::SentConfirm1(keyed) => &mut keyed.exchange.peer,
            State::SentConfirm2(confirmed) => &mut confirmed.keyed.exchange.peer,
            State::Secure(done) => &mut done.peer,
            State::Failed(peer) => return peer.as_deref_mut(),
        })
    }

    /// Nothing can fail any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, State::Secure(_) | State::Failed(_))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            State::Discovery => "Discovery",
            State::SentCommit(_) => "SentCommit",
            State::SentDhPart2(_) => "SentDhPart2",
            State::SentConfirm2(_) => "SentConfirm2",
            State::SentDhPart1(_) => "SentDhPart1",
            State::SentConfirm1(_) => "SentConfirm1",
            State::Secure(_) => "Secure",
            State::Failed(_) => "Failed",
        }
    }
}

impl Candidate {
    /// What the caller may know of it.
    pub(super) fn describe(&self) -> Peer {
        Peer {
            zid: self.hello.zid,
            ssrc: self.ssrc,
            client_id: self.hello.client_id,
            is_pbx: self.hello.is_pbx,
            announced: self.announced,
        }
    }
}
