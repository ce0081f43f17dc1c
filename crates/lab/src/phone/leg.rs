//! The offer/answer side of the phone's calls: from an INVITE to sockets, keys and sound.

use super::call::{Call, CallFailed, Ended, Reoffer};
use super::description::{self, Local, MediaOptions, Ours};
use super::media::{Command, Contexts, Media, Shared, Source};
use super::zrtp::Exchange;
use super::{Pickup, Worker, failed};
use crate::Outcome;
use galene_sips::policy::{KeyFacts, KeyingMethod, Rules, SignallingLevel, SuiteStrength, judge};
use galene_sips::sdp::{AudioOffer, Codec, CryptoAttribute, Direction, OfferedCodec, Profile};
use galene_sips::secret::Secret;
use galene_sips::sip::{Body, DialogId, Headers, Method, Reply, Response, TransactionKey};
use galene_sips::srtp::{MasterKey, Protector, Suite, Unprotector};
use galene_sips::units::{CallNumber, Random, Ssrc};
use galene_sips::{audio, keying};
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use zrtp_proto::HelloHash;

type Answered = oneshot::Sender<Result<Call, CallFailed>>;
type Reinvited = oneshot::Sender<Result<String, CallFailed>>;

/// A call of ours, from the INVITE on.
pub(super) struct Leg {
    media: MediaOptions,
    local: Local,
    version: u64,
    /// The INVITE had no offer.
    late: bool,
    /// The keys in the offer that is under way, if one is.
    offered: Vec<CryptoAttribute>,
    /// Our SSRC, and where its numbers begin.
    source: u32,
    /// ZRTP, until the sound has it; and what we announce of it.
    exchange: Option<Exchange>,
    zrtp_hash: Option<String>,
    calling: Option<(Answered, UdpSocket, UdpSocket)>,
    talking: Option<Talking>,
}

/// What an answered call has.
struct Talking {
    /// Our line and theirs; `None` in clear.
    keys: Option<(CryptoAttribute, CryptoAttribute)>,
    profile: Profile,
    codec: OfferedCodec,
    event: Option<(u8, u32)>,
    mux: bool,
    direction: Direction,
    commands: mpsc::UnboundedSender<Command>,
    ended: watch::Sender<Option<Ended>>,
    reinviting: Option<Reinviting>,
}

/// A re-INVITE of ours under way.
struct Reinviting {
    key: TransactionKey,
    direction: Direction,
    /// It has no offer; with this, our answer takes no old key.
    late: Option<NewKeys>,
    reply: Reinvited,
}

/// Whether keys are new, though the other side's is an old one.
type NewKeys = bool;

/// What a description of theirs comes to.
struct Settled {
    keys: Option<(CryptoAttribute, CryptoAttribute)>,
    announced: Option<HelloHash>,
    codec: OfferedCodec,
    event: Option<(u8, u32)>,
    profile: Profile,
    mux: bool,
    direction: Direction,
    remote: (SocketAddr, SocketAddr),
}

impl Leg {
    pub(super) fn is_calling(&self) -> bool {
        self.calling.is_some()
    }

    pub(super) fn end(self, how: Ended) {
        if let Some((reply, ..)) = self.calling {
            let _ = reply.send(Err(failed(0, format!("{how:?}"))));
        }
        if let Some(talking) = self.talking {
            if let Some(reinviting) = talking.reinviting {
                let _ = reinviting.reply.send(Err(failed(0, format!("{how:?}"))));
            }
            talking.ended.send_replace(Some(how));
        }
    }

    fn offer(&self, cryptos: &[CryptoAttribute], direction: Direction) -> String {
        let media = &self.media;
        Ours {
            local: &self.local,
            version: self.version,
            profile: media.profile,
            codecs: &description::offered(&media.codecs),
            events: &description::events(&media.codecs),
            cryptos,
            zrtp_hash: self.zrtp_hash.as_deref(),
            mux: media.rtcp_mux,
            direction,
            extra_lines: &media.extra_lines,
        }
        .text()
    }

