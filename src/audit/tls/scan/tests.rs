//! Whole scans against a server that is a function of the hello.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use super::*;
use crate::audit::facts::{Alpn, ClientCertificate, WithoutSni};
use crate::audit::tls::reply::ServerHello;

const NAME: &str = "sip.example.org";

/// What a server takes, in its order.
#[derive(Clone, Default)]
struct Server {
    versions: Vec<Version>,
    suites: Vec<u16>,
    groups: Vec<u16>,
    needs_share: bool,
    client_order: bool,
    /// How it turns down a version.
    no_version: Option<End>,
}

impl Server {
    fn reply(&self, hello: &Hello) -> Reply {
        let refuse = || Reply::nothing(self.no_version.clone().unwrap_or(End::Alert(PROTOCOL_VERSION)));
        if !self.versions.contains(&hello.version)
            || (self.needs_share && hello.version == Version::Tls13 && !hello.share)
        {
            return refuse();
        }
        if hello.fallback && self.versions.iter().any(|version| *version > hello.version) {
            return Reply::nothing(End::Alert(86));
        }
        let (first, second) =
            if self.client_order { (&hello.suites, &self.suites) } else { (&self.suites, &hello.suites) };
        let group = self.groups.iter().copied().find(|id| hello.groups.contains(id));
        let needs_group = |id: u16| hello.version == Version::Tls13 || suites::exchange(id) == Exchange::Curve;
        let suite = first.iter().copied().find(|id| second.contains(id) && (group.is_some() || !needs_group(*id)));
        let Some(suite) = suite else { return Reply::nothing(End::Alert(40)) };
        let tls_13 = hello.version == Version::Tls13;
        Reply {
            hello: Some(ServerHello {
                version: hello.version,
                suite,
                group: group.filter(|_| tls_13),
                compression: false,
                extended_master_secret: true,
                secure_renegotiation: true,
                heartbeat: false,
                alpn: None,
            }),
            chain: if tls_13 { vec![] } else { vec![vec![1]] },
            key: match suites::exchange(suite) {
                _ if tls_13 => None,
                Exchange::Curve => group.map(Key::Group),
                Exchange::Prime => Some(Key::Prime(2048)),
                Exchange::Other => None,
            },
            ..Reply::nothing(End::Complete)
        }
    }
}

/// Runs a scan to its end, answering out of order; returns the hellos as well.
fn run(budget: u32, reply: impl Fn(usize, &Hello) -> Reply) -> (Found, Vec<Hello>) {
    let mut scan = Scan::new(Some(NAME.into()), budget);
    let (mut open, mut hellos) = (Vec::new(), Vec::new());
    loop {
        match scan.poll() {
            Next::Ask(ticket, hello) if open.len() < 3 => {
                hellos.push(hello.clone());
                open.push((ticket, reply(hellos.len(), &hello)));
            }
            Next::Ask(ticket, hello) => {
                // the oldest waits longest
                hellos.push(hello.clone());
                open.push((ticket, reply(hellos.len(), &hello)));
                let (ticket, reply) = open.pop().unwrap();
                scan.answer(ticket, reply);
            }
            Next::Wait => {
                let (ticket, reply) = open.remove(0);
                scan.answer(ticket, reply);
            }
            Next::Done => return (scan.finish(), hellos),
        }
    }
}

fn ids(found: &Found, version: Version) -> Vec<u16> {
    found.facts.suites.iter().filter(|suite| suite.version == version).map(|suite| suite.id).collect()
}

fn good() -> Server {
    Server {
        versions: vec![Version::Tls12, Version::Tls13],
        suites: vec![0x1302, 0x1301, 0xc030, 0xc02f],
        groups: vec![29, 0x11ec, 23],
        ..Server::default()
    }
}

#[test]
fn a_good_server_is_known_in_few_connections() {
    let server = good();
    let (found, hellos) = run(BUDGET, |_, hello| server.reply(hello));
    let facts = found.facts;
    let taken = |version| Tested::Known(matches!(version, Version::Tls12 | Version::Tls13));
    for (version, answer) in &facts.versions {
        assert_eq!(answer, &taken(*version), "{version:?}");
    }
    let listed: Vec<(Version, u16)> = facts.suites.iter().map(|suite| (suite.version, suite.id)).collect();
    let expected = [0xc030, 0xc02f].map(|id| (Version::Tls12, id)).into_iter();
    assert_eq!(listed, expected.chain([0x1302, 0x1301].map(|id| (Version::Tls13, id))).collect::<Vec<_>>());
    assert_eq!(facts.suites_cut, None);
    assert_eq!(facts.server_order, Tested::Known(true));
    let groups = ["x25519", "X25519MLKEM768", "secp256r1"].map(str::to_owned).to_vec();
    assert_eq!(facts.groups, Tested::Known(groups));
    assert_eq!(facts.dh_bits, Tested::Known(None));
    assert_eq!(facts.extended_master_secret, Tested::Known(true));
    assert_eq!(facts.fallback_scsv, Tested::Known(true));
    assert_eq!(facts.without_sni, Tested::Known(WithoutSni::Same));
    assert_eq!(facts.alpn, Tested::Known(Alpn::Ignored));
    assert_eq!(facts.client_certificate, Tested::Known(ClientCertificate::NotRequested));
    assert_eq!(found.in_clear.unwrap().chain, [[1]]);
    assert!(hellos.len() <= 20, "{}", hellos.len());
    assert_eq!(hellos.iter().filter(|hello| hello.name.is_none()).count(), 1);
}

