//! What a line says to the people in the group, and what it does when they speak: codes to compare, warnings, `!sas`.
//!
//! In: what became of a call's keys, commands that the room has read. Out: lines for the chat; the word of an operator, with who he
//! is, where and when. The gateway never compares a code and never says one aloud.

use super::{Line, Output, PhoneCall};
use crate::audio::Announcement;
use crate::keying::Secured;
use crate::peers::{Acquaintance, CallerBefore, PeerCache, Remembered, Verification, Verifier};
use crate::policy::{Exception, MediaLevel};
use crate::room::{Author, Command};
use crate::units::CallNumber;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the store may take before a phone counts as not remembered.
pub(super) const STORE_PATIENCE: Duration = Duration::from_secs(3);

impl Line {
    fn say(&mut self, text: impl Into<String>) {
        self.outputs.push_back(Output::Say(None, text.into()));
    }

    /// A call is in: what its sound is worth if that is known already, and the exceptions that it rests on.
    pub(super) fn tell_joined(&mut self, now: Instant, number: CallNumber) {
        let Some(call) = self.calls.get(&number) else { return };
        let name = &call.participant;
        let mut lines = Vec::new();
        if let Some(exception) = &self.signalling_exception {
            lines.push(excepted_signalling(name, exception));
        }
        let level = call.protection().map(|(level, _)| level).filter(|_| call.zrtp.is_none());
        if level.is_some() && self.caller_before(&call.caller, now) == CallerBefore::HadZrtp {
            let warning = format!("⚠ {name}: this caller came with ZRTP before, and comes without it now.");
            tracing::warn!(call = %number, "{warning}");
            lines.push(warning);
        }
        match level {
            Some(MediaLevel::Clear) => lines.push(excepted_sound(name, call.exception())),
            Some(_) => lines.push(format!(
                "{name}: encrypted to the provider, who can listen. Set the phone's media encryption to ZRTP to compare a code."
            )),
            None => {}
        }
        lines.into_iter().for_each(|line| self.say(line));
        if level.is_some() {
            self.tell_level(number);
        }
    }

    /// A call that began in clear has keys now. Its name in the group stays.
    pub(super) fn tell_rise(&mut self, number: CallNumber, before: Option<MediaLevel>) {
        let Some(call) = self.calls.get(&number).filter(|_| before == Some(MediaLevel::Clear)) else { return };
        let Some((level, _)) = call.protection().filter(|(level, _)| *level > MediaLevel::Clear) else { return };
        let text = format!("{}: {}, from now on.", call.participant, worth(level));
        self.say(text);
    }

