//! Who the servers are.

use super::{Outcome, known, list, need};
use crate::audit::facts::{Certificate, CertificateFacts, ServerFacts, Staple};
use crate::audit::finding::Severity::{Critical, High, Low, Medium};
use crate::policy::{Chain, Name, Validity};

const DAY: i64 = 86_400;

fn leaf(facts: &CertificateFacts) -> Result<&Certificate, Outcome> {
    facts.chain.first().ok_or_else(|| Outcome::unknown("the server showed no certificate"))
}

pub(super) fn chain(server: &ServerFacts) -> Outcome {
    need(|| {
        let facts = known(&server.certificate)?;
        let evidence = facts.chain.iter().map(|it| format!("{}, issued by {}", it.subject, it.issuer));
        let evidence: Vec<String> = evidence.collect();
        let outcome = match facts.judged.chain {
            Chain::Trusted => Outcome::pass("The chain leads to an authority that is trusted here"),
            Chain::SelfSigned => Outcome::new(
                Critical,
                "The certificate is signed by itself, so it proves nothing",
                "Ask the provider for a certificate of a public authority, or check the key with it and pin it (see C-PIN)",
            ),
            Chain::UnknownIssuer => Outcome::new(
                Critical,
                "The chain does not lead to an authority that is trusted here: one is missing in between, or it is a private one",
                "Ask the provider to send all intermediate certificates; if it has its own authority, name that with --ca-file",
            ),
            Chain::Invalid => Outcome::new(
                Critical,
                "The certificate or its chain is broken",
                "Ask the provider to repair the certificate chain of its SIP server",
            ),
        };
        let detail = Some(&facts.judged.chain_detail).filter(|text| !text.is_empty()).cloned();
        Ok(outcome.with(detail).with(evidence))
    })
}

pub(super) fn name(server: &ServerFacts, expected: &str) -> Outcome {
    need(|| {
        let facts = known(&server.certificate)?;
        let leaf = leaf(facts)?;
        let web = if facts.webpki_name { "would take it" } else { "would not take it" };
        let evidence = [
            format!("wanted: {expected}"),
            format!("URIs: {}", list(&leaf.uris)),
            format!("DNS names: {}", list(&leaf.dns_names)),
            format!("common names (never count): {}", list(&leaf.common_names)),
            format!("the web's rule (RFC 6125) {web}"),
        ];
        let exact = "Ask the provider for a certificate that names its SIP domain exactly";
        let shadows = leaf.uris.iter().any(|uri| uri.to_ascii_lowercase().starts_with("sip:"));
        let outcome = match facts.judged.name {
            Name::Matches => Outcome::pass(format!("The certificate names {expected}")),
            Name::WildcardOnly => Outcome::new(
                Medium,
                format!("The certificate names {expected} by a wildcard only, which SIP forbids and the web allows"),
                format!("{exact}, or pin the key: pin_sha256 with signalling = \"pinned\""),
            ),
            Name::Wrong if shadows && facts.webpki_name => Outcome::new(
                Critical,
                format!(
                    "The certificate has a DNS name {expected}, but its sip: URI names another domain and shadows it"
                ),
                exact,
            ),
            Name::Wrong => Outcome::new(
                Critical,
                format!("The certificate does not name {expected}"),
                format!("{exact}; if it is the name of its server, and the provider says so, set expected_name"),
            ),
        };
        Ok(outcome.with(evidence))
    })
}

pub(super) fn life(server: &ServerFacts, now: i64) -> Outcome {
    need(|| {
        let facts = known(&server.certificate)?;
        let leaf = leaf(facts)?;
        let (begins, ends) = (date(leaf.not_before), date(leaf.not_after));
        let left = (leaf.not_after - now).div_euclid(DAY);
        let total = (leaf.not_after - leaf.not_before) / DAY;
        let renew = "Ask the provider to renew the certificate, and to renew it by itself from then on";
        let outcome = match facts.judged.validity {
            Validity::Expired => Outcome::new(Critical, format!("The certificate expired on {ends}"), renew),
            Validity::NotYetValid => Outcome::new(
                Critical,
                format!("The certificate is not valid before {begins}"),
                "Check the clock of this machine; if it is right, ask the provider",
            ),
            Validity::Valid if left <= 3 => Outcome::new(High, format!("The certificate ends on {ends}"), renew),
            Validity::Valid if left <= 14 => Outcome::new(Medium, format!("The certificate ends on {ends}"), renew),
            Validity::Valid if total > 398 && facts.judged.chain == Chain::Trusted => Outcome::new(
                Low,
                format!("The certificate lives {total} days; 398 is what browsers allow"),
                "Ask the provider for shorter certificates that renew themselves",
            ),
            Validity::Valid => Outcome::pass(format!("Valid until {ends}")),
        };
        Ok(outcome.with([format!("from {begins} to {ends}")]))
    })
}

