//! The laboratory: a provider for each row of the table, made of Kamailio, GnuTLS, a hand-made responder and unbound.

use super::gateway::Directory;
use super::table::TABLE;
use galene_sips_lab::certificates::{Authority, Identity, Kind};
use galene_sips_lab::real::dns::{DnsServer, Signing, Zone};
use galene_sips_lab::real::kamailio::Digest;
use galene_sips_lab::real::openssl;
use galene_sips_lab::real::providers::{Login, Provider, Providers, next_address};
use galene_sips_lab::real::tls_servers::TlsServers;
use galene_sips_lab::tls_responder::{Manner, Responder, Script};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

pub(crate) const PASSWORD: &str = "correct horse";

/// What a provider writes that wants to command terminals and pages, and to look like something else.
pub(crate) const HOSTILE: &str = "1\u{1b}[31mred\u{9b}2J<script>alert(1)</script>\u{202e}txt\u{2066}&amp;'";

/// Everything that runs. It ends when this is dropped.
pub(crate) struct Lab {
    pub(crate) directory: Directory,
    pub(crate) kamailio: Providers,
    dns: DnsServer,
    _others: (TlsServers, Vec<Responder>, (TcpListener, Vec<TcpStream>)),
    /// Each provider's address: where the audit knocks.
    pub(crate) addresses: Vec<(&'static str, SocketAddr)>,
}

/// How many good domains there are beside the table.
pub(crate) const MANY: usize = 100;

/// The name of one of them.
pub(crate) fn many(number: usize) -> String {
    format!("many-{number}")
}

/// The domain of a provider.
pub(crate) fn domain(name: &str) -> String {
    format!("{name}.lab.test")
}

/// While it is put together.
struct Builder {
    directory: Directory,
    authority: Authority,
    /// `lab.test`, signed, with everybody who has no zone of his own.
    zone: Zone,
    others: Vec<Zone>,
    providers: Vec<Provider>,
    tls_servers: TlsServers,
    responders: Vec<Responder>,
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Lab {
    /// All the providers of the table.
    pub(crate) async fn start(name: &str) -> Lab {
        let directory = Directory::new(name);
        let authority = Authority::new("Laboratory CA").unwrap();
        directory.file("ca.pem", 0o644, &authority.pem());
        directory.secret("password", &format!("{PASSWORD}\n"));
        let mut builder = Builder {
            directory,
            authority,
            zone: Zone::new("lab.test"),
            others: Vec::new(),
            providers: Vec::new(),
            tls_servers: TlsServers::new().unwrap(),
            responders: Vec::new(),
            addresses: Vec::new(),
        };
        let silent = silent();
        for case in TABLE {
            builder.add(case.name, silent.0.local_addr().unwrap()).await;
        }
        builder.add_many();
        let Builder { directory, zone, others, providers, tls_servers, responders, addresses, .. } = builder;
        let zones: Vec<Zone> = std::iter::once(zone).chain(others).collect();
        let dns = DnsServer::start(&directory.path().join("dns"), &zones).unwrap();
        let kamailio = Providers::start(directory.path(), PASSWORD, &providers).unwrap();
        Lab { directory, kamailio, dns, _others: (tls_servers, responders, silent), addresses }
    }

    /// What Kamailio complained of.
    pub(crate) fn troubles(&self) -> String {
        let log = self.kamailio.log();
        let lines = log.lines().filter(|line| line.contains("ERROR") || line.contains("CRITICAL"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// What every audit here is told: whom to trust, and whom to ask.
    pub(crate) fn options(&self) -> Vec<String> {
        let anchor = self.dns.trust_anchor().display().to_string();
        ["--ca-file", "ca.pem", "--dns-server", &self.dns.address().to_string(), "--trust-anchor", &anchor]
            .map(str::to_owned)
            .to_vec()
    }

    /// A gateway's configuration with the account of this provider.
    pub(crate) fn configuration(&self, name: &str) -> String {
        let (domain, dns, anchor) = (domain(name), self.dns.address(), self.dns.trust_anchor().display());
        format!(
            "[store]\ndirectory = \"store-{name}\"\n\
             [[account]]\naddress = \"conference@{domain}\"\npassword_file = \"password\"\nca_file = \"ca.pem\"\n\
             [[room]]\ngroup = \"https://127.0.0.1:9/group/lab/?token=t\"\naccount = \"conference@{domain}\"\n\
             [dns]\nservers = [\"{dns}\"]\ntrust_anchor = \"{anchor}\"\n"
        )
    }
}

/// A port that accepts nobody any more, as behind a router that drops.
fn silent() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
    }
    (listener, held)
}

impl Builder {
    async fn add(&mut self, name: &'static str, silent: SocketAddr) {
        let domain = domain(name);
        if !["unsigned", "bogus"].contains(&name) {
            self.exists(name);
        }
        let issue = |kind| self.authority.issue(kind, &domain).unwrap();
        let good = || Provider::new(&issue(Kind::Good));
        let rsa = || Provider::new(&self.authority.issue_with_rsa(&domain).unwrap());
        let certified = |kind| Provider::new(&issue(kind));
        let provider = match name {
            "ssl-3" => {
                let certificate = issue(Kind::Good).certificate().to_vec();
                let script = Script { prime_bits: 2048, ..Script::new(&[0x0300], &[0x0033, 0x0039], certificate) };
                return self.respond(name, script).await;
            }
            "rc4-only" => {
                let priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+ARCFOUR-128:-KX-ALL:+ECDHE-ECDSA";
                let identity = issue(Kind::Good);
                return self.gnutls(name, &identity, priority);
            }
            "no-sip" => {
                let identity = issue(Kind::Good);
                return self.gnutls(name, &identity, "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:-AES-128-CBC:-AES-256-CBC");
            }
            "closed" => return self.locate(name, SocketAddr::new(next_address(), 5061)),
            "silent" => return self.locate(name, silent),
            "not-offered" => return self.record(&format!("_sips._tcp.{name} SRV 0 0 0 .")),
            "tls-1-0-only" => Provider { versions: "TLSv1", ciphers: "ECDHE+AES", ..good() },
            "tls-1-1-too" => Provider { versions: "TLSv1.1+", ciphers: "ECDHE+AESGCM:ECDHE+AES", ..good() },
            "tls-1-2-only" => Provider { versions: "TLSv1.2", ..good() },
            "static-rsa-only" => Provider { versions: "TLSv1.2", ciphers: "AES128-GCM-SHA256", ..rsa() },
            "static-rsa-too" => Provider { ciphers: "ECDHE+AESGCM:AES128-GCM-SHA256", ..rsa() },
            "null-too" => Provider { ciphers: "ECDHE+AESGCM:ECDHE-ECDSA-NULL-SHA", ..good() },
            "anonymous-too" => Provider { ciphers: "ECDHE+AESGCM:AECDH-AES128-SHA", ..good() },
            "client-certificate" => Provider { clients_of: Some(self.authority.pem()), ..good() },
            "rsa-1024" => self.weak(&domain, 1024, "sha256"),
            "sha-1" => self.weak(&domain, 2048, "sha1"),
            "expired" => certified(Kind::Expired),
            "not-yet-valid" => certified(Kind::NotYetValid),
            "wrong-name" => certified(Kind::WrongName),
            "server-name-only" => Provider::new(&self.authority.issue(Kind::Good, &format!("sip.{domain}")).unwrap()),
            "wildcard" => certified(Kind::Wildcard),
            "shadowing-uri" => certified(Kind::ShadowingUri),
            "common-name-only" => certified(Kind::CommonNameOnly),
            "no-intermediate" => {
                let intermediate = self.authority.intermediate("Laboratory CA in between").unwrap();
                Provider::new(&intermediate.issue(Kind::Good, &domain).unwrap())
            }
            "self-signed" => certified(Kind::SelfSigned),
            "md5" => Provider { login: Login::Digest(Digest::Md5), ..good() },
            "no-qop" => Provider { login: Login::WithoutQop, ..good() },
            "basic" => Provider { login: Login::Basic, ..good() },
            "no-password" => Provider { login: Login::Nobody, ..good() },
            "no-pong" => Provider { pong: false, ..good() },
            "asks-in-clear" => Provider { plain: true, ..good() },
            "tells-its-version" => Provider { server: Some("Provider 1.2.3".to_owned()), ..good() },
            "hostile-texts" => {
                let identity = self.authority.issue_with_subject(HOSTILE, &domain).unwrap();
                let hostile = Some(HOSTILE.to_owned());
                Provider { server: hostile.clone(), realm: hostile, ..Provider::new(&identity) }
            }
            "good" => {
                // the whole chain, as it should be sent
                let intermediate = self.authority.intermediate("Laboratory CA in between").unwrap();
                let identity = intermediate.issue(Kind::Good, &domain).unwrap();
                self.record(&format!("{name} NAPTR 10 10 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.{name}"));
                self.record(&format!("{name} NAPTR 20 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.{name}"));
                self.record(&format!("_5061._tcp.sip.{name} TLSA 3 0 1 {}", sha256(&identity)));
                Provider { certificates: identity.pem().to_owned() + &intermediate.pem(), ..Provider::new(&identity) }
            }
            "no-srv" | "udp-first" | "unsigned" | "bogus" | "other-tlsa" | "one-of-two-dead" => good(),
            other => panic!("no provider {other}"),
        };
        self.announce(name, &domain, provider.address);
        self.addresses.push((name, provider.tls()));
        self.providers.push(provider);
    }

    /// A hundred good domains on ten servers.
    fn add_many(&mut self) {
        for server in 0..MANY / 10 {
            let names: Vec<String> = (0..10).map(|number| many(server * 10 + number)).collect();
            let domains: Vec<String> = names.iter().map(|name| domain(name)).collect();
            let provider = Provider::new(&self.authority.issue_for_names(&domains).unwrap());
            for name in names {
                self.exists(&name);
                self.record(&format!("_sips._tcp.{name} SRV 0 0 5061 sip.{name}"));
                self.record(&format!("sip.{name} A {}", provider.address));
            }
            self.providers.push(provider);
        }
    }

    /// What DNS says of a provider on port 5061.
    fn announce(&mut self, name: &'static str, domain: &str, address: IpAddr) {
        let srv = format!("_sips._tcp.{name} SRV 0 0 5061 sip.{name}");
        let a = format!("sip.{name} A {address}");
        let own = |signing| {
            let zone = Zone::new(domain).signed(signing);
            zone.with("_sips._tcp SRV 0 0 5061 sip").with(&format!("sip A {address}"))
        };
        match name {
            "no-srv" => self.record(&format!("{name} A {address}")),
            "unsigned" => self.others.push(own(Signing::Unsigned)),
            "bogus" => self.others.push(own(Signing::Bogus)),
            "udp-first" => {
                for record in [
                    format!("{name} NAPTR 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.{name}"),
                    format!("{name} NAPTR 20 10 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.{name}"),
                    srv,
                    a,
                ] {
                    self.record(&record);
                }
            }
            "one-of-two-dead" => {
                self.record(&srv);
                self.record(&a);
                self.record(&format!("_sips._tcp.{name} SRV 10 0 5061 dead.{name}"));
                self.record(&format!("dead.{name} A {}", next_address()));
            }
            _ => {
                if name == "other-tlsa" {
                    self.record(&format!("_5061._tcp.sip.{name} TLSA 3 1 1 {}", "00".repeat(32)));
                }
                self.record(&srv);
                self.record(&a);
            }
        }
    }

    /// A record of its own, so that what is not there below it can be proved.
    fn exists(&mut self, name: &str) {
        self.record(&format!("{name} TXT \"a domain\""));
    }

    fn record(&mut self, record: &str) {
        self.zone = self.zone.clone().with(record);
    }

    /// A server that is not Kamailio's.
    fn locate(&mut self, name: &'static str, at: SocketAddr) {
        self.record(&format!("_sips._tcp.{name} SRV 0 0 {} sip.{name}", at.port()));
        self.record(&format!("sip.{name} A {}", at.ip()));
        self.addresses.push((name, at));
    }

    fn gnutls(&mut self, name: &'static str, identity: &Identity, priority: &str) {
        let at = self.tls_servers.gnutls(identity, priority, "--disable-client-cert").unwrap();
        self.locate(name, at);
    }

    async fn respond(&mut self, name: &'static str, script: Script) {
        let responder = Responder::start(Manner::Flight(script)).await.unwrap();
        self.locate(name, responder.address());
        self.responders.push(responder);
    }

    fn weak(&self, domain: &str, bits: u32, digest: &str) -> Provider {
        let (certificates, key) = openssl::issue(self.directory.path(), &self.authority, domain, bits, digest).unwrap();
        let ciphers = "ECDHE+AESGCM";
        let identity = self.authority.issue(Kind::Good, domain).unwrap();
        Provider { certificates, key, ciphers, ..Provider::new(&identity) }
    }
}

/// Hexadecimal SHA-256 of the certificate.
fn sha256(identity: &Identity) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(identity.certificate()).iter().map(|byte| format!("{byte:02x}")).collect()
}
