//! The program finds its provider by DNS, whatever DNS says: every way of RFC 3263 that leads to TLS, a dead server among live
//! ones, forged answers, and a provider that asks for a client certificate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use galene_sips_lab::certificates::{Authority, Identity, Kind, Tls};
use galene_sips_lab::group_server::{GroupDescription, GroupServer, GroupServerOptions, PRESENT};
use galene_sips_lab::phone::{Phone, PhoneOptions};
use galene_sips_lab::real::dns::{DnsServer, Signing, SilentDnsServer, Zone};
use galene_sips_lab::registrar::{Registrar, RegistrarOptions};
use gateway::scene::{DOMAIN, PASSWORD, PHONE_PASSWORD, TOKEN};
use gateway::{Directory, Gateway};
use rustls::ServerConfig;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(15);

/// A provider with a certificate for the domain alone, a group, and their files.
struct Lab {
    directory: Directory,
    authority: Authority,
    provider: Registrar,
    group: GroupServer,
}

impl Lab {
    async fn new(name: &str) -> Lab {
        Lab::with(name, "127.0.0.1:0".parse().unwrap(), |_, domain| domain.server_config(Tls::Both).unwrap()).await
    }

    async fn with(name: &str, bind: SocketAddr, tls: impl FnOnce(&Authority, Identity) -> Arc<ServerConfig>) -> Lab {
        let directory = Directory::new(name);
        let authority = Authority::new("Laboratory CA").unwrap();
        let domain = authority.issue(Kind::Good, DOMAIN).unwrap();
        let options = RegistrarOptions::new(tls(&authority, domain), DOMAIN)
            .with_user("conference", PASSWORD)
            .with_user("alice", PHONE_PASSWORD);
        let provider = Registrar::start(RegistrarOptions { bind, ..options }).await.unwrap();
        let tls = authority.issue(Kind::Good, "galene.lab.test").unwrap().server_config(Tls::Both).unwrap();
        let group = GroupDescription::open("Lab").with_token(TOKEN, PRESENT);
        let group = GroupServer::start(GroupServerOptions::new(tls).with_group("lab", group)).await.unwrap();
        directory.secret("sip.password", &format!("{PASSWORD}\n"));
        directory.file("ca.pem", 0o644, &authority.pem());
        Lab { directory, authority, provider, group }
    }

    fn port(&self) -> u16 {
        self.provider.address().port()
    }

    fn dns(&self, zones: &[Zone]) -> DnsServer {
        DnsServer::start(&self.directory.path().join("dns"), zones).unwrap()
    }

    /// With this in the account, and these DNS servers.
    fn start(&self, account: &str, dns: &str) -> Gateway {
        let port = self.group.address().port();
        let text = format!(
            "[[account]]\naddress = \"conference@{DOMAIN}\"\npassword_file = \"sip.password\"\nca_file = \"ca.pem\"\n{account}\n\
             [[room]]\ngroup = \"https://galene.lab.test:{port}/group/lab/?token={TOKEN}\"\nca_file = \"ca.pem\"\n\
             account = \"conference@{DOMAIN}\"\n[dns]\n{dns}\n[log]\nlevel = \"debug\"\n"
        );
        let config = self.directory.secret("config.toml", &text).display().to_string();
        Gateway::start(self.directory.path(), &["run", "--config", &config])
    }

    fn start_with(&self, account: &str, dns: &DnsServer) -> Gateway {
        let anchor = dns.trust_anchor().display();
        self.start(account, &format!("servers = [\"{}\"]\ntrust_anchor = \"{anchor}\"", dns.address()))
    }

    async fn registers(&self, gateway: &Gateway) {
        assert!(self.provider.registered("conference", PATIENCE).await, "{}", gateway.output());
    }
}

