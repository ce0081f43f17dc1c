use super::Caller;
use crate::sip::Uri;

fn of(uri: &str) -> String {
    match Uri::parse(uri) {
        Ok(uri) => Caller::from_uri(&uri).to_string(),
        Err(error) => format!("{uri}: {error}"),
    }
}

#[test]
fn one_address_has_one_form() {
    for same in [
        "sip:alice@example.org",
        "sips:alice@EXAMPLE.org",
        "sip:alice@example.org.",
        "sip:alice:secret@example.org:5060",
        "sips:alice@example.org:5061;transport=tls;gr=urn:uuid:1?Subject=x",
        "sip:%61lice@example.org",
    ] {
        assert_eq!(of(same), "alice@example.org", "{same}");
    }
    assert_eq!(of("sip:a%2fb@[2001:db8::0:1]:5071"), "a%2Fb@[2001:db8::1]:5071");
}

#[test]
fn different_addresses_stay_different() {
    let different = [
        "sip:alice@example.org",
        "sip:Alice@example.org",
        "sip:alice@example.com",
        "sip:alice@example.org:5070",
        "sip:alice%40example.org@example.org",
        "sip:alic%E9@example.org",
        "sip:alic%E8@example.org",
        "sip:alicé@example.org",
        "tel:+493012",
        "tel:12;phone-context=+4930",
        "tel:12;phone-context=+4940",
    ];
    let forms: std::collections::BTreeSet<String> = different.iter().map(|uri| of(uri)).collect();
    assert_eq!(forms.len(), different.len(), "{forms:?}");
    assert!(forms.iter().all(|form| form.bytes().all(|octet| octet.is_ascii_graphic())), "{forms:?}");
}

#[test]
fn a_number_has_one_form_however_it_is_grouped() {
    for same in ["sip:+49-30-(12)@example.org;user=phone", "sip:+493012@example.org"] {
        assert_eq!(of(same), "+493012@example.org");
    }
    assert_eq!(of("tel:+49(30)1.2;ext=4"), "tel:+493012");
}

#[test]
fn whoever_hides_is_anonymous() {
    for uri in [
        "sip:anonymous@anonymous.invalid",
        "sip:Anonymous@example.org",
        "sip:thisis@hidden.INVALID",
        "sip:example.org",
        "urn:service:sos",
        &format!("sip:{}@example.org", "a".repeat(300)),
    ] {
        assert_eq!(of(uri), "anonymous", "{uri}");
    }
}

#[test]
fn people_may_leave_out_the_scheme() {
    for text in ["alice@Example.org", "sips:alice@example.org"] {
        assert_eq!(Caller::from_text(text), Some(Caller::Address("alice@example.org".to_owned())));
    }
    assert_eq!(Caller::from_text("anonymous"), Some(Caller::Anonymous));
    assert_eq!(Caller::from_text("tel:+4930"), Some(Caller::Address("tel:+4930".to_owned())));
    for nobody in ["0a1b2c", "example.org", "a b@c", ""] {
        assert_eq!(Caller::from_text(nobody), None, "{nobody}");
    }
}
