//! Everything that an audit measured, as plain data: the only thing that checks see, and what `--offline` reads back.
//!
//! Text in here may come from the provider. Probes make it printable (`sip::printable`) when they take it down.
//! Nothing in here is a secret: no password, no digest response, no nonce.

use crate::config::Date;
use crate::policy::{Chain, Name, Pin, TlsVersion, Validity};
use crate::units::UnixTime;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What was measured, or why not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tested<T> {
    /// It was measured.
    Known(T),
    /// It was not, because of this. Never counts as good.
    Unknown(String),
}

impl<T> Tested<T> {
    /// The value, if there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Tested::Known(value) => Some(value),
            Tested::Unknown(_) => None,
        }
    }

    /// Not measured yet: what every probe starts from.
    pub fn not_yet() -> Self {
        Tested::Unknown("the audit did not get so far".to_owned())
    }
}

/// All facts about one target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// What the operator named, without its scheme's case: `example.org`, `sips:host:5061`, `alice@example.org`.
    pub target: String,
    /// The name that the certificate has to show: the domain, or `--expected-name`.
    pub expected_name: String,
    /// When the audit began (RFC 3339, UTC).
    pub started: String,
    /// How many milliseconds it took.
    pub took_ms: u64,
    /// Why the audit ended before its time; `None` if it did not.
    pub interrupted: Option<String>,
    /// What DNS says; unknown where the target is an address literal.
    pub dns: Tested<DnsFacts>,
    /// Each address of each host on which SIP over TLS was looked for.
    pub servers: Vec<ServerFacts>,
    /// Whether the same hosts talk SIP without TLS.
    pub plain: Vec<PlainFacts>,
    /// What a login showed; unknown without an account.
    pub account: Tested<AccountFacts>,
}

impl Facts {
    /// Whether the target is an address literal, which DNS says nothing about.
    pub fn is_literal(&self) -> bool {
        match self.target.strip_prefix("sips:") {
            None => false,
            Some(rest) => rest.parse::<SocketAddr>().is_ok() || rest.trim_matches(['[', ']']).parse::<IpAddr>().is_ok(),
        }
    }

    /// When they were measured, so that saved facts are judged as of then; now, if that cannot be read.
    pub fn measured_at(&self, now: UnixTime) -> UnixTime {
        let read = || {
            let toml::value::Datetime { date: Some(date), time: Some(time), .. } = self.started.parse().ok()? else {
                return None;
            };
            let day = Date { year: date.year, month: date.month, day: date.day };
            let days = u64::try_from(day.days_since(Date::from_unix_days(0))).ok()?;
            let (hour, minute) = (u64::from(time.hour), u64::from(time.minute));
            Some(UnixTime(days * 86_400 + hour * 3600 + minute * 60 + u64::from(time.second.unwrap_or(0))))
        };
        read().unwrap_or(now)
    }
}

/// What DNS says about a domain, and how far that can be trusted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DnsFacts {
    /// How the servers were found.
    pub way: Way,
    /// NAPTR of the domain, in the order of use.
    pub naptr: Answer<Naptr>,
    /// SRV of `_sips._tcp`, `_sip._tcp`, `_sip._udp`, `_sip._tls`, in this order.
    pub srv: Vec<Question<Srv>>,
    /// A of each host.
    pub ipv4: Vec<Question<Ipv4Addr>>,
    /// AAAA of each host.
    pub ipv6: Vec<Question<Ipv6Addr>>,
    /// TLSA of each host and port.
    pub tlsa: Vec<Question<Tlsa>>,
    /// CAA of the domain: `0 issue "ca.example"`.
    pub caa: Answer<String>,
    /// Why no server was found; `None` if one was.
    pub not_found: Option<NotFound>,
}

/// Why DNS led to no server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotFound {
    /// DNSSEC proves an answer on the way false.
    Bogus(String),
    /// The domain says that it takes no SIP over TLS.
    NotOffered(String),
    /// There is no such name, or it has no address.
    Nothing(String),
    /// DNS did not answer.
    Failed(String),
}

/// How a host was found (RFC 3263 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The operator named host or port.
    Configured,
    /// NAPTR led to SRV.
    Naptr,
    /// `_sips._tcp` SRV, without NAPTR.
    Srv,
    /// The domain's own addresses, port 5061.
    Address,
}

/// A question to DNS.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question<T> {
    /// The name that was asked for.
    pub name: String,
    /// The answer.
    pub answer: Answer<T>,
}

/// An answer of DNS.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// These records; empty if there are none.
    Records {
        /// The records.
        records: Vec<T>,
        /// What DNSSEC says of them.
        security: Security,
    },
    /// DNSSEC proves the answer false, so it is not used.
    Bogus(String),
    /// No answer.
    Failed(String),
}

