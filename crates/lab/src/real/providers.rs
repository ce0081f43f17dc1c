//! Many SIP providers in one Kamailio: each has a loopback address of its own, its TLS settings, its certificate and its way
//! of letting people in, so that each can be good but for one fault.
//!
//! Needs neither a network namespace nor root. They take registrations and answer OPTIONS; they carry no calls.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::kamailio::Digest;
use super::program::{Program, require, wait_until};
use super::{Context, Failure, Result};
use crate::certificates::Identity;

/// How a provider lets people in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Digest with qop, and nonces that count.
    Digest(Digest),
    /// SHA-256 without qop.
    WithoutQop,
    /// RFC 7617, which SIP forbids.
    Basic,
    /// Nobody is asked for anything.
    Nobody,
}

/// One provider. [`Provider::new`] is a good one.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its address; TLS is on port 5061.
    pub address: IpAddr,
    /// Kamailio's `method`.
    pub versions: &'static str,
    /// OpenSSL's list for TLS up to 1.2.
    pub ciphers: &'static str,
    /// Certificates, PEM: the leaf first.
    pub certificates: String,
    /// The key, PEM.
    pub key: String,
    /// The authority, PEM, of the certificates that clients have to show.
    pub clients_of: Option<String>,
    /// How it lets people in.
    pub login: Login,
    /// Its realm, if it is not the domain.
    pub realm: Option<String>,
    /// A `Server` header.
    pub server: Option<String>,
    /// The same service without TLS on port 5060.
    pub plain: bool,
    /// Whether it answers CRLF CRLF.
    pub pong: bool,
}

impl Provider {
    /// A good provider at an address of its own, with this certificate.
    pub fn new(identity: &Identity) -> Self {
        Self {
            address: next_address(),
            versions: "TLSv1.2+",
            ciphers: "ECDHE+AESGCM:ECDHE+CHACHA20",
            certificates: identity.pem().to_owned(),
            key: identity.key_pem(),
            clients_of: None,
            login: Login::Digest(Digest::Sha256),
            realm: None,
            server: None,
            plain: false,
            pong: true,
        }
    }

    /// Where it speaks TLS.
    pub fn tls(&self) -> SocketAddr {
        SocketAddr::new(self.address, 5061)
    }

    /// What Kamailio has for a whole process only.
    fn process(&self) -> (Digest, bool) {
        match self.login {
            Login::Digest(digest) => (digest, self.pong),
            Login::WithoutQop | Login::Basic | Login::Nobody => (Digest::Sha256, self.pong),
        }
    }

    fn listens(&self) -> String {
        let address = self.address;
        match self.plain {
            true => format!("listen=tls:{address}:5061\nlisten=udp:{address}:5060\nlisten=tcp:{address}:5060\n"),
            false => format!("listen=tls:{address}:5061\n"),
        }
    }

    /// Its part of Kamailio's tls.cfg.
    fn tls_settings(&self, directory: &Path) -> Result<String> {
        let file = |kind: &str, text: &str| {
            let path = directory.join(format!("{}-{kind}.pem", self.address));
            std::fs::write(&path, text).context(path.display()).map(|()| path.display().to_string())
        };
        let (certificate, key) = (file("cert", &self.certificates)?, file("key", &self.key)?);
        let clients = match &self.clients_of {
            Some(authority) => {
                format!(
                    "verify_certificate = yes\nrequire_certificate = yes\nca_list = {}\n",
                    file("clients", authority)?
                )
            }
            None => "verify_certificate = no\nrequire_certificate = no\n".to_owned(),
        };
        let Self { address, versions, ciphers, .. } = self;
        Ok(format!(
            "[server:{address}:5061]\nmethod = {versions}\ncipher_list = {ciphers}\ncertificate = {certificate}\n\
             private_key = {key}\n{clients}\n"
        ))
    }

    /// Its part of the route.
    fn route(&self) -> String {
        let mut does = String::new();
        if let Some(realm) = &self.realm {
            let _ = write!(does, " $var(realm) = \"{realm}\";");
        }
        if let Some(server) = &self.server {
            let _ = write!(does, " append_to_reply(\"Server: {server}\\r\\n\");");
        }
        does.push_str(match self.login {
            Login::Digest(_) => "",
            Login::WithoutQop => " $var(login) = \"without-qop\";",
            Login::Basic => " $var(login) = \"basic\";",
            Login::Nobody => " $var(login) = \"nobody\";",
        });
        format!("        case \"{}\":{does} break;\n", self.address)
    }
}

