//! `[[account]]`: one SIP account, its secret, and what it demands of its provider and its phones.

use super::table::{At, Section};
use super::{ConfigError, Files, one_line, secret_file, secret_text};
use crate::policy::{AccountRules, Exception, MediaLevel, Rules, SignallingLevel, ZrtpHash};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) const KEYS: &[&str] = &[
    "address",
    "password_file",
    "password_credential",
    "ha1_file",
    "display_name",
    "auth_user",
    "outbound_proxy",
    "expected_name",
    "ca_file",
    "pin_sha256",
    "client_cert",
    "client_key",
    "realm",
    "expires",
    "signalling",
    "media_minimum",
    "zrtp_hash",
];

/// A SIP account.
#[derive(Debug)]
pub struct Account {
    /// The address that phones call.
    pub address: Address,
    /// What proves to the provider that it is ours.
    pub secret: AccountSecret,
    /// The name that people see.
    pub display_name: Option<String>,
    /// The user of the digest; the address's user unless configured.
    pub auth_user: String,
    /// Where to connect instead of where DNS says.
    pub outbound_proxy: Option<OutboundProxy>,
    /// The name that the provider's certificate must show; the address's domain unless configured.
    pub expected_name: String,
    /// PEM file of the only authorities that count for this account.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of acceptable public keys (SPKI), in base64.
    pub pins: Vec<String>,
    /// What the gateway shows to a provider that asks for a certificate.
    pub client: Option<ClientFiles>,
    /// The realm to which digests are answered; the first challenge's unless configured.
    pub realm: Option<String>,
    /// Seconds to ask for when registering.
    pub expires: u32,
    /// What policy is to demand.
    pub rules: Rules,
    /// What was written down to be allowed for some time all the same.
    pub exceptions: Vec<Arc<Exception>>,
}

impl Account {
    /// Both together.
    pub fn account_rules(&self) -> AccountRules {
        AccountRules::new(self.rules.clone(), self.exceptions.clone())
    }
}

/// `user@domain`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// The user part, as written.
    pub user: String,
    /// The domain, in lower case.
    pub domain: String,
}

/// `sips:HOST[:PORT]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboundProxy {
    /// A host name or an IP address (without brackets).
    pub host: String,
    /// The port, if it is not to be looked up.
    pub port: Option<u16>,
}

/// A client certificate, for a provider that asks for one.
#[derive(Debug)]
pub struct ClientFiles {
    /// PEM file of the certificate and those that it needs, its own first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: Secret<String>,
}

/// What an account proves that it knows.
#[derive(Debug)]
pub enum AccountSecret {
    /// The password.
    Password(Secret<String>),
    /// Only the hash of user, realm and password, as hexadecimal digits (RFC 7616 §3.4.2).
    Ha1(Ha1Algorithm, Secret<String>),
}

/// The hash that a HA1 was made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ha1Algorithm {
    /// MD5.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512_256,
}

