//! In which order the records of a domain are to be tried.
//!
//! In: NAPTR and SRV records as DNS gave them, hostile ones included. Out: the ones of use, in order. RFC 3263 §4.1 and
//! RFC 3403 §4.1 for NAPTR, RFC 2782 for SRV. Never a service without TLS.

use super::facts::{Naptr, Srv};
use crate::units::Random;

/// More SRV records than any provider has; what is beyond is not looked at.
const MOST_RECORDS: usize = 64;

/// The names to ask for SRV records, the preferred first: those of the rules for TLS over TCP.
pub(super) fn tls_services(records: &[Naptr], most: usize) -> Vec<String> {
    let mut rules: Vec<&Naptr> = records.iter().filter(|rule| is_tls_over_tcp(rule)).collect();
    rules.sort_by_key(|rule| (rule.order, rule.preference));
    let mut names: Vec<String> = Vec::new();
    for rule in rules {
        if names.len() < most && !names.contains(&rule.replacement) {
            names.push(rule.replacement.clone());
        }
    }
    names
}

/// RFC 3263 §4.1: `SIPS+D2T`, an empty regular expression, and a replacement that has SRV records.
fn is_tls_over_tcp(rule: &Naptr) -> bool {
    rule.services.eq_ignore_ascii_case("SIPS+D2T")
        && rule.flags.eq_ignore_ascii_case("s")
        && rule.regexp.is_empty()
        && is_host(&rule.replacement)
}

/// What a name in DNS must be for us to ask for it: hosts and services have no other letters.
pub(super) fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(letters)
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// RFC 2782: "service decidedly not available" is a single record whose target is the root.
pub(super) fn decidedly_not_available(records: &[Srv]) -> bool {
    matches!(records, [only] if only.target.is_empty())
}

/// The servers in the order to try them: by priority, and within one by chance in proportion to the weights.
pub(super) fn servers(records: &[Srv], random: &mut dyn Random) -> Vec<(String, u16)> {
    let usable = |srv: &&Srv| srv.port != 0 && is_host(&srv.target);
    let mut rest: Vec<&Srv> = records.iter().filter(usable).take(MOST_RECORDS).collect();
    // within a priority the weightless come first, so that they have a chance at all
    rest.sort_by_key(|srv| (srv.priority, srv.weight));
    let mut ordered: Vec<(String, u16)> = Vec::new();
    while let Some(first) = rest.first() {
        let peers = rest.iter().take_while(|srv| srv.priority == first.priority).count();
        let chosen = rest.remove(choose(&rest[..peers], random));
        let server = (chosen.target.clone(), chosen.port);
        if !ordered.contains(&server) {
            ordered.push(server);
        }
    }
    ordered
}

/// The first of these whose running sum of weights reaches a number drawn from 0 to their whole sum.
fn choose(peers: &[&Srv], random: &mut dyn Random) -> usize {
    let whole: u64 = peers.iter().map(|srv| u64::from(srv.weight)).sum();
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    let drawn = u64::from_le_bytes(bytes) % (whole + 1);
    let mut sum = 0;
    peers
        .iter()
        .position(|srv| {
            sum += u64::from(srv.weight);
            sum >= drawn
        })
        .unwrap_or_default()
}