    fn answer(&self, settled: &Settled) -> String {
        let line = settled.keys.as_ref().map(|(ours, _)| copy(ours));
        Ours {
            local: &self.local,
            version: self.version,
            profile: settled.profile,
            codecs: &[settled.codec],
            events: settled.event.as_slice(),
            cryptos: line.as_slice(),
            zrtp_hash: self.zrtp_hash.as_deref(),
            mux: settled.mux,
            direction: settled.direction,
            extra_lines: &self.media.extra_lines,
        }
        .text()
    }

    /// Takes their answer to an offer of ours.
    fn accept(&self, audio: &AudioOffer) -> Outcome<Settled> {
        let keys = match audio.cryptos.first() {
            None => None,
            Some(theirs) => {
                let ours = self.offered.iter().find(|ours| ours.tag == theirs.tag && ours.suite == theirs.suite);
                Some((copy(ours.ok_or("the answer has a key for none of our lines")?), copy(theirs)))
            }
        };
        self.settle(audio, keys, audio.rtcp_mux && self.media.rtcp_mux)
    }

    /// Chooses from their offer.
    fn choose(&self, audio: &AudioOffer, new_keys: NewKeys, random: &mut dyn Random) -> Outcome<Settled> {
        let known = audio.cryptos.iter().find(|line| {
            let before = self.talking.as_ref().and_then(|talking| talking.keys.as_ref());
            !new_keys && before.is_some_and(|(_, theirs)| theirs.key.equals(line.key.expose()))
        });
        let wanted =
            |line: &&CryptoAttribute| Suite::parse(&line.suite).is_some_and(|s| self.media.suites.contains(&s));
        let keys = match (known, audio.cryptos.iter().find(wanted)) {
            (Some(theirs), _) => {
                let before = self.talking.as_ref().and_then(|talking| talking.keys.as_ref());
                before.map(|(ours, _)| (CryptoAttribute { tag: theirs.tag, ..copy(ours) }, copy(theirs)))
            }
            (None, Some(theirs)) => {
                let suite = Suite::parse(&theirs.suite).ok_or("unknown suite")?;
                let mut line = keying::offer(&[suite], random).remove(0);
                line.tag = theirs.tag;
                Some((line, copy(theirs)))
            }
            (None, None) => None,
        };
        if keys.is_none() && !self.media.suites.is_empty() {
            return Err("no suite in common".into());
        }
        self.settle(audio, keys, audio.rtcp_mux)
    }

    fn settle(
        &self,
        audio: &AudioOffer,
        keys: Option<(CryptoAttribute, CryptoAttribute)>,
        mux: bool,
    ) -> Outcome<Settled> {
        let announced = keying::announced(audio);
        if self.media.zrtp.is_some() && announced.is_none() {
            return Err("the other side announces no ZRTP".into());
        }
        let ours = |codec: &&OfferedCodec| self.media.codecs.contains(&codec.codec);
        let codec = *audio.codecs.iter().find(ours).ok_or("no codec in common")?;
        let rtp = audio.remote_rtp.ok_or("no address in the description")?;
        let rtcp = if mux { rtp } else { audio.remote_rtcp.unwrap_or(rtp) };
        let event = audio.telephone_events.iter().copied().find(|(_, clock)| *clock == codec.codec.clock());
        let direction = audio.direction.reversed();
        Ok(Settled { keys, announced, codec, event, profile: audio.profile, mux, direction, remote: (rtp, rtcp) })
    }
}

impl Worker {
    pub(super) async fn begin(&mut self, target: &str, media: MediaOptions, late_offer: bool, reply: Answered) {
        let (leg, rtp, rtcp) = match self.new_leg(media).await {
            Ok(new) => new,
            Err(failure) => {
                let _ = reply.send(Err(failed(0, failure)));
                return;
            }
        };
        let mut leg = leg;
        leg.late = late_offer;
        leg.offered = keying::offer(&leg.media.suites, &mut self.random);
        let body = (!late_offer).then(|| Body::sdp(&leg.offer(&leg.offered, Direction::SendRecv)));
        match self.agent.invite(Instant::now(), target, body, &Headers::new()) {
            Ok(dialog) => {
                leg.calling = Some((reply, rtp, rtcp));
                self.legs.insert(dialog, leg);
            }
            Err(error) => {
                let _ = reply.send(Err(failed(0, error)));
            }
        }
    }

