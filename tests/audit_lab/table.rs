//! What the laboratory's providers are, and what the audit has to say of each: written down before it is run.
//!
//! Each is good but for the fault of its name. Beside what stands here every provider has [`ALWAYS`], and everything else passes
//! or is mere information.

use galene_sips::audit::catalogue::CHECKS;

/// A laboratory on loopback has no IPv6 addresses to give.
const ALWAYS: &str = "D-ADDR low";

/// What follows where no SIP could be spoken.
const NO_SIP: &str = "S-OPTIONS unknown, S-KEEPALIVE unknown, S-SIPS unknown, S-DIGEST unknown, S-QOP unknown, S-NONCE unknown, \
                      S-REALM unknown, T-BANNER unknown";

/// What follows where somebody listens who speaks something else.
const SPEAKS_NO_SIP: &str = "S-OPTIONS unknown, S-KEEPALIVE low, S-SIPS unknown, S-DIGEST unknown, S-QOP unknown, S-NONCE unknown, \
                             S-REALM unknown, T-BANNER unknown";

/// What follows where nobody was asked for digest.
const NO_DIGEST: &str = "S-QOP unknown, S-NONCE unknown, S-REALM unknown";

/// What follows where TLS could not be spoken either.
const NO_TLS: &str = "L-VERSIONS unknown, L-SUITES unknown, L-PFS unknown, L-PQ unknown, L-EXTENSIONS unknown, L-FALLBACK unknown, \
                      L-SNI unknown, L-ALPN unknown, L-MTLS unknown, C-CHAIN unknown, C-NAME unknown, C-LIFE unknown, \
                      C-KEY unknown, C-EKU unknown, C-OCSP unknown, C-PIN unknown";

/// What follows where DNS named no server.
const NO_SERVER: &str = "T-TLS unknown, D-ADDR unknown, T-PLAIN unknown";

/// What a login adds where policy does not let it be tried.
const NOT_TRIED: &str = "S-LOGIN critical, S-REPLAY unknown, S-OUTBOUND unknown";

/// The same where no connection was had.
const NOT_REACHED: &str = "S-LOGIN unknown, S-REPLAY unknown, S-OUTBOUND unknown";

/// A provider, and what has to be found.
pub(crate) struct Case {
    /// Its domain is this below `lab.test`.
    pub(crate) name: &'static str,
    /// The exit code of its audit, with and without the account.
    pub(crate) exit: u8,
    /// The rule that refuses it; empty if none does.
    pub(crate) rule: &'static str,
    /// What is neither passed nor mere information.
    found: &'static [&'static str],
    /// What the account adds.
    login: &'static str,
}

const fn case(
    name: &'static str,
    (exit, rule): (u8, &'static str),
    found: &'static [&'static str],
    login: &'static str,
) -> Case {
    Case { name, exit, rule, found, login }
}

const ACCEPTED: (u8, &str) = (0, "");
const INCONCLUSIVE: (u8, &str) = (3, "");

const fn refused(rule: &'static str) -> (u8, &'static str) {
    (1, rule)
}

