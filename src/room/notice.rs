//! What people get to read about a phone: in the group's chat, where the gateway may write there, and in the log.
//!
//! In: what changed for a phone, words of the group. Out: one sentence. Never a secret, never more than a few words of others.

/// Longest text of others that is repeated, in characters: it goes into SIP headers, the chat and the log.
const LONGEST: usize = 200;

/// What changed for a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The group does not let it speak.
    ListensOnly,
    /// Its sound has no way to the conference server.
    NotHeard,
    /// After either of these: it is heard.
    Heard,
    /// An operator muted it.
    Muted {
        /// Who.
        by: String,
    },
}

impl Notice {
    /// One sentence about the participant of this name.
    pub(super) fn sentence(&self, participant: &str) -> String {
        match self {
            Notice::ListensOnly => format!("{participant} can listen but not speak: the group does not permit it"),
            Notice::NotHeard => {
                format!("{participant} cannot be heard: its sound finds no way to the conference server")
            }
            Notice::Heard => format!("{participant} can be heard"),
            // a phone has no button for it, so those who have one should know
            Notice::Muted { by } => format!(
                "{participant} was muted by {}; to hear it again, forbid it to present and allow it again",
                brief(by)
            ),
        }
    }
}

/// A text of others, fit for one line of a header, the chat or the log.
pub(super) fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
