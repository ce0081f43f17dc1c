//! A table in place of DNS: what is asked, in which order servers come out, and that nothing without TLS ever does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A sequence that is the same in every run.
struct Seeded(u64);

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// DNS: what is not in it does not exist.
#[derive(Default)]
struct Table {
    naptr: HashMap<String, Lookup<Naptr>>,
    srv: HashMap<String, Lookup<Srv>>,
    addresses: HashMap<String, Lookup<IpAddr>>,
}

fn answer<T>(records: Vec<T>, dnssec: Dnssec) -> Answer<T> {
    let name_exists = !records.is_empty();
    Answer { records, dnssec, ttl: Duration::from_secs(60), name_exists }
}

fn failure(kind: FailureKind) -> Failure {
    Failure { question: "the records of a name".to_owned(), kind }
}

fn naptr(order: u16, preference: u16, services: &str, replacement: &str) -> Naptr {
    let (flags, regexp) = ("s".to_owned(), String::new());
    Naptr { order, preference, flags, services: services.into(), regexp, replacement: replacement.into() }
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
    Srv { priority, weight, port, target: target.into() }
}

impl Table {
    fn naptr(mut self, name: &str, records: Vec<Naptr>) -> Self {
        self.naptr.insert(name.into(), Ok(answer(records, Dnssec::Secure)));
        self
    }

    fn srv(mut self, name: &str, records: Vec<Srv>) -> Self {
        self.srv.insert(name.into(), Ok(answer(records, Dnssec::Secure)));
        self
    }

    fn host(self, name: &str, address: &str) -> Self {
        self.host_that_is(name, address, Dnssec::Secure)
    }

    fn host_that_is(mut self, name: &str, address: &str, dnssec: Dnssec) -> Self {
        self.addresses.insert(name.into(), Ok(answer(vec![address.parse().unwrap()], dnssec)));
        self
    }

    fn reply(&self, question: &Question) -> Reply {
        let nothing = || Dnssec::Secure;
        match question {
            Question::Naptr(name) => {
                Reply::Naptr(self.naptr.get(name).cloned().unwrap_or_else(|| Ok(answer(vec![], nothing()))))
            }
            Question::Srv(name) => {
                Reply::Srv(self.srv.get(name).cloned().unwrap_or_else(|| Ok(answer(vec![], nothing()))))
            }
            Question::Addresses(name) => {
                Reply::Addresses(self.addresses.get(name).cloned().unwrap_or_else(|| Ok(answer(vec![], nothing()))))
            }
        }
    }

    fn locate_with(&self, host: &str, port: Option<u16>, random: &mut dyn Random) -> Result<Located, NotLocated> {
        let mut locator = Locator::new(host, port);
        for _ in 0..2 + MOST_RULES + 1 {
            match locator.step() {
                Step::Done(result) => return result,
                Step::Ask(questions) => {
                    let replies = questions.iter().map(|question| self.reply(question)).collect();
                    locator.answered(replies, random);
                }
            }
        }
        match locator.step() {
            Step::Done(result) => result,
            Step::Ask(more) => panic!("it never ends: {more:?}"),
        }
    }

    fn locate(&self, host: &str, port: Option<u16>) -> Result<Located, NotLocated> {
        self.locate_with(host, port, &mut Seeded(1))
    }

    fn found(&self, host: &str, port: Option<u16>) -> (Vec<(String, u16)>, Way) {
        let located = self.locate(host, port).unwrap();
        (located.targets.iter().map(|target| (target.name.clone(), target.port)).collect(), located.way)
    }

    fn refused(&self, host: &str) -> Reason {
        self.locate(host, None).unwrap_err().reason
    }
}

fn asked(result: &Result<Located, NotLocated>) -> Vec<String> {
    let asked = match result {
        Ok(located) => &located.asked,
        Err(not) => &not.asked,
    };
    asked.iter().map(|(question, _)| question.to_string()).collect()
}

