//! What there is to hear in a room, one 20 ms frame at a time.
//!
//! In: packets of Galène's streams and of the phones. Out: for each phone a payload of everyone but itself. Phones that
//! say nothing and speak the same codec hear the same, so that is encoded once.

use super::leg::Leg;
use super::telling::Told;
use crate::audio::{Activity, Codec, Encoder, Heard, Limiter, Mix, Talker};
use crate::galene::StreamId;
use crate::units::{CallNumber, SampleRate};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// One sender of sound, decoded once for each rate at which somebody listens.
pub(super) struct Voice {
    codec: Codec,
    narrow: Option<Ear>,
    wide: Option<Ear>,
}

struct Ear {
    talker: Talker,
    frame: Vec<i16>,
    heard: bool,
    activity: Activity,
}

impl Voice {
    pub(super) fn new(codec: Codec) -> Self {
        Voice { codec, narrow: None, wide: None }
    }

    /// Decodes at exactly these rates from now on.
    pub(super) fn want(&mut self, narrow: bool, wide: bool) {
        for (ear, wanted, rate) in
            [(&mut self.narrow, narrow, SampleRate::Hz8000), (&mut self.wide, wide, SampleRate::Hz48000)]
        {
            match wanted {
                false => *ear = None,
                true if ear.is_none() => *ear = Ear::new(self.codec, rate),
                true => {}
            }
        }
    }

    pub(super) fn packet(&mut self, now: Instant, sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) {
        for ear in [&mut self.narrow, &mut self.wide].into_iter().flatten() {
            ear.talker.packet(now, sequence, timestamp, marker, payload);
        }
    }

    /// The next 20 ms.
    pub(super) fn advance(&mut self, now: Instant) {
        for ear in [&mut self.narrow, &mut self.wide].into_iter().flatten() {
            ear.heard = ear.talker.frame(now, &mut ear.frame) != Heard::Silence;
            if ear.heard {
                ear.activity.heard(now, &ear.frame);
            }
        }
    }

    /// This tick's frame, if anything arrives from the sender at all.
    pub(super) fn frame(&self, rate: SampleRate) -> Option<&[i16]> {
        self.ear(rate).filter(|ear| ear.heard).map(|ear| ear.frame.as_slice())
    }

    /// This tick's frame, if the sender is talking.
    pub(super) fn speech(&self, now: Instant, rate: SampleRate) -> Option<&[i16]> {
        self.ear(rate).filter(|ear| ear.heard && ear.activity.is_active(now)).map(|ear| ear.frame.as_slice())
    }

    fn ear(&self, rate: SampleRate) -> Option<&Ear> {
        match rate {
            SampleRate::Hz8000 => self.narrow.as_ref(),
            SampleRate::Hz48000 => self.wide.as_ref(),
        }
    }
}

impl Ear {
    fn new(codec: Codec, rate: SampleRate) -> Option<Self> {
        let talker = Talker::new(codec, rate).inspect_err(|error| tracing::error!(%error, "no decoder")).ok()?;
        Some(Ear { talker, frame: vec![0; rate.frame()], heard: false, activity: Activity::default() })
    }
}

/// Everything that is heard at one rate, and what has been encoded of it in this tick.
struct Sum {
    rate: SampleRate,
    mix: Mix,
    limiter: Limiter,
    everyone: Vec<i16>,
    encoded: HashMap<Codec, SharedPayload>,
    /// While somebody is told something: gone when nobody is.
    telling: HashMap<(Codec, Told), (SharedPayload, Limiter)>,
    buffer: Vec<i16>,
}

/// A payload that several phones of one codec hear.
struct SharedPayload {
    encoder: Encoder,
    payload: Vec<u8>,
    /// Of this tick.
    fresh: bool,
}

