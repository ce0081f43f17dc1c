//! A network namespace with one veth pair to the host: real programs live inside, the test reaches them from outside.
//!
//! Addresses are of 198.18.0.0/15, which RFC 2544 reserves for tests. The default route inside leads nowhere (nobody
//! answers ARP on the pair for foreign addresses), so programs believe in a network but no packet leaves the machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::program::{require, run};
use super::{Context, Failure, Result};

/// Namespaces of one process.
const PER_PROCESS: u32 = 16;

/// The first of the ports that the kernel gives inside to programs that ask for any.
const FIRST_ANY_PORT: u16 = 50_000;

/// The table of what is dropped, with the chain of packets that go out.
const OUT: &str = "add table inet lab; add chain inet lab out { type filter hook output priority 0; }";

/// A network namespace, removed with all that runs in it when dropped.
pub struct Netns {
    name: String,
    inside: Ipv4Addr,
    outside: Ipv4Addr,
}

impl Netns {
    /// A new namespace. Inside it, `names` resolve to its inner address and `outside_names` to the test's own.
    ///
    /// # Errors
    /// Without root, iproute2 or the kernel's veth.
    pub fn new(names: &[&str], outside_names: &[&str]) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let pid = std::process::id();
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % PER_PROCESS;
        // 2^15 networks of four addresses: 2^11 process ids times 16 namespaces
        let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + ((pid % 2048) * PER_PROCESS + number) * 4;
        let outside = Ipv4Addr::from(network + 1);
        let inside = Ipv4Addr::from(network + 2);
        let this = Self { name: format!("lab-{pid}-{number}"), inside, outside };

        let name = &this.name;
        let pair = (format!("lab{network:x}o"), format!("lab{network:x}i"));
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {} type veth peer name {} netns {name}", pair.0, pair.1))?;
        ip(&format!("addr add {outside}/30 dev {}", pair.0))?;
        ip(&format!("link set {} up", pair.0))?;
        ip(&format!("-n {name} addr add {inside}/30 dev {}", pair.1))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} link set {} up", pair.1))?;
        ip(&format!("-n {name} route add default dev {}", pair.1))?;

        // `ip netns exec` mounts these over /etc
        let etc = this.etc();
        std::fs::create_dir_all(&etc).context(etc.display())?;
        let (names, outside_names) = (names.join(" "), outside_names.join(" "));
        let hosts = format!("127.0.0.1 localhost\n{inside} {names}\n{outside} {outside_names}\n");
        for (file, text) in [
            ("hosts", hosts.as_str()),
            ("nsswitch.conf", "hosts: files dns\n"),
            ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"),
        ] {
            std::fs::write(etc.join(file), text).context(file)?;
        }
        // so that no port that a test configures is taken by somebody who asked for any
        let any = format!("echo {FIRST_ANY_PORT} 60999 > /proc/sys/net/ipv4/ip_local_port_range");
        run(this.command("sh")?.args(["-c", &any]))?;
        Ok(this)
    }

    /// The address of the programs in it.
    pub fn inside(&self) -> IpAddr {
        self.inside.into()
    }

    /// The address of the test itself on the pair.
    pub fn outside(&self) -> IpAddr {
        self.outside.into()
    }

    /// A command that runs `program` inside. The process id is the program's own (`ip` replaces itself).
    ///
    /// # Errors
    /// When the program is not installed.
    pub fn command(&self, program: &str) -> Result<Command> {
        let path = if program.contains('/') { PathBuf::from(program) } else { require(program)? };
        let mut command = Command::new(require("ip")?);
        command.args(["netns", "exec", &self.name]).arg(path);
        Ok(command)
    }

    /// From now on, UDP packets sent from these ports inside are lost.
    ///
    /// # Errors
    /// Without nftables.
    pub fn drop_udp_from(&self, ports: RangeInclusive<u16>) -> Result<()> {
        let (first, last) = (ports.start(), ports.end());
        self.nft(&format!("{OUT}; add rule inet lab out udp sport {first}-{last} drop"))
    }

    /// From now on, no UDP packet comes in or goes out.
    ///
    /// # Errors
    /// Without nftables.
    pub fn drop_udp(&self) -> Result<()> {
        self.nft(&format!(
            "{OUT}; add rule inet lab out meta l4proto udp drop; \
             add chain inet lab in {{ type filter hook input priority 0; }}; add rule inet lab in meta l4proto udp drop"
        ))
    }

    /// Ends every [`Self::drop_udp_from`] and [`Self::drop_udp`].
    ///
    /// # Errors
    /// When none is in force.
    pub fn drop_nothing(&self) -> Result<()> {
        self.nft("delete table inet lab")
    }

    /// Breaks every TCP connection of this process inside to this address, as a reset on the way does.
    ///
    /// # Errors
    /// When it has none.
    pub fn cut_tcp(&self, process: u32, to: SocketAddr) -> Result<()> {
        let (host, port, owner) = (to.ip().to_string(), format!(":{}", to.port()), format!("pid={process},"));
        let towards = ["-H", "-n", "-t", "-p", "dst", &host, "dport", "=", &port];
        let connections = run(self.command("ss")?.args(towards))?;
        let owned = connections.lines().filter(|line| line.contains(&owner));
        let ports: Vec<&str> = owned.filter_map(|line| line.split_whitespace().nth(3)?.rsplit(':').next()).collect();
        if ports.is_empty() {
            return Err(Failure::new(format!("process {process} has no connection to {to}:\n{connections}")));
        }
        for port in ports {
            run(self.command("ss")?.args(["-K", "-n", "-t", "sport", "=", &format!(":{port}")]))?;
        }
        Ok(())
    }

    fn nft(&self, commands: &str) -> Result<()> {
        run(self.command("nft")?.arg(commands)).map(drop)
    }

    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn ip(arguments: &str) -> Result<String> {
    run(Command::new(require("ip")?).args(arguments.split(' ')))
        .map_err(|failure| Failure::new(format!("{failure}(network namespaces need root)")))
}

/// Removes a namespace and ends what still runs in it.
fn remove(name: &str) {
    let pids = ip(&format!("netns pids {name}")).unwrap_or_default();
    for pid in pids.split_whitespace() {
        let _ = run(Command::new("kill").args(["-KILL", pid]));
    }
    let _ = ip(&format!("netns del {name}"));
    let _ = std::fs::remove_dir_all(PathBuf::from("/etc/netns").join(name));
}

/// Removes the namespaces of test processes that were killed before they could.
fn remove_leftovers() {
    let Ok(list) = std::fs::read_dir("/run/netns") else { return };
    for entry in list.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("lab-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
}
