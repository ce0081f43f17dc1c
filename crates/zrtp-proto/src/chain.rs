//! The hash chain H0…H3 (RFC 6189 §9): ours, and what is known of the peer's.
//!
//! Always SHA-256, whatever hash is negotiated.

use crate::hash::image;
use crate::secret::same;
use zeroize::Zeroize;

/// Our own chain. H0 keys the MAC of DHPart, H1 that of Commit, H2 that of Hello.
pub(crate) struct OwnChain {
    pub(crate) h0: [u8; 32],
    pub(crate) h1: [u8; 32],
    pub(crate) h2: [u8; 32],
    pub(crate) h3: [u8; 32],
}

impl OwnChain {
    pub(crate) fn new(h0: &[u8; 32]) -> Self {
        let h1 = image(h0);
        let h2 = image(&h1);
        OwnChain { h0: *h0, h1, h2, h3: image(&h2) }
    }
}

impl Drop for OwnChain {
    fn drop(&mut self) {
        self.h0.zeroize();
        self.h1.zeroize();
        self.h2.zeroize();
    }
}

/// Whether `preimage` hashes to `wanted`.
pub(crate) fn continues(preimage: &[u8; 32], wanted: &[u8; 32]) -> bool {
    same(&image(preimage), wanted)
}
