//! One talker: packets come in as the network brings them, 20 ms frames go out on the gateway's own clock.
//!
//! Playout is a cursor on the sender's timeline. Its delay is counted from the fastest packets of the last seconds
//! ([`Arrivals`]); it is kept between the target and one frame more by taking out or repeating single pitch periods.
//! That follows jitter and a drifting clock alike. What is missing is concealed: the cursor moves on over a gap in
//! the numbers, and stands still where nothing newer has come, so that late sound is still heard and then caught up.
//! A sender that stays silent ends the playout; its next packet, whatever its numbers, begins another.

use super::codec::{Codec, CodecError, Decoder};
use super::jitter::JitterBuffer;
use super::order::{Order, Place, Position};
use super::resample::Upsampler;
use super::stretch::{self, Urgency};
use super::timing::Arrivals;
use super::{FRAME, MS, Ticks};
use crate::units::SampleRate;
use std::time::{Duration, Instant};

/// Gaps and steps of the decoders' concealment; timestamps may be off by less.
const STEP: Ticks = 5 * MS / 2;

/// How long concealment goes on before it is silence.
const CONCEALED: Ticks = 5 * FRAME;

/// How long a sender in discontinuous transmission may stay away: Opus sends every 400 ms (RFC 6716 §2.1.9).
const REST: Ticks = 1_000 * MS;

/// So far beyond the target, sound is not hurried through but thrown away.
const BACKLOG: Ticks = 500 * MS;

/// A timestamp that says a packet came this much too early or too late is on another timeline ...
const TIMELINE_STEP: Ticks = 1_000 * MS;
/// ... or this much, when nothing is being played that it could fit to.
const TIMELINE_STEP_IDLE: Ticks = 200 * MS;

/// Frames in a row that must say the same before playout is hurried or slowed: our own tick is not punctual either.
const CERTAIN: u32 = 3;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Heard {
    /// Nothing: the talker sends nothing, or says that he is silent.
    Silence,
    /// Sound that was received.
    Sound,
    /// At least in part a guess, or the error correction's copy, in place of packets that are missing.
    Concealed,
}

/// What happened to a talker's packets so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Statistics {
    /// Packets received, each counted once.
    pub received: u64,
    /// Packets that never came (RFC 3550 A.3).
    pub lost: u64,
    /// Packets that came when their time was over.
    pub late: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets thrown away to keep the delay low, and strays.
    pub discarded: u64,
    /// Packets whose payload could not be decoded.
    pub malformed: u64,
    /// Frames that were concealed.
    pub concealed: u64,
    /// Of what was missing, pieces that the next packet's forward error correction gave back.
    pub recovered: u64,
    /// How long packets wait here, counted from the fastest.
    pub delay: Duration,
    /// How long they should.
    pub target: Duration,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Playout {
    /// Nothing to play.
    Idle,
    /// The first packets are here; they wait until the target delay is over.
    Filling,
    Playing,
}

/// One sender's sound.
pub struct Talker {
    decoder: Decoder,
    upsampler: Option<Box<Upsampler>>,
    order: Order,
    arrivals: Arrivals,
    packets: JitterBuffer,
    origin: Option<Instant>,
    playout: Playout,
    /// The place on the sender's timeline of the next sample to be decoded.
    cursor: Ticks,
    /// What was put out while the cursor stood still.
    held: Ticks,
    /// Concealment since the last received sound.
    guessed: Ticks,
    /// The last packet said that silence follows.
    resting: bool,
    last_index: Option<u64>,
    /// Decoded and not yet played.
    pcm: Vec<i16>,
    /// Frames in a row for which the delay was above, or below, where it should be.
    above: u32,
    below: u32,
    counts: Statistics,
}

impl Talker {
    /// A talker who sends `codec` and is heard at `rate`. G.711 is decoded at 8 kHz and brought up to 48 kHz.
    pub fn new(codec: Codec, rate: SampleRate) -> Result<Talker, CodecError> {
        let decoder = Decoder::new(codec, rate)?;
        let upsampler = (decoder.rate() != rate).then(|| Box::new(Upsampler::new()));
        Ok(Talker {
            decoder,
            upsampler,
            order: Order::new(Ticks::from(SampleRate::Hz48000.hz() / codec.rate().hz())),
            arrivals: Arrivals::new(),
            packets: JitterBuffer::new(),
            origin: None,
            playout: Playout::Idle,
            cursor: 0,
            held: 0,
            guessed: 0,
            resting: false,
            last_index: None,
            // a packet of 120 ms on top of nearly two frames
            pcm: Vec::with_capacity(8 * SampleRate::Hz48000.frame()),
            above: 0,
            below: 0,
            counts: Statistics::default(),
        })
    }

