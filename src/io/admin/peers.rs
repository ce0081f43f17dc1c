//! `peers`: what is remembered of ZRTP phones, and an administrator's word on it. No secret passes here.

use super::{PATIENCE, SCHEMA_VERSION};
use crate::io::peers::PeerStore;
use crate::io::{unix_time, utc};
use crate::peers::{Change, PeerKey, PeerQuery, Refused, Remembered, Summary, Verification, Verifier};
use crate::units::UnixTime;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// What can be done with a peer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum PeerOrder {
    /// Vouch for it: "by administrator, not by voice".
    Verify,
    /// Nothing that anybody said of it counts any more.
    Unverify,
    /// It is a stranger again.
    Forget,
}

/// `peers list --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peers {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Our ZID.
    pub own_zid: String,
    /// Each peer.
    pub peers: Vec<PeerStatus>,
}

/// One peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The account that it calls.
    pub account: String,
    /// The address that it calls from; absent if it does so anonymously.
    pub caller: Option<String>,
    /// Its device.
    pub zid: String,
    /// Whether the next call from it will be shown as verified.
    pub verified: bool,
    /// Who says so.
    pub verification: Option<PeerVerification>,
    /// When it first completed a ZRTP exchange.
    pub first_seen: String,
    /// When it last completed one.
    pub last_seen: String,
    /// Whether the device can be recognised: a retained secret is there and still good.
    pub has_secret: bool,
    /// Until when; absent for ever.
    pub expires: Option<String>,
    /// Whether it will be known after a restart.
    pub remembered: bool,
}

/// Who verified a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerVerification {
    /// When.
    pub at: String,
    /// `voice` or `administrator`.
    pub by: String,
    /// The operator who compared the code by voice.
    pub operator: Option<String>,
    /// In which group.
    pub group: Option<String>,
    /// In which call of that time.
    pub call: Option<u32>,
}

/// The answer to an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerAnswer {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What became of it.
    pub outcome: PeerOutcome,
    /// The peer as it is now (or was, if forgotten), or those among which to choose.
    pub peers: Vec<PeerStatus>,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum PeerOutcome {
    /// Done, for good.
    Done,
    /// Done, but it could not be written: a restart undoes it.
    NotWritten,
    /// There is no such peer.
    Unknown,
    /// Several peers could be meant; nothing was done.
    Ambiguous,
    /// An exchange with it is under way; nothing was done.
    Busy,
    /// It has no retained secret that could be verified; nothing was done.
    NoSecret,
}

pub(super) fn list(store: &PeerStore) -> Peers {
    let peers = store.book().list(unix_time()).iter().map(status).collect();
    Peers { schema_version: SCHEMA_VERSION, own_zid: store.zid().to_string(), peers }
}

pub(super) async fn order(store: &PeerStore, order: PeerOrder, query: &PeerQuery) -> PeerAnswer {
    let now = unix_time();
    let found = store.book().matching(query, now);
    let answer = |outcome, peers: &[Summary]| PeerAnswer {
        schema_version: SCHEMA_VERSION,
        outcome,
        peers: peers.iter().map(status).collect(),
    };
    let peer = match found.as_slice() {
        [] => return answer(PeerOutcome::Unknown, &[]),
        [peer] => peer,
        several => return answer(PeerOutcome::Ambiguous, several),
    };
    let change = match carry_out(store, order, &peer.key, now) {
        Ok(change) => change,
        Err(Refused::Unknown) => return answer(PeerOutcome::Unknown, &[]),
        Err(Refused::Busy) => return answer(PeerOutcome::Busy, &found),
        Err(Refused::NoSecret) => return answer(PeerOutcome::NoSecret, &found),
    };
    tracing::info!(account = peer.key.account, zid = %peer.key.zid, ?order, "by administrator, not by voice");
    let written = timeout(PATIENCE, store.write(vec![change])).await;
    let outcome = if matches!(written, Ok(Ok(true))) { PeerOutcome::Done } else { PeerOutcome::NotWritten };
    let as_it_is = store.book().list(now).into_iter().find(|now| now.key == peer.key);
    answer(outcome, &[as_it_is.unwrap_or_else(|| peer.clone())])
}

fn carry_out(store: &PeerStore, order: PeerOrder, key: &PeerKey, now: UnixTime) -> Result<Change, Refused> {
    match order {
        PeerOrder::Verify => store.book().verify(key, now),
        PeerOrder::Unverify => store.book().unverify(key),
        PeerOrder::Forget => store.book().forget(key),
    }
}

fn status(peer: &Summary) -> PeerStatus {
    PeerStatus {
        account: peer.key.account.clone(),
        caller: peer.key.caller.address().map(str::to_owned),
        zid: peer.key.zid.to_string(),
        verified: peer.verification.is_some(),
        verification: peer.verification.as_ref().map(verification),
        first_seen: utc(peer.first_seen),
        last_seen: utc(peer.last_seen),
        has_secret: peer.has_secret,
        expires: peer.expires.map(utc),
        remembered: peer.remembered == Remembered::Yes,
    }
}

fn verification(verification: &Verification) -> PeerVerification {
    let at = utc(verification.at);
    match &verification.by {
        Verifier::Administrator => {
            PeerVerification { at, by: "administrator".to_owned(), operator: None, group: None, call: None }
        }
        Verifier::Voice { operator, group, call } => PeerVerification {
            at,
            by: "voice".to_owned(),
            operator: Some(operator.clone()),
            group: Some(group.clone()),
            call: Some(*call),
        },
    }
}
