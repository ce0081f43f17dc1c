//! From what a scan saw to facts: one function for each, and the reason where there is none.

use super::groups;
use super::reply::{End, Reply};
use super::scan::{InClear, Seen, chosen};
use super::suites;
use crate::audit::facts::{Alpn, ClientCertificate, Suite, Tested, TlsFacts, Version, WithoutSni};

/// RFC 7507 §4.
const INAPPROPRIATE_FALLBACK: u8 = 86;

const VERSIONS: [Version; 5] = [Version::Ssl3, Version::Tls10, Version::Tls11, Version::Tls12, Version::Tls13];

pub(super) fn facts(seen: &Seen) -> TlsFacts {
    TlsFacts {
        versions: VERSIONS.map(|version| (version, version_fact(seen, version))).into(),
        suites: VERSIONS.into_iter().flat_map(|version| suite_list(seen, version)).collect(),
        suites_cut: seen.cut.clone(),
        server_order: server_order(seen),
        groups: group_list(seen),
        dh_bits: dh_bits(seen),
        extended_master_secret: of_older(seen, true, |reply| hello(reply, |hello| hello.extended_master_secret)),
        secure_renegotiation: of_older(seen, true, |reply| hello(reply, |hello| hello.secure_renegotiation)),
        compression: of_older(seen, false, |_| {
            asked(seen, &seen.relics, |reply| hello(reply, |hello| hello.compression))
        }),
        fallback_scsv: fallback_scsv(seen),
        heartbeat: heartbeat(seen),
        without_sni: without_sni(seen),
        alpn: alpn(seen),
        client_certificate: client_certificate(seen),
        negotiated: Tested::not_yet(),
        obstacle: None,
    }
}

/// The best handshake that showed a certificate.
pub(super) fn in_clear(seen: &Seen) -> Option<InClear> {
    let (version, (_, reply)) = seen.first.iter().rev().find(|(_, (_, reply))| !reply.chain.is_empty())?;
    Some(InClear {
        version: *version,
        chain: reply.chain.clone(),
        staple: reply.staple.clone(),
        certificate_request: reply.certificate_request,
    })
}

fn version_fact(seen: &Seen, version: Version) -> Tested<bool> {
    seen.versions.get(&version).cloned().unwrap_or_else(Tested::not_yet)
}

/// The server's order, then what was only met on the way to it.
fn suite_list(seen: &Seen, version: Version) -> Vec<Suite> {
    let mut ids = seen.suites.get(&version).cloned().unwrap_or_default();
    let first = seen.first.get(&version).and_then(|(_, reply)| chosen(version, reply));
    for id in seen.weak.get(&version).into_iter().flatten().copied().chain(first) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids.into_iter().map(|id| Suite { version, id, name: suites::name(id) }).collect()
}

/// A fact of TLS ≤ 1.2; `since_13` is what holds where only 1.3 is spoken.
fn of_older(seen: &Seen, since_13: bool, read: impl Fn(&Reply) -> Tested<bool>) -> Tested<bool> {
    match seen.best_older() {
        Some((_, (_, reply))) => read(reply),
        None if seen.takes(Version::Tls13) => Tested::Known(since_13),
        None => no_version(),
    }
}

fn no_version<T>() -> Tested<T> {
    Tested::Unknown("it took no version of TLS".to_owned())
}

fn only_13<T>() -> Tested<T> {
    Tested::Unknown("only TLS 1.3 is spoken, which answers this encrypted".to_owned())
}

fn hello(reply: &Reply, read: impl Fn(&super::reply::ServerHello) -> bool) -> Tested<bool> {
    match &reply.hello {
        Some(hello) => Tested::Known(read(hello)),
        None => Tested::Unknown(reply.end.words()),
    }
}

/// What the reply to a hello of its own says.
fn asked<T>(seen: &Seen, reply: &Option<Reply>, read: impl Fn(&Reply) -> Tested<T>) -> Tested<T> {
    match (reply, &seen.features_open) {
        (Some(reply), _) => read(reply),
        (None, Some(why)) => Tested::Unknown(why.clone()),
        (None, None) => Tested::not_yet(),
    }
}

