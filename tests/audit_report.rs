//! The audit's report in its three forms: what each one says, that a provider's text stays text in all of them, that the
//! JSON is as its schema has it, and that the page fits phones and desktops and people who cannot see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod audit_samples;
#[path = "gateway/schema.rs"]
mod schema;

use audit_samples::{faulty, good, hostile_everywhere, unreached};
use galene_sips::audit::report::html::html;
use galene_sips::audit::report::json::{self, Unreadable};
use galene_sips::audit::report::text::{summary, text};
use galene_sips::audit::report::{Remedy, Report};
use galene_sips_lab::real::chromium::{Chromium, Screen};
use galene_sips_lab::real::netns::Netns;
use galene_sips_lab::real::program::Scratch;
use std::path::{Path, PathBuf};

/// What must not reach a terminal or a page as itself: ESC, CSI, NUL, CR, bidi overrides and isolates, zero width.
const COMMANDS: [char; 7] = ['\u{1b}', '\u{9b}', '\0', '\r', '\u{202e}', '\u{2066}', '\u{200b}'];

fn all() -> [Report; 4] {
    [good(), faulty(), unreached(), hostile_everywhere()]
}

/// The words stand in the text in this order, line breaks and indentation aside.
fn in_order(text: &str, words: &[&str]) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut from = 0;
    for word in words {
        let at = text[from..].find(word).unwrap_or_else(|| panic!("no \"{word}\" after byte {from} of:\n{text}"));
        from += at + word.len();
    }
}

#[test]
fn the_text_says_the_verdict_first_and_then_what_to_do() {
    let words = [
        "voice.example REFUSED",
        "would not use this provider (signalling only, media not tested).",
        "Why The certificate for voice.example has expired. [certificate-expired]",
        "To do Ask the provider to renew it",
        "Ask the provider to remove all NULL suites.",
        "Ask the provider to switch off TLS 1.0 and 1.1.",
        "Grade T, with 41 of 100 points",
        "Signalling 38 of 100, counts 30 %",
        "Media not tested, counts 25 %",
        "no better than T: No authority that is known here signed the certificate. [C-CHAIN]",
        "Signalling CRITICAL The server takes suites that do not encrypt [L-SUITES]",
        "| 192.0.2.10:5061 TLS 1.2: TLS_RSA_WITH_NULL_SHA256",
        "(RFC 9325 §4.1)",
        "HIGH TLS 1.0 is still taken [L-VERSIONS]",
        "medium 12 suites",
        "pass The extended master secret",
        "Identity CRITICAL",
        "Login medium The only digest algorithm is MD5",
        "Exposure HIGH",
        "Not tested Media: no call was made.",
        "Configuration No configuration helps: no exception covers an expired certificate",
        "Made 2026-11-25T04:33:38Z, in 6.4 s over 32 TLS connections, by galene-sips 0.1.0.",
    ];
    in_order(&text(&faulty(), 80, false), &words);
    let words = ["ACCEPTED", "would use this provider", "Grade A,", "Accepted by the default policy"];
    in_order(&text(&good(), 80, false), &words);
    let words =
        ["INCONCLUSIVE", "cannot be said", "Cut short", "No grade", "Signalling was not tested.", "cannot be said"];
    in_order(&text(&unreached(), 80, false), &words);
}

#[test]
fn no_line_is_longer_than_the_terminal_except_those_to_copy() {
    let toml = format!("[[policy.exception]]\naccount = \"alice@voice.example\"\nreason = \"{}\"\n", "x".repeat(90));
    for (width, report) in [(80, good()), (80, faulty()), (80, unreached()), (80, hostile_everywhere()), (60, faulty())]
    {
        let nothing = Report { configuration: Remedy::Nothing, ..report.clone() };
        let shown = text(&nothing, width, false);
        assert!(shown.lines().all(|line| line.chars().count() <= width), "{shown}");
        let shown = text(&Report { configuration: Remedy::Toml(toml.clone()), ..report }, width, false);
        for line in toml.lines() {
            assert!(shown.lines().any(|shown| shown.trim() == line), "no \"{line}\" in {shown}");
        }
    }
    let long = summary(&all());
    assert!(long.lines().all(|line| line.chars().count() <= 80), "{long}");
}

