//! `[dns]`, `[media]` and `[log]`: the service's own settings. Each has a safe default.

use super::ConfigError;
use super::table::Section;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

pub(super) const DNS_KEYS: &[&str] = &["servers", "trust_anchor"];
pub(super) const MEDIA_KEYS: &[&str] = &["bind", "public_address", "ports"];
pub(super) const LOG_KEYS: &[&str] = &["level", "format"];

/// `[dns]`: who is asked for names, and whom DNSSEC begins with.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Dns {
    /// The DNS servers; the system's if none is configured.
    pub servers: Vec<SocketAddr>,
    /// A file of DS or DNSKEY records; IANA's keys of the root unless configured.
    pub trust_anchor: Option<PathBuf>,
}

/// `[media]`: where phones send their sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Media {
    /// The local addresses to receive at.
    pub bind: Vec<IpAddr>,
    /// The address that phones are told, where it is not a local one.
    pub public_address: Option<IpAddr>,
    /// The UDP ports to use.
    pub ports: RangeInclusive<u16>,
}

impl Default for Media {
    fn default() -> Self {
        Media {
            bind: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            public_address: None,
            ports: 40_000..=49_999,
        }
    }
}

/// `[log]`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Log {
    /// How much.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may fail.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And how.
    Debug,
    /// And everything.
    Trace,
}

impl LogLevel {
    /// The name in the configuration, which `tracing` understands as well.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How it is logged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The port of DNS.
const DNS_PORT: u16 = 53;

pub(super) fn dns(section: Option<Section<'_>>) -> Result<Dns, ConfigError> {
    let Some(mut section) = section else { return Ok(Dns::default()) };
    let source = section.source();
    let server = |text: &super::table::At<String>| {
        let address = text.value.parse().ok().or_else(|| Some(SocketAddr::new(text.value.parse().ok()?, DNS_PORT)));
        address.filter(|address| address.port() != 0 && !address.ip().is_unspecified()).ok_or_else(|| {
            let what = "servers has an entry that is not the address of a DNS server";
            source.error(
                text.at,
                what,
                "Write ADDRESS or ADDRESS:PORT, such as \"127.0.0.1:53\" or \"[2001:db8::53]:53\"",
            )
        })
    };
    let servers = section.texts("servers")?.iter().map(server).collect::<Result<_, _>>()?;
    Ok(Dns { servers, trust_anchor: section.path("trust_anchor")? })
}

pub(super) fn media(section: Option<Section<'_>>) -> Result<Media, ConfigError> {
    let mut media = Media::default();
    let Some(mut section) = section else { return Ok(media) };
    let source = section.source();
    let bind = section.texts("bind")?;
    if !bind.is_empty() {
        let address = |text: &super::table::At<String>| {
            let remedy = "Write addresses of this machine, or \"0.0.0.0\" and \"::\" for all";
            text.value.parse().map_err(|_| source.error(text.at, "bind has an entry that is no IP address", remedy))
        };
        media.bind = bind.iter().map(address).collect::<Result<_, _>>()?;
    }
    if let Some(text) = section.text("public_address")? {
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
        let address = text.value.parse().ok().filter(usable).ok_or_else(|| {
            let what = "public_address is not the IP address of a host";
            source.error(text.at, what, "Write the address under which phones reach this machine")
        })?;
        media.public_address = Some(address);
    }
    if let Some(text) = section.text("ports")? {
        media.ports = ports(&text.value).ok_or_else(|| {
            let what = "ports is not a range of at least 4 ports from 1024 up";
            source.error(text.at, what, "Write it as \"40000-49999\"; a call needs two")
        })?;
    }
    Ok(media)
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first >= 1024 && last >= first.checked_add(3)?).then_some(first..=last)
}

pub(super) fn log(section: Option<Section<'_>>) -> Result<Log, ConfigError> {
    let mut log = Log::default();
    let Some(mut section) = section else { return Ok(log) };
    let source = section.source();
    if let Some(text) = section.text("level")? {
        let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        log.level = levels
            .into_iter()
            .find(|level| level.as_str() == text.value)
            .ok_or_else(|| source.error(text.at, "level is not known", "Write error, warn, info, debug or trace"))?;
    }
    if let Some(text) = section.text("format")? {
        log.format = match text.value.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => return Err(source.error(text.at, "format is not known", "Write text or json")),
        };
    }
    Ok(log)
}
