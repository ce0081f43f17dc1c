//! The sound of one phone: its keys, its packets, its voice.
//!
//! In: datagrams from anybody, frames of the room. Out: Opus for Galène, sealed packets for the phone. The phone's
//! address is learnt only from packets that authenticate; others are counted and change nothing (RFC 3711 §3.3). A clear leg
//! learns none: it knows the address of the session description, and takes nothing from elsewhere.

use super::hearing::{Hearing, Voice};
use super::keys::{Contexts, LegKeys, LegOrder};
use super::link::{Link, LinkReport};
use super::notice::Notice;
use super::telling::Telling;
use super::uplink::Uplink;
use super::{Channel, EndReason, RoomConfig};
use crate::audio::{Announcement, Codec, CodecError, Encoder, Limiter};
use crate::policy::MediaLevel;
use crate::srtp::rtcp::{self, Compound, Packet, SenderInfo};
use crate::srtp::{Datagram, Protector, Reception, RtpOut, Sealed, Unprotector};
use crate::units::{CallNumber, Random, SampleRate, Ssrc, WallClock, random_hex};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Without an authenticated packet for so long a call is dead …
const SILENT_PHONE: Duration = Duration::from_secs(30);

/// … unless the phone holds it.
const HOLDING_PHONE: Duration = Duration::from_secs(30 * 60);

/// Between RTCP reports (RFC 3550 §6.2), before they are spread by half.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// A codec under the payload type that was negotiated for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhoneCodec {
    /// The codec.
    pub codec: Codec,
    /// Its RTP payload type.
    pub payload_type: u8,
}

/// Where the phone says that it listens. `None` where it named a host, which is never looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteMedia {
    /// For RTP.
    pub rtp: Option<SocketAddr>,
    /// For RTCP, unless multiplexed.
    pub rtcp: Option<SocketAddr>,
    /// RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
}

/// Which way sound runs. A phone that does not want ours holds the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// The phone speaks to the room.
    pub from_phone: bool,
    /// The phone listens to the room.
    pub to_phone: bool,
}

/// All that the room needs to know of a call.
pub struct LegSetup {
    /// Which call.
    pub call: CallNumber,
    /// The phone's name in the group.
    pub participant: String,
    /// What the sound is encoded with.
    pub codec: PhoneCodec,
    /// Of our stream to the phone.
    pub ssrc: Ssrc,
    /// What `policy` allowed to protect it with, now or later.
    pub keys: LegKeys,
    /// Where to send before anything authentic came.
    pub remote: RemoteMedia,
    /// Which way.
    pub direction: Direction,
    /// What the phone is told before it hears anything else, and again every ten minutes.
    pub warning: Option<Announcement>,
}

/// The state of a leg, for `calls`.
#[derive(Clone, Debug)]
pub struct LegReport {
    /// Which call.
    pub call: CallNumber,
    /// Packets sent to the phone.
    pub sent: u64,
    /// Authenticated packets of the phone.
    pub received: u64,
    /// Packets that were lost on the way from the phone.
    pub lost: u64,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: u64,
    /// Packets that did not authenticate; of a clear leg, those that came from elsewhere or made no sense.
    pub auth_failures: u64,
    /// Packets that came before there were keys, dropped unheard: a phone that speaks in clear until ZRTP is done.
    pub before_keys: u64,
    /// The client in the group.
    pub participant: LinkReport,
}

pub(super) enum LegEvent {
    Ended(EndReason),
    /// A ZRTP packet from there, for the dialog.
    Zrtp(SocketAddr, Vec<u8>),
    /// The phone has the keys that ZRTP made.
    Proved,
}

pub(super) struct Leg {
    pub(super) link: Link,
    pub(super) voice: Voice,
    pub(super) telling: Telling,
    /// Packets to send, oldest first.
    pub(super) packets: VecDeque<(Channel, SocketAddr, Sealed)>,
    /// The dialog was told to answer.
    pub(super) answered: bool,
    /// What is known of the group's permission to speak.
    may_present: bool,
    /// People were told that the phone is not heard.
    told_unheard: bool,
    call: CallNumber,
    codec: PhoneCodec,
    contexts: Contexts,
    /// Where the session description says that the phone is …
    described: RemoteMedia,
    /// … and where it is.
    remote: RemoteMedia,
    direction: Direction,
    muted: bool,
    uplink: Uplink,
    /// To Galène, where the phone's sound is not forwarded.
    encoder: Option<Encoder>,
    /// To the phone, while it talks and so hears a mix of its own.
    downlink: Option<Encoder>,
    limiter: Limiter,
    buffer: Vec<i16>,
    stream: OutStream,
    reception: Option<Reception>,
    auth_failures: u64,
    before_keys: u64,
    received: u64,
    lost_before: u64,
    sent_before: u64,
    heard_from: Instant,
    clock: WallClock,
    next_report: Instant,
    report_jitter: u64,
    /// The next tick panics.
    #[cfg(test)]
    pub(super) breaks: bool,
}

