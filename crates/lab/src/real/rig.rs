//! The usual scene: one namespace, one certificate authority, a registrar `sip.lab.test` and a Galène
//! `galene.lab.test`, and the phones and browsers that a test asks for.

use std::path::PathBuf;

use super::baresip::{Baresip, BaresipConfig, MediaEncryption};
use super::chromium::Chromium;
use super::galene::{Galene, INVITATION, invitation};
use super::kamailio::{Attack, Digest, Kamailio, KamailioConfig};
use super::linphone::{Encryption, Linphone, LinphoneConfig, PhoneCodec};
use super::netns::Netns;
use super::program::Scratch;
use super::{Context, Result};
use crate::certificates::{Authority, Identity};
use crate::group_server::PRESENT;
use crate::wav::Wav;

/// The registrar's host and domain.
pub const SIP_DOMAIN: &str = "sip.lab.test";
/// Galène's host.
pub const GALENE_HOST: &str = "galene.lab.test";
/// The laboratory's own group server, which runs in the test itself, outside of the namespace.
pub const GROUP_HOST: &str = "group.lab.test";
/// The users of the registrar, and their passwords, which no log may show.
pub const USERS: [(&str, &str); 3] =
    [("alice", "alice-pass-5Wq8"), ("bob", "bob-pass-J3xk"), ("conference", "conference-pass-t9Zr")];

/// One scene. Programs started from it must be dropped before it.
pub struct Rig {
    authority: Authority,
    net: Netns,
    scratch: Scratch,
}

/// How a phone of the scene is set.
#[derive(Clone, Copy, Debug)]
pub struct PhoneSettings {
    /// Its media encryption.
    pub encryption: Encryption,
    /// Whether it insists on it.
    pub mandatory: bool,
    /// The only codec that it offers.
    pub codec: PhoneCodec,
    /// Whether it answers calls at once.
    pub answers: bool,
    /// Whether it calls without an offer.
    pub late_offer: bool,
}

impl PhoneSettings {
    /// Mandatory SRTP with Opus; it calls, with an offer.
    pub const SRTP: PhoneSettings = PhoneSettings {
        encryption: Encryption::Srtp,
        mandatory: true,
        codec: PhoneCodec::Opus,
        answers: false,
        late_offer: false,
    };
    /// The same with ZRTP.
    pub const ZRTP: PhoneSettings = PhoneSettings { encryption: Encryption::Zrtp, ..PhoneSettings::SRTP };
}

impl Rig {
    /// An empty scene.
    ///
    /// # Errors
    /// Without root or iproute2.
    pub fn new() -> Result<Self> {
        let authority = Authority::new("Laboratory CA").context("CA")?;
        let this =
            Self { authority, net: Netns::new(&[SIP_DOMAIN, GALENE_HOST], &[GROUP_HOST])?, scratch: Scratch::new()? };
        std::fs::write(this.ca_file(), this.authority.pem()).context("ca.pem")?;
        Ok(this)
    }

    /// The namespace.
    pub fn net(&self) -> &Netns {
        &self.net
    }

    /// A file or directory of the scene.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// The certificate of the scene's CA, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// A good certificate for a host inside the namespace.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn identity(&self, host: &str) -> Result<Identity> {
        self.authority.issue_for_both(host, self.net.inside()).context(host)
    }

    /// Starts the registrar.
    ///
    /// # Errors
    /// As all that follow: when the program is missing or does not start.
    pub fn kamailio(&self, digest: Digest, attack: Attack) -> Result<Kamailio> {
        let identity = self.identity(SIP_DOMAIN)?;
        let (certificate_pem, key_pem) = (identity.pem(), &identity.key_pem());
        let config = KamailioConfig { domain: SIP_DOMAIN, certificate_pem, key_pem, users: &USERS, digest, attack };
        Kamailio::start(&self.net, &self.file("kamailio"), &config)
    }

    /// Starts a real Galène, with an invitation to its first group.
    ///
    /// # Errors
    /// Also without `GALENE_BIN`.
    pub fn galene(&self, groups: &[(&str, serde_json::Value)]) -> Result<Galene> {
        self.galene_with(groups, PRESENT)
    }

    /// Starts a real Galène; the invitation gives these permissions.
    ///
    /// # Errors
    /// Also without `GALENE_BIN`.
    pub fn galene_with(&self, groups: &[(&str, serde_json::Value)], permissions: &[&str]) -> Result<Galene> {
        let (identity, directory) = (self.identity(GALENE_HOST)?, self.file("galene"));
        let invited: Vec<_> =
            groups.iter().take(1).map(|(name, _)| invitation(INVITATION, name, permissions)).collect();
        Galene::start(&self.net, &directory, GALENE_HOST, identity.pem(), &identity.key_pem(), groups, &invited)
    }

    /// Starts a phone of one of the users and waits until it is registered.
    ///
    /// # Errors
    /// Also when it does not register.
    pub fn phone(&self, user: &str, settings: PhoneSettings) -> Result<Linphone> {
        let phone = Linphone::start(
            &self.net,
            &self.file(user),
            &LinphoneConfig {
                user,
                password: password(user),
                domain: SIP_DOMAIN,
                port: 5061,
                ca_file: &self.ca_file(),
                encryption: settings.encryption,
                mandatory: settings.mandatory,
                codecs: &[settings.codec],
                answers: settings.answers,
                late_offer: settings.late_offer,
            },
        )?;
        phone.wait_registered()?;
        Ok(phone)
    }

    /// Starts a baresip of one of the users, which calls at once.
    ///
    /// # Errors
    /// When the program is missing or does not start.
    pub fn baresip(
        &self,
        user: &str,
        encryption: MediaEncryption,
        codec: PhoneCodec,
        voice: &Wav,
        calls: &str,
    ) -> Result<Baresip> {
        let (ca_file, voice) = (&self.ca_file(), &self.wav(&format!("{user}-voice"), voice)?);
        let (password, domain) = (password(user), SIP_DOMAIN);
        let registrar = self.net.inside();
        let config = BaresipConfig { user, password, domain, registrar, ca_file, encryption, codec, voice, calls };
        Baresip::start(&self.net, &self.file(user), &config)
    }

    /// Starts a browser whose microphone speaks this.
    ///
    /// # Errors
    /// When the program is missing or does not start.
    pub fn browser(&self, name: &str, microphone: &Wav) -> Result<Chromium> {
        let file = self.wav(&format!("{name}-microphone"), microphone)?;
        Chromium::start(&self.net, &self.file(name), Some(&file))
    }

    /// Writes a sound to a file of the scene.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn wav(&self, name: &str, sound: &Wav) -> Result<PathBuf> {
        let file = self.file(&format!("{name}.wav"));
        sound.write(&file).context(name)?;
        Ok(file)
    }
}

fn password(user: &str) -> &'static str {
    USERS.iter().find(|(name, _)| *name == user).map_or("", |(_, password)| password)
}