    async fn new_leg(&mut self, media: MediaOptions) -> Outcome<(Leg, UdpSocket, UdpSocket)> {
        let (rtp, rtcp) = bind_pair(self.options.bind).await?;
        let mut session = [0; 4];
        self.random.fill(&mut session);
        let local = Local {
            session: u32::from_be_bytes(session).into(),
            rtp: rtp.local_addr()?,
            rtcp: rtcp.local_addr()?.port(),
        };
        let mut source = [0; 4];
        self.random.fill(&mut source);
        let source = u32::from_be_bytes(source);
        let exchange = media.zrtp.as_ref().map(|memory| Exchange::new(memory, Ssrc(source), self.rules.clone()));
        let leg = Leg {
            media,
            local,
            version: 1,
            late: false,
            offered: Vec::new(),
            source,
            zrtp_hash: exchange.as_ref().map(Exchange::hello_hash),
            exchange,
            calling: None,
            talking: None,
        };
        Ok((leg, rtp, rtcp))
    }

    pub(super) fn responded(&mut self, dialog: DialogId, key: TransactionKey, response: &Response) {
        let Some(leg) = self.legs.get_mut(&dialog) else { return };
        if response.status < 200 {
            return;
        }
        let warning = response.headers.get("Warning").map(str::to_owned);
        let refused = CallFailed { status: response.status, reason: response.reason.clone(), warning };
        if let Some((reply, rtp, rtcp)) = leg.calling.take() {
            if response.status >= 300 {
                let _ = reply.send(Err(refused));
                self.legs.remove(&dialog);
                return;
            }
            let answered = self.answered(dialog, &response.body, rtp, rtcp);
            if answered.is_err() {
                self.agent.bye(Instant::now(), dialog, None);
                self.legs.remove(&dialog);
            }
            let _ = reply.send(answered.map_err(|failure| failed(0, failure)));
        } else if let Some(talking) = &mut leg.talking
            && let Some(reinviting) = talking.reinviting.take_if(|reinviting| reinviting.key == key)
        {
            let result = match response.status {
                300.. => Err(refused),
                _ => self.change_accepted(dialog, &reinviting, &response.body).map_err(|failure| failed(0, failure)),
            };
            let _ = reinviting.reply.send(result);
        }
    }

    /// A 200 to our INVITE: an answer, or with a late offer the offer, which the ACK answers.
    fn answered(&mut self, dialog: DialogId, body: &[u8], rtp: UdpSocket, rtcp: UdpSocket) -> Outcome<Call> {
        let audio = description::read(body)?;
        let leg = self.legs.get(&dialog).ok_or("the call is gone")?;
        let settled = if leg.late { leg.choose(&audio, false, &mut self.random)? } else { leg.accept(&audio)? };
        let text = leg.late.then(|| leg.answer(&settled));
        if let Some(text) = text {
            self.agent.ack(Instant::now(), dialog, Some(Body::sdp(&text)));
        }
        self.start(dialog, settled, String::from_utf8_lossy(body).into_owned(), rtp, rtcp)
    }

    fn start(
        &mut self,
        dialog: DialogId,
        settled: Settled,
        answer: String,
        rtp: UdpSocket,
        rtcp: UdpSocket,
    ) -> Outcome<Call> {
        let leg = self.legs.get_mut(&dialog).ok_or("the call is gone")?;
        let (commands, received) = mpsc::unbounded_channel();
        let (ended, is_ended) = watch::channel(None);
        let shared = Shared::default();
        let mut exchange = leg.exchange.take();
        if let (Some(exchange), Some(announced)) = (&mut exchange, settled.announced) {
            exchange.start(Instant::now(), announced);
        }
        let suite = settled.keys.as_ref().and_then(|(ours, _)| Suite::parse(&ours.suite));
        let media = Media {
            rtp,
            rtcp,
            remote: settled.remote,
            contexts: match exchange {
                Some(_) => Contexts::AWAITED,
                None => contexts(&self.rules, settled.keys.as_ref())?,
            },
            exchange,
            codec: sound(settled.codec.codec),
            payload_type: settled.codec.payload_type,
            sending: settled.direction.sends(),
            shared: shared.clone(),
            source: Source::new(leg.source),
        };
        tokio::spawn(media.run(received));
        let call = Call {
            dialog,
            wishes: self.wishes.clone(),
            media: commands.clone(),
            shared,
            ended: is_ended,
            suite,
            codec: settled.codec.codec,
            remote: settled.remote.0,
            local: leg.local.rtp,
            answer,
        };
        let Settled { keys, codec, event, profile, mux, direction, .. } = settled;
        leg.talking = Some(Talking { keys, profile, codec, event, mux, direction, commands, ended, reinviting: None });
        Ok(call)
    }

