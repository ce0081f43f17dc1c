//! What TLS the servers speak.

use super::{Outcome, known, list, need};
use crate::audit::facts::{Alpn, ClientCertificate, ServerFacts, Suite, Tested, Version, WithoutSni};
use crate::audit::finding::Severity::{Critical, High, Low, Medium};
use crate::audit::tls::suites::{Class, class};

fn name(version: Version) -> &'static str {
    match version {
        Version::Ssl3 => "SSL 3",
        Version::Tls10 => "TLS 1.0",
        Version::Tls11 => "TLS 1.1",
        Version::Tls12 => "TLS 1.2",
        Version::Tls13 => "TLS 1.3",
    }
}

pub(super) fn versions(server: &ServerFacts) -> Outcome {
    need(|| {
        let tls = known(&server.tls)?;
        let evidence = tls.versions.iter().map(|(version, tested)| match tested {
            Tested::Known(true) => format!("{}: offered", name(*version)),
            Tested::Known(false) => format!("{}: refused", name(*version)),
            Tested::Unknown(why) => format!("{}: unknown, {why}", name(*version)),
        });
        let evidence: Vec<String> = evidence.collect();
        let has =
            |wanted: Version| tls.versions.iter().any(|(v, tested)| *v == wanted && tested.known() == Some(&true));
        let unknown = tls.versions.iter().find_map(|(version, tested)| match tested {
            Tested::Unknown(why) => Some(format!("{} could not be tested: {why}", name(*version))),
            Tested::Known(_) => None,
        });
        let old: Vec<&str> =
            [Version::Ssl3, Version::Tls10, Version::Tls11].into_iter().filter(|v| has(*v)).map(name).collect();
        let good = has(Version::Tls12) || has(Version::Tls13);
        let newest = "Ask the provider to enable TLS 1.2 and 1.3, and nothing older";
        let outcome = if has(Version::Ssl3) {
            Outcome::new(Critical, format!("The server still speaks {}", list(&old)), newest)
        } else if !good && !old.is_empty() {
            Outcome::new(Critical, format!("The server speaks nothing newer than {}", old[old.len() - 1]), newest)
        } else if !old.is_empty() {
            Outcome::new(High, format!("The server also speaks {}, which RFC 8996 forbids", list(&old)), newest)
        } else if let Some(why) = unknown {
            Outcome::unknown(why)
        } else if !has(Version::Tls13) {
            let fix = "Ask the provider to enable TLS 1.3";
            Outcome::new(Medium, "The server speaks TLS 1.2 and not TLS 1.3", fix)
        } else {
            Outcome::pass(match has(Version::Tls12) {
                true => "TLS 1.2 and TLS 1.3, nothing older",
                false => "TLS 1.3 only",
            })
        };
        Ok(outcome.with(evidence))
    })
}

pub(super) fn suites(server: &ServerFacts) -> Outcome {
    need(|| {
        let tls = known(&server.tls)?;
        let of = |wanted: &[Class]| -> Vec<String> {
            tls.suites
                .iter()
                .filter(|suite| class(suite.id).is_some_and(|class| wanted.contains(&class)))
                .map(|suite| suite.name.clone())
                .collect()
        };
        let mut evidence: Vec<String> = tls
            .suites
            .iter()
            .map(|Suite { version, name: suite, .. }| format!("{}: {suite}", name(*version)))
            .collect();
        evidence.extend(tls.suites_cut.iter().map(|why| format!("the list is not complete: {why}")));
        let fix = "Ask the provider to allow suites with AES-GCM or ChaCha20-Poly1305 only";
        let (none, weak) = (of(&[Class::Null, Class::Anonymous, Class::Export]), of(&[Class::Rc4, Class::SmallBlock]));
        let outcome = if tls.suites.is_empty() {
            Outcome::unknown("no suite was found")
        } else if !none.is_empty() {
            Outcome::new(Critical, format!("The server takes suites that protect nothing: {}", list(&none)), fix)
        } else if !weak.is_empty() {
            Outcome::new(High, format!("The server takes broken ciphers: {}", list(&weak)), fix)
        } else if tls.suites.iter().all(|suite| matches!(class(suite.id), Some(Class::Cbc | Class::StaticKey))) {
            Outcome::new(Medium, "The server takes no suite with authenticated encryption and forward secrecy", fix)
        } else {
            Outcome::pass(match tls.suites.len() {
                1 => "One cipher suite, a good one".to_owned(),
                many => format!("{many} cipher suites, none of them broken"),
            })
        };
        Ok(outcome.with(evidence))
    })
}

pub(super) fn forward_secrecy(server: &ServerFacts) -> Outcome {
    need(|| {
        let tls = known(&server.tls)?;
        if tls.suites.is_empty() {
            return Err(Outcome::unknown("no suite was found"));
        }
        let without: Vec<&str> = tls
            .suites
            .iter()
            .filter(|suite| class(suite.id) == Some(Class::StaticKey) || is_static(&suite.name))
            .map(|suite| suite.name.as_str())
            .collect();
        let fix =
            "Ask the provider to allow ECDHE suites only (in TLS 1.2), with 2048 bits or more where DHE must stay";
        let mut evidence = Vec::new();
        evidence.extend(tls.groups.known().map(|groups| format!("groups: {}", list(groups))));
        if let Tested::Known(Some(bits)) = tls.dh_bits {
            evidence.push(format!("DHE prime: {bits} bits"));
        }
        let outcome = match tls.dh_bits {
            Tested::Known(Some(bits)) if bits < 2048 => {
                Outcome::new(High, format!("The server agrees on keys with a prime of {bits} bits only"), fix)
            }
            _ if without.len() == tls.suites.len() => {
                Outcome::new(High, "No suite of the server has forward secrecy", fix)
            }
            _ if !without.is_empty() => {
                Outcome::new(Medium, "The server also takes suites without forward secrecy", fix)
                    .with(without.iter().map(|name| (*name).to_owned()))
            }
            Tested::Known(Some(_)) if tls.suites_cut.is_some() => {
                Outcome::unknown("the list of suites is not complete, so a shorter prime may be among the others")
            }
            _ => Outcome::pass("Every suite has forward secrecy"),
        };
        Ok(outcome.with(evidence))
    })
}

