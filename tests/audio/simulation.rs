//! A sender, a network and a listening talker in virtual time: everything is a function of the seed.

use galene_sips::audio::{Codec, Encoder, Heard, Statistics, Talker};
use galene_sips::units::SampleRate;
use galene_sips_lab::measure::correlate;
use galene_sips_lab::sound::Dice;
use std::time::{Duration, Instant};

/// What becomes of a packet sent at a time (in ms): its delay in ms, or nothing.
pub(crate) type Network = Box<dyn FnMut(f64, &mut Dice) -> Option<f64>>;

/// A packet on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// When it arrives, in ms.
    pub(crate) at: f64,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
}

/// A run to be made.
pub(crate) struct Run {
    pub(crate) codec: Codec,
    /// What the talker is heard at, and what the source is sampled at.
    pub(crate) rate: SampleRate,
    pub(crate) source: Vec<i16>,
    /// How much faster than ours the sender's clock runs, in parts per million.
    pub(crate) ppm: f64,
    pub(crate) first_sequence: u16,
    pub(crate) first_timestamp: u32,
    pub(crate) network: Network,
    pub(crate) seed: u64,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) rate: SampleRate,
    pub(crate) source: Vec<i16>,
    ppm: f64,
    /// When the first frame was played, in ms after the sender's first sample.
    begin: f64,
    pub(crate) heard: Vec<Heard>,
    pub(crate) pcm: Vec<i16>,
    pub(crate) sent: usize,
    pub(crate) lost: usize,
    pub(crate) statistics: Statistics,
}

impl Run {
    /// A perfect network of 50 ms and a perfect clock.
    pub(crate) fn new(codec: Codec, rate: SampleRate, source: Vec<i16>) -> Run {
        Run {
            codec,
            rate,
            source,
            ppm: 0.0,
            first_sequence: 4_711,
            first_timestamp: 123_456,
            network: Box::new(|_, _| Some(50.0)),
            seed: 1,
        }
    }

    /// Sends the source in 20 ms packets and listens until it is over.
    pub(crate) fn go(mut self) -> Outcome {
        let mut dice = Dice(self.seed);
        let mut encoder = Encoder::new(self.codec, self.rate).unwrap();
        let mut packets = Vec::new();
        let (mut sent, mut lost) = (0_usize, 0);
        for frame in self.source.chunks_exact(self.rate.frame()) {
            let payload = encoder.encode(frame).unwrap().to_vec();
            let sequence = self.first_sequence.wrapping_add(sent as u16);
            let timestamp = self.first_timestamp.wrapping_add(sent as u32 * self.codec.frame_ticks());
            let marker = sent == 0;
            // a packet leaves when its last sample is there
            sent += 1;
            let leaves = sent as f64 * 20.0 / (1.0 + self.ppm / 1e6);
            match (self.network)(leaves, &mut dice) {
                Some(delay) => packets.push(Packet { at: leaves + delay, sequence, timestamp, marker, payload }),
                None => lost += 1,
            }
        }
        let begin = dice.between(0.0, 20.0);
        let end = self.source.len() as f64 / f64::from(self.rate.hz()) * 1000.0;
        let mut talker = Talker::new(self.codec, self.rate).unwrap();
        let (heard, pcm) = listen(&mut talker, self.rate, packets, begin, end);
        let statistics = talker.statistics();
        Outcome { rate: self.rate, source: self.source, ppm: self.ppm, begin, heard, pcm, sent, lost, statistics }
    }
}

/// Gives a talker its packets and takes its frames, one every 20 ms from `begin` on.
pub(crate) fn listen(
    talker: &mut Talker,
    rate: SampleRate,
    mut packets: Vec<Packet>,
    begin: f64,
    end: f64,
) -> (Vec<Heard>, Vec<i16>) {
    packets.sort_by(|a, b| a.at.total_cmp(&b.at));
    let mut packets = packets.iter().peekable();
    let origin = Instant::now();
    let at = |ms: f64| origin + Duration::from_nanos((ms * 1e6) as u64);
    let (mut heard, mut pcm) = (Vec::new(), Vec::new());
    let mut frame = vec![0; rate.frame()];
    let mut now = begin;
    while now < end {
        while let Some(packet) = packets.next_if(|packet| packet.at <= now) {
            talker.packet(at(packet.at), packet.sequence, packet.timestamp, packet.marker, &packet.payload);
        }
        heard.push(talker.frame(at(now), &mut frame));
        pcm.extend_from_slice(&frame);
        now += 20.0;
    }
    (heard, pcm)
}

impl Outcome {
    /// Frames of a kind within a span of playing time, in seconds.
    pub(crate) fn count(&self, kind: Heard, seconds: std::ops::Range<f64>) -> usize {
        let (from, to) = ((seconds.start * 50.0) as usize, (seconds.end * 50.0) as usize);
        let to = to.min(self.heard.len());
        self.heard[from.min(to)..to].iter().filter(|&&heard| heard == kind).count()
    }

    /// Mouth to ear at a time, in ms: measured, by finding in the source what is played then. Includes 20 ms of
    /// packetisation, the network, the codec and resampler. `None` if it is not found within 2 s.
    pub(crate) fn delay(&self, second: f64) -> Option<f64> {
        let hz = f64::from(self.rate.hz());
        let from = (second * hz) as usize;
        let played = self.pcm.get(from..from + self.rate.hz() as usize / 4)?;
        // what the sender's microphone heard at that moment is this sample of the source
        let simultaneous = ((second + self.begin / 1000.0) * (1.0 + self.ppm / 1e6) * hz) as usize;
        let start = simultaneous.saturating_sub(2 * self.rate.hz() as usize);
        let past = self.source.get(start..(simultaneous + played.len()).min(self.source.len()))?;
        let found = correlate(past, played, past.len());
        let position = start as f64 - found.lag as f64;
        (found.value > 0.6).then_some((simultaneous as f64 - position) / hz * 1000.0)
    }
}
