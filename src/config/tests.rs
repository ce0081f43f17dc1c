//! Good configurations and what they mean; bad ones and the line and sentence that each gets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use super::*;
use crate::audio::Language;
use crate::policy::{Downgrade, Exception, MediaLevel, SignallingLevel};
use std::collections::HashMap;

const TODAY: Date = Date { year: 2026, month: 11, day: 24 };
const PIN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Files in memory, by path.
struct Memory(HashMap<&'static str, Result<&'static str, FileError>>);

impl Files for Memory {
    fn secret(&self, path: &Path) -> Result<Secret<String>, FileError> {
        let missing = Err(FileError::Unreadable("No such file or directory".into()));
        self.0.get(path.to_str().unwrap()).cloned().unwrap_or(missing).map(Secret::from)
    }

    fn credential(&self, name: &str) -> Result<Secret<String>, FileError> {
        if name == "sip-password" { Ok(Secret::from("from systemd\n")) } else { Err(FileError::NoCredentials) }
    }
}

fn memory() -> Memory {
    Memory(HashMap::from([
        ("/etc/g/sip.password", Ok("hunter2\n")),
        ("/etc/g/group.password", Ok("hunter3\r\n")),
        ("/elsewhere/absolute", Ok("hunter4")),
        ("/etc/g/md5.ha1", Ok("0123456789abcdef0123456789ABCDEF\n")),
        ("/etc/g/sha512.ha1", Ok("SHA-512-256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n")),
        ("/etc/g/bad.ha1", Ok("0123\n")),
        ("/etc/g/empty", Ok("\n")),
        ("/etc/g/two-lines", Ok("one\ntwo\n")),
        ("/etc/g/open", Err(FileError::ReadableByOthers)),
        ("/etc/g/client.key", Ok("-----BEGIN PRIVATE KEY-----\nhunter5\n-----END PRIVATE KEY-----\n")),
    ]))
}

fn file(text: &str) -> File<'_> {
    File { path: Path::new("/etc/g/galene-sips.toml"), text, readable_by_others: false }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(file(text), TODAY, &memory())
}

/// The smallest configuration, with lines put into its sections.
fn with(account: &str, room: &str, rest: &str) -> String {
    format!(
        "[[account]]\naddress = \"alice@sip.example.org\"\n{account}\n[[room]]\naccount = \"alice@sip.example.org\"\n{room}\n{rest}"
    )
}

const PASSWORD: &str = "password_file = \"sip.password\"";
const GROUP: &str = "group = \"https://g.example.org/group/x/?token=sesame\"";

fn account(lines: &str) -> Result<Account, ConfigError> {
    parse(&with(lines, GROUP, "")).map(|mut config| config.accounts.remove(0))
}

fn room(lines: &str) -> Result<Room, ConfigError> {
    parse(&with(PASSWORD, lines, "")).map(|mut config| config.rooms.remove(0))
}

fn rest(lines: &str) -> Result<Config, ConfigError> {
    parse(&with(PASSWORD, GROUP, lines))
}

/// The text must fail at the line that holds `<<`, with these words in what it says.
fn fails(text: &str, words: &[&str]) {
    let line = text.lines().position(|line| line.contains("<<")).expect("a mark") + 1;
    let error = parse(&text.replace("<<", "")).expect_err(text);
    let said = error.to_string();
    assert_eq!(error.line, line, "{said}\n{text}");
    assert!(said.starts_with(&format!("/etc/g/galene-sips.toml:{line}: ")), "{said}");
    for word in words {
        assert!(said.contains(word), "no \"{word}\" in: {said}");
    }
    for secret in ["hunter", "sesame"] {
        assert!(!said.contains(secret), "a secret in: {said}");
    }
}