fn one(name: &str, port: u16) -> Vec<(String, u16)> {
    vec![(name.to_owned(), port)]
}

#[test]
fn an_address_needs_no_question() {
    for (host, port, wanted) in [("192.0.2.1", None, 5061), ("2001:db8::1", Some(443), 443)] {
        let located = Table::default().locate(host, port).unwrap();
        assert_eq!((located.way, located.dnssec, located.asked.len()), (Way::Literal, None, 0));
        assert_eq!(
            located.targets,
            [Target { name: host.into(), port: wanted, addresses: vec![host.parse().unwrap()] }]
        );
    }
}

#[test]
fn an_explicit_port_asks_for_addresses_alone() {
    let table = Table::default()
        .host("example.org", "192.0.2.1")
        .srv("_sips._tcp.example.org", vec![srv(0, 0, 5061, "elsewhere.example.org")]);
    let result = table.locate("Example.ORG.", Some(5071));
    assert_eq!(asked(&result), ["the addresses of example.org"]);
    assert_eq!(table.found("example.org", Some(5071)), (one("example.org", 5071), Way::Port));
    let five_thousand_sixty = table.found("example.org", Some(5060));
    assert_eq!(five_thousand_sixty, (one("example.org", 5060), Way::Port), "the operator's port, still with TLS");
}

#[test]
fn naptr_leads_to_srv_and_to_addresses_in_another_domain_too() {
    let table = Table::default()
        .naptr(
            "example.org",
            vec![
                naptr(10, 1, "SIP+D2U", "_sip._udp.example.org"),
                naptr(50, 9, "sips+d2t", "_sips._tcp.second.example"),
                naptr(50, 5, "SIPS+D2T", "_sips._tcp.provider.example"),
            ],
        )
        .srv(
            "_sips._tcp.provider.example",
            vec![srv(2, 0, 5061, "b.provider.example"), srv(1, 0, 443, "a.provider.example")],
        )
        .srv("_sips._tcp.example.org", vec![srv(0, 0, 5061, "wrong.example.org")])
        .host("a.provider.example", "192.0.2.1")
        .host("b.provider.example", "192.0.2.2");
    let result = table.locate("example.org", None);
    assert_eq!(
        asked(&result),
        [
            "the NAPTR records of example.org",
            "the SRV records of _sips._tcp.provider.example",
            "the addresses of a.provider.example",
            "the addresses of b.provider.example"
        ]
    );
    let wanted = [("a.provider.example".to_owned(), 443), ("b.provider.example".to_owned(), 5061)];
    assert_eq!(table.found("example.org", None), (wanted.to_vec(), Way::Naptr));
}

#[test]
fn the_next_rule_is_followed_when_the_first_has_no_servers_and_at_last_the_service_itself() {
    let table = Table::default()
        .naptr("example.org", vec![naptr(1, 1, "SIPS+D2T", "_sips._tcp.a"), naptr(2, 1, "SIPS+D2T", "_sips._tcp.b")])
        .srv("_sips._tcp.b", vec![srv(0, 0, 5061, "b.example")])
        .host("b.example", "192.0.2.2");
    assert_eq!(table.found("example.org", None), (one("b.example", 5061), Way::Naptr));
    let table = Table::default()
        .naptr("example.org", vec![naptr(1, 1, "SIPS+D2T", "_sips._tcp.a")])
        .srv("_sips._tcp.example.org", vec![srv(0, 0, 5061, "own.example")])
        .host("own.example", "192.0.2.2");
    assert_eq!(table.found("example.org", None), (one("own.example", 5061), Way::Srv));
}

