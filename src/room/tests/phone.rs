//! A phone: its keys, its packets, what it heard.

use super::web::{Ears, Mouth};
use super::*;
use crate::policy::{KeyFacts, KeyingMethod, MayKey, Rules, SignallingLevel, SuiteStrength, judge};
use crate::srtp::rtcp::Compound;
use crate::srtp::{Datagram, MasterKey, RtpOut, Suite};
use crate::units::Ssrc;

/// A packet that came from the room.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) ssrc: Ssrc,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Phone {
    pub(super) codec: PhoneCodec,
    pub(super) protector: Protector,
    pub(super) unprotector: Unprotector,
    /// Where it is.
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: SocketAddr,
    pub(super) ssrc: Ssrc,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    mouth: Option<Mouth>,
    /// The payloads that it sent.
    pub(super) said: Vec<Vec<u8>>,
    pub(super) ears: Ears,
    pub(super) heard: Vec<Heard>,
    /// Decrypted compound packets, and the channel on which they came.
    pub(super) reports: Vec<(Instant, Channel, Vec<u8>)>,
    /// Packets that came to another address than the phone's.
    pub(super) astray: usize,
}

/// Policy's yes, asked for as in a call.
fn may_key(call: CallNumber) -> MayKey {
    let facts = KeyFacts {
        call,
        signalling: SignallingLevel::Verified,
        method: KeyingMethod::Sdes,
        suite: SuiteStrength::Full,
        current: None,
    };
    judge(&Rules::strict("alice@example.org"), &facts).allowed().unwrap()
}

/// Both ends' contexts: the room's, then the phone's.
pub(super) fn contexts(call: CallNumber, seed: u8) -> [(Protector, Unprotector); 2] {
    let suite = Suite::AesCm128HmacSha1_80;
    let key = |fill: u8| MasterKey::new(suite, Secret::new(vec![fill; suite.key_len() + suite.salt_len()])).unwrap();
    let (ours, theirs, proof) = (key(seed), key(!seed), may_key(call));
    [(&ours, &theirs), (&theirs, &ours)]
        .map(|(out, back)| (Protector::new(&proof, out).unwrap(), Unprotector::new(&proof, back).unwrap()))
}

impl Phone {
    /// A phone that sends silence, and what the room has to know of it.
    pub(super) fn new(number: u32, codec: Codec) -> (Self, LegSetup) {
        let call = CallNumber(number);
        let payload_type = match codec {
            Codec::Opus => 96,
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
        };
        let codec = PhoneCodec { codec, payload_type };
        let address = |port| SocketAddr::from(([198, 51, 100, number as u8], port));
        let [(our_protector, our_unprotector), (protector, unprotector)] = contexts(call, number as u8);
        let (rtp, rtcp) = (address(7078), address(7079));
        let setup = LegSetup {
            call,
            participant: format!("☎ {number}"),
            codec,
            ssrc: Ssrc(0x0200 + number),
            keys: LegKeys::Agreed { protector: Box::new(our_protector), unprotector: Box::new(our_unprotector) },
            remote: RemoteMedia { rtp: Some(rtp), rtcp: Some(rtcp), rtcp_mux: false },
            direction: Direction { from_phone: true, to_phone: true },
            warning: None,
        };
        let phone = Phone {
            codec,
            protector,
            unprotector,
            rtp,
            rtcp,
            ssrc: Ssrc(0x0100 + number),
            sequence: 40_000, // as phones do: anywhere
            timestamp: 0xffff_f000,
            mouth: Some(Mouth::new(codec.codec, 0.0)),
            said: Vec::new(),
            ears: Ears::new(codec.codec),
            heard: Vec::new(),
            reports: Vec::new(),
            astray: 0,
        };
        (phone, setup)
    }

    pub(super) fn says(&mut self, hz: f64) {
        self.mouth = Some(Mouth::new(self.codec.codec, hz));
    }

    /// As after a restart of the phone's own: another source, counted from here.
    pub(super) fn begins_anew(&mut self, sequence: u16) {
        self.ssrc = Ssrc(self.ssrc.0 ^ 0x5555_0000);
        self.sequence = sequence;
    }

    /// Sends nothing at all any more.
    pub(super) fn goes_dark(&mut self) {
        self.mouth = None;
    }

    /// The next packet, while it sends.
    pub(super) fn speak(&mut self) -> Option<Vec<u8>> {
        let payload = self.mouth.as_mut()?.payload();
        Some(self.packet(&payload))
    }

    pub(super) fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        self.said.push(payload.to_vec());
        let packet = RtpOut {
            payload_type: self.codec.payload_type,
            marker: false,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            payload,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.codec.codec.frame_ticks());
        self.protector.rtp(&packet).unwrap().as_bytes().to_vec()
    }

    /// A receiver report, protected.
    pub(super) fn report(&mut self) -> Vec<u8> {
        let compound = Compound { ssrc: self.ssrc, sender: None, blocks: &[], cname: "phone", goodbye: false };
        self.protector.rtcp(&compound.to_bytes()).unwrap().as_bytes().to_vec()
    }

    pub(super) fn receives(&mut self, now: Instant, channel: Channel, to: SocketAddr, packet: &[u8]) {
        let expected = match channel {
            Channel::Rtp => self.rtp,
            Channel::Rtcp => self.rtcp,
        };
        if to != expected {
            self.astray += 1;
            return;
        }
        let mut packet = packet.to_vec();
        if Datagram::of(&packet) == Some(Datagram::Rtcp) {
            let report = self.unprotector.rtcp(&mut packet).unwrap().to_vec();
            self.reports.push((now, channel, report));
            return;
        }
        assert_eq!(channel, Channel::Rtp);
        let packet = self.unprotector.rtp(&mut packet).unwrap();
        let header = packet.header;
        assert_eq!(header.payload_type, self.codec.payload_type);
        let (sequence, timestamp, marker) = (header.sequence, header.timestamp, header.marker);
        self.ears.packet(now, sequence, timestamp, marker, packet.payload);
        let payload = packet.payload.to_vec();
        self.heard.push(Heard { ssrc: header.ssrc, sequence, timestamp, marker, payload });
    }

    pub(super) fn listen(&mut self, now: Instant) {
        self.ears.listen(now);
    }
}
