//! Whom DNSSEC begins with: the keys of the root as IANA publishes them, or those of a file.
//!
//! In: DS and DNSKEY records in the form of zone files (RFC 4034 §2.2 and §5.3). Out: [`Anchors`]. Other records, and
//! algorithms by name, are errors: a file that is not understood must not be half believed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DS};
use hickory_resolver::proto::dnssec::{Algorithm, DigestType, PublicKey as _, PublicKeyBuf, TrustAnchors};
use hickory_resolver::proto::rr::Name;

/// The trust anchors of DNSSEC.
#[derive(Clone)]
pub struct Anchors(Vec<Anchor>);

/// A key that is trusted, or the hash of one.
#[derive(Clone)]
struct Anchor {
    zone: Name,
    key: Key,
}

#[derive(Clone)]
enum Key {
    Whole(PublicKeyBuf),
    Hash(DS),
}

impl Anchors {
    /// The keys of the root of 2017 and 2024.
    pub fn iana() -> Anchors {
        let known = TrustAnchors::default();
        let keys = (0..known.len()).filter_map(|at| known.get(at).cloned());
        Anchors(keys.map(|key| Anchor { zone: Name::root(), key: Key::Whole(key) }).collect())
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong, with the line.
    pub fn parse(text: &str) -> Result<Anchors, String> {
        let mut anchors = Vec::new();
        for (number, line) in records(text) {
            anchors.push(anchor(&line).ok_or_else(|| format!("line {number} is neither a DS nor a DNSKEY record"))?);
        }
        if anchors.is_empty() {
            return Err("it holds no DS or DNSKEY record".to_owned());
        }
        Ok(Anchors(anchors))
    }

    /// Whether this name is in a zone that something is known about.
    pub(super) fn cover(&self, name: &Name) -> bool {
        self.0.iter().any(|anchor| anchor.zone.zone_of(name))
    }

    /// The zones, each once; the root first if it is one of them.
    pub(super) fn zones(&self) -> Vec<Name> {
        let mut zones: Vec<Name> = self.0.iter().map(|anchor| anchor.zone.clone()).collect();
        zones.sort_by_key(|zone| zone.num_labels());
        zones.dedup();
        zones
    }

    /// The trusted ones among the keys that DNS shows for a zone, added to `trusted`; false if there is none.
    pub(super) fn trust(&self, zone: &Name, shown: &[DNSKEY], trusted: &mut TrustAnchors) -> bool {
        let mut any = false;
        for key in shown.iter().filter(|key| key.zone_key() && !key.revoke()) {
            let known = |anchor: &&Anchor| match &anchor.key {
                Key::Whole(whole) => whole == key.public_key(),
                Key::Hash(hash) => {
                    hash.algorithm() == key.public_key().algorithm() && hash.covers(zone, key).unwrap_or(false)
                }
            };
            if self.0.iter().filter(|anchor| anchor.zone == *zone).any(|anchor| known(&anchor)) {
                trusted.insert_with_name(key.public_key(), zone.into());
                any = true;
            }
        }
        any
    }
}

/// The records of a zone file, each on one line without comments, with the number of the line where it ends.
fn records(text: &str) -> Vec<(usize, String)> {
    let mut records = Vec::new();
    let (mut record, mut open) = (String::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(';').next().unwrap_or_default();
        open = (open || line.contains('(')) && !line.contains(')');
        record.push_str(&line.replace(['(', ')'], " "));
        record.push(' ');
        if !open {
            let whole = std::mem::take(&mut record);
            if !whole.trim().is_empty() {
                records.push((number, whole));
            }
        }
    }
    if !record.trim().is_empty() {
        records.push((text.lines().count(), record));
    }
    records
}

/// `. 172800 IN DNSKEY 257 3 8 AwEA…` or `. IN DS 20326 8 2 E06D…`.
fn anchor(record: &str) -> Option<Anchor> {
    let mut fields = record.split_ascii_whitespace();
    let mut zone = Name::from_ascii(fields.next()?).ok()?;
    zone.set_fqdn(true);
    let is_class_or_ttl = |field: &&str| field.eq_ignore_ascii_case("IN") || field.parse::<u32>().is_ok();
    let kind = fields.by_ref().find(|field| !is_class_or_ttl(field))?.to_ascii_uppercase();
    let mut number = || fields.next()?.parse::<u16>().ok();
    let (first, second, third) = (number()?, u8::try_from(number()?).ok()?, u8::try_from(number()?).ok()?);
    let rest: String = fields.collect();
    let key = match kind.as_str() {
        "DNSKEY" if second == 3 => {
            let algorithm = Algorithm::from_u8(third);
            let key = DNSKEY::with_flags(first, PublicKeyBuf::new(BASE64.decode(rest).ok()?, algorithm));
            (algorithm.is_supported() && key.zone_key()).then(|| Key::Whole(key.public_key().clone()))?
        }
        "DS" => {
            let (algorithm, digest) = (Algorithm::from_u8(second), DigestType::from(third));
            let known = algorithm.is_supported() && digest.is_supported();
            known.then(|| Some(Key::Hash(DS::new(first, algorithm, digest, hexadecimal(&rest)?))))??
        }
        _ => return None,
    };
    Some(Anchor { zone: zone.to_lowercase(), key })
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let whole = !digits.is_empty() && digits.len().is_multiple_of(2) && digits.is_ascii();
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    whole.then(|| (0..digits.len()).step_by(2).map(byte).collect())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    /// RFC 4034 §5.4: a key, and its DS.
    const KEY: &str = "AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvx\
                       egXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==";

    fn shown(flags: u16) -> DNSKEY {
        DNSKEY::with_flags(flags, PublicKeyBuf::new(BASE64.decode(KEY).unwrap(), Algorithm::from_u8(8)))
    }

    fn trusts(text: &str, zone: &str, shown: &DNSKEY) -> bool {
        let zone = Name::from_ascii(zone).unwrap();
        Anchors::parse(text).unwrap().trust(&zone, std::slice::from_ref(shown), &mut TrustAnchors::empty())
    }

    #[test]
    fn a_key_and_its_hash_are_the_same_anchor() {
        let key = shown(256);
        let zone = Name::from_ascii("dskey.example.com.").unwrap();
        let digest = key.to_digest(&zone, DigestType::SHA256).unwrap();
        let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let tag = key.calculate_key_tag().unwrap();
        for text in [
            format!(
                "dskey.example.com. 86400 IN DNSKEY 256 3 8 ( {}\n  {} ) ; key id = 60485\n",
                &KEY[..40],
                &KEY[40..]
            ),
            format!(
                "; a comment\n\nDSKEY.example.com.\tIN DS {tag} 8 2 {} {}",
                &hash[..10],
                &hash[10..].to_lowercase()
            ),
            format!("dskey.example.com. DS {tag} 8 2 {hash}"),
        ] {
            assert!(trusts(&text, "dskey.example.com.", &key), "{text}");
            assert!(!trusts(&text, "example.com.", &key), "of another zone: {text}");
            let revoked = shown(256 | 0x80);
            assert!(!trusts(&text, "dskey.example.com.", &revoked), "revoked (RFC 5011): {text}");
        }
        let other = format!("dskey.example.com. DS {tag} 8 2 {}{}", "00", &hash[2..]);
        assert!(!trusts(&other, "dskey.example.com.", &key));
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for (text, line) in [
            ("\n. IN A 192.0.2.1\n", 2),
            (". IN DS 20326 8 2 XY\n", 1),
            (". IN DS 20326 8 2\n", 1),
            (". IN DS 20326 RSASHA256 2 E06D\n", 1),
            (". IN DS 20326 8 77 E06D\n", 1),
            (". IN DNSKEY 257 3 8 ***\n", 1),
            (". IN DNSKEY 257 4 8 AQOe\n", 1),
            (". IN DNSKEY 0 3 8 AQOe\n", 1),
            ("<TrustAnchor>\n", 1),
            ("$TTL 60\n", 1),
            (". IN DNSKEY 257 3 8 (\n AQOe\n", 2),
        ] {
            let said = Anchors::parse(text).err();
            let whole_parenthesis = text.contains('(');
            let expected = format!("line {line} is neither a DS nor a DNSKEY record");
            assert!(whole_parenthesis || said == Some(expected), "{text}: {said:?}");
        }
        assert!(Anchors::parse("; nothing\n").is_err_and(|why| why.contains("no DS or DNSKEY")));
    }

    #[test]
    fn the_root_covers_everything_and_an_island_itself() {
        let name = |name: &str| Name::from_ascii(name).unwrap();
        assert!(Anchors::iana().cover(&name("sip.example.org.")));
        assert_eq!(Anchors::iana().zones(), [Name::root()]);
        let island = Anchors::parse(&format!("Corp.example. IN DNSKEY 257 3 8 {KEY}")).unwrap();
        assert!(island.cover(&name("a.corp.example.")) && island.cover(&name("corp.example.")));
        assert!(!island.cover(&name("notcorp.example.")) && !island.cover(&name("example.")));
    }
}
