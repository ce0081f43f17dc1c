//! TLS servers of other people's making, good and bad: OpenSSL's `s_server` and GnuTLS's `gnutls-serv`, in a network
//! namespace of their own. What neither of them can do any more (SSL 3.0, export suites, compression) is the
//! laboratory's [`Responder`](crate::tls_responder::Responder).

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::netns::Netns;
use super::program::{Program, Scratch, wait_until};
use super::{Context, Result};
use crate::certificates::Identity;

/// A prime of 1024 bits (RFC 2409 §6.2) with the generator 2, as OpenSSL and GnuTLS read it.
pub const DH_1024: &str = "-----BEGIN DH PARAMETERS-----
MIGHAoGBAP//////////yQ/aoiFowjTExmKLgNwc0SkCTgiKZ8x0Agu+pjsTmyJR
Sgh5jjQE3e+VGbPNOkMbMCsKbfJfFDdP4TVtbVHCReSFtXZiXn7G9ExC6aY37WsL
/1y29Aa37e44a/taiZ+lrp8kEXxLH+ZJKGZR7OZTgf//////////AgEC
-----END DH PARAMETERS-----
";

/// Running servers, all in one namespace. They end when this is dropped.
pub struct TlsServers {
    running: Vec<Program>,
    scratch: Scratch,
    net: Netns,
}

impl TlsServers {
    /// A namespace without a server yet.
    ///
    /// # Errors
    /// Without root, iproute2 or the kernel's veth.
    pub fn new() -> Result<Self> {
        Ok(Self { running: Vec::new(), scratch: Scratch::new()?, net: Netns::new(&[], &[])? })
    }

    /// The namespace.
    pub fn net(&self) -> &Netns {
        &self.net
    }

    /// A file for a server's options.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.scratch.join(name);
        std::fs::write(&path, content).context(path.display())?;
        Ok(path)
    }

    /// `openssl s_server`, which serves one client after the other, with these options: `-tls1_2 -cipher AES128-SHA`.
    /// A space parts them; `FILE:name` stands for [`Self::file`]'s path.
    ///
    /// # Errors
    /// When it does not start.
    pub fn openssl(&mut self, identity: &Identity, options: &str) -> Result<SocketAddr> {
        let address = self.next_address();
        let (certificate, key) = self.identity(identity)?;
        let mut command = self.net.command("openssl")?;
        command.args(["s_server", "-accept", &address.port().to_string()]);
        command.arg("-cert").arg(certificate).arg("-key").arg(key).args(self.options(options));
        self.start("openssl s_server", command, address)
    }

    /// `gnutls-serv` with this priority string and more options; it asks clients for a certificate unless told
    /// `--disable-client-cert`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn gnutls(&mut self, identity: &Identity, priority: &str, options: &str) -> Result<SocketAddr> {
        let address = self.next_address();
        let (certificate, key) = self.identity(identity)?;
        let mut command = self.net.command("gnutls-serv")?;
        command.args(["--echo", "--port", &address.port().to_string(), "--priority", priority]);
        command.arg("--x509certfile").arg(certificate).arg("--x509keyfile").arg(key).args(self.options(options));
        self.start("gnutls-serv", command, address)
    }

    fn next_address(&self) -> SocketAddr {
        (self.net.inside(), 20_000 + self.running.len() as u16).into()
    }

    fn identity(&self, identity: &Identity) -> Result<(PathBuf, PathBuf)> {
        let number = self.running.len();
        Ok((
            self.file(&format!("{number}-cert.pem"), identity.pem().as_bytes())?,
            self.file(&format!("{number}-key.pem"), identity.key_pem().as_bytes())?,
        ))
    }

    fn options(&self, options: &str) -> Vec<String> {
        let file = |name: &str| self.scratch.join(name).to_string_lossy().into_owned();
        let words = options.split_whitespace();
        words.map(|word| word.strip_prefix("FILE:").map_or_else(|| word.to_owned(), file)).collect()
    }

    fn start(&mut self, name: &str, mut command: std::process::Command, address: SocketAddr) -> Result<SocketAddr> {
        let log = self.scratch.join(&format!("{}.log", self.running.len()));
        let mut program = Program::start(name, &mut command, &log)?;
        wait_until(&format!("{name} on {address}"), Duration::from_secs(10), || {
            program.check_running()?;
            Ok(TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok().map(drop))
        })
        .context(program.last_lines(10))?;
        self.running.push(program);
        Ok(address)
    }
}
