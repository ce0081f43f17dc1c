//! Certificates that no library of today makes: short RSA keys and SHA-1, by Debian's `openssl`.

use std::path::Path;
use std::process::Command;

use super::program::{require, run};
use super::{Context, Result};
use crate::certificates::Authority;

/// A certificate of this authority for the server `name`, with an RSA key of so many bits, signed with `digest` (`sha256`,
/// `sha1`): certificate and key as PEM.
///
/// # Errors
/// When openssl is missing or will not.
pub fn issue(directory: &Path, authority: &Authority, name: &str, bits: u32, digest: &str) -> Result<(String, String)> {
    let file = |kind: &str| directory.join(format!("{name}-{bits}-{digest}.{kind}"));
    let write = |kind: &str, text: &str| {
        let path = file(kind);
        std::fs::write(&path, text).context(path.display()).map(|()| path)
    };
    let (ca, ca_key) = (write("ca", &authority.pem())?, write("cakey", &authority.key_pem())?);
    let extensions = write("ext", &format!("subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n"))?;
    let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
    let openssl = || require("openssl").map(Command::new);
    run(openssl()?
        .args(["req", "-new", "-nodes", "-newkey", &format!("rsa:{bits}"), "-subj", &format!("/CN={name}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&request))?;
    run(openssl()?
        .args(["x509", "-req", "-days", "90", &format!("-{digest}"), "-in"])
        .arg(&request)
        .arg("-CA")
        .arg(&ca)
        .arg("-CAkey")
        .arg(&ca_key)
        .arg("-extfile")
        .arg(&extensions)
        .arg("-out")
        .arg(&certificate))?;
    let read = |path: &Path| std::fs::read_to_string(path).context(path.display());
    Ok((read(&certificate)?, read(&key)?))
}