/// Our RTP stream to the phone.
struct OutStream {
    ssrc: Ssrc,
    cname: String,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    packets: u64,
    octets: u64,
    /// Of the packets, those sent before the last report.
    reported: u64,
}

impl Leg {
    pub(super) fn new(now: Instant, setup: LegSetup, link: Link, config: &RoomConfig, random: &mut dyn Random) -> Self {
        let mut seed = [0u8; 12];
        random.fill(&mut seed);
        let word = |at: usize| u32::from_be_bytes([seed[at], seed[at + 1], seed[at + 2], seed[at + 3]]);
        let rate = setup.codec.codec.rate();
        Leg {
            link,
            voice: Voice::new(setup.codec.codec),
            telling: Telling::new(config.language, setup.warning),
            packets: VecDeque::new(),
            answered: false,
            may_present: true,
            told_unheard: false,
            call: setup.call,
            codec: setup.codec,
            contexts: Contexts::new(now, setup.keys),
            described: setup.remote,
            remote: setup.remote,
            direction: setup.direction,
            muted: false,
            uplink: Uplink::default(),
            encoder: None,
            downlink: None,
            limiter: Limiter::new(),
            buffer: vec![0; rate.frame()],
            stream: OutStream {
                ssrc: setup.ssrc,
                cname: random_hex(random, 12),
                sequence: (word(0) & 0x7fff) as u16, // the lower half, so that an early loss cannot hide a wrap (RFC 3711 §3.3.1)
                timestamp: word(4),
                marker: true,
                packets: 0,
                octets: 0,
                reported: 0,
            },
            reception: None,
            auth_failures: 0,
            before_keys: 0,
            received: 0,
            lost_before: 0,
            sent_before: 0,
            heard_from: now,
            clock: config.clock,
            next_report: now + REPORT_INTERVAL,
            report_jitter: u64::from(word(8)),
            #[cfg(test)]
            breaks: false,
        }
    }

    /// The call is answered: from now on the phone has to be heard from.
    pub(super) fn start(&mut self, now: Instant) {
        self.heard_from = now;
    }

    pub(super) fn update(&mut self, now: Instant, direction: Direction, remote: RemoteMedia) {
        // what the phone says anew counts; what it only repeats does not undo what its packets have shown
        if remote.rtp != self.described.rtp {
            self.remote.rtp = remote.rtp.or(self.remote.rtp);
        }
        if remote.rtcp != self.described.rtcp {
            self.remote.rtcp = remote.rtcp.or(self.remote.rtcp);
        }
        self.remote.rtcp_mux = remote.rtcp_mux;
        self.described = remote;
        self.stream.marker |= direction.to_phone && !self.direction.to_phone;
        if direction.to_phone != self.direction.to_phone {
            self.telling.interrupt();
        }
        self.direction = direction;
        self.heard_from = now;
        self.uplink.pause();
    }

    /// New keys from a re-INVITE. Our stream begins anew under them: with another SSRC and a low sequence number, so that
    /// the phone cannot miss its rollover counter (RFC 4568 §6.4, RFC 3711 §3.3.1).
    pub(super) fn rekey(&mut self, level: MediaLevel, protector: Protector, unprotector: Unprotector) {
        self.contexts.replace(protector, unprotector);
        if level > MediaLevel::Clear {
            self.telling.end_warning();
        }
        self.stream.ssrc = Ssrc(self.stream.ssrc.0.wrapping_add(1));
        self.stream.sequence &= 0x7fff;
        self.stream.marker = true;
        self.sent_before += self.stream.packets;
        self.stream.packets = 0;
        self.stream.octets = 0;
        self.stream.reported = 0;
        // the phone's rollover counter begins anew with its key, so its packets are numbered anew
        self.forget_source();
    }