#[test]
fn the_smallest_configuration_has_safe_defaults() {
    let config = parse(&with(PASSWORD, GROUP, "")).unwrap();
    let [account] = config.accounts.as_slice() else { panic!("one account") };
    assert_eq!(account.address.to_string(), "alice@sip.example.org");
    assert!(matches!(&account.secret, AccountSecret::Password(password) if password.equals(b"hunter2")));
    assert_eq!((account.auth_user.as_str(), account.expected_name.as_str()), ("alice", "sip.example.org"));
    assert_eq!(account.rules, crate::policy::Rules::strict("alice@sip.example.org"));
    assert_eq!((account.expires, account.pins.len()), (600, 0));
    assert!(account.ca_file.is_none() && account.outbound_proxy.is_none() && account.realm.is_none());
    let [room] = config.rooms.as_slice() else { panic!("one room") };
    assert!(room.group.equals(b"https://g.example.org/group/x/?token=sesame"));
    assert!(matches!(room.credentials, GroupCredentials::Invitation));
    assert!(account.client.is_none());
    assert_eq!((&config.dns, &config.media), (&Dns::default(), &Media::default()));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Text));
    assert_eq!(config.store_directory, Path::new("/etc/g/galene-sips-store"));
    assert_eq!(config.admin_socket, Path::new("/etc/g/galene-sips-store/admin.socket"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter") && !shown.contains("sesame"), "{shown}");
}

#[test]
fn the_example_is_valid_as_it_stands() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.accounts[0].address.to_string(), "conference@sip.example.org");
}

#[test]
fn every_key_of_the_example_is_known_and_every_known_key_is_in_the_example() {
    // one that excludes another is tried on its own
    let exclusive = ["password_credential", "ha1_file", "username", "password_file"];
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        let key = line.strip_prefix('#').filter(|key| !key.starts_with(' ') && !key.is_empty());
        match key {
            Some(key) if exclusive.iter().any(|name| key.starts_with(name)) => {}
            Some(key) => text.extend([key, "\n"]),
            None => text.extend([line, "\n"]),
        }
    }
    let config = parse(&text).unwrap();
    let account = &config.accounts[0];
    assert_eq!(account.outbound_proxy, Some(OutboundProxy { host: "proxy.example.org".into(), port: Some(5061) }));
    assert_eq!(account.pins, [PIN]);
    assert_eq!(config.media, Media { public_address: Some("198.51.100.7".parse().unwrap()), ..Media::default() });
    assert_eq!(config.store_directory, Path::new("/etc/g/galene-sips-store"), "the defaults are as the example says");
    let strict = crate::policy::Rules::strict("conference@sip.example.org");
    assert_eq!(
        account.rules,
        crate::policy::Rules { room_minimum: MediaLevel::Srtp, ..strict },
        "as a room that writes it"
    );
    let exceptions: Vec<Downgrade> = account.exceptions.iter().map(|exception| exception.allow).collect();
    assert_eq!(exceptions, [Downgrade::MediaClear]);
    assert_eq!(config.dns.servers, ["127.0.0.1:53".parse().unwrap()]);
    assert_eq!(config.dns.trust_anchor.as_deref(), Some(Path::new("/etc/g/root.key")));
    assert!(account.client.as_ref().is_some_and(|client| client.certificate == Path::new("/etc/g/client.pem")));
    let keys = [account::KEYS, room::KEYS, service::DNS_KEYS, service::MEDIA_KEYS, service::LOG_KEYS, exception::KEYS]
        .concat();
    for key in keys.into_iter().chain(["short_tags", "directory", "socket"]) {
        let there = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key} = "));
        assert!(EXAMPLE.lines().any(there), "{key} is not in the example");
    }
}

#[test]
fn addresses_have_three_spellings_and_no_more() {
    for text in ["alice@sip.example.org", "sip:alice@sip.example.org", "SIPS:alice@SIP.Example.ORG"] {
        assert_eq!(Address::parse(text).unwrap().to_string(), "alice@sip.example.org", "{text}");
    }
    assert_eq!(Address::parse("+49.1-2@10.0.0.1").unwrap().user, "+49.1-2");
    let bad =
        ["alice", "@x", "alice@", "tel:+49", "https://a@b", "alice@b:5061", "alice@b;transport=tls", "alice@b?x=y"];
    for text in bad.into_iter().chain(["a b@c", "a:pw@b", "sip:a:pw@b", "alice@b@c", "a@-b", "a@b..c", "a@<b>", "ä@b"])
    {
        assert_eq!(Address::parse(text), None, "{text}");
    }
}

