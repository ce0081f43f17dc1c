//! The program under test: the gateway, as an administrator starts it, logging as much as it can.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::galene::{INVITATION, OPERATOR};
use super::linphone::Linphone;
use super::meeting::Meeting;
use super::program::{Program, run, wait_until};
use super::rig::{Rig, SIP_DOMAIN, USERS};
use super::{Context, Failure, Result};

/// The gateway's account.
pub const ACCOUNT: &str = "conference@sip.lab.test";
/// Its media ports towards phones.
pub const MEDIA_PORTS: std::ops::RangeInclusive<u16> = 40_000..=40_199;

/// How a gateway is set.
#[derive(Clone, Copy, Debug)]
pub struct GatewaySettings<'a> {
    /// More lines for its `[[account]]`.
    pub account: &'a str,
    /// How much it logs.
    pub log: &'a str,
    /// More lines at the end of its configuration.
    pub end: &'a str,
}

impl GatewaySettings<'_> {
    /// Every setting as it is by itself, and everything in the log.
    pub const USUAL: Self = GatewaySettings { account: "", log: "trace", end: "" };
}

/// A running gateway.
pub struct Gateway {
    program: Program,
    binary: PathBuf,
    config: PathBuf,
}

impl Gateway {
    /// Starts `binary run` for one account at the scene's registrar and one room. Every gateway of a scene has the same store.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(rig: &Rig, binary: &Path, meeting: &Meeting, settings: GatewaySettings<'_>) -> Result<Self> {
        let directory = rig.file("gateway");
        std::fs::create_dir_all(&directory).context(directory.display())?;
        let (_, password) = USERS.iter().find(|(user, _)| ACCOUNT.starts_with(user)).unwrap_or(&USERS[0]);
        let ca_file = rig.ca_file();
        let text = format!(
            "[[account]]\naddress = \"sips:{ACCOUNT}\"\npassword_file = \"password\"\n\
             outbound_proxy = \"sips:{SIP_DOMAIN}:5061\"\nca_file = {ca_file:?}\n{}\n\
             [[room]]\ngroup = \"{}\"\naccount = \"{ACCOUNT}\"\nca_file = {ca_file:?}\n\n\
             [media]\nports = \"{}-{}\"\n\n[store]\ndirectory = \"store\"\n\n\
             [admin]\nsocket = \"admin/socket\"\n\n[log]\nlevel = \"{}\"\n\n{}",
            settings.account,
            meeting.invitation(),
            MEDIA_PORTS.start(),
            MEDIA_PORTS.end(),
            settings.log,
            settings.end,
        );
        let config = directory.join("config.toml");
        write_private(&directory.join("password"), password)?;
        write_private(&config, &text)?;
        let mut command = rig.net().command(&binary.display().to_string())?;
        command.arg("run").arg("--config").arg(&config);
        let program = Program::start("galene-sips", &mut command, &directory.join("gateway.log"))?;
        Ok(Self { program, binary: binary.to_owned(), config })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Everything that it has printed and logged.
    pub fn log(&self) -> String {
        self.program.output()
    }

    /// The answer of `calls --json`.
    ///
    /// # Errors
    /// When the command fails or does not print JSON.
    pub fn calls(&self) -> Result<serde_json::Value> {
        self.json("calls")
    }

    /// The answer of this command with `--json`.
    ///
    /// # Errors
    /// When the command fails or does not print JSON.
    pub fn json(&self, command: &str) -> Result<serde_json::Value> {
        let text = self.ask(&[command, "--json"])?;
        serde_json::from_str(&text).context(text)
    }

    /// What this command prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = std::process::Command::new(&self.binary);
        run(command.args(arguments).arg("--config").arg(&self.config))
    }

    /// Waits until it is registered.
    ///
    /// # Errors
    /// When it has ended, or is not registered in time.
    pub fn wait_registered(&mut self, within: Duration) -> Result<()> {
        let waited = wait_until("the gateway's registration", within, || {
            self.program.check_running()?;
            let registered = self.json("status").is_ok_and(|status| status["accounts"][0]["registered"] == true);
            Ok(registered.then_some(()))
        });
        waited.context(self.log())
    }

    /// Processor time used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.program.cpu_time()
    }

    /// Ends it as an administrator does and looks for secrets in all that it logged: the passwords and the invitation
    /// of the scene, and the media keys of these phones' calls, each in every form in which a log could show it.
    ///
    /// # Errors
    /// When it had ended before, does not end well, logged nothing, or logged a secret.
    pub fn stop_and_search_log(mut self, phones: &[&Linphone]) -> Result<()> {
        self.program.check_running()?;
        self.program.signal("TERM")?;
        let status = self.program.wait_for_end(Duration::from_secs(15))?;
        if !status.success() {
            return Err(Failure::new(format!("the gateway ended with {status}\n{}", self.program.last_lines(30))));
        }
        let log = self.log();
        if !log.contains("TRACE") {
            return Err(Failure::new("the gateway's log has no line of level TRACE: it proves nothing"));
        }
        let passwords = USERS.iter().map(|(_, password)| password.as_bytes().to_vec());
        let mut secrets: Vec<Vec<u8>> = passwords.collect();
        secrets.extend([INVITATION.as_bytes().to_vec(), OPERATOR.1.as_bytes().to_vec()]);
        let keys: Vec<Vec<u8>> = phones.iter().flat_map(|phone| media_keys(phone)).collect();
        secrets.extend(keys);
        let lines = log.lines().filter(|line| secrets.iter().any(|secret| shows(line, secret)));
        let found: Vec<&str> = lines.collect();
        if found.is_empty() { Ok(()) } else { Err(Failure::new(format!("secrets in the log:\n{}", found.join("\n")))) }
    }
}

/// The master keys and salts of all offers and answers of a phone, its own and the gateway's.
pub fn media_keys(phone: &Linphone) -> Vec<Vec<u8>> {
    let messages = phone.messages();
    let lines = messages.iter().flat_map(|message| message.crypto_lines());
    let mut keys: Vec<Vec<u8>> = lines
        .filter_map(|line| line.split_once("inline:")?.1.split(['|', ' ']).next())
        .filter_map(|text| BASE64.decode(text).ok())
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Whether a line of a log shows a secret: as text, Base64, hexadecimal, or a list of numbers.
pub fn shows(line: &str, secret: &[u8]) -> bool {
    let encoded = BASE64.encode(secret);
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = format!("{secret:?}");
    let list = numbers.trim_matches(['[', ']']);
    let text = std::str::from_utf8(secret).ok();
    line.contains(encoded.trim_end_matches('='))
        || line.to_ascii_lowercase().contains(&hex)
        || line.contains(list)
        || text.is_some_and(|text| line.contains(text))
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let options = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(file);
    options.and_then(|mut open| open.write_all(text.as_bytes())).context(file.display())
}