#[test]
fn rules_that_rfc_3263_does_not_know_are_not_followed() {
    let odd = |change: fn(&mut Naptr)| {
        let mut rule = naptr(1, 1, "SIPS+D2T", "_sips._tcp.trap.example");
        change(&mut rule);
        rule
    };
    let rules = vec![
        odd(|rule| rule.flags = "u".into()),
        odd(|rule| rule.flags = "a".into()),
        odd(|rule| rule.flags.clear()),
        odd(|rule| rule.regexp = "!.*!sip:trap.example!".into()),
        odd(|rule| rule.services = "SIPS+D2U".into()),
        odd(|rule| rule.services = "SIPS+D2S".into()),
        odd(|rule| rule.services = "SIP+D2T".into()),
        odd(|rule| rule.services = "E2U+sip".into()),
        odd(|rule| rule.replacement.clear()),
        odd(|rule| rule.replacement = "a b.example".into()),
    ];
    let table = Table::default()
        .naptr("example.org", rules)
        .srv("_sips._tcp.trap.example", vec![srv(0, 0, 5061, "trap.example")])
        .host("trap.example", "192.0.2.66")
        .srv("_sips._tcp.example.org", vec![srv(0, 0, 5061, "own.example")])
        .host("own.example", "192.0.2.1");
    assert_eq!(table.found("example.org", None), (one("own.example", 5061), Way::Srv));
}

#[test]
fn a_domain_with_udp_only_is_tried_with_tls_on_the_default_port_never_in_clear() {
    let table = Table::default()
        .naptr("example.org", vec![naptr(1, 1, "SIP+D2U", "_sip._udp.example.org")])
        .srv("_sip._udp.example.org", vec![srv(0, 0, 5060, "udp.example.org")])
        .srv("_sip._tcp.example.org", vec![srv(0, 0, 5060, "tcp.example.org")])
        .host("udp.example.org", "192.0.2.1")
        .host("example.org", "192.0.2.2");
    let result = table.locate("example.org", None);
    assert_eq!(table.found("example.org", None), (one("example.org", 5061), Way::DefaultPort));
    let questions = [
        "the NAPTR records of example.org",
        "the SRV records of _sips._tcp.example.org",
        "the addresses of example.org",
    ];
    assert_eq!(asked(&result), questions);
    let (_, Reply::Naptr(Ok(kept))) = &result.unwrap().asked[0] else { panic!("not kept") };
    assert_eq!(kept.records[0].services, "SIP+D2U", "for a report");
}

#[test]
fn a_service_that_is_decidedly_not_available_is_not_looked_for_elsewhere() {
    let none = || vec![srv(0, 0, 0, "")];
    let direct = Table::default().srv("_sips._tcp.example.org", none()).host("example.org", "192.0.2.1");
    assert_eq!(direct.refused("example.org"), Reason::NotOffered("_sips._tcp.example.org".into()));
    let rules = vec![naptr(1, 1, "SIPS+D2T", "_sips._tcp.x"), naptr(2, 1, "SIPS+D2T", "_sips._tcp.y")];
    let by_rule = Table::default().naptr("example.org", rules).srv("_sips._tcp.x", none());
    assert_eq!(by_rule.refused("example.org"), Reason::NotOffered("_sips._tcp.x".into()));
    // beside others the root is only a server that does not exist
    let beside = vec![srv(0, 0, 5061, ""), srv(1, 0, 5061, "a.example")];
    let table = Table::default().srv("_sips._tcp.example.org", beside).host("a.example", "192.0.2.1");
    assert_eq!(table.found("example.org", None), (one("a.example", 5061), Way::Srv));
}

#[test]
fn useless_srv_records_are_an_error_of_their_own() {
    let useless = vec![srv(0, 0, 0, "a.example"), srv(0, 0, 5061, "a b"), srv(0, 0, 5061, "a..b"), srv(0, 0, 1, "")];
    let table = Table::default().srv("_sips._tcp.example.org", useless).host("example.org", "192.0.2.1");
    assert_eq!(table.refused("example.org"), Reason::NoUsableServer("_sips._tcp.example.org".into()));
}

