//! What `io::dns` makes of a real DNS server's answers: records and how far they are proved, well signed zones and every fault,
//! servers that pass no DNSSEC on, that do not answer, or do not exist.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips::io::dns::{Anchors, Dns};
use galene_sips::sip::locate::{Answer, Dnssec, FailureKind, Lookup, Naptr, Reason, Srv, Tlsa, Way};
use galene_sips_lab::real::dns::{DnsServer, Signing, SilentDnsServer, Zone};
use galene_sips_lab::real::program::Scratch;
use std::fmt::Debug;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A zone with one of everything.
fn zone(name: &str, signing: Signing) -> Zone {
    Zone::new(name)
        .signed(signing)
        .with("@ NAPTR 50 10 \"s\" \"SIPS+D2T\" \"\" _sips._tcp")
        .with("@ CAA 128 issue \"ca.example\"")
        .with("_sips._tcp SRV 1 2 5061 Server")
        .with("_5061._tcp.server TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
        .with("server 30 A 127.0.0.1")
        .with("server 20 AAAA ::1")
        .with("alias 10 CNAME server")
}

struct Lab {
    _scratch: Scratch,
    server: DnsServer,
}

impl Lab {
    fn new(zones: &[Zone]) -> Lab {
        let scratch = Scratch::new().unwrap();
        let server = DnsServer::start(scratch.path(), zones).unwrap();
        Lab { _scratch: scratch, server }
    }

    fn anchors(&self) -> Anchors {
        Anchors::parse(&fs::read_to_string(self.server.trust_anchor()).unwrap()).unwrap()
    }

    fn dns(&self) -> Dns {
        Dns::new(&[self.server.address()], self.anchors()).unwrap()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The records, which must have this state and live so long.
fn records<T: Debug>(lookup: Lookup<T>, dnssec: Dnssec, ttl: u64) -> Vec<T> {
    let Answer { records, dnssec: found, ttl: lives, name_exists } = lookup.unwrap();
    assert_eq!(found, dnssec, "{records:?}");
    let lives = lives.as_secs();
    assert!(lives <= ttl && lives + 2 >= ttl && name_exists, "{records:?} for {lives} s, not {ttl} s");
    records
}

fn kind<T: Debug>(lookup: Lookup<T>) -> FailureKind {
    lookup.unwrap_err().kind
}

async fn everything(dns: &Dns, name: &str, dnssec: Dnssec) {
    let naptr = records(dns.naptr(name).await, dnssec, 60);
    let (flags, services, regexp) = ("s".to_owned(), "SIPS+D2T".to_owned(), String::new());
    let replacement = format!("_sips._tcp.{name}");
    assert_eq!(naptr, [Naptr { order: 50, preference: 10, flags, services, regexp, replacement }]);
    let srv = records(dns.srv(&format!("_sips._tcp.{name}")).await, dnssec, 60);
    assert_eq!(srv, [Srv { priority: 1, weight: 2, port: 5061, target: format!("server.{name}") }]);
    let host = format!("SERVER.{name}");
    assert_eq!(records(dns.a(&host).await, dnssec, 30), [ip("127.0.0.1")]);
    assert_eq!(records(dns.aaaa(&host).await, dnssec, 20), [ip("::1")]);
    assert_eq!(records(dns.addresses(&host).await, dnssec, 20), [ip("::1"), ip("127.0.0.1")]);
    assert_eq!(records(dns.a(&format!("alias.{name}")).await, dnssec, 10), [ip("127.0.0.1")], "through an alias");
    let data = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].repeat(4);
    let tlsa = records(dns.tlsa(&format!("_5061._tcp.server.{name}")).await, dnssec, 60);
    assert_eq!(tlsa, [Tlsa { usage: 3, selector: 1, matching: 1, data }]);
    let caa = records(dns.caa(name).await, dnssec, 60);
    assert_eq!((caa[0].critical, caa[0].tag.as_str(), caa[0].value.as_str()), (true, "issue", "ca.example"));
    let no_type = dns.srv(name).await.unwrap();
    assert_eq!((no_type.records.len(), no_type.dnssec, no_type.name_exists), (0, dnssec, true));
    let no_name = dns.a(&format!("nowhere.{name}")).await.unwrap();
    assert_eq!((no_name.records.len(), no_name.dnssec, no_name.name_exists), (0, dnssec, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_answers_are_secure_and_unsigned_ones_are_insecure() {
    let lab = Lab::new(&[zone("good.lab.test", Signing::Good), zone("plain.lab.test", Signing::Unsigned)]);
    let dns = lab.dns();
    everything(&dns, "good.lab.test", Dnssec::Secure).await;
    everything(&dns, "plain.lab.test", Dnssec::Insecure).await;
    let hashed = [
        zone("hashed.lab.test", Signing::Hashed),
        zone("plain.hashed.lab.test", Signing::Unsigned),
        zone("below.hashed.lab.test", Signing::Good),
    ];
    let below = Lab::new(&hashed);
    everything(&below.dns(), "hashed.lab.test", Dnssec::Secure).await;
    everything(&below.dns(), "plain.hashed.lab.test", Dnssec::Insecure).await;
    everything(&below.dns(), "below.hashed.lab.test", Dnssec::Secure).await;
    let nowhere = dns.a("no.such.domain").await.unwrap();
    assert_eq!((nowhere.name_exists, nowhere.dnssec), (false, Dnssec::Secure), "the root proves it");
    // from the cache, it is still what it was
    everything(&dns, "good.lab.test", Dnssec::Secure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_anchor_may_be_the_keys_hash() {
    let lab = Lab::new(&[zone("good.lab.test", Signing::Good)]);
    let directory = lab.server.trust_anchor().parent().unwrap();
    let hash = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let hash = hash.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("K.+"));
    let hash = hash.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "ds")).unwrap();
    let anchors = Anchors::parse(&fs::read_to_string(hash).unwrap()).unwrap();
    everything(&Dns::new(&[lab.server.address()], anchors).unwrap(), "good.lab.test", Dnssec::Secure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_signatures_the_answer_is_bogus() {
    let faults = [
        ("bogus.lab.test", Signing::Bogus),
        ("expired.lab.test", Signing::Expired),
        ("foreign.lab.test", Signing::ForeignKey),
        ("missing.lab.test", Signing::Missing),
    ];
    let zones: Vec<Zone> = faults.iter().map(|(name, signing)| zone(name, *signing)).collect();
    let lab = Lab::new(&zones);
    let dns = lab.dns();
    for (name, fault) in faults {
        for _ in 0..2 {
            assert_eq!(kind(dns.naptr(name).await), FailureKind::Bogus, "{fault:?}");
            assert_eq!(kind(dns.srv(&format!("_sips._tcp.{name}")).await), FailureKind::Bogus, "{fault:?}");
            assert_eq!(kind(dns.addresses(&format!("server.{name}")).await), FailureKind::Bogus, "{fault:?}");
            assert_eq!(kind(dns.a(&format!("alias.{name}")).await), FailureKind::Bogus, "{fault:?}");
            assert_eq!(kind(dns.tlsa(&format!("_5061._tcp.server.{name}")).await), FailureKind::Bogus, "{fault:?}");
            assert_eq!(kind(dns.caa(name).await), FailureKind::Bogus, "{fault:?}");
            assert_eq!(kind(dns.a(&format!("nowhere.{name}")).await), FailureKind::Bogus, "denial, {fault:?}");
        }
        let not = dns.locate(name, None).await.unwrap_err();
        assert!(matches!(not.reason, Reason::Failed(_)) && not.to_string().contains("DNSSEC validation of"), "{not}");
        assert!(not.remedy().contains("clock"), "{}", not.remedy());
    }
}

/// A resolver that validates keeps a bogus answer back (SERVFAIL), so that it looks like a server in trouble.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_validating_resolver_everything_is_what_it_is() {
    let zones = [
        zone("good.lab.test", Signing::Hashed),
        zone("plain.lab.test", Signing::Unsigned),
        zone("bogus.lab.test", Signing::Bogus),
        zone("expired.lab.test", Signing::Expired),
    ];
    let lab = Lab::new(&zones);
    let scratch = Scratch::new().unwrap();
    let resolver = DnsServer::start_resolver(scratch.path(), &lab.server).unwrap();
    let dns = Dns::new(&[resolver.address()], lab.anchors()).unwrap();
    everything(&dns, "good.lab.test", Dnssec::Secure).await;
    everything(&dns, "plain.lab.test", Dnssec::Insecure).await;
    for bogus in ["bogus.lab.test", "expired.lab.test"] {
        assert_eq!(kind(dns.naptr(bogus).await), FailureKind::Bogus, "{bogus}");
        assert_eq!(kind(dns.a(&format!("server.{bogus}")).await), FailureKind::Bogus, "{bogus}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_as_good_as_its_weaker_end() {
    let good = Zone::new("good.lab.test")
        .with("to-plain CNAME server.plain.lab.test.")
        .with("to-bogus CNAME server.bogus.lab.test.");
    let plain = zone("plain.lab.test", Signing::Unsigned).with("to-good 60 CNAME server.good.lab.test.");
    let lab = Lab::new(&[good.with("server A 127.0.0.9"), plain, zone("bogus.lab.test", Signing::Bogus)]);
    let dns = lab.dns();
    assert_eq!(records(dns.a("to-plain.good.lab.test").await, Dnssec::Insecure, 30), [ip("127.0.0.1")]);
    assert_eq!(records(dns.a("to-good.plain.lab.test").await, Dnssec::Insecure, 60), [ip("127.0.0.9")]);
    assert_eq!(kind(dns.a("to-bogus.good.lab.test").await), FailureKind::Bogus);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_pass_no_dnssec_on_are_used_without_validation() {
    let scratch = Scratch::new().unwrap();
    let zones = [zone("good.lab.test", Signing::Good)];
    let server = DnsServer::start_without_dnssec(scratch.path(), &zones).unwrap();
    for anchors in [Anchors::iana(), Anchors::parse(&fs::read_to_string(server.trust_anchor()).unwrap()).unwrap()] {
        let dns = Dns::new(&[server.address()], anchors).unwrap();
        everything(&dns, "good.lab.test", Dnssec::Indeterminate).await;
    }
}

/// Carries questions to one server or the other.
struct Switch {
    address: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
}

impl Switch {
    fn to(first: SocketAddr) -> Switch {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (address, to) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(first)));
        let server = Arc::clone(&to);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
                upstream.send_to(&buffer[..length], *server.lock().unwrap()).unwrap();
                let length = upstream.recv(&mut buffer).unwrap();
                socket.send_to(&buffer[..length], from).unwrap();
            }
        });
        Switch { address, to }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_answers_were_validated_they_always_have_to_be() {
    let zones = [zone("good.lab.test", Signing::Good)];
    let lab = Lab::new(&zones);
    let scratch = Scratch::new().unwrap();
    let stripping = DnsServer::start_without_dnssec(scratch.path(), &zones).unwrap();
    let switch = Switch::to(lab.server.address());
    let dns = Dns::new(&[switch.address], lab.anchors()).unwrap();
    assert_eq!(records(dns.a("server.good.lab.test").await, Dnssec::Secure, 30), [ip("127.0.0.1")]);
    *switch.to.lock().unwrap() = stripping.address();
    assert_eq!(kind(dns.aaaa("server.good.lab.test").await), FailureKind::Bogus);
    assert_eq!(kind(dns.srv("_sips._tcp.good.lab.test").await), FailureKind::Bogus);
    assert_eq!(kind(dns.naptr("server.good.lab.test").await), FailureKind::Bogus, "that there is nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_pass_it_on_below_another_root_are_not_believed() {
    let lab = Lab::new(&[zone("good.lab.test", Signing::Good), zone("plain.lab.test", Signing::Unsigned)]);
    let dns = Dns::new(&[lab.server.address()], Anchors::iana()).unwrap();
    assert_eq!(kind(dns.a("server.good.lab.test").await), FailureKind::Bogus);
    assert_eq!(kind(dns.a("server.plain.lab.test").await), FailureKind::Bogus);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_anchor_covers_is_indeterminate() {
    let lab = Lab::new(&[zone("good.lab.test", Signing::Good), zone("plain.lab.test", Signing::Unsigned)]);
    let directory = lab.server.trust_anchor().parent().unwrap();
    let key = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let key = key.into_iter().find(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        name.starts_with("Kgood.") && name.ends_with(".key")
    });
    let anchors = Anchors::parse(&fs::read_to_string(key.unwrap()).unwrap()).unwrap();
    let dns = Dns::new(&[lab.server.address()], anchors).unwrap();
    everything(&dns, "good.lab.test", Dnssec::Secure).await;
    everything(&dns, "plain.lab.test", Dnssec::Indeterminate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_as_long_as_their_ttl_says() {
    let scratch = Scratch::new().unwrap();
    let mut lab = DnsServer::start(scratch.path(), &[Zone::new("good.lab.test").with("a 2 A 127.0.0.1")]).unwrap();
    let anchors = Anchors::parse(&fs::read_to_string(lab.trust_anchor()).unwrap()).unwrap();
    let dns = Dns::new(&[lab.address()], anchors).unwrap();
    assert!(dns.a("a.good.lab.test").await.is_ok());
    lab.stop();
    let kept = dns.a("a.good.lab.test").await;
    assert!(kept.is_ok(), "within its two seconds, without a server: {kept:?}");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let gone = dns.a("a.good.lab.test").await;
    assert!(gone.is_err(), "after its two seconds: {gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_a_silent_one_and_no_name_are_told_apart() {
    let silent = SilentDnsServer::start().unwrap();
    let dns = Dns::new(&[silent.address().unwrap()], Anchors::iana()).unwrap();
    let start = Instant::now();
    let failure = dns.a("sip.example.org").await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Silent(_)), "{failure}");
    assert!(failure.to_string().starts_with("no DNS server answered within"), "{failure}");
    assert!(failure.remedy().contains("[dns] servers"));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dns = Dns::new(&[closed], Anchors::iana()).unwrap();
    let start = Instant::now();
    let failure = dns.a("sip.example.org").await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Unreachable(_)), "{failure}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    for bad in ["a..b", &"x".repeat(64), ""] {
        assert_eq!(kind(dns.a(bad).await), FailureKind::NoName, "{bad}");
    }
    // a live one beside it makes up for it
    let lab = Lab::new(&[zone("good.lab.test", Signing::Good)]);
    let servers: Vec<SocketAddr> = vec![silent.address().unwrap(), lab.server.address()];
    let dns = Dns::new(&servers, lab.anchors()).unwrap();
    let start = Instant::now();
    assert_eq!(records(dns.a("server.good.lab.test").await, Dnssec::Secure, 30), [ip("127.0.0.1")]);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_this_machine_need_no_server() {
    let silent = SilentDnsServer::start().unwrap();
    let dns = Dns::new(&[silent.address().unwrap()], Anchors::iana()).unwrap();
    let start = Instant::now();
    let local = dns.addresses("localhost").await.unwrap();
    assert!(local.records.contains(&ip("127.0.0.1")), "{local:?}");
    assert_eq!(dns.addresses("[::1]").await.unwrap().records, [ip("::1")]);
    let located = dns.locate("localhost", None).await.unwrap();
    assert_eq!((located.way, located.targets[0].port), (Way::HostsFile, 5061));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_located_with_all_that_led_there() {
    let lab = Lab::new(&[zone("good.lab.test", Signing::Good), zone("plain.lab.test", Signing::Unsigned)]);
    let dns = lab.dns();
    let located = dns.locate("good.lab.test", None).await.unwrap();
    assert_eq!((located.way, located.dnssec, located.asked.len()), (Way::Naptr, Some(Dnssec::Secure), 3));
    assert_eq!(located.targets[0].addresses, [ip("::1"), ip("127.0.0.1")]);
    let located = dns.locate("plain.lab.test", None).await.unwrap();
    assert_eq!((located.way, located.dnssec), (Way::Naptr, Some(Dnssec::Insecure)));
    let located = dns.locate("server.good.lab.test", Some(5071)).await.unwrap();
    assert_eq!((located.way, located.targets[0].port, located.asked.len()), (Way::Port, 5071, 1));
    let not = dns.locate("nowhere.good.lab.test", None).await.unwrap_err();
    assert_eq!(not.to_string(), "there is no nowhere.good.lab.test in DNS");
}
