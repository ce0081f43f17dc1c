//! The chain of trust, as a picture: the server's certificate → who signed it → … → an authority that is known, or not.
//!
//! Servers with the same certificates share one picture.

use super::element::{Element, list, sign};
use super::{paragraph, section};
use crate::audit::facts::{Certificate, CertificateFacts, Facts, ServerFacts};
use crate::config::Date;
use crate::policy::{Chain, Name, Pin, Validity};

/// More names in one certificate than this are only counted.
const SHOWN: usize = 6;

/// The last day that is written as a date.
const LAST_DAY: i64 = 2_932_896; // 9999-12-31

pub(super) fn chains(facts: &Facts) -> Option<Element> {
    let mut groups: Vec<(&CertificateFacts, Vec<&ServerFacts>)> = Vec::new();
    for server in &facts.servers {
        let Some(certificate) = server.certificate.known() else { continue };
        match groups.iter_mut().find(|(seen, _)| same(seen, certificate)) {
            Some((_, servers)) => servers.push(server),
            None => groups.push((certificate, vec![server])),
        }
    }
    if groups.is_empty() {
        return None;
    }
    let pictures = groups.iter().flat_map(|(certificate, servers)| {
        let names: Vec<String> = servers.iter().map(|server| format!("{} ({})", server.host, server.address)).collect();
        let caption = format!("{} has to show: {}", names.join(", "), facts.expected_name);
        [paragraph("caption", &caption), picture(certificate, facts)]
    });
    Some(section("", "chain", "Chain of trust").all(pictures))
}

fn same(one: &CertificateFacts, other: &CertificateFacts) -> bool {
    one.judged == other.judged && one.chain == other.chain && one.webpki_name == other.webpki_name
}

fn picture(facts: &CertificateFacts, all: &Facts) -> Element {
    let mut cards = Vec::new();
    for (place, certificate) in sent(facts).iter().enumerate() {
        let signed_last = place == 0 || facts.chain[place - 1].issuer == certificate.subject;
        let mut wrong = if place == 0 { leaf(facts, all) } else { dates(certificate, all) };
        wrong.extend(weak(certificate));
        if !signed_last {
            wrong.push("is not the one that signed the certificate before it".to_owned());
        }
        cards.push(card(role(place, certificate), certificate, &wrong));
    }
    let class = if cards.len() < 4 { "chain short" } else { "chain" };
    Element::new("ol").class(class).all(cards).add(end(facts))
}

/// What was sent, without an authority that is trusted anyway: the end of the picture is its place.
fn sent(facts: &CertificateFacts) -> &[Certificate] {
    match facts.chain.as_slice() {
        [sent @ .., last]
            if !sent.is_empty() && last.subject == last.issuer && facts.judged.chain == Chain::Trusted =>
        {
            sent
        }
        all => all,
    }
}

fn role(place: usize, certificate: &Certificate) -> &'static str {
    match (place, certificate.subject == certificate.issuer) {
        (0, _) => "The server",
        (_, true) => "Authority, by its own word",
        (_, false) => "Intermediate authority",
    }
}

/// Where the chain ends: with an authority that is trusted, or without.
fn end(facts: &CertificateFacts) -> Element {
    let issuer = facts.chain.last().map_or("nobody", |last| last.issuer.as_str());
    let (class, role, mark, word) = match facts.judged.chain {
        Chain::Trusted => ("trusted", "Trusted authority", "✓", "known here"),
        Chain::UnknownIssuer => ("bad", "Unknown authority", "✗", "not trusted here"),
        Chain::SelfSigned => ("bad", "Nobody else", "✗", "signed by itself, so it proves nothing"),
        Chain::Invalid => ("bad", "No authority", "✗", "the chain cannot be read, or a signature in it is broken"),
    };
    let mark = Element::new("li").add(sign(mark)).text(word);
    let detail = (!facts.judged.chain_detail.is_empty()).then(|| Element::new("li").text(&facts.judged.chain_detail));
    let card = Element::new("li").class(class).add(paragraph("kind", role)).add(paragraph("name", common_name(issuer)));
    card.add(list("wrong", [Some(mark), detail].into_iter().flatten()))
}

/// The common name in a distinguished name, or all of it where it cannot be told apart simply.
fn common_name(distinguished: &str) -> &str {
    let common = distinguished.split(',').find_map(|part| part.trim().strip_prefix("CN="));
    common.filter(|_| !distinguished.contains(['\\', '"'])).unwrap_or(distinguished)
}