    pub(super) async fn pick_up(&mut self, dialog: DialogId, key: TransactionKey, body: &[u8]) {
        let now = Instant::now();
        match self.options.pickup {
            Pickup::Refuse(status) => self.agent.respond(now, key, Reply::new(status, "Refused")),
            Pickup::Ring => self.agent.respond(now, key, Reply::new(180, "Ringing")),
            Pickup::Answer => match self.answer_call(dialog, body).await {
                Ok((call, text)) => {
                    self.agent.respond(now, key, Reply::new(200, "OK").with_sdp(&text));
                    let _ = self.calls.send(call);
                }
                Err(failure) => {
                    self.legs.remove(&dialog);
                    let reply = Reply::new(488, "Not Acceptable Here");
                    self.agent.respond(now, key, reply.with_header("Warning", format!("399 lab \"{failure}\"")));
                }
            },
        }
    }

    async fn answer_call(&mut self, dialog: DialogId, body: &[u8]) -> Outcome<(Call, String)> {
        let audio = description::read(body)?;
        let (leg, rtp, rtcp) = self.new_leg(self.options.media.clone()).await?;
        let settled = leg.choose(&audio, false, &mut self.random)?;
        let text = leg.answer(&settled);
        self.legs.insert(dialog, leg);
        let call = self.start(dialog, settled, String::from_utf8_lossy(body).into_owned(), rtp, rtcp)?;
        Ok((call, text))
    }

    /// A re-INVITE or UPDATE of theirs.
    pub(super) fn answer_change(&mut self, dialog: DialogId, key: TransactionKey, body: &[u8]) {
        let now = Instant::now();
        let answered = self.change(dialog, body);
        match answered {
            Ok(text) => self.agent.respond(now, key, Reply::new(200, "OK").with_sdp(&text)),
            Err(_) => self.agent.respond(now, key, Reply::new(488, "Not Acceptable Here")),
        }
    }

    fn change(&mut self, dialog: DialogId, body: &[u8]) -> Outcome<String> {
        let leg = self.legs.get_mut(&dialog).ok_or("the call is gone")?;
        leg.version += 1;
        if body.is_empty() {
            return Err("a re-INVITE without an offer".into());
        }
        let settled = leg.choose(&description::read(body)?, false, &mut self.random)?;
        let text = leg.answer(&settled);
        self.apply(dialog, settled)?;
        Ok(text)
    }

    pub(super) fn reinvite(&mut self, dialog: DialogId, reoffer: &Reoffer, reply: Reinvited) {
        let Some(leg) = self.legs.get_mut(&dialog) else { return };
        let Some(talking) = &mut leg.talking else { return };
        let direction = reoffer.direction.unwrap_or(talking.direction);
        let cryptos = match &talking.keys {
            Some((ours, _)) if !reoffer.new_keys => vec![copy(ours)],
            _ => keying::offer(&leg.media.suites, &mut self.random),
        };
        leg.version += 1;
        let ours = Ours {
            local: &leg.local,
            version: leg.version,
            profile: talking.profile,
            codecs: &[talking.codec],
            events: talking.event.as_slice(),
            cryptos: &cryptos,
            zrtp_hash: leg.zrtp_hash.as_deref(),
            mux: talking.mux,
            direction,
            extra_lines: &leg.media.extra_lines,
        };
        let mut text = ours.text();
        for (what, by) in &reoffer.replace {
            text = text.replace(what, by);
        }
        let body = (!reoffer.late).then(|| Body::sdp(&text));
        match self.agent.request(Instant::now(), dialog, Method::INVITE, body, &Headers::new()) {
            Ok(key) => {
                let late = reoffer.late.then_some(reoffer.new_keys);
                talking.reinviting = Some(Reinviting { key, direction, late, reply });
                leg.offered = cryptos;
            }
            Err(error) => {
                let _ = reply.send(Err(failed(0, error)));
            }
        }
    }