impl<T> Answer<T> {
    /// The records that may be used.
    pub fn records(&self) -> &[T] {
        match self {
            Answer::Records { records, .. } => records,
            _ => &[],
        }
    }
}

/// What DNSSEC says of an answer (RFC 4033 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// The resolver does not pass DNSSEC on, so nothing can be said.
    Indeterminate,
    /// The zone is not signed, provably.
    Insecure,
    /// Signed, and the chain holds from the trust anchor on.
    Secure,
}

/// One NAPTR record (RFC 3403).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Naptr {
    /// Lower first.
    pub order: u16,
    /// Lower first, within one order.
    pub preference: u16,
    /// `SIPS+D2T`, `SIP+D2T`, `SIP+D2U`, …
    pub service: String,
    /// The SRV name.
    pub replacement: String,
}

/// One SRV record (RFC 2782).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Srv {
    /// Lower first.
    pub priority: u16,
    /// A share among equal priorities.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` says that the service does not exist.
    pub target: String,
}

/// One TLSA record (RFC 6698), beside the certificate that was seen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Tlsa {
    /// 0 to 3.
    pub usage: u8,
    /// 0: certificate, 1: public key.
    pub selector: u8,
    /// 0: full, 1: SHA-256, 2: SHA-512.
    pub matching: u8,
    /// Lower-case hexadecimal.
    pub data: String,
}

/// One address on which SIP over TLS was looked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerFacts {
    /// The host's name as DNS or the operator gave it.
    pub host: String,
    /// Its address and port.
    pub address: SocketAddr,
    /// Whether it accepts TCP connections.
    pub tcp: Tested<Tcp>,
    /// What TLS it speaks.
    pub tls: Tested<TlsFacts>,
    /// The certificate of an ordinary handshake with the expected name as SNI.
    pub certificate: Tested<CertificateFacts>,
    /// How it speaks SIP over that TLS.
    pub sip: Tested<SipFacts>,
    /// How many connections the audit opened to it.
    pub connections: u32,
}

/// Whether an address accepts TCP connections.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tcp {
    /// It does, after so many milliseconds.
    Open {
        /// Milliseconds from SYN to SYN-ACK.
        connect_ms: u64,
    },
    /// It refuses them.
    Refused,
    /// It does not answer.
    Silent,
    /// The network says that it is not there.
    Unreachable(String),
}

/// A version of TLS, oldest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// SSL 3.0 (RFC 6101).
    Ssl3,
    /// TLS 1.0 (RFC 2246).
    Tls10,
    /// TLS 1.1 (RFC 4346).
    Tls11,
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// What a server's TLS can do, as its answers to hand-made ClientHellos show.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TlsFacts {
    /// Each version, oldest first: whether the server takes it. False only if it said so, or closed the connection.
    pub versions: Vec<(Version, Tested<bool>)>,
    /// The suites that it takes, per version from the oldest, in the order in which the server chose them. PSK, SRP, DSS
    /// and fixed Diffie-Hellman are not asked for (`audit::tls::suites`).
    pub suites: Vec<Suite>,
    /// Why the list of suites is not complete; `None` if it is. The weak ones are asked for first.
    pub suites_cut: Option<String>,
    /// Whether it insists on its own order of suites (TLS ≤ 1.2).
    pub server_order: Tested<bool>,
    /// The groups of key exchange that it takes, by their IANA names, in its order: `X25519MLKEM768`, `x25519`, `secp256r1`;
    /// those of TLS 1.3 first. Empty if it agrees on keys without a group (RSA, a prime of its own).
    pub groups: Tested<Vec<String>>,
    /// Size in bits of the smallest prime that its DHE suites showed; `None` without any.
    pub dh_bits: Tested<Option<u32>>,
    /// RFC 7627; true where only TLS 1.3 is spoken, which needs no such thing.
    pub extended_master_secret: Tested<bool>,
    /// RFC 5746; true where only TLS 1.3 is spoken, which has no renegotiation.
    pub secure_renegotiation: Tested<bool>,
    /// Whether it takes TLS compression (CRIME).
    pub compression: Tested<bool>,
    /// Whether it knows TLS_FALLBACK_SCSV (RFC 7507); unknown where it has one version only.
    pub fallback_scsv: Tested<bool>,
    /// Whether it answers the heartbeat extension (RFC 6520).
    pub heartbeat: Tested<bool>,
    /// Whether a handshake without SNI gets the same certificate.
    pub without_sni: Tested<WithoutSni>,
    /// What it makes of ALPN `sip/2`.
    pub alpn: Tested<Alpn>,
    /// What it wants of a client's certificate.
    pub client_certificate: Tested<ClientCertificate>,
    /// What an ordinary handshake of this gateway ended in.
    pub negotiated: Tested<Negotiated>,
    /// What of the server ended it, or the connection right after it; `None` if nothing did, or nobody knows.
    #[serde(default)]
    pub obstacle: Option<Obstacle>,
}

