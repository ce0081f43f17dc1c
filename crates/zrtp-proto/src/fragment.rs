//! Reassembly of fragmented messages (bzrtp's extension for paths with a small MTU). In: fragments. Out: a whole message.
//!
//! One message at a time, at most 4096 octets in at most 8 pieces, for at most two seconds. We never send fragments.

use crate::wire::Fragment;
use crate::{Dropped, wire};
use std::time::{Duration, Instant};

const MOST_PIECES: usize = 8;
const LIFE: Duration = Duration::from_secs(2);

/// The one message that is being put together.
#[derive(Debug, Default)]
pub(crate) struct Reassembly(Option<Pieces>);

#[derive(Debug)]
struct Pieces {
    ssrc: u32,
    message_id: u16,
    since: Instant,
    octets: Vec<u8>,
    /// Which stretches are there: offset and length.
    present: Vec<(usize, usize)>,
}

impl Reassembly {
    /// Takes a piece. `Ok` when it was the last missing one.
    pub(crate) fn add(&mut self, now: Instant, ssrc: u32, piece: &Fragment<'_>) -> Result<Vec<u8>, Dropped> {
        let stale = match &self.0 {
            None => true,
            Some(pieces) => {
                pieces.ssrc != ssrc
                    || pieces.message_id != piece.message_id
                    || pieces.octets.len() != piece.total
                    || now.saturating_duration_since(pieces.since) > LIFE
            }
        };
        if stale {
            self.0 = Some(Pieces {
                ssrc,
                message_id: piece.message_id,
                since: now,
                octets: vec![0; piece.total],
                present: Vec::new(),
            });
        }
        let Some(pieces) = &mut self.0 else { return Err(Dropped::Fragment) };
        let stretch = (piece.offset, piece.data.len());
        if pieces.present.contains(&stretch) {
            return Err(Dropped::Incomplete); // a retransmission
        }
        let (from, to) = (piece.offset, piece.offset + piece.data.len());
        let overlaps = pieces.present.iter().any(|(offset, length)| from < offset + length && *offset < to);
        if overlaps || pieces.present.len() == MOST_PIECES {
            self.0 = None;
            return Err(Dropped::Fragment);
        }
        let Some(place) = pieces.octets.get_mut(from..to) else { return Err(Dropped::Fragment) };
        place.copy_from_slice(piece.data);
        pieces.present.push(stretch);
        if pieces.present.iter().map(|(_, length)| length).sum::<usize>() < pieces.octets.len() {
            return Err(Dropped::Incomplete);
        }
        let whole = self.0.take().map(|pieces| pieces.octets).unwrap_or_default();
        wire::message(&whole)?;
        Ok(whole)
    }
}
