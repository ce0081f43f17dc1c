//! One libbzrtp endpoint: the program `peer.c`, started for one exchange.
//!
//! In: its options, the port and zrtp-hash of the other side, what the people say of the SAS. Out: what it tells on its
//! standard output, in order. It ends when this value is dropped, however the test ends.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// A peer that waits for [`Peer::start`].
pub(crate) struct Peer {
    child: Child,
    /// Closed to end the peer.
    input: Option<ChildStdin>,
    output: Receiver<String>,
    /// Everything it told so far.
    pub(crate) log: Vec<Value>,
    pub(crate) port: u16,
    /// The value of its `a=zrtp-hash`.
    pub(crate) hello_hash: String,
}

/// What a peer says when it is secure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Secure {
    pub(crate) initiator: bool,
    /// Key agreement, cipher, authentication tag, hash.
    pub(crate) algorithms: [String; 4],
    pub(crate) sas: String,
    pub(crate) verified: bool,
    pub(crate) cache_mismatch: bool,
    /// `match`, `mismatch` or `unset`.
    pub(crate) auxiliary: String,
}

/// Master key and salt of one direction.
pub(crate) type Keys = (Vec<u8>, Vec<u8>);

impl Peer {
    pub(crate) fn spawn<S: AsRef<str>>(options: &[S]) -> Self {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program = PROGRAM.get_or_init(|| super::program::build("peer"));
        let mut child = Command::new(program)
            .args(options.iter().map(AsRef::as_ref))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, output) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let input = child.stdin.take();
        let mut peer = Self { child, input, output, log: Vec::new(), port: 0, hello_hash: String::new() };
        let ready = peer.wait_for("ready");
        peer.port = ready["port"].as_u64().unwrap().try_into().unwrap();
        peer.hello_hash = ready["hello_hash"].as_str().unwrap().to_owned();
        peer
    }

    /// Begins the exchange with who listens at `port`; `hash` is the zrtp-hash its Hello must have.
    pub(crate) fn start(&mut self, port: u16, hash: Option<&str>) {
        self.tell(&format!("start {port} {}", hash.unwrap_or_default()));
    }

    /// The people have compared the SAS, and it is the same.
    pub(crate) fn mark_verified(&mut self) {
        self.tell("verified");
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Takes in what it has told since, without waiting; whether it is secure.
    pub(crate) fn is_secure(&mut self) -> bool {
        while let Ok(line) = self.output.try_recv() {
            self.log.push(serde_json::from_str(&line).unwrap());
        }
        self.event("secure").is_some()
    }

    /// Ends it; it has then told everything.
    pub(crate) fn end(&mut self) {
        drop(self.input.take());
        self.wait_for("end");
    }

    pub(crate) fn secure(&self) -> Option<Secure> {
        let event = self.event("secure")?;
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        Some(Secure {
            initiator: text("role") == "initiator",
            algorithms: ["key_agreement", "cipher", "auth_tag", "hash"].map(text),
            sas: text("sas"),
            verified: event["verified"].as_bool().unwrap(),
            cache_mismatch: event["cache_mismatch"].as_bool().unwrap(),
            auxiliary: text("auxiliary"),
        })
    }

    /// The keys of what it sends, or of what it receives.
    pub(crate) fn keys(&self, direction: &str) -> Option<Keys> {
        let event = self.log.iter().find(|event| event["event"] == "keys" && event["direction"] == direction)?;
        Some((octets(&event["key"]), octets(&event["salt"])))
    }

    /// The key that it exported under the label "interoperability" (RFC 6189 §4.5.2).
    pub(crate) fn exported(&self) -> Option<Vec<u8>> {
        self.event("exported").map(|event| octets(&event["key"]))
    }

    /// The codes of its errors in the order of their happening.
    pub(crate) fn errors(&self) -> Vec<&str> {
        self.log.iter().filter(|event| event["event"] == "error").map(|event| event["code"].as_str().unwrap()).collect()
    }

    fn event(&self, name: &str) -> Option<&Value> {
        self.log.iter().find(|event| event["event"] == name)
    }

    fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let line = match self.output.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => panic!("libbzrtp's peer says nothing more, after {:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => panic!("libbzrtp's peer has ended, after {:#?}", self.log),
            };
            self.log.push(serde_json::from_str(&line).unwrap());
            if self.log.last().unwrap()["event"] == name {
                return self.log.last().unwrap().clone();
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn octets(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}
