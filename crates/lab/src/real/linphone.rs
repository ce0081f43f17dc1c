//! A real Linphone without a screen (`linphonec`) that plays and records WAV files.
//!
//! Commands go to its standard input; what happened is read from its debug log, where each change of state is one
//! line `moving from state A to B`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::netns::Netns;
use super::program::{Program, read_lossy, require, run, wait_until};
use super::{Context, Result};

/// The phone's media encryption setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Clear media.
    None,
    /// SDES in RTP/SAVP.
    Srtp,
    /// ZRTP in RTP/AVP.
    Zrtp,
}

/// A codec that the phone may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneCodec {
    /// Opus, 48 kHz.
    Opus,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// States of a call, as Linphone names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// 180 arrived.
    OutgoingRinging,
    /// An INVITE arrived.
    IncomingReceived,
    /// Talking.
    StreamsRunning,
    /// On hold, by this phone.
    Paused,
    /// On hold, by the other side.
    PausedByRemote,
    /// Refused or failed.
    Error,
    /// Over.
    End,
}

impl CallState {
    fn name(self) -> &'static str {
        match self {
            Self::OutgoingRinging => "LinphoneCallOutgoingRinging",
            Self::IncomingReceived => "LinphoneCallIncomingReceived",
            Self::StreamsRunning => "LinphoneCallStreamsRunning",
            Self::Paused => "LinphoneCallPaused",
            Self::PausedByRemote => "LinphoneCallPausedByRemote",
            Self::Error => "LinphoneCallError",
            Self::End => "LinphoneCallEnd",
        }
    }
}

/// How to start a Linphone.
pub struct LinphoneConfig<'a> {
    /// Its user name at `domain`.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
    /// Its domain, which must be a host name inside the namespace.
    pub domain: &'a str,
    /// The registrar's port for TLS on that host.
    pub port: u16,
    /// File with the certificate of the CA that it trusts, and no other.
    pub ca_file: &'a Path,
    /// Its media encryption.
    pub encryption: Encryption,
    /// Whether it refuses calls without it.
    pub mandatory: bool,
    /// What it offers, best first.
    pub codecs: &'a [PhoneCodec],
    /// Whether it answers every call at once.
    pub answers: bool,
    /// Whether its INVITEs have no offer, so that it answers one in its ACK.
    pub late_offer: bool,
}

/// A running Linphone.
pub struct Linphone {
    program: Program,
    user: String,
    directory: PathBuf,
    log: PathBuf,
    seen: usize,
}

/// A SIP message, as the phone's log has it.
#[derive(Clone, Debug)]
pub struct SipMessage {
    /// The time of day.
    pub time: Duration,
    /// Whether the phone sent it.
    pub sent: bool,
    /// The whole message, with bare line feeds.
    pub text: String,
}

impl SipMessage {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\n\n").next()?;
        let mut headers = head.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The `a=crypto` lines of its body.
    pub fn crypto_lines(&self) -> Vec<&str> {
        self.text.lines().filter(|line| line.starts_with("a=crypto:")).collect()
    }
}

impl Linphone {
    /// Starts it inside `net` with all its files in `directory`; it registers by itself.
    ///
    /// # Errors
    /// When it is missing or does not start.
    pub fn start(net: &Netns, directory: &Path, config: &LinphoneConfig<'_>) -> Result<Self> {
        let data = directory.join(".local/share/linphone");
        std::fs::create_dir_all(&data).context(data.display())?;
        let file = directory.join("linphonerc");
        std::fs::write(&file, configuration(config)?).context(file.display())?;
        let log = directory.join("debug.log");
        for old in [&log, &directory.join("linphonec.log")] {
            let _ = std::fs::remove_file(old); // of one that was here before
        }
        // a phone has a processor of its own: on a busy machine its jitter buffer must not be what a test measures
        let mut command = net.command("nice")?;
        command.args(["-n", "-10"]).arg(require("linphonec")?);
        command.env("HOME", directory).args(["-d", "6", "-l"]).arg(&log).arg("-c").arg(&file);
        if config.answers {
            command.arg("-a");
        }
        let mut program = Program::start("linphonec", &mut command, &directory.join("linphonec.log"))?;
        program.type_line("soundcard use files")?;
        program.wait_for_output("Using wav files instead of soundcard", Duration::from_secs(20))?;
        Ok(Self { program, user: config.user.to_owned(), directory: directory.to_owned(), log, seen: 0 })
    }