    /// A call is secure: the code, and everything that should make people careful.
    pub(super) fn tell_secured(&mut self, now: Instant, number: CallNumber) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(secured) = call.secured.clone() else { return };
        call.memory_due = Some(now + STORE_PATIENCE);
        let acquaintance = call.cache.as_ref().and_then(PeerCache::acquaintance);
        let name = call.participant.clone();
        for warning in warnings(&name, &secured, acquaintance.as_ref()) {
            tracing::warn!(call = %number, "{warning}");
            self.say(warning);
        }
        self.say(code(&name, number, &secured, acquaintance.as_ref()));
        self.sound_is_protected(now, number);
        self.tell_level(number);
    }

    /// Somebody interferes with a call's ZRTP, which is not fooled. The engine says each such thing once.
    pub(super) fn tell_warning(&mut self, number: CallNumber, sentence: &'static str) {
        tracing::warn!(call = %number, "{sentence}");
        if let Some(call) = self.calls.get(&number) {
            let text = format!("⚠ {}: {sentence}.", call.participant);
            self.say(text);
        }
    }

    /// Whether what was learnt of the phone will be there next time.
    pub(super) fn check_memory(&mut self, now: Instant) {
        let due = |call: &&mut PhoneCall| call.memory_due.is_some_and(|at| at <= now);
        let mut lost = Vec::new();
        for call in self.calls.values_mut().filter(due) {
            call.memory_due = None;
            if call.cache.as_ref().is_some_and(|cache| cache.remembered() != Remembered::Yes) {
                lost.push((call.number, call.participant.clone()));
            }
        }
        for (number, name) in lost {
            let remedy = "look for errors of the peer store, and whether its disk is full or read-only";
            tracing::warn!(call = %number, remedy, "the phone is not remembered");
            self.say(format!(
                "{name} is not remembered: the gateway cannot write its memory. In its next call it will look new."
            ));
        }
    }

    pub(super) fn memory_wake(&self) -> Option<Instant> {
        self.calls.values().filter_map(|call| call.memory_due).min()
    }

    /// Somebody in the group wants something.
    pub(super) fn asked(&mut self, now: Instant, author: &Author, command: Command) {
        let answer = match command {
            Command::Codes => self.codes(),
            Command::Unclear => "Write !sas, !sas NUMBER ok or !sas NUMBER bad.".to_owned(),
            Command::Same(_) | Command::Different(_) if !author.is_operator => {
                "Only an operator of the group can say that.".to_owned()
            }
            Command::Same(number) => self.judged(now, author, number, true),
            Command::Different(number) => self.judged(now, author, number, false),
        };
        let to = if author.is_private { author.id.clone() } else { None };
        self.outputs.push_back(Output::Say(to, answer));
    }

    fn judged(&mut self, now: Instant, author: &Author, number: CallNumber, same: bool) -> String {
        let Some(name) = self.calls.get(&number).map(|call| call.participant.clone()) else {
            return format!("There is no call #{}.", number.0);
        };
        let by = Verifier::Voice { operator: author.name.clone(), group: self.config.group.clone(), call: number.0 };
        match (self.sas_compared(now, number, same, by), same) {
            (Err(why), _) => format!("Nothing changed: {why}."),
            (Ok(()), true) => {
                format!("{name} is verified by {}. Its next calls will be recognised.", author.name)
            }
            (Ok(()), false) => format!(
                "⚠ {name} was ended by {}: the codes differ, so somebody may be listening in between. The secret of this call is forgotten.",
                author.name
            ),
        }
    }

    fn codes(&self) -> String {
        let lines: Vec<String> =
            self.calls.values().map(|call| format!("{}: {}", call.participant, state(call))).collect();
        if lines.is_empty() { "There is no call.".to_owned() } else { lines.join("\n") }
    }

    /// What the weakest call of the room is worth.
    pub fn room_level(&self) -> Option<MediaLevel> {
        self.calls.values().filter_map(|call| call.protection()).map(|(level, _)| level).min()
    }

    /// The room is as strong as its weakest call: people should know when a newcomer makes it fall. Those in the group read it; phones that
    /// are better protected are told.
    fn tell_level(&mut self, newcomer: CallNumber) {
        let Some((level, _)) = self.calls.get(&newcomer).and_then(PhoneCall::protection) else { return };
        let others: Vec<(CallNumber, MediaLevel)> =
            self.in_the_room().filter(|(number, _)| *number != newcomer).collect();
        let before = others.iter().map(|(_, level)| *level).min();
        if before.is_none_or(|before| level >= before) {
            return;
        }
        self.say(format!("⚠ The weakest phone in this group is now {}.", worth(level)));
        // all the others are better protected
        if let Some(announcement) = joined(level) {
            self.outputs.extend(others.into_iter().map(|(number, _)| Output::Announce(number, announcement)));
        }
    }

    fn in_the_room(&self) -> impl Iterator<Item = (CallNumber, MediaLevel)> {
        let inside = self.calls.values().filter(|call| call.is_in_the_room());
        inside.filter_map(|call| Some((call.number, call.protection()?.0)))
    }
}

/// What phones are told of a newcomer of this level, where they are better protected.
fn joined(level: MediaLevel) -> Option<Announcement> {
    match level {
        MediaLevel::Clear => Some(Announcement::ClearJoined),
        MediaLevel::Srtp => Some(Announcement::ProviderJoined),
        MediaLevel::Zrtp => Some(Announcement::UncomparedJoined),
        MediaLevel::ZrtpVerified => None,
    }
}