fn server_order(seen: &Seen) -> Tested<bool> {
    match (&seen.order, seen.best_older()) {
        (Some(order), _) => order.clone(),
        (None, Some(_)) => Tested::Unknown(match &seen.cut {
            Some(why) => why.clone(),
            None => "it takes one suite only".to_owned(),
        }),
        (None, None) if seen.takes(Version::Tls13) => Tested::Unknown("only TLS 1.3 is spoken".to_owned()),
        (None, None) => no_version(),
    }
}

fn group_list(seen: &Seen) -> Tested<Vec<String>> {
    if let Some(why) = &seen.groups_open {
        return Tested::Unknown(why.clone());
    }
    if seen.first.is_empty() {
        return no_version();
    }
    let mut found: Vec<u16> = Vec::new();
    for group in seen.groups.values().rev().flatten() {
        if !found.contains(group) {
            found.push(*group);
        }
    }
    Tested::Known(found.into_iter().map(groups::name).collect())
}

fn dh_bits(seen: &Seen) -> Tested<Option<u32>> {
    match (seen.prime, &seen.cut) {
        (Some(bits), _) => Tested::Known(Some(bits)),
        (None, Some(why)) => Tested::Unknown(why.clone()),
        (None, None) if seen.first.is_empty() => no_version(),
        (None, None) => Tested::Known(None),
    }
}

fn fallback_scsv(seen: &Seen) -> Tested<bool> {
    match seen.first.len() {
        0 => no_version(),
        1 => Tested::Unknown("it takes one version only".to_owned()),
        _ => asked(seen, &seen.fallback, |reply| match (&reply.hello, &reply.end) {
            (Some(_), _) => Tested::Known(false),
            (None, End::Alert(INAPPROPRIATE_FALLBACK)) => Tested::Known(true),
            (None, end) => Tested::Unknown(end.words()),
        }),
    }
}

fn heartbeat(seen: &Seen) -> Tested<bool> {
    match seen.best_older() {
        Some(_) => asked(seen, &seen.relics, |reply| hello(reply, |hello| hello.heartbeat)),
        None if seen.takes(Version::Tls13) => only_13(),
        None => no_version(),
    }
}

fn without_sni(seen: &Seen) -> Tested<WithoutSni> {
    match seen.best_older() {
        Some((_, (_, named))) => {
            asked(seen, &seen.without_name, |reply| match (named.chain.first(), reply.chain.first()) {
                (Some(with), Some(without)) if with == without => Tested::Known(WithoutSni::Same),
                (Some(_), Some(_)) => Tested::Known(WithoutSni::Other),
                (_, None) if reply.hello.is_none() && reply.end.is_refusal() => Tested::Known(WithoutSni::Refused),
                (_, None) if reply.hello.is_none() => Tested::Unknown(reply.end.words()),
                _ => Tested::Unknown("it shows no certificate".to_owned()),
            })
        }
        None if seen.takes(Version::Tls13) => only_13(),
        None => no_version(),
    }
}

fn alpn(seen: &Seen) -> Tested<Alpn> {
    match seen.best_older() {
        Some((Version::Ssl3, _)) => Tested::Unknown("SSL 3.0 has no ALPN".to_owned()),
        Some(_) => asked(seen, &seen.alpn, |reply| match &reply.hello {
            Some(hello) => Tested::Known(hello.alpn.clone().map_or(Alpn::Ignored, Alpn::Selected)),
            // the same hello without ALPN was answered
            None if reply.end.is_refusal() => Tested::Known(Alpn::Refused),
            None => Tested::Unknown(reply.end.words()),
        }),
        None if seen.takes(Version::Tls13) => only_13(),
        None => no_version(),
    }
}

/// Whether it insists only a whole handshake can tell.
fn client_certificate(seen: &Seen) -> Tested<ClientCertificate> {
    match seen.best_older() {
        Some((_, (_, reply))) if reply.certificate_request => {
            Tested::Unknown("it asks for one; whether it insists was not seen".to_owned())
        }
        Some((_, (_, reply))) if reply.end == End::Complete => Tested::Known(ClientCertificate::NotRequested),
        Some((_, (_, reply))) => Tested::Unknown(reply.end.words()),
        None if seen.takes(Version::Tls13) => only_13(),
        None => no_version(),
    }
}
