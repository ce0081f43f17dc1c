//! One PeerConnection: an str0m `Rtc` and a UDP socket of its own, in a task. It carries one stream in one direction,
//! and the sender of the stream makes the offers.

use super::description::GroupCodec;
use crate::{Failure, Outcome};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, watch};

/// How long Galène lets ICE be broken before it asks for a restart: 30 s, of which str0m needs about 20 to notice.
const ICE_FAILED_AFTER: Duration = Duration::from_secs(10);

/// An RTP packet on its way from a sender to its listeners.
#[derive(Debug)]
pub(super) struct Packet {
    sequence: u64,
    timestamp: u32,
    marker: bool,
    payload: Arc<[u8]>,
}

/// What the hall tells a PeerConnection. Dropping the sender closes it properly, with a DTLS close_notify.
#[derive(Debug)]
pub(super) enum Command {
    /// The client's offer for a stream that it sends.
    Offer(String),
    /// The client's answer to our offer.
    Answer(String),
    /// A candidate of the client's.
    Candidate(String),
    /// Offer again, with new ICE credentials.
    Restart,
}

/// What a PeerConnection tells the hall.
#[derive(Debug)]
pub(super) enum PeerEvent {
    Answer(String),
    Offer(String),
    Candidate(String),
    /// The first RTP packet came: now there is a track to hand on.
    Track,
    /// ICE has been broken for half a minute.
    IceFailed,
    /// The client's SDP could not be used.
    Refused(String),
}

/// Which way the stream goes.
pub(super) enum Role {
    /// From the client: its packets are published here.
    Up(broadcast::Sender<Arc<Packet>>),
    /// To the client: these packets are for it.
    Down(broadcast::Receiver<Arc<Packet>>),
}

pub(super) struct Setup {
    pub(super) bind: IpAddr,
    pub(super) codec: GroupCodec,
    pub(super) role: Role,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) frozen: watch::Receiver<bool>,
    pub(super) media_lost: watch::Receiver<bool>,
}

/// Runs a PeerConnection until the hall drops it. `report` hands an event to the hall.
pub(super) async fn run(setup: Setup, report: impl Fn(PeerEvent)) {
    if let Err(failure) = Peer::run(setup, &report).await {
        report(PeerEvent::Refused(failure.to_string()));
    }
}

struct Peer<'a, F> {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    report: &'a F,
    role: Role,
    media_lost: watch::Receiver<bool>,
    /// The medium that we offered.
    mid: Option<Mid>,
    pending: Option<SdpPendingOffer>,
    restart_wanted: bool,
    /// Candidates that came before the remote description.
    early: Vec<String>,
    described: bool,
    connected: bool,
    heard: bool,
    broken_since: Option<Instant>,
    /// Subtracted from sequence numbers, so that a listener's SRTP rollover counter begins at 0.
    base: Option<u64>,
}

