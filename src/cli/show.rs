//! Answers for people.

use crate::config::{Config, Date};
use crate::io::admin::{
    AccountHolds, Call, Calls, ExceptionStatus, PeerAnswer, PeerOrder, PeerStatus, Peers, RatchetList, Status,
};
use crate::io::files;
use crate::policy::Exception;
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

/// What a configuration means today.
pub(super) fn configuration(config: &Config, today: Date) -> String {
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
    out + &exceptions(config, today)
}

fn exceptions(config: &Config, today: Date) -> String {
    let (mut in_force, mut over) = (String::new(), String::new());
    for account in &config.accounts {
        for exception in &account.exceptions {
            let Exception { allow, reason, expires, accepted_by } = &**exception;
            let (allow, address) = (allow.as_str(), &account.address);
            if !exception.is_in_force(today) {
                over +=
                    &format!("\nThe exception {allow} of {address} ended on {expires}: what it allowed is refused.\n");
                continue;
            }
            let days = match exception.days_left(today) {
                0 => "today is its last day".to_owned(),
                1 => "1 day left".to_owned(),
                days => format!("{days} days left"),
            };
            let meaning = exception.allow.meaning();
            in_force += &format!(
                "\n  {allow} for {address}: {meaning}.\n    Until {expires}, {days}. Accepted by {accepted_by}: {reason}\n"
            );
            if let Some(why) = account.account_rules().idle(exception.allow) {
                in_force += &format!("    But {why}.\n");
            }
        }
    }
    match in_force.is_empty() {
        true => over + "\nNo exception is in force: whatever is not encrypted is refused.\n",
        false => format!("{over}\nEXCEPTIONS IN FORCE:\n{in_force}"),
    }
}

/// An exception of a running program.
fn exception(exception: &ExceptionStatus) -> String {
    let days = if exception.days_left == 1 { "day" } else { "days" };
    printable(&format!(
        "EXCEPTION {} until {}, {} {days} left, accepted by {}: {}",
        exception.allow, exception.expires, exception.days_left, exception.accepted_by, exception.reason
    ))
}

pub(super) fn status(status: &Status) -> String {
    let mut out = format!("galene-sips {}\n", status.version);
    for account in &status.accounts {
        let tls = match &account.signalling {
            Some(signalling) => {
                let by =
                    signalling.exception.as_ref().map_or_else(String::new, |by| format!(", by the exception {by}"));
                format!("TLS {} {} ({}{by})", signalling.tls, signalling.cipher, signalling.level)
            }
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
        for one in &account.exceptions {
            out += &format!("  {}\n", exception(one));
        }
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
        ("clear", _) => "NOT ENCRYPTED: anyone on the way can listen".to_owned(),
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
    let exceptions: String = call.exceptions.iter().map(|one| format!("\n  {}", exception(one))).collect();
    let unread = match call.galene.may_write {
        Some(false) => "\n  WARNING: the group does not let the gateway write; its people see no code",
        Some(true) | None => "",
    };
    format!(
        "#{} {} → {}\n  {}, {} s, {}\n  {encrypted}{exceptions}\n  packets: {} sent, {} received, {} lost, {} not authentic; jitter {} ms\n  in the group: {} ({}){unread}\n",
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
    use crate::io::admin::{AccountStatus, Media, Participant, Rtp, Signalling};

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
            exceptions: Vec::new(),
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

    fn excepted() -> ExceptionStatus {
        ExceptionStatus {
            allow: "media-clear".to_owned(),
            reason: "PBX without SRTP".to_owned(),
            expires: "2027-02-01".to_owned(),
            days_left: 12,
            accepted_by: "ops@example.org".to_owned(),
        }
    }

    #[test]
    fn a_clear_call_is_called_so_with_what_allows_it() {
        let mut call = alice();
        call.media = Media { level: "clear".to_owned(), method: "none".to_owned(), suite: String::new(), ..call.media };
        call.exceptions = vec![excepted()];
        let shown = super::call(&call);
        for words in ["NOT ENCRYPTED", "EXCEPTION media-clear until 2027-02-01, 12 days left", "ops@example.org: PBX"] {
            assert!(shown.contains(words), "no {words}: {shown}");
        }
        assert!(!shown.contains("encrypted to") && !shown.contains("encrypted end"), "{shown}");
        // keys over signalling that nobody checked are worth nothing
        call.media = Media { method: "sdes".to_owned(), suite: "AES_CM_128_HMAC_SHA1_80".to_owned(), ..call.media };
        assert!(super::call(&call).contains("NOT ENCRYPTED"));
        assert!(!super::call(&alice()).contains("EXCEPTION"), "and otherwise nothing of it shows");
    }

    #[test]
    fn an_account_shows_its_exceptions_and_what_its_connection_rests_on() {
        let signalling = Signalling {
            level: "unverified".to_owned(),
            exception: Some("tls-unverified".to_owned()),
            tls: "1.3".to_owned(),
            cipher: "X".to_owned(),
            peer_name: "sip.example.org".to_owned(),
        };
        let account = AccountStatus {
            account: "a@b".to_owned(),
            registered: true,
            registration: "registered".to_owned(),
            signalling: Some(signalling),
            room: "r".to_owned(),
            galene: "idle".to_owned(),
            level: None,
            calls: 0,
            exceptions: vec![excepted()],
        };
        let shown = |account: &AccountStatus| {
            status(&Status { schema_version: 1, version: "1".to_owned(), accounts: vec![account.clone()] })
        };
        let text = shown(&account);
        assert!(text.contains("(unverified, by the exception tls-unverified)"), "{text}");
        assert!(text.contains("EXCEPTION media-clear until 2027-02-01"), "{text}");
        let plain = AccountStatus { signalling: None, exceptions: Vec::new(), ..account };
        assert!(!shown(&plain).to_lowercase().contains("exception"));
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