    fn change_accepted(&mut self, dialog: DialogId, reinviting: &Reinviting, body: &[u8]) -> Outcome<String> {
        let audio = description::read(body)?;
        let leg = self.legs.get(&dialog).ok_or("the call is gone")?;
        let mut settled = match reinviting.late {
            None => leg.accept(&audio)?,
            Some(new_keys) => leg.choose(&audio, new_keys, &mut self.random)?,
        };
        settled.direction = settled.direction.and(reinviting.direction);
        if reinviting.late.is_some() {
            let text = leg.answer(&settled);
            self.agent.ack(Instant::now(), dialog, Some(Body::sdp(&text)));
        }
        self.apply(dialog, settled)?;
        Ok(String::from_utf8_lossy(body).into_owned())
    }

    /// Puts what was agreed anew to work. Contexts go on where both keys are the old ones.
    fn apply(&mut self, dialog: DialogId, settled: Settled) -> Outcome<()> {
        let talking =
            self.legs.get_mut(&dialog).and_then(|leg| leg.talking.as_mut()).ok_or("the call is not answered")?;
        let same = match (&talking.keys, &settled.keys) {
            (Some(old), Some(new)) => old.0.key.equals(new.0.key.expose()) && old.1.key.equals(new.1.key.expose()),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let contexts = contexts(&self.rules, settled.keys.as_ref())?;
            let _ = talking.commands.send(Command::Keys(contexts));
        }
        let (rtp, rtcp) = settled.remote;
        let _ = talking.commands.send(Command::Remote { rtp, rtcp });
        let _ = talking.commands.send(Command::Sending(settled.direction.sends()));
        talking.keys = settled.keys;
        talking.direction = settled.direction;
        Ok(())
    }
}

fn contexts(rules: &Rules, keys: Option<&(CryptoAttribute, CryptoAttribute)>) -> Outcome<Contexts> {
    let Some((ours, theirs)) = keys else { return Ok(Contexts::Clear) };
    let suite = Suite::parse(&ours.suite).ok_or("unknown suite")?;
    let facts = KeyFacts {
        call: CallNumber(0),
        signalling: SignallingLevel::Verified,
        method: KeyingMethod::Sdes,
        suite: if suite.rtp_tag_len() < 10 { SuiteStrength::ShortTag } else { SuiteStrength::Full },
        current: None,
    };
    let proof = judge(rules, &facts).allowed().map_err(|refusal| refusal.to_string())?;
    let master = |line: &CryptoAttribute| MasterKey::new(suite, line.key.duplicate());
    Ok(Contexts::Srtp {
        protector: Some(Box::new(Protector::new(&proof, &master(ours)?)?)),
        unprotector: Some(Box::new(Unprotector::new(&proof, &master(theirs)?)?)),
    })
}

/// A second copy of a line; the key is wiped in each on its own.
fn copy(line: &CryptoAttribute) -> CryptoAttribute {
    CryptoAttribute::new(line.tag, &line.suite, Secret::new(line.key.expose().clone()))
}

fn sound(codec: Codec) -> audio::Codec {
    match codec {
        Codec::Opus => audio::Codec::Opus,
        Codec::Pcmu => audio::Codec::Pcmu,
        Codec::Pcma => audio::Codec::Pcma,
    }
}

/// An even port and the next one, as RTP and RTCP like it (RFC 3550 §11).
async fn bind_pair(ip: std::net::IpAddr) -> Outcome<(UdpSocket, UdpSocket)> {
    for _ in 0..100 {
        let rtp = UdpSocket::bind((ip, 0)).await?;
        let port = rtp.local_addr()?.port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind((ip, port + 1)).await
        {
            return Ok((rtp, rtcp));
        }
    }
    Err("no pair of free ports".into())
}
