//! A real baresip without a screen or a sound card: it plays a WAV file and records what it hears.
//!
//! It is told everything by its files and its arguments, and ends its calls when it gets SIGTERM.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::linphone::PhoneCodec;
use super::netns::Netns;
use super::program::{Program, require, run, wait_until};
use super::{Context, Result};
use crate::wav::Wav;

/// Its setting `mediaenc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaEncryption {
    /// `srtp`: offers RTP/AVP with keys, as who would also do without (RFC 8643).
    BestEffort,
    /// `srtp-mand`: offers RTP/SAVP.
    Mandatory,
}

/// How to start one.
pub struct BaresipConfig<'a> {
    /// Its user name at `domain`.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
    /// Its domain.
    pub domain: &'a str,
    /// Where the domain's registrar listens for TLS, at port 5061: it asks the DNS alone, and there is none.
    pub registrar: IpAddr,
    /// File with the certificate of the CA that it trusts.
    pub ca_file: &'a Path,
    /// What it offers.
    pub encryption: MediaEncryption,
    /// The only codec that it offers.
    pub codec: PhoneCodec,
    /// What it says, at any rate.
    pub voice: &'a Path,
    /// Whom it calls as soon as it is registered.
    pub calls: &'a str,
}

/// A running baresip.
pub struct Baresip {
    program: Program,
    directory: PathBuf,
}

impl Baresip {
    /// Starts it; it registers and calls. Its files are in `directory`.
    ///
    /// # Errors
    /// When the program, or sox, which makes its voice fit, is missing.
    pub fn start(net: &Netns, directory: &Path, config: &BaresipConfig<'_>) -> Result<Self> {
        std::fs::create_dir_all(directory).context(directory.display())?;
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).context(name);
        // its file player wants what the codec has: opus is always stereo there
        let (name, module, rate, channels) = match config.codec {
            PhoneCodec::Opus => ("opus/48000/2", "opus", "48000", "2"),
            PhoneCodec::Pcmu => ("PCMU/8000/1", "g711", "8000", "1"),
            PhoneCodec::Pcma => ("PCMA/8000/1", "g711", "8000", "1"),
        };
        let voice = directory.join("voice.wav");
        run(std::process::Command::new(require("sox")?)
            .arg(config.voice)
            .args(["-r", rate, "-c", channels])
            .arg(&voice))?;
        let encryption = match config.encryption {
            MediaEncryption::BestEffort => "srtp",
            MediaEncryption::Mandatory => "srtp-mand",
        };
        let (ca_file, here) = (config.ca_file.display(), directory.display());
        write(
            "config",
            &format!(
                "poll_method epoll\nsip_cafile {ca_file}\nsnd_path {here}\naudio_source aufile,{}\n\
                 ausrc_format s16\nauplay_format s16\nauenc_format s16\naudec_format s16\n\
                 module_path /usr/lib/baresip/modules\nmodule {module}.so\nmodule aufile.so\nmodule sndfile.so\n\
                 module srtp.so\nmodule_tmp uuid.so\nmodule_tmp account.so\nmodule_app menu.so\n",
                voice.display()
            ),
        )?;
        let BaresipConfig { user, password, domain, registrar, .. } = config;
        write(
            "accounts",
            &format!(
                "<sip:{user}@{domain};transport=tls>;auth_pass={password};mediaenc={encryption};\
                 audio_codecs={name};outbound=\"sip:{registrar}:5061;transport=tls\";regint=600\n"
            ),
        )?;
        let mut command = net.command("baresip")?;
        command.arg("-v").arg("-f").arg(directory).arg("-e").arg(format!("/dial {}", config.calls));
        let program = Program::start("baresip", &mut command, &directory.join("baresip.log"))?;
        Ok(Self { program, directory: directory.to_owned() })
    }

    /// Everything that it has printed.
    pub fn log(&self) -> String {
        self.program.output()
    }

    /// Waits until it says that its call is established.
    ///
    /// # Errors
    /// When it does not in time, or has ended.
    pub fn wait_established(&mut self, within: Duration) -> Result<()> {
        self.program.wait_for_output("Call established", within)
    }

    /// Hangs up, ends it, and returns what it has heard.
    ///
    /// # Errors
    /// When it has recorded nothing.
    pub fn stop(mut self) -> Result<Wav> {
        self.program.stop();
        let recorded = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with("-dec.wav");
        let file = wait_until("baresip's recording", Duration::from_secs(2), || {
            let mut entries = std::fs::read_dir(&self.directory).context(self.directory.display())?.flatten();
            Ok(entries.find(recorded).map(|entry| entry.path()))
        });
        let file = file.context(self.program.last_lines(60))?;
        Wav::read(&file).context(file.display())
    }
}