    /// What ZRTP has done.
    pub(super) fn order(&mut self, now: Instant, order: LegOrder) {
        match order {
            LegOrder::Send(packet) => {
                if let Some(to) = self.remote.rtp {
                    self.packets.push_back((Channel::Rtp, to, *packet));
                }
            }
            LegOrder::Address(from) => self.moved(from),
            LegOrder::Receive(unprotector) => self.contexts.receive(unprotector),
            LegOrder::Speak(protector) => {
                self.contexts.speak(protector);
                self.heard_from = now;
                self.stream.marker = true;
            }
        }
    }

    /// Whether this is the address that the session description names.
    fn is_expected(&self, channel: Channel, from: SocketAddr) -> bool {
        let described = match channel {
            Channel::Rtp => self.described.rtp,
            Channel::Rtcp => self.described.rtcp,
        };
        described == Some(from)
    }

    fn moved(&mut self, from: SocketAddr) {
        if self.remote.rtp != Some(from) {
            tracing::debug!(call = %self.call, %from, "the phone's address, from an authenticated packet");
            self.remote.rtp = Some(from);
        }
    }

    fn forget_source(&mut self) {
        self.lost_before += self.reception.take().as_ref().map_or(0, Reception::lost);
        self.uplink.pause();
    }

    /// The call was answered: who is not heard has to be known.
    pub(super) fn note_answered(&mut self) -> Option<Notice> {
        let heard = self.link.is_publishing();
        self.told_unheard = !heard;
        (!heard).then_some(if self.may_present { Notice::NotHeard } else { Notice::ListensOnly })
    }

    /// An operator asked for silence. A browser's user could speak again at his own wish; a phone cannot.
    pub(super) fn mute(&mut self, by: String) -> Option<Notice> {
        (!std::mem::replace(&mut self.muted, true)).then_some(Notice::Muted { by })
    }

    /// The group's permissions may have changed. Being allowed to speak anew ends being muted.
    pub(super) fn note_permissions(&mut self) -> Option<Notice> {
        let may = self.link.may("present")?;
        let could = std::mem::replace(&mut self.may_present, may);
        self.muted &= could || !may;
        let told = self.answered && could && !may;
        self.told_unheard |= told;
        told.then_some(Notice::ListensOnly)
    }

    /// A new stream to Galène begins, at a low sequence number again.
    pub(super) fn publishing_began(&mut self) -> Option<Notice> {
        self.uplink.restart();
        std::mem::take(&mut self.told_unheard).then_some(Notice::Heard)
    }

    pub(super) fn listens_at(&self, rate: SampleRate) -> bool {
        self.answered && self.contexts.are_complete() && self.direction.to_phone && self.codec.codec.rate() == rate
    }

    /// Whether the room hears this phone now. A phone that holds may send music, which nobody wants in a conference.
    pub(super) fn is_heard(&self) -> bool {
        let both_ways = self.direction.from_phone && self.direction.to_phone;
        self.answered && self.contexts.are_complete() && !self.muted && both_ways
    }

    /// G.711 has to be decoded and encoded on its way to Galène; Opus is forwarded.
    pub(super) fn encodes_uplink(&self) -> bool {
        self.codec.codec != Codec::Opus
    }

    /// A datagram from anybody.
    pub(super) fn phone_packet(
        &mut self,
        now: Instant,
        channel: Channel,
        from: SocketAddr,
        packet: &mut [u8],
    ) -> Option<LegEvent> {
        match (Datagram::of(packet), channel) {
            (Some(Datagram::Rtp), Channel::Rtp) => return self.rtp(now, from, packet),
            (Some(Datagram::Rtcp), Channel::Rtcp) => self.rtcp(now, channel, from, packet),
            (Some(Datagram::Rtcp), Channel::Rtp) if self.remote.rtcp_mux => self.rtcp(now, channel, from, packet),
            (Some(Datagram::Zrtp), Channel::Rtp) if self.contexts.passes(now) => {
                return Some(LegEvent::Zrtp(from, packet.to_vec()));
            }
            // bare STUN of Linphone, ZRTP or DTLS that was not agreed, noise: nothing answers it
            _ => {}
        }
        None
    }