impl<F: Fn(PeerEvent)> Peer<'_, F> {
    async fn run(setup: Setup, report: &F) -> Outcome<()> {
        let Setup { bind, codec, role, mut commands, mut frozen, media_lost } = setup;
        let socket = UdpSocket::bind((bind, 0)).await?;
        let local = socket.local_addr()?;
        let mut rtc = configure(codec).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp")?);
        // str0m sends nothing before it has been told the time once.
        rtc.handle_input(Input::Timeout(Instant::now()))?;
        let mut peer = Peer {
            rtc,
            socket,
            local,
            report,
            role,
            media_lost,
            mid: None,
            pending: None,
            restart_wanted: false,
            early: Vec::new(),
            described: false,
            connected: false,
            heard: false,
            broken_since: None,
            base: None,
        };
        if let Role::Down(_) = peer.role {
            peer.offer(false)?;
            peer.announce_candidate()?;
        }
        let mut buffer = vec![0; 2048];
        loop {
            if *frozen.borrow() {
                // Like a stopped process: nothing is read, and the kernel keeps what it has room for.
                let _ = frozen.wait_for(|frozen| !frozen).await;
            }
            let wake = peer.drain().await?;
            let ice_failed = peer.broken_since.map(|since| since + ICE_FAILED_AFTER);
            tokio::select! {
                Ok(()) = frozen.changed() => {}
                command = commands.recv() => match command {
                    Some(command) => peer.handle(command)?,
                    None => return peer.close().await,
                },
                received = peer.socket.recv_from(&mut buffer) => {
                    // An ICMP error of an earlier datagram is reported here; it is no reason to stop.
                    if let Ok((length, from)) = received {
                        peer.receive(&buffer[..length], from)?;
                    }
                }
                packet = next_packet(&mut peer.role), if peer.connected => peer.forward(&packet)?,
                () = tokio::time::sleep_until(wake.into()) => {}
                () = sleep_until(ice_failed) => {
                    peer.broken_since = None;
                    (peer.report)(PeerEvent::IceFailed);
                }
            }
            peer.rtc.handle_input(Input::Timeout(Instant::now()))?;
        }
    }

    /// Sends what is to be sent, and says when to come back.
    async fn drain(&mut self) -> Outcome<Instant> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(_) if *self.media_lost.borrow() => {}
                Output::Transmit(datagram) => {
                    let _ = self.socket.send_to(&datagram.contents, datagram.destination).await;
                }
                Output::Event(event) => self.notice(event),
            }
        }
    }

    fn notice(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.broken_since = Some(Instant::now());
            }
            Event::IceConnectionStateChange(IceConnectionState::Connected | IceConnectionState::Completed) => {
                self.broken_since = None;
            }
            Event::RtpPacket(packet) => {
                if let Role::Up(listeners) = &self.role {
                    // Nobody listening is no error.
                    let _ = listeners.send(Arc::new(Packet {
                        sequence: *packet.seq_no,
                        timestamp: packet.header.timestamp,
                        marker: packet.header.marker,
                        payload: packet.payload,
                    }));
                    if !self.heard {
                        self.heard = true;
                        (self.report)(PeerEvent::Track);
                    }
                }
            }
            _ => {}
        }
    }

    fn receive(&mut self, datagram: &[u8], from: SocketAddr) -> Outcome<()> {
        if *self.media_lost.borrow() {
            return Ok(());
        }
        if let Ok(receive) = Receive::new(Protocol::Udp, from, self.local, datagram) {
            self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
        }
        Ok(())
    }

    fn handle(&mut self, command: Command) -> Outcome<()> {
        match command {
            Command::Offer(sdp) => {
                // Galène's side is always the DTLS client; str0m would wait for the other's ClientHello.
                let offer = sdp.replace("a=setup:actpass", "a=setup:passive");
                let answer = self.rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(&offer)?)?;
                (self.report)(PeerEvent::Answer(as_galene_writes(&answer.to_sdp_string())));
                self.remote_description_is_set()?;
                self.announce_candidate()?;
            }
            Command::Answer(sdp) => {
                let Some(pending) = self.pending.take() else {
                    return Err(Failure::from("answer in the wrong signalling state"));
                };
                self.rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&sdp)?)?;
                self.remote_description_is_set()?;
                if std::mem::take(&mut self.restart_wanted) {
                    self.offer(true)?;
                }
            }
            Command::Candidate(text) if self.described => self.add_candidate(&text),
            Command::Candidate(text) => self.early.push(text),
            Command::Restart if self.pending.is_some() => self.restart_wanted = true,
            Command::Restart => self.offer(true)?,
        }
        Ok(())
    }

    fn offer(&mut self, restart: bool) -> Outcome<()> {
        let mut changes = self.rtc.sdp_api();
        if restart {
            changes.ice_restart(true);
        } else {
            let (stream, track) = (Some("stream".to_owned()), Some("audio".to_owned()));
            self.mid = Some(changes.add_media(MediaKind::Audio, Direction::SendOnly, stream, track, None));
        }
        let (offer, pending) = changes.apply().ok_or("nothing to offer")?;
        self.pending = Some(pending);
        (self.report)(PeerEvent::Offer(as_galene_writes(&offer.to_sdp_string())));
        Ok(())
    }

    fn announce_candidate(&self) -> Outcome<()> {
        (self.report)(PeerEvent::Candidate(Candidate::host(self.local, "udp")?.to_sdp_string()));
        Ok(())
    }

    fn remote_description_is_set(&mut self) -> Outcome<()> {
        self.described = true;
        for text in std::mem::take(&mut self.early) {
            self.add_candidate(&text);
        }
        Ok(())
    }

    /// A candidate that cannot be used (mDNS, TCP, a host name) is passed over, as pion does.
    fn add_candidate(&mut self, text: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(text) {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    fn forward(&mut self, packet: &Packet) -> Outcome<()> {
        let Some(mid) = self.mid else { return Ok(()) };
        let Some(&pt) = self.rtc.media(mid).and_then(|media| media.remote_pts().first()) else { return Ok(()) };
        let base = *self.base.get_or_insert(packet.sequence & !0xffff);
        let Some(sequence) = packet.sequence.checked_sub(base) else { return Ok(()) };
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            let payload = packet.payload.clone();
            stream.write_rtp(
                RtpWrite::new(pt, sequence.into(), packet.timestamp, Instant::now(), payload).marker(packet.marker),
            );
        }
        Ok(())
    }

    async fn close(mut self) -> Outcome<()> {
        self.rtc.close()?;
        while self.rtc.is_alive() {
            let wake = self.drain().await?;
            if wake > Instant::now() + Duration::from_millis(500) {
                break;
            }
            tokio::time::sleep_until(wake.into()).await;
            self.rtc.handle_input(Input::Timeout(Instant::now()))?;
        }
        Ok(())
    }
}

fn configure(codec: GroupCodec) -> RtcConfig {
    let config = RtcConfig::new()
        .clear_codecs()
        .clear_extension_map()
        .set_rtp_mode(true)
        .set_rtcp_report_interval_audio(Duration::from_millis(500));
    match codec {
        GroupCodec::Opus => config.enable_opus(true, false),
        GroupCodec::Pcmu => config.enable_pcmu(true, false),
        GroupCodec::Pcma => config.enable_pcma(true, false),
    }
}

/// Galène's descriptions name no candidates (they follow as `ice` messages), no header extensions and no RTCP
/// feedback for audio, and a refused medium has no `a=mid`.
fn as_galene_writes(sdp: &str) -> String {
    let refused = sdp.contains("m=audio 0 ");
    let dropped = |line: &str| {
        ["a=candidate:", "a=end-of-candidates", "a=extmap", "a=rtcp-fb:"].iter().any(|start| line.starts_with(start))
            || (refused && line.starts_with("a=mid:"))
    };
    sdp.split_inclusive('\n').filter(|line| !dropped(line)).collect()
}

async fn next_packet(role: &mut Role) -> Arc<Packet> {
    if let Role::Down(packets) = role {
        loop {
            match packets.recv().await {
                Ok(packet) => return packet,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => break,
            }
        }
    }
    std::future::pending().await
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
