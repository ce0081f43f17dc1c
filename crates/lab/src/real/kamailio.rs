//! A real Kamailio as TLS-only registrar and proxy, honest or attacking.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::netns::Netns;
use super::program::Program;
use super::{Context, Result};

/// The digest algorithm that Kamailio asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// RFC 2617.
    Md5,
    /// RFC 8760.
    Sha256,
}

/// What the proxy does to the offers that it forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Nothing.
    None,
    /// It removes every `a=crypto`: RTP/SAVP without keys, which most phones refuse, and then try in clear.
    StripCrypto,
    /// It also turns RTP/SAVP into RTP/AVP, so that the offer looks like one of a phone without encryption.
    StripCryptoAndProfile,
    /// It removes every `a=zrtp-hash`, so that an offer of ZRTP looks like one without encryption.
    StripZrtpHash,
    /// The same, but only in offers of a call that is there already: so a provider could end its encryption.
    StripZrtpHashLater,
}

/// How to start a Kamailio.
pub struct KamailioConfig<'a> {
    /// The domain it serves, which is also the digest realm.
    pub domain: &'a str,
    /// Its certificate chain, PEM.
    pub certificate_pem: &'a str,
    /// The key of it, PEM.
    pub key_pem: &'a str,
    /// Users and passwords.
    pub users: &'a [(&'a str, &'a str)],
    /// What it asks for.
    pub digest: Digest,
    /// What it does to offers.
    pub attack: Attack,
}

/// A running Kamailio.
pub struct Kamailio {
    program: Program,
    address: SocketAddr,
}

impl Kamailio {
    /// Starts it on port 5061 inside `net`, with its files in `directory`.
    ///
    /// # Errors
    /// When it is missing or does not start.
    pub fn start(net: &Netns, directory: &Path, config: &KamailioConfig<'_>) -> Result<Self> {
        let address = SocketAddr::new(net.inside(), 5061);
        std::fs::create_dir_all(directory).context(directory.display())?;
        let file = directory.join("kamailio.cfg");
        for (path, text) in [
            (&file, &configuration(directory, address, config)),
            (&directory.join("cert.pem"), &config.certificate_pem.to_owned()),
            (&directory.join("key.pem"), &config.key_pem.to_owned()),
        ] {
            std::fs::write(path, text).context(path.display())?;
        }
        let mut command = net.command("kamailio")?;
        command.args(["-DD", "-E", "-m", "32", "-M", "4", "-Y"]).arg(directory).arg("-f").arg(&file);
        let mut program = Program::start("kamailio", &mut command, &directory.join("kamailio.log"))?;
        super::program::wait_until("Kamailio's port", Duration::from_secs(15), || {
            program.check_running()?;
            Ok(std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok().map(drop))
        })?;
        Ok(Self { program, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log; each request that arrives is a line `received METHOD URI from ADDRESS`.
    pub fn log(&self) -> String {
        self.program.output()
    }

    /// Waits until this user has registered.
    ///
    /// # Errors
    /// When it does not happen in time.
    pub fn wait_registered(&mut self, user: &str, within: Duration) -> Result<()> {
        self.program.wait_for_output(&format!("registered {user}\n"), within)
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.program.stop();
    }
}

fn configuration(directory: &Path, address: SocketAddr, config: &KamailioConfig<'_>) -> String {
    let users: Vec<String> = config
        .users
        .iter()
        .map(|(user, password)| format!("        case \"{user}\": $var(password) = \"{password}\"; break;"))
        .collect();
    let profile = match config.attack {
        Attack::StripCryptoAndProfile => "        replace_body_all(\"RTP/SAVP\", \"RTP/AVP\");\n",
        _ => "",
    };
    let strip = |attribute: &str, when: &str| {
        format!(
            "    if (is_method(\"INVITE\") && {when} has_body(\"application/sdp\")) {{\n        \
             replace_body_all(\"a={attribute}:[^\\r\\n]*\\r\\n\", \"\");\n{profile}        \
             xlog(\"L_NOTICE\", \"attack: {attribute} stripped\\n\");\n    }}"
        )
    };
    let attack = match config.attack {
        Attack::None => String::new(),
        Attack::StripCrypto | Attack::StripCryptoAndProfile => strip("crypto", ""),
        Attack::StripZrtpHash => strip("zrtp-hash", ""),
        Attack::StripZrtpHashLater => strip("zrtp-hash", "has_totag() && "),
    };
    let algorithm = match config.digest {
        Digest::Md5 => "MD5",
        Digest::Sha256 => "SHA-256",
    };
    include_str!("kamailio.cfg")
        .replace("@DOMAIN@", config.domain)
        .replace("@LISTEN@", &address.to_string())
        .replace("@DIRECTORY@", &directory.display().to_string())
        .replace("@ALGORITHM@", algorithm)
        .replace("@USERS@", &users.join("\n"))
        .replace("@ATTACK@", &attack)
}
