//! What is printed reads back as the same.

use proptest::prelude::*;

use super::super::{Headers, Host, Message, Method, NameAddr, Params, Request, Response, SipUri, Uri, Via};
use super::{corpus, messages};

#[test]
fn every_message_of_the_corpus_survives_printing() {
    let torture = messages("rfc4475").into_iter().chain(messages("rfc5118"));
    for (name, bytes) in torture.chain(corpus()) {
        let Ok(message) = Message::parse(&bytes) else { continue };
        assert_eq!(Message::parse(&message.to_bytes()).as_ref(), Ok(&message), "{name}");
    }
}

#[test]
fn every_address_and_hop_of_the_corpus_survives_printing() {
    for (name, bytes) in corpus() {
        let Ok(message) = Message::parse(&bytes) else { continue };
        let headers = message.headers();
        let addresses = [headers.from().into_iter().collect(), headers.to().into_iter().collect()];
        let lists = [headers.contacts(), headers.routes(), headers.record_routes()];
        for address in addresses.into_iter().chain(lists.into_iter().flatten()).flatten() {
            assert_eq!(NameAddr::parse(&address.to_string()).as_ref(), Ok(&address), "{name}");
        }
        for via in headers.via().into_iter().flatten() {
            assert_eq!(Via::parse(&via.to_string()).as_ref(), Ok(&via), "{name}");
        }
    }
}

#[test]
fn no_value_can_begin_a_header_line_of_its_own() {
    let mut request = Request::new(Method::OPTIONS, Uri::parse("sip:a@example.org").unwrap());
    request.headers.push("Subject", "hello\r\nRoute: <sip:evil.example>\r\n\r\nbody");
    let mut response = Response::new(200, "OK\r\nRoute: <sip:evil.example>");
    response.headers = request.headers.clone();
    for message in [Message::from(request), Message::from(response)] {
        let read = Message::parse(&message.to_bytes()).unwrap();
        assert_eq!(read.headers().get("Route"), None);
        assert_eq!(read.headers().len(), 1);
    }
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

fn user() -> impl Strategy<Value = String> {
    "([a-zA-Z0-9_.!~*'()&=+$,;?/-]|%[0-9A-Fa-f]{2}){1,16}"
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        "[a-z0-9]{1,8}(-[a-z0-9]{1,8})?\\.[a-z]{2,6}\\.?".prop_map(Host::Name),
        any::<[u8; 4]>().prop_map(|octets| Host::V4(octets.into())),
        any::<[u16; 8]>().prop_map(|groups| Host::V6(groups.into())),
    ]
}

fn params(value: impl Strategy<Value = String>) -> impl Strategy<Value = Params> {
    let quoted = any::<bool>();
    prop::collection::vec(("[a-zA-Z][a-z0-9.-]{0,8}", prop::option::of((value, quoted))), 0..5).prop_map(|list| {
        let mut params = Params::new();
        for (name, value) in list {
            match value {
                Some((value, _)) => params.set(&name, &value),
                None => params.set_flag(&name),
            }
        }
        params
    })
}

prop_compose! {
    fn sip_uri()(
        secure: bool,
        user in prop::option::of((user(), prop::option::of("[a-z0-9&=+$,]{0,8}"))),
        host in host(),
        port in prop::option::of(any::<u16>()),
        params in params("[A-Za-z0-9_.!~*'()/:&+$-]{1,12}".boxed()),
        headers in prop::option::of("[a-z]{1,8}=[a-zA-Z0-9%:+]{0}[a-zA-Z0-9:+]{0,12}"),
    ) -> SipUri {
        let (user, password) = match user {
            Some((user, password)) => (Some(user), password),
            None => (None, None),
        };
        SipUri { secure, user, password, host, port, params, headers }
    }
}

prop_compose! {
    fn name_addr()(
        // any text but CR and LF, which no quoted string can carry
        name in prop::option::of("[^\r\n]{1,20}"),
        uri in sip_uri(),
        params in params(token().boxed()),
        quoted in "[^\r\n]{0,20}",
    ) -> NameAddr {
        let mut params = params;
        params.set_quoted("+sip.instance", &quoted);
        NameAddr { display_name: name, uri: Uri::Sip(uri), params }
    }
}

prop_compose! {
    fn headers()(
        fields in prop::collection::vec((token(), "[^\r\n]{0,60}"), 0..12),
        to in name_addr(),
        from in name_addr(),
    ) -> Headers {
        let mut headers = Headers::new();
        headers.push("To", to);
        for (name, value) in fields.into_iter().filter(|(name, _)| !["l", "content-length"].contains(&&*name.to_lowercase())) {
            headers.push(&name, value.trim_matches([' ', '\t']));
        }
        headers.push("From", from);
        headers
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_uri_survives_printing(uri in sip_uri()) {
        let uri = Uri::Sip(uri);
        prop_assert_eq!(Uri::parse(&uri.to_string()), Ok(uri.clone()));
        prop_assert!(uri.is_equivalent(&uri));
    }

    #[test]
    fn any_address_survives_printing(address in name_addr()) {
        prop_assert_eq!(NameAddr::parse(&address.to_string()), Ok(address.clone()));
        // also as one of a list
        let mut headers = Headers::new();
        headers.push("Contact", format!("{address}, {address}"));
        prop_assert_eq!(headers.contacts(), Ok(vec![address.clone(), address]));
    }

    #[test]
    fn any_hop_survives_printing(transport in token(), host in host(), port: Option<u16>, params in params(token().boxed())) {
        let via = Via { transport, host, port, params };
        prop_assert_eq!(Via::parse(&via.to_string()), Ok(via));
    }

    #[test]
    fn any_request_survives_printing(
        method in token(),
        uri in sip_uri(),
        headers in headers(),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let message = Message::Request(Request { method: Method::parse(&method).unwrap(), uri: uri.into(), headers, body });
        prop_assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
    }

    #[test]
    fn any_response_survives_printing(
        status in 100u16..=699,
        reason in "[^\r\n]{0,40}",
        headers in headers(),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let message = Message::Response(Response { status, reason, headers, body });
        prop_assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
    }
}