#[test]
fn a_bogus_answer_ends_the_search_wherever_it_comes() {
    let bogus = || failure(FailureKind::Bogus);
    let fallback = || Table::default().host("example.org", "192.0.2.1");
    let mut table = fallback().srv("_sips._tcp.example.org", vec![srv(0, 0, 5061, "example.org")]);
    table.naptr.insert("example.org".into(), Err(bogus()));
    assert_eq!(table.refused("example.org"), Reason::Failed(bogus()), "NAPTR");
    let mut table = fallback();
    table.srv.insert("_sips._tcp.example.org".into(), Err(bogus()));
    assert_eq!(table.refused("example.org"), Reason::Failed(bogus()), "SRV");
    let mut table = Table::default();
    table.addresses.insert("example.org".into(), Err(bogus()));
    assert_eq!(table.refused("example.org"), Reason::Failed(bogus()), "A");
    assert!(table.locate("example.org", None).unwrap_err().to_string().contains("DNSSEC validation"));
}

#[test]
fn one_server_with_a_bogus_or_missing_address_does_not_hide_the_others() {
    let servers = vec![srv(0, 0, 5061, "a.example"), srv(1, 0, 5061, "b.example"), srv(2, 0, 5061, "c.example")];
    let mut table = Table::default().srv("_sips._tcp.example.org", servers.clone()).host("c.example", "192.0.2.3");
    table.addresses.insert("a.example".into(), Err(failure(FailureKind::Bogus)));
    assert_eq!(table.found("example.org", None), (one("c.example", 5061), Way::Srv));
    table.addresses.remove("c.example");
    assert_eq!(table.refused("example.org"), Reason::Failed(failure(FailureKind::Bogus)), "the gravest of the reasons");
    let table = Table::default().srv("_sips._tcp.example.org", servers);
    assert_eq!(
        table.refused("example.org"),
        Reason::NoAddress(["a.example", "b.example", "c.example"].map(str::to_owned).to_vec())
    );
}

#[test]
fn a_server_that_knows_no_naptr_is_asked_for_srv_and_one_that_fails_at_srv_is_not_believed() {
    for kind in [FailureKind::Refused("Not Implemented".into()), FailureKind::Silent(8)] {
        let mut table = Table::default()
            .srv("_sips._tcp.example.org", vec![srv(0, 0, 5061, "a.example")])
            .host("a.example", "192.0.2.1")
            .host("example.org", "192.0.2.2");
        table.naptr.insert("example.org".into(), Err(failure(kind.clone())));
        let located = table.locate("example.org", None).unwrap();
        assert_eq!((located.way, located.dnssec), (Way::Srv, Some(Dnssec::Indeterminate)));
        table.srv.insert("_sips._tcp.example.org".into(), Err(failure(kind.clone())));
        assert_eq!(table.refused("example.org"), Reason::Failed(failure(kind)), "not the default port instead");
    }
}

#[test]
fn a_name_that_does_not_exist_is_told_from_one_without_an_address() {
    let no_such = Table::default().refused("example.org");
    assert_eq!(no_such, Reason::NoSuchName("example.org".into()));
    let mut table = Table::default();
    let empty = Answer { records: vec![], dnssec: Dnssec::Secure, ttl: Duration::ZERO, name_exists: true };
    table.addresses.insert("example.org".into(), Ok(empty));
    assert_eq!(table.refused("example.org"), Reason::NoAddress(vec!["example.org".into()]));
}

#[test]
fn the_weakest_answer_counts_also_one_that_there_is_nothing() {
    let mut table = Table::default().srv("_sips._tcp.example.org", vec![srv(0, 0, 5061, "a.example")]).host_that_is(
        "a.example",
        "192.0.2.1",
        Dnssec::Secure,
    );
    assert_eq!(table.locate("example.org", None).unwrap().dnssec, Some(Dnssec::Secure));
    table.naptr.insert("example.org".into(), Ok(answer(vec![], Dnssec::Insecure)));
    assert_eq!(table.locate("example.org", None).unwrap().dnssec, Some(Dnssec::Insecure));
    let table = table.host_that_is("a.example", "192.0.2.1", Dnssec::Indeterminate);
    assert_eq!(table.locate("example.org", None).unwrap().dnssec, Some(Dnssec::Indeterminate));
}