#[test]
fn colour_is_an_addition_and_only_where_asked_for() {
    let strip = |mut text: String| {
        while let Some(start) = text.find('\u{1b}') {
            let end = start + text[start..].find('m').unwrap();
            text.replace_range(start..=end, "");
        }
        text
    };
    for report in all() {
        let (plain, colourful) = (text(&report, 80, false), text(&report, 80, true));
        assert!(!plain.contains('\u{1b}') && colourful.contains("\u{1b}[1m"));
        assert_eq!(strip(colourful), plain);
    }
}

#[test]
fn the_table_of_many_targets_has_one_row_each() {
    let rows = "target         verdict       grade  worst finding\n\
                voice.example  accepted      A      info: There is no TLSA record [D-TLSA]\n\
                voice.example  refused       T      critical: The server takes suites that do\n\
                \x20                                   not encrypt [L-SUITES]\n\
                voice.example  inconclusive  -      unknown: No server accepts connections on\n\
                \x20                                   port 5061 [T-5061]\n";
    assert_eq!(summary(&[good(), faulty(), unreached()]), rows);
    let mut perfect = good();
    perfect.findings.truncate(3);
    assert!(summary(&[perfect]).contains("everything passed"));
}

#[test]
fn what_a_provider_wrote_commands_no_terminal_and_no_page() {
    let report = hostile_everywhere();
    let shown = [
        text(&report, 80, false),
        text(&report, 10_000, false),
        summary(std::slice::from_ref(&report)),
        json::pretty(&report),
        json::line(&report),
        html(&report),
        json::read(&json::line(&faulty()).replace("\"schema_version\":1", "\"schema_version\":\"\u{9b}\""))
            .unwrap_err()
            .to_string(),
    ];
    for text in shown {
        assert!(!text.contains(COMMANDS), "{:?}", text.chars().find(|one| COMMANDS.contains(one)));
    }
    let wide = text(&report, 10_000, false);
    assert!(wide.contains("\\r\\nSet-Cookie") && !wide.contains("\nSet-Cookie"), "the provider ends no line");
    let page = html(&report);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains("<img"));
    assert!(page.matches("</style>").count() == 1 && page.matches("</title>").count() == 1);
    assert!(page.matches("{{main}}").count() > 50, "what looks like a place in the template stays text");
    assert_eq!(page.matches("id=\"verdict\"").count(), 1);
}

#[test]
fn json_is_as_its_schema_has_it_and_can_be_read_back() {
    let schema = serde_json::from_str(include_str!("../docs/schema/audit.json")).unwrap();
    for report in all() {
        for text in [json::pretty(&report), json::line(&report)] {
            schema::check(&schema, &serde_json::from_str(&text).unwrap(), "report");
            assert_eq!(json::read(&text).unwrap(), vec![report.clone()]);
        }
        assert!(!json::line(&report).contains('\n'));
    }
    let lines: Vec<String> = all().iter().map(json::line).collect();
    assert_eq!(json::read(&lines.join("\n")).unwrap(), all());
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../docs/schema/audit.json")).unwrap();
    let whole = serde_json::to_value(faulty()).unwrap();
    let with = |pointer: &str, value: serde_json::Value| {
        let mut changed = whole.clone();
        *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        schema::valid(&schema, &schema, &changed, "report")
    };
    assert_eq!(with("/schema_version", 1.into()), Ok(()));
    let server = "/facts/servers/0";
    for (pointer, value) in [
        ("/schema_version".to_owned(), 2.into()),
        ("/verdict/outcome".to_owned(), "accepted".into()),
        ("/grade/score".to_owned(), 101.into()),
        ("/findings/0/severity".to_owned(), "fine".into()),
        (format!("{server}/tls/known/versions/0/1/known"), "yes".into()),
        (format!("{server}/tls/known/versions/0/0"), "tls14".into()),
        (format!("{server}/certificate/known/judged/name"), "right".into()),
        (format!("{server}/certificate/known/chain/0/key_bits"), serde_json::Value::Null),
        (format!("{server}/sip/known/options/known/status"), "200".into()),
        ("/facts/dns/known/srv/3/answer".to_owned(), serde_json::json!({ "failed": "x", "bogus": "y" })),
    ] {
        assert!(with(&pointer, value).is_err(), "{pointer}");
    }
}

