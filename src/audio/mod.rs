//! Sound: codec payloads come in, 20 ms frames of samples go out, and back.
//!
//! A [`Talker`] turns one sender's packets into frames on the gateway's own clock; a [`Mix`] adds frames up and
//! takes a listener's own away again; an [`Encoder`] makes payloads. An [`Announcement`] is a sentence to be heard over a mix. Frames are mono, 16 bit, 20 ms long, at one of
//! the two rates of [`SampleRate`](crate::units::SampleRate).
//!
//! Nothing here ever sees a key, an address or an RTP header beyond sequence number, timestamp and marker.

mod announcement;
mod codec;
mod conceal;
mod g711;
mod jitter;
mod level;
mod mix;
mod ogg;
mod opus;
mod order;
mod resample;
mod stretch;
mod talker;
mod timing;

pub use announcement::{Announcement, Language};
pub use codec::{Codec, CodecError, Encoder};
pub use level::{Activity, level_dbfs};
pub use mix::{Limiter, Mix};
pub use resample::{Downsampler, Upsampler};
pub use talker::{Heard, Statistics, Talker};

/// Media time and clock time alike, in ticks of 48 kHz: one Opus RTP tick, a sixth of a G.711 RTP tick.
/// One unit for both lets an arrival be compared with a timestamp without rounding either.
type Ticks = i64;

/// Ticks in a millisecond.
const MS: Ticks = 48;

/// Ticks in the gateway's 20 ms frame.
const FRAME: Ticks = 20 * MS;