    /// Takes a packet. `marker` is the RTP marker bit: a talkspurt begins (RFC 3551 §4.1).
    pub fn packet(&mut self, now: Instant, sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) {
        let now = self.ticks(now);
        let position = match self.order.place(sequence, timestamp, self.playout == Playout::Idle) {
            Place::InOrder(position) => position,
            Place::Restarted(position) => {
                self.last_index = None;
                self.decoder.reset();
                self.new_timeline();
                position
            }
            Place::Duplicate => return self.counts.duplicates += 1,
            Place::Stray => return self.counts.discarded += 1,
        };
        if self.last_index.is_some_and(|last| position.index <= last) {
            return self.counts.late += 1;
        }
        let Some(duration) = self.decoder.duration(payload) else {
            return self.counts.malformed += 1;
        };
        self.note_arrival(now, position);
        match self.playout {
            Playout::Playing if position.at + duration <= self.cursor => return self.counts.late += 1,
            Playout::Playing if marker && self.held > 0 => self.playout = Playout::Filling,
            Playout::Idle => self.playout = Playout::Filling,
            Playout::Playing | Playout::Filling => {}
        }
        self.counts.discarded += u64::from(self.packets.insert(position, duration, payload));
    }

    /// The sender was replaced by another (a new SSRC): its next packet is a beginning.
    pub fn restart(&mut self) {
        self.order.restart();
    }

    /// Puts the next 20 ms into `out`, which is as long as a frame at the talker's rate. To be called every 20 ms.
    pub fn frame(&mut self, now: Instant, out: &mut [i16]) -> Heard {
        let now = self.ticks(now);
        self.begin_if_due(now);
        let frame = self.decoder.rate().frame();
        let mut heard = Heard::Silence;
        if self.playout == Playout::Playing {
            self.use_up_held();
            self.drop_backlog(now);
            if self.pcm.len() >= frame {
                heard = Heard::Sound;
            }
            while self.pcm.len() < frame && self.playout == Playout::Playing {
                heard = heard.max(self.advance(now));
            }
        }
        if heard == Heard::Sound {
            self.counts.delay = duration(self.delay(now));
            self.follow_clock(now);
        }
        self.counts.concealed += u64::from(heard == Heard::Concealed);
        self.emit(frame, out);
        heard
    }

