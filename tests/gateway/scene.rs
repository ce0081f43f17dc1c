//! A provider, a group and the program between them, on loopback.

use super::{Directory, Gateway, command};
use galene_sips_lab::certificates::{Authority, Identity, Kind, Tls};
use galene_sips_lab::group_server::{GroupDescription, GroupServer, GroupServerOptions, PRESENT};
use galene_sips_lab::phone::{Phone, PhoneOptions};
use galene_sips_lab::registrar::{Registrar, RegistrarOptions};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const DOMAIN: &str = "sip.lab.test";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const PHONE_PASSWORD: &str = "the phone's own";
pub(crate) const TOKEN: &str = "open-sesame-0123456789";

/// What is not as usual.
pub(crate) struct Unusual<'a> {
    /// The flaw of the provider's certificate.
    pub(crate) certificate: Kind,
    /// More lines for the end of the configuration.
    pub(crate) lines: &'a str,
    /// How far the program's clock is ahead.
    pub(crate) ahead: Duration,
}

impl Default for Unusual<'_> {
    fn default() -> Self {
        Unusual { certificate: Kind::Good, lines: "", ahead: Duration::ZERO }
    }
}

/// `[[policy.exception]]` for the scene's account.
pub(crate) fn exception(allow: &str, expires: impl std::fmt::Display) -> String {
    format!(
        "[[policy.exception]]\naccount = \"conference@{DOMAIN}\"\nallow = \"{allow}\"\n\
         reason = \"PBX without SRTP until March\"\nexpires = {expires}\naccepted_by = \"ops@example.org\"\n"
    )
}

pub(crate) struct Scene {
    pub(crate) directory: Directory,
    pub(crate) authority: Authority,
    pub(crate) provider: Registrar,
    pub(crate) group: GroupServer,
    pub(crate) gateway: Gateway,
    pub(crate) config: String,
    phone_tls: Arc<ClientConfig>,
}

impl Scene {
    /// The account `conference` is registered. The log has everything there is.
    pub(crate) async fn start(name: &str) -> Scene {
        Scene::start_with(name, Unusual::default()).await
    }

    /// The same, with something unusual.
    pub(crate) async fn start_with(name: &str, unusual: Unusual<'_>) -> Scene {
        let scene = Scene::prepare(name, unusual).await;
        let registered = scene.provider.registered("conference", Duration::from_secs(15)).await;
        assert!(registered, "{}", scene.gateway.output());
        scene
    }

    /// The program is running, whatever comes of it.
    pub(crate) async fn prepare(name: &str, unusual: Unusual<'_>) -> Scene {
        let directory = Directory::new(name);
        let authority = Authority::new("Laboratory CA").unwrap();
        let identity = authority.issue(unusual.certificate, DOMAIN).unwrap();
        let phone_tls = match unusual.certificate {
            Kind::SelfSigned => trusting(&identity),
            _ => authority.client_config().unwrap(),
        };
        let tls = identity.server_config(Tls::Both).unwrap();
        let options = RegistrarOptions::new(tls, DOMAIN).with_user("conference", PASSWORD);
        let provider =
            Registrar::start(options.with_user("alice", PHONE_PASSWORD).with_user("second", "the second's own"))
                .await
                .unwrap();
        let tls = authority.issue_for_address([127, 0, 0, 1].into()).unwrap().server_config(Tls::Both).unwrap();
        let group = GroupDescription::open("Lab").with_token(TOKEN, PRESENT);
        let group = GroupServer::start(GroupServerOptions::new(tls).with_group("lab", group)).await.unwrap();
        directory.secret("sip.password", &format!("{PASSWORD}\n"));
        directory.file("ca.pem", 0o644, &authority.pem());
        let text = format!(
            "[[account]]\naddress = \"sips:conference@{DOMAIN}\"\npassword_file = \"sip.password\"\nca_file = \"ca.pem\"\n\
             outbound_proxy = \"sips:{}\"\n\
             [[room]]\ngroup = \"{}?token={TOKEN}\"\naccount = \"conference@{DOMAIN}\"\nca_file = \"ca.pem\"\n\
             [log]\nlevel = \"trace\"\n{}",
            provider.address(),
            group.url("127.0.0.1", "lab"),
            unusual.lines,
        );
        let config = directory.secret("config.toml", &text).display().to_string();
        let gateway = Gateway::start_ahead(directory.path(), &["run", "--config", &config], "", unusual.ahead);
        Scene { directory, authority, provider, group, gateway, config, phone_tls }
    }

    /// The configuration as it is now.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.config).unwrap()
    }

    /// Writes another configuration and has it read.
    pub(crate) fn reload(&self, text: &str) -> std::process::Output {
        self.directory.secret("config.toml", text);
        command(self.directory.path(), &["reload", "--config", &self.config])
    }

    /// The answer of `status --json` or `calls --json`.
    pub(crate) fn ask(&self, question: &str) -> serde_json::Value {
        let output = command(self.directory.path(), &[question, "--json", "--config", &self.config]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A registered phone.
    pub(crate) async fn phone(&self) -> Phone {
        self.phone_that_expects(DOMAIN).await
    }

    /// A registered phone to which the provider's certificate must show this name.
    pub(crate) async fn phone_that_expects(&self, name: &str) -> Phone {
        let tls = Arc::clone(&self.phone_tls);
        let options = PhoneOptions::new(self.provider.address(), tls, "alice", DOMAIN, PHONE_PASSWORD);
        let options = PhoneOptions { server_name: name.to_owned(), ..options };
        let phone = Phone::start(options).await.unwrap();
        assert!(phone.registered(Duration::from_secs(10)).await);
        phone
    }
}

/// For a phone that knows this very certificate.
fn trusting(identity: &Identity) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
