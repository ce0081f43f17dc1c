//! One stream to a server, on which an audit asks one question after another and waits for each answer.

use crate::audit::facts::Tested;
use crate::audit::sip::answers;
use crate::sip::{Frame, Framer, Request, Response};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

/// How long a server may take for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// More frames than this before the answer: the server talks of something else.
const MOST_FRAMES: usize = 50;

/// A stream with its framing.
pub(super) struct Conversation<S> {
    stream: S,
    framer: Framer,
    /// Why nothing more can be asked.
    over: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    pub(super) fn new(stream: S) -> Self {
        Conversation { stream, framer: Framer::new(), over: None }
    }

    /// Whether the connection is lost.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Sends a request and waits for its final answer.
    pub(super) async fn ask(&mut self, request: &Request) -> Tested<Response> {
        if let Err(why) = self.write(&request.to_bytes()).await {
            return Tested::Unknown(why);
        }
        let answer = |frame: Frame| match frame {
            Frame::Message(message) => answers(&message, request),
            _ => None,
        };
        match self.wait(answer).await {
            Ok(Some(response)) => Tested::Known(response),
            Ok(None) => Tested::Unknown(format!("no answer within {} s", PATIENCE.as_secs())),
            Err(why) => Tested::Unknown(why),
        }
    }

    /// Sends a ping and waits for its pong (RFC 5626 §4.4.1).
    pub(super) async fn ping(&mut self) -> Tested<bool> {
        if let Err(why) = self.write(b"\r\n\r\n").await {
            return Tested::Unknown(why);
        }
        match self.wait(|frame| matches!(frame, Frame::Pong).then_some(())).await {
            Ok(pong) => Tested::Known(pong.is_some()),
            Err(why) => Tested::Unknown(why),
        }
    }

    /// Says goodbye, if the server lets us.
    pub(super) async fn close(mut self) {
        let _ = timeout_at(Instant::now() + Duration::from_millis(300), self.stream.shutdown()).await; // it is over either way
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(why) = &self.over {
            return Err(why.clone());
        }
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let outcome = match timeout_at(Instant::now() + PATIENCE, written).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("the connection broke: {error}"),
            Err(_) => "the server takes no bytes".to_owned(),
        };
        self.over = Some(outcome.clone());
        Err(outcome)
    }

    /// `None`: nothing fitting came in time.
    async fn wait<T>(&mut self, mut wanted: impl FnMut(Frame) -> Option<T>) -> Result<Option<T>, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = vec![0; 16 * 1024];
        let mut frames = 0;
        loop {
            while let Some(frame) = self.framer.next() {
                frames += 1;
                if let Frame::Bad { fatal: true, reason, .. } = &frame {
                    return Err(self.end(format!("the server does not speak SIP: {reason}")));
                }
                if let Some(found) = wanted(frame) {
                    return Ok(Some(found));
                }
                if frames > MOST_FRAMES {
                    return Ok(None);
                }
            }
            match timeout_at(deadline, self.stream.read(&mut buffer)).await {
                Err(_) => return Ok(None),
                Ok(Ok(0)) => return Err(self.end("the server closed the connection".to_owned())),
                Ok(Ok(length)) => self.framer.push(crate::io::now(), &buffer[..length]),
                Ok(Err(error)) => return Err(self.end(format!("the connection broke: {error}"))),
            }
        }
    }

    fn end(&mut self, why: String) -> String {
        self.over = Some(why.clone());
        why
    }
}
