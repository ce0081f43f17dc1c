//! Answers for people.

use crate::config::Config;
use crate::io::admin::{Call, Calls, Status};
use crate::io::files;
use std::io::Write as _;

/// Writes a result; a reader that has gone away is no error.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// Writes what went wrong.
pub(super) fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "galene-sips: {message}");
}

/// What a configuration means.
pub(super) fn configuration(config: &Config) -> String {
    let mut out = String::from("The configuration is good.\n");
    for account in &config.accounts {
        out += &format!(
            "\n{}\n  signalling   TLS, {}\n  sound        at least {}\n",
            account.address,
            account.rules.signalling.as_str(),
            account.rules.media_minimum.as_str()
        );
        for room in config.rooms.iter().filter(|room| room.account == account.address) {
            let group = files::group(room).map(|group| group.to_string());
            out += &format!("  calls go to  {}\n", group.unwrap_or_default());
        }
    }
    out + "\nNo exception is in force: whatever is not encrypted is refused.\n"
}

pub(super) fn status(status: &Status) -> String {
    let mut out = format!("galene-sips {}\n", status.version);
    for account in &status.accounts {
        let tls = match &account.signalling {
            Some(signalling) => format!("TLS {} {} ({})", signalling.tls, signalling.cipher, signalling.level),
            None => "no connection".to_owned(),
        };
        out += &format!(
            "\n{}\n  registration  {}\n  connection    {tls}\n  room          {} ({})\n  calls         {}\n",
            account.account, account.registration, account.room, account.galene, account.calls
        );
    }
    out
}

pub(super) fn calls(calls: &Calls) -> String {
    if calls.calls.is_empty() {
        return "no calls".to_owned();
    }
    calls.calls.iter().map(call).collect::<Vec<_>>().join("\n")
}

fn call(call: &Call) -> String {
    format!(
        "#{} {} → {}\n  {}, {} s, {}\n  encrypted to the provider: {} ({})\n  packets: {} sent, {} received, {} lost, {} not authentic; jitter {} ms\n  in the group: {} ({})\n",
        call.id,
        call.peer,
        call.room,
        call.state,
        call.duration_s,
        call.codec,
        call.media.suite,
        call.media.method.to_uppercase(),
        call.rtp.sent,
        call.rtp.received,
        call.rtp.lost,
        call.rtp.auth_failures,
        call.rtp.jitter_ms,
        call.galene.participant,
        call.galene.state
    )
}
