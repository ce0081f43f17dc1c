//! The log: where it goes and how it looks.
//!
//! To standard error, since standard output is for results. Secrets cannot get in: they live in `Secret`, whose `Debug` hides
//! them, and no message body or message head is ever logged. What the network sent is cleaned of control characters.

use std::io::{self, IsTerminal as _, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// `text` or `json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    #[default]
    Text,
    /// An object for machines.
    Json,
}

/// Starts logging for the whole program. `level` is `error`, `warn`, `info`, `debug` or `trace`, and concerns this program alone;
/// of its libraries only warnings are shown, and of the one that asks DNS only errors: for each answer that it does not like it
/// writes down the whole of it, and `io::dns` has the sentence.
pub fn start(level: &str, format: Format) {
    let quiet = "hickory_net=error,hickory_resolver=error,hickory_proto=error";
    let filter = EnvFilter::new(format!("warn,{quiet},galene_sips={level}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Cleaned(format)).with_target(false);
    let started = match format {
        Format::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Standard error, with whatever could command a terminal or forge a line made visible.
struct Cleaned(Format);

impl<'a> MakeWriter<'a> for Cleaned {
    type Writer = CleanWriter;

    fn make_writer(&'a self) -> CleanWriter {
        CleanWriter { format: self.0, colours: io::stderr().is_terminal() }
    }
}

struct CleanWriter {
    format: Format,
    colours: bool,
}

impl Write for CleanWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(clean(&String::from_utf8_lossy(line), self.format, self.colours).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The subscriber ends each line itself and, on a terminal, colours it; all other control characters came from outside.
fn clean(line: &str, format: Format, colours: bool) -> String {
    let (body, end) = match line.strip_suffix('\n') {
        Some(body) => (body, "\n"),
        None => (line, ""),
    };
    let mut out = String::with_capacity(line.len());
    for c in body.chars() {
        match c {
            '\u{1b}' if colours && format == Format::Text => out.push(c),
            // a JSON string has only this escape, and all of these characters fit into it (RFC 8259 §7)
            c if is_forbidden(c) && format == Format::Json => out += &format!("\\u{:04x}", u32::from(c)),
            c if is_forbidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out + end
}

/// Control characters, and those that turn the direction of writing around.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn nothing_from_outside_can_forge_a_line_or_command_a_terminal() {
        let line = "peer=\"x\r\n INFO forged\u{1b}[2J\u{202e}\"\n";
        let cleaned = clean(line, Format::Text, false);
        assert_eq!(cleaned, "peer=\"x\\u{d}\\u{a} INFO forged\\u{1b}[2J\\u{202e}\"\n");
    }

    #[test]
    fn cleaned_json_is_still_json_and_says_the_same() {
        let line = "{\"peer\":\"x\u{85}\u{202e}\"}\n";
        let cleaned = clean(line, Format::Json, true);
        assert_eq!(cleaned, "{\"peer\":\"x\\u0085\\u202e\"}\n");
        let value: serde_json::Value = serde_json::from_str(&cleaned).unwrap();
        assert_eq!(value["peer"], "x\u{85}\u{202e}");
    }
}
