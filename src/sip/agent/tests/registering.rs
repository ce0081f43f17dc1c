use super::world::*;
use crate::sip::agent::*;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a response to a SHA-256 challenge with qop=auth, by a computation of its own.
fn is_right_sha_256(request: &Request) -> bool {
    use sha2::Digest;
    let hash = |text: String| hex(&sha2::Sha256::digest(text.as_bytes()));
    let Some(value) = request.headers.get("Authorization") else { return false };
    let part = |name: &str| {
        let start = value.find(&format!(" {name}=")).unwrap() + name.len() + 2;
        value[start..].split(',').next().unwrap().trim_matches('"').to_owned()
    };
    let ha1 = hash("gateway:example.org:open sesame".to_owned());
    let ha2 = hash(format!("REGISTER:{}", request.uri));
    let expected = hash(format!("{ha1}:{}:{}:{}:auth:{ha2}", part("nonce"), part("nc"), part("cnonce")));
    assert_eq!(
        (part("username"), part("realm"), part("algorithm")),
        ("gateway".into(), "example.org".into(), "SHA-256".into())
    );
    part("response") == expected
}

/// World with a registrar that was changed before the first REGISTER reached it.
fn world(change: impl FnOnce(&mut Registrar)) -> World {
    let mut world = World::new(7);
    change(&mut world.registrar);
    world.run(MOMENT);
    world
}

fn failure(event: &Event) -> (Option<u16>, String, Duration) {
    match event {
        Event::RegistrationFailed { status, hint, retry_in, .. } => (*status, hint.clone(), retry_in.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_challenge_with_md5_and_sha_256_is_answered_with_sha_256_and_the_binding_is_ours() {
    let mut world = world(|registrar| {
        registrar.challenges = vec![
            "Digest realm=\"example.org\", nonce=\"n1\", qop=\"auth\"".to_owned(),
            "Digest realm=\"example.org\", nonce=\"n2\", qop=\"auth\", algorithm=SHA-256".to_owned(),
        ];
        registrar.check = is_right_sha_256;
    });
    let expires = Duration::from_secs(600);
    assert_eq!(world.take(GATEWAY), [Event::Registered { expires, gruu: None }], "not the 17 s of another device");
    let registers = world.requests(GATEWAY, "REGISTER");
    assert_eq!(registers.len(), 2);
    let headers = &registers[1].headers;
    assert_eq!(registers[1].uri.to_string(), "sip:example.org");
    assert_eq!(
        headers.get("Contact"),
        Some(
            "<sip:gateway@192.0.2.1:40001;transport=tls>;\
             +sip.instance=\"<urn:uuid:00000000-0000-4000-8000-000000000001>\";reg-id=1"
        )
    );
    assert_eq!(headers.get("Supported"), Some("outbound, gruu, path"));
    assert_eq!(headers.cseq().unwrap().number, registers[0].headers.cseq().unwrap().number + 1);
    assert_eq!(headers.call_id(), registers[0].headers.call_id());
    assert_ne!(headers.top_via().unwrap().branch(), registers[0].headers.top_via().unwrap().branch());
    assert_eq!(world.agents[GATEWAY].realm(), Some("example.org"));
}

#[test]
fn a_refresh_comes_before_the_binding_ends_and_brings_its_credentials_along() {
    let mut world = world(|registrar| {
        registrar.challenges =
            vec!["Digest realm=\"example.org\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256".to_owned()];
        registrar.check = is_right_sha_256;
    });
    world.run(Duration::from_secs(440));
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 2, "not much too early");
    world.run(Duration::from_secs(75));
    let registers = world.requests(GATEWAY, "REGISTER");
    assert_eq!(registers.len(), 3, "at 85 % at the latest, without a challenge");
    assert!(registers[2].headers.get("Authorization").unwrap().contains("nc=00000002"));
}

#[test]
fn a_short_binding_is_refreshed_at_half_its_time() {
    let mut world = world(|registrar| registrar.binding = ";expires=60");
    world.run(Duration::from_secs(29));
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 1);
    world.run(Duration::from_secs(2));
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 2);
}

