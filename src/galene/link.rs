//! One peer connection with the server: ICE, DTLS and SRTP of a single audio stream. The only file that knows str0m.
//!
//! In: SDP and candidates of the server, datagrams, Opus packets. Out: SDP, datagrams, [`LinkEvent`]s.
//! Knows nothing of the WebSocket protocol, and never gives up by itself.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

/// How long the server's candidates are kept from ICE after we answered an offer. The server nominates a pair at once
/// only if our check comes after its own has succeeded; otherwise it waits for its next tick, 200 ms later, and 200 ms
/// of speech are lost. Without candidates ICE only reacts to the server's check, which is the right order.
const ANSWERER_HOLDS: Duration = Duration::from_millis(60);

/// A sender report every second: the server reports to its listeners only if we report to it.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Longest SDP that is read, in bytes.
const SDP_LIMIT: usize = 64 * 1024;

/// Most candidates that are kept while ICE must not have them yet.
const CANDIDATES_LIMIT: usize = 32;

/// Most addresses of the server that are remembered.
const VERIFIED_LIMIT: usize = 8;

/// What a connection has to tell.
pub(super) enum LinkEvent {
    Datagram {
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// DTLS is done: sound can flow.
    Connected,
    /// ICE found a working path (again).
    PathFound,
    /// ICE lost its path.
    PathLost,
    Audio {
        sequence: u64,
        timestamp: u32,
        marker: bool,
        payload: Vec<u8>,
    },
    /// The server closed the connection, or it failed for good. The WebSocket says why.
    Closed,
}

/// Why a negotiation failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the other side does not speak Opus")]
    CodecRefused,
    #[error("{0}")]
    Broken(String),
}

fn broken(error: impl std::fmt::Display) -> LinkError {
    LinkError::Broken(error.to_string())
}

/// The peer connection.
pub(super) struct Link {
    rtc: Rtc,
    local: SocketAddr,
    mid: Option<Mid>,
    sending: Option<Sending>,
    pending: Option<SdpPendingOffer>,
    /// Where authentic STUN messages came from, the newest first.
    verified: Vec<SocketAddr>,
    held: Vec<Candidate>,
    /// When the held candidates may go to ICE; `None` while the remote description is not set.
    release_at: Option<Instant>,
    rtc_wake: Option<Instant>,
    connected: bool,
    closed: bool,
    events: VecDeque<LinkEvent>,
}

struct Sending {
    ssrc: Ssrc,
    payload_type: str0m::media::Pt,
    /// What is subtracted from the caller's sequence numbers so that this connection's begin below 65536:
    /// SRTP's rollover counter starts at zero (RFC 3711 §3.3.1).
    sequence_base: Option<u64>,
}

