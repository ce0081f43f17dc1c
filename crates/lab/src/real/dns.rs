//! A real DNS server (Debian's unbound) for zones of the laboratory's own, signed below a root of its own (by Debian's ldns),
//! whole or with a fault.
//!
//! It stands for the resolver that the gateway asks and for all of DNS behind it: the root, and one zone for each [`Zone`],
//! delegated from the one above. It listens on loopback, on a port of its own. Needs no network namespace and no root.
//!
//! A name that has others below it needs a record of its own: for what does not exist below an empty one, unbound's zones prove the
//! wrong wildcard absent (RFC 4592 §3.3.1), which is rightly judged bogus.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::program::{Program, require, run, wait_until};
use super::{Context, Failure, Result};

/// How a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// As it should be.
    Good,
    /// As it should be, with NSEC3 instead of NSEC (RFC 5155).
    Hashed,
    /// Not at all, and the root proves that.
    Unsigned,
    /// By the right key, but every signature of a record is wrong.
    Bogus,
    /// As it should be, until some years ago.
    Expired,
    /// By a key that the root does not know.
    ForeignKey,
    /// The root says that it is signed, and it is not.
    Missing,
}

/// A zone and its records.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    signing: Signing,
    records: String,
}

impl Zone {
    /// A well signed zone without records.
    pub fn new(name: &str) -> Self {
        Self { name: format!("{}.", name.trim_end_matches('.')), signing: Signing::Good, records: String::new() }
    }

    /// With this signing.
    #[must_use]
    pub fn signed(mut self, signing: Signing) -> Self {
        self.signing = signing;
        self
    }

    /// With this record, as in a zone file: `_sips._tcp SRV 0 0 5061 a` (names relative to the zone), or
    /// `a 5 A 127.0.0.1` with its TTL, which then holds for the records after it as well.
    #[must_use]
    pub fn with(mut self, record: &str) -> Self {
        self.records.push_str(record);
        self.records.push('\n');
        self
    }

    fn text(&self) -> String {
        format!(
            "$ORIGIN {}\n$TTL 60\n@ SOA ns.lab. root.lab. 1 3600 600 86400 60\n@ NS ns.lab.\n{}",
            self.name, self.records
        )
    }

    fn file(&self) -> String {
        format!("{}zone", if self.name == "." { "root." } else { &self.name })
    }
}

/// A running DNS server.
pub struct DnsServer {
    program: Program,
    address: SocketAddr,
    trust_anchor: PathBuf,
}

impl DnsServer {
    /// Signs and serves these zones, with files in `directory`.
    ///
    /// # Errors
    /// When a program is missing, a record is wrong, or the server does not start.
    pub fn start(directory: &Path, zones: &[Zone]) -> Result<Self> {
        fs::create_dir_all(directory).context(directory.display())?;
        let trust_anchor = directory.join("root.key");
        let mut delegating = with_root(zones);
        while let Some(zone) = delegating.pop() {
            let delegation = sign(directory, &zone, &trust_anchor)?;
            delegate(&mut delegating, &zone.name, &delegation);
        }
        Self::serve(directory, zones, trust_anchor)
    }

    /// The same zones, as they come through a forwarder that passes no DNSSEC on: no key, no signature, no proof. The trust
    /// anchor is there, and of no use.
    ///
    /// # Errors
    /// When a program is missing or the server does not start.
    pub fn start_without_dnssec(directory: &Path, zones: &[Zone]) -> Result<Self> {
        fs::create_dir_all(directory).context(directory.display())?;
        let trust_anchor = directory.join("root.key");
        let (_, key) = key(directory, ".")?;
        fs::write(&trust_anchor, key).context(trust_anchor.display())?;
        let mut delegating = with_root(zones);
        while let Some(zone) = delegating.pop() {
            write(directory, &zone.file(), &zone.text())?;
            delegate(&mut delegating, &zone.name, "");
        }
        Self::serve(directory, zones, trust_anchor)
    }

    /// A resolver between the gateway and another server, that validates for itself, as a local unbound does by default.
    ///
    /// # Errors
    /// When the program is missing or does not start.
    pub fn start_resolver(directory: &Path, behind: &DnsServer) -> Result<Self> {
        fs::create_dir_all(directory).context(directory.display())?;
        let (anchor, to) = (behind.trust_anchor.display(), behind.address);
        let rest = format!(
            " trust-anchor-file: \"{anchor}\"\n do-not-query-localhost: no\nforward-zone:\n name: \".\"\n forward-addr: {}@{}\n",
            to.ip(),
            to.port()
        );
        Self::run(directory, "validator iterator", &rest, behind.trust_anchor.clone())
    }

    fn serve(directory: &Path, zones: &[Zone], trust_anchor: PathBuf) -> Result<Self> {
        let mut rest = String::new();
        for zone in with_root(zones) {
            let _ = write!(
                rest,
                "auth-zone:\n name: \"{}\"\n zonefile: \"{}\"\n for-downstream: yes\n for-upstream: no\n fallback-enabled: no\n",
                zone.name,
                zone.file()
            );
        }
        Self::run(directory, "iterator", &rest, trust_anchor)
    }

