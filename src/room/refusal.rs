//! Why a group does not let a phone in, as SIP says it.
//!
//! In: Galène's `joined fail`. Out: a SIP status and a sentence, and whether another try may meet another answer.
//! The texts are those of Galène's `group/group.go`; any other text is what an operator wrote when he locked the group.

use super::notice::brief;

/// Why the group does not let a phone in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// The SIP status that says it best.
    pub sip_status: u16,
    /// One sentence for the log and the caller.
    pub reason: String,
}

/// What a `joined fail` means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) refused: JoinRefused,
    /// The same request may be granted a little later. A call in progress waits for that: after a break, our own lost
    /// clients still count as members, and an operator may be on his way back too.
    pub(super) passing: bool,
}

/// The name is somebody else's: another one will do.
pub(super) const NAME_TAKEN: &str = "duplicate-username";

/// The group's description says that it has moved.
pub(super) const REDIRECT: &str = "redirect";

/// Reads the fields `error` and `value` of a `joined fail`.
pub(super) fn read(error: Option<&str>, message: &str) -> Verdict {
    let (sip_status, passing) = match (error, message) {
        (Some(REDIRECT), _) => (480, false),
        (_, "too many users") => (486, true),
        (_, "there are no operators in this group" | "group does not exist" | "internal server error") => (480, true),
        (_, "this group is not open yet" | "this group is closed") => (480, false),
        _ => (403, false),
    };
    let reason = format!("the group refuses the caller: {}", brief(message));
    Verdict { refused: JoinRefused { sip_status, reason }, passing }
}

/// There is no way to the group. Why not, with its hosts and addresses, is for the log and nothing for a caller.
pub(super) fn unreachable(told: &str) -> JoinRefused {
    JoinRefused { sip_status: 480, reason: told.to_owned() }
}

/// The group does not speak Opus. Not 488, which would be about the phone's offer and have it try another one.
pub(super) fn without_opus() -> JoinRefused {
    JoinRefused { sip_status: 480, reason: "the group does not speak Opus".to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn each_refusal_of_galene_has_its_status_and_only_what_passes_is_waited_for() {
        for (error, message, sip_status, passing) in [
            (None, "not authorised", 403, false),
            (Some("need-username"), "username required", 403, false),
            (Some(NAME_TAKEN), "not authorised: this username is taken", 403, false),
            (None, "this group is locked", 403, false),
            (None, "Back at two o'clock", 403, false),
            (None, "too many users", 486, true),
            (None, "there are no operators in this group", 480, true),
            (None, "group does not exist", 480, true),
            (None, "internal server error", 480, true),
            (None, "this group is not open yet", 480, false),
            (None, "this group is closed", 480, false),
            (Some(REDIRECT), "the group has moved", 480, false),
        ] {
            let verdict = read(error, message);
            assert_eq!((verdict.refused.sip_status, verdict.passing), (sip_status, passing), "{message}");
            assert_eq!(verdict.refused.reason, format!("the group refuses the caller: {message}"));
        }
    }

    #[test]
    fn what_an_operator_wrote_is_repeated_in_a_few_words_on_one_line() {
        let reason = read(None, &format!("come\r\nback {}", "x".repeat(100_000))).refused.reason;
        assert!(reason.starts_with("the group refuses the caller: comeback x") && reason.len() < 250, "{reason}");
    }
}
