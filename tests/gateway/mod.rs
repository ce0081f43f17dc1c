//! The program under test as a process: started with a configuration in a directory of its own, its log kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod scene;
pub(crate) mod schema;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_galene-sips");

/// A directory that only we can read, and that ends with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("galene-sips-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Directory(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file with this mode, replaced if it exists.
    pub(crate) fn file(&self, name: &str, mode: u32, text: &str) -> PathBuf {
        let path = self.0.join(name);
        let _ = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    pub(crate) fn secret(&self, name: &str, text: &str) -> PathBuf {
        self.file(name, 0o600, text)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command that ends by itself, in this directory and with nothing of the tester's environment that could matter.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Output {
    command_with_input(directory, arguments, "")
}

pub(crate) fn command_with_input(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = std::process::Command::new(PROGRAM)
        .args(arguments)
        .current_dir(directory)
        .env("HOME", directory)
        .env_remove("XDG_STATE_HOME")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // one that reads nothing may be gone already
    let end = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("{arguments:?} does not end: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// A running program.
pub(crate) struct Gateway {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Gateway {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Gateway {
        Gateway::start_with_input(directory, arguments, "")
    }

    pub(crate) fn start_with_input(directory: &Path, arguments: &[&str], input: &str) -> Gateway {
        Gateway::start_ahead(directory, arguments, input, Duration::ZERO)
    }

    /// With a clock that is so far ahead, by Debian's libfaketime.
    pub(crate) fn start_ahead(directory: &Path, arguments: &[&str], input: &str, ahead: Duration) -> Gateway {
        let mut command = Command::new(PROGRAM);
        if !ahead.is_zero() {
            let library =
                fs::read_dir("/usr/lib").unwrap().flatten().map(|it| it.path().join("faketime/libfaketime.so.1"));
            let library = library.into_iter().find(|file| file.is_file()).expect("apt-get install libfaketime");
            command.env("LD_PRELOAD", library).env("FAKETIME", format!("+{}", ahead.as_secs()));
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = command
            .args(arguments)
            .current_dir(directory)
            .env("HOME", directory)
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        });
        let output = Arc::new(Mutex::new(Vec::new()));
        keep(child.stdout.take().unwrap(), &output);
        keep(child.stderr.take().unwrap(), &output);
        Gateway { child, output }
    }

    /// All that it printed and logged.
    pub(crate) fn output(&self) -> String {
        String::from_utf8(self.output.lock().unwrap().clone()).unwrap()
    }

    /// Waits for a line that has all these words, and fails with the whole log.
    pub(crate) async fn line_with(&self, words: &[&str]) -> String {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            let output = self.output();
            if let Some(line) = output.lines().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.to_owned();
            }
            assert!(Instant::now() < end, "no line with {words:?} in:\n{output}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// SIGTERM; how it ended and how long that took.
    pub(crate) async fn terminate(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        assert!(Command::new("kill").arg(self.id().to_string()).status().await.unwrap().success());
        let status = self.ended().await;
        (status, start.elapsed())
    }

    /// SIGKILL: a crash.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        match timeout(Duration::from_secs(20), self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("it does not end:\n{}", self.output()),
        }
    }
}

fn keep(mut from: impl tokio::io::AsyncRead + Unpin + Send + 'static, to: &Arc<Mutex<Vec<u8>>>) {
    let to = Arc::clone(to);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok(length) = from.read(&mut buffer).await {
            if length == 0 {
                return;
            }
            to.lock().unwrap().extend(&buffer[..length]);
        }
    });
}
