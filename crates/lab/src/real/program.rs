//! One running program: its output goes to a log file, and it ends with the value that owns it.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Context, Failure, Result};

/// Debian's package for each program that a test may need.
const PACKAGES: &[(&str, &str)] = &[
    ("baresip", "baresip"),
    ("chromium", "chromium"),
    ("dumpcap", "tshark"),
    ("espeak-ng", "espeak-ng"),
    ("gnutls-serv", "gnutls-bin"),
    ("ip", "iproute2"),
    ("kamailio", "kamailio kamailio-extra-modules kamailio-outbound-modules kamailio-tls-modules"),
    ("ldns-keygen", "ldnsutils"),
    ("ldns-signzone", "ldnsutils"),
    ("linphonec", "linphone-cli"),
    ("nft", "nftables"),
    ("sipp", "sip-tester"),
    ("sox", "sox"),
    ("unbound", "unbound"),
];

/// How long a program may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Where `program` is, or a failure that names the package to install.
///
/// # Errors
/// When it is in no directory of `PATH`, nor in the two for administrators.
pub fn require(program: &str) -> Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .map(|directory| Path::new(directory).join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            let package = PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package);
            Failure::new(format!("the program {program} is missing: apt-get install {package}"))
        })
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot start or ends with a failure; the text has its standard error.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context(format!("{command:?}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::new(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))))
}

/// Asks `poll` every 50 ms until it has a value.
///
/// # Errors
/// What `poll` returns, or `what` did not happen within the time.
pub fn wait_until<T>(what: &str, within: Duration, mut poll: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = poll()? {
            return Ok(value);
        }
        if start.elapsed() >= within {
            return Err(Failure::new(format!("{what}: not within {:.1} s", within.as_secs_f32())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A directory for one test's files, removed at its end; a failing test leaves it for the person who looks into it.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new empty directory below the system's temporary one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("galene-sips-lab-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).context(path.display())?;
        Ok(Self(path))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file or directory of this name in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A running program. Dropping it ends it: SIGTERM, and SIGKILL when that does not help.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` with standard output and error in the file `log` (appended).
    ///
    /// # Errors
    /// When the file or the process cannot be made.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = open_log(log)?;
        let other = file.try_clone().context(log.display())?;
        let child = command.stdin(Stdio::piped()).stdout(file).stderr(other).spawn().context(name)?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The same, but standard output stays ours, as a pipe.
    ///
    /// # Errors
    /// When the file or the process cannot be made.
    pub fn start_piped(name: &str, command: &mut Command, log: &Path) -> Result<(Self, ChildStdin, ChildStdout)> {
        let file = open_log(log)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file).spawn().context(name)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let program = Self { name: name.to_owned(), child, log: log.to_owned() };
        let (stdin, stdout) = pipes.ok_or_else(|| Failure::new(format!("{name}: no pipes")))?;
        Ok((program, stdin, stdout))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes one line to its standard input.
    ///
    /// # Errors
    /// When it no longer reads.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        use std::io::Write as _;
        let stdin = self.child.stdin.as_mut().ok_or_else(|| Failure::new("no standard input"))?;
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).context(format!("{}: {line}", self.name))
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        read_lossy(&self.log)
    }

    /// Waits until its output has `text`.
    ///
    /// # Errors
    /// When the time is over or the program has ended; the failure has the end of the output.
    pub fn wait_for_output(&mut self, text: &str, within: Duration) -> Result<()> {
        let what = format!("{}: {text:?} in its output", self.name);
        let seen = wait_until(&what, within, || match self.output().contains(text) {
            true => Ok(Some(())),
            false => self.check_running().map(|()| None),
        });
        seen.context(format!("{}\n{}", self.log.display(), self.last_lines(30)))
    }

    /// The last lines of its output.
    pub fn last_lines(&self, count: usize) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Nothing while it runs.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait().context(&self.name)? {
            None => Ok(()),
            Some(status) => Err(Failure::new(format!("{} ended: {status}\n{}", self.name, self.last_lines(30)))),
        }
    }

    /// Processor time that it has used, user and system together.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let file = format!("/proc/{}/stat", self.pid());
        let text = std::fs::read_to_string(&file).context(&file)?;
        // proc(5): after the name in parentheses, utime and stime are the 12th and 13th field, in ticks of 10 ms
        let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Sends it a signal, for example `"TERM"`.
    ///
    /// # Errors
    /// When it has already ended.
    pub fn signal(&self, signal: &str) -> Result<()> {
        run(Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string())).map(drop)
    }

    /// Waits for its own end.
    ///
    /// # Errors
    /// When it is still running after `within`.
    pub fn wait_for_end(&mut self, within: Duration) -> Result<std::process::ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait_until(&what, within, || self.child.try_wait().context("wait"))
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = self.signal("TERM");
        if self.wait_for_end(GRACE).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A whole file as text, empty when it cannot be read; logs may hold bytes of the network.
pub(super) fn read_lossy(file: &Path) -> String {
    std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn open_log(log: &Path) -> Result<std::fs::File> {
    std::fs::File::options().create(true).append(true).open(log).context(log.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let failure = require("no-such-program").unwrap_err().to_string();
        assert_eq!(failure, "the program no-such-program is missing: apt-get install no-such-program");
    }

    #[test]
    fn a_program_that_ends_early_fails_the_wait_with_its_last_words() {
        let scratch = Scratch::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such file >&2; exit 3"]);
        let mut program = Program::start("sh", &mut command, &scratch.join("log")).unwrap();
        let failure = program.wait_for_output("ready", Duration::from_secs(5)).unwrap_err().to_string();
        assert!(failure.contains("exit status: 3") && failure.contains("no such file"), "{failure}");
    }
}
