//! What rsip can read of the torture messages and of recorded ones, we read to the same fields. rsip 0.4 reads less than
//! we do (no compact names, no folding, no IPv6, no unknown methods), and that is only counted; where both read a thing
//! and read it differently, it stands here with its reason.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
#![allow(clippy::print_stdout, reason = "and say what differs")]

use galene_sips::sip::{Host, Message, NameAddr, Params, SipUri};
use rsip::headers::{Header, ToTypedHeader, typed};
use rsip::message::HasHeaders;
use rsip::{SipMessage, param::Param};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What rsip takes and we do not, and why.
const REFUSED: [(&str, &str); 5] = [
    ("rfc4475/baddn", "the empty line after the head is missing"),
    ("rfc4475/clerr", "the body is shorter than announced"),
    ("rfc4475/ltgtruri", "a Request-URI has no angle brackets"),
    ("rfc4475/mcl01", "two Content-Lengths are one too many"),
    ("rfc4475/ncl", "a length is not negative"),
];

/// What both read, and differently, and why.
const DIFFERENT: [(&str, &str, &str); 8] = [
    ("rfc4475/badinv01", "contact 0", "empty parameters are none"),
    ("rfc4475/badinv01", "via 0", "empty parameters are none"),
    ("rfc4475/multi01", "cseq", "one of several is no better than the others"),
    ("rfc4475/multi01", "from", "one of several is no better than the others"),
    ("rfc4475/multi01", "to", "one of several is no better than the others"),
    ("rfc4475/novelsc", "uri", "what follows soap.beep: is no SIP URI"),
    ("rfc4475/quotbal", "to", "a quote that does not end"),
    ("rfc4475/unksm2", "from", "what follows http: is no SIP URI"),
];

/// A message's fields by name.
type Fields = BTreeMap<String, String>;

fn data(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(directory)
}

/// Every message by name: those of both RFCs, and recorded ones with the CRLFs that they had on the wire.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut directories = vec![data("rfc4475"), data("rfc5118"), data("sip-traces")];
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            let name = format!("{}/{}", directory.file_name().unwrap().display(), path.file_stem().unwrap().display());
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => directories.push(path),
                Some("dat") => all.push((name, fs::read(&path).unwrap())),
                Some("txt") => all.push((name, fs::read_to_string(&path).unwrap().replace('\n', "\r\n").into_bytes())),
                _ => {}
            }
        }
    }
    all.sort();
    all
}

fn ours(message: &Message) -> Fields {
    let mut fields = Fields::new();
    let headers = message.headers();
    match message {
        Message::Request(request) => {
            fields.insert("method".into(), request.method.to_string());
            if let Some(uri) = request.uri.as_sip() {
                fields.insert("uri".into(), uri_of_ours(uri));
            }
        }
        Message::Response(response) => {
            fields.insert("status".into(), response.status.to_string());
        }
    }
    for (name, value) in headers.iter() {
        *fields.entry(format!("line {}", name.to_lowercase())).or_default() += &format!("{value}\n");
    }
    for (name, address) in [("from", headers.from()), ("to", headers.to())] {
        if let Ok(address) = address {
            fields.insert(name.into(), address_of_ours(&address));
        }
    }
    for (number, contact) in headers.contacts().unwrap_or_default().iter().enumerate() {
        fields.insert(format!("contact {number}"), address_of_ours(contact));
    }
    for (number, via) in headers.via().unwrap_or_default().iter().enumerate() {
        let host = host_of_ours(&via.host, via.port);
        let text = format!("{} {host} {}", via.transport, params_of_ours(&via.params));
        fields.insert(format!("via {number}"), text);
    }
    if let Ok(cseq) = headers.cseq() {
        fields.insert("cseq".into(), format!("{} {}", cseq.number, cseq.method));
    }
    fields
}

fn host_of_ours(host: &Host, port: Option<u16>) -> String {
    port.map_or(host.to_string(), |port| format!("{host}:{port}")).to_lowercase()
}

fn uri_of_ours(uri: &SipUri) -> String {
    let user = [uri.user.as_deref(), uri.password.as_deref()].map(Option::unwrap_or_default).join(":");
    let scheme = if uri.secure { "sips" } else { "sip" };
    // rsip ends the value of a URI's parameter at a colon, such as that of `gr`
    let params = params_of_ours(&uri.params);
    let params: String = params.split_inclusive(';').map(|param| param.split(':').next().unwrap()).collect();
    format!("{scheme} {user} {} {params}", host_of_ours(&uri.host, uri.port))
}

fn params_of_ours(params: &Params) -> String {
    let text = |(name, value): (&str, Option<&str>)| match value {
        Some(value) => normal(&format!(";{name}={value}")),
        None => normal(&format!(";{name}")),
    };
    params.iter().map(text).collect()
}

fn address_of_ours(address: &NameAddr) -> String {
    let uri = address.uri.as_sip().map_or(address.uri.to_string(), uri_of_ours);
    let name = address.display_name.as_deref().unwrap_or_default();
    format!("\"{name}\" {uri} {}", params_of_ours(&address.params))
}