#[test]
fn secrets_come_from_files_credentials_and_hashes() {
    let secret = |lines: &str| account(lines).unwrap().secret;
    assert!(
        matches!(secret("password_file = \"/elsewhere/absolute\""), AccountSecret::Password(p) if p.equals(b"hunter4"))
    );
    let credential = secret("password_credential = \"sip-password\"");
    assert!(matches!(credential, AccountSecret::Password(p) if p.equals(b"from systemd")));
    let md5 = secret("realm = \"r\"\nha1_file = \"md5.ha1\"");
    assert!(matches!(md5, AccountSecret::Ha1(Ha1Algorithm::Md5, d) if d.equals(b"0123456789abcdef0123456789abcdef")));
    let sha512 = secret("realm = \"r\"\nha1_file = \"sha512.ha1\"");
    assert!(matches!(sha512, AccountSecret::Ha1(Ha1Algorithm::Sha512_256, d) if d.expose().len() == 64));
    let group = room("group = \"https://g/group/x/\"\nusername = \"gw\"\npassword_file = \"group.password\"").unwrap();
    let GroupCredentials::Password { username, password } = group.credentials else { panic!("a password") };
    assert_eq!(username, "gw");
    assert!(password.equals(b"hunter3"));
}

#[test]
fn a_secret_that_cannot_be_had_is_an_error_at_its_line() {
    let account = |lines: &str| with(lines, GROUP, "");
    fails(&account("password_file = \"nothing\"<<"), &["/etc/g/nothing cannot be read: No such file"]);
    fails(&account("password_file = \"open\"<<"), &["can be read by other users", "chmod 600 /etc/g/open"]);
    fails(&account("password_file = \"empty\"<<"), &["exactly one line"]);
    fails(&account("password_file = \"two-lines\"<<"), &["exactly one line"]);
    fails(&account("password_credential = \"other\"<<"), &["was not passed by systemd", "LoadCredential="]);
    let at_section = |lines: &str| account(lines).replace("[[account]]", "[[account]]<<");
    fails(&at_section(""), &["no password", "password_file"]);
    fails(&at_section(&format!("{PASSWORD}\npassword_credential = \"sip-password\"")), &["more than one"]);
    fails(&at_section("ha1_file = \"md5.ha1\""), &["one realm only"]);
    fails(&at_section("realm = \"r\"\nha1_file = \"bad.ha1\""), &["32 or 64 hexadecimal digits"]);
}

#[test]
fn a_file_with_an_invitation_must_be_private() {
    let text = with(PASSWORD, GROUP, "");
    let error = Config::parse(File { readable_by_others: true, ..file(&text) }, TODAY, &memory()).unwrap_err();
    assert!(error.to_string().contains("chmod 600 /etc/g/galene-sips.toml"), "{error}");
    let without =
        with(PASSWORD, "group = \"https://g/group/x/\"\nusername = \"u\"\npassword_file = \"group.password\"", "");
    assert!(Config::parse(File { readable_by_others: true, ..file(&without) }, TODAY, &memory()).is_ok());
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    fails(
        &with("pasword_file = \"x\"<<", GROUP, ""),
        &["unknown key \"pasword_file\" in [[account]]", "\"password_file\"?"],
    );
    fails(&with("signaling = \"verified\"<<", GROUP, ""), &["Did you mean \"signalling\"?"]);
    fails(&with(PASSWORD, &format!("{GROUP}\nacount = \"x\"<<"), ""), &["[[room]]", "Did you mean \"account\"?"]);
    fails(&with(PASSWORD, GROUP, "[polcy]<<\n"), &["the file", "\"policy\"?"]);
    fails(&with(PASSWORD, GROUP, "[policy]\nshort_tag = true<<"), &["[policy]", "\"short_tags\"?"]);
    fails(&with(PASSWORD, GROUP, "[media]\nport = 1<<"), &["\"ports\"?"]);
    // a key of a later version is as unknown as any other
    fails(&with("register = false<<", GROUP, ""), &["unknown key"]);
}