    /// Waits until the registrar has accepted it.
    ///
    /// # Errors
    /// When that does not happen in 20 seconds.
    pub fn wait_registered(&self) -> Result<()> {
        self.wait_log("RegistrationProgress] to [LinphoneRegistrationOk]", Duration::from_secs(20))
    }

    /// From now on it speaks this WAV file (48 kHz).
    ///
    /// # Errors
    /// When the phone has ended, as for all commands.
    pub fn play(&mut self, wav: &Path) -> Result<()> {
        self.program.type_line(&format!("play {}", wav.display()))
    }

    /// From now on it writes what it hears to this WAV file (48 kHz).
    ///
    /// # Errors
    /// As [`Self::play`].
    pub fn record(&mut self, wav: &Path) -> Result<()> {
        self.program.type_line(&format!("record {}", wav.display()))
    }

    /// Calls an address. [`Self::wait_call`] looks at what happens from here on.
    ///
    /// # Errors
    /// As [`Self::play`].
    pub fn call(&mut self, address: &str) -> Result<()> {
        self.command(&format!("call {address}"))
    }

    /// Puts the call on hold.
    ///
    /// # Errors
    /// As [`Self::play`].
    pub fn pause(&mut self) -> Result<()> {
        self.command("pause")
    }

    /// Takes the held call back.
    ///
    /// # Errors
    /// As [`Self::play`].
    pub fn resume(&mut self) -> Result<()> {
        self.command("resume")
    }

    /// Hangs up.
    ///
    /// # Errors
    /// As [`Self::play`].
    pub fn terminate(&mut self) -> Result<()> {
        self.command("terminate")
    }

    /// Waits until a call enters this state after the last command.
    ///
    /// # Errors
    /// When it does not within the time; the failure has all states and the phone's own words.
    pub fn wait_call(&mut self, state: CallState, within: Duration) -> Result<()> {
        let what = format!("{}: {}", self.user, state.name());
        let seen = wait_until(&what, within, || {
            self.program.check_running()?;
            let new = &self.call_states()[self.seen..];
            Ok(new.iter().any(|entered| entered == state.name()).then_some(()))
        });
        seen.context(format!("{:?}\n{}", self.call_states(), self.program.last_lines(12)))
    }

    /// All states that calls have entered, in order.
    pub fn call_states(&self) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains("CallSession [") && line.contains("moving from state"))
            .filter_map(|line| line.rsplit(" to ").next().map(|state| state.trim().to_owned()))
            .collect()
    }

    /// The short authentication string of the last ZRTP call, as the phone shows it.
    pub fn sas(&self) -> Option<String> {
        let output = self.program.output();
        let (_, rest) = output.rsplit_once("auth token is ")?;
        rest.split(['.', '\n']).next().map(|token| token.trim().to_owned())
    }

    /// Its user has compared the code: equal.
    ///
    /// # Errors
    /// As [`Self::play`].
    pub fn set_verified(&mut self) -> Result<()> {
        self.program.type_line("zrtp-set-verified")
    }

    /// Whether its last ZRTP call began as that of a peer that was verified before, as it writes down.
    pub fn was_verified(&self) -> Option<bool> {
        let log = self.log();
        let (_, rest) = log.rsplit_once("previously verified ")?;
        Some(rest.starts_with("yes"))
    }

    /// The times of day at which its ZRTP calls became secure.
    pub fn secured_at(&self) -> Vec<Duration> {
        self.log().lines().filter(|line| line.contains("ZRTP secrets on:")).map(time_of).collect()
    }

    /// The file in which it remembers itself (its ZID) and its ZRTP peers.
    pub fn memory(&self) -> PathBuf {
        self.directory.join(".linphone-zidcache")
    }

    /// Its debug log: all SIP messages, states and statistics.
    pub fn log(&self) -> String {
        read_lossy(&self.log)
    }

    /// All SIP messages that it sent and received, in order.
    pub fn messages(&self) -> Vec<SipMessage> {
        let mut messages: Vec<SipMessage> = Vec::new();
        let mut inside = false;
        for line in self.log().lines() {
            let sent = line.contains(": message sent to [");
            if sent || (line.contains(": received [") && line.contains("] new bytes from [")) {
                messages.push(SipMessage { time: time_of(line), sent, text: String::new() });
                inside = true;
            } else if line.contains(" belle-sip-") || line.contains(" liblinphone-") || line.contains(" mediastreamer-")
            {
                inside = false;
            } else if let (true, Some(message)) = (inside, messages.last_mut()) {
                message.text += line;
                message.text += "\n";
            }
        }
        messages
    }

    /// The final responses that it got to its INVITEs, in order, without the challenges.
    pub fn invite_outcomes(&self) -> Vec<u16> {
        let received = self.messages().into_iter().filter(|message| !message.sent);
        let invites = received.filter(|message| message.header("CSeq").is_some_and(|cseq| cseq.ends_with(" INVITE")));
        invites
            .filter_map(|message| message.text.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok())
            .filter(|status| *status >= 200 && ![401, 407].contains(status))
            .collect()
    }

    /// The local RTP port of the last offer or answer that this phone wrote.
    pub fn rtp_port(&self) -> Option<u16> {
        let messages = self.messages();
        let written = messages.iter().rev().filter(|message| message.sent);
        let media = written.filter_map(|message| message.text.lines().find_map(|line| line.strip_prefix("m=audio ")));
        media.filter_map(|media| media.split(' ').next()?.parse().ok()).next()
    }

    /// Hangs up, unregisters and ends.
    pub fn quit(&mut self) {
        if self.program.type_line("quit").is_err() || self.program.wait_for_end(Duration::from_secs(10)).is_err() {
            self.program.stop();
        }
    }

    fn command(&mut self, line: &str) -> Result<()> {
        self.seen = self.call_states().len();
        self.program.type_line(line)
    }

    fn wait_log(&self, text: &str, within: Duration) -> Result<()> {
        let what = format!("{}: {text:?} in {}", self.user, self.log.display());
        wait_until(&what, within, || Ok(self.log().contains(text).then_some(())))
    }
}

