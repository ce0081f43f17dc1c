//! The phone's sound: a task with its UDP sockets that sends a packet every 20 ms, and keeps what it hears.

use super::zrtp::Exchange;
use crate::Outcome;
use galene_sips::audio::{self, Encoder, Talker};
use galene_sips::keying::{Secured, Step};
use galene_sips::srtp::{Datagram, Protector, RtpHeader, RtpOut, Unprotector, rtcp};
use galene_sips::units::{SampleRate, Ssrc};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

const FRAME: usize = SampleRate::Hz48000.frame();
/// Packets that are kept, so that a test can replay them.
const KEPT: usize = 1_000;

/// How sound is protected.
pub(super) enum Contexts {
    /// Not at all.
    Clear,
    /// With SRTP. Without a context nothing is sent, or heard; ZRTP brings them.
    Srtp { protector: Option<Box<Protector>>, unprotector: Option<Box<Unprotector>> },
}

impl Contexts {
    /// What ZRTP begins with.
    pub(super) const AWAITED: Contexts = Contexts::Srtp { protector: None, unprotector: None };

    fn may_send(&self) -> bool {
        matches!(self, Contexts::Clear | Contexts::Srtp { protector: Some(_), .. })
    }
}

/// What the dialog tells the sound.
pub(super) enum Command {
    /// New keys.
    Keys(Contexts),
    /// Where to send, from now on.
    Remote { rtp: SocketAddr, rtcp: SocketAddr },
    /// Send or be silent (no packets at all).
    Sending(bool),
    /// 48 kHz samples to speak; told when they are sent.
    Speak(Vec<i16>, oneshot::Sender<()>),
    /// A datagram of the test's own, from the RTP socket.
    Inject(Vec<u8>),
    /// The person has compared the code of ZRTP; told when that is noted.
    Compared(bool, oneshot::Sender<()>),
    /// A new SSRC, with its sequence numbers and timestamps beginning anew.
    NewSource,
}

/// What was sent and heard.
#[derive(Clone, Default, Debug)]
pub struct Statistics {
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets that were received and opened.
    pub received: u64,
    /// Packets that did not open.
    pub rejected: u64,
    /// RTCP packets that were received and opened.
    pub rtcp: u64,
    /// When the first packet was received.
    pub first: Option<Instant>,
    /// When the last packet was received.
    pub last: Option<Instant>,
    /// Where the last packet came from.
    pub from: Option<SocketAddr>,
}

#[derive(Default)]
pub(super) struct Record {
    pub(super) heard: Vec<i16>,
    pub(super) statistics: Statistics,
    pub(super) sent: VecDeque<Vec<u8>>,
    pub(super) secured: Option<Secured>,
}

#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Record>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Media {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    pub(super) remote: (SocketAddr, SocketAddr),
    pub(super) contexts: Contexts,
    pub(super) exchange: Option<Exchange>,
    pub(super) codec: audio::Codec,
    pub(super) payload_type: u8,
    pub(super) sending: bool,
    pub(super) shared: Shared,
    pub(super) source: Source,
}

/// Where a stream is.
pub(super) struct Source {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    packets: u32,
    octets: u32,
}

impl Source {
    pub(super) fn new(seed: u32) -> Source {
        Source { ssrc: seed, sequence: (seed >> 16) as u16 & 0x7fff, timestamp: seed, packets: 0, octets: 0 }
    }
}