#[test]
fn a_value_of_another_type_names_both() {
    fails(&with(&format!("{PASSWORD}\nexpires = \"600\"<<"), GROUP, ""), &["a whole number", "TOML string"]);
    fails(&with("password_file = 5<<", GROUP, ""), &["text in quotes", "TOML integer"]);
    fails(&with(&format!("{PASSWORD}\npin_sha256 = \"x\"<<"), GROUP, ""), &["a list of texts"]);
    fails(&with(&format!("{PASSWORD}\npin_sha256 = [\n1<<]"), GROUP, ""), &["a list of texts"]);
    fails(&with(PASSWORD, GROUP, "[policy]\nshort_tags = 1<<"), &["true or false"]);
    fails("account = 5<<\n", &["[[account]]"]);
    fails("[account]<<\naddress = \"a@b\"\n", &["sections that begin with [[account]]"]);
    fails(&format!("media = 5<<\n{}", with(PASSWORD, GROUP, "")), &["a section [media]"]);
    fails(&with(&format!("{PASSWORD}\ndisplay_name = \"\"<<"), GROUP, ""), &["is empty"]);
    fails(&with(&format!("{PASSWORD}\ndisplay_name = \"a\\u0007b\"<<"), GROUP, ""), &["control characters"]);
}

#[test]
fn broken_toml_is_reported_without_its_text() {
    fails(&with(PASSWORD, "group = \"https://g/group/x/?token=sesame<<\n", ""), &["no valid TOML"]);
    fails(&with("address = \"twice@x\"<<", GROUP, ""), &["no valid TOML", "duplicate"]);
}

#[test]
fn missing_keys_and_sections_are_named() {
    fails("<<\n", &["no [[account]]"]);
    fails("[[account]]<<\npassword_file = \"sip.password\"\n", &["address is missing", "Add address"]);
    fails(&with(PASSWORD, "", "").replace("[[room]]", "[[room]]<<"), &["group is missing"]);
    fails(&format!("[[account]]<<\naddress = \"a@b\"\n{PASSWORD}\n"), &["a@b has no room", "account = \"a@b\""]);
    let no_account = format!("[[account]]\naddress = \"a@b\"\n{PASSWORD}\n[[room]]<<\n{GROUP}\n");
    fails(&no_account, &["account is missing in [[room]]"]);
}

#[test]
fn values_out_of_range_are_refused() {
    let account = |line: &str| with(&format!("{PASSWORD}\n{line}<<"), GROUP, "");
    fails(&account("expires = 59"), &["between 60 and 86400"]);
    fails(&account("expires = 86401"), &["between 60 and 86400"]);
    fails(&account("expires = -600"), &["between 60 and 86400"]);
    fails(&account("outbound_proxy = \"sip:proxy.example.org\""), &["sips:HOST"]);
    fails(&account("outbound_proxy = \"sips:proxy.example.org:0\""), &["sips:HOST"]);
    fails(&account("outbound_proxy = \"sips:proxy;lr\""), &["sips:HOST"]);
    fails(&account("outbound_proxy = \"sips\""), &["sips:HOST"]);
    fails(&account("expected_name = \"*.example.org\""), &["no host name"]);
    fails(&account("pin_sha256 = [\"AAAA\"]"), &["no SHA-256 hash"]);
    fails(&with(PASSWORD, GROUP, "").replace("alice@sip.example.org\"\npass", "alice\"<<\npass"), &["user@domain"]);
    let rest = |section: &str, line: &str| with(PASSWORD, GROUP, &format!("[{section}]\n{line}<<"));
    fails(&rest("media", "ports = \"40000\""), &["range of at least 4"]);
    fails(&rest("media", "ports = \"80-90\""), &["from 1024 up"]);
    fails(&rest("media", "ports = \"40000-40002\""), &["range of at least 4"]);
    fails(&rest("media", "ports = \"65533-65535\""), &["range of at least 4"]);
    fails(&rest("media", "bind = [\"localhost\"]"), &["no IP address"]);
    fails(&rest("media", "public_address = \"0.0.0.0\""), &["IP address of a host"]);
    fails(&rest("log", "level = \"loud\""), &["Write error, warn"]);
    fails(&rest("log", "format = \"xml\""), &["text or json"]);
}