impl Address {
    /// Reads `user@domain`, `sip:user@domain` or `sips:user@domain`.
    pub fn parse(text: &str) -> Option<Address> {
        let scheme = text.split_once(':').filter(|(scheme, _)| !scheme.contains('@'));
        let rest = match scheme {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") => rest,
            Some(_) => return None,
            None => text,
        };
        let (user, domain) = rest.split_once('@')?;
        // RFC 3261 §25.1: user = 1*( unreserved / escaped / user-unreserved )
        let in_user = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()%&=+$,;?/".contains(c);
        let valid = !user.is_empty() && user.chars().all(in_user) && is_host_name(domain);
        valid.then(|| Address { user: user.to_owned(), domain: domain.to_ascii_lowercase() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.domain)
    }
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

impl OutboundProxy {
    /// Reads `sips:HOST[:PORT]`.
    pub fn parse(text: &str) -> Option<OutboundProxy> {
        let rest = text.get(5..).filter(|_| text[..5].eq_ignore_ascii_case("sips:"))?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(literal) => {
                let (host, port) = literal.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port)
            }
            None => {
                let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
                is_host_name(host).then_some((host, port))?
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(digits.parse().ok().filter(|port| *port != 0)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(OutboundProxy { host: host.to_ascii_lowercase(), port })
    }
}

pub(super) fn read(
    sections: Vec<Section<'_>>,
    short_tags: bool,
    files: &dyn Files,
) -> Result<Vec<Account>, ConfigError> {
    let mut accounts: Vec<Account> = Vec::new();
    for mut section in sections {
        let account = read_one(&mut section, short_tags, files)?;
        if accounts.iter().any(|other| other.address == account.address) {
            return Err(section.error(format!("{} is configured twice", account.address), "Remove one of the two"));
        }
        accounts.push(account);
    }
    Ok(accounts)
}

fn read_one(section: &mut Section<'_>, short_tags: bool, files: &dyn Files) -> Result<Account, ConfigError> {
    let address = section.required("address")?;
    let address = Address::parse(&address.value).ok_or_else(|| {
        let what = "address is not of the form user@domain, sip:user@domain or sips:user@domain";
        section.source().error(address.at, what, "A port or another server goes into outbound_proxy")
    })?;
    let realm = section.text("realm")?.map(|realm| realm.value);
    let secret = secret(section, realm.is_some(), files)?;
    let outbound_proxy = match section.text("outbound_proxy")? {
        None => None,
        Some(text) => Some(OutboundProxy::parse(&text.value).ok_or_else(|| {
            let what = "outbound_proxy is not of the form sips:HOST or sips:HOST:PORT";
            section.source().error(text.at, what, "Only TLS is used, so it begins with sips:")
        })?),
    };
    let expected_name = match section.text("expected_name")? {
        None => address.domain.clone(),
        Some(text) if is_host_name(&text.value) => text.value.to_ascii_lowercase(),
        Some(text) => {
            let what = "expected_name is no host name";
            return Err(section.source().error(text.at, what, "Write the exact name that the certificate shows"));
        }
    };
    let pins: Vec<String> =
        section.texts("pin_sha256")?.iter().map(|text| pin(section, text)).collect::<Result<_, _>>()?;
    let signalling = signalling(section, &pins)?;
    let expires = section.integer("expires")?.map_or(Ok(600), |number| {
        u32::try_from(number.value).ok().filter(|seconds| (60..=86_400).contains(seconds)).ok_or_else(|| {
            let what = "expires is not between 60 and 86400 seconds";
            section.source().error(number.at, what, "Remove it to use 600")
        })
    })?;
    Ok(Account {
        secret,
        display_name: section.text("display_name")?.map(|name| name.value),
        auth_user: section.text("auth_user")?.map_or_else(|| address.user.clone(), |user| user.value),
        outbound_proxy,
        expected_name,
        ca_file: section.path("ca_file")?,
        pins,
        client: client(section, files)?,
        realm,
        expires,
        rules: Rules {
            signalling,
            media_minimum: media_minimum(section)?.unwrap_or(MediaLevel::Srtp),
            short_tags,
            zrtp_hash: zrtp_hash(section)?,
            ..Rules::strict(address.to_string())
        },
        exceptions: Vec::new(),
        address,
    })
}

fn secret(section: &mut Section<'_>, realm: bool, files: &dyn Files) -> Result<AccountSecret, ConfigError> {
    let password = secret_file(section, "password_file", files)?;
    let credential = match section.text("password_credential")? {
        None => None,
        Some(name) => {
            let content = files.credential(&name.value).map_err(|error| {
                let what = format!("the credential \"{}\" {error}", name.value);
                section.source().error(name.at, what, "Add LoadCredential= with this name to the systemd unit")
            })?;
            Some(one_line(section, "password_credential", name.at, &content)?)
        }
    };
    let ha1 = secret_file(section, "ha1_file", files)?;
    match (password, credential, ha1) {
        (Some(password), None, None) | (None, Some(password), None) => Ok(AccountSecret::Password(password)),
        (None, None, Some(ha1)) if realm => parse_ha1(ha1.expose()).ok_or_else(|| {
            section.error(
                "what ha1_file names is not 32 or 64 hexadecimal digits",
                "Write the digits alone (MD5, SHA-256), or SHA-512-256: and the digits",
            )
        }),
        (None, None, Some(_)) => {
            Err(section.error("ha1_file without realm: such a hash fits one realm only", "Add realm = \"…\""))
        }
        (None, None, None) => {
            Err(section.error("the account has no password", "Add password_file, password_credential or ha1_file"))
        }
        _ => Err(section.error(
            "the account has more than one of password_file, password_credential and ha1_file",
            "Keep one of them",
        )),
    }
}

fn client(section: &mut Section<'_>, files: &dyn Files) -> Result<Option<ClientFiles>, ConfigError> {
    let certificate = section.path("client_cert")?;
    let key = secret_text(section, "client_key", files)?.map(|(_, key)| key);
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(ClientFiles { certificate, key })),
        (Some(_), None) => {
            Err(section
                .error("client_cert without client_key", "Add client_key = \"…\", the certificate's private key"))
        }
        (None, Some(_)) => {
            Err(section.error("client_key without client_cert", "Add client_cert = \"…\", the key's certificate"))
        }
    }
}

/// 32 digits are MD5's, 64 are SHA-256's, unless the algorithm stands before them.
fn parse_ha1(text: &str) -> Option<AccountSecret> {
    let (algorithm, digits) = match text.split_once(':') {
        Some(("MD5", digits)) => (Ha1Algorithm::Md5, digits),
        Some(("SHA-256", digits)) => (Ha1Algorithm::Sha256, digits),
        Some(("SHA-512-256", digits)) => (Ha1Algorithm::Sha512_256, digits),
        Some(_) => return None,
        None if text.len() == 32 => (Ha1Algorithm::Md5, text),
        None => (Ha1Algorithm::Sha256, text),
    };
    let length = if algorithm == Ha1Algorithm::Md5 { 32 } else { 64 };
    let valid = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| AccountSecret::Ha1(algorithm, Secret::new(digits.to_ascii_lowercase())))
}

