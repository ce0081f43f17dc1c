//! Tests of the message layer against the torture messages of RFC 4475 and RFC 5118 and against recorded traffic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod framing;
mod hostile;
mod round_trip;
mod torture;
mod validation;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use super::{Message, Request};

fn data(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(directory)
}

/// A message of RFC 4475 by its name.
fn rfc4475(name: &str) -> Vec<u8> {
    fs::read(data("rfc4475").join(format!("{name}.dat"))).unwrap()
}

fn rfc4475_request(name: &str) -> Request {
    request(&rfc4475(name))
}

fn request(bytes: &[u8]) -> Request {
    match Message::parse(bytes) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

/// Names and bytes of all `.dat` files of a directory.
fn messages(directory: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(data(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut messages: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "dat"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    messages.sort();
    messages
}

/// Recorded messages of real phones and of a registrar, with the CRLFs they had on the wire.
fn traces() -> Vec<(String, Vec<u8>)> {
    let mut traces = Vec::new();
    for run in fs::read_dir(data("sip-traces")).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()) {
        for file in fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()) {
            let text = fs::read_to_string(&file).unwrap();
            traces.push((file.to_string_lossy().into_owned(), text.replace('\n', "\r\n").into_bytes()));
        }
    }
    traces.sort();
    assert!(traces.len() > 150, "the recorded messages are missing");
    traces
}

/// All messages that a stream can carry: the good ones of both RFCs, and the recorded ones.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let torture = messages("rfc4475").into_iter().chain(messages("rfc5118"));
    let framed = torture.filter_map(|(name, bytes)| {
        let head = super::head::Head::cut(&bytes)?.0;
        let length = super::head::Head::read(head).content_length().ok()??;
        let whole = bytes.get(..head.len() + 2 + length)?.to_vec();
        Message::parse(&whole).is_ok().then_some((name, whole))
    });
    let corpus: Vec<_> = framed.chain(traces()).collect();
    assert!(corpus.len() > 200, "only {} messages", corpus.len());
    corpus
}