#[test]
fn a_file_that_is_no_report_is_named_so() {
    let report = json::line(&good());
    let is = |text: &str, words: &[&str]| {
        let said = json::read(text).unwrap_err().to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    is("", &["empty", "--format json"]);
    is("<html>", &["no JSON", "line 1"]);
    is(&report[..report.len() - 9], &["no JSON"]);
    is("[1, 2]", &["no report of galene-sips audit"]);
    is("{\"schema_version\": 1, \"calls\": []}", &["no report of galene-sips audit"]);
    is(&report.replace("galene-sips 0.1.0", "testssl 3.2"), &["no report of galene-sips audit"]);
    is(&report.replacen("\"schema_version\":1", "\"schema_version\":2", 1), &["version 2", "reads version 1", "again"]);
    is(&report.replacen("\"schema_version\":1", "\"schema_version\":\"1\"", 1), &["version"]);
    is(&report.replace("\"took_ms\":", "\"took\":"), &["damaged", "took_ms"]);
    assert_eq!(json::read(&format!("{report}\n{{}}")), Err(Unreadable::Foreign), "one bad line spoils all");
}

#[test]
fn the_page_says_everything_in_words_and_loads_nothing() {
    let page = html(&faulty());
    in_order(
        &page,
        &[
            "<html lang=\"en\">",
            "default-src 'none'",
            "<h1>voice.example</h1>",
            "Refused",
            "would not use this provider.",
            "<code>certificate-expired</code>",
            "signalling only, media not tested",
            "<strong>T</strong>",
            "What to do",
            "Ask the provider to remove all NULL suites.",
            "38 of 100",
            "No better than F: ",
            "How the provider was found",
            "SIPS+D2T",
            "not signed by DNSSEC",
            "sip1.<wbr>voice.<wbr>example:5061",
            "no such service",
            "no answer: SERVFAIL",
            "192.0.2.10:5061",
            "answers after 23 ms",
            "refuses connections",
            "Chain of trust",
            "The server",
            "*.<wbr>voice.<wbr>example",
            "names voice.example by a wildcard only",
            "has expired",
            "its key of 1024 bits is too short",
            "its signature rests on a broken hash",
            "2025-11-18</span> <span class=\"whole\">to 2026-11-18",
            "Intermediate authority",
            "Unknown authority",
            "Voice Example Root",
            "not trusted here",
            "What was found",
            "critical</span> The server takes suites that do not encrypt",
            "TLS_RSA_WITH_NULL_SHA256",
            "To do: ",
            "RFC 9325 §4.1",
            "<summary>Evidence, 12 lines</summary>",
            "pass</span> The extended master secret",
            "What was not tested",
            "No configuration helps",
            "2026-11-25T04:33:38Z",
        ],
    );
    let style = include_str!("../src/audit/report/html/style.css");
    for outside in ["<script", "<link", "<img", "<iframe", " src=", " href=", " style=", " onclick="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!style.contains("url(") && !style.contains("@import") && !style.contains("@font-face"));
    let accepted = html(&good());
    in_order(&accepted, &["Accepted", "signed, DNSSEC holds", "Trusted authority", "known here", "default policy"]);
    assert_eq!(accepted.matches("class=\"chain short\"").count(), 1, "two servers with one chain share a picture");
    in_order(&html(&unreached()), &["Inconclusive", "cut short", "No grade", "does not answer", "none was found"]);
    let configured = Report { configuration: Remedy::Toml("[a]\nb = \"<c>\"\n".to_owned()), ..faulty() };
    assert!(html(&configured).contains("<pre><code>[a]\nb = &quot;&lt;c&gt;&quot;\n</code></pre>"));
}

#[test]
fn a_chain_that_breaks_anywhere_shows_where() {
    use galene_sips::audit::facts::Tested;
    let changed = |change: &dyn Fn(&mut galene_sips::audit::facts::CertificateFacts)| {
        let mut report = good();
        for server in &mut report.facts.servers {
            let Tested::Known(certificate) = &mut server.certificate else { panic!("no certificate") };
            change(certificate);
        }
        html(&report)
    };
    let second_is =
        |change: &dyn Fn(&mut galene_sips::audit::facts::Certificate)| changed(&|facts| change(&mut facts.chain[1]));
    assert!(!html(&good()).contains("class=\"bad\""));
    assert!(second_is(&|one| one.not_after = 1_700_000_000).contains("</span>has expired"));
    assert!(second_is(&|one| one.not_before = 1_900_000_000).contains("</span>is not valid yet"));
    assert!(second_is(&|one| one.subject = "CN=Other".to_owned()).contains("is not the one that signed"));
    assert!(second_is(&|one| (one.key, one.key_bits) = ("RSA".to_owned(), 1024)).contains("too short"));
    for days in [i64::MIN, i64::MAX, -1, 40_000_000 * 86_400] {
        assert!(second_is(&|one| (one.not_before, one.not_after) = (days, days)).contains("Valid"));
    }
    assert!(changed(&|facts| facts.chain.clear()).contains("nobody"));
    let root = second_is(&|one| one.subject = one.issuer.clone());
    assert!(
        !root.contains("by its own word") && root.contains("Trusted authority"),
        "a root that was sent is one card"
    );
}

// In a real browser.

/// Starts the browser in a network of its own, where there is nothing to load from.
fn browser(scratch: &Scratch) -> (Netns, Chromium) {
    let net = Netns::new(&[], &[]).unwrap();
    let browser = Chromium::start(&net, &scratch.join("chromium"), None).unwrap();
    (net, browser)
}

fn saved(scratch: &Scratch, name: &str, page: &str) -> String {
    let file = scratch.join(&format!("{name}.html"));
    std::fs::write(&file, page).unwrap();
    format!("file://{}", file.display())
}

/// What goes out of the window to the side, as JavaScript that returns a list of words.
const OVERFLOW: &str = "(() => {
    const width = document.documentElement.clientWidth;
    const name = one => `${one.tagName}.${one.className}: ${one.textContent.slice(0, 40)}`;
    const out = [...document.querySelectorAll('body *')].filter(one => {
        const box = one.getBoundingClientRect();
        return box.width > 0 && (box.right > width + 0.5 || box.left < -0.5 || one.scrollWidth > one.clientWidth + 1
            && one.clientWidth > 0);
    }).map(name);
    if (document.documentElement.scrollWidth > width) out.push(`page of ${document.documentElement.scrollWidth}`);
    return out;
})()";

