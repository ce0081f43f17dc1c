//! One stream of the protocol: our own going up, or a talker's coming down, from the socket to the end.
//!
//! In: the server's messages about this stream, its socket, its datagrams, time. Out: messages, datagrams and events.
//! Repairs a lost path by itself as long as the WebSocket lives. Never decides whether the stream should exist.

use super::event::{Event, Output, StreamId};
use super::link::{Link, LinkError, LinkEvent};
use super::message::Outgoing;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a new or restarted connection may take before it is repaired.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(5);

/// How often a repair is tried while there is no path. Both sides give up their checks after some seconds, so a single
/// try during an outage is lost.
const REPAIR_EVERY: Duration = Duration::from_secs(3);

/// How long a closed connection waits for the message that explains it; the server closes first and explains then.
const EXPLANATION_PATIENCE: Duration = Duration::from_secs(5);

/// Most candidates that are kept while the socket is being opened.
const EARLY_LIMIT: usize = 32;

/// Longest candidate that is kept, in bytes.
const CANDIDATE_LIMIT: usize = 1024;

/// Who sends.
pub(super) enum Way {
    /// We do; the offer names us.
    Up { source: String, username: String },
    /// A talker does.
    Down { source: String, username: String, offer: String },
}

/// The stream.
pub(super) struct Stream {
    id: StreamId,
    name: String,
    way: Way,
    link: Option<Link>,
    early: Vec<String>,
    repair_at: Option<Instant>,
    /// Up: the server wants a new offer as soon as the last one is answered. Down: we asked for one.
    renegotiating: bool,
    unexplained_at: Option<Instant>,
    connected: bool,
    started: bool,
}

impl Stream {
    /// A stream that waits for its socket. `name` is its id in the protocol.
    pub(super) fn new(id: StreamId, name: String, way: Way) -> Self {
        Stream {
            id,
            name,
            way,
            link: None,
            early: Vec::new(),
            repair_at: None,
            renegotiating: false,
            unexplained_at: None,
            connected: false,
            started: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The talker's client id.
    pub(super) fn talker(&self) -> Option<&str> {
        match &self.way {
            Way::Up { .. } => None,
            Way::Down { source, .. } => Some(source),
        }
    }

    /// Whether its connection was up.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether [`Event::StreamStarted`] was told.
    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// The socket is bound: make an offer, or answer the one that waits.
    pub(super) fn socket_opened(
        &mut self,
        now: Instant,
        local: SocketAddr,
        out: &mut VecDeque<Output>,
    ) -> Result<(), LinkError> {
        if self.link.is_some() {
            return Ok(());
        }
        let mut link = Link::new(now, local)?;
        for candidate in self.early.drain(..) {
            link.remote_candidate(now, &candidate);
        }
        self.link = Some(link);
        self.repair_at = Some(now + CONNECTION_PATIENCE);
        match &mut self.way {
            Way::Up { .. } => self.send_offer(now, out),
            Way::Down { offer, .. } => {
                let offer = std::mem::take(offer);
                self.answer(now, &offer, out)?;
            }
        }
        self.drain(now, out);
        Ok(())
    }

    /// The server's offer for a stream that exists already.
    pub(super) fn offered_again(
        &mut self,
        now: Instant,
        sdp: String,
        out: &mut VecDeque<Output>,
    ) -> Result<(), LinkError> {
        match (&mut self.way, &self.link) {
            (Way::Up { .. }, _) => return Ok(()),
            (Way::Down { offer, .. }, None) => *offer = sdp,
            (Way::Down { .. }, Some(_)) => self.answer(now, &sdp, out)?,
        }
        self.drain(now, out);
        Ok(())
    }

    /// The server's answer to our offer.
    pub(super) fn answered(&mut self, now: Instant, sdp: &str, out: &mut VecDeque<Output>) -> Result<(), LinkError> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.accept_answer(now, sdp)?;
        if std::mem::take(&mut self.renegotiating) {
            self.send_offer(now, out);
        }
        self.drain(now, out);
        Ok(())
    }

    /// The server wants our stream offered anew, with an ICE restart.
    pub(super) fn renegotiate(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        if let Way::Up { .. } = self.way {
            self.send_offer(now, out);
            self.drain(now, out);
        }
    }

    pub(super) fn candidate(&mut self, now: Instant, candidate: String, out: &mut VecDeque<Output>) {
        if candidate.len() > CANDIDATE_LIMIT {
            return;
        }
        match &mut self.link {
            Some(link) => link.remote_candidate(now, &candidate),
            None if self.early.len() < EARLY_LIMIT => self.early.push(candidate),
            None => {}
        }
        self.drain(now, out);
    }

    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut VecDeque<Output>) {
        if let Some(link) = &mut self.link {
            link.datagram(now, from, bytes);
        }
        self.drain(now, out);
    }