    fn run(directory: &Path, modules: &str, rest: &str, trust_anchor: PathBuf) -> Result<Self> {
        let address = free_address()?;
        let (ip, port, files) = (address.ip(), address.port(), directory.display());
        let configuration = format!(
            "remote-control:\n control-enable: no\nserver:\n directory: \"{files}\"\n username: \"\"\n chroot: \"\"\n \
             pidfile: \"\"\n use-syslog: no\n logfile: \"\"\n do-daemonize: no\n do-ip6: no\n num-threads: 1\n \
             interface: {ip}@{port}\n access-control: 127.0.0.0/8 allow\n module-config: \"{modules}\"\n \
             local-zone: \"test.\" nodefault\n{rest}"
        );
        write(directory, "unbound.conf", &configuration)?;
        let mut command = Command::new(require("unbound")?);
        command.arg("-d").arg("-c").arg(directory.join("unbound.conf"));
        let mut program = Program::start("unbound", &mut command, &directory.join("unbound.log"))?;
        let ready = wait_until("unbound's port", Duration::from_secs(10), || {
            program.check_running()?;
            Ok(std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok().map(drop))
        });
        ready.context(program.last_lines(20))?;
        Ok(Self { program, address, trust_anchor })
    }

    /// Where it listens, with UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with the key of its root.
    pub fn trust_anchor(&self) -> &Path {
        &self.trust_anchor
    }

    /// Ends it: from then on nobody answers there.
    pub fn stop(&mut self) {
        self.program.stop();
    }
}

/// A DNS server that takes questions and never answers, until it is dropped.
pub struct SilentDnsServer(UdpSocket);

impl SilentDnsServer {
    /// Begins to be silent.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start() -> Result<Self> {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(Self).context("a UDP port")
    }

    /// Where it does not answer.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.0.local_addr().context("a UDP port")
    }
}

/// The root, then the zones, each after those that may be above it.
fn with_root(zones: &[Zone]) -> Vec<Zone> {
    let mut all = zones.to_vec();
    all.push(Zone::new(".").with("ns.lab. A 127.0.0.1"));
    all.sort_by_key(|zone| zone.name.len());
    all
}

/// Has the nearest zone above say where this one is, and how it is signed.
fn delegate(above: &mut [Zone], name: &str, delegation: &str) {
    let encloses = |zone: &&mut Zone| zone.name == "." || name.ends_with(&format!(".{}", zone.name));
    if let Some(parent) = above.iter_mut().rev().find(encloses) {
        let _ = writeln!(parent.records, "{name} 60 NS ns.lab.\n{delegation}");
    }
}

/// A port that is free for both UDP and TCP.
fn free_address() -> Result<SocketAddr> {
    for _ in 0..20 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a UDP port")?;
        let address = udp.local_addr().context("a UDP port")?;
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Failure::new("no port is free for UDP and TCP"))
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).context(path.display())
}

/// Makes a key for a zone: its file without ending, and its DNSKEY record.
fn key(directory: &Path, zone: &str) -> Result<(String, String)> {
    let mut command = Command::new(require("ldns-keygen")?);
    let made = run(command.current_dir(directory).args(["-a", "ECDSAP256SHA256", "-k", zone]))?;
    let name = made.trim().to_owned();
    let file = directory.join(format!("{name}.key"));
    let record = fs::read_to_string(&file).context(file.display())?;
    Ok((name, record))
}

/// Writes the zone's file as it is to be served, and the root's key; returns the DS record for the zone above.
fn sign(directory: &Path, zone: &Zone, trust_anchor: &Path) -> Result<String> {
    let file = zone.file();
    if zone.signing == Signing::Unsigned {
        return write(directory, &file, &zone.text()).map(|()| String::new());
    }
    let (key, record) = key(directory, &zone.name)?;
    let unsigned = format!("{file}.unsigned");
    write(directory, &unsigned, &zone.text())?;
    if zone.name == "." {
        fs::write(trust_anchor, &record).context(trust_anchor.display())?;
    }
    let mut command = Command::new(require("ldns-signzone")?);
    command.current_dir(directory);
    match zone.signing {
        Signing::Expired => command.args(["-i", "20200101000000", "-e", "20200201000000"]),
        Signing::Hashed => command.arg("-n"),
        _ => &mut command,
    };
    run(command.args(["-f", &file, &unsigned, &key]))?;
    let path = directory.join(&file);
    let delegation = fs::read_to_string(directory.join(format!("{key}.ds"))).context(&key)?;
    match zone.signing {
        Signing::Good | Signing::Hashed | Signing::Expired | Signing::Unsigned => Ok(delegation),
        Signing::Missing => write(directory, &file, &zone.text()).map(|()| delegation),
        Signing::Bogus => {
            let signed = fs::read_to_string(&path).context(path.display())?;
            write(directory, &file, &with_wrong_signatures(&signed))?;
            Ok(delegation)
        }
        Signing::ForeignKey => {
            let (stranger, _) = self::key(directory, &zone.name)?;
            fs::read_to_string(directory.join(format!("{stranger}.ds"))).context(stranger)
        }
    }
}

/// The zone's keys stay well signed, so that the chain of trust reaches them, and ends there.
fn with_wrong_signatures(zone: &str) -> String {
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((before, signature)) if line.contains("\tRRSIG\t") && !line.contains("\tDNSKEY ") => {
            let first = if signature.starts_with('A') { 'B' } else { 'A' };
            let rest: String = signature.chars().skip(1).collect();
            format!("{before} {first}{rest}\n")
        }
        _ => format!("{line}\n"),
    };
    zone.lines().map(line).collect()
}
