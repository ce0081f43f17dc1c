//! The engine: one media stream's ZRTP.
//!
//! In: datagrams, time, "authentic SRTP was seen", "the SAS was compared". Out: [`Output`]s. RFC 6189 §4–§6, §9.

use crate::{Agreements, Cache, Config, Dropped, HelloHash, Output, Random, Receipt, Secret};
use std::time::Instant;

/// One media stream's ZRTP. See the [crate's documentation](crate) for how to drive it.
pub struct Engine {
    _config: Config,
}

impl Engine {
    /// An engine for one RTP stream, quiet until [`Engine::start`].
    pub fn new(config: Config, random: impl Random + 'static, cache: impl Cache + 'static) -> Self {
        let _ = (random, cache);
        Engine { _config: config }
    }

    /// As [`Engine::new`], with other key agreements than the crate's own.
    pub fn with_agreements(
        config: Config,
        random: impl Random + 'static,
        cache: impl Cache + 'static,
        agreements: impl Agreements + 'static,
    ) -> Self {
        let _ = (random, cache, agreements);
        Engine { _config: config }
    }

    /// The hash of our Hello, for `a=zrtp-hash` in the offer or answer (§8.1).
    pub fn hello_hash(&self) -> HelloHash {
        HelloHash::of(&[])
    }

    /// The signalling announced the peer's Hello: from now on no other counts (§8.1).
    pub fn announced(&mut self, _now: Instant, _hash: HelloHash) {}

    /// Begins to send Hellos, or begins anew when they were not answered. Call it when packets can reach the peer, and again
    /// when that changes (the answer, the end of ICE, the first packet of the peer). Does nothing after an answer.
    pub fn start(&mut self, _now: Instant) {}

    /// A datagram from the peer.
    pub fn handle_packet(&mut self, _now: Instant, _datagram: &[u8]) -> Receipt {
        Receipt::Dropped(Dropped::NotZrtp)
    }

    /// When [`Engine::handle_timeout`] is due.
    pub fn wake(&self) -> Option<Instant> {
        None
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing to do. Call until `None` after each of the other methods.
    pub fn poll(&mut self) -> Option<Output> {
        None
    }

    /// An SRTP packet of the peer had a valid authentication tag under the [`Output::ReceiveKeys`]: counts as Conf2ACK (§4.6).
    pub fn srtp_authenticated(&mut self, _now: Instant) {}

    /// A person compared the SAS with the peer by voice. `equal` sets our flag V for the next call (§7.1) and, after a
    /// mismatch, allows the cache to be updated; otherwise the secret of this exchange is forgotten and V cleared.
    pub fn sas_compared(&mut self, _equal: bool) {}

    /// A key for the application's own use (§4.5.2): `octets` at most the length of the agreed hash. Both sides get
    /// the same for the same label. `None` before [`Output::Secure`].
    pub fn export(&self, _label: &[u8], _octets: usize) -> Option<Secret> {
        None
    }
}
