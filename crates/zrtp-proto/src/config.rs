//! What an engine is made with: who we are, what we offer, and every waiting time of RFC 6189 §6 as data.

use crate::{Lifetime, Offer, Secret};
use core::fmt;
use std::time::Duration;

/// A ZRTP identifier (RFC 6189 §4.9): 96 random bits, made once per installation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zid(pub [u8; 12]);

impl fmt::Debug for Zid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Display for Zid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Who we are and what we want. Make it with [`Config::new`] and change what you need.
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// Our ZID.
    pub zid: Zid,
    /// The SSRC of our RTP stream. It must be settled before the engine is made (§5).
    pub ssrc: u32,
    /// What we offer.
    pub offer: Offer,
    /// Client identifier in our Hello, 16 octets. Give no version: it helps only attackers.
    pub client_id: [u8; 16],
    /// How long we want retained secrets to live; the peer may shorten it. [`Lifetime::NONE`] is the cacheless mode (§4.9.1).
    pub lifetime: Lifetime,
    /// A secret that both sides agreed on outside ZRTP (§4.3), if there is one.
    pub aux_secret: Option<Secret>,
    /// Waiting times.
    pub timers: Timers,
}

impl Config {
    /// The defaults for this ZID and SSRC.
    pub fn new(zid: Zid, ssrc: u32) -> Self {
        Config {
            zid,
            ssrc,
            offer: Offer::default(),
            client_id: *b"zrtp-proto      ",
            lifetime: Lifetime::FOREVER,
            aux_secret: None,
            timers: Timers::default(),
        }
    }
}

/// A row of retransmissions: the first after `first`, each next after twice the time, never more than `cap`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Time until the first retransmission.
    pub first: Duration,
    /// Longest time between two.
    pub cap: Duration,
    /// How many there are before giving up.
    pub count: u32,
}

/// Every waiting time (§6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Timers {
    /// T1: Hello while nothing says that the peer speaks ZRTP. 3.75 s in all.
    pub hello: Schedule,
    /// T1 once there is evidence: a Hello of the peer, or its zrtp-hash in the signalling. At least 12 s in all.
    pub hello_expected: Schedule,
    /// T2: every other message that is retransmitted. 9.45 s in all.
    pub exchange: Schedule,
    /// How long a responder waits for the next message of the initiator.
    pub silence: Duration,
    /// How long we leave the peer the chance to be the initiator, counted from the moment at which we could commit.
    pub commit_delay: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        let hello = Schedule { first: Duration::from_millis(50), cap: Duration::from_millis(200), count: 20 };
        Timers {
            hello,
            hello_expected: Schedule { count: 62, ..hello },
            exchange: Schedule { first: Duration::from_millis(150), cap: Duration::from_millis(1200), count: 10 },
            silence: Duration::from_secs(10),
            commit_delay: Duration::from_millis(150),
        }
    }
}
