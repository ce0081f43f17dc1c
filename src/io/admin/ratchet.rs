//! `ratchet`: what each account is held to, and an administrator's word that it may be less.

use super::{PATIENCE, Part, SCHEMA_VERSION};
use crate::io::account::AccountMessage;
use crate::io::peers::PeerStore;
use crate::io::{unix_time, utc};
use crate::peers::{Record, Shown};
use crate::units::UnixTime;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// `ratchet list --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RatchetList {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Each account that is configured, or remembered.
    pub accounts: Vec<AccountHolds>,
}

/// One account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountHolds {
    /// `user@domain`.
    pub account: String,
    /// When an administrator last cleared it.
    pub cleared: Option<String>,
    /// What it has shown.
    pub holds: Vec<Hold>,
    /// Callers who are held to ZRTP, because a person compared their code.
    pub callers: Vec<CallerHold>,
}

/// One thing that an account has shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// `digest`, `tls` or `media`.
    pub what: String,
    /// The least that is accepted while it is held: `SHA-256`, `TLS 1.3` or `srtp`.
    pub least: String,
    /// Whether it is held to that now.
    pub held: bool,
    /// On how many different days it has succeeded, up to the three that it takes.
    pub days: usize,
    /// Since when it is held; absent while it is not.
    pub since: Option<String>,
    /// Until when, if it does not succeed again; absent while it is not held.
    pub until: Option<String>,
}

/// A caller who is held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallerHold {
    /// His address.
    pub caller: String,
    /// Until when, if he does not call with ZRTP again.
    pub until: String,
}

/// The answer to `ratchet clear`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RatchetAnswer {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What became of it.
    pub outcome: RatchetOutcome,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RatchetOutcome {
    /// Done, for good.
    Done,
    /// Done, but it could not be written: a restart undoes it.
    NotWritten,
    /// There is no such account; nothing was done.
    Unknown,
}

pub(super) fn list(parts: &[Part], store: &PeerStore) -> RatchetList {
    let now = unix_time();
    let records = store.ratchet().list();
    let names = parts.iter().map(|part| &part.account_name).chain(records.iter().map(|record| &record.account));
    let mut accounts: Vec<String> = names.cloned().collect();
    accounts.sort();
    accounts.dedup();
    let accounts = accounts.into_iter().map(|account| {
        let of = |shown| records.iter().find(|record| record.account == account && record.shown == shown);
        let holds = [(Shown::Digest, "SHA-256"), (Shown::Tls, "TLS 1.3"), (Shown::Media, "srtp")];
        AccountHolds {
            cleared: store.ratchet().cleared(&account).map(utc),
            holds: holds.into_iter().map(|(shown, least)| hold(shown, least, of(shown), now)).collect(),
            callers: callers(store, &account, now),
            account,
        }
    });
    RatchetList { schema_version: SCHEMA_VERSION, accounts: accounts.collect() }
}

fn hold(shown: Shown, least: &str, record: Option<&Record>, now: UnixTime) -> Hold {
    let until = record.and_then(|record| record.holds_until(now));
    Hold {
        what: shown.as_str().to_owned(),
        least: least.to_owned(),
        held: until.is_some(),
        days: record.map_or(0, |record| record.days.len()),
        since: record.filter(|_| until.is_some()).and_then(Record::since).map(utc),
        until: until.map(utc),
    }
}

fn callers(store: &PeerStore, account: &str, now: UnixTime) -> Vec<CallerHold> {
    let held = store.ratchet().callers(store.book(), account, now);
    held.into_iter().map(|(caller, until)| CallerHold { caller: caller.to_string(), until: utc(until) }).collect()
}

pub(super) async fn clear(parts: &[Part], store: &PeerStore, account: &str) -> RatchetAnswer {
    let answer = |outcome| RatchetAnswer { schema_version: SCHEMA_VERSION, outcome };
    let known = list(parts, store).accounts.into_iter().find(|known| known.account.eq_ignore_ascii_case(account));
    let Some(AccountHolds { account, .. }) = known else { return answer(RatchetOutcome::Unknown) };
    let part = parts.iter().find(|part| part.account_name == account);
    tracing::warn!(account, "an administrator cleared what the account is held to: less is accepted from now on");
    let written = timeout(PATIENCE, store.hold(store.ratchet().clear(&account, unix_time()))).await;
    if let Some(part) = part {
        let _ = timeout(PATIENCE, part.account.send(AccountMessage::RatchetCleared)).await; // it ends, then nothing is to be tried
    }
    answer(if matches!(written, Ok(Ok(true))) { RatchetOutcome::Done } else { RatchetOutcome::NotWritten })
}