    fn rtp(&mut self, now: Instant, from: SocketAddr, packet: &mut [u8]) -> Option<LegEvent> {
        let expected = self.is_expected(Channel::Rtp, from);
        let Some(receiver) = self.contexts.receiver() else {
            self.before_keys += 1;
            return None;
        };
        if !receiver.proves() && !expected {
            self.auth_failures += 1;
            return None;
        }
        let packet = match receiver.rtp(packet) {
            Ok(packet) => packet,
            Err(why) => {
                self.auth_failures += 1;
                tracing::trace!(call = %self.call, %why, "RTP packet dropped");
                return None;
            }
        };
        self.heard_from = now;
        self.received += 1;
        self.moved(from); // without proof it has not
        let header = packet.header;
        match &mut self.reception {
            Some(reception) if reception.ssrc() == header.ssrc => reception.packet(now, packet.index, header.timestamp),
            _ => {
                let rate = self.codec.codec.rate().hz();
                let reception = Reception::new(now, header.ssrc, rate, packet.index, header.timestamp);
                self.lost_before += self.reception.replace(reception).as_ref().map_or(0, Reception::lost);
                self.uplink.pause();
            }
        }
        if header.payload_type == self.codec.payload_type && self.is_heard() {
            self.voice.packet(now, header.sequence, header.timestamp, header.marker, packet.payload);
            if self.codec.codec == Codec::Opus {
                let place = self.uplink.forward(now, packet.index, header.timestamp, header.marker);
                if let (Some((sequence, timestamp, marker)), Some(client)) = (place, self.link.client()) {
                    client.send_opus(now, sequence, timestamp, marker, packet.payload);
                }
            }
        } // telephone-events and comfort noise are no sound
        self.contexts.is_first_proof().then_some(LegEvent::Proved)
    }

    fn rtcp(&mut self, now: Instant, channel: Channel, from: SocketAddr, packet: &mut [u8]) {
        let expected = self.is_expected(channel, from);
        let Some(receiver) = self.contexts.receiver() else {
            self.before_keys += 1;
            return;
        };
        if !receiver.proves() && !expected {
            self.auth_failures += 1;
            return;
        }
        let compound = match receiver.rtcp(packet) {
            Ok(compound) => compound,
            Err(why) => {
                self.auth_failures += 1;
                tracing::trace!(call = %self.call, %why, "RTCP packet dropped");
                return;
            }
        };
        self.heard_from = now;
        match channel {
            Channel::Rtcp => self.remote.rtcp = Some(from),
            Channel::Rtp => self.remote.rtp = Some(from),
        }
        for packet in rtcp::parse(compound).into_iter().flatten() {
            if let (Packet::SenderReport(ssrc, info, _), Some(reception)) = (packet, &mut self.reception)
                && reception.ssrc() == ssrc
            {
                reception.sender_report(now, info.ntp);
            }
        }
    }

    /// Sends this tick's voice to Galène, where it has to be encoded.
    pub(super) fn speak(&mut self, now: Instant) -> Option<LegEvent> {
        if !self.encodes_uplink() {
            return None;
        }
        let frame = self.voice.frame(SampleRate::Hz8000).filter(|_| self.is_heard());
        if self.encoder.is_none() {
            self.encoder = new_encoder(Codec::Opus, SampleRate::Hz8000);
        }
        let payload = match (frame, &mut self.encoder) {
            (Some(frame), Some(encoder)) => encoder.encode(frame).inspect_err(not_encoded).ok(),
            _ => None,
        };
        let (sequence, timestamp, marker) = self.uplink.frame(payload.is_some());
        if let (Some(payload), Some(client)) = (payload, self.link.client()) {
            client.send_opus(now, sequence, timestamp, marker, payload);
        }
        None
    }

    /// Sends this tick's sound of the room to the phone, and a report when it is due.
    ///
    /// `at` is the tick's own time, for which `hearing` has collected; `now` may be a little later.
    pub(super) fn listen(&mut self, at: Instant, now: Instant, hearing: &mut Hearing) -> Option<LegEvent> {
        #[cfg(test)]
        assert!(!self.breaks, "a test breaks this call");
        if !self.answered || !self.contexts.are_complete() {
            return None;
        }
        self.stream.timestamp = self.stream.timestamp.wrapping_add(self.codec.codec.frame_ticks());
        if self.direction.to_phone {
            self.send_sound(at, hearing);
        }
        if now >= self.next_report {
            self.report_jitter = self.report_jitter.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let spread = (self.report_jitter >> 33) % 1000;
            self.next_report = now + REPORT_INTERVAL / 2 + REPORT_INTERVAL * spread as u32 / 1000;
            self.send_report(now, false);
        }
        None
    }