#[test]
fn a_registrar_that_names_no_binding_of_ours_has_not_registered_us() {
    let mut world = world(|registrar| registrar.binding = "x;expires=600");
    // `reg-id=1x`: another flow of the same instance.
    assert_eq!(failure(&world.take(GATEWAY)[0]).0, Some(200));
}

#[test]
fn too_brief_an_interval_is_raised_to_the_least_one() {
    let mut world = world(|registrar| registrar.refusals = vec![(423, "Min-Expires", "1800")]);
    assert!(matches!(world.take(GATEWAY)[..], [Event::Registered { .. }]));
    assert_eq!(world.requests(GATEWAY, "REGISTER")[1].headers.expires(), Some(1800));
}

#[test]
fn a_registrar_that_keeps_raising_the_interval_is_left_alone_after_three_times() {
    let raises = [(423, "Min-Expires", "601"), (423, "Min-Expires", "602"), (423, "Min-Expires", "603")];
    let mut world = world(|registrar| {
        registrar.refusals = raises.into_iter().chain([(423, "Min-Expires", "604")]).collect();
    });
    assert_eq!(failure(&world.take(GATEWAY)[0]).0, Some(423));
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 4);
}

#[test]
fn a_first_hop_without_outbound_gets_no_reg_id() {
    let mut world = world(|registrar| registrar.refusals = vec![(439, "X", "y")]);
    assert!(matches!(world.take(GATEWAY)[..], [Event::Registered { .. }]));
    let contacts: Vec<bool> = world
        .requests(GATEWAY, "REGISTER")
        .iter()
        .map(|register| register.headers.get("Contact").unwrap().contains("reg-id"))
        .collect();
    assert_eq!(contacts, [true, false]);
}

#[test]
fn a_no_is_asked_again_at_most_three_times_an_hour_even_over_new_flows() {
    let mut world = world(|registrar| registrar.refusals = vec![(403, "X", "y"); 1000]);
    let (status, hint, retry_in) = failure(&world.take(GATEWAY)[0]);
    assert_eq!(status, Some(403));
    assert!(hint.contains("password") && retry_in >= 20 * MINUTE, "{hint} {retry_in:?}");
    for _ in 0..118 {
        world.run(Duration::from_secs(30));
        world.disconnect(GATEWAY);
        world.connect(GATEWAY);
    }
    assert!((2..=3).contains(&world.requests(GATEWAY, "REGISTER").len()));
}

#[test]
fn retry_after_is_respected_even_over_a_new_flow() {
    let mut world = world(|registrar| registrar.refusals = vec![(503, "Retry-After", "300 (later);duration=60")]);
    assert_eq!(failure(&world.take(GATEWAY)[0]).2, Duration::from_secs(300));
    world.disconnect(GATEWAY);
    world.connect(GATEWAY);
    world.run(Duration::from_secs(298));
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 1);
    world.run(Duration::from_secs(3));
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 2);
}

#[test]
fn pauses_double_with_jitter_up_to_half_an_hour() {
    let mut world = world(|registrar| registrar.refusals = vec![(500, "X", "y"); 10]);
    world.run(6 * 60 * MINUTE);
    let pauses: Vec<Duration> = world.take(GATEWAY).iter().take(9).map(|event| failure(event).2).collect();
    for (index, pause) in pauses.iter().enumerate() {
        let whole = Duration::from_secs(30 << index.min(6)).min(Duration::from_secs(1800));
        assert!(*pause >= whole / 2 && *pause <= whole, "{index}: {pauses:?}");
    }
}

#[test]
fn a_wrong_password_is_sent_once_and_the_operator_is_told() {
    let mut world = world(|registrar| {
        registrar.challenges = vec!["Digest realm=\"example.org\", nonce=\"n\"".to_owned()];
        registrar.check = |_| false;
    });
    let (status, hint, retry_in) = failure(&world.take(GATEWAY)[0]);
    assert!(status == Some(401) && hint.contains("password") && retry_in >= 20 * MINUTE);
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 2);
}

