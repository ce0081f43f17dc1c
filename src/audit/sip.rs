//! The requests that an audit sends, and what it takes down of their answers (RFC 3261 §11, §10.2.3; RFC 8760).
//!
//! Without an account only questions: OPTIONS, and a REGISTER without a Contact, which asks which bindings there are and can
//! make none, whatever the server thinks of passwords. With one, a binding of the audit's own, which it removes. Responses come in, [`facts`](super::facts) go out; nonces are not kept.

use super::facts::{Challenge, Registered, Response};
use crate::sip::digest::Asker;
use crate::sip::{CSeq, Headers, Host, Message, Method, NameAddr, Request, SipUri, Uri, digest, printable};
use crate::units::{Random, random_hex};
use std::net::SocketAddr;

/// Who asks: honest about it, so that whoever reads the server's log knows.
pub const USER_AGENT: &str = concat!("galene-sips-audit/", env!("CARGO_PKG_VERSION"));

/// Nobody has this address; no name is guessed.
const NOBODY: &str = "galene-sips-audit";

/// How many values of a header are taken down, and how many characters of each.
const MOST_VALUES: usize = 40;
const MOST_CHARACTERS: usize = 200;

/// A question to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// OPTIONS to `sip:domain`.
    Options,
    /// OPTIONS to `sips:domain` (RFC 5630).
    SipsOptions,
    /// REGISTER without Contact and credentials.
    Register,
}

/// The way that a request takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// TLS over TCP.
    Tls,
    /// TCP without TLS.
    Tcp,
    /// UDP.
    Udp,
}

impl Carrier {
    fn as_str(self) -> &'static str {
        match self {
            Carrier::Tls => "TLS",
            Carrier::Tcp => "TCP",
            Carrier::Udp => "UDP",
        }
    }
}

/// Writes a question about `domain`, from our address.
pub fn request(
    question: Question,
    domain: &str,
    carrier: Carrier,
    local: SocketAddr,
    random: &mut dyn Random,
) -> Request {
    let host = Host::parse(domain).unwrap_or_else(|_| Host::Name(domain.to_owned()));
    let mut to = SipUri::new(host);
    to.secure = question == Question::SipsOptions;
    let mut nobody = to.clone();
    nobody.secure = false;
    nobody.user = Some(NOBODY.to_owned());
    let from = NameAddr::new(Uri::Sip(nobody.clone())).with_tag(&random_hex(random, 8));
    let (method, target) = match question {
        Question::Options | Question::SipsOptions => (Method::OPTIONS, NameAddr::new(Uri::Sip(to.clone()))),
        Question::Register => (Method::REGISTER, NameAddr::new(Uri::Sip(nobody))),
    };
    let mut request = Request::new(method.clone(), Uri::Sip(to));
    let branch = random_hex(random, 12);
    let headers = &mut request.headers;
    headers.push("Via", format!("SIP/2.0/{} {local};rport;branch=z9hG4bK{branch}", carrier.as_str()));
    headers.push("Max-Forwards", 70);
    headers.push("From", from);
    headers.push("To", target);
    headers.push("Call-ID", random_hex(random, 16));
    headers.push("CSeq", CSeq { number: 1, method });
    headers.push("User-Agent", USER_AGENT);
    if question != Question::Register {
        headers.push("Accept", "application/sdp");
    }
    headers.push("Content-Length", 0);
    request
}

/// The REGISTERs of one login: one Call-ID, counted, with a binding of the audit's own that ends soon (RFC 3261 §10.2).
#[derive(Debug)]
pub struct Login {
    domain: String,
    user: String,
    local: SocketAddr,
    instance: String,
    call_id: String,
    tag: String,
    cseq: u32,
}

impl Login {
    /// For `user@domain` over a TLS connection from `local`; `instance` is a URN of the audit's own, so that no other binding
    /// of the account is replaced (RFC 5626 §4.1).
    pub fn new(user: &str, domain: &str, local: SocketAddr, instance: String, random: &mut dyn Random) -> Self {
        let (call_id, tag) = (random_hex(random, 16), random_hex(random, 8));
        Login { domain: domain.to_owned(), user: user.to_owned(), local, instance, call_id, tag, cseq: 0 }
    }

    /// Where the request goes, as credentials name it.
    pub fn uri(&self) -> String {
        Uri::Sip(self.registrar()).to_string()
    }

    fn registrar(&self) -> SipUri {
        SipUri::new(Host::parse(&self.domain).unwrap_or_else(|_| Host::Name(self.domain.clone())))
    }