#[test]
fn weak_suites_are_found_even_if_the_list_is_cut() {
    let mut server = good();
    server.versions = vec![Version::Ssl3, Version::Tls10, Version::Tls11, Version::Tls12];
    // thirty good ones before one of each weak class
    server.suites = suites::offer(Version::Tls12, |class| !class.is_weak());
    let weak = [0xc018, 0x0003, 0x0005, 0x000a, 0x0002];
    server.suites.extend(weak);
    let (found, hellos) = run(BUDGET, |_, hello| server.reply(hello));
    assert_eq!(hellos.len(), BUDGET as usize);
    assert_eq!(found.facts.suites_cut.as_deref(), Some("the audit stopped at 60 connections"));
    for version in server.versions {
        let list = ids(&found, version);
        assert!(weak.iter().all(|id| list.contains(id)), "{version:?}: {list:x?}");
    }
    assert_eq!(found.facts.server_order, Tested::Known(true), "its one connection was kept back");
}

#[test]
fn a_server_with_weak_suites_only_is_no_server_without_a_version() {
    let server = Server {
        versions: vec![Version::Tls10],
        suites: vec![0xc011, 0x0004],
        groups: vec![23],
        no_version: Some(End::Closed),
        ..Server::default()
    };
    let (found, _) = run(BUDGET, |_, hello| server.reply(hello));
    let taken: Vec<_> = found.facts.versions.iter().filter(|(_, taken)| taken == &Tested::Known(true)).collect();
    assert_eq!(taken, [&(Version::Tls10, Tested::Known(true))]);
    assert_eq!(ids(&found, Version::Tls10), [0xc011, 0x0004]);
    assert_eq!(found.facts.groups, Tested::Known(vec!["secp256r1".into()]));
}

#[test]
fn a_server_that_wants_a_share_at_once_gets_one() {
    let mut server = good();
    (server.needs_share, server.no_version) = (true, Some(End::Alert(40)));
    let (found, hellos) = run(BUDGET, |_, hello| server.reply(hello));
    assert!(found.facts.versions.contains(&(Version::Tls13, Tested::Known(true))));
    assert_eq!(ids(&found, Version::Tls13), [0x1302, 0x1301]);
    let Tested::Unknown(_) = found.facts.groups else { panic!("a share of one group says nothing of the others") };
    assert!(hellos.iter().any(|hello| hello.share));
}

#[test]
fn the_clients_order_is_told_from_the_servers() {
    let server = Server { client_order: true, ..good() };
    let (found, _) = run(BUDGET, |_, hello| server.reply(hello));
    assert_eq!(found.facts.server_order, Tested::Known(false));
    assert_eq!(ids(&found, Version::Tls12), [0xc02f, 0xc030]);
}

#[test]
fn silence_and_garbage_leave_everything_open_and_soon() {
    for end in [End::Silent, End::NotTls, End::NotConnected("refused".into())] {
        let (found, hellos) = run(BUDGET, |_, _| Reply::nothing(end.clone()));
        assert_eq!(hellos.len(), 5);
        assert!(found.facts.versions.iter().all(|(_, taken)| taken == &Tested::Unknown(end.words())));
        assert!(found.facts.groups.known().is_none() && found.facts.compression.known().is_none());
        assert_eq!(found.in_clear, None);
    }
}

#[test]
fn a_server_that_hangs_up_on_everything_takes_no_version() {
    let (found, _) = run(BUDGET, |_, _| Reply::nothing(End::Closed));
    assert!(found.facts.versions.iter().all(|(_, taken)| taken == &Tested::Known(false)));
    assert_eq!(found.facts.dh_bits, Tested::Unknown("it took no version of TLS".into()));
}

#[test]
fn a_server_that_falls_silent_cuts_the_lists() {
    let server = good();
    for most in 5..19 {
        let (found, _) = run(BUDGET, |number, hello| match number <= most {
            true => server.reply(hello),
            false => Reply::nothing(End::Silent),
        });
        let open = found.facts.suites_cut.is_some() || found.facts.groups.known().is_none();
        assert!(open || found.facts.server_order.known().is_none(), "{most}");
        assert!(found.facts.versions.iter().filter(|(_, taken)| taken == &Tested::Known(true)).count() == 2, "{most}");
    }
}

#[test]
fn a_scan_that_is_stopped_says_why() {
    let server = good();
    let mut scan = Scan::new(None, BUDGET);
    for _ in 0..8 {
        if let Next::Ask(ticket, hello) = scan.poll() {
            scan.answer(ticket, server.reply(&hello));
        }
    }
    scan.stop("enough");
    assert_eq!(scan.poll(), Next::Done);
    let facts = scan.finish().facts;
    assert_eq!(facts.suites_cut.as_deref(), Some("enough"));
    assert_eq!(facts.groups, Tested::Unknown("enough".into()));
}

#[test]
fn an_answer_of_another_version_is_a_no() {
    let mut server = good();
    server.versions = vec![Version::Tls10];
    server.suites = vec![0x002f];
    // it answers every hello with TLS 1.0, as a server before RFC 8446 may
    let (found, _) = run(BUDGET, |_, hello| server.reply(&Hello { version: Version::Tls10, ..hello.clone() }));
    let no = [Version::Ssl3, Version::Tls11, Version::Tls12, Version::Tls13];
    assert!(no.iter().all(|version| found.facts.versions.contains(&(*version, Tested::Known(false)))));
    assert!(found.facts.versions.contains(&(Version::Tls10, Tested::Known(true))));
}