/// What of a server makes a handshake of this gateway impossible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// Its TLS is older than 1.2.
    OldVersion,
    /// Its certificate is none, or the key in it cannot sign as it should.
    BadCertificate,
    /// No cipher suite, group or signature is known to both.
    NoCommonSuite,
    /// It demands a client certificate.
    ClientCertificate,
}

/// One cipher suite that a server takes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Suite {
    /// With this version.
    pub version: Version,
    /// IANA's number.
    pub id: u16,
    /// IANA's name.
    pub name: String,
}

/// What a server shows to a client that names nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutSni {
    /// The same certificate.
    Same,
    /// Another one.
    Other,
    /// None: the handshake fails.
    Refused,
}

/// What a server makes of ALPN `sip/2`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alpn {
    /// It does not answer it.
    Ignored,
    /// It selects this protocol.
    Selected(String),
    /// It ends the handshake (`no_application_protocol`).
    Refused,
}

/// What a server wants of a client's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificate {
    /// Nothing.
    NotRequested,
    /// It asks and goes on without one.
    Requested,
    /// It ends the connection without one.
    Required,
}

/// What an ordinary handshake ended in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Negotiated {
    /// The version.
    pub version: Version,
    /// The suite's IANA name.
    pub suite: String,
    /// The group's IANA name.
    pub group: String,
    /// Milliseconds that the handshake took.
    pub handshake_ms: u64,
}

/// A server's certificate, and what this gateway makes of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// As sent: the leaf, then whatever came with it.
    pub chain: Vec<Certificate>,
    /// The facts that policy judges, as `run` would state them.
    pub judged: Judged,
    /// Whether WebPKI (RFC 6125) would take the names, wildcards included.
    pub webpki_name: bool,
    /// A stapled OCSP answer; it counts only if the issuer or its delegate signed it.
    pub ocsp_staple: Tested<Staple>,
}

/// The facts of a certificate that policy judges.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// The negotiated version; the best that it takes where this gateway gets no handshake.
    #[serde(with = "TlsVersionName")]
    pub version: TlsVersion,
    /// Where the chain ends.
    #[serde(with = "ChainName")]
    pub chain: Chain,
    /// Why it ends there, in the words of the library; empty if it is trusted.
    pub chain_detail: String,
    /// Whether it names the expected host (RFC 5922).
    #[serde(with = "NameName")]
    pub name: Name,
    /// Its dates.
    #[serde(with = "ValidityName")]
    pub validity: Validity,
    /// The configured pins.
    #[serde(with = "PinName")]
    pub pin: Pin,
}

macro_rules! by_name {
    ($module:ident, $kind:ty, $remote:literal, $($variant:ident),+) => {
        #[derive(Serialize, Deserialize)]
        #[serde(remote = $remote, rename_all = "kebab-case")]
        enum $module { $($variant),+ }
    };
}
// policy knows nothing of JSON; here its facts get their names
by_name!(TlsVersionName, TlsVersion, "TlsVersion", Older, Tls12, Tls13);
by_name!(ChainName, Chain, "Chain", Invalid, SelfSigned, UnknownIssuer, Trusted);
by_name!(NameName, Name, "Name", Wrong, WildcardOnly, Matches);
by_name!(ValidityName, Validity, "Validity", Expired, NotYetValid, Valid);
by_name!(PinName, Pin, "Pin", Mismatch, NotConfigured, Matches);

/// One certificate of a chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// Distinguished name, RFC 4514; `(cannot be read: …)` for what is no certificate, which then has only its hashes.
    pub subject: String,
    /// Distinguished name of who signed it.
    pub issuer: String,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// `RSA`, `EC P-256`, `Ed25519`, or the algorithm's OID.
    pub key: String,
    /// Its size in bits.
    pub key_bits: u32,
    /// `sha256WithRSAEncryption`, or the OID.
    pub signature: String,
    /// DNS names of the subjectAltName.
    pub dns_names: Vec<String>,
    /// URIs of the subjectAltName.
    pub uris: Vec<String>,
    /// IP addresses of the subjectAltName.
    pub addresses: Vec<IpAddr>,
    /// The subject's common names.
    pub common_names: Vec<String>,
    /// Extended key usages: `serverAuth`, `id-kp-sipDomain`, or OIDs; `None` without the extension.
    pub extended_key_usage: Option<Vec<String>>,
    /// Whether it calls itself an authority.
    pub authority: bool,
    /// Lower-case hexadecimal SHA-256 of the certificate.
    pub sha256: String,
    /// Base64 SHA-256 of its public key (SPKI), as `pin_sha256` takes it.
    pub spki_sha256: String,
    /// Lower-case hexadecimal SHA-512 of certificate and public key, for TLSA.
    pub sha512: String,
    /// See `sha512`.
    pub spki_sha512: String,
    /// Where its OCSP responder is said to be; never fetched.
    pub ocsp: Vec<String>,
    /// Where its revocation list is said to be; never fetched.
    pub crl: Vec<String>,
    /// Whether it demands a stapled OCSP answer (RFC 7633).
    pub must_staple: bool,
    /// How many signed certificate timestamps it embeds (RFC 6962).
    pub scts: u32,
}