/// Running providers. They end when this is dropped.
pub struct Providers(Vec<Program>);

impl Providers {
    /// Starts them, for users who all have this password, with files in `directory`.
    ///
    /// # Errors
    /// When Kamailio is missing or does not start.
    pub fn start(directory: &Path, password: &str, providers: &[Provider]) -> Result<Self> {
        let mut processes: Vec<((Digest, bool), Vec<&Provider>)> = Vec::new();
        for provider in providers {
            match processes.iter_mut().find(|(process, _)| *process == provider.process()) {
                Some((_, members)) => members.push(provider),
                None => processes.push((provider.process(), vec![provider])),
            }
        }
        let mut running = Vec::new();
        for (number, ((digest, pong), members)) in processes.into_iter().enumerate() {
            let directory = directory.join(format!("kamailio-{number}"));
            running.push((start(&directory, password, digest, pong, &members)?, members));
        }
        for (program, members) in &mut running {
            for member in members {
                let up = wait_until("Kamailio's port", Duration::from_secs(20), || {
                    program.check_running()?;
                    Ok(std::net::TcpStream::connect_timeout(&member.tls(), Duration::from_millis(200)).ok().map(drop))
                });
                up.context(program.last_lines(20))?;
            }
        }
        Ok(Self(running.into_iter().map(|(program, _)| program).collect()))
    }

    /// All that they logged: `to ADDRESS: METHOD from …` for each request, `to ADDRESS: credentials` if it had some, and
    /// `registered USER@DOMAIN with CONTACT, expires SECONDS`.
    pub fn log(&self) -> String {
        self.0.iter().map(Program::output).collect()
    }
}

fn start(directory: &Path, password: &str, digest: Digest, pong: bool, members: &[&Provider]) -> Result<Program> {
    std::fs::create_dir_all(directory).context(directory.display())?;
    let mut settings = String::new();
    for member in members {
        settings.push_str(&member.tls_settings(directory)?);
    }
    // Kamailio wants one for addresses that it does not know
    let first = members.first().ok_or_else(|| Failure::new("no provider"))?;
    let default =
        first.tls_settings(directory)?.replace(&format!("[server:{}:5061]", first.address), "[server:default]");
    let listen: String = members.iter().map(|member| member.listens()).collect();
    let route: String = members.iter().map(|member| member.route()).collect();
    let configuration = include_str!("providers.cfg")
        .replace("@LISTEN@", &listen)
        .replace("@PONG@", if pong { "yes" } else { "no" })
        .replace("@DIRECTORY@", &directory.display().to_string())
        .replace("@ALGORITHM@", if digest == Digest::Md5 { "MD5" } else { "SHA-256" })
        .replace("@PASSWORD@", password)
        .replace("@PROVIDERS@", &route);
    let file = directory.join("kamailio.cfg");
    let weak = directory.join("openssl.cnf");
    let all =
        "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nCipherString = ALL:eNULL:@SECLEVEL=0\n";
    for (path, text) in
        [(&file, configuration), (&directory.join("tls.cfg"), default + &settings), (&weak, all.to_owned())]
    {
        std::fs::write(path, text).context(path.display())?;
    }
    let mut command = std::process::Command::new(require("kamailio")?);
    command.env("OPENSSL_CONF", weak); // what OpenSSL refuses by default are faults to be had here
    command.args(["-DD", "-E", "-m", "96", "-M", "8", "-Y"]).arg(directory).arg("-f").arg(&file);
    Program::start("kamailio", &mut command, &directory.join("kamailio.log"))
}

/// An address of 127.0.0.0/8 that no other test of this machine uses: by process, and counted.
pub fn next_address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let [_, _, a, b] = (process & 0xffff).to_be_bytes();
    // the second octet counts beyond 250, and keeps clear of 127.0
    Ipv4Addr::new(127, 16 + (number / 250) as u8, a ^ (number % 250) as u8, b).into()
}
