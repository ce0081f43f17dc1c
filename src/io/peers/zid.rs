//! The file `zid`: our ZID, in 24 hexadecimal digits.

use crate::io::store::write_whole;
use std::fs;
use std::io;
use std::path::Path;
use zrtp_proto::Zid;

/// Its name in the store's directory.
pub(super) const FILE: &str = "zid";

/// What the file says.
#[derive(Debug)]
pub(super) enum ZidFile {
    Present(Zid),
    Missing,
    /// It holds something else.
    Damaged,
    Unreadable(io::Error),
}

pub(super) fn read(directory: &Path) -> ZidFile {
    match fs::read(directory.join(FILE)) {
        Ok(text) => parse(&text).map_or(ZidFile::Damaged, ZidFile::Present),
        Err(error) if error.kind() == io::ErrorKind::NotFound => ZidFile::Missing,
        Err(error) => ZidFile::Unreadable(error),
    }
}

pub(super) fn write(directory: &Path, zid: Zid) -> io::Result<()> {
    write_whole(&directory.join(FILE), format!("{zid}\n").as_bytes())
}

fn parse(text: &[u8]) -> Option<Zid> {
    let digits = text.strip_suffix(b"\n")?;
    let mut zid = [0; 12];
    if digits.len() != 2 * zid.len() {
        return None;
    }
    for (octet, pair) in zid.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(Zid(zid))
}