fn card(role: &str, certificate: &Certificate, wrong: &[String]) -> Element {
    let names = names(certificate);
    let title = certificate.common_names.first().or(names.first()).unwrap_or(&certificate.subject);
    let class = if wrong.is_empty() { "sound" } else { "bad" };
    let facts = Element::new("dl")
        .all(pair("Names", &shortened(&names)))
        .all(pair("Key", &key(certificate)))
        .all(pair("Signature", &certificate.signature))
        .all([Element::new("dt").text("Valid"), days(certificate)]);
    let more = Element::new("dl")
        .all(pair("Subject", &certificate.subject))
        .all(pair("Issuer", &certificate.issuer))
        .all(pair("Serial", &certificate.serial))
        .all(pair("SHA-256", &certificate.sha256))
        .all(pair("Key pin", &certificate.spki_sha256));
    let details = Element::new("details").add(Element::new("summary").text("Details")).add(more);
    let wrong = wrong.iter().map(|what| Element::new("li").add(sign("✗")).text(what));
    let card =
        Element::new("li").class(class).add(paragraph("kind", role)).add(Element::new("p").class("name").host(title));
    card.add(list("wrong", wrong)).add(facts).add(details)
}

/// From and to, neither of them broken.
fn days(certificate: &Certificate) -> Element {
    let whole = |text: &str| Element::new("span").class("whole").text(text);
    let from = whole(&date(certificate.not_before));
    Element::new("dd").add(from).text(" ").add(whole(&format!("to {}", date(certificate.not_after))))
}

fn pair(name: &str, value: &str) -> Vec<Element> {
    if value.is_empty() {
        return Vec::new();
    }
    vec![Element::new("dt").text(name), Element::new("dd").text(value)]
}

fn names(certificate: &Certificate) -> Vec<String> {
    let addresses = certificate.addresses.iter().map(ToString::to_string);
    certificate.uris.iter().chain(&certificate.dns_names).cloned().chain(addresses).collect()
}

fn shortened(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

fn key(certificate: &Certificate) -> String {
    format!("{}, {} bits", certificate.key, certificate.key_bits)
}

/// What is wrong with the server's own certificate, as policy sees it.
fn leaf(facts: &CertificateFacts, all: &Facts) -> Vec<String> {
    let judged = &facts.judged;
    let name = match judged.name {
        Name::Matches => None,
        Name::WildcardOnly => {
            Some(format!("names {} by a wildcard only, which SIP forbids (RFC 5922 §7.2)", all.expected_name))
        }
        Name::Wrong if facts.webpki_name => {
            Some(format!("does not name {} as SIP wants it (RFC 5922)", all.expected_name))
        }
        Name::Wrong => Some(format!("does not name {}", all.expected_name)),
    };
    let validity = match judged.validity {
        Validity::Valid => None,
        Validity::Expired => Some("has expired".to_owned()),
        Validity::NotYetValid => Some("is not valid yet".to_owned()),
    };
    let pin = (judged.pin == Pin::Mismatch).then(|| "does not have the pinned key".to_owned());
    [name, validity, pin].into_iter().flatten().collect()
}

/// What is wrong with the days of another certificate, on the day of the audit.
fn dates(certificate: &Certificate, all: &Facts) -> Vec<String> {
    let today = all.started.get(..10).unwrap_or_default();
    match () {
        () if today.is_empty() => Vec::new(),
        () if date(certificate.not_after).as_str() < today => vec!["has expired".to_owned()],
        () if date(certificate.not_before).as_str() > today => vec!["is not valid yet".to_owned()],
        () => Vec::new(),
    }
}

/// Keys and signatures that are too weak (RFC 9325 §4.5, RFC 9155).
fn weak(certificate: &Certificate) -> Vec<String> {
    let mut wrong = Vec::new();
    let too_short = match certificate.key.as_str() {
        "RSA" => certificate.key_bits < 2048,
        key if key.starts_with("EC") => certificate.key_bits < 224,
        _ => false,
    };
    if too_short {
        wrong.push(format!("its key of {} bits is too short", certificate.key_bits));
    }
    let own_word = certificate.subject == certificate.issuer; // nobody relies on that signature
    let signature = certificate.signature.to_lowercase();
    if !own_word && (signature.starts_with("sha1") || signature.starts_with("md5") || signature.ends_with("sha1")) {
        wrong.push("its signature rests on a broken hash".to_owned());
    }
    wrong
}

fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400).clamp(0, LAST_DAY);
    Date::from_unix_days(u32::try_from(days).unwrap_or_default()).to_string()
}
