//! Whether a certificate speaks for a SIP domain (RFC 5922 §7).
//!
//! In: the names that a certificate carries and the domain that is wanted. Out: a fact for `policy`. Never a verdict,
//! and never the subject's common name.

use crate::policy::Name;

/// Compares as RFC 5922 §7.1 and §7.2 ask: `sip:` URIs without a user part are the identities; DNS names count only
/// if there is no such URI; no wildcard counts, but one that would match is told apart, since its remedy is another.
pub fn compare<'a>(domain: &str, uris: impl Iterator<Item = &'a str>, dns: impl Iterator<Item = &'a str>) -> Name {
    let identities: Vec<&str> = uris.filter_map(sip_uri_part).collect();
    if identities.is_empty() {
        return compare_dns(domain, dns);
    }
    // a URI with a user part names a person, not the domain (§7.1), but it still shadows the DNS names
    match identities.into_iter().filter(|identity| !identity.contains('@')).any(|identity| same(domain, identity)) {
        true => Name::Matches,
        false => Name::Wrong,
    }
}

fn compare_dns<'a>(domain: &str, names: impl Iterator<Item = &'a str>) -> Name {
    names
        .map(|name| match name.strip_prefix("*.") {
            Some(parent) if under_wildcard(domain, parent) => Name::WildcardOnly,
            Some(_) => Name::Wrong,
            None if same(domain, name) => Name::Matches,
            None => Name::Wrong,
        })
        .max()
        .unwrap_or(Name::Wrong)
}

/// What stands behind `sip:`, without port and parameters; `None` for other schemes, `sips:` among them (§7.1).
fn sip_uri_part(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    scheme.eq_ignore_ascii_case("sip").then(|| rest.split([';', '?', ':']).next().unwrap_or(rest))
}

fn same(left: &str, right: &str) -> bool {
    let trim = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    !left.is_empty() && trim(left) == trim(right)
}

fn under_wildcard(domain: &str, parent: &str) -> bool {
    domain.split_once('.').is_some_and(|(_, rest)| same(rest, parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(uris: &[&'static str], dns: &[&'static str]) -> Name {
        compare("sip.example.org", uris.iter().copied(), dns.iter().copied())
    }

    #[test]
    fn a_dns_name_counts_without_a_sip_uri() {
        assert_eq!(with(&[], &["other.example", "SIP.example.org."]), Name::Matches);
        assert_eq!(with(&["https://sip.example.org"], &["sip.example.org"]), Name::Matches);
        assert_eq!(with(&[], &["example.org", "a.sip.example.org"]), Name::Wrong);
        assert_eq!(with(&[], &[]), Name::Wrong);
    }

    #[test]
    fn a_sip_uri_shadows_every_dns_name() {
        assert_eq!(with(&["sip:other.example"], &["sip.example.org"]), Name::Wrong);
        assert_eq!(with(&["sip:alice@sip.example.org"], &["sip.example.org"]), Name::Wrong);
        assert_eq!(with(&["SIP:sip.example.org"], &[]), Name::Matches);
        assert_eq!(with(&["sips:sip.example.org"], &[]), Name::Wrong, "only the sip scheme is an identity");
    }

    #[test]
    fn a_wildcard_is_told_apart_and_never_matches() {
        assert_eq!(with(&[], &["*.example.org"]), Name::WildcardOnly);
        assert_eq!(with(&[], &["*.org"]), Name::Wrong);
        assert_eq!(with(&[], &["*.example.org", "sip.example.org"]), Name::Matches);
        assert_eq!(with(&["sip:*.example.org"], &[]), Name::Wrong);
    }
}