impl Link {
    /// A connection from the UDP socket bound to `local`, which must be a concrete address.
    pub(super) fn new(now: Instant, local: SocketAddr) -> Result<Self, LinkError> {
        let mut rtc = Rtc::builder()
            .clear_codecs()
            .enable_opus(true, false)
            .set_rtp_mode(true)
            .set_rtcp_report_interval_audio(REPORT_EVERY)
            .build(now);
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).map_err(broken)?);
        let mut link = Link {
            rtc,
            local,
            mid: None,
            sending: None,
            pending: None,
            verified: Vec::new(),
            held: Vec::new(),
            release_at: None,
            rtc_wake: None,
            connected: false,
            closed: false,
            events: VecDeque::new(),
        };
        link.drive(now); // ICE stands still until it has been told the time once
        Ok(link)
    }

    /// An offer to send: the first one, or one that restarts ICE. `None` while the last one is not answered.
    pub(super) fn offer(&mut self, now: Instant) -> Option<String> {
        if self.pending.is_some() {
            return None;
        }
        let mut changes = self.rtc.sdp_api();
        match self.mid {
            None => self.mid = Some(changes.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None)),
            Some(_) => {
                changes.ice_restart(true);
            }
        }
        let (offer, pending) = changes.apply()?;
        self.pending = Some(pending);
        self.release_at = None;
        self.drive(now);
        Some(offer.to_sdp_string())
    }

    /// The server's answer to our offer.
    pub(super) fn accept_answer(&mut self, now: Instant, sdp: &str) -> Result<(), LinkError> {
        let (Some(pending), Some(mid)) = (self.pending.take(), self.mid) else {
            return Ok(()); // an answer to nothing changes nothing
        };
        check_length(sdp)?;
        if refuses_audio(sdp) {
            return Err(LinkError::CodecRefused);
        }
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(broken)?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(broken)?;
        let payload_type = self.rtc.media(mid).and_then(|media| media.remote_pts().first().copied());
        let payload_type = payload_type.ok_or(LinkError::CodecRefused)?;
        match &mut self.sending {
            Some(sending) => sending.payload_type = payload_type,
            None => {
                let mut direct = self.rtc.direct_api();
                let stream = direct.stream_tx_by_mid(mid, None).ok_or_else(|| broken("the answer has no stream"))?;
                self.sending = Some(Sending { ssrc: stream.ssrc(), payload_type, sequence_base: None });
            }
        }
        self.release_at = Some(now);
        self.drive(now);
        Ok(())
    }

    /// The server's offer, the first one or a later one; gives back the answer, which contains our candidate.
    pub(super) fn accept_offer(&mut self, now: Instant, sdp: &str) -> Result<String, LinkError> {
        check_length(sdp)?;
        let offer = SdpOffer::from_sdp_string(sdp).map_err(broken)?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(broken)?.to_sdp_string();
        if refuses_audio(&answer) {
            return Err(LinkError::CodecRefused);
        }
        self.release_at = Some(now + ANSWERER_HOLDS);
        self.drive(now);
        Ok(answer)
    }

    /// A candidate of the server. What is no usable UDP address is ignored; no name is ever looked up.
    pub(super) fn remote_candidate(&mut self, now: Instant, text: &str) {
        let Ok(candidate) = Candidate::from_sdp_string(text) else { return };
        if candidate.proto() != Protocol::Udp || !self.may_be_sent_to(candidate.addr()) {
            return;
        }
        if self.held.len() < CANDIDATES_LIMIT {
            self.held.push(candidate);
        }
        self.drive(now);
    }

    /// A datagram on our socket. Only what comes from where a STUN message with our password came from is looked at.
    /// ICE's own list is too short for that: an address is not in it before our check has succeeded, and the server's
    /// first DTLS message may be faster; it would be repeated a second later.
    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Ok(received) = Receive::new(Protocol::Udp, from, self.local, bytes) else { return };
        let input = Input::Receive(now, received);
        if self.rtc.accepts(&input) {
            if !self.verified.contains(&from) {
                self.verified.truncate(VERIFIED_LIMIT - 1);
                self.verified.insert(0, from);
            }
        } else if is_stun(bytes) || !self.verified.contains(&from) {
            return;
        }
        // an error means a packet that was not for us; if it was fatal, `drive` notices
        let _ = self.rtc.handle_input(input);
        self.drive(now);
    }

    /// Sends an Opus packet, as soon as there is a connection. `sequence` counts on beyond 16 bits.
    pub(super) fn send(&mut self, now: Instant, sequence: u64, timestamp: u32, marker: bool, payload: &[u8]) {
        let Some(sending) = self.sending.as_mut().filter(|_| self.connected && !self.closed) else { return };
        let base = *sending.sequence_base.get_or_insert(sequence & !0xffff);
        let Some(sequence) = sequence.checked_sub(base) else { return };
        let packet = RtpWrite::new(sending.payload_type, sequence.into(), timestamp, now, payload).marker(marker);
        if let Some(stream) = self.rtc.direct_api().stream_tx(&sending.ssrc) {
            stream.write_rtp(packet);
        }
        self.drive(now);
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.wake().is_some_and(|at| at <= now) {
            self.drive(now);
        }
    }

    /// Closes as a server does, so that the other side's ways out can be tested.
    #[cfg(test)]
    pub(super) fn close(&mut self, now: Instant) {
        let _ = self.rtc.close();
        self.drive(now);
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        let release = self.release_at.filter(|_| !self.held.is_empty());
        [self.rtc_wake, release].into_iter().flatten().min()
    }

    pub(super) fn poll(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Tells the connection the time and collects what it has to say. Needed after every change from outside.
    fn drive(&mut self, now: Instant) {
        if self.release_at.is_some_and(|at| at <= now) {
            self.held.drain(..).for_each(|candidate| self.rtc.add_remote_candidate(candidate));
        }
        let mut result = self.rtc.handle_input(Input::Timeout(now));
        while result.is_ok() {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.rtc_wake = self.rtc.is_alive().then_some(at);
                    break;
                }
                Ok(Output::Transmit(packet)) => {
                    let (to, bytes) = (packet.destination, packet.contents.into());
                    self.events.push_back(LinkEvent::Datagram { to, bytes });
                }
                Ok(Output::Event(event)) => self.note(event),
                Err(error) => result = Err(error),
            }
        }
        if let Err(error) = result {
            tracing::debug!(%error, "WebRTC connection");
            self.rtc_wake = Some(now + REPORT_EVERY); // never at once again: the error may be lasting
        }
        if !self.rtc.is_alive() && !self.closed {
            self.closed = true;
            self.rtc_wake = None;
            self.events.push_back(LinkEvent::Closed);
        }
    }

    fn note(&mut self, event: Event) {
        let event = match event {
            Event::Connected => {
                self.connected = true;
                LinkEvent::Connected
            }
            Event::IceConnectionStateChange(IceConnectionState::Connected | IceConnectionState::Completed) => {
                LinkEvent::PathFound
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => LinkEvent::PathLost,
            Event::RtpPacket(packet) => LinkEvent::Audio {
                sequence: *packet.seq_no,
                timestamp: packet.header.timestamp,
                marker: packet.header.marker,
                payload: packet.payload.to_vec(),
            },
            _ => return,
        };
        self.events.push_back(event);
    }

    /// Whether a server's candidate is an address that we would send to: not this machine itself (unless the server is
    /// reached there), and no group of hosts.
    fn may_be_sent_to(&self, to: SocketAddr) -> bool {
        let broadcast = matches!(to.ip(), IpAddr::V4(ip) if ip.is_broadcast());
        let to_ourselves = to.ip().is_loopback() && !self.local.ip().is_loopback();
        to.port() != 0 && !to.ip().is_unspecified() && !to.ip().is_multicast() && !broadcast && !to_ourselves
    }
}

/// Builds a connection and drops it. The first one of a program blocks for 50 to 100 ms; better at start-up than in a call.
pub fn warm_up(now: Instant) {
    let _ = Link::new(now, SocketAddr::from(([127, 0, 0, 1], 9)));
}

/// Whether a datagram is STUN, by its first byte (RFC 7983 §7).
fn is_stun(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first <= 3)
}

fn check_length(sdp: &str) -> Result<(), LinkError> {
    if sdp.len() > SDP_LIMIT { Err(LinkError::Broken(format!("an SDP of {} bytes", sdp.len()))) } else { Ok(()) }
}

/// Whether an answer rejects the audio: no `m=audio` line with a port (RFC 3264 §6). Looked for in the text, because
/// Galène's rejection has no `a=mid` and does not pass the parser.
fn refuses_audio(sdp: &str) -> bool {
    let accepted = |line: &str| {
        line.strip_prefix("m=audio ").is_some_and(|rest| rest.split(' ').next().is_some_and(|port| port != "0"))
    };
    !sdp.lines().any(accepted)
}