#[test]
fn addresses_that_no_host_has_are_left_out_and_none_is_tried_twice() {
    let mut table = Table::default();
    let addresses = ["0.0.0.0", "224.0.0.1", "::", "ff02::1", "192.0.2.1", "192.0.2.1", "2001:db8::1"];
    let addresses = addresses.map(|address| address.parse().unwrap()).to_vec();
    table.addresses.insert("example.org".into(), Ok(answer(addresses, Dnssec::Secure)));
    let located = table.locate("example.org", Some(5061)).unwrap();
    assert_eq!(located.targets[0].addresses, ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
}

#[test]
fn both_families_make_up_for_each_other_but_not_for_nothing() {
    let some = |address: &str, dnssec| Ok(answer(vec![address.parse::<IpAddr>().unwrap()], dnssec));
    let none = || Ok(answer(vec![], Dnssec::Secure));
    let bogus = || Err(failure(FailureKind::Bogus));
    let silent = || Err(failure(FailureKind::Silent(8)));
    let both = both_families(some("::1", Dnssec::Secure), some("127.0.0.1", Dnssec::Insecure)).unwrap();
    assert_eq!((both.records.len(), both.dnssec), (2, Dnssec::Insecure));
    assert_eq!(both_families(silent(), some("127.0.0.1", Dnssec::Secure)).unwrap().records.len(), 1);
    assert_eq!(both_families(some("::1", Dnssec::Secure), bogus()).unwrap().records.len(), 1);
    assert_eq!(both_families(none(), bogus()), bogus());
    assert_eq!(both_families(silent(), none()), silent(), "it may have an address for all we know");
    assert_eq!(both_families(bogus(), silent()), bogus());
    assert_eq!(both_families(silent(), bogus()), bogus());
    assert_eq!(both_families(none(), none()).unwrap().ttl, Duration::ZERO);
}

#[test]
fn weights_share_the_calls_as_rfc_2782_says() {
    let records = [srv(0, 10, 1, "a.x"), srv(0, 20, 1, "b.x"), srv(0, 70, 1, "c.x"), srv(0, 0, 1, "d.x")];
    let mut random = Seeded(7);
    let mut first: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..10_000 {
        let order = order::servers(&records, &mut random);
        assert_eq!(order.len(), 4);
        *first.entry(order[0].0.clone()).or_default() += 1;
    }
    // of the numbers 0 to 100: 0 falls to the weightless one, then 10, 20 and 70 of them
    for (name, share) in [("a.x", 10), ("b.x", 20), ("c.x", 70), ("d.x", 1)] {
        let wanted = share * 10_000 / 101;
        let got = first.get(name).copied().unwrap_or_default();
        assert!(got.abs_diff(wanted) < 200, "{name}: {got} times first, not about {wanted}");
        assert!(got > 0, "{name} never");
    }
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("example.org".to_owned()),
        "(_sips\\._tcp\\.)?[a-d]\\.example",
        "\\PC{0,80}",
        Just("x.".repeat(200)),
    ]
}

fn lookups<T: Clone + std::fmt::Debug + 'static>(record: impl Strategy<Value = T>) -> impl Strategy<Value = Lookup<T>> {
    let failures = prop_oneof![Just(FailureKind::Bogus), Just(FailureKind::Silent(8)), Just(FailureKind::NoName)];
    let dnssec = prop_oneof![Just(Dnssec::Secure), Just(Dnssec::Insecure), Just(Dnssec::Indeterminate)];
    let fine = (proptest::collection::vec(record, 0..40), dnssec).prop_map(|(records, dnssec)| answer(records, dnssec));
    prop_oneof![6 => fine.prop_map(Ok), 1 => failures.prop_map(|kind| Err(failure(kind)))]
}