    /// The next REGISTER: the audit's own Contact for so many seconds (0 removes it), with these credentials.
    pub fn register(
        &mut self,
        expires: u32,
        credentials: Option<(&'static str, &str)>,
        random: &mut dyn Random,
    ) -> Request {
        self.cseq += 1;
        let mut aor = self.registrar();
        aor.user = Some(self.user.clone());
        let aor = NameAddr::new(Uri::Sip(aor));
        let mut request = Request::new(Method::REGISTER, Uri::Sip(self.registrar()));
        let headers = &mut request.headers;
        headers.push("Via", format!("SIP/2.0/TLS {};rport;branch=z9hG4bK{}", self.local, random_hex(random, 12)));
        headers.push("Max-Forwards", 70);
        headers.push("From", aor.clone().with_tag(&self.tag));
        headers.push("To", aor);
        headers.push("Call-ID", &self.call_id);
        headers.push("CSeq", CSeq { number: self.cseq, method: Method::REGISTER });
        headers.push(
            "Contact",
            format!(
                "<sip:{}@{};transport=tls>;+sip.instance=\"<{}>\";reg-id=1;expires={expires}",
                self.user, self.local, self.instance
            ),
        );
        headers.push("Expires", expires);
        headers.push("Supported", "outbound, gruu, path");
        headers.push("User-Agent", USER_AGENT);
        if let Some((header, value)) = credentials {
            headers.push(header, value);
        }
        headers.push("Content-Length", 0);
        request
    }

    /// What a 200 says.
    pub fn registered(&self, response: &crate::sip::Response) -> Registered {
        let headers = &response.headers;
        let contacts = headers.contacts().unwrap_or_default();
        let own = contacts.iter().find(|contact| self.is_own(contact));
        let number = |text: &str| text.trim().parse::<u32>().ok();
        let has = |name: &str| headers.get(name).is_some();
        Registered {
            expires: own.and_then(|own| number(&own.params.unquoted("expires")?)).or_else(|| headers.expires()),
            contact_kept: own.is_some(),
            other_bindings: u32::try_from(contacts.len() - usize::from(own.is_some())).unwrap_or(u32::MAX),
            outbound: headers.lists("Require", "outbound"),
            gruu: own.is_some_and(|own| own.params.contains("pub-gruu") || own.params.contains("temp-gruu")),
            service_route: has("Service-Route"),
            path: has("Path"),
        }
    }

    /// By its instance; registrars that know none give the address back.
    fn is_own(&self, contact: &NameAddr) -> bool {
        match contact.params.unquoted("+sip.instance") {
            Some(instance) => instance.eq_ignore_ascii_case(&format!("<{}>", self.instance)),
            None => contact.uri.to_string().contains(&self.local.to_string()),
        }
    }
}

/// Whether this is the final answer to that request.
pub fn answers(message: &Message, request: &Request) -> Option<crate::sip::Response> {
    let Message::Response(response) = message else { return None };
    let same = response.headers.call_id().ok()? == request.headers.call_id().ok()?
        && response.headers.cseq().ok()? == request.headers.cseq().ok()?;
    (same && response.status >= 200).then(|| response.clone())
}

/// What is taken down of an answer.
pub fn response(response: &crate::sip::Response) -> Response {
    let headers = &response.headers;
    let list = |name: &str| headers.list(name).take(MOST_VALUES).map(short).collect();
    Response {
        status: response.status,
        reason: short(&response.reason),
        server: headers.get("Server").or_else(|| headers.get("User-Agent")).map(short),
        allow: list("Allow"),
        supported: list("Supported"),
        security_server: list("Security-Server"),
        contact: list("Contact"),
        challenges: challenges(headers),
    }
}

/// The nonces of an answer, to be compared and forgotten.
pub fn nonces(response: &crate::sip::Response) -> Vec<String> {
    asked(&response.headers).filter_map(|value| digest::Described::parse(value)?.nonce).collect()
}

fn asked(headers: &Headers) -> impl Iterator<Item = &str> {
    Asker::ALL.into_iter().flat_map(|asker| headers.all(asker.challenge_header())).take(MOST_VALUES)
}

fn challenges(headers: &Headers) -> Vec<Challenge> {
    asked(headers)
        .filter_map(digest::Described::parse)
        .map(|seen| Challenge {
            scheme: short(&seen.scheme),
            algorithm: short(seen.algorithm.as_deref().unwrap_or("MD5")),
            realm: short(seen.realm.as_deref().unwrap_or_default()),
            qop: seen.qop.iter().take(MOST_VALUES).map(|qop| short(qop)).collect(),
            nonce_length: seen.nonce.map_or(0, |nonce| u32::try_from(nonce.chars().count()).unwrap_or(u32::MAX)),
            userhash: seen.userhash,
        })
        .collect()
}

/// Printable, and not longer than a line of a report should be.
fn short(text: &str) -> String {
    let mut cut: String = text.chars().take(MOST_CHARACTERS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    printable(&cut)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    struct Counting(u8);

    impl Random for Counting {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill_with(|| {
                self.0 = self.0.wrapping_add(1);
                self.0
            });
        }
    }

    fn ask(question: Question) -> Request {
        let local = "192.0.2.7:40000".parse().unwrap();
        request(question, "example.org", Carrier::Tls, local, &mut Counting(0))
    }

    fn answer(head: &str, headers: &str, to: &Request) -> Message {
        let text = format!(
            "SIP/2.0 {head}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=x\r\nCall-ID: {}\r\nCSeq: {}\r\n{headers}Content-Length: 0\r\n\r\n",
            to.headers.get("Via").unwrap(),
            to.headers.get("From").unwrap(),
            to.headers.get("To").unwrap(),
            to.headers.call_id().unwrap(),
            to.headers.get("CSeq").unwrap(),
        );
        Message::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn questions_make_no_binding_and_say_who_asks() {
        for question in [Question::Options, Question::SipsOptions, Question::Register] {
            let text = String::from_utf8(ask(question).to_bytes()).unwrap();
            assert!(!text.contains("\r\nContact:") && !text.contains("Authorization"), "{text}");
            assert!(text.contains("\r\nUser-Agent: galene-sips-audit/"), "{text}");
            assert!(Message::parse(text.as_bytes()).is_ok());
        }
        assert_eq!(ask(Question::SipsOptions).uri.to_string(), "sips:example.org");
        assert_eq!(ask(Question::Register).uri.to_string(), "sip:example.org");
        assert!(ask(Question::Register).headers.to().unwrap().to_string().contains("galene-sips-audit@example.org"));
    }

    #[test]
    fn only_the_final_answer_to_this_request_counts() {
        let asked = ask(Question::Options);
        assert!(answers(&answer("200 OK", "", &asked), &asked).is_some());
        assert!(answers(&answer("100 Trying", "", &asked), &asked).is_none());
        assert!(answers(&answer("200 OK", "", &ask(Question::Register)), &asked).is_none(), "another CSeq");
    }

    #[test]
    fn challenges_are_taken_down_without_their_nonces() {
        let asked = ask(Question::Register);
        let headers = "WWW-Authenticate: Digest realm=\"example.org\", algorithm=SHA-256, nonce=\"0123456789abcdef\", qop=\"auth,auth-int\", userhash=true\r\n\
            WWW-Authenticate: Digest realm=\"example.org\", nonce=\"feedbeef\"\r\n\
            Proxy-Authenticate: Basic realm=\"x\u{1b}[31m\"\r\nServer: Kamailio (5.6.3)\r\n";
        let response = answers(&answer("401 Unauthorized", headers, &asked), &asked).unwrap();
        let seen = super::response(&response);
        assert_eq!(seen.challenges.len(), 3);
        assert_eq!(seen.challenges[0].algorithm, "SHA-256");
        assert_eq!(seen.challenges[0].qop, ["auth", "auth-int"]);
        assert!(seen.challenges[0].userhash && seen.challenges[0].nonce_length == 16);
        assert_eq!((seen.challenges[1].algorithm.as_str(), seen.challenges[1].qop.len()), ("MD5", 0));
        assert_eq!((seen.challenges[2].scheme.as_str(), seen.challenges[2].realm.as_str()), ("Basic", "x\\u{1b}[31m"));
        assert!(!serde_json::to_string(&seen).unwrap().contains("feedbeef"));
        assert_eq!(nonces(&response), ["0123456789abcdef", "feedbeef"]);
    }

    #[test]
    fn a_server_cannot_make_a_report_long() {
        let asked = ask(Question::Options);
        let headers = format!("Server: {}\r\nAllow: {}\r\n", "x".repeat(5000), "INVITE, ".repeat(1000));
        let seen = super::response(&answers(&answer("200 OK", &headers, &asked), &asked).unwrap());
        assert!(seen.server.unwrap().chars().count() <= MOST_CHARACTERS + 1);
        assert_eq!(seen.allow.len(), MOST_VALUES);
    }
}