/// All of them.
pub(crate) const TABLE: &[Case] = &[
    case("good", ACCEPTED, &[], ""),
    // versions and suites
    case(
        "ssl-3",
        refused("tls-suite"), // it knows no suite of ours either, and says so first
        &["L-VERSIONS critical, L-SUITES medium, L-EXTENSIONS medium, L-ALPN unknown", NO_SIP],
        NOT_TRIED,
    ),
    case("tls-1-0-only", refused("tls-version"), &["L-VERSIONS critical, L-SUITES medium", NO_SIP], NOT_TRIED),
    case("tls-1-1-too", ACCEPTED, &["L-VERSIONS high"], ""),
    case("tls-1-2-only", ACCEPTED, &["L-VERSIONS medium"], ""),
    case(
        "static-rsa-only",
        refused("tls-suite"),
        &["L-VERSIONS medium, L-SUITES medium, L-PFS high", NO_SIP],
        NOT_TRIED,
    ),
    case("static-rsa-too", ACCEPTED, &["L-PFS medium"], ""),
    case("rc4-only", refused("tls-suite"), &["L-VERSIONS medium, L-SUITES high", NO_SIP], NOT_TRIED),
    case("null-too", ACCEPTED, &["L-SUITES critical"], ""),
    case("anonymous-too", ACCEPTED, &["L-SUITES critical"], ""),
    case("client-certificate", refused("client-certificate"), &["L-MTLS high", NO_SIP], NOT_TRIED),
    // certificates
    case("rsa-1024", refused("certificate-invalid"), &["C-KEY high", NO_SIP], NOT_TRIED),
    case("sha-1", refused("certificate-invalid"), &["C-CHAIN critical, C-KEY high"], NOT_TRIED),
    case("expired", refused("certificate-expired"), &["C-LIFE critical"], NOT_TRIED),
    case("not-yet-valid", refused("certificate-not-yet-valid"), &["C-LIFE critical"], NOT_TRIED),
    case("wrong-name", refused("certificate-name"), &["C-NAME critical"], NOT_TRIED),
    case("server-name-only", refused("certificate-name"), &["C-NAME critical"], NOT_TRIED),
    case("wildcard", refused("certificate-wildcard"), &["C-NAME medium"], NOT_TRIED),
    case("shadowing-uri", refused("certificate-name"), &["C-NAME critical"], NOT_TRIED),
    case("common-name-only", refused("certificate-name"), &["C-NAME critical"], NOT_TRIED),
    case("no-intermediate", refused("certificate-unknown-issuer"), &["C-CHAIN critical"], NOT_TRIED),
    case("self-signed", refused("certificate-self-signed"), &["C-CHAIN critical"], NOT_TRIED),
    // DNS
    case("no-srv", ACCEPTED, &["D-SRV medium"], ""),
    case("udp-first", ACCEPTED, &["D-NAPTR medium"], ""),
    case("unsigned", ACCEPTED, &["D-DNSSEC low"], ""),
    case(
        "bogus",
        refused("dns-bogus"),
        &[
            "D-DNSSEC critical, D-NAPTR unknown, D-SRV unknown, D-TLSA unknown, D-CAA unknown",
            NO_SERVER,
            NO_TLS,
            NO_SIP,
        ],
        NOT_REACHED,
    ),
    case("not-offered", refused("tls-required"), &["D-SRV high", NO_SERVER, NO_TLS, NO_SIP], NOT_REACHED),
    case("other-tlsa", ACCEPTED, &["D-TLSA high"], ""),
    case("one-of-two-dead", ACCEPTED, &["T-TLS medium"], ""),
    // logins and SIP
    case("md5", ACCEPTED, &["S-DIGEST medium"], "S-LOGIN medium"),
    case("no-qop", ACCEPTED, &["S-QOP medium"], "S-REPLAY low"),
    case(
        "basic",
        refused("login-scheme"),
        &["S-DIGEST critical", NO_DIGEST],
        "S-LOGIN critical, S-REPLAY unknown, S-OUTBOUND unknown",
    ),
    case("no-password", ACCEPTED, &["S-DIGEST critical", NO_DIGEST], "S-LOGIN critical, S-REPLAY unknown"),
    case("no-pong", ACCEPTED, &["S-KEEPALIVE low"], ""),
    case("asks-in-clear", ACCEPTED, &["T-PLAIN high"], ""),
    case("tells-its-version", ACCEPTED, &["T-BANNER low"], ""),
    case("hostile-texts", ACCEPTED, &["T-BANNER low"], ""),
    // no SIP over TLS at all
    case("no-sip", INCONCLUSIVE, &[SPEAKS_NO_SIP], NOT_REACHED),
    case("closed", INCONCLUSIVE, &["T-TLS critical", NO_TLS, NO_SIP], NOT_REACHED),
    case("silent", INCONCLUSIVE, &["T-TLS unknown", NO_TLS, NO_SIP], NOT_REACHED),
];

impl Case {
    /// `ID severity`, in the catalogue's order, of all findings that are neither passed nor mere information.
    pub(crate) fn findings(&self, with_account: bool) -> Vec<String> {
        let login = if with_account { self.login } else { "" };
        let parts = self.found.iter().chain([&ALWAYS, &login]);
        let mut found: Vec<&str> = parts.flat_map(|part| part.split(", ")).filter(|part| !part.is_empty()).collect();
        let id = |finding: &str| finding.split(' ').next().unwrap().to_owned();
        if found.iter().filter(|finding| id(finding) == "D-ADDR").count() == 2 {
            found.retain(|finding| *finding != ALWAYS); // no address at all
        }
        let place = |finding: &str| CHECKS.iter().position(|check| check.id == id(finding)).expect("a check");
        found.sort_by_key(|finding| place(finding));
        found.into_iter().map(str::to_owned).collect()
    }
}
