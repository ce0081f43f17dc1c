//! A real Chromium: what a person in the browser sees, hears, says and does in Galène's own page, and how any other page
//! looks.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::devtools::DevTools;
use super::netns::Netns;
use super::program::{Program, require, wait_until};
use super::{Context, Failure, Result};

/// How long a step in the page may take on a busy machine.
const STEP: Duration = Duration::from_secs(30);

/// A line of the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatLine {
    /// Who wrote it, as the page shows it.
    pub from: String,
    /// What the page shows.
    pub text: String,
}

/// How large the window is, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Whether the person likes dark pages.
    pub dark: bool,
}

/// A running Chromium with one page.
pub struct Chromium {
    // before the program, so that the pipe closes first and the browser ends by itself
    devtools: DevTools,
    session: String,
    _program: Program,
}

impl Chromium {
    /// Starts it inside `net` with an empty profile in `directory`. Its microphone, if it needs one, speaks the 48 kHz
    /// WAV file again and again, from the moment when the page opens it.
    ///
    /// # Errors
    /// When it is missing or does not start.
    pub fn start(net: &Netns, directory: &Path, microphone: Option<&Path>) -> Result<Self> {
        require("chromium")?;
        std::fs::create_dir_all(directory).context(directory.display())?;
        let mut command: Command = net.command("sh")?;
        // our pipes are its standard input and output; it wants them as file descriptors 3 and 4
        command.args(["-c", "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh", "--remote-debugging-pipe"]);
        command.env("HOME", directory).arg(format!("--user-data-dir={}", directory.join("profile").display()));
        if let Some(microphone) = microphone {
            command.arg(format!("--use-file-for-fake-audio-capture={}", microphone.display()));
        }
        command.args([
            "--headless=new",
            "--hide-scrollbars",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--disable-background-timer-throttling",
            "--disable-backgrounding-occluded-windows",
            "--disable-renderer-backgrounding",
            "--ignore-certificate-errors",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            "--autoplay-policy=no-user-gesture-required",
            "--window-size=1200,800",
            "about:blank",
        ]);
        let (program, stdin, stdout) = Program::start_piped("chromium", &mut command, &directory.join("chromium.log"))?;
        let mut devtools = DevTools::new(stdin, stdout);
        let targets = devtools.call(None, "Target.getTargets", json!({}), STEP)?;
        let page =
            targets["targetInfos"].as_array().and_then(|list| list.iter().find(|target| target["type"] == "page"));
        let page = page.ok_or_else(|| Failure::new("Chromium has no page"))?["targetId"].clone();
        let attach = json!({ "targetId": page, "flatten": true });
        let attached = devtools.call(None, "Target.attachToTarget", attach, STEP)?;
        let session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        let mut this = Self { devtools, session, _program: program };
        this.call("Page.enable", json!({}))?;
        // the recorder's worklet is a blob, which the page's own policy forbids
        this.obey_policy(false)?;
        this.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": include_str!("page.js") }))?;
        Ok(this)
    }

