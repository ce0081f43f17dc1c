//! What DNS said, as plain values: records, how far they are proved, or why there is no answer.
//!
//! In: nothing. Out: the vocabulary between whoever asks DNS and whoever draws conclusions. Record types as in RFC 3403
//! (NAPTR), RFC 2782 (SRV), RFC 6698 (TLSA) and RFC 8659 (CAA); the states of RFC 4033 §5. Bogus is no state that an answer
//! can have here: it is a [`FailureKind`], so that nobody can use such an answer by mistake.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// How far an answer is proved; the weaker is the smaller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Dnssec {
    /// Not validated: no trust anchor covers the name, the DNS server passes no DNSSEC on, or it stands in the hosts file.
    Indeterminate,
    /// Proved to be in a zone that is not signed.
    Insecure,
    /// Signed, and validated from a trust anchor down.
    Secure,
}

impl Dnssec {
    /// For logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Dnssec::Indeterminate => "indeterminate",
            Dnssec::Insecure => "insecure",
            Dnssec::Secure => "secure",
        }
    }
}

/// Records of one type; none if there are none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<T> {
    /// In no particular order.
    pub records: Vec<T>,
    /// Of the records and every alias on the way to them, or of the proof that there are none.
    pub dnssec: Dnssec,
    /// How long it may be kept; zero if there are no records.
    pub ttl: Duration,
    /// Whether the name exists at all (not NXDOMAIN).
    pub name_exists: bool,
}

/// What became of a question.
pub type Lookup<T> = Result<Answer<T>, Failure>;

/// No answer that may be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What was asked for: `the SRV records of _sips._tcp.example.org`.
    pub question: String,
    /// Why there is no answer.
    pub kind: FailureKind,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// DNSSEC says that it is not the zone's own.
    Bogus,
    /// No DNS server answered in so many seconds.
    Silent(u64),
    /// No DNS server can be reached; with what the system says.
    Unreachable(String),
    /// The DNS server answered with this error, such as `Server Failure`.
    Refused(String),
    /// That is no name that DNS knows.
    NoName,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let question = &self.question;
        match &self.kind {
            FailureKind::Bogus => write!(
                f,
                "DNSSEC validation of {question} failed: they are forged, or the zone's signatures are broken, so they are not used"
            ),
            FailureKind::Silent(seconds) => write!(f, "no DNS server answered within {seconds} s for {question}"),
            FailureKind::Unreachable(why) => write!(f, "no DNS server can be reached for {question}: {why}"),
            FailureKind::Refused(code) => write!(f, "the DNS server has no answer for {question}: {code}"),
            FailureKind::NoName => write!(f, "{question} cannot be asked for: that is no name"),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self.kind {
            FailureKind::Bogus => {
                "check this machine's clock and its way to its DNS servers; if the zone itself is broken (as delv or dnsviz.net show), only its owner can repair it"
            }
            FailureKind::Silent(_) | FailureKind::Unreachable(_) => {
                "check the network, and the DNS servers in /etc/resolv.conf or in [dns] servers"
            }
            FailureKind::Refused(_) => "try again later, or another DNS server in [dns] servers",
            FailureKind::NoName => "correct the name in the configuration",
        }
    }
}

/// A rule of the Dynamic Delegation Discovery System.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Naptr {
    /// The lowest first.
    pub order: u16,
    /// Among rules of one order the lowest first.
    pub preference: u16,
    /// `s`: the replacement has SRV records.
    pub flags: String,
    /// Such as `SIPS+D2T`.
    pub services: String,
    /// Empty in SIP.
    pub regexp: String,
    /// A name.
    pub replacement: String,
}

/// A server of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Srv {
    /// The lowest first.
    pub priority: u16,
    /// The share among servers of one priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its name; empty (the root, `.`) if the service is decidedly not available.
    pub target: String,
}

/// What a TLS server's certificate must be (RFC 6698 §2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tlsa {
    /// 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE.
    pub usage: u8,
    /// 0 the certificate, 1 its public key.
    pub selector: u8,
    /// 0 as it is, 1 its SHA-256, 2 its SHA-512.
    pub matching: u8,
    /// What to compare with.
    pub data: Vec<u8>,
}

/// Who may issue certificates (RFC 8659 §4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caa {
    /// An issuer that does not know the tag must not issue.
    pub critical: bool,
    /// `issue`, `issuewild`, `iodef` or another.
    pub tag: String,
    /// As it is, without what is no text.
    pub value: String,
}

/// The addresses of a host, from both of its record types: what one of them lacks or fails at, the other may have.
pub fn both_families(v6: Lookup<IpAddr>, v4: Lookup<IpAddr>) -> Lookup<IpAddr> {
    match (v6, v4) {
        (Ok(v6), Ok(v4)) => {
            let ttls = [&v6, &v4].into_iter().filter(|answer| !answer.records.is_empty()).map(|answer| answer.ttl);
            Ok(Answer {
                ttl: ttls.min().unwrap_or_default(),
                dnssec: v6.dnssec.min(v4.dnssec),
                name_exists: v6.name_exists || v4.name_exists,
                records: v6.records.into_iter().chain(v4.records).collect(),
            })
        }
        (Ok(answer), Err(_)) | (Err(_), Ok(answer)) if !answer.records.is_empty() => Ok(answer),
        (Err(failure), Ok(_)) | (Ok(_), Err(failure)) => Err(failure),
        (Err(v6), Err(v4)) => Err(if v6.kind == FailureKind::Bogus { v6 } else { v4 }),
    }
}