fn theirs(message: &SipMessage) -> Fields {
    let mut fields = Fields::new();
    match message {
        SipMessage::Request(request) => {
            fields.insert("method".into(), request.method.to_string());
            fields.insert("uri".into(), uri_of_theirs(&request.uri));
        }
        SipMessage::Response(response) => {
            fields.insert("status".into(), response.status_code.code().to_string());
        }
    }
    let (mut contacts, mut vias) = (0, 0);
    for header in message.headers().iter() {
        let line = header.to_string();
        let (name, value) = line.split_once(':').unwrap();
        // ours is not among the headers; and rsip does not know compact names
        if !name.eq_ignore_ascii_case("Content-Length") && name.len() > 1 {
            *fields.entry(format!("line {}", name.to_lowercase())).or_default() += &format!("{}\n", value.trim());
        }
        match header {
            Header::From(from) => {
                if let Ok(typed::From { display_name, uri, params }) = from.clone().typed() {
                    fields.insert("from".into(), address_of_theirs(display_name, &uri, &params));
                }
            }
            Header::To(to) => {
                if let Ok(typed::To { display_name, uri, params }) = to.clone().typed() {
                    fields.insert("to".into(), address_of_theirs(display_name, &uri, &params));
                }
            }
            Header::Contact(contact) => {
                if let Ok(typed::Contact { display_name, uri, params }) = contact.clone().typed() {
                    let text = address_of_theirs(display_name, &uri, &params);
                    fields.insert(format!("contact {contacts}"), text);
                }
                contacts += 1;
            }
            Header::Via(via) => {
                if let Ok(typed::Via { transport, uri, params, .. }) = via.clone().typed() {
                    let host = uri.host_with_port.to_string().to_lowercase();
                    fields.insert(format!("via {vias}"), format!("{transport} {host} {}", params_of_theirs(&params)));
                }
                vias += 1;
            }
            Header::CSeq(cseq) => {
                if let Ok(typed::CSeq { seq, method }) = cseq.clone().typed() {
                    fields.insert("cseq".into(), format!("{seq} {method}"));
                }
            }
            _ => {}
        }
    }
    fields
}

fn uri_of_theirs(uri: &rsip::Uri) -> String {
    let host = uri.host_with_port.to_string();
    // rsip takes the user for a part of the host where no angle brackets are around
    let (user, host) = match (host.split_once('@'), &uri.auth) {
        (Some((user, host)), None) => (format!("{user}:"), host),
        (_, None) => (":".to_owned(), host.as_str()),
        (_, Some(auth)) => (format!("{}:{}", auth.user, auth.password.as_deref().unwrap_or_default()), host.as_str()),
    };
    let scheme = uri.scheme.as_ref().map(ToString::to_string).unwrap_or_default();
    let (scheme, host) = (scheme.trim_end_matches(':'), host.to_lowercase());
    format!("{scheme} {user} {host} {}", params_of_theirs(&uri.params))
}

fn params_of_theirs(params: &[Param]) -> String {
    params.iter().map(|param| normal(&param.to_string())).collect()
}

/// A parameter where only its value has a case, and a transport not even that.
fn normal(param: &str) -> String {
    match param.split_once('=') {
        Some((name, value)) if !name.eq_ignore_ascii_case(";transport") => format!("{}={value}", name.to_lowercase()),
        _ => param.to_lowercase(),
    }
}

fn address_of_theirs(name: Option<String>, uri: &rsip::Uri, params: &[Param]) -> String {
    // rsip leaves the quotes on
    let name = name.unwrap_or_default();
    format!("\"{}\" {} {}", name.trim_matches('"'), uri_of_theirs(uri), params_of_theirs(params))
}

#[test]
fn what_rsip_reads_we_read_alike() {
    let (mut both, mut fields) = (0, 0);
    let mut different = Vec::new();
    let mut refused = Vec::new();
    for (name, bytes) in corpus() {
        let Ok(by_theirs) = SipMessage::try_from(bytes.as_slice()) else { continue };
        let Ok(by_ours) = Message::parse(&bytes) else {
            refused.push(name);
            continue;
        };
        both += 1;
        let body = match &by_ours {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        };
        // rsip does not look at Content-Length
        assert!(by_theirs.body().starts_with(body), "{name}");
        let ours = ours(&by_ours);
        for (field, theirs) in theirs(&by_theirs) {
            fields += 1;
            if ours.get(&field) != Some(&theirs) {
                println!("{name}, {field}:\n  theirs {theirs}\n  ours   {:?}", ours.get(&field));
                different.push((name.clone(), field));
            }
        }
    }
    assert!(both > 180 && fields > 2_500, "only {both} messages with {fields} fields were compared");
    assert_eq!(refused, REFUSED.map(|(name, _)| name), "messages that rsip takes and we do not");
    let different: Vec<_> = different.iter().map(|(name, field)| (name.as_str(), field.as_str())).collect();
    assert_eq!(different, DIFFERENT.map(|(name, field, _)| (name, field)));
}
