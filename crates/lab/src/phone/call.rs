//! A call that the phone has, as a test holds it.

use super::Wish;
use super::media::{Command, Shared, Statistics};
use galene_sips::keying::Secured;
use galene_sips::sip::DialogId;
use galene_sips::srtp::Suite;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The other side hung up, with its Reason header (RFC 3326).
    Bye(Option<String>),
    /// We did.
    ByUs,
    /// It broke: no ACK, no answer, unknown dialog.
    Broken(String),
}

/// Why an INVITE of ours did not become a call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{status} {reason}")]
pub struct CallFailed {
    /// The final response's status; 0 if the answer could not be used.
    pub status: u16,
    /// Its reason phrase, or what was wrong with the answer.
    pub reason: String,
    /// `Warning`, if there was one.
    pub warning: Option<String>,
}

/// A re-INVITE to send.
#[derive(Clone, Debug, Default)]
pub struct Reoffer {
    /// `sendonly` (hold), `inactive`, `sendrecv`…
    pub direction: Option<galene_sips::sdp::Direction>,
    /// Offers new keys instead of the old ones.
    pub new_keys: bool,
    /// Makes no offer, and answers the other side's in the ACK; with `new_keys`, as another phone would.
    pub late: bool,
    /// Changes the description's text before it is sent: what is replaced, by what.
    pub replace: Vec<(String, String)>,
}

/// An established call. Dropping it does not hang up; [`Call::bye`] does.
pub struct Call {
    pub(super) dialog: DialogId,
    pub(super) wishes: mpsc::UnboundedSender<Wish>,
    pub(super) media: mpsc::UnboundedSender<Command>,
    pub(super) shared: Shared,
    pub(super) ended: watch::Receiver<Option<Ended>>,
    pub(super) suite: Option<Suite>,
    pub(super) codec: galene_sips::sdp::Codec,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) answer: String,
}

impl Call {
    /// Speaks 48 kHz mono samples in real time; returns when the last one is sent. Silence is sent otherwise.
    pub async fn speak(&self, samples: impl Into<Vec<i16>>) {
        let (done, spoken) = oneshot::channel();
        let _ = self.media.send(Command::Speak(samples.into(), done));
        let _ = spoken.await;
    }

    /// What was heard since the first packet, at 48 kHz, with pauses and concealment as a person would have heard it.
    pub fn heard(&self) -> Vec<i16> {
        self.shared.lock().heard.clone()
    }

    /// Forgets what was heard so far.
    pub fn clear_heard(&self) {
        self.shared.lock().heard.clear();
    }

    /// What was sent and received.
    pub fn statistics(&self) -> Statistics {
        self.shared.lock().statistics.clone()
    }

    /// The RTP datagrams sent last, at most 1 000, oldest first.
    pub fn sent_packets(&self) -> Vec<Vec<u8>> {
        self.shared.lock().sent.iter().cloned().collect()
    }

    /// Sends any datagram from our RTP socket to the other side's.
    pub fn inject(&self, datagram: impl Into<Vec<u8>>) {
        let _ = self.media.send(Command::Inject(datagram.into()));
    }

    /// Goes on under another SSRC.
    pub fn change_source(&self) {
        let _ = self.media.send(Command::NewSource);
    }

    /// Sends no packets, or sends again.
    pub fn set_sending(&self, sending: bool) {
        let _ = self.media.send(Command::Sending(sending));
    }

    /// Sends to another address than the one in the answer: a relay. Keys and dialog stay.
    pub fn send_to(&self, rtp: SocketAddr, rtcp: SocketAddr) {
        let _ = self.media.send(Command::Remote { rtp, rtcp });
    }

    /// The suite in use; `None`: clear, or ZRTP that is not secure yet.
    pub fn suite(&self) -> Option<Suite> {
        self.suite.or_else(|| self.shared.lock().secured.as_ref().map(|secured| secured.suite))
    }

    /// What ZRTP came to, if it becomes secure within `patience`.
    pub async fn secured(&self, patience: Duration) -> Option<Secured> {
        let wait = async {
            loop {
                if let Some(secured) = self.shared.lock().secured.clone() {
                    return secured;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(patience, wait).await.ok()
    }

    /// The code on the phone's screen; `None` while ZRTP is not secure.
    pub fn sas(&self) -> Option<String> {
        self.shared.lock().secured.as_ref().map(|secured| secured.sas.clone())
    }

    /// The person at the phone has compared the code. Equal: the device is verified from the next call on. The call goes on
    /// either way; a person who heard another code would hang up.
    pub async fn compare_sas(&self, equal: bool) {
        let (done, noted) = oneshot::channel();
        let _ = self.media.send(Command::Compared(equal, done));
        let _ = noted.await;
    }

    /// The codec in use.
    pub fn codec(&self) -> galene_sips::sdp::Codec {
        self.codec
    }

    /// The other side's RTP address, as its description named it.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Our own RTP address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The other side's description, word for word.
    pub fn answer(&self) -> &str {
        &self.answer
    }

    /// Holds the call: we send only, and want to hear nothing.
    pub async fn hold(&self) -> Result<(), CallFailed> {
        let direction = Some(galene_sips::sdp::Direction::SendOnly);
        self.reinvite(Reoffer { direction, ..Reoffer::default() }).await.map(drop)
    }

    /// Takes the call back.
    pub async fn resume(&self) -> Result<(), CallFailed> {
        let direction = Some(galene_sips::sdp::Direction::SendRecv);
        self.reinvite(Reoffer { direction, ..Reoffer::default() }).await.map(drop)
    }

    /// Sends a re-INVITE; the answer's text if it is accepted. Refused, everything stays as it was.
    pub async fn reinvite(&self, reoffer: Reoffer) -> Result<String, CallFailed> {
        let (reply, answer) = oneshot::channel();
        let _ = self.wishes.send(Wish::Reinvite { dialog: self.dialog, reoffer, reply });
        let gone = CallFailed { status: 481, reason: "the call is over".into(), warning: None };
        answer.await.unwrap_or(Err(gone))
    }

    /// Hangs up.
    pub async fn bye(&self) {
        let _ = self.wishes.send(Wish::Bye { dialog: self.dialog });
        self.ended(Duration::from_secs(5)).await;
    }

    /// How the call ended, if it does so within `patience`.
    pub async fn ended(&self, patience: Duration) -> Option<Ended> {
        let mut ended = self.ended.clone();
        let wait = async { ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone()) };
        tokio::time::timeout(patience, wait).await.ok().flatten()
    }

    /// Waits until a packet was received.
    pub async fn hears(&self, patience: Duration) -> bool {
        let wait = async {
            while self.statistics().received == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(patience, wait).await.is_ok()
    }
}