/// Key transport by RSA, and the fixed (EC)DH of certificates.
fn is_static(suite: &str) -> bool {
    ["TLS_RSA_", "TLS_ECDH_", "TLS_DH_"].iter().any(|prefix| suite.starts_with(prefix)) && !suite.contains("_anon_")
}

pub(super) fn post_quantum(server: &ServerFacts) -> Outcome {
    need(|| {
        let groups = known(&known(&server.tls)?.groups)?;
        let hybrid: Vec<&String> = groups.iter().filter(|group| group.contains("MLKEM")).collect();
        Ok(match hybrid.is_empty() {
            true => Outcome::info("No post-quantum key exchange"),
            false => Outcome::pass(format!("Post-quantum key exchange: {}", list(&hybrid))),
        })
    })
}

pub(super) fn extensions(server: &ServerFacts) -> Outcome {
    need(|| {
        let tls = known(&server.tls)?;
        let older = tls.versions.iter().any(|(version, has)| *version < Version::Tls13 && has.known() == Some(&true));
        if !older {
            return Ok(Outcome::pass("TLS 1.3 has them all built in"));
        }
        let fix = "Ask the provider to update the TLS library of its server";
        let ems = known(&tls.extended_master_secret)?;
        let renegotiation = known(&tls.secure_renegotiation)?;
        let (compression, heartbeat) = (known(&tls.compression)?, known(&tls.heartbeat)?);
        let says = |what: &str, yes: &bool| format!("{what}: {}", if *yes { "yes" } else { "no" });
        let evidence = [
            says("extended master secret", ems),
            says("secure renegotiation", renegotiation),
            says("compression", compression),
            says("heartbeat", heartbeat),
        ];
        let outcome = if *compression {
            Outcome::new(High, "The server takes TLS compression, which gives secrets away (CRIME)", fix)
        } else if !renegotiation {
            Outcome::new(Medium, "The server does not know secure renegotiation", fix)
        } else if !ems {
            Outcome::new(Low, "The server does not know the extended master secret", fix)
        } else if *heartbeat {
            Outcome::new(Low, "The server answers TLS heartbeats, which SIP does not need", fix)
        } else {
            Outcome::pass("Extended master secret and secure renegotiation, no compression")
        };
        Ok(outcome.with(evidence))
    })
}

pub(super) fn fallback(server: &ServerFacts) -> Outcome {
    need(|| {
        let tls = known(&server.tls)?;
        let versions = tls.versions.iter().filter(|(_, has)| has.known() == Some(&true)).count();
        if versions < 2 {
            return Ok(Outcome::pass("There is no older version to fall back to"));
        }
        Ok(match known(&tls.fallback_scsv)? {
            true => Outcome::pass("A client that was talked into an older version is warned"),
            false => Outcome::new(
                Low,
                "The server does not notice when a client is talked into an older version",
                "Ask the provider to update the TLS library of its server",
            ),
        })
    })
}

pub(super) fn sni(server: &ServerFacts) -> Outcome {
    need(|| {
        Ok(match known(&known(&server.tls)?.without_sni)? {
            WithoutSni::Same => Outcome::pass("The same certificate with and without a name in the handshake"),
            WithoutSni::Other => Outcome::info("A client that names no server gets another certificate"),
            WithoutSni::Refused => Outcome::info("A client that names no server is turned away"),
        })
    })
}

pub(super) fn alpn(server: &ServerFacts) -> Outcome {
    need(|| {
        Ok(match known(&known(&server.tls)?.alpn)? {
            Alpn::Ignored => Outcome::pass("ALPN is ignored"),
            Alpn::Selected(protocol) if protocol == "sip/2" => Outcome::pass("ALPN sip/2 is selected"),
            Alpn::Selected(protocol) => Outcome::new(
                Low,
                format!("The server answers ALPN sip/2 with {protocol}"),
                "Ask the provider to correct the ALPN setting of its server",
            ),
            Alpn::Refused => Outcome::info("A client that names ALPN sip/2 is turned away; this gateway does not"),
        })
    })
}

pub(super) fn client_certificate(server: &ServerFacts) -> Outcome {
    need(|| {
        Ok(match known(&known(&server.tls)?.client_certificate)? {
            ClientCertificate::NotRequested => Outcome::pass("No client certificate is asked for"),
            ClientCertificate::Requested => Outcome::info("A client certificate is asked for, and not needed"),
            ClientCertificate::Required => Outcome::new(
                High,
                "The server turns away clients without a certificate",
                "Ask the provider for a client certificate, and name it with client_cert and client_key",
            ),
        })
    })
}
