//! A real Galène: the program that the environment variable `GALENE_BIN` names, with its own web pages.
//!
//! The pages are the directory named by `GALENE_STATIC`, else `static` or `src/static` beside the program. Nothing
//! of Galène is part of this project, and Debian has no package of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::netns::Netns;
use super::program::{Program, wait_until};
use super::{Context, Failure, Result};

/// The operator of each group, and the password.
pub const OPERATOR: (&str, &str) = ("op", "operator-pass-8mQf");
/// The token of the invitation to a scene's first group; Galène has no token for two.
pub const INVITATION: &str = "invitation-token-x4Tb2Lq9";

/// A group's description, Galène's `groups/NAME.json`: everybody may present, `op` is operator.
pub fn open_group() -> serde_json::Value {
    serde_json::json!({
        "displayName": "A conference",
        "public": true,
        "users": {
            OPERATOR.0: { "password": OPERATOR.1, "permissions": "op" },
        },
        "wildcard-user": { "password": { "type": "wildcard" }, "permissions": "present" },
    })
}

/// A running Galène.
pub struct Galene {
    program: Program,
    address: SocketAddr,
    host: String,
}

impl Galene {
    /// Starts it on port 8443 inside `net`, known there as `host`, with its files in `directory`.
    ///
    /// # Errors
    /// Without `GALENE_BIN`, or when it does not start.
    pub fn start(
        net: &Netns,
        directory: &Path,
        host: &str,
        certificate_pem: &str,
        key_pem: &str,
        groups: &[(&str, serde_json::Value)],
        invitations: &[serde_json::Value],
    ) -> Result<Self> {
        let (binary, pages) = find()?;
        let write = |name: &str, text: &str| {
            let file = directory.join(name);
            file.parent().map_or(Ok(()), std::fs::create_dir_all).context(name)?;
            std::fs::write(&file, text).context(file.display())
        };
        write("data/cert.pem", certificate_pem)?;
        write("data/key.pem", key_pem)?;
        write("data/config.json", "{}")?;
        let tokens: String = invitations.iter().map(|invitation| format!("{invitation}\n")).collect();
        write("data/var/tokens.jsonl", &tokens)?;
        for (name, description) in groups {
            write(&format!("groups/{name}.json"), &description.to_string())?;
        }
        let address = SocketAddr::new(net.inside(), 8443);
        let mut command = net.command(&binary.display().to_string())?;
        command.args(["-http", &address.to_string(), "-turn", "", "-udp-range", "42000-44000", "-static"]).arg(pages);
        for name in ["data", "groups", "recordings"] {
            command.arg(format!("-{name}")).arg(directory.join(name));
        }
        let mut program = Program::start("galene", &mut command, &directory.join("galene.log"))?;
        wait_until("Galène's port", Duration::from_secs(15), || {
            program.check_running()?;
            Ok(std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok().map(drop))
        })?;
        Ok(Self { program, address, host: host.to_owned() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page of a group.
    pub fn group_url(&self, group: &str) -> String {
        format!("https://{}:{}/group/{group}/", self.host, self.address.port())
    }

    /// Processor time used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.program.cpu_time()
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.program.output()
    }

    /// Stops (`"STOP"`), wakes (`"CONT"`) or ends (`"TERM"`) it by a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.program.signal(signal)
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.program.stop();
    }
}

/// A line of Galène's file of invitations.
pub fn invitation(token: &str, group: &str, permissions: &[&str]) -> serde_json::Value {
    serde_json::json!({
        "token": token, "group": group, "permissions": permissions, "expires": "2099-01-01T00:00:00Z",
    })
}

fn find() -> Result<(PathBuf, PathBuf)> {
    let binary = std::env::var_os("GALENE_BIN").map(PathBuf::from).filter(|path| path.is_file());
    let binary = binary.ok_or_else(|| {
        Failure::new("a real Galène is missing: build it (https://galene.org) and set GALENE_BIN to the program")
    })?;
    let beside = |name| binary.parent().map(|directory| directory.join(name));
    let candidates = [std::env::var_os("GALENE_STATIC").map(PathBuf::from), beside("static"), beside("src/static")];
    let pages = candidates.into_iter().flatten().find(|path| path.join("galene.html").is_file());
    let pages =
        pages.ok_or_else(|| Failure::new("Galène's pages are missing: set GALENE_STATIC to its directory static"))?;
    Ok((binary, pages))
}