    /// Opens a page, with scripts of its own or without, and waits until it is complete.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let opened = self.call("Page.navigate", json!({ "url": url }))?;
        if let Some(error) = opened["errorText"].as_str() {
            return Err(Failure::new(format!("{url}: {error}")));
        }
        self.wait_js("the page", &format!("location.href === {}", json!(url)))
    }

    /// Whether pages that are opened from now on are held to their own Content-Security-Policy; at first they are not.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn obey_policy(&mut self, obey: bool) -> Result<()> {
        self.call("Page.setBypassCSP", json!({ "enabled": !obey })).map(drop)
    }

    /// Shows the page on this screen from now on.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn look_at(&mut self, screen: Screen) -> Result<()> {
        let Screen { width, height, dark } = screen;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size)?;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "media": "", "features": features })).map(drop)
    }

    /// Shows the page as it is printed, until [`Self::look_at`].
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn look_at_print(&mut self) -> Result<()> {
        self.call("Emulation.setEmulatedMedia", json!({ "media": "print" })).map(drop)
    }

    /// Opens a group's page and joins under this name with the microphone on; noise suppression is switched off,
    /// and with it echo cancellation and gain control, as a person would do in the page's settings.
    ///
    /// # Errors
    /// When the page does not say that it joined.
    pub fn join(&mut self, url: &str, name: &str, password: &str) -> Result<()> {
        self.call("Page.navigate", json!({ "url": url }))?;
        self.wait_js("the login form", "visible('login-container')")?;
        let (name, password) = (json!(name), json!(password));
        self.evaluate(&format!(
            "(() => {{
                const box = document.getElementById('preprocessingbox');
                if (box.checked) box.click();
                document.getElementById('username').value = {name};
                document.getElementById('password').value = {password};
                document.getElementById('presentmike').checked = true;
                document.getElementById('connectbutton').click();
            }})()"
        ))?;
        self.wait_js("the microphone", "findUpMedia('camera')?.pc?.connectionState === 'connected'").map_err(
            |failure| Failure::new(format!("{failure}; the page says {:?}", self.notices().unwrap_or_default())),
        )
    }

    /// Names in the page's list of participants, in its order.
    ///
    /// # Errors
    /// When the page does not answer, as for all that follow.
    pub fn participants(&mut self) -> Result<Vec<String>> {
        self.strings("[...document.querySelectorAll('#users > div')].map(user => user.textContent)")
    }

    /// Names of the participants that the page shows with a microphone.
    ///
    /// # Errors
    /// As [`Self::participants`].
    pub fn speakers(&mut self) -> Result<Vec<String>> {
        self.strings("[...document.querySelectorAll('#users > .user-status-microphone')].map(user => user.textContent)")
    }

    /// Waits until `accept` likes the list of participants.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_participants(&mut self, what: &str, accept: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
        let mut last = Vec::new();
        let seen = wait_until(what, STEP, || {
            last = self.participants()?;
            Ok(accept(&last).then_some(()))
        });
        seen.context(format!("participants {last:?}")).map(|()| last)
    }

    /// The chat, as the page shows it.
    ///
    /// # Errors
    /// As [`Self::participants`].
    pub fn chat(&mut self) -> Result<Vec<ChatLine>> {
        let lines = self.strings(
            "[...document.querySelectorAll('#box .message')].flatMap(message => [
                message.dataset.username ?? '',
                message.querySelector('.message-content, .message-me-content')?.innerText ?? ''])",
        )?;
        Ok(lines.chunks_exact(2).map(|pair| ChatLine { from: pair[0].clone(), text: pair[1].clone() }).collect())
    }

    /// Types a line into the chat, where `/words` are the page's commands.
    ///
    /// # Errors
    /// As [`Self::participants`].
    pub fn type_chat(&mut self, line: &str) -> Result<()> {
        let line = json!(line);
        self.evaluate(&format!(
            "document.getElementById('input').value = {line}; document.getElementById('inputbutton').click()"
        ))
        .map(drop)
    }

    /// Writes to one participant, by name.
    ///
    /// # Errors
    /// As [`Self::participants`].
    pub fn type_chat_to(&mut self, name: &str, line: &str) -> Result<()> {
        self.type_chat(&format!("/msg \"{name}\" {line}"))
    }

    /// Kicks a participant out, as an operator does.
    ///
    /// # Errors
    /// As [`Self::participants`].
    pub fn kick(&mut self, name: &str, message: &str) -> Result<()> {
        self.type_chat(&format!("/kick \"{name}\" {message}"))
    }

    /// Switches the microphone's mute button.
    ///
    /// # Errors
    /// As [`Self::participants`].
    pub fn press_mute(&mut self) -> Result<()> {
        self.evaluate("document.getElementById('mutebutton').click()").map(drop)
    }

    /// Starts recording what the page plays.
    ///
    /// # Errors
    /// When the browser has no Web Audio.
    pub fn record(&mut self) -> Result<()> {
        self.evaluate("lab.record()").map(drop)
    }

    /// What the page has played since [`Self::record`] or the last call: 48 kHz, mono.
    ///
    /// # Errors
    /// As [`Self::participants`].
    pub fn take_recording(&mut self) -> Result<Vec<i16>> {
        let text = self.evaluate("lab.take()")?;
        let bytes = BASE64.decode(text.as_str().unwrap_or_default()).context("recording")?;
        Ok(bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
    }

    /// The notices that the page is showing (errors and warnings).
    ///
    /// # Errors
    /// As [`Self::participants`].
    pub fn notices(&mut self) -> Result<Vec<String>> {
        self.strings("[...document.querySelectorAll('.toastify')].map(notice => notice.textContent)")
    }

    /// Writes a picture of the page as a PNG file.
    ///
    /// # Errors
    /// When it cannot be taken or written.
    pub fn screenshot(&mut self, file: &Path) -> Result<()> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }))?;
        let bytes = BASE64.decode(shot["data"].as_str().unwrap_or_default()).context("screenshot")?;
        std::fs::write(file, bytes).context(file.display())
    }

    /// Evaluates JavaScript in the page and returns its value, after a promise.
    ///
    /// # Errors
    /// What it throws.
    pub fn evaluate(&mut self, script: &str) -> Result<Value> {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let mut result = self.call("Runtime.evaluate", params)?;
        match result.get("exceptionDetails") {
            Some(thrown) => Err(Failure::new(format!("{script}: {}", thrown["exception"]["description"]))),
            None => Ok(result["result"]["value"].take()),
        }
    }

    fn wait_js(&mut self, what: &str, condition: &str) -> Result<()> {
        let script = format!(
            "(() => {{
                const visible = id => document.getElementById(id)?.classList.contains('invisible') === false;
                return document.readyState === 'complete' && Boolean({condition});
            }})()"
        );
        wait_until(what, STEP, || Ok((self.evaluate(&script)? == true).then_some(())))
    }

    fn strings(&mut self, script: &str) -> Result<Vec<String>> {
        serde_json::from_value(self.evaluate(script)?).context("strings")
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.devtools.call(Some(&self.session), method, params, STEP)
    }
}
