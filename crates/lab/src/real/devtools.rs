//! Chromium's DevTools protocol over a pair of pipes: JSON messages that end with a zero byte.
//!
//! The pipes (`--remote-debugging-pipe`) are the file descriptors 3 and 4 of Chromium, so no port is opened and a
//! browser inside a network namespace can be driven from outside.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Context, Failure, Result};

/// A connection to a browser.
pub struct DevTools {
    to_browser: ChildStdin,
    from_browser: Receiver<Value>,
    next: u64,
}

impl DevTools {
    /// Speaks over these pipes; a thread reads until the browser ends.
    pub fn new(to_browser: ChildStdin, from_browser: ChildStdout) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for message in messages(from_browser) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Self { to_browser, from_browser: receiver, next: 1 }
    }

    /// Calls a method, of the browser or of one attached page, and waits for its result. Events are not kept.
    ///
    /// # Errors
    /// When the browser refuses, ends, or does not answer in time.
    pub fn call(&mut self, session: Option<&str>, method: &str, params: Value, within: Duration) -> Result<Value> {
        let id = self.next;
        self.next += 1;
        let mut request = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(0);
        self.to_browser.write_all(&bytes).and_then(|()| self.to_browser.flush()).context(method)?;

        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut message = match self.from_browser.recv_timeout(left) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::new(format!("{method}: no answer in {within:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new(format!("{method}: Chromium has ended")));
                }
            };
            if message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(Failure::new(format!("{method}: {error}"))),
                    None => Ok(message["result"].take()),
                };
            }
        }
    }
}

/// The messages in a stream of bytes.
fn messages(stream: impl Read) -> impl Iterator<Item = Value> {
    BufReader::new(stream)
        .split(0)
        .map_while(std::result::Result::ok)
        .filter_map(|one| serde_json::from_slice(&one).ok())
}