    fn send_sound(&mut self, at: Instant, hearing: &mut Hearing) {
        let codec = self.codec.codec;
        let own = self.voice.speech(at, codec.rate()).filter(|_| self.is_heard());
        let payload = match (own, self.telling.next(at, codec.rate())) {
            (None, None) => hearing.everyone(codec),
            (None, Some(told)) => hearing.telling(codec, at, told),
            (Some(own), told) => {
                match told {
                    None => hearing.without(codec.rate(), own, &mut self.limiter, &mut self.buffer),
                    Some(told) => {
                        hearing.telling_without(codec.rate(), at, told, own, &mut self.limiter, &mut self.buffer);
                    }
                }
                if self.downlink.is_none() {
                    self.downlink = new_encoder(codec, codec.rate());
                }
                let encoder = self.downlink.as_mut();
                encoder.and_then(|encoder| encoder.encode(&self.buffer).inspect_err(not_encoded).ok())
            }
        };
        let Some(payload) = payload else { return };
        let packet = RtpOut {
            payload_type: self.codec.payload_type,
            marker: self.stream.marker,
            sequence: self.stream.sequence,
            timestamp: self.stream.timestamp,
            ssrc: self.stream.ssrc,
            payload,
        };
        let Some(sender) = self.contexts.sender() else { return };
        match sender.rtp(&packet) {
            Ok(sealed) => {
                self.stream.marker = false;
                self.stream.sequence = self.stream.sequence.wrapping_add(1);
                self.stream.packets += 1;
                self.stream.octets += packet.payload.len() as u64;
                if let Some(to) = self.remote.rtp {
                    self.packets.push_back((Channel::Rtp, to, sealed));
                }
            }
            Err(error) => tracing::error!(call = %self.call, %error, "packet not sealed, not sent"),
        }
    }

    fn send_report(&mut self, now: Instant, goodbye: bool) {
        let block = self.reception.as_mut().map(|reception| reception.report(now));
        let sent = self.stream.packets > std::mem::replace(&mut self.stream.reported, self.stream.packets);
        let sender = sent.then(|| SenderInfo {
            ntp: self.clock.ntp(now),
            rtp_timestamp: self.stream.timestamp,
            packets: self.stream.packets as u32,
            octets: self.stream.octets as u32,
        });
        let compound =
            Compound { ssrc: self.stream.ssrc, sender, blocks: block.as_slice(), cname: &self.stream.cname, goodbye };
        let (channel, to) = match self.remote.rtcp_mux {
            true => (Channel::Rtp, self.remote.rtp),
            false => (Channel::Rtcp, self.remote.rtcp),
        };
        let Some(sender) = self.contexts.sender() else { return };
        match (sender.rtcp(&compound.to_bytes()), to) {
            (Ok(sealed), Some(to)) => self.packets.push_back((channel, to, sealed)),
            (Ok(_), None) => {}
            (Err(error), _) => tracing::error!(call = %self.call, %error, "report not sealed, not sent"),
        }
    }

    /// A last report with a BYE (RFC 3550 §6.6).
    pub(super) fn goodbye(&mut self, now: Instant) {
        if self.answered {
            self.send_report(now, true);
        }
    }

    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let patience = if self.direction.to_phone { SILENT_PHONE } else { HOLDING_PHONE };
        self.answered.then(|| self.heard_from + patience)
    }

    pub(super) fn check_patience(&self, now: Instant) -> Option<LegEvent> {
        self.patience_ends().filter(|end| *end <= now).map(|_| LegEvent::Ended(EndReason::MediaTimeout))
    }

    pub(super) fn report(&self) -> LegReport {
        let mut participant = self.link.report();
        if self.muted {
            participant.state = "muted";
        }
        LegReport {
            call: self.call,
            sent: self.sent_before + self.stream.packets,
            received: self.received,
            lost: self.lost_before + self.reception.as_ref().map_or(0, Reception::lost),
            jitter_ms: self.reception.as_ref().map_or(0, |reception| reception.jitter().as_millis() as u64),
            auth_failures: self.auth_failures,
            before_keys: self.before_keys,
            participant,
        }
    }
}

fn new_encoder(codec: Codec, rate: SampleRate) -> Option<Encoder> {
    Encoder::new(codec, rate).inspect_err(|error| tracing::error!(%error, "no encoder")).ok()
}

fn not_encoded(error: &CodecError) {
    tracing::error!(%error, "a frame was not encoded");
}

#[cfg(test)]
mod tests;
