//! What people in the group can say to the gateway: `!sas` and `!sas N ok|bad`.
//!
//! In: a line of the chat. Out: a [`Command`] and who gave it, as the server vouches for him. Only what was written just now counts:
//! the history, which anybody's client or a new connection brings again, never does. Whether he may is for the dialog to say.

use crate::galene::Chat;
use crate::units::CallNumber;

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `!sas`: the codes of all calls.
    Codes,
    /// `!sas N ok`: the code of this call is the same on both sides.
    Same(CallNumber),
    /// `!sas N bad`: it is not.
    Different(CallNumber),
    /// `!sas` and something else.
    Unclear,
}

/// Who wrote a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// His client in the group; `None` if he hides it: then nobody vouches for his name.
    pub id: Option<String>,
    /// His name.
    pub name: String,
    /// The server says that he is an operator of the group.
    pub is_operator: bool,
    /// He wrote to the gateway alone.
    pub is_private: bool,
}

/// A command, if this line is one.
pub(super) fn read(chat: &Chat) -> Option<(Author, Command)> {
    // an action or a caption is not somebody's word
    let is_said = chat.live && chat.kind.as_deref().unwrap_or_default().is_empty();
    let command = Command::parse(&chat.text).filter(|_| is_said)?;
    let author = Author {
        id: chat.source.clone(),
        name: super::notice::brief(chat.username.as_deref().unwrap_or("somebody")),
        is_operator: chat.privileged && chat.source.is_some(),
        is_private: chat.private,
    };
    Some((author, command))
}

impl Command {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        if !words.next()?.eq_ignore_ascii_case("!sas") {
            return None;
        }
        let Some(number) = words.next() else { return Some(Command::Codes) };
        let number = number.trim_start_matches('#').parse().ok().map(CallNumber);
        let verdict = words.next().map(str::to_ascii_lowercase);
        Some(match (number, verdict.as_deref(), words.next()) {
            (Some(number), Some("ok"), None) => Command::Same(number),
            (Some(number), Some("bad"), None) => Command::Different(number),
            _ => Command::Unclear,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    fn chat(text: &str) -> Chat {
        Chat {
            source: Some("id".to_owned()),
            username: Some("op".to_owned()),
            private: false,
            privileged: true,
            time: None,
            live: true,
            kind: None,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_command_is_read_as_it_is_meant_and_nothing_else_is_one() {
        let read = |text: &str| read(&chat(text)).map(|(_, command)| command);
        assert_eq!(read("!sas"), Some(Command::Codes));
        assert_eq!(read("  !SAS  #3 OK "), Some(Command::Same(CallNumber(3))));
        assert_eq!(read("!sas 3 bad"), Some(Command::Different(CallNumber(3))));
        for unclear in [
            "!sas 3",
            "!sas ok",
            "!sas 3 okay",
            "!sas 3 ok please",
            "!sas -3 ok",
            "!sas 99999999999 ok",
            "!sas 3 ok 4 ok",
        ] {
            assert_eq!(read(unclear), Some(Command::Unclear), "{unclear}");
        }
        for nothing in ["", "sas 3 ok", "/sas 3 ok", "!sass", "I write !sas 3 ok", "!sas3 ok"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn only_a_live_line_counts_and_only_the_server_makes_an_operator() {
        let said = chat("!sas 3 ok");
        assert!(read(&said).unwrap().0.is_operator);
        assert_eq!(read(&Chat { live: false, ..said.clone() }), None, "the history proves nothing");
        assert_eq!(read(&Chat { kind: Some("caption".to_owned()), ..said.clone() }), None);
        assert_eq!(read(&Chat { kind: Some("me".to_owned()), ..said.clone() }), None);
        assert!(!read(&Chat { privileged: false, ..said.clone() }).unwrap().0.is_operator);
        assert!(
            !read(&Chat { source: None, ..said.clone() }).unwrap().0.is_operator,
            "nobody vouches for a name without a client"
        );
    }
}