#[cfg(test)]
thread_local! {
    /// How often a payload for several phones was encoded.
    static ENCODINGS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl SharedPayload {
    fn new(codec: Codec) -> Option<Self> {
        let encoder =
            Encoder::new(codec, codec.rate()).inspect_err(|error| tracing::error!(%error, "no encoder")).ok()?;
        Some(SharedPayload { encoder, payload: Vec::new(), fresh: false })
    }

    /// The payload of this tick's frame, encoded for the first who asks.
    fn of(&mut self, frame: &[i16]) -> Option<&[u8]> {
        if !self.fresh {
            let payload =
                self.encoder.encode(frame).inspect_err(|error| tracing::error!(%error, "not encoded")).ok()?;
            self.payload.clear();
            self.payload.extend_from_slice(payload);
            self.fresh = true;
            #[cfg(test)]
            ENCODINGS.set(ENCODINGS.get() + 1);
        }
        Some(&self.payload)
    }
}

impl Sum {
    fn new(rate: SampleRate) -> Self {
        Sum {
            rate,
            mix: Mix::new(rate),
            limiter: Limiter::new(),
            everyone: vec![0; rate.frame()],
            encoded: HashMap::new(),
            telling: HashMap::new(),
            buffer: vec![0; rate.frame()],
        }
    }
}

/// A sentence over the others, or without them.
fn tell(mix: &Mix, alone: bool, sentence: Option<&[i16]>, own: &[i16], limiter: &mut Limiter, out: &mut [i16]) {
    match sentence {
        Some(sentence) if alone => out.copy_from_slice(sentence),
        Some(sentence) => mix.behind(sentence, own, limiter, out),
        None => out.fill(0), // never asked for
    }
}

/// All voices of a room and their sums.
pub(super) struct Hearing {
    streams: HashMap<StreamId, Voice>,
    /// Whether anybody listens at 8 kHz, and at 48 kHz.
    listened: (bool, bool),
    narrow: Sum,
    wide: Sum,
}

impl Default for Hearing {
    fn default() -> Self {
        let (narrow, wide) = (Sum::new(SampleRate::Hz8000), Sum::new(SampleRate::Hz48000));
        Hearing { streams: HashMap::new(), listened: (false, false), narrow, wide }
    }
}

impl Hearing {
    /// A packet of a Galène stream.
    pub(super) fn packet(
        &mut self,
        now: Instant,
        stream: StreamId,
        sequence: u16,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) {
        let voice = self.streams.entry(stream).or_insert_with(|| {
            let mut voice = Voice::new(Codec::Opus);
            voice.want(self.listened.0, self.listened.1);
            voice
        });
        voice.packet(now, sequence, timestamp, marker, payload);
    }

    pub(super) fn forget_stream(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    pub(super) fn forget_streams(&mut self) {
        self.streams.clear();
    }

    /// How often a payload for several phones was encoded.
    #[cfg(test)]
    pub(super) fn encodings(&self) -> u64 {
        ENCODINGS.get()
    }

    /// Packets of Galène's talkers that reached a jitter buffer.
    #[cfg(test)]
    pub(super) fn received(&self) -> u64 {
        let ears = self.streams.values().flat_map(|voice| [&voice.narrow, &voice.wide]).flatten();
        ears.map(|ear| ear.talker.statistics().received).sum()
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// A tick begins: who listens, and how many phones there are.
    pub(super) fn begin(&mut self, legs: &BTreeMap<CallNumber, Leg>) {
        let listens = |rate| legs.values().any(|leg| leg.listens_at(rate));
        self.listened = (listens(SampleRate::Hz8000), listens(SampleRate::Hz48000));
    }

    /// Takes the next 20 ms of a phone, at the rates at which another phone, or its own participant, needs it.
    pub(super) fn take(&self, now: Instant, leg: &mut Leg, several: bool) {
        let (narrow, wide) = self.listened;
        leg.voice.want(several && narrow || leg.encodes_uplink(), several && wide);
        leg.voice.advance(now);
    }

    /// Takes the next 20 ms of Galène's talkers and sums everybody up, at the rates that somebody listens to.
    pub(super) fn collect(&mut self, now: Instant, legs: &BTreeMap<CallNumber, Leg>) {
        let (narrow, wide) = self.listened;
        self.streams.retain(|stream, voice| {
            let step = AssertUnwindSafe(|| {
                voice.want(narrow, wide);
                voice.advance(now);
            });
            let sound = catch_unwind(step).is_ok();
            if !sound {
                tracing::error!(stream = stream.0, "decoding a talker panicked; his decoder begins anew");
            }
            sound
        });
        for (sum, listened) in [(&mut self.narrow, narrow), (&mut self.wide, wide)] {
            sum.telling.retain(|_, (shared, _)| std::mem::replace(&mut shared.fresh, false));
            if !listened {
                continue;
            }
            sum.mix.clear();
            self.streams.values().filter_map(|voice| voice.frame(sum.rate)).for_each(|frame| sum.mix.add(frame));
            let phones = legs.values().filter(|leg| leg.is_heard());
            phones.filter_map(|leg| leg.voice.speech(now, sum.rate)).for_each(|frame| sum.mix.add(frame));
            sum.mix.everyone(&mut sum.limiter, &mut sum.everyone);
            sum.encoded.values_mut().for_each(|shared| shared.fresh = false);
        }
    }

    /// The payload of everyone in a codec, encoded in this tick at most once.
    pub(super) fn everyone(&mut self, codec: Codec) -> Option<&[u8]> {
        let sum = self.sum(codec.rate());
        let shared = match sum.encoded.entry(codec) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(SharedPayload::new(codec)?),
        };
        shared.of(&sum.everyone)
    }

    /// The payload of what silent phones hear who are told the same, encoded in this tick at most once.
    pub(super) fn telling(&mut self, codec: Codec, at: Instant, told: Told) -> Option<&[u8]> {
        let sum = self.sum(codec.rate());
        let (shared, limiter) = match sum.telling.entry((codec, told)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert((SharedPayload::new(codec)?, Limiter::new())),
        };
        if !shared.fresh {
            tell(&sum.mix, told.alone, told.frame(at, sum.rate), &[], limiter, &mut sum.buffer);
        }
        shared.of(&sum.buffer)
    }

    /// The frame of a phone that is told something while it talks; `own` is what was added for it.
    pub(super) fn telling_without(
        &mut self,
        rate: SampleRate,
        at: Instant,
        told: Told,
        own: &[i16],
        limiter: &mut Limiter,
        out: &mut [i16],
    ) {
        tell(&self.sum(rate).mix, told.alone, told.frame(at, rate), own, limiter, out);
    }

    /// The frame of everyone but a phone that talks; `own` is what was added for it.
    pub(super) fn without(&mut self, rate: SampleRate, own: &[i16], limiter: &mut Limiter, out: &mut [i16]) {
        self.sum(rate).mix.without(own, limiter, out);
    }

    fn sum(&mut self, rate: SampleRate) -> &mut Sum {
        match rate {
            SampleRate::Hz8000 => &mut self.narrow,
            SampleRate::Hz48000 => &mut self.wide,
        }
    }
}