#[test]
fn media_log_store_and_admin_are_read() {
    let text = "[media]\nbind = [\"127.0.0.1\"]\npublic_address = \"2001:db8::7\"\nports = \"50000-50100\"\n\
                [log]\nlevel = \"trace\"\nformat = \"json\"\n[store]\ndirectory = \"/var/lib/g\"\n[admin]\nsocket = \"s\"\n";
    let config = rest(text).unwrap();
    assert_eq!(config.media.bind, ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(config.media.public_address, Some("2001:db8::7".parse().unwrap()));
    assert_eq!(config.media.ports, 50_000..=50_100);
    assert_eq!((config.log.level.as_str(), config.log.format), ("trace", LogFormat::Json));
    assert_eq!(config.store_directory, Path::new("/var/lib/g"));
    assert_eq!(config.admin_socket, Path::new("/etc/g/s"));
    assert!(!rest("").unwrap().accounts[0].rules.short_tags);
    assert!(rest("[policy]\nshort_tags = true\n").unwrap().accounts[0].rules.short_tags);
}

#[test]
fn dns_servers_are_addresses_with_or_without_a_port() {
    let config = rest("[dns]\nservers = [\"192.0.2.1\", \"[2001:db8::53]:5353\", \"2001:db8::1\"]\n").unwrap();
    let wanted = ["192.0.2.1:53", "[2001:db8::53]:5353", "[2001:db8::1]:53"];
    assert_eq!(config.dns.servers, wanted.map(|address| address.parse().unwrap()));
    assert_eq!(config.dns.trust_anchor, None);
    for bad in ["dns.example.org", "127.0.0.1:0", "0.0.0.0", "127.0.0.1:65536", ""] {
        fails(&with(PASSWORD, GROUP, &format!("[dns]\nservers = [\"{bad}\"<<]")), &["DNS server", "ADDRESS:PORT"]);
    }
    fails(&with(PASSWORD, GROUP, "[dns]\nserver = \"127.0.0.1\"<<"), &["[dns]", "\"servers\"?"]);
    fails(&with(PASSWORD, GROUP, "[dns]\nservers = \"127.0.0.1\"<<"), &["a list of texts"]);
}

#[test]
fn a_client_certificate_needs_its_key_and_the_key_is_a_secret() {
    let lines = |lines: &str| format!("{PASSWORD}\n{lines}");
    let client = account(&lines("client_cert = \"client.pem\"\nclient_key = \"client.key\"")).unwrap().client.unwrap();
    assert_eq!(client.certificate, Path::new("/etc/g/client.pem"));
    assert!(client.key.expose().contains("hunter5") && !format!("{client:?}").contains("hunter5"));
    let one_alone = |key: &str| with(&lines(key), GROUP, "").replace("[[account]]", "[[account]]<<");
    fails(&one_alone("client_cert = \"client.pem\""), &["client_cert without client_key"]);
    fails(&one_alone("client_key = \"client.key\""), &["client_key without client_cert"]);
    let open = lines("client_cert = \"client.pem\"\nclient_key = \"open\"<<");
    fails(&with(&open, GROUP, ""), &["can be read by other users", "chmod 600"]);
    let missing = lines("client_cert = \"client.pem\"\nclient_key = \"missing\"<<");
    fails(&with(&missing, GROUP, ""), &["cannot be read", "Check client_key"]);
}

#[test]
fn pins_are_base64_or_hexadecimal() {
    let hex = "00".repeat(32);
    let colons = format!("FF{}", ":00".repeat(31));
    let lines = format!("{PASSWORD}\nsignalling = \"pinned\"\npin_sha256 = [\"{PIN}\", \"{hex}\", \"{colons}\"]");
    let account = account(&lines).unwrap();
    assert_eq!(account.rules.signalling, SignallingLevel::Pinned);
    assert_eq!(account.pins, [PIN, PIN, "/wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]);
}

#[test]
fn no_setting_weakens_signalling_or_media() {
    let account = |line: &str| with(&format!("{PASSWORD}\n{line}<<"), GROUP, "");
    fails(&account("signalling = \"pinned\""), &["without a pin"]);
    fails(&account("signalling = \"unverified\""), &["only a dated [[policy.exception]]"]);
    fails(&account("signalling = \"clear\""), &["only a dated [[policy.exception]]"]);
    fails(&account("signalling = \"none\""), &["neither"]);
    fails(&account("media_minimum = \"clear\""), &["only a dated [[policy.exception]]"]);
    fails(&account("zrtp_hash = \"none\""), &["neither"]);
    fails(&account("media_minimum = \"SRTP\""), &["none of"]);
    let fine =
        super::tests::account(&format!("{PASSWORD}\nsignalling = \"verified\"\nmedia_minimum = \"srtp\"")).unwrap();
    assert_eq!((fine.rules.signalling, fine.rules.media_minimum), (SignallingLevel::Verified, MediaLevel::Srtp));
}

#[test]
fn a_call_needs_the_higher_of_what_its_account_and_its_room_demand() {
    let minimum = |account: &str, room: &str| {
        let lines =
            |value: &str| if value.is_empty() { String::new() } else { format!("media_minimum = \"{value}\"\n") };
        let text = with(&format!("{PASSWORD}\n{}", lines(account)), &format!("{GROUP}\n{}", lines(room)), "");
        parse(&text).unwrap().accounts[0].rules.media_minimum
    };
    assert_eq!(minimum("", ""), MediaLevel::Srtp);
    assert_eq!(minimum("", "zrtp"), MediaLevel::Zrtp);
    assert_eq!(minimum("zrtp", ""), MediaLevel::Zrtp);
    assert_eq!(minimum("zrtp-verified", "zrtp"), MediaLevel::ZrtpVerified);
    assert_eq!(minimum("zrtp", "srtp"), MediaLevel::Zrtp, "a room does not lower it");
    assert_eq!(minimum("srtp", "zrtp-verified"), MediaLevel::ZrtpVerified);
    let clear = with(PASSWORD, &format!("{GROUP}\nmedia_minimum = \"clear\"<<"), "");
    fails(&clear, &["only a dated [[policy.exception]]"]);
}

#[test]
fn phones_are_spoken_to_in_english_or_french() {
    let language = |line: &str| parse(&with(PASSWORD, &format!("{GROUP}\n{line}"), "")).unwrap().rooms[0].language;
    assert_eq!(language(""), Language::English);
    assert_eq!(language("language = \"en\""), Language::English);
    assert_eq!(language("language = \"fr\""), Language::French);
    fails(&with(PASSWORD, &format!("{GROUP}\nlanguage = \"FR\"<<"), ""), &["neither \"en\" nor \"fr\""]);
}

#[test]
fn rooms_and_accounts_belong_together() {
    let two = |first: &str, second: &str| {
        format!(
            "[[account]]\naddress = \"a@x\"\n{PASSWORD}\n[[account]]\naddress = \"b@x\"\n{PASSWORD}\n\
             [[room]]\naccount = \"{first}\"\n{GROUP}\n[[room]]\naccount = \"{second}\"\n{GROUP}\n"
        )
    };
    let config = parse(&two("a@x", "sips:b@X")).unwrap();
    assert_eq!(config.rooms[1].account.to_string(), "b@x");
    fails(&two("a@x", "c@x\"<<#"), &["none of the [[account]]s", "a@x, b@x"]);
    fails(&two("a@x", "a@x").replace("[[room]]", "[[room]]<<").replacen("<<", "", 1), &["a@x already has a room"]);
    let twice = two("a@x", "b@x")
        .replace("\"b@x\"", "\"sip:a@x\"")
        .replace("[[account]]", "[[account]]<<")
        .replacen("<<", "", 1);
    fails(&twice, &["a@x is configured twice"]);
    fails(&with(PASSWORD, "group = \"http://g/group/x/?token=sesame\"<<", ""), &["https://"]);
    let room = |lines: &str| with(PASSWORD, lines, "").replace("[[room]]", "[[room]]<<");
    fails(&room("group = \"https://g/group/x/\""), &["no token"]);
    fails(&room("group = \"https://g/group/x/?token=\""), &["no token"]);
    fails(&room("group = \"https://g/group/x/\"\nusername = \"u\""), &["username and password_file"]);
    fails(&room(&format!("{GROUP}\nusername = \"u\"")), &["Keep either"]);
}

/// A valid exception, with one of its lines replaced.
fn exception(replace: &str, by: &str) -> String {
    let text = "[[policy.exception]]\naccount = \"alice@sip.example.org\"\nallow = \"media-clear\"\n\
                reason = \"PBX without SRTP until March\"\nexpires = 2027-02-01\naccepted_by = \"ops@example.org\"\n";
    assert!(text.contains(replace));
    with(PASSWORD, GROUP, &text.replace(replace, by))
}

#[test]
fn an_exception_is_kept_with_everything_that_was_written() {
    for allow in Downgrade::ALL {
        let config = parse(&exception("media-clear", allow.as_str())).unwrap();
        let [exception] = config.accounts[0].exceptions.as_slice() else { panic!("one exception") };
        let expected = Exception {
            allow,
            reason: "PBX without SRTP until March".to_owned(),
            expires: Date { year: 2027, month: 2, day: 1 },
            accepted_by: "ops@example.org".to_owned(),
        };
        assert_eq!(**exception, expected);
        let rules = config.accounts[0].account_rules().on(TODAY);
        assert!(rules.exceptions.iter().eq([exception]));
        assert_eq!(rules.media_minimum, MediaLevel::Srtp, "what is demanded stays");
    }
}

#[test]
fn an_exception_is_in_force_on_its_last_day_and_not_on_the_next() {
    for (day, in_force) in [("2026-11-24", true), ("2026-11-23", false)] {
        let config = parse(&exception("2027-02-01", day)).unwrap();
        let rules = config.accounts[0].account_rules().on(TODAY);
        assert_eq!(!rules.exceptions.is_empty(), in_force, "{day}");
    }
}

#[test]
fn what_this_version_cannot_allow_stops_the_start_as_long_as_it_would_be_in_force() {
    for allow in ["signalling-clear", "digest-md5-over-clear"] {
        fails(&exception("\"media-clear\"", &format!("\"{allow}\"<<")), &["not supported by this version", allow]);
        let last = exception("\"media-clear\"", &format!("\"{allow}\"<<")).replace("2027-02-01", "2026-11-24");
        fails(&last, &["not supported"]);
        let over = exception("\"media-clear\"", &format!("\"{allow}\"")).replace("2027-02-01", "2026-11-23");
        assert!(parse(&over).unwrap().accounts[0].exceptions.is_empty());
    }
}

#[test]
fn an_exception_belongs_to_one_account_and_what_a_room_has_written_is_known() {
    let two = format!(
        "[[account]]\naddress = \"bob@sip.example.org\"\n{PASSWORD}\n[[room]]\naccount = \"bob@sip.example.org\"\n{GROUP}\n\
         media_minimum = \"srtp\"\n{}",
        exception("media-clear", "media-clear")
    );
    let config = parse(&two).unwrap();
    let exceptions: Vec<usize> = config.accounts.iter().map(|account| account.exceptions.len()).collect();
    assert_eq!(exceptions, [0, 1]);
    let written: Vec<MediaLevel> = config.accounts.iter().map(|account| account.rules.room_minimum).collect();
    assert_eq!(written, [MediaLevel::Srtp, MediaLevel::Clear], "srtp is the default, and here it is written");
}

#[test]
fn an_incomplete_mistyped_or_long_exception_has_its_own_error() {
    let at_section = |line: &str| exception(line, "").replace("[[policy.exception]]", "[[policy.exception]]<<");
    fails(&at_section("account = \"alice@sip.example.org\"\n"), &["account is missing"]);
    fails(&at_section("allow = \"media-clear\"\n"), &["allow is missing"]);
    fails(&at_section("reason = \"PBX without SRTP until March\"\n"), &["reason is missing"]);
    fails(&at_section("expires = 2027-02-01\n"), &["expires is missing"]);
    fails(&at_section("accepted_by = \"ops@example.org\"\n"), &["accepted_by is missing"]);
    for account in ["*@sip.example.org", "bob@sip.example.org", "sip:alice@sip.example.org", "*"] {
        fails(&exception("\"alice@sip.example.org\"\nallow", &format!("\"{account}\"<<\nallow")), &["not exactly one"]);
    }
    fails(&exception("\"media-clear\"", "\"media_clear\"<<"), &["Write one of: media-clear"]);
    fails(&exception("\"media-clear\"", "[\"media-clear\"]<<"), &["text in quotes"]);
    fails(&exception("PBX without SRTP until March\"", "too short\"<<"), &["less than 10 characters"]);
    fails(&exception("PBX without SRTP until March\"", "          \"<<"), &["less than 10 characters"]);
    fails(&exception("2027-02-01", "2027-02-23<<"), &["91 days", "more than 90"]);
    assert!(parse(&exception("2027-02-01", "2027-02-22")).is_ok(), "90 days");
    fails(&exception("2027-02-01", "\"2027-02-01\"<<"), &["a date without quotes"]);
    fails(&exception("2027-02-01", "2027-02-01T00:00:00Z<<"), &["a date without quotes"]);
    fails(&exception("2027-02-01", "2027-02-31<<"), &["no valid TOML"]);
    fails(&exception("accepted_by", "<<acceptedby"), &["Did you mean \"accepted_by\"?"]);
    fails(&exception("[[policy.exception]]", "[policy.exception]<<"), &["[[policy.exception]]"]);
}

#[test]
fn what_a_new_configuration_changes_is_told_without_its_secrets() {
    let old = parse(&with(PASSWORD, GROUP, "")).unwrap();
    let changes = |text: &str| Changes::between(&old, &parse(text).unwrap());
    assert_eq!(changes(&with(PASSWORD, GROUP, "")), Changes::default());
    // what accounts and rooms take over by themselves
    let taken_over = [
        with(
            &format!("{PASSWORD}\nmedia_minimum = \"zrtp\"\nca_file = \"x.pem\"\npin_sha256 = [\"{PIN}\"]"),
            GROUP,
            "",
        ),
        with(
            "password_file = \"/elsewhere/absolute\"",
            &GROUP.replace("sesame", "another"),
            "[policy]\nshort_tags = true",
        ),
        exception("media-clear", "media-clear"),
    ];
    for text in taken_over {
        assert_eq!(changes(&text), Changes::default(), "{text}");
    }
    let other = with(
        &format!("{PASSWORD}\ndisplay_name = \"x\"\nauth_user = \"x\"\nrealm = \"x\"\nexpires = 300"),
        &GROUP.replace("/x/", "/y/"),
        "[media]\nbind = [\"127.0.0.1\"]\npublic_address = \"192.0.2.1\"\nports = \"5000-5999\"\n[store]\ndirectory = \"s\"\n\
         [admin]\nsocket = \"t\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n",
    );
    let found = changes(&other);
    assert_eq!(found.needs_restart.len(), 12, "{found:?}");
    for key in
        ["[media] ports", "[log] format", "[[account]] realm of alice@sip.example.org", "[[room]] group of alice@"]
    {
        assert!(found.needs_restart.iter().any(|named| named.contains(key)), "{key}: {found:?}");
    }
    assert!(!format!("{found:?}").contains("sesame"));
    let renamed = changes(&with(PASSWORD, GROUP, "").replace("alice@", "bob@"));
    let names = |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (names(&renamed.added), names(&renamed.removed)),
        (vec!["bob@sip.example.org".into()], vec!["alice@sip.example.org".into()])
    );
    assert!(renamed.needs_restart.is_empty());
}
