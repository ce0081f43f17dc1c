//! Which doors are open: SIP over TLS, and SIP without.

use super::{Outcome, is_open};
use crate::audit::facts::{Facts, PlainFacts, PlainTransport, Response, Tcp, Tested};
use crate::audit::finding::Severity::{Critical, High, Medium};

const ASK_FOR_TLS: &str = "Ask the provider for SIP over TLS, or use one that offers it";

pub(super) fn tls(facts: &Facts) -> Outcome {
    let evidence = facts.servers.iter().map(|server| {
        let what = match &server.tcp {
            Tested::Known(Tcp::Open { connect_ms }) => format!("takes connections ({connect_ms} ms)"),
            Tested::Known(Tcp::Refused) => "refuses connections".to_owned(),
            Tested::Known(Tcp::Silent) => "does not answer".to_owned(),
            Tested::Known(Tcp::Unreachable(why)) | Tested::Unknown(why) => why.clone(),
        };
        let tls = match (&server.tls, is_open(server)) {
            (Tested::Unknown(why), true) => format!("; no TLS: {why}"),
            _ => String::new(),
        };
        format!("{} ({}): {what}{tls}", server.address, server.host)
    });
    let evidence: Vec<String> = evidence.collect();
    let speaks = |server: &&crate::audit::facts::ServerFacts| server.tls.known().is_some();
    let refuses = |server: &&crate::audit::facts::ServerFacts| matches!(server.tcp, Tested::Known(Tcp::Refused));
    let all = facts.servers.len();
    let outcome = match (all, facts.servers.iter().filter(speaks).count(), facts.servers.iter().filter(refuses).count())
    {
        (0, _, _) => Outcome::unknown("no server was found"),
        (_, speaking, _) if speaking == all => match all {
            1 => Outcome::pass("The server takes SIP over TLS"),
            _ => Outcome::pass(format!("All {all} addresses take SIP over TLS")),
        },
        (_, 0, refusing) if refusing == all => {
            Outcome::new(Critical, "No server takes SIP over TLS: every address refuses the connection", ASK_FOR_TLS)
        }
        (_, 0, _) if facts.servers.iter().any(is_open) => {
            Outcome::new(Critical, "No server takes SIP over TLS", ASK_FOR_TLS)
        }
        (_, 0, _) => Outcome::unknown("no server could be reached"),
        (_, speaking, _) => Outcome::new(
            Medium,
            format!("{speaking} of {all} addresses take SIP over TLS, so some callers wait for nothing"),
            "Tell the provider which of its addresses do not answer",
        ),
    };
    outcome.with(evidence)
}

pub(super) fn plain(facts: &Facts) -> Outcome {
    if facts.plain.is_empty() {
        return Outcome::unknown("there is no server to ask");
    }
    let outcomes = facts.plain.iter().map(one);
    let evidence = facts.plain.iter().map(|probe| {
        let over = match probe.transport {
            PlainTransport::Udp => "UDP",
            PlainTransport::Tcp => "TCP",
        };
        let said = |what: &str, tested: &Tested<Option<Response>>| match tested {
            Tested::Unknown(why) => format!("{what}: {why}"),
            Tested::Known(None) => format!("{what}: nothing"),
            Tested::Known(Some(response)) => format!("{what}: {} {}", response.status, response.reason),
        };
        format!(
            "{} over {over}: {}, {}",
            probe.address,
            said("OPTIONS", &probe.options),
            said("REGISTER", &probe.register)
        )
    });
    let evidence: Vec<String> = evidence.collect();
    match Outcome::worst(outcomes) {
        Some(worst) => worst.with(evidence),
        None => Outcome::unknown("there is no server to ask"),
    }
}

fn one(probe: &PlainFacts) -> Outcome {
    const CLOSE: &str = "Ask the provider to close port 5060, or to answer there only with a redirection to TLS; set your phones to TLS";
    let (options, register) = match (&probe.options, &probe.register) {
        (Tested::Known(options), Tested::Known(register)) => (options, register),
        (Tested::Unknown(why), _) | (_, Tested::Unknown(why)) => return Outcome::unknown(why.clone()),
    };
    match register {
        Some(response) if response.status == 401 || response.status == 407 => Outcome::new(
            High,
            "The server asks for passwords on port 5060, where everybody on the path can listen",
            CLOSE,
        ),
        Some(response) if response.status < 300 => {
            Outcome::new(High, "The server takes registrations on port 5060, without TLS and without a password", CLOSE)
        }
        Some(response) if sends_to_tls(response) => {
            Outcome::pass("Port 5060 only sends clients on to TLS, or turns them away")
        }
        Some(_) => Outcome::new(Medium, "The server speaks SIP on port 5060, without TLS", CLOSE),
        None if options.is_some() => {
            Outcome::new(Medium, "The server answers OPTIONS on port 5060, without TLS", CLOSE)
        }
        None => Outcome::pass("Nothing speaks SIP without TLS on port 5060"),
    }
}

/// A redirection, "use TLS" (305, 426 of others), or a plain no.
fn sends_to_tls(response: &Response) -> bool {
    matches!(response.status, 301 | 302 | 305 | 403 | 426)
}
