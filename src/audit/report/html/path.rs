//! How the provider was found, as a picture: what the operator named → NAPTR → SRV → addresses (RFC 3263 §4).

use super::element::{Element, list, sign};
use super::{paragraph, section};
use crate::audit::facts::{Answer, DnsFacts, Facts, Naptr, Question, Security, ServerFacts, Srv, Tcp, Tested, Way};

/// More entries of one kind than this are only counted.
const SHOWN: usize = 8;

pub(super) fn path(facts: &Facts) -> Element {
    let mut stops = vec![stop("Asked about", list("plain", [Element::new("li").host(&facts.target)]), None)];
    match &facts.dns {
        Tested::Known(dns) => stops.extend(questions(dns)),
        Tested::Unknown(why) => stops.push(stop("DNS", Some(paragraph("", why)), None)),
    }
    stops.push(addresses(&facts.servers));
    let picture = Element::new("ol").class("path").all(stops);
    section("", "path", "How the provider was found").add(picture)
}

/// One station of the way, with what DNSSEC says of it.
fn stop(kind: &str, inside: Option<Element>, security: Option<Element>) -> Element {
    Element::new("li").add(paragraph("kind", kind)).add(inside).add(security)
}

fn questions(dns: &DnsFacts) -> Vec<Element> {
    if dns.way == Way::Configured {
        return Vec::new();
    }
    let naptr = match &dns.naptr {
        Answer::Records { records, security } => {
            let mut lines: Vec<Element> = records.iter().take(SHOWN).map(naptr).collect();
            lines.extend(more(records.len()));
            stop(
                "NAPTR",
                Some(list("plain", lines).unwrap_or_else(|| paragraph("", "no record"))),
                Some(dnssec(*security)),
            )
        }
        broken => stop("NAPTR", Some(failure(broken)), None),
    };
    let mut stops = vec![naptr];
    let found: Vec<&Question<Srv>> = dns.srv.iter().filter(|one| !empty(&one.answer)).collect();
    let lines = found.iter().take(SHOWN).map(|question| srv(question));
    let security = found.iter().filter_map(|one| security(&one.answer)).min().map(dnssec);
    let lines = list("plain", lines).unwrap_or_else(|| paragraph("", "no record"));
    stops.push(stop("SRV", Some(lines), security));
    stops
}

fn naptr(record: &Naptr) -> Element {
    let service = Element::new("b").text(&record.service);
    Element::new("li").add(service).text(" → ").host(&record.replacement)
}

/// The answer to one question; the domain behind the service is left away, because it is the same for all.
fn srv(question: &Question<Srv>) -> Element {
    let service = question.name.split('.').take_while(|label| label.starts_with('_')).collect::<Vec<_>>().join(".");
    let entry = Element::new("li").add(Element::new("b").text(&service));
    match &question.answer {
        Answer::Records { records, .. } => {
            let servers = records.iter().take(SHOWN).map(server);
            entry.add(list("plain", servers.chain(more(records.len()))))
        }
        broken => entry.text(" ").add(failure(broken)),
    }
}

fn server(record: &Srv) -> Element {
    match record.target.as_str() {
        "." => Element::new("li").text("→ no such service"),
        target => Element::new("li").text("→ ").host(target).text(&format!(":{}", record.port)),
    }
}

fn addresses(servers: &[ServerFacts]) -> Element {
    let mut lines: Vec<Element> = servers.iter().take(SHOWN).map(address).collect();
    lines.extend(more(servers.len()));
    stop("Servers", Some(list("plain", lines).unwrap_or_else(|| paragraph("", "none was found"))), None)
}

fn address(server: &ServerFacts) -> Element {
    let (class, mark, word) = match &server.tcp {
        Tested::Known(Tcp::Open { connect_ms }) => ("mark good", "✓", format!("answers after {connect_ms} ms")),
        Tested::Known(Tcp::Refused) => ("mark bad", "✗", "refuses connections".to_owned()),
        Tested::Known(Tcp::Silent) => ("mark bad", "✗", "does not answer".to_owned()),
        Tested::Known(Tcp::Unreachable(why)) => ("mark bad", "✗", format!("unreachable: {why}")),
        Tested::Unknown(why) => ("mark open", "?", format!("not tested: {why}")),
    };
    let mark = Element::new("span").class(class).add(sign(mark)).text(&word);
    let host = Element::new("b").host(&server.host);
    Element::new("li").add(host).text(" → ").text(&server.address.to_string()).text(" ").add(mark)
}

fn more(count: usize) -> Option<Element> {
    (count > SHOWN).then(|| Element::new("li").text(&format!("and {} more", count - SHOWN)))
}

fn empty(answer: &Answer<Srv>) -> bool {
    matches!(answer, Answer::Records { records, .. } if records.is_empty())
}

fn security<T>(answer: &Answer<T>) -> Option<Security> {
    match answer {
        Answer::Records { security, .. } => Some(*security),
        Answer::Bogus(_) | Answer::Failed(_) => None,
    }
}

fn dnssec(security: Security) -> Element {
    let (class, mark, word) = match security {
        Security::Secure => ("mark good", "✓", "signed, DNSSEC holds"),
        Security::Insecure => ("mark open", "–", "not signed by DNSSEC"),
        Security::Indeterminate => ("mark open", "?", "DNSSEC not tested"),
    };
    Element::new("p").class(class).add(sign(mark)).text(word)
}

fn failure<T>(answer: &Answer<T>) -> Element {
    let (word, why) = match answer {
        Answer::Bogus(why) => ("DNSSEC proves it false", why.as_str()),
        Answer::Failed(why) => ("no answer", why.as_str()),
        Answer::Records { .. } => ("", ""),
    };
    Element::new("span").class("mark bad").add(sign("✗")).text(&format!("{word}: {why}"))
}
