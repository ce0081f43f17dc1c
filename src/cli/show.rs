//! Answers for people.

use crate::config::Config;
use crate::io::admin::{AccountHolds, Call, Calls, PeerAnswer, PeerOrder, PeerStatus, Peers, RatchetList, Status};
use crate::io::files;
use crate::sip::printable;
use std::io::Write as _;

/// Writes a result; a reader that has gone away is no error.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// Writes a line on standard error that the next one replaces; an empty one clears it.
pub(super) fn progress(line: &str) {
    let short: String = line.chars().take(79).collect();
    let mut err = std::io::stderr();
    let _ = write!(err, "\r\x1b[K{short}");
    let _ = err.flush();
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
        let level = account.level.as_deref().map_or("", weakest);
        out += &format!(
            "\n{}\n  registration  {}\n  connection    {tls}\n  room          {} ({})\n  calls         {}{level}\n",
            account.account,
            printable(&account.registration),
            account.room,
            account.galene,
            account.calls
        );
    }
    out
}

/// The room is as strong as its weakest call.
fn weakest(level: &str) -> &'static str {
    match level {
        "zrtp-verified" => ", all encrypted end to end to this gateway, their phones verified",
        "zrtp" => ", the weakest encrypted end to end to this gateway, its code not compared",
        "srtp" => ", the weakest encrypted to the provider, who can listen",
        _ => ", the weakest NOT ENCRYPTED",
    }
}

pub(super) fn calls(calls: &Calls) -> String {
    if calls.calls.is_empty() {
        return "no calls".to_owned();
    }
    calls.calls.iter().map(call).collect::<Vec<_>>().join("\n")
}

fn call(call: &Call) -> String {
    let media = &call.media;
    let encrypted = match (media.level.as_str(), media.method.as_str()) {
        ("none", "zrtp") => "not secure yet, nothing is heard (ZRTP)".to_owned(),
        ("none", _) => "no sound agreed on yet".to_owned(),
        (_, "zrtp") => {
            let compared = if media.sas_verified { "compared" } else { "not compared" };
            let (code, agreement) = (media.sas.as_deref().unwrap_or(""), media.key_agreement.as_deref().unwrap_or(""));
            let mut text = format!(
                "encrypted end to end to this gateway: {} (ZRTP {agreement})\n  code {code}, {compared}",
                media.suite
            );
            if media.cache_mismatch {
                text += "\n  WARNING: the phone does not have the secret of its earlier calls";
            }
            if media.new_device {
                text += "\n  WARNING: a known caller with an unknown device";
            }
            text
        }
        _ => format!("encrypted to the provider: {} ({})", media.suite, media.method.to_uppercase()),
    };
    let unread = match call.galene.may_write {
        Some(false) => "\n  WARNING: the group does not let the gateway write; its people see no code",
        Some(true) | None => "",
    };
    format!(
        "#{} {} → {}\n  {}, {} s, {}\n  {encrypted}\n  packets: {} sent, {} received, {} lost, {} not authentic; jitter {} ms\n  in the group: {} ({}){unread}\n",
        call.id,
        printable(&call.peer),
        call.room,
        call.state,
        call.duration_s,
        call.codec,
        call.rtp.sent,
        call.rtp.received,
        call.rtp.lost,
        call.rtp.auth_failures,
        call.rtp.jitter_ms,
        printable(&call.galene.participant),
        call.galene.state
    )
}

pub(super) fn peers(peers: &Peers) -> String {
    let mut out = format!("our ZID: {}\n", peers.own_zid);
    if peers.peers.is_empty() {
        out += "no phones are known";
    }
    for peer in &peers.peers {
        out += &format!("\n{}", self::peer(peer));
    }
    out
}

pub(super) fn ratchet(list: &RatchetList) -> String {
    let account = |account: &AccountHolds| {
        let mut out = format!("{}\n", printable(&account.account));
        for hold in &account.holds {
            let state = match (&hold.since, &hold.until) {
                (Some(since), Some(until)) => format!("held to {} since {since}, until {until}", hold.least),
                _ => format!("not held to {} yet: it was there on {} of 3 days", hold.least, hold.days),
            };
            out += &format!("  {:<7} {state}\n", hold.what);
        }
        for caller in &account.callers {
            out += &format!("  caller  {} held to zrtp, until {}\n", printable(&caller.caller), caller.until);
        }
        if let Some(cleared) = &account.cleared {
            out += &format!("  cleared {cleared}\n");
        }
        out
    };
    list.accounts.iter().map(account).collect::<Vec<_>>().join("\n")
}

