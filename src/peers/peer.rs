//! One peer, as it is kept.

use super::Caller;
use crate::units::UnixTime;
use zrtp_proto::{CacheEntry, Lifetime, Retained, Secret, Zid};

/// What tells peers apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerKey {
    /// Our account that it calls, `user@domain`, the domain in lower case.
    pub account: String,
    /// Who calls.
    pub caller: Caller,
    /// With which device.
    pub zid: Zid,
}

impl PeerKey {
    /// The key, with the account in the form in which it is kept.
    pub fn new(account: &str, caller: Caller, zid: Zid) -> PeerKey {
        PeerKey { account: normalised_account(account), caller, zid }
    }
}

/// An account is compared without the case of its domain.
pub(super) fn normalised_account(account: &str) -> String {
    match account.rsplit_once('@') {
        Some((user, domain)) => format!("{user}@{}", domain.to_ascii_lowercase()),
        None => account.to_owned(),
    }
}

/// A retained secret.
#[derive(Debug)]
pub struct Kept {
    /// 32 octets.
    pub secret: Secret,
    /// Until when it is good; `None`: for ever.
    pub expires: Option<UnixTime>,
}

impl Kept {
    /// A secret that the engine hands over, unless it is not to be kept.
    pub(super) fn from_engine(retained: Retained, now: UnixTime) -> Option<Kept> {
        let expires = match retained.lifetime {
            Lifetime::NONE => return None,
            Lifetime::FOREVER => None,
            Lifetime(seconds) => Some(now.later(seconds)),
        };
        Some(Kept { secret: retained.secret, expires })
    }

    fn to_engine(&self, now: UnixTime) -> Retained {
        let lifetime = match self.expires {
            None => Lifetime::FOREVER,
            // as long as the wire can say without saying "for ever"
            Some(end) => Lifetime(u32::try_from(end.0.saturating_sub(now.0)).unwrap_or(u32::MAX).min(u32::MAX - 1)),
        };
        Retained { secret: self.secret.duplicate(), lifetime }
    }

    fn duplicate(&self) -> Kept {
        Kept { secret: self.secret.duplicate(), expires: self.expires }
    }

    fn is_good(&self, now: UnixTime) -> bool {
        self.expires.is_none_or(|end| end > now)
    }
}

/// That a person compared the SAS and found it equal, or that an administrator vouches for the peer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Verification {
    /// When.
    pub at: UnixTime,
    /// Who, and how.
    pub by: Verifier,
}

/// Who says that a peer is verified.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Verifier {
    /// Somebody in the group who compared the SAS by voice.
    Voice {
        /// The operator of the group who said so.
        operator: String,
        /// The group.
        group: String,
        /// The number of the call in which it was.
        call: u32,
    },
    /// An administrator at the command line: not by voice.
    Administrator,
}

/// One peer. Secrets are wiped when it is dropped.
#[derive(Debug)]
pub struct Peer {
    /// Which.
    pub key: PeerKey,
    /// The newest retained secret.
    pub rs1: Option<Kept>,
    /// The one before it.
    pub rs2: Option<Kept>,
    /// When it first completed an exchange.
    pub first_seen: UnixTime,
    /// When it last completed one whose secret was kept.
    pub last_seen: UnixTime,
    /// Whether this chain of secrets is verified, and by whom.
    pub verification: Option<Verification>,
}

impl Peer {
    /// A second copy, wiped on its own.
    pub fn duplicate(&self) -> Peer {
        Peer {
            key: self.key.clone(),
            rs1: self.rs1.as_ref().map(Kept::duplicate),
            rs2: self.rs2.as_ref().map(Kept::duplicate),
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            verification: self.verification.clone(),
        }
    }

    /// Drops the secrets whose time is over (RFC 6189 §4.9). Without a secret there is nothing that could be verified.
    pub(super) fn expire(&mut self, now: UnixTime) {
        for secret in [&mut self.rs1, &mut self.rs2] {
            if secret.as_ref().is_some_and(|kept| !kept.is_good(now)) {
                *secret = None;
            }
        }
        if self.newest_secret(now).is_none() {
            self.verification = None;
        }
    }

    /// The newest retained secret that is still good.
    pub(super) fn newest_secret(&self, now: UnixTime) -> Option<&Kept> {
        [&self.rs1, &self.rs2].into_iter().flatten().find(|kept| kept.is_good(now))
    }

    /// What the engine is told.
    pub(super) fn entry(&self, now: UnixTime) -> CacheEntry {
        CacheEntry {
            rs1: self.rs1.as_ref().map(|kept| kept.to_engine(now)),
            rs2: self.rs2.as_ref().map(|kept| kept.to_engine(now)),
            verified: self.verification.is_some(),
        }
    }

    /// The secret of ours that is this one.
    pub(super) fn same_secret(&self, secret: &Secret) -> Option<&Kept> {
        [&self.rs1, &self.rs2].into_iter().flatten().find(|kept| kept.secret.equals(secret.expose()))
    }
}
