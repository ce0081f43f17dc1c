//! Whether DNSSEC can be validated here at all.
//!
//! In: the DNS servers and the trust anchors. Out: the trusted keys, or the knowledge that these servers pass no DNSSEC on,
//! as many small forwarders do not. RFC 4035 §3.2 has a security-aware server put the signatures beside what was asked for;
//! one that leaves them out for the anchor's own keys, or for the proof that something does not exist, cannot be validated
//! behind. That is the only reason for which validation is left out: a server that passes the signatures on and whose
//! answers do not fit them is never believed.

use super::anchor::Anchors;
use super::read::{self, Validation, is_signature};
use crate::sip::locate::FailureKind;
use futures_util::StreamExt as _;
use hickory_resolver::config::{NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, DnsHandle as _, NetError, NoRecords};
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use std::sync::Arc;
use std::time::Duration;

/// The DNS servers, asked without anything between: no cache, no validation, and DNSSEC's records wanted.
pub(super) struct Servers {
    pool: NameServerPool<TokioRuntimeProvider>,
    patience: Duration,
}

/// What these servers are good for.
pub(super) enum Found {
    /// They pass DNSSEC on, and these keys are trusted.
    Keys(TrustAnchors),
    /// They do not pass it on.
    NotPassedOn,
}

impl Servers {
    pub(super) fn new(servers: &[NameServerConfig], options: ResolverOpts) -> Result<Servers, NetError> {
        let patience = options.timeout;
        let context = Arc::new(PoolContext::new(options, TlsConfig::new()?));
        let pool = NameServerPool::from_config(servers.to_vec(), context, TokioRuntimeProvider::default());
        Ok(Servers { pool, patience })
    }

    async fn ask(&self, name: &Name, kind: RecordType, unchecked: bool) -> Result<DnsResponse, NetError> {
        let mut options = DnsRequestOptions::default();
        options.edns_set_dnssec_ok = true;
        let mut request = DnsRequest::from_query(Query::query(name.clone(), kind), options);
        request.metadata.checking_disabled = unchecked;
        self.pool.send(request).next().await.unwrap_or(Err(NetError::NoConnections))
    }

    /// Whether a server that finds something wrong itself has an answer all the same (RFC 4035 §3.2.2): then it is bogus.
    pub(super) async fn withhold(&self, name: &Name, kind: RecordType) -> bool {
        matches!(self.ask(name, kind, true).await, Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_))))
    }

    /// Looks for the anchors' keys.
    ///
    /// # Errors
    /// When no server answers, or the keys that are there are not the trusted ones.
    pub(super) async fn keys(&self, anchors: &Anchors) -> Result<Found, (Name, FailureKind)> {
        let mut trusted = TrustAnchors::empty();
        for zone in anchors.zones() {
            let fail = |kind| (zone.clone(), kind);
            let shown = self.ask(&zone, RecordType::DNSKEY, true).await;
            // a type that no apex has
            let denied = self.ask(&zone, RecordType::SRV, true).await;
            if !signed(&shown, self.patience).map_err(fail)? || !signed(&denied, self.patience).map_err(fail)? {
                return Ok(Found::NotPassedOn);
            }
            let keys: Vec<DNSKEY> = shown
                .iter()
                .flat_map(|shown| shown.answers.iter())
                .filter(|key| key.name == zone)
                .filter_map(|record| match &record.data {
                    RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key.clone()),
                    _ => None,
                })
                .collect();
            if !anchors.trust(&zone, &keys, &mut trusted) {
                return Err(fail(FailureKind::Bogus));
            }
        }
        Ok(Found::Keys(trusted))
    }
}

/// Whether an answer came with signatures. An error that a server sent is an answer without them.
fn signed(answer: &Result<DnsResponse, NetError>, patience: Duration) -> Result<bool, FailureKind> {
    match answer {
        Ok(response) => Ok(response.answers.iter().chain(&response.authorities).any(is_signature)),
        Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords { authorities, .. }))) => {
            Ok(authorities.iter().flat_map(|records| records.iter()).any(is_signature))
        }
        Err(NetError::Dns(_)) => Ok(false),
        Err(error) => match read::no_answer::<()>(error, Validation::None, patience) {
            Ok(_) => Ok(false),
            Err(kind) => Err(kind),
        },
    }
}