    /// What happened so far.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            received: self.order.received(),
            lost: self.order.lost(),
            target: duration(self.arrivals.target()),
            jitter: duration(self.arrivals.jitter()),
            ..self.counts
        }
    }

    fn ticks(&mut self, now: Instant) -> Ticks {
        let origin = *self.origin.get_or_insert(now);
        now.saturating_duration_since(origin).as_micros() as Ticks * MS / 1_000
    }

    fn note_arrival(&mut self, now: Ticks, position: Position) {
        let transit = now - position.at;
        let step = if self.playout == Playout::Idle { TIMELINE_STEP_IDLE } else { TIMELINE_STEP };
        let lateness = self.arrivals.lateness(transit).unwrap_or(0);
        if position.newest && lateness.abs() > step {
            self.new_timeline();
        }
        self.arrivals.observe(now, transit, !position.newest);
    }

    /// What waits is from another time: away with it.
    fn new_timeline(&mut self) {
        self.counts.discarded += self.packets.clear();
        self.arrivals.restart();
        self.playout = Playout::Filling;
    }

    /// How much later than possible the next sample is played.
    fn delay(&self, now: Ticks) -> Ticks {
        let waiting = self.pcm.len() as Ticks * self.decoder.ticks_per_sample();
        now - (self.cursor - waiting) - self.arrivals.base()
    }

    fn begin_if_due(&mut self, now: Ticks) {
        let Some(first) = self.packets.first() else { return };
        if self.playout == Playout::Filling && now - first.at - self.arrivals.base() >= self.arrivals.target() {
            self.playout = Playout::Playing;
            self.cursor = first.at;
            self.held = 0;
        }
    }

    /// What was put out in place of sound that turns out to be lost or a pause has been heard.
    fn use_up_held(&mut self) {
        if let Some(first) = self.packets.first() {
            self.cursor += self.held.min((first.at - self.cursor).max(0));
            self.held = 0;
        }
    }

    fn drop_backlog(&mut self, now: Ticks) {
        if self.packets.first().is_none() || self.delay(now) <= self.arrivals.target() + BACKLOG {
            return;
        }
        self.arrivals.forget_backlog();
        self.pcm.clear();
        self.cursor = now - self.arrivals.base() - self.arrivals.target();
        while self.packets.first().is_some_and(|first| first.end() <= self.cursor) {
            self.packets.drop_first();
            self.counts.discarded += 1;
        }
    }

    /// Adds the next piece of sound, at most a packet or 20 ms of anything else.
    fn advance(&mut self, now: Ticks) -> Heard {
        while self.packets.first().is_some_and(|first| first.end() <= self.cursor) {
            self.packets.drop_first();
            self.counts.late += 1;
        }
        let Some(first) = self.packets.first() else { return self.starve() };
        let gap = first.at - self.cursor;
        if gap < STEP {
            return self.play_first();
        }
        let lost = self.last_index.is_some_and(|last| first.index > last + 1);
        let piece = gap.min(FRAME) / STEP * STEP;
        if !lost {
            // a pause: the best place to catch up
            let excess = (self.delay(now) - self.arrivals.target()).clamp(0, gap) / STEP * STEP;
            if excess > 0 {
                self.cursor += excess;
            } else {
                self.cursor += piece;
                self.guess(piece);
            }
            return Heard::Silence;
        }
        if gap <= first.duration && gap % STEP == 0 && self.decoder.carries_previous(&first.payload) {
            self.decoder.recover(&first.payload, gap, &mut self.pcm);
            self.cursor += gap;
            self.guessed += gap;
            self.counts.recovered += 1;
            return Heard::Concealed;
        }
        self.cursor += piece;
        self.guess(piece)
    }

    fn play_first(&mut self) -> Heard {
        let Some(packet) = self.packets.take_first() else { return Heard::Silence };
        let start = self.pcm.len();
        let good = self.decoder.decode(&packet.payload, packet.duration, &mut self.pcm);
        // its beginning may have been concealed already
        let over = self.decoder.samples((self.cursor - packet.at).max(0));
        self.pcm.drain(start..start + over);
        self.cursor = packet.end();
        self.held = 0;
        self.last_index = Some(packet.index);
        self.resting = self.decoder.is_rest(&packet.payload);
        self.packets.give_back(packet);
        if good {
            self.guessed = 0;
            return Heard::Sound;
        }
        self.counts.malformed += 1;
        Heard::Concealed
    }

    /// Nothing to play: guesses for a while, with the cursor standing still; then the playout ends.
    fn starve(&mut self) -> Heard {
        if self.guessed >= if self.resting { REST } else { CONCEALED } {
            self.playout = Playout::Idle;
            return Heard::Silence;
        }
        self.held += FRAME;
        self.guess(FRAME)
    }

    /// Adds a guess, or silence where guessing has gone on for too long.
    fn guess(&mut self, piece: Ticks) -> Heard {
        let start = self.pcm.len();
        if self.resting && self.guessed < REST {
            // the decoder makes the comfort noise
            self.decoder.conceal(piece, &mut self.pcm);
            self.guessed += piece;
            return Heard::Silence;
        }
        if self.guessed >= CONCEALED {
            self.pcm.resize(start + self.decoder.samples(piece), 0);
            return Heard::Silence;
        }
        self.decoder.conceal(piece, &mut self.pcm);
        self.guessed += piece;
        if self.guessed >= CONCEALED {
            fade_out(&mut self.pcm[start..]);
        }
        Heard::Concealed
    }

    /// Takes out or repeats a pitch period if the delay is not where it should be.
    fn follow_clock(&mut self, now: Ticks) {
        let excess = self.delay(now) - self.arrivals.target();
        self.above = if excess > FRAME { self.above + 1 } else { 0 };
        self.below = if excess < 0 { self.below + 1 } else { 0 };
        let hz = self.decoder.rate().hz() as usize;
        let frame = self.decoder.rate().frame();
        if self.above >= CERTAIN {
            let cursor = self.cursor;
            if self.pcm.len() < 2 * frame && self.packets.first().is_some_and(|first| first.at - cursor < STEP) {
                self.advance(now);
            }
            let urgency = if excess > 3 * FRAME { Urgency::Urgent } else { Urgency::Gentle };
            stretch::shorten(&mut self.pcm, hz, frame, urgency);
        } else if self.below >= CERTAIN {
            let urgency = if excess < -FRAME { Urgency::Urgent } else { Urgency::Gentle };
            stretch::lengthen(&mut self.pcm, hz, urgency);
        }
    }

    /// Plays a frame of what is decoded; silence where there is too little.
    fn emit(&mut self, frame: usize, out: &mut [i16]) {
        let ready = frame.min(self.pcm.len());
        match &mut self.upsampler {
            Some(upsampler) => upsampler.frame(&self.pcm[..ready], out),
            None => {
                out.fill(0);
                for (out, &sample) in out.iter_mut().zip(&self.pcm[..ready]) {
                    *out = sample;
                }
            }
        }
        self.pcm.drain(..ready);
    }
}

fn duration(ticks: Ticks) -> Duration {
    Duration::from_micros(ticks.max(0) as u64 * 1_000 / MS as u64)
}

fn fade_out(samples: &mut [i16]) {
    let length = samples.len() as i32;
    for (n, sample) in samples.iter_mut().enumerate() {
        *sample = (i32::from(*sample) * (length - n as i32) / length) as i16;
    }
}
