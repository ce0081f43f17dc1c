//! Retained secrets (RFC 6189 §4.6.1, §4.9) as values. The engine asks for what is kept when an exchange begins, and says
//! what to keep when it has ended; where and how it is kept is the caller's affair.

use crate::{Secret, Zid};

/// What is kept for one peer.
#[derive(Debug, Default)]
pub struct CacheEntry {
    /// The newest retained secret.
    pub rs1: Option<Retained>,
    /// The one before it, for the case that the peer missed the last update.
    pub rs2: Option<Retained>,
    /// Whether a person compared the SAS of an exchange in this chain of secrets and found it equal (§7.1).
    pub verified: bool,
}

/// A retained secret and how long it is still good.
#[derive(Debug)]
pub struct Retained {
    /// 32 octets.
    pub secret: Secret,
    /// How long. The engine has no clock: when storing, add it to the present; when giving it back, state what is left.
    pub lifetime: Lifetime,
}

impl CacheEntry {
    /// A second copy, its secrets wiped on their own.
    pub fn duplicate(&self) -> Self {
        let [rs1, rs2] = [&self.rs1, &self.rs2].map(|kept| kept.as_ref().map(Retained::duplicate));
        CacheEntry { rs1, rs2, verified: self.verified }
    }
}

impl Retained {
    /// A second copy, its secret wiped on its own.
    pub fn duplicate(&self) -> Self {
        Retained { secret: self.secret.duplicate(), lifetime: self.lifetime }
    }
}

/// How long a secret is good, in seconds (§4.9). `Lifetime(0)` is over: such a secret is not used and is not missed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lifetime(pub u32);

impl Lifetime {
    /// 0xffffffff on the wire, what the RFC recommends.
    pub const FOREVER: Lifetime = Lifetime(u32::MAX);
    /// Do not keep it.
    pub const NONE: Lifetime = Lifetime(0);
}

/// What the cache knows of a peer.
#[derive(Debug)]
pub enum Lookup {
    /// Nothing: a first contact.
    Unknown,
    /// This.
    Known(CacheEntry),
    /// Another exchange with this peer is under way; only one may be at a time (§4.4.1). The engine asks again.
    Busy,
}

/// The cache of retained secrets, indexed by the peer's ZID.
///
/// Bind an entry also to what your program knows the peer by, an address of record for instance: a peer that comes with a
/// new ZID looks like a first contact to ZRTP, and only you can say "known caller, unknown device".
pub trait Cache: Send {
    /// What is kept for `peer`. Asked once, when the exchange with it begins. Answer [`Lookup::Busy`] from then on to other
    /// engines until this one has said [`Output::Secure`](crate::Output::Secure) or [`Output::Failed`](crate::Output::Failed)
    /// or is dropped.
    fn lookup(&mut self, peer: &Zid) -> Lookup;
}

impl<C: Cache + ?Sized> Cache for Box<C> {
    fn lookup(&mut self, peer: &Zid) -> Lookup {
        (**self).lookup(peer)
    }
}

/// No cache at all (§4.9.1). Set [`Config::lifetime`](crate::Config::lifetime) to [`Lifetime::NONE`] with it.
#[derive(Debug, Default)]
pub struct NoCache;

impl Cache for NoCache {
    fn lookup(&mut self, _peer: &Zid) -> Lookup {
        Lookup::Unknown
    }
}

/// What the caller must store now, in one atomic step, before it does anything else with this peer.
#[derive(Debug)]
pub struct Remember {
    /// The peer.
    pub peer: Zid,
    /// The whole entry from now on; `None`: forget the peer.
    pub entry: Option<CacheEntry>,
}