/// A stapled OCSP answer (RFC 6960).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Staple {
    /// None came.
    Absent,
    /// It says that the certificate is good.
    Good,
    /// It says that the certificate was revoked.
    Revoked,
    /// It does not know the certificate, or cannot be read.
    Useless,
}

/// How a server speaks SIP over TLS.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SipFacts {
    /// The answer to OPTIONS.
    pub options: Tested<Response>,
    /// The answer to OPTIONS whose Request-URI is a `sips:` one (RFC 5630).
    pub sips_uri: Tested<Response>,
    /// The answer to a REGISTER without credentials.
    pub register: Tested<Response>,
    /// The same on a second connection: whether its challenge has another nonce.
    pub fresh_nonce: Tested<bool>,
    /// Whether CRLF CRLF is answered by CRLF (RFC 5626 §4.4.1).
    pub pong: Tested<bool>,
}

/// A SIP response.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// `Server`.
    pub server: Option<String>,
    /// `Allow`.
    pub allow: Vec<String>,
    /// `Supported`.
    pub supported: Vec<String>,
    /// `Security-Server` (RFC 3329).
    pub security_server: Vec<String>,
    /// `Contact` of a redirection.
    pub contact: Vec<String>,
    /// Each challenge of WWW-Authenticate and Proxy-Authenticate, in the server's order.
    pub challenges: Vec<Challenge>,
}

/// One challenge (RFC 8760, RFC 7616).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// `Digest`, `Basic`, `Bearer`, …
    pub scheme: String,
    /// The algorithm as written; `MD5` where none is.
    pub algorithm: String,
    /// The realm.
    pub realm: String,
    /// `auth`, `auth-int`; empty without qop.
    pub qop: Vec<String>,
    /// Length of the nonce in characters; the nonce itself is not kept.
    pub nonce_length: u32,
    /// RFC 7616 §3.4.4.
    pub userhash: bool,
}

/// What a host answers to SIP without TLS on port 5060.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlainFacts {
    /// The host's name.
    pub host: String,
    /// Its address and port.
    pub address: SocketAddr,
    /// Over UDP or TCP.
    pub transport: PlainTransport,
    /// The answer to OPTIONS; `None` if nothing came.
    pub options: Tested<Option<Response>>,
    /// The answer to a REGISTER without credentials; `None` if nothing came.
    pub register: Tested<Option<Response>>,
}

/// What carries SIP without TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// What a login showed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccountFacts {
    /// The account, as `user@domain`.
    pub address: String,
    /// How REGISTER ended.
    pub login: Tested<Login>,
    /// Whether an answer with SHA-256 was accepted (RFC 8760).
    pub sha256_accepted: Tested<bool>,
    /// Whether the same answer with the same nonce count is refused a second time (RFC 7616 §3.4).
    pub replay_refused: Tested<bool>,
    /// What the 200 says.
    pub registered: Tested<Registered>,
    /// Whether the audit's own binding is gone again.
    pub binding_removed: Tested<bool>,
}

/// Stands where an algorithm would: nobody asked for a password.
pub const NO_PASSWORD: &str = "none";

/// How a REGISTER with credentials ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// 200, with this algorithm.
    Accepted {
        /// `MD5`, `SHA-256`, `SHA-512-256`, or [`NO_PASSWORD`].
        algorithm: String,
    },
    /// Another final answer.
    Refused {
        /// The status.
        status: u16,
        /// The reason phrase.
        reason: String,
    },
    /// The gateway's policy refused before any credential was sent: the rule's name.
    NotTried {
        /// The rule's name.
        rule: String,
    },
}

/// What a 200 to REGISTER says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// Seconds until the binding ends; the audit asked for 60.
    pub expires: Option<u32>,
    /// Whether our own Contact is in it.
    pub contact_kept: bool,
    /// How many other bindings it lists.
    pub other_bindings: u32,
    /// `Require: outbound` (RFC 5626 §6).
    pub outbound: bool,
    /// A public or temporary GRUU (RFC 5627).
    pub gruu: bool,
    /// `Service-Route` (RFC 3608).
    pub service_route: bool,
    /// `Path` (RFC 3327).
    pub path: bool,
}