    pub(super) fn send_opus(&mut self, now: Instant, packet: (u64, u32, bool, &[u8]), out: &mut VecDeque<Output>) {
        let (sequence, timestamp, marker, payload) = packet;
        if let Some(link) = &mut self.link {
            link.send(now, sequence, timestamp, marker, payload);
        }
        self.drain(now, out);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut VecDeque<Output>) -> Result<(), LinkError> {
        if let Some(link) = &mut self.link {
            link.handle_timeout(now);
        }
        self.drain(now, out);
        if self.unexplained_at.is_some_and(|at| at <= now) {
            return Err(LinkError::Broken("the server closed the connection without a word".to_owned()));
        }
        if self.repair_at.is_some_and(|at| at <= now) {
            self.repair(now, out);
            self.drain(now, out);
        }
        Ok(())
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        let link = self.link.as_ref().and_then(Link::wake);
        [link, self.repair_at, self.unexplained_at].into_iter().flatten().min()
    }

    /// Asks for a fresh path: we restart ICE on our own stream, and have the server restart it on a talker's.
    fn repair(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        self.repair_at = Some(now + REPAIR_EVERY);
        match self.way {
            Way::Up { .. } => self.send_offer(now, out),
            Way::Down { .. } if !self.renegotiating => {
                self.renegotiating = true;
                out.push_back(Output::Text(Outgoing::Renegotiate { id: &self.name }.text()));
            }
            Way::Down { .. } => {} // the server has not come to it yet; its offer will come when it does
        }
    }

    fn send_offer(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        let (Way::Up { source, username }, Some(link)) = (&self.way, &mut self.link) else { return };
        match link.offer(now) {
            Some(sdp) => {
                let offer = Outgoing::Offer { id: &self.name, label: "camera", source, username, sdp: &sdp };
                out.push_back(Output::Text(offer.text()));
            }
            None => self.renegotiating = true,
        }
    }

    fn answer(&mut self, now: Instant, offer: &str, out: &mut VecDeque<Output>) -> Result<(), LinkError> {
        let (Way::Down { source, username, .. }, Some(link)) = (&self.way, &mut self.link) else { return Ok(()) };
        let sdp = link.accept_offer(now, offer)?;
        self.renegotiating = false;
        out.push_back(Output::Text(Outgoing::Answer { id: &self.name, sdp: &sdp }.text()));
        if !std::mem::replace(&mut self.started, true) {
            let (source, username) = (source.clone(), username.clone());
            out.push_back(Output::Event(Event::StreamStarted { stream: self.id, source, username }));
        }
        Ok(())
    }

    /// Passes on what the connection has to tell.
    fn drain(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        let stream = self.id;
        while let Some(event) = self.link.as_mut().and_then(Link::poll) {
            match event {
                LinkEvent::Datagram { to, bytes } => out.push_back(Output::Datagram { stream, to, bytes }),
                LinkEvent::Audio { sequence, timestamp, marker, payload } => {
                    self.repair_at = None; // sound is the better proof of a path than ICE's own opinion
                    out.push_back(Output::Event(Event::Audio { stream, sequence, timestamp, marker, payload }));
                }
                LinkEvent::Connected => {
                    self.connected = true;
                    if let Way::Up { .. } = self.way {
                        out.push_back(Output::Event(Event::Publishing(true)));
                    }
                }
                LinkEvent::PathFound => self.repair_at = None,
                LinkEvent::PathLost => self.repair_at = Some(now),
                LinkEvent::Closed => {
                    self.repair_at = None;
                    self.unexplained_at = Some(now + EXPLANATION_PATIENCE);
                }
            }
        }
    }
}
