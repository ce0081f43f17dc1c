//! What really went over the wire: dumpcap writes a pcap file, a small reader gives back the UDP packets,
//! and a statistical judge tells clear media from encrypted media.
//!
//! Not a general pcap library: little-endian pcap files with Ethernet or Linux "cooked" frames and IPv4 or IPv6.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::netns::Netns;
use super::program::{Program, wait_until};
use super::{Context, Failure, Result};

/// dumpcap gives its buffer to the file once a second.
const FLUSH: Duration = Duration::from_millis(1500);

/// A running capture of all UDP packets on all interfaces of a namespace.
pub struct Capture {
    program: Program,
    file: PathBuf,
}

impl Capture {
    /// Starts capturing to `file`.
    ///
    /// # Errors
    /// When dumpcap does not start.
    pub fn start(net: &Netns, file: &Path) -> Result<Self> {
        let mut command = net.command("dumpcap")?;
        command.args(["-i", "any", "-P", "-q", "-f", "udp", "-w"]).arg(file);
        let mut program = Program::start("dumpcap", &mut command, &file.with_extension("log"))?;
        wait_until("the capture's start", Duration::from_secs(10), || {
            program.check_running()?;
            Ok(std::fs::metadata(file).ok().filter(|data| data.len() >= 24).map(drop))
        })?;
        Ok(Self { program, file: file.to_owned() })
    }

    /// Ends the capture and reads it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn stop(mut self) -> Result<Vec<UdpPacket>> {
        std::thread::sleep(FLUSH);
        self.program.stop();
        read(&std::fs::read(&self.file).context(self.file.display())?)
    }
}

/// One captured UDP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpPacket {
    /// Since the epoch.
    pub time: Duration,
    /// Its source.
    pub from: SocketAddr,
    /// Its destination.
    pub to: SocketAddr,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl UdpPacket {
    /// Whether it has the form of an RTP packet: version 2, not RTCP's types (RFC 5761 §4).
    pub fn is_rtp(&self) -> bool {
        self.payload.len() >= 12 && self.payload[0] >> 6 == 2 && !(64..96).contains(&(self.payload[1] & 0x7f))
    }

    /// The type of a ZRTP message (RFC 6189 §5).
    pub fn zrtp(&self) -> Option<&str> {
        let is_zrtp = self.payload.first()? >> 4 == 1 && self.payload.get(4..8)? == b"ZRTP";
        std::str::from_utf8(self.payload.get(16..24).filter(|_| is_zrtp)?).ok().map(str::trim_end)
    }

    /// What follows the RTP header with its sources and extension, in clear or encrypted (RFC 3711 §3.1).
    fn rtp_payload(&self) -> &[u8] {
        let mut start = 12 + 4 * usize::from(self.payload[0] & 0x0f);
        if self.payload[0] & 0x10 != 0 {
            let words = self.payload.get(start + 2..start + 4).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
            start += 4 + 4 * usize::from(words);
        }
        self.payload.get(start..).unwrap_or_default()
    }
}

/// Number of RTP packets that this address sent.
pub fn rtp_packets_from(packets: &[UdpPacket], from: IpAddr, port: impl Fn(u16) -> bool) -> usize {
    packets.iter().filter(|packet| packet.is_rtp() && packet.from.ip() == from && port(packet.from.port())).count()
}

/// One RTP stream of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// Where it comes from.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// Its synchronisation source.
    pub ssrc: u32,
}

/// How a stream's bytes look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Equally distributed, as encrypted bytes are.
    Encrypted,
    /// Not so: somebody can listen.
    Clear,
    /// Too few packets to say.
    TooShort,
}

/// Judges each RTP stream of a capture by the distribution of its bytes.
///
/// Two χ² tests against the uniform distribution: all payload bytes (G.711 fails it), and the high half of each
/// packet's first payload byte (Opus fails it: its table-of-contents byte hardly changes). The limits are so far out
/// that encrypted streams exceed them less than once in a million; clear ones exceed them a hundredfold.
pub fn judge_streams(packets: &[UdpPacket]) -> BTreeMap<Stream, Looks> {
    let mut streams: BTreeMap<Stream, Vec<&[u8]>> = BTreeMap::new();
    for packet in packets.iter().filter(|packet| packet.is_rtp()) {
        let ssrc = u32::from_be_bytes([packet.payload[8], packet.payload[9], packet.payload[10], packet.payload[11]]);
        streams.entry(Stream { from: packet.from, to: packet.to, ssrc }).or_default().push(packet.rtp_payload());
    }
    streams.into_iter().map(|(stream, payloads)| (stream, judge(&payloads))).collect()
}

fn judge(payloads: &[&[u8]]) -> Looks {
    let mut bytes = [0; 256];
    let mut first_halves = [0; 16];
    for payload in payloads {
        payload.iter().for_each(|byte| bytes[usize::from(*byte)] += 1);
        payload.first().iter().for_each(|byte| first_halves[usize::from(**byte >> 4)] += 1);
    }
    // χ² needs about five expected in each class
    if first_halves.iter().sum::<u32>() < 80 || bytes.iter().sum::<u32>() < 1280 {
        return Looks::TooShort;
    }
    // 255 and 15 degrees of freedom: mean 255 and 15
    if chi_squared(&bytes) > 400.0 || chi_squared(&first_halves) > 60.0 { Looks::Clear } else { Looks::Encrypted }
}

