//! The end of an exchange: keys, cache and SAS go out (RFC 6189 §4.6.1, §4.9, §7.1), and what a secure stream still answers.

use super::state::{Confirmed, Done, Keyed, State};
use super::{Engine, Trust};
use crate::{CacheEntry, Continuity, Dropped, Lifetime, Output, Remember, Role, Secure, Warning, message};
use std::time::Instant;

impl Engine {
    /// Both sides have confirmed.
    pub(super) fn finish(&mut self, role: Role, confirmed: Confirmed, confirm2: Vec<u8>) {
        let Confirmed { keyed, peer_verified, peer_discloses, peer_lifetime } = confirmed;
        let Keyed { exchange, keys, continuity, aux, .. } = keyed;
        let verified_here = exchange.known.verified(continuity);
        let secure = Secure {
            sas: keys.sas,
            suite: exchange.suite,
            role,
            peer: exchange.peer.describe(),
            continuity,
            aux,
            verified: verified_here && peer_verified,
            verified_here,
            peer_discloses,
        };
        self.outputs.push_back(Output::SendKeys(keys.srtp(role, &exchange.suite)));
        let done = Done {
            retained: keys.retained.duplicate(),
            exporter: keys.into_exporter(),
            known: exchange.known,
            peer: exchange.peer,
            // "The actual cache interval used by both endpoints is the minimum of the values" (§4.9)
            lifetime: self.config.lifetime.min(peer_lifetime),
            confirm2,
            refused_go_clear: false,
        };
        // after a mismatch "the cache update MUST be delayed […] until the user verbally compares the SAS" (§4.6.1.1)
        if continuity != Continuity::Mismatch {
            self.remember(done.update(verified_here), &done);
        }
        self.state = State::Secure(Box::new(done));
        self.outputs.push_back(Output::Secure(Box::new(secure)));
    }

    /// A person compared the SAS with the peer by voice. `equal` sets our flag V for the next call (§7.1) and, after a
    /// mismatch, allows the cache to be updated; otherwise the secret of this exchange is forgotten and V cleared.
    /// May be called again: the last word counts. Does nothing before [`Output::Secure`].
    pub fn sas_compared(&mut self, equal: bool) {
        let State::Secure(done) = &self.state else { return };
        let (peer, entry) = (done.peer.hello.zid, if equal { done.update(true) } else { done.retreat() });
        if entry.is_some() || done.known.had_entry() || done.lifetime > Lifetime::NONE {
            self.outputs.push_back(Output::Remember(Remember { peer, entry }));
        }
    }

    fn remember(&mut self, entry: Option<CacheEntry>, done: &Done) {
        // "if […] there is no cache entry already defined, no new cache entry is created" (§4.9)
        if entry.is_some() || done.known.had_entry() {
            self.outputs.push_back(Output::Remember(Remember { peer: done.peer.hello.zid, entry }));
        }
    }

    pub(super) fn on_go_clear(&mut self, now: Instant) -> Result<Trust, Dropped> {
        let State::Secure(done) = &mut self.state else { return Err(Dropped::Unexpected) };
        if core::mem::replace(&mut done.refused_go_clear, true) {
            return Err(Dropped::Unexpected);
        }
        self.warn(Warning::GoClearRefused);
        // "GoClear message received, but not allowed"
        self.answer(now, &message::build(b"Error   ", &[&GO_CLEAR_NOT_ALLOWED.to_be_bytes()]))?;
        Ok(Trust::None)
    }

    /// "A RelayACK is still sent, but no Error message is sent" (§5.13); the relayed SAS is not looked at.
    pub(super) fn on_sas_relay(&mut self, now: Instant) -> Result<Trust, Dropped> {
        if !matches!(self.state, State::Secure(_)) {
            return Err(Dropped::Unexpected);
        }
        self.answer(now, &message::build(b"RelayACK", &[]))?;
        self.warn(Warning::SasRelayIgnored);
        Ok(Trust::None)
    }
}

const GO_CLEAR_NOT_ALLOWED: u32 = 0x100;

impl Done {
    /// The cache entry that this exchange leads to; `None`: nothing may be kept.
    fn update(&self, verified: bool) -> Option<CacheEntry> {
        (self.lifetime > Lifetime::NONE).then(|| self.known.updated(&self.retained, self.lifetime, verified))
    }

    /// "clearing the SAS Verified flag, and erase the cached shared secret from this session" (§7.1); older ones stay.
    fn retreat(&self) -> Option<CacheEntry> {
        self.known.had_entry().then(|| self.known.unverified())
    }
}