impl Media {
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        if let Err(failure) = self.work(&mut commands).await {
            tracing::warn!(%failure, "the phone's sound stopped");
        }
    }

    async fn work(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Outcome<()> {
        let mut encoder = Encoder::new(self.codec, SampleRate::Hz48000)?;
        let mut talker = Talker::new(self.codec, SampleRate::Hz48000)?;
        let mut speaking: VecDeque<(Vec<i16>, usize, oneshot::Sender<()>)> = VecDeque::new();
        let mut beat = interval(Duration::from_millis(20));
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut report = interval(Duration::from_secs(1));
        let (mut rtp, mut rtcp) = (vec![0; 2048], vec![0; 2048]);
        let mut talking_ssrc = None;
        loop {
            self.follow_exchange().await;
            let wake = self.exchange.as_ref().and_then(Exchange::wake);
            tokio::select! {
                command = commands.recv() => match command {
                    None => return Ok(()),
                    Some(Command::Keys(contexts)) => self.contexts = contexts,
                    Some(Command::Remote { rtp, rtcp }) => self.remote = (rtp, rtcp),
                    Some(Command::Sending(sending)) => self.sending = sending,
                    Some(Command::Speak(samples, done)) => speaking.push_back((samples, 0, done)),
                    Some(Command::Compared(equal, done)) => {
                        self.compared(equal).await;
                        let _ = done.send(());
                    }
                    Some(Command::NewSource) => self.source = Source::new(self.source.ssrc.wrapping_mul(31).wrapping_add(7)),
                    Some(Command::Inject(bytes)) => {
                        let _ = self.rtp.send_to(&bytes, self.remote.0).await;
                    }
                },
                _ = beat.tick() => {
                    let mut frame = [0; FRAME];
                    if self.sending && self.contexts.may_send() {
                        next_frame(&mut speaking, &mut frame);
                        let payload = encoder.encode(&frame)?.to_vec();
                        self.send(&payload).await?;
                    }
                    let mut heard = [0; FRAME];
                    talker.frame(Instant::now(), &mut heard);
                    let mut record = self.shared.lock();
                    if record.statistics.received > 0 {
                        record.heard.extend(heard);
                    }
                }
                _ = report.tick() => self.report().await?,
                () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {
                    self.exchange.iter_mut().for_each(|exchange| exchange.handle_timeout(Instant::now()));
                }
                received = self.rtp.recv_from(&mut rtp) => {
                    let Ok((length, from)) = received else { continue };
                    let packet = &mut rtp[..length];
                    match (Datagram::of(packet), &mut self.exchange) {
                        (Some(Datagram::Zrtp), Some(exchange)) => exchange.packet(Instant::now(), packet),
                        (Some(Datagram::Rtcp), _) => self.receive_rtcp(packet),
                        _ => self.receive_rtp(packet, from, &mut talker, &mut talking_ssrc),
                    }
                }
                received = self.rtcp.recv_from(&mut rtcp) => {
                    if let Ok((length, _)) = received {
                        self.receive_rtcp(&mut rtcp[..length]);
                    }
                }
            }
        }
    }

    /// Does what ZRTP wants, in its order.
    async fn follow_exchange(&mut self) {
        while let Some(step) = self.exchange.as_mut().and_then(Exchange::poll) {
            match step {
                Step::Send(packet) => {
                    let _ = self.rtp.send_to(packet.as_bytes(), self.remote.0).await;
                }
                Step::Receive(new) => {
                    self.contexts = Contexts::Srtp { protector: None, unprotector: Some(new) };
                }
                Step::Secure(secured, new) => {
                    if let Contexts::Srtp { protector, .. } = &mut self.contexts {
                        *protector = Some(new);
                    }
                    self.shared.lock().secured = Some(*secured);
                }
                Step::Warning(sentence) => tracing::warn!("the phone's ZRTP: {sentence}"),
                Step::Over(refusal) => tracing::warn!(%refusal, "the phone's ZRTP has failed: no sound will run"),
                Step::Remember(_) => {} // the exchange has done it
            }
        }
    }

    async fn compared(&mut self, equal: bool) {
        if let Some(exchange) = &mut self.exchange {
            exchange.compared(equal);
        }
        self.follow_exchange().await;
        self.shared.lock().secured.iter_mut().for_each(|secured| secured.compared = equal);
    }

    async fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        let source = &mut self.source;
        let packet = RtpOut {
            payload_type: self.payload_type,
            marker: source.packets == 0,
            sequence: source.sequence,
            timestamp: source.timestamp,
            ssrc: Ssrc(source.ssrc),
            payload,
        };
        let bytes = match &mut self.contexts {
            Contexts::Srtp { protector: Some(protector), .. } => protector.rtp(&packet)?.as_bytes().to_vec(),
            Contexts::Srtp { protector: None, .. } => return Ok(()),
            Contexts::Clear => clear_packet(&packet),
        };
        source.sequence = source.sequence.wrapping_add(1);
        source.timestamp = source.timestamp.wrapping_add(self.codec.rate().frame() as u32);
        source.packets = source.packets.wrapping_add(1);
        source.octets = source.octets.wrapping_add(payload.len() as u32);
        let _ = self.rtp.send_to(&bytes, self.remote.0).await;
        let mut record = self.shared.lock();
        record.statistics.sent += 1;
        record.sent.push_back(bytes);
        if record.sent.len() > KEPT {
            record.sent.pop_front();
        }
        Ok(())
    }

    /// An SR with our name, as any phone sends (RFC 3550 §6.4.1); not in clear.
    async fn report(&mut self) -> Outcome<()> {
        let Contexts::Srtp { protector: Some(protector), .. } = &mut self.contexts else { return Ok(()) };
        if self.source.packets == 0 {
            return Ok(());
        }
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let ntp = ((since_1970.as_secs() + 2_208_988_800) << 32)
            | ((u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000);
        let sender = rtcp::SenderInfo {
            ntp,
            rtp_timestamp: self.source.timestamp,
            packets: self.source.packets,
            octets: self.source.octets,
        };
        let ssrc = Ssrc(self.source.ssrc);
        let compound = rtcp::Compound { ssrc, sender: Some(sender), blocks: &[], cname: "lab", goodbye: false };
        let sealed = protector.rtcp(&compound.to_bytes())?;
        // Where both share a port, RTCP comes from the RTP port too (RFC 5761 §4).
        let socket = if self.remote.0 == self.remote.1 { &self.rtp } else { &self.rtcp };
        let _ = socket.send_to(sealed.as_bytes(), self.remote.1).await;
        Ok(())
    }

    fn receive_rtp(&mut self, packet: &mut [u8], from: SocketAddr, talker: &mut Talker, talking: &mut Option<Ssrc>) {
        let now = Instant::now();
        let opened = match &mut self.contexts {
            Contexts::Srtp { unprotector, .. } => unprotector
                .as_mut()
                .and_then(|unprotector| unprotector.rtp(packet).ok())
                .map(|packet| (packet.header, packet.payload)),
            Contexts::Clear => RtpHeader::parse(packet).and_then(|header| Some((header, header.payload(packet)?))),
        };
        let mut record = self.shared.lock();
        let Some((header, payload)) = opened else {
            record.statistics.rejected += 1;
            return;
        };
        let statistics = &mut record.statistics;
        statistics.received += 1;
        statistics.first.get_or_insert(now);
        statistics.last = Some(now);
        statistics.from = Some(from);
        if let Some(exchange) = &mut self.exchange {
            exchange.heard(now);
        }
        if header.payload_type == self.payload_type {
            if talking.replace(header.ssrc).is_some_and(|before| before != header.ssrc) {
                talker.restart();
            }
            talker.packet(now, header.sequence, header.timestamp, header.marker, payload);
        }
    }

    fn receive_rtcp(&mut self, packet: &mut [u8]) {
        let opened = match &mut self.contexts {
            Contexts::Srtp { unprotector, .. } => {
                unprotector.as_mut().is_some_and(|unprotector| unprotector.rtcp(packet).is_ok())
            }
            Contexts::Clear => true,
        };
        let mut record = self.shared.lock();
        if opened {
            record.statistics.rtcp += 1;
        } else {
            record.statistics.rejected += 1;
        }
    }
}

fn next_frame(speaking: &mut VecDeque<(Vec<i16>, usize, oneshot::Sender<()>)>, frame: &mut [i16; FRAME]) {
    let Some((samples, position, _)) = speaking.front_mut() else { return };
    let rest = &samples[*position..];
    let length = rest.len().min(FRAME);
    frame[..length].copy_from_slice(&rest[..length]);
    *position += length;
    if *position == samples.len()
        && let Some((_, _, done)) = speaking.pop_front()
    {
        let _ = done.send(());
    }
}

/// RFC 3550 §5.1, without any protection.
fn clear_packet(packet: &RtpOut<'_>) -> Vec<u8> {
    let mut bytes = vec![0x80, packet.payload_type | if packet.marker { 0x80 } else { 0 }];
    bytes.extend(packet.sequence.to_be_bytes());
    bytes.extend(packet.timestamp.to_be_bytes());
    bytes.extend(packet.ssrc.0.to_be_bytes());
    bytes.extend(packet.payload);
    bytes
}