pub(super) fn order(order: PeerOrder, answer: &PeerAnswer) -> String {
    let done = match order {
        PeerOrder::Verify => "verified",
        PeerOrder::Unverify => "not verified any more",
        PeerOrder::Forget => "forgotten",
    };
    answer.peers.iter().map(|peer| format!("{} ({}): {done}", peer.zid, caller(peer))).collect::<Vec<_>>().join("\n")
}

/// Whom a phone calls itself.
pub(super) fn caller(peer: &PeerStatus) -> String {
    printable(peer.caller.as_deref().unwrap_or("anonymous"))
}

fn peer(peer: &PeerStatus) -> String {
    let verified = match &peer.verification {
        None => "no".to_owned(),
        Some(by) => {
            let how = match (&by.operator, &by.group, by.call) {
                (Some(operator), Some(group), Some(call)) => {
                    format!("by voice, by {} in {}, call {call}", printable(operator), printable(group))
                }
                _ => "by administrator, not by voice".to_owned(),
            };
            format!("{how}, {}", by.at)
        }
    };
    let secret = match (&peer.expires, peer.has_secret) {
        (_, false) => "expired",
        (Some(end), true) => &format!("until {end}"),
        (None, true) => "for ever",
    };
    let not_remembered = if peer.remembered { "" } else { "\n  NOT REMEMBERED: the store cannot be written" };
    format!(
        "{} from {} to {}\n  verified    {verified}\n  seen        first {}, last {}\n  recognised  {secret}{not_remembered}\n",
        peer.zid,
        caller(peer),
        peer.account,
        peer.first_seen,
        peer.last_seen
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::admin::{Media, Participant, Rtp};

    fn alice() -> Call {
        let room = "https://galene.example.org/group/reunion/".to_owned();
        Call {
            id: 3,
            account: "conference@sip.example.org".to_owned(),
            room,
            peer: "Alice".to_owned(),
            direction: "in".to_owned(),
            state: "talking".to_owned(),
            duration_s: 95,
            signalling: None,
            media: Media {
                level: "srtp".to_owned(),
                method: "sdes".to_owned(),
                suite: "AES_CM_128_HMAC_SHA1_80".to_owned(),
                key_agreement: None,
                sas: None,
                sas_verified: false,
                new_device: false,
                cache_mismatch: false,
            },
            codec: "opus".to_owned(),
            rtp: Rtp { sent: 4750, received: 4748, lost: 2, jitter_ms: 4, auth_failures: 0, before_keys: 0 },
            galene: Participant {
                participant: "☎ Alice #3".to_owned(),
                state: "publishing".to_owned(),
                may_write: Some(true),
            },
        }
    }

    #[test]
    fn a_zrtp_call_shows_its_code_and_every_warning() {
        let mut call = alice();
        call.media = Media {
            level: "zrtp".to_owned(),
            method: "zrtp".to_owned(),
            key_agreement: Some("X255".to_owned()),
            sas: Some("aohi".to_owned()),
            ..call.media
        };
        let shown = super::call(&call);
        assert!(shown.contains("end to end to this gateway") && shown.contains("code aohi, not compared"), "{shown}");
        assert!(!shown.contains("WARNING") && !shown.contains("provider"), "{shown}");
        call.media = Media { sas_verified: true, cache_mismatch: true, new_device: true, ..call.media };
        let shown = super::call(&call);
        assert!(shown.contains("code aohi, compared") && shown.matches("WARNING").count() == 2, "{shown}");
        call.media = Media { level: "none".to_owned(), ..call.media };
        assert!(super::call(&call).contains("not secure yet"));
        call.galene.may_write = Some(false);
        assert!(super::call(&call).contains("WARNING: the group does not let the gateway write"));
    }

    #[test]
    fn a_call_looks_as_the_readme_shows_it() {
        let shown = calls(&Calls { schema_version: 1, calls: vec![alice()] });
        assert!(include_str!("../../README.md").contains(shown.trim_end()), "{shown}");
    }

    #[test]
    fn a_call_whose_sound_is_not_agreed_on_is_not_called_encrypted() {
        let mut early = alice();
        early.media = Media { level: "none".to_owned(), suite: String::new(), ..early.media };
        let shown = call(&early);
        assert!(shown.contains("no sound agreed on yet") && !shown.contains("encrypted"), "{shown}");
    }

    #[test]
    fn what_others_chose_cannot_command_a_terminal() {
        let shown = call(&Call { peer: "x\u{1b}[2J\u{202e}".to_owned(), ..alice() });
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    }
}