/// axe-core, which scripts/prepare fetches.
fn axe() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/axe/axe.min.js");
    std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}. ./test fetches it; by hand: source scripts/prepare && prepare test", file.display())
    })
}

#[test]
fn the_page_fits_every_screen_and_axe_finds_nothing() {
    let (scratch, axe) = (Scratch::new().unwrap(), axe());
    let (_net, mut browser) = browser(&scratch);
    let mut wrong = Vec::new();
    for (name, report) in ["good", "faulty", "unreached", "hostile"].into_iter().zip(all()) {
        browser.open(&saved(&scratch, name, &html(&report))).unwrap();
        browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)").unwrap();
        for (width, dark) in [(320, true), (390, false), (390, true), (800, false), (1280, false), (1280, true)] {
            browser.look_at(Screen { width, height: 900, dark }).unwrap();
            let at = format!("{name}, {width} px, {}", if dark { "dark" } else { "light" });
            let out = browser.evaluate(OVERFLOW).unwrap();
            if out != serde_json::json!([]) {
                wrong.push(format!("{at}: goes out of the window: {out:#}"));
            }
            if width == 390 || width == 1280 {
                browser.evaluate(&format!("{axe};0")).unwrap();
                let run = "axe.run().then(result => [result.passes.length, result.violations.flatMap(one =>
                    one.nodes.map(node => `${one.id}: ${node.html.slice(0, 120)} ${node.failureSummary}`))])";
                let result = browser.evaluate(run).unwrap();
                assert!(result[0].as_u64().unwrap() > 10, "axe looked at nothing: {result}");
                if result[1] != serde_json::json!([]) {
                    wrong.push(format!("{at}: axe: {:#}", result[1]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_itself_forbids_what_escaping_already_prevents() {
    let scratch = Scratch::new().unwrap();
    let (_net, mut browser) = browser(&scratch);
    let intruder = "<script>document.title = 'owned'</script><style>.verdict { display: none }</style></main>";
    let broken = html(&faulty()).replace("</main>", intruder);
    let seen = "[document.title, getComputedStyle(document.querySelector('.verdict')).display]";
    browser.open(&saved(&scratch, "without", &broken)).unwrap();
    assert_eq!(browser.evaluate(seen).unwrap(), serde_json::json!(["owned", "none"]), "without a policy it would run");
    browser.obey_policy(true).unwrap();
    browser.open(&saved(&scratch, "with", &broken)).unwrap();
    let seen = browser.evaluate(seen).unwrap();
    assert!(seen[0].as_str().unwrap().starts_with("voice.example: refused"), "{seen}");
    assert_eq!(seen[1], "flex", "its own style and no other");
}

#[test]
fn the_page_runs_nothing_of_the_providers_and_prints_whole() {
    let scratch = Scratch::new().unwrap();
    let (_net, mut browser) = browser(&scratch);
    browser.open(&saved(&scratch, "hostile", &html(&hostile_everywhere()))).unwrap();
    let foreign = "document.title === 'owned' || document.querySelectorAll('script, img, [onerror]').length > 0";
    assert_eq!(browser.evaluate(foreign).unwrap(), false);
    assert_eq!(browser.evaluate("getComputedStyle(document.querySelector('.verdict')).display").unwrap(), "flex");

    browser.open(&saved(&scratch, "faulty", &html(&faulty()))).unwrap();
    // after two frames: what was hidden is laid out with the next one
    let shown = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
        const evidence = document.querySelector('details .evidence');
        done(evidence.checkVisibility({ contentVisibilityAuto: true }) && evidence.offsetHeight > 100);
    })))";
    assert_eq!(browser.evaluate(shown).unwrap(), false, "it is folded on the screen");
    browser.look_at_print().unwrap();
    assert_eq!(browser.evaluate(shown).unwrap(), true, "paper cannot be unfolded");
}

/// `GALENE_SIPS_PICTURES=docs/audit cargo test --test audit_report pictures` draws those of the documentation anew.
#[test]
fn pictures_can_be_taken_and_are_small() {
    let scratch = Scratch::new().unwrap();
    let (_net, mut browser) = browser(&scratch);
    let folder = std::env::var_os("GALENE_SIPS_PICTURES").map_or(scratch.path().to_owned(), PathBuf::from);
    browser.open(&saved(&scratch, "faulty", &html(&faulty()))).unwrap();
    for (name, width, height, dark) in [("desktop", 1040, 1240, false), ("phone", 390, 1180, true)] {
        browser.look_at(Screen { width, height, dark }).unwrap();
        let file = folder.join(format!("report-{name}.png"));
        browser.screenshot(&file).unwrap();
        assert!(std::fs::metadata(&file).unwrap().len() < 200_000, "{}", file.display());
    }
}
