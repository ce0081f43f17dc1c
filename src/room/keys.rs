//! The keys of a leg: there from the start, or still to come from ZRTP, whose packets pass through the leg.
//!
//! In: contexts and orders of the dialog. Out: ZRTP packets of the phone, within a rate. Holds no key itself, only contexts that
//! `policy` allowed. Without one in a direction no sound runs in it: nothing is sent and nothing is heard. A clear leg has contexts
//! too, which only a dated exception makes.

use crate::srtp::{
    ClearReceiver, ClearSender, ProtectError, Protector, Rejected, RtpOut, RtpPacket, Sealed, Unprotector,
};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How a leg gets its keys.
pub enum LegKeys {
    /// They were agreed on in the session descriptions.
    Agreed {
        /// To the phone.
        protector: Box<Protector>,
        /// From the phone.
        unprotector: Box<Unprotector>,
    },
    /// ZRTP will agree on them: [`LegOrder`]s bring them.
    Awaited,
    /// There are none, and a dated exception lets the sound be clear.
    Clear(ClearSender, Box<ClearReceiver>),
}

/// To the phone.
pub(super) enum Sender {
    Sealing(Box<Protector>),
    Clear(ClearSender),
}

impl Sender {
    pub(super) fn rtp(&mut self, packet: &RtpOut<'_>) -> Result<Sealed, ProtectError> {
        match self {
            Sender::Sealing(protector) => protector.rtp(packet),
            Sender::Clear(sender) => sender.rtp(packet),
        }
    }

    pub(super) fn rtcp(&mut self, compound: &[u8]) -> Result<Sealed, ProtectError> {
        match self {
            Sender::Sealing(protector) => protector.rtcp(compound),
            Sender::Clear(sender) => sender.rtcp(compound),
        }
    }
}

/// From the phone.
pub(super) enum Receiver {
    Opening(Box<Unprotector>),
    Clear(Box<ClearReceiver>),
}

impl Receiver {
    /// Whether a packet that it takes proves who sent it.
    pub(super) fn proves(&self) -> bool {
        matches!(self, Receiver::Opening(_))
    }

    pub(super) fn rtp<'a>(&mut self, packet: &'a mut [u8]) -> Result<RtpPacket<'a>, Rejected> {
        match self {
            Receiver::Opening(unprotector) => unprotector.rtp(packet),
            Receiver::Clear(receiver) => receiver.rtp(packet),
        }
    }

    pub(super) fn rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], Rejected> {
        match self {
            Receiver::Opening(unprotector) => unprotector.rtcp(packet),
            Receiver::Clear(receiver) => receiver.rtcp(packet),
        }
    }
}

/// What the dialog's ZRTP has done with a leg, in this order.
pub enum LegOrder {
    /// Send this packet of ZRTP to the phone.
    Send(Box<Sealed>),
    /// The phone is there: its Hello is the one that the signalling announced.
    Address(SocketAddr),
    /// Try the phone's packets with this. Nothing is heard yet.
    Receive(Box<Unprotector>),
    /// Both sides have confirmed: let sound run, in both directions.
    Speak(Box<Protector>),
}

/// The contexts of both directions.
pub(super) struct Contexts {
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    /// ZRTP may pass.
    zrtp: Option<Passage>,
}

impl Contexts {
    pub(super) fn new(now: Instant, keys: LegKeys) -> Self {
        let (sender, receiver, zrtp) = match keys {
            LegKeys::Agreed { protector, unprotector } => {
                (Some(Sender::Sealing(protector)), Some(Receiver::Opening(unprotector)), None)
            }
            LegKeys::Awaited => (None, None, Some(Passage::new(now))),
            LegKeys::Clear(sender, receiver) => (Some(Sender::Clear(sender)), Some(Receiver::Clear(receiver)), None),
        };
        Contexts { sender, receiver, zrtp }
    }

    /// To the phone: only once both sides have confirmed the keys.
    pub(super) fn sender(&mut self) -> Option<&mut Sender> {
        self.sender.as_mut()
    }

    pub(super) fn receiver(&mut self) -> Option<&mut Receiver> {
        self.receiver.as_mut()
    }

    /// Whether sound may run.
    pub(super) fn are_complete(&self) -> bool {
        self.sender.is_some() && self.receiver.is_some()
    }

    pub(super) fn receive(&mut self, unprotector: Box<Unprotector>) {
        self.receiver = Some(Receiver::Opening(unprotector));
    }

    pub(super) fn speak(&mut self, protector: Box<Protector>) {
        self.sender = Some(Sender::Sealing(protector));
    }

    pub(super) fn replace(&mut self, protector: Protector, unprotector: Unprotector) {
        self.speak(Box::new(protector));
        self.receive(Box::new(unprotector));
    }

    /// Whether a ZRTP packet goes on to the dialog now.
    pub(super) fn passes(&mut self, now: Instant) -> bool {
        self.zrtp.as_mut().is_some_and(|passage| passage.passes(now))
    }

    /// Whether an authentic packet is news: the first one under keys that the phone had not confirmed (RFC 6189 §4.6).
    pub(super) fn is_first_proof(&mut self) -> bool {
        self.zrtp.as_mut().is_some_and(|passage| !std::mem::replace(&mut passage.proved, true))
    }
}

/// A handshake has some ten packets and repeats them at most every 50 ms; anybody can send more, and each costs the dialog time.
struct Passage {
    tokens: u32,
    refilled: Instant,
    proved: bool,
}

impl Passage {
    const MOST: u32 = 60;
    const EACH: Duration = Duration::from_millis(20);

    fn new(now: Instant) -> Self {
        Passage { tokens: Self::MOST, refilled: now, proved: false }
    }

    fn passes(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled);
        let new = (elapsed.as_millis() / Self::EACH.as_millis()).min(u128::from(Self::MOST)) as u32;
        if new > 0 {
            self.tokens = (self.tokens + new).min(Self::MOST);
            self.refilled = now;
        }
        let passes = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_zrtp_is_cut_to_a_rate_and_a_handshake_is_not() {
        let start = Instant::now();
        let mut contexts = Contexts::new(start, LegKeys::Awaited);
        let flood = (0..10_000u64).filter(|n| contexts.passes(start + Duration::from_micros(100 * n)));
        assert!((60..=115).contains(&flood.count()));
        let mut contexts = Contexts::new(start, LegKeys::Awaited);
        assert!((0..500u64).all(|n| contexts.passes(start + Duration::from_millis(25 * n))));
    }
}