#[test]
fn another_password_is_tried_at_once_and_one_that_was_right_is_left_in_peace() {
    let challenge = "Digest realm=\"example.org\", nonce=\"n1\", qop=\"auth\"".to_owned();
    let mut world = world(|registrar| {
        registrar.challenges = vec![challenge.clone()];
        registrar.check = |_| false;
    });
    let before = world.requests(GATEWAY, "REGISTER").len();
    world.registrar.check = |request| request.headers.get("Authorization").is_some();
    world.run(MOMENT);
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), before, "it waits");
    let now = world.now;
    world.agents[GATEWAY].change_password(now, Password::Plain("right".into()));
    world.run(MOMENT);
    assert!(world.take(GATEWAY).iter().any(|event| matches!(event, Event::Registered { .. })));
    let registered = world.requests(GATEWAY, "REGISTER").len();
    let now = world.now;
    world.agents[GATEWAY].change_password(now, Password::Plain("another".into()));
    world.run(MOMENT);
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), registered, "the binding holds");
}

#[test]
fn a_login_that_is_not_supported_breaks_a_rule_of_policy() {
    for challenge in ["Basic realm=\"example.org\"", "Digest realm=\"example.org\", nonce=\"n\", algorithm=SHA-3"] {
        let mut world = world(|registrar| {
            registrar.challenges = vec![challenge.to_owned()];
            registrar.check = |_| false;
        });
        let [Event::RegistrationFailed { status, rule, .. }] = world.take(GATEWAY)[..] else { panic!("{challenge}") };
        assert_eq!((status, rule), (Some(401), Some(Rule::LoginScheme)));
        let registers = world.requests(GATEWAY, "REGISTER");
        assert!(registers.iter().all(|register| register.headers.get("Authorization").is_none()));
    }
}

#[test]
fn stale_nonces_are_answered_twice_and_not_for_ever() {
    let mut world = world(|registrar| {
        registrar.challenges = vec!["Digest realm=\"example.org\", nonce=\"n\", stale=true".to_owned()];
        registrar.check = |_| false;
    });
    assert_eq!(failure(&world.take(GATEWAY)[0]).0, Some(401));
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 3);
}

#[test]
fn another_realm_is_refused_and_the_remedy_named() {
    let mut world = world(|registrar| {
        registrar.challenges = vec!["Digest realm=\"example.org\", nonce=\"n\"".to_owned()];
    });
    assert!(matches!(world.take(GATEWAY)[..], [Event::Registered { .. }]));
    world.registrar.challenges = vec!["Digest realm=\"evil.example\", nonce=\"n\"".to_owned()];
    world.registrar.check = |_| false;
    world.sent.clear();
    world.run(9 * MINUTE);
    let (_, hint, _) = failure(&world.take(GATEWAY)[0]);
    assert!(hint.contains("realm = \"evil.example\""), "{hint}");
    let registers = world.requests(GATEWAY, "REGISTER");
    assert!(registers.iter().all(|request| !request.headers.get("Authorization").unwrap().contains("evil")));
}

#[test]
fn no_credentials_go_out_before_a_challenge() {
    let world = world(|_| {});
    assert_eq!(world.requests(GATEWAY, "REGISTER")[0].headers.get("Authorization"), None);
}

#[test]
fn the_next_nonce_of_a_200_saves_the_next_challenge() {
    let mut world = world(|registrar| {
        registrar.challenges = vec!["Digest realm=\"example.org\", nonce=\"n\", qop=\"auth\"".to_owned()];
        registrar.extra = vec![("Authentication-Info", "nextnonce=\"fresh\"")];
    });
    world.run(9 * MINUTE);
    let registers = world.requests(GATEWAY, "REGISTER");
    let value = registers[2].headers.get("Authorization").unwrap();
    assert!(value.contains("nonce=\"fresh\"") && value.contains("nc=00000001"), "{value}");
}

#[test]
fn silence_closes_the_flow() {
    let mut world = world(|registrar| registrar.silent = true);
    world.run(Duration::from_secs(31));
    assert_eq!(world.closed[GATEWAY], None);
    world.run(Duration::from_secs(2));
    assert!(world.closed[GATEWAY].as_ref().unwrap().contains("REGISTER"));
    assert_eq!(failure(&world.take(GATEWAY)[0]).0, None);
}

