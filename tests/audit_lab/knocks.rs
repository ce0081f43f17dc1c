//! Who was knocked at, and how often: every TCP connection that was begun on loopback, as dumpcap saw it. A second opinion on what
//! an audit says of itself.

use galene_sips_lab::real::program::{Program, require, run, wait_until};
use galene_sips_lab::real::{Context, Failure, Result};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Begun and not accepted yet, on the interface of loopback.
const SYN: &str = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn";

/// A running capture.
pub(crate) struct Knocks {
    program: Program,
    file: PathBuf,
}

/// What it saw: when, and whom, in order of time.
pub(crate) struct Seen(Vec<(f64, IpAddr)>);

impl Knocks {
    pub(crate) fn watch(file: &Path) -> Result<Knocks> {
        let mut command = Command::new(require("dumpcap")?);
        command.args(["-i", "lo", "-P", "-q", "-f", SYN, "-w"]).arg(file);
        let mut program = Program::start("dumpcap", &mut command, &file.with_extension("log"))?;
        wait_until("the capture's start", Duration::from_secs(10), || {
            program.check_running()?;
            Ok(std::fs::metadata(file).ok().filter(|data| data.len() >= 24).map(drop))
        })?;
        Ok(Knocks { program, file: file.to_owned() })
    }

    pub(crate) fn stop(mut self) -> Result<Seen> {
        std::thread::sleep(Duration::from_millis(1500)); // dumpcap gives its buffer to the file once a second
        self.program.stop();
        let mut command = Command::new(require("tshark")?);
        command.arg("-r").arg(&self.file).args(["-T", "fields", "-e", "frame.time_epoch", "-e", "ip.dst"]);
        let mut seen = Vec::new();
        for line in run(&mut command)?.lines() {
            let Some((time, address)) = line.split_once('\t') else { continue };
            if let Ok(address) = address.parse() {
                seen.push((time.parse().map_err(|_| Failure::new(line)).context("a time")?, address));
            }
        }
        Ok(Seen(seen))
    }
}

impl Seen {
    fn times(&self, address: IpAddr) -> Vec<f64> {
        self.0.iter().filter(|(_, to)| *to == address).map(|(time, _)| *time).collect()
    }

    /// How many connections were begun to this address.
    pub(crate) fn at(&self, address: IpAddr) -> usize {
        self.times(address).len()
    }

    /// The most of them within one second.
    pub(crate) fn in_a_second(&self, address: IpAddr) -> usize {
        let times = self.times(address);
        let from = |start: &f64| times.iter().filter(|time| (*start..start + 1.0).contains(*time)).count();
        times.iter().map(from).max().unwrap_or(0)
    }
}