fn excepted_sound(name: &str, exception: Option<&Arc<Exception>>) -> String {
    let allowed = exception.map_or_else(String::new, |exception| format!(" {}", allowed(exception)));
    format!("⚠ {name}: NOT ENCRYPTED, anyone on the way can listen.{allowed}")
}

fn excepted_signalling(name: &str, exception: &Exception) -> String {
    format!(
        "⚠ {name} comes over a connection that is not secure: {}. {}",
        exception.allow.meaning(),
        allowed(exception)
    )
}

fn allowed(exception: &Exception) -> String {
    format!("Allowed until {} by {}: {}", exception.expires, exception.accepted_by, exception.reason)
}

fn worth(level: MediaLevel) -> &'static str {
    match level {
        MediaLevel::Clear => "not encrypted",
        MediaLevel::Srtp => "encrypted to the provider only, who can listen",
        MediaLevel::Zrtp => "encrypted end to end to this gateway, its code not compared",
        MediaLevel::ZrtpVerified => "encrypted end to end to this gateway, its code compared",
    }
}

fn state(call: &PhoneCall) -> String {
    match (&call.secured, call.protection()) {
        (Some(secured), _) => {
            let compared = match (secured.verified, secured.compared) {
                (_, true) => "compared in this call",
                (true, false) => "compared in an earlier call",
                (false, false) => "not compared yet",
            };
            format!("code {}, {compared}", secured.sas)
        }
        (None, Some((level, _))) => worth(level).to_owned(),
        (None, None) => "not secure yet, nothing is heard".to_owned(),
    }
}

/// The line with the code. The caller's phone asks for the first half, which the room says, and shows the second, which the
/// caller says (Linphone's screen: "Your code" is the second half at the caller).
fn code(name: &str, number: CallNumber, secured: &Secured, known: Option<&Acquaintance>) -> String {
    let (first, second) = halves(&secured.sas);
    let verification = known.and_then(|known| known.peer.as_ref()?.verification.as_ref()).filter(|_| secured.verified);
    match verification {
        Some(verification) => format!(
            "{name}: encrypted end to end to this gateway (ZRTP), a phone that was verified {}. Code {}: no need to compare it again.",
            by(verification),
            secured.sas
        ),
        None => format!(
            "{name}: encrypted end to end to this gateway (ZRTP). Code {}: you say \"{first}\", the caller says \"{second}\". \
             An operator who recognises the voice then writes !sas {number} ok, or !sas {number} bad if they differ.",
            secured.sas,
            number = number.0
        ),
    }
}

/// Two halves of four characters, or the two words.
fn halves(sas: &str) -> (&str, &str) {
    sas.split_once(' ').or_else(|| sas.split_at_checked(2)).unwrap_or((sas, ""))
}

fn by(verification: &Verification) -> String {
    match &verification.by {
        Verifier::Voice { operator, call, .. } => format!("by {operator} in call #{call}"),
        Verifier::Administrator => "by an administrator, not by voice".to_owned(),
    }
}

fn warnings(name: &str, secured: &Secured, known: Option<&Acquaintance>) -> Vec<String> {
    let mut all = Vec::new();
    if secured.cache_mismatch {
        all.push(format!(
            "⚠ {name} does not have the secret of its earlier calls: it lost its memory, or SOMEBODY IS LISTENING IN BETWEEN. \
             Compare the code before anything confidential is said."
        ));
    }
    if known.is_some_and(Acquaintance::is_unknown_device_of_known_caller) {
        all.push(format!(
            "⚠ {name}: known caller, unknown device. This address has called before with another one. Compare the code."
        ));
    }
    if secured.discloses {
        all.push(format!("⚠ {name}: the phone gives its keys to somebody who can listen (flag D)."));
    }
    if secured.is_pbx {
        all.push(format!("⚠ {name}: this is a telephone exchange that can listen, not the phone itself (flag M)."));
    }
    all
}
