//! A provider, a group and the program between them, on loopback.

use super::{Directory, Gateway};
use galene_sips_lab::certificates::{Authority, Kind, Tls};
use galene_sips_lab::group_server::{GroupDescription, GroupServer, GroupServerOptions, PRESENT};
use galene_sips_lab::phone::{Phone, PhoneOptions};
use galene_sips_lab::registrar::{Registrar, RegistrarOptions};
use std::time::Duration;

pub(crate) const DOMAIN: &str = "sip.lab.test";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const PHONE_PASSWORD: &str = "the phone's own";
pub(crate) const TOKEN: &str = "open-sesame-0123456789";

pub(crate) struct Scene {
    pub(crate) directory: Directory,
    pub(crate) authority: Authority,
    pub(crate) provider: Registrar,
    pub(crate) group: GroupServer,
    pub(crate) gateway: Gateway,
    pub(crate) config: String,
}

impl Scene {
    /// The account `conference` is registered. The log has everything there is.
    pub(crate) async fn start(name: &str) -> Scene {
        let directory = Directory::new(name);
        let authority = Authority::new("Laboratory CA").unwrap();
        let tls = authority.issue(Kind::Good, DOMAIN).unwrap().server_config(Tls::Both).unwrap();
        let options = RegistrarOptions::new(tls, DOMAIN).with_user("conference", PASSWORD);
        let provider = Registrar::start(options.with_user("alice", PHONE_PASSWORD)).await.unwrap();
        let tls = authority.issue_for_address([127, 0, 0, 1].into()).unwrap().server_config(Tls::Both).unwrap();
        let group = GroupDescription::open("Lab").with_token(TOKEN, PRESENT);
        let group = GroupServer::start(GroupServerOptions::new(tls).with_group("lab", group)).await.unwrap();
        directory.secret("sip.password", &format!("{PASSWORD}\n"));
        directory.file("ca.pem", 0o644, &authority.pem());
        let text = format!(
            "[[account]]\naddress = \"sips:conference@{DOMAIN}\"\npassword_file = \"sip.password\"\nca_file = \"ca.pem\"\n\
             outbound_proxy = \"sips:{}\"\n\
             [[room]]\ngroup = \"{}?token={TOKEN}\"\naccount = \"conference@{DOMAIN}\"\nca_file = \"ca.pem\"\n\
             [log]\nlevel = \"trace\"\n",
            provider.address(),
            group.url("127.0.0.1", "lab"),
        );
        let config = directory.secret("config.toml", &text).display().to_string();
        let gateway = Gateway::start(directory.path(), &["run", "--config", &config]);
        let registered = provider.registered("conference", Duration::from_secs(15)).await;
        assert!(registered, "{}", gateway.output());
        Scene { directory, authority, provider, group, gateway, config }
    }

    /// A registered phone.
    pub(crate) async fn phone(&self) -> Phone {
        let tls = self.authority.client_config().unwrap();
        let options = PhoneOptions::new(self.provider.address(), tls, "alice", DOMAIN, PHONE_PASSWORD);
        let phone = Phone::start(options).await.unwrap();
        assert!(phone.registered(Duration::from_secs(10)).await);
        phone
    }
}