fn rules() -> impl Strategy<Value = Naptr> {
    let services = prop_oneof![Just("SIPS+D2T"), Just("SIP+D2T"), Just("SIP+D2U"), Just("SIPS+D2U"), Just("")];
    let flags = prop_oneof![3 => Just("s"), 1 => Just("u"), 1 => Just("")];
    (any::<u16>(), any::<u16>(), services, flags, names()).prop_map(|(order, preference, services, flags, name)| {
        Naptr { flags: flags.into(), ..naptr(order, preference, services, &name) }
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    let srvs = (0..4u16, any::<u16>(), any::<u16>(), names()).prop_map(|(p, w, port, name)| srv(p, w, port, &name));
    prop_oneof![
        lookups(rules()).prop_map(Reply::Naptr),
        lookups(srvs).prop_map(Reply::Srv),
        lookups(any::<IpAddr>()).prop_map(Reply::Addresses),
    ]
}

proptest! {
    /// Whatever is answered to whatever question, the search ends soon, with a bounded number of sane servers.
    #[test]
    fn any_answers_lead_to_an_end(replies in proptest::collection::vec(proptest::collection::vec(reply(), 0..20), 10), seed: u64) {
        let mut locator = Locator::new("example.org", None);
        let mut random = Seeded(seed);
        for replies in replies {
            if let Step::Ask(questions) = locator.step() {
                prop_assert!(questions.len() <= MOST_TARGETS && !questions.is_empty());
                for question in &questions {
                    let (Question::Naptr(name) | Question::Srv(name) | Question::Addresses(name)) = question;
                    prop_assert!(order::is_host(name), "{question} is asked for");
                }
                locator.answered(replies, &mut random);
            }
        }
        let Step::Done(result) = locator.step() else { return Err(TestCaseError::fail("no end")) };
        if let Ok(located) = result {
            prop_assert!(!located.targets.is_empty() && located.targets.len() <= MOST_TARGETS);
            for target in located.targets {
                prop_assert!(target.port != 0 && !target.addresses.is_empty() && target.addresses.len() <= MOST_ADDRESSES);
            }
        }
    }

    /// No name of a service without TLS is ever asked for, unless the operator or `SIPS+D2T` names it.
    #[test]
    fn only_rules_for_tls_are_steps(rules in proptest::collection::vec(rules(), 0..30)) {
        let steps = order::tls_services(&rules, MOST_RULES);
        prop_assert!(steps.len() <= MOST_RULES);
        for step in &steps {
            prop_assert!(rules.iter().any(|rule| rule.replacement == *step && rule.services == "SIPS+D2T" && rule.flags == "s"));
        }
        let rank = |name: &String| {
            let of_name = rules.iter().filter(|rule| rule.replacement == *name && rule.services == "SIPS+D2T" && rule.flags == "s");
            of_name.map(|rule| (rule.order, rule.preference)).min()
        };
        prop_assert!(steps.windows(2).all(|pair| rank(&pair[0]) <= rank(&pair[1])));
    }

    /// Every server comes out once, in the order of the priorities, whatever the weights and the dice.
    #[test]
    fn servers_come_out_once_and_by_priority(records in proptest::collection::vec((0..5u16, any::<u16>()), 0..40), seed: u64) {
        let name = |at: usize| format!("s{at}.example");
        let records: Vec<Srv> = records.iter().enumerate().map(|(at, (p, w))| srv(*p, *w, 5061, &name(at))).collect();
        let order = order::servers(&records, &mut Seeded(seed));
        prop_assert_eq!(order.len(), records.len());
        let priority = |server: &(String, u16)| records.iter().find(|srv| srv.target == server.0).map(|srv| srv.priority);
        prop_assert!(order.windows(2).all(|pair| priority(&pair[0]) <= priority(&pair[1])));
        let mut sorted: Vec<_> = order.clone();
        sorted.sort();
        sorted.dedup();
        prop_assert_eq!(sorted.len(), order.len());
    }
}
