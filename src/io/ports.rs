//! The UDP ports of phone calls: handed out in pairs (RTP even, RTCP odd, RFC 3550 §11), bound only while a call lasts.
//!
//! A freed pair rests for 30 s, so that late packets of one call never reach the next one.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// How long a freed pair of ports rests.
pub const REST: Duration = Duration::from_secs(30);

/// All pairs of ports that calls may use.
pub struct PortPool {
    inner: Mutex<Inner>,
}

struct Inner {
    range: RangeInclusive<u16>,
    next: u16,
    used: BTreeSet<u16>,
    resting: VecDeque<(Instant, u16)>,
}

/// The two sockets of one call. Dropping them closes the ports and lets the pair rest.
pub struct MediaSockets {
    /// RTP, and RTCP too where the two are multiplexed (RFC 5761).
    pub rtp: UdpSocket,
    /// RTCP on the next port.
    pub rtcp: UdpSocket,
    _lease: Lease,
}

struct Lease {
    pool: Arc<PortPool>,
    port: u16,
}

/// Why no pair of ports could be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Every pair is in use or resting.
    #[error("all media ports are in use or resting; widen `ports` in [media]")]
    Exhausted,
    /// The system refused.
    #[error("cannot bind a media port on {0}: {1}")]
    Bind(IpAddr, io::Error),
}

impl PortPool {
    /// A pool over `range`; an odd first port is skipped.
    pub fn new(range: RangeInclusive<u16>) -> Arc<Self> {
        let first = range.start().saturating_add(range.start() % 2);
        Arc::new(PortPool {
            inner: Mutex::new(Inner {
                range: first..=*range.end(),
                next: first,
                used: BTreeSet::new(),
                resting: VecDeque::new(),
            }),
        })
    }

    /// Binds a free pair on `address`.
    pub async fn open(self: &Arc<Self>, now: Instant, address: IpAddr) -> Result<MediaSockets, PortError> {
        let mut failure = None;
        // a port may be taken by another program: try the next ones, each pair at most once
        let mut tried = BTreeSet::new();
        while let Some(port) = self.lease(now) {
            let lease = Lease { pool: Arc::clone(self), port };
            if !tried.insert(port) {
                break;
            }
            let rtp = UdpSocket::bind(SocketAddr::new(address, port)).await;
            let rtcp = UdpSocket::bind(SocketAddr::new(address, port + 1)).await;
            match (rtp, rtcp) {
                (Ok(rtp), Ok(rtcp)) => return Ok(MediaSockets { rtp, rtcp, _lease: lease }),
                (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::AddrInUse => failure = Some(error),
                (Err(error), _) | (_, Err(error)) => return Err(PortError::Bind(address, error)),
            }
        }
        Err(failure.map_or(PortError::Exhausted, |error| PortError::Bind(address, error)))
    }

    fn lease(&self, now: Instant) -> Option<u16> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, port)) = inner.resting.front().copied() {
            if now.duration_since(since) < REST {
                break;
            }
            inner.resting.pop_front();
            inner.used.remove(&port);
        }
        let pairs = (usize::from(*inner.range.end()) + 1).saturating_sub(usize::from(*inner.range.start())) / 2;
        for _ in 0..pairs {
            let port = inner.next;
            inner.next = match port.checked_add(2) {
                Some(next) if next < *inner.range.end() => next,
                _ => *inner.range.start(),
            };
            if inner.used.insert(port) {
                return Some(port);
            }
        }
        None
    }

    fn release(&self, now: Instant, port: u16) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.resting.push_back((now, port));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.release(super::now(), self.port);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[tokio::test]
    async fn a_freed_pair_rests_for_thirty_seconds() {
        let pool = PortPool::new(42_301..=42_305);
        let start = super::super::now();
        let local = IpAddr::from([127, 0, 0, 1]);
        let first = pool.open(start, local).await.unwrap();
        let second = pool.open(start, local).await.unwrap();
        assert_eq!(first.rtp.local_addr().unwrap().port() % 2, 0);
        assert_eq!(first.rtcp.local_addr().unwrap().port(), first.rtp.local_addr().unwrap().port() + 1);
        assert!(matches!(pool.open(start, local).await, Err(PortError::Exhausted)));
        drop(first);
        drop(second);
        assert!(matches!(pool.open(start + Duration::from_secs(20), local).await, Err(PortError::Exhausted)));
        assert!(pool.open(super::super::now() + REST, local).await.is_ok());
    }
}
