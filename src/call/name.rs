//! The claimed name of a caller, made fit for a list of participants.
//!
//! In: the display name and user part of a From header, which anybody can write. Out: at most 64 visible characters,
//! phone numbers masked, none of the signs by which the gateway itself speaks. Never a statement about security.

use crate::units::CallNumber;

/// Longest claimed name that is shown, in characters.
const LONGEST_NAME: usize = 64;

/// What the name of a clear call ends with: all that a name ever says about security.
pub(super) const NOT_ENCRYPTED: &str = " (not encrypted)";

/// Signs that only the gateway may use, because people read meaning into them.
const OWN_SIGNS: &[char] = &['☎', '#', '🔒', '🔓', '🔐', '✓', '✔', '✅', '⚠'];

/// The participant's name in the group: `☎ claimed name #3`.
pub fn participant_name(display_name: Option<&str>, user: Option<&str>, number: CallNumber) -> String {
    format!("☎ {} #{number}", claimed_name(display_name, user))
}

/// The claimed name alone: the display name, else the user part, else "unknown caller".
pub fn claimed_name(display_name: Option<&str>, user: Option<&str>) -> String {
    [display_name, user]
        .into_iter()
        .flatten()
        .map(|claimed| mask_number(&clean(claimed)))
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown caller".to_owned())
}

/// Removes what could hide, reorder or imitate: control and format characters (bidirectional overrides among them),
/// our own signs, the suffix that only the gateway writes, and characters that Galène refuses in a name.
fn clean(claimed: &str) -> String {
    let visible: String = claimed
        .chars()
        .map(|c| if c.is_whitespace() || c == '/' || c == '\\' { ' ' } else { c })
        .filter(|c| !c.is_control() && !is_format_character(*c) && !OWN_SIGNS.contains(c))
        .collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let mut name: String = words.join(" ").chars().take(LONGEST_NAME).collect();
    while let Some(at) = name.to_lowercase().find("(not encrypted)") {
        // only ASCII is compared, so the byte positions of the lower-case copy hold unless a character changed its length
        match (name.get(..at), name.get(at + "(not encrypted)".len()..)) {
            (Some(before), Some(after)) => name = format!("{before}{after}"),
            _ => return String::new(),
        }
    }
    name.trim().trim_matches('.').trim().to_owned()
}

/// Unicode's format characters (category Cf) that change how text around them is read, and the tag and variation blocks.
fn is_format_character(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A name that is a telephone number keeps only its last two digits: `+49 30 1234567` becomes `…67`.
fn mask_number(name: &str) -> String {
    let digits: Vec<char> = name.chars().filter(char::is_ascii_digit).collect();
    let only_number = name.chars().all(|c| c.is_ascii_digit() || "+-(). ".contains(c));
    match digits.as_slice() {
        [.., tens, ones] if only_number && digits.len() >= 5 => format!("…{tens}{ones}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_kept() {
        assert_eq!(participant_name(Some("Alice Müller"), Some("alice"), CallNumber(3)), "☎ Alice Müller #3");
        assert_eq!(claimed_name(None, Some("bob")), "bob");
        assert_eq!(claimed_name(Some("  "), None), "unknown caller");
    }

    #[test]
    fn nothing_that_hides_or_imitates_survives() {
        assert_eq!(claimed_name(Some("evil\u{202e}gnp\r\n#7 ☎ 🔒"), None), "evilgnp 7");
        assert_eq!(claimed_name(Some("Bob (NOT encrypted)"), None), "Bob");
        assert_eq!(claimed_name(Some("(not (not encrypted) encrypted)"), None), "(not  encrypted)");
        assert_eq!(claimed_name(Some("/etc/\u{1b}[31mpasswd"), None), "etc [31mpasswd");
        assert_eq!(claimed_name(Some("\u{200b}\u{e0041}"), Some("carol")), "carol");
    }

    #[test]
    fn long_names_are_cut_and_numbers_masked() {
        assert_eq!(claimed_name(Some(&"x".repeat(500)), None).chars().count(), 64);
        assert_eq!(claimed_name(Some("+49 (30) 123-4567"), None), "…67");
        assert_eq!(claimed_name(None, Some("4930123")), "…23");
        assert_eq!(claimed_name(Some("Room 42"), None), "Room 42");
    }
}