fn date(seconds: i64) -> String {
    let days = u32::try_from(seconds.div_euclid(DAY)).unwrap_or(0).min(2_932_896);
    crate::config::Date::from_unix_days(days).to_string()
}

pub(super) fn key(server: &ServerFacts) -> Outcome {
    need(|| {
        let facts = known(&server.certificate)?;
        let leaf = leaf(facts)?;
        let evidence = facts
            .chain
            .iter()
            .map(|it| format!("{}: {}, {} bits, signed with {}", it.subject, it.key, it.key_bits, it.signature));
        let evidence: Vec<String> = evidence.collect();
        let short =
            |it: &Certificate| it.key == "RSA" && it.key_bits < 2048 || it.key.starts_with("EC") && it.key_bits < 256;
        // who signs himself is trusted for his key, not for his signature
        let old = |it: &Certificate| {
            let signature = it.signature.to_ascii_lowercase();
            it.subject != it.issuer
                && (signature.contains("sha1") || signature.contains("md5") || signature.contains("md2"))
        };
        let fix = "Ask the provider for a certificate with an RSA key of 2048 bits or more, or an EC one, signed with SHA-256";
        let outcome = if facts.chain.iter().any(short) {
            Outcome::new(
                High,
                format!("The certificate's key is too short: {} with {} bits", leaf.key, leaf.key_bits),
                fix,
            )
        } else if facts.chain.iter().any(old) {
            Outcome::new(High, "The certificate is signed with a hash that is broken", fix)
        } else {
            Outcome::pass(format!("{} with {} bits, signed with {}", leaf.key, leaf.key_bits, leaf.signature))
        };
        Ok(outcome.with(evidence))
    })
}

pub(super) fn purpose(server: &ServerFacts) -> Outcome {
    need(|| {
        let leaf = leaf(known(&server.certificate)?)?;
        Ok(match &leaf.extended_key_usage {
            None => Outcome::pass("The certificate does not limit its purposes"),
            Some(usages) if usages.iter().any(|usage| usage == "serverAuth" || usage == "anyExtendedKeyUsage") => {
                Outcome::pass(format!("The certificate is for TLS servers ({})", list(usages)))
            }
            Some(usages) => Outcome::new(
                High,
                format!("The certificate is not for TLS servers ({})", list(usages)),
                "Ask the provider for a certificate with the purpose serverAuth",
            ),
        })
    })
}

pub(super) fn revocation(server: &ServerFacts) -> Outcome {
    need(|| {
        let facts = known(&server.certificate)?;
        let leaf = leaf(facts)?;
        let evidence = leaf.ocsp.iter().map(|url| format!("OCSP responder (not asked): {url}"));
        let evidence: Vec<String> =
            evidence.chain(leaf.crl.iter().map(|url| format!("revocation list (not fetched): {url}"))).collect();
        let outcome = match known(&facts.ocsp_staple)? {
            Staple::Good => Outcome::pass("A stapled OCSP answer says that the certificate was not revoked"),
            Staple::Revoked => Outcome::new(
                Critical,
                "The certificate was revoked, says the OCSP answer that the server itself sends",
                "Do not use this provider until it has explained this",
            ),
            Staple::Absent | Staple::Useless if leaf.must_staple => Outcome::new(
                High,
                "The certificate demands a stapled OCSP answer, and no good one came",
                "Ask the provider to staple OCSP answers, or for a certificate that does not demand them",
            ),
            Staple::Useless => Outcome::info("A stapled OCSP answer came that proves nothing"),
            Staple::Absent => Outcome::info("No stapled OCSP answer"),
        };
        Ok(outcome.with(evidence))
    })
}

pub(super) fn pin(server: &ServerFacts) -> Outcome {
    need(|| {
        let leaf = leaf(known(&server.certificate)?)?;
        Ok(Outcome::info(format!("pin_sha256 = [\"{}\"]", leaf.spki_sha256))
            .with([format!("SHA-256 of the certificate: {}", leaf.sha256), format!("serial number: {}", leaf.serial)]))
    })
}