/// The words that tell how the provider was found.
async fn found(gateway: &Gateway, way: &str, dnssec: &str) {
    let line = gateway.line_with(&["found the provider"]).await;
    assert!(line.contains(&format!("way=\"{way}\"")) && line.contains(&format!("dnssec=\"{dnssec}\"")), "{line}");
}

fn domain() -> Zone {
    Zone::new(DOMAIN)
}

/// The group server is in DNS as well, so that everything that the program does has to be looked up.
fn galene() -> Zone {
    Zone::new("galene.lab.test").with("@ A 127.0.0.1")
}

/// An address where nothing is accepted any more, as behind a router that drops.
fn silent() -> (u16, Vec<TcpStream>, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
    }
    (address.port(), held, listener)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_naptr_srv_and_address_with_dnssec() {
    let lab = Lab::new("finding-naptr").await;
    let zone = domain()
        .with("@ NAPTR 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp")
        .with("@ NAPTR 20 10 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.hosting.lab.test.");
    let hosting = Zone::new("hosting.lab.test")
        .with(&format!("_sips._tcp SRV 0 0 {} proxy", lab.port()))
        .with("proxy A 127.0.0.1");
    let dns = lab.dns(&[zone, hosting, galene()]);
    let gateway = lab.start_with("", &dns);
    lab.registers(&gateway).await;
    found(&gateway, "NAPTR, SRV, A/AAAA", "secure").await;
    gateway.line_with(&["connected to the provider", "proxy.hosting.lab.test"]).await;
    gateway.line_with(&["DNS answers are validated with DNSSEC"]).await;
    // the certificate names the account's domain only: neither the other domain nor the server in it
    assert!(!gateway.output().contains(" ERROR "), "{}", gateway.output());
    let tls = lab.authority.client_config().unwrap();
    let phone = PhoneOptions::new(lab.provider.address(), tls, "alice", DOMAIN, PHONE_PASSWORD);
    let phone = Phone::start(phone).await.unwrap();
    assert!(phone.registered(PATIENCE).await);
    let call = phone.call(&format!("sip:conference@{DOMAIN}")).await;
    call.expect("the group was found by DNS as well").bye().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_srv_alone_and_through_an_outbound_proxy_without_a_port() {
    let lab = Lab::new("finding-srv").await;
    let zone = domain().signed(Signing::Unsigned).with(&format!("_sips._tcp.proxy SRV 0 0 {} a", lab.port()));
    let dns = lab.dns(&[zone.with("a A 127.0.0.1").with(&format!("_sips._tcp SRV 0 0 {} a", lab.port())), galene()]);
    let mut gateway = lab.start_with("", &dns);
    lab.registers(&gateway).await;
    found(&gateway, "SRV, A/AAAA", "insecure").await;
    gateway.terminate().await;
    let gateway = lab.start_with(&format!("outbound_proxy = \"sips:proxy.{DOMAIN}\""), &dns);
    lab.registers(&gateway).await;
    found(&gateway, "SRV, A/AAAA", "insecure").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_address_alone_on_the_default_port_with_tls_though_dns_offers_udp_only() {
    let bind = "127.0.0.77:5061".parse().unwrap();
    let lab = Lab::with("finding-a", bind, |_, domain| domain.server_config(Tls::Both).unwrap()).await;
    let clear = std::net::UdpSocket::bind("127.0.0.77:5060").unwrap();
    let clear_tcp = TcpListener::bind("127.0.0.77:5060").unwrap();
    clear.set_nonblocking(true).unwrap();
    clear_tcp.set_nonblocking(true).unwrap();
    let zone = domain()
        .with("@ NAPTR 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp")
        .with("_sip._udp SRV 0 0 5060 @")
        .with("_sip._tcp SRV 0 0 5060 @")
        .with("@ A 127.0.0.77");
    let dns = lab.dns(&[zone, galene()]);
    let gateway = lab.start_with("", &dns);
    lab.registers(&gateway).await;
    found(&gateway, "A/AAAA, default port", "secure").await;
    assert!(clear.recv(&mut [0; 100]).is_err(), "something went to 5060 in clear");
    assert!(clear_tcp.accept().is_err(), "something went to 5060 in clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_among_three_costs_less_than_four_seconds() {
    let lab = Lab::new("finding-dead").await;
    let (dead, _held, _listener) = silent();
    let zone = domain()
        .with(&format!("_sips._tcp SRV 10 0 {dead} dead"))
        .with(&format!("_sips._tcp SRV 20 0 {} live", lab.port()))
        .with("_sips._tcp SRV 30 0 9 never")
        .with("dead A 127.0.0.1")
        .with("live A 127.0.0.1")
        .with("never A 127.0.0.1");
    let dns = lab.dns(&[zone, galene()]);
    let start = Instant::now();
    let gateway = lab.start_with("", &dns);
    lab.registers(&gateway).await;
    let took = start.elapsed();
    gateway.line_with(&["connected to the provider", "live.sip.lab.test"]).await;
    assert!(took >= Duration::from_secs(2), "the dead one was not tried: {took:?}\n{}", gateway.output());
    assert!(took < Duration::from_secs(4), "{took:?}\n{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_policy_refuses_ends_the_search() {
    let lab = Lab::new("finding-refused").await;
    // good for its own name in DNS, and not for the account's domain
    let tls = lab.authority.issue(Kind::Good, "first.sip.lab.test").unwrap().server_config(Tls::Both).unwrap();
    let first = Registrar::start(RegistrarOptions::new(tls, DOMAIN).with_user("conference", PASSWORD)).await.unwrap();
    let zone = domain()
        .with(&format!("_sips._tcp SRV 10 0 {} first", first.address().port()))
        .with(&format!("_sips._tcp SRV 20 0 {} second", lab.port()))
        .with("first A 127.0.0.1")
        .with("second A 127.0.0.1");
    let dns = lab.dns(&[zone, galene()]);
    let gateway = lab.start_with("", &dns);
    gateway.line_with(&["ERROR", "provider refused before any SIP was sent"]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(lab.provider.connections() == 0 && lab.provider.log().is_empty(), "{}", gateway.output());
    assert!(first.log().is_empty(), "SIP was sent to it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_answer_is_not_used() {
    let lab = Lab::new("finding-bogus").await;
    let zone =
        domain().signed(Signing::Bogus).with(&format!("_sips._tcp SRV 0 0 {} a", lab.port())).with("a A 127.0.0.1");
    let dns = lab.dns(&[zone, galene()]);
    let gateway = lab.start_with("", &dns);
    let line = gateway
        .line_with(&[
            "the provider was not found",
            "dns-bogus",
            "DNSSEC validation of the NAPTR records of sip.lab.test failed",
        ])
        .await;
    assert!(line.contains("remedy=\"check this machine's clock"), "{line}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(lab.provider.connections() == 0 && lab.provider.log().is_empty(), "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn dns_servers_that_pass_no_dnssec_on_are_named_once() {
    let lab = Lab::new("finding-stripped").await;
    let zone = domain().with(&format!("_sips._tcp SRV 0 0 {} a", lab.port())).with("a A 127.0.0.1");
    let dns = DnsServer::start_without_dnssec(&lab.directory.path().join("dns"), &[zone, galene()]).unwrap();
    let gateway = lab.start("", &format!("servers = [\"{}\"]", dns.address()));
    lab.registers(&gateway).await;
    found(&gateway, "SRV, A/AAAA", "indeterminate").await;
    let line = gateway.line_with(&["pass no DNSSEC on: answers are not validated"]).await;
    assert!(line.contains(&dns.address().to_string()) && line.contains("remedy="), "{line}");
    assert_eq!(gateway.output().matches("pass no DNSSEC on").count(), 1, "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_offered_and_a_dead_dns_server_have_sentences_of_their_own() {
    let lab = Lab::new("finding-nothing").await;
    let dns = lab.dns(&[domain().with("_sips._tcp SRV 0 0 0 .").with("@ A 127.0.0.1"), galene()]);
    let mut gateway = lab.start_with("", &dns);
    let line = gateway.line_with(&["the provider was not found"]).await;
    assert!(line.contains("offers no SIP over TLS") && line.contains("outbound_proxy = "), "{line}");
    gateway.terminate().await;
    let silent = SilentDnsServer::start().unwrap();
    let gateway = lab.start("", &format!("servers = [\"{}\"]", silent.address().unwrap()));
    let end = Instant::now() + Duration::from_secs(25);
    while !gateway.output().contains("the provider was not found") && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let line = gateway.line_with(&["the provider was not found"]).await;
    assert!(line.contains("no DNS server answered within") && line.contains("[dns] servers"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_to_the_provider_that_demands_one() {
    for tls in [Tls::V12, Tls::V13] {
        let demands =
            |authority: &Authority, domain: Identity| domain.server_config_for_clients_of(authority, tls).unwrap();
        let lab = Lab::with(&format!("finding-mutual-{tls:?}"), "127.0.0.1:0".parse().unwrap(), demands).await;
        let zone = domain().with(&format!("_sips._tcp SRV 0 0 {} a", lab.port())).with("a A 127.0.0.1");
        let dns = lab.dns(&[zone, galene()]);
        let ours = lab.authority.issue_for_client("gateway").unwrap();
        let theirs = Authority::new("Laboratory CA").unwrap().issue_for_client("gateway").unwrap();
        lab.directory.file("ours.pem", 0o644, ours.pem());
        lab.directory.secret("ours.key", &ours.key_pem());
        lab.directory.file("theirs.pem", 0o644, theirs.pem());
        lab.directory.secret("theirs.key", &theirs.key_pem());

        let mut gateway = lab.start_with("", &dns);
        gateway.line_with(&["client-certificate", "demands a client certificate", "Set client_cert"]).await;
        gateway.terminate().await;
        let mut gateway = lab.start_with("client_cert = \"theirs.pem\"\nclient_key = \"theirs.key\"", &dns);
        gateway.line_with(&["client-certificate", "does not accept the client certificate"]).await;
        gateway.terminate().await;
        assert!(!lab.provider.registered("conference", Duration::from_millis(10)).await);
        let gateway = lab.start_with("client_cert = \"ours.pem\"\nclient_key = \"ours.key\"", &dns);
        lab.registers(&gateway).await;
        assert!(!gateway.output().contains("PRIVATE KEY"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_of_no_use_stop_the_start() {
    let lab = Lab::new("finding-files").await;
    let [one, other] = ["one", "other"].map(|name| lab.authority.issue_for_client(name).unwrap());
    lab.directory.file("one.pem", 0o644, one.pem());
    lab.directory.secret("other.key", &other.key_pem());
    lab.directory.file("bad.anchor", 0o644, ". IN A 192.0.2.1\n");
    for (account, dns, words) in [
        ("client_cert = \"one.pem\"\nclient_key = \"other.key\"", "", "client_key is not the key of client_cert"),
        ("client_cert = \"sip.password\"\nclient_key = \"other.key\"", "", "client_cert holds no certificate"),
        ("client_cert = \"one.pem\"\nclient_key = \"sip.password\"", "", "client_key holds no private key"),
        ("", "trust_anchor = \"bad.anchor\"", "line 1 is neither a DS nor a DNSKEY record"),
        ("", "trust_anchor = \"missing\"", "trust_anchor cannot be used"),
    ] {
        let mut gateway = lab.start(account, dns);
        assert_eq!(gateway.ended().await.code(), Some(78), "{words}: {}", gateway.output());
        assert!(gateway.output().contains(words), "{words}: {}", gateway.output());
        assert!(!gateway.output().contains(PASSWORD), "{}", gateway.output());
    }
}