#[test]
fn unregistering_removes_our_own_contact_and_ends_it() {
    let mut world = World::registered(8);
    world.agents[GATEWAY].unregister(world.now);
    assert_eq!(world.take(GATEWAY), [Event::Unregistered]);
    let registers = world.requests(GATEWAY, "REGISTER");
    let headers = &registers[0].headers;
    assert_eq!(headers.expires(), Some(0));
    assert!(headers.get("Contact").unwrap().starts_with("<sip:gateway@192.0.2.1:40001;transport=tls>"));
    assert!(headers.get("Contact").unwrap().ends_with(";expires=0"));
    world.run(60 * MINUTE);
    world.disconnect(GATEWAY);
    world.connect(GATEWAY);
    world.run(60 * MINUTE);
    assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 1);
}

#[test]
fn unregistering_ends_even_if_it_is_refused_challenged_unanswered_or_cut_off() {
    for case in 0..4 {
        let mut world = World::registered(9);
        match case {
            0 => world.registrar.refusals = vec![(500, "X", "y"); 10],
            1 => world.registrar.challenges = vec!["Digest realm=r, nonce=n, algorithm=unknown".to_owned()],
            _ => world.registrar.silent = true,
        }
        world.agents[GATEWAY].unregister(world.now);
        if case == 3 {
            world.disconnect(GATEWAY);
        }
        world.run(MINUTE);
        assert_eq!(world.take(GATEWAY), [Event::Unregistered], "case {case}");
        assert_eq!(world.requests(GATEWAY, "REGISTER").len(), 1, "case {case}");
    }
}

#[test]
fn unregistering_while_a_register_is_under_way_waits_for_it() {
    let mut world = World::new(10);
    world.registrar.silent = true;
    world.deliver();
    world.agents[GATEWAY].unregister(world.now);
    assert_eq!(world.take(GATEWAY), []);
    let pending = world.requests(GATEWAY, "REGISTER")[0].clone();
    let mut ok = Response::to(&pending, 200, "OK");
    ok.headers.push("Contact", pending.headers.get("Contact").unwrap());
    world.registrar.silent = false;
    world.inject(GATEWAY, &String::from_utf8(ok.to_bytes()).unwrap());
    assert!(matches!(world.take(GATEWAY)[..], [Event::Registered { .. }, Event::Unregistered]));
    let expires: Vec<_> =
        world.requests(GATEWAY, "REGISTER").iter().map(|register| register.headers.expires()).collect();
    assert_eq!(expires, [Some(600), Some(0)]);
}

#[test]
fn the_service_route_and_the_gruu_are_used_for_calls() {
    let mut world = world(|registrar| {
        registrar.extra = vec![("Service-Route", "<sip:edge.example.org;lr>, <sip:core.example.org;lr>")];
        registrar.binding = ";expires=600;pub-gruu=\"sip:gateway@example.org;gr=urn:uuid:1\"";
    });
    let gruu = Some("sip:gateway@example.org;gr=urn:uuid:1".to_owned());
    assert_eq!(world.take(GATEWAY), [Event::Registered { expires: 10 * MINUTE, gruu }]);
    for (target, contact) in [
        ("sip:phone@example.org", "<sip:gateway@example.org;gr=urn:uuid:1>"),
        ("sips:phone@example.org", "<sips:gateway@example.org;gr=urn:uuid:1>"),
    ] {
        world.sent.clear();
        world.agents[GATEWAY].invite(world.now, target, Some(Body::sdp("v=0")), &Headers::new()).unwrap();
        world.deliver();
        let invite = world.requests(GATEWAY, "INVITE")[0];
        let routes: Vec<&str> = invite.headers.all("Route").collect();
        assert_eq!(routes, ["<sip:edge.example.org;lr>", "<sip:core.example.org;lr>"]);
        assert_eq!(invite.headers.get("Contact"), Some(contact));
        assert_eq!(invite.headers.get("From").unwrap().split(';').next(), Some("<sip:gateway@example.org>"));
    }
}

#[test]
fn a_flow_that_was_judged_for_another_account_is_not_used() {
    let mut world = World::registered(11);
    world.agents[GATEWAY].flow_up(world.now, local(5), proof("phone@example.org"));
    world.deliver();
    assert!(world.closed[GATEWAY].as_ref().unwrap().contains("another account"));
    assert!(world.sent.is_empty());
}
