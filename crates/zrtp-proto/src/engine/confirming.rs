//! What both roles do with Confirms (RFC 6189 §4.6, §5.7): open the peer's, check what its H0 reveals, make our own.

use super::state::{Confirmed, Keyed, State};
use super::{Engine, Trust};
use crate::chain::continues;
use crate::confirm::{self, BadMac, Plain};
use crate::hash::message_mac_holds;
use crate::message::Confirm;
use crate::{Dropped, Failure, Lifetime, Purpose, Role};
use std::time::Instant;
use zeroize::Zeroizing;

/// How many of the peer's Confirms may fail to authenticate before the exchange ends.
const MOST_BAD_CONFIRMS: u32 = 3;

impl Engine {
    /// Checks the peer's Confirm: MAC, then its inside, then the hash chain, then the MAC of its DHPart.
    pub(super) fn open_confirm(&self, keyed: &Keyed, sender: Role, confirm: &Confirm<'_>) -> Result<Plain, Refusal> {
        let suite = &keyed.exchange.suite;
        let plain = match confirm::open(confirm, suite.hash, suite.cipher, keyed.keys.direction(sender)) {
            Err(BadMac) => return Err(Refusal::BadMac),
            Ok(Err(_)) => return Err(Refusal::Fail(Failure::Malformed)),
            Ok(Ok(plain)) => plain,
        };
        if !continues(&plain.h0, &keyed.peer_h1) {
            return Err(Refusal::Drop(Dropped::HashChain));
        }
        if !message_mac_holds(&plain.h0, &keyed.peer_part) {
            return Err(Refusal::Fail(Failure::DhPartMac));
        }
        Ok(plain)
    }

    /// No hash chain shows whose Confirm this was, because H0 is inside. One stray, of an older session for instance, does no
    /// harm; a peer with other keys repeats its own until we say 0x70, within a second.
    pub(super) fn on_bad_confirm(&mut self, now: Instant) -> Result<Trust, Dropped> {
        let (State::SentDhPart2(keyed) | State::SentConfirm1(keyed)) = &mut self.state else {
            return Err(Dropped::Unexpected);
        };
        keyed.bad_confirms += 1;
        if keyed.bad_confirms < MOST_BAD_CONFIRMS {
            return Err(Dropped::ConfirmMac);
        }
        self.fail_with(now, Failure::ConfirmMac)
    }

    /// Our Confirm, made once and repeated as it is.
    pub(super) fn own_confirm(&mut self, sender: Role, keyed: &Keyed) -> Vec<u8> {
        let mut iv = [0; 16];
        self.random.fill(Purpose::ConfirmIv, &mut iv);
        let plain = Plain {
            h0: Zeroizing::new(self.chain.h0),
            // a cacheless endpoint "MUST set the SAS Verified (V) flag to false" (§4.9.1)
            verified: keyed.exchange.known.verified(keyed.continuity) && self.config.lifetime != Lifetime::NONE,
            discloses: false,
            lifetime: self.config.lifetime,
        };
        let suite = &keyed.exchange.suite;
        confirm::seal(sender, suite.hash, suite.cipher, keyed.keys.direction(sender), iv, &plain)
    }
}

/// Why a Confirm was not used.
pub(super) enum Refusal {
    BadMac,
    Drop(Dropped),
    Fail(Failure),
}

impl Confirmed {
    pub(super) fn new(keyed: Keyed, plain: &Plain) -> Self {
        Confirmed {
            keyed,
            peer_verified: plain.verified,
            peer_discloses: plain.discloses,
            peer_lifetime: plain.lifetime,
        }
    }
}