fn chi_squared(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

/// Reads the UDP packets of a pcap file.
///
/// # Errors
/// When it is not a little-endian pcap file with a known link type.
pub fn read(file: &[u8]) -> Result<Vec<UdpPacket>> {
    let nanoseconds = match file.get(..4) {
        Some([0xd4, 0xc3, 0xb2, 0xa1]) => 1000,
        Some([0x4d, 0x3c, 0xb2, 0xa1]) => 1,
        _ => return Err(Failure::new("not a little-endian pcap file")),
    };
    // where the network header and its type stand in a frame
    let (header, ether_type) = match word(file, 20) {
        Some(1) => (14, 12),   // Ethernet
        Some(113) => (16, 14), // Linux cooked, version 1
        Some(276) => (20, 0),  // Linux cooked, version 2
        link => return Err(Failure::new(format!("pcap link type {link:?} is not known here"))),
    };
    let mut packets = Vec::new();
    let mut rest = file.get(24..).unwrap_or_default();
    while let (Some(seconds), Some(fraction), Some(length)) = (word(rest, 0), word(rest, 4), word(rest, 8)) {
        let Some(frame) = rest.get(16..16 + length as usize) else { break }; // cut off at the end
        rest = &rest[16 + length as usize..];
        let time = Duration::new(seconds.into(), fraction * nanoseconds);
        if let (Some(kind), Some(network)) = (frame.get(ether_type..ether_type + 2), frame.get(header..)) {
            packets.extend(udp(kind, network).map(|(from, to, payload)| UdpPacket { time, from, to, payload }));
        }
    }
    Ok(packets)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Addresses and payload of a network packet, when it is UDP and no later fragment.
fn udp(ether_type: &[u8], packet: &[u8]) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
    let (from, to, udp): (IpAddr, IpAddr, &[u8]) = match ether_type {
        [0x08, 0x00] if *packet.get(9)? == 17 && u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff == 0 => {
            let address = |at: usize| packet.get(at..at + 4)?.try_into().ok().map(|b: [u8; 4]| Ipv4Addr::from(b));
            (address(12)?.into(), address(16)?.into(), packet.get(usize::from(packet[0] & 0x0f) * 4..)?)
        }
        [0x86, 0xdd] if *packet.get(6)? == 17 => {
            let address = |at: usize| packet.get(at..at + 16)?.try_into().ok().map(|b: [u8; 16]| Ipv6Addr::from(b));
            (address(8)?.into(), address(24)?.into(), packet.get(40..)?)
        }
        _ => return None,
    };
    let half = |at: usize| udp.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let payload = udp.get(8..usize::from(half(4)?))?;
    Some((SocketAddr::new(from, half(0)?), SocketAddr::new(to, half(2)?), payload.to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1];
        file.extend([0; 16]);
        file.extend(link.to_le_bytes());
        for (number, frame) in frames.iter().enumerate() {
            let length = frame.len() as u32;
            for word in [number as u32, 500_000, length, length] {
                file.extend(word.to_le_bytes());
            }
            file.extend(frame);
        }
        file
    }

    fn udp4(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x13, 0x88, 0x17, 0x70, 0, 8 + payload.len() as u8, 0, 0]); // 5000 to 6000
        packet.extend(payload);
        packet
    }

    #[test]
    fn udp_is_read_from_ethernet_and_from_both_cooked_formats() {
        for (link, header) in [
            (1, [&[0; 12][..], &[8, 0]].concat()),
            (113, [&[0; 14][..], &[8, 0]].concat()),
            (276, [&[8, 0][..], &[0; 18]].concat()),
        ] {
            let frame = [header, udp4(b"hello")].concat();
            let packets = read(&pcap(link, &[frame.clone(), frame])).unwrap();
            assert_eq!(packets.len(), 2);
            assert_eq!(packets[1].time, Duration::from_millis(1500));
            assert_eq!(
                (packets[1].from.to_string(), packets[1].to.to_string()),
                ("10.0.0.1:5000".into(), "10.0.0.2:6000".into())
            );
            assert_eq!(packets[1].payload, b"hello");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_gives_what_is_whole() {
        let frame = [vec![0; 12], vec![8, 0], udp4(b"hello")].concat();
        let file = pcap(1, &[frame.clone(), frame]);
        for length in 24..file.len() {
            assert!(read(&file[..length]).unwrap().len() < 2);
        }
        assert!(read(b"not a capture").is_err());
    }

    #[test]
    fn few_packets_are_not_judged() {
        let payloads = [&[1; 160][..]; 79];
        assert_eq!(judge(&payloads), Looks::TooShort);
        assert_eq!(judge(&[payloads[0]; 80]), Looks::Clear);
    }
}