/// The time of day that begins a line of the log: `2026-11-25 04:30:50:104 …`.
fn time_of(line: &str) -> Duration {
    let clock = line.split(' ').nth(1).unwrap_or_default();
    let mut parts = clock.split(':').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    Duration::from_millis(((part() * 60 + part()) * 60 + part()) * 1000 + part())
}

fn configuration(config: &LinphoneConfig<'_>) -> Result<String> {
    let LinphoneConfig { user, password, domain, port, .. } = config;
    let ca_file = config.ca_file.display();
    let encryption = match config.encryption {
        Encryption::None => "none",
        Encryption::Srtp => "srtp",
        Encryption::Zrtp => "zrtp",
    };
    let (mandatory, late_offer) = (u8::from(config.mandatory), u8::from(config.late_offer));
    let uuid = run(std::process::Command::new("cat").arg("/proc/sys/kernel/random/uuid"))?;
    let mut text = format!(
        "[sip]\ndefault_proxy=0\nmedia_encryption={encryption}\nmedia_encryption_mandatory={mandatory}\n\
         root_ca={ca_file}\nverify_server_certs=1\nverify_server_cn=1\n\
         sdp_200_ack={late_offer}\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\nuse_ipv6=0\n\
         [proxy_0]\nreg_proxy=<sip:{domain}:{port};transport=tls>\nreg_identity=sip:{user}@{domain}\n\
         reg_expires=3600\nreg_sendregister=1\npublish=0\navpf=0\nquality_reporting_enabled=0\n\
         [auth_info_0]\nusername={user}\npasswd={password}\nrealm={domain}\ndomain={domain}\n\
         [rtp]\naudio_rtp_port=10000-19998\n\
         [sound]\nechocancellation=0\necholimiter=0\nagc=0\neq_active=0\nnoisegate=0\n\
         [misc]\nuuid={}\nversion_check_url_root=\n",
        uuid.trim()
    );
    // Linphone adds, enabled, what it does not find here
    let known = ["opus/48000/2", "PCMU/8000/1", "PCMA/8000/1", "speex/16000/1", "speex/8000/1"];
    let mut codecs: Vec<&str> = config.codecs.iter().map(|codec| rtpmap(*codec)).collect();
    let enabled = codecs.len();
    let others: Vec<&str> = known.into_iter().filter(|name| !codecs.contains(name)).collect();
    codecs.extend(others);
    for (number, codec) in codecs.iter().enumerate() {
        let mut parts = codec.split('/');
        let mut part = || parts.next().unwrap_or_default();
        let (mime, rate, channels) = (part(), part(), part());
        let on = u8::from(number < enabled);
        text += &format!("[audio_codec_{number}]\nmime={mime}\nrate={rate}\nchannels={channels}\nenabled={on}\n");
        if mime == "opus" {
            text += "recv_fmtp=useinbandfec=1\n";
        }
    }
    Ok(text)
}

fn rtpmap(codec: PhoneCodec) -> &'static str {
    match codec {
        PhoneCodec::Opus => "opus/48000/2",
        PhoneCodec::Pcmu => "PCMU/8000/1",
        PhoneCodec::Pcma => "PCMA/8000/1",
    }
}