/// 32 bytes in base64, or as 64 hexadecimal digits as `openssl` prints them.
fn pin(section: &Section<'_>, text: &At<String>) -> Result<String, ConfigError> {
    let digits: String = text.value.chars().filter(|c| *c != ':').collect();
    let bytes = match digits.len() {
        64 => (0..64).step_by(2).map(|i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok()).collect(),
        _ => STANDARD.decode(&text.value).ok(),
    };
    match bytes {
        Some(bytes) if bytes.len() == 32 => Ok(STANDARD.encode(bytes)),
        _ => Err(section.source().error(
            text.at,
            "this pin is no SHA-256 hash: 44 characters of base64 or 64 hexadecimal digits",
            "Run: openssl x509 -in CERTIFICATE -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256",
        )),
    }
}

fn signalling(section: &mut Section<'_>, pins: &[String]) -> Result<SignallingLevel, ConfigError> {
    let Some(text) = section.text("signalling")? else { return Ok(SignallingLevel::Verified) };
    let error = |what: &str, remedy: &str| Err(section.source().error(text.at, what, remedy));
    match text.value.as_str() {
        "verified" => Ok(SignallingLevel::Verified),
        "pinned" if pins.is_empty() => {
            error("signalling = \"pinned\" without a pin", "Add pin_sha256 = [\"…\"] with the hash of the server's key")
        }
        "pinned" => Ok(SignallingLevel::Pinned),
        "unverified" | "clear" => error(
            "weaker signalling cannot be set here: only a dated [[policy.exception]] allows it",
            "Use \"verified\" or \"pinned\"",
        ),
        _ => error("signalling is neither \"verified\" nor \"pinned\"", "Remove it to use \"verified\""),
    }
}

/// The key `media_minimum` of an account or a room.
pub(super) fn media_minimum(section: &mut Section<'_>) -> Result<Option<MediaLevel>, ConfigError> {
    let Some(text) = section.text("media_minimum")? else { return Ok(None) };
    let error = |what: &str, remedy: &str| Err(section.source().error(text.at, what, remedy));
    match text.value.as_str() {
        "srtp" => Ok(Some(MediaLevel::Srtp)),
        "zrtp" => Ok(Some(MediaLevel::Zrtp)),
        "zrtp-verified" => Ok(Some(MediaLevel::ZrtpVerified)),
        "clear" => error(
            "clear media cannot be set here: only a dated [[policy.exception]] allows it",
            "Use \"srtp\", and encryption on the phones",
        ),
        _ => error("media_minimum is none of \"srtp\", \"zrtp\" and \"zrtp-verified\"", "Remove it to use \"srtp\""),
    }
}

fn zrtp_hash(section: &mut Section<'_>) -> Result<ZrtpHash, ConfigError> {
    let Some(text) = section.text("zrtp_hash")? else { return Ok(ZrtpHash::Required) };
    match text.value.as_str() {
        "required" => Ok(ZrtpHash::Required),
        "optional" => Ok(ZrtpHash::Optional),
        _ => {
            let what = "zrtp_hash is neither \"required\" nor \"optional\"";
            Err(section.source().error(text.at, what, "Remove it to use \"required\""))
        }
    }
}
