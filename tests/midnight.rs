//! What ends with the day of an exception while the program runs: its clock is a few seconds before midnight.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use galene_sips::units::Date;
use galene_sips_lab::certificates::Kind;
use galene_sips_lab::phone::{Call, MediaOptions, Phone};
use gateway::scene::{DOMAIN, Scene, Unusual, exception};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;

/// How long before midnight the program starts.
const BEFORE: Duration = Duration::from_secs(12);
const DAY: u64 = 86_400;

/// A clock that is so far ahead that midnight is near; when that is here; and the days from the one that ends then.
fn just_before_midnight() -> (Duration, Instant, impl Fn(u32) -> Date) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // the last seconds of today, or of tomorrow if they are over
    let left = (2 * DAY - now % DAY - BEFORE.as_secs()) % DAY;
    let today = u32::try_from((now + left) / DAY).unwrap();
    (Duration::from_secs(left.max(1)), Instant::now() + BEFORE, move |later| Date::from_unix_days(today + later))
}

async fn clear_call(phone: &Phone) -> Result<Call, u16> {
    let called = phone.call_with(&format!("sip:conference@{DOMAIN}"), MediaOptions::clear(), false).await;
    called.map_err(|refused| refused.status)
}

fn in_force(scene: &Scene) -> Vec<String> {
    let status = scene.ask("status");
    let all = status["accounts"][0]["exceptions"].as_array().unwrap().iter();
    all.map(|one| one["allow"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_sound_ends_for_new_calls_at_midnight_and_a_reminder_comes_with_the_day() {
    let (ahead, midnight, day) = just_before_midnight();
    let lines = [exception("media-clear", day(0)), exception("tls-wildcard-name", day(2))].concat();
    let scene = Scene::start_with("midnight-clear", Unusual { lines: &lines, ahead, ..Unusual::default() }).await;
    scene.gateway.line_with(&["an exception is in force", "media-clear", "days_left=0"]).await;
    scene.gateway.line_with(&["an exception is in force", "tls-wildcard-name", "days_left=2"]).await;
    let phone = scene.phone().await;
    let running = clear_call(&phone).await.expect("its last day is one of its days");
    assert_eq!(in_force(&scene), ["media-clear", "tls-wildcard-name"]);
    assert!(Instant::now() + Duration::from_secs(2) < midnight, "the test came too late");

    sleep(midnight + Duration::from_secs(2) - Instant::now()).await;
    assert_eq!(clear_call(&phone).await.err(), Some(488));
    scene.gateway.line_with(&["an exception is over", "media-clear"]).await;
    scene.gateway.line_with(&["an exception is in force", "tls-wildcard-name", "days_left=1"]).await;
    assert_eq!(in_force(&scene), ["tls-wildcard-name"]);
    running.speak(vec![1000; 24_000]).await;
    let calls = scene.ask("calls");
    assert_eq!(calls["calls"][0]["exceptions"][0]["allow"], "media-clear", "who talks goes on: {calls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_an_exception_allowed_ends_with_its_day_though_nothing_happens() {
    let (ahead, midnight, day) = just_before_midnight();
    let lines = exception("tls-wildcard-name", day(0));
    let unusual = Unusual { certificate: Kind::Wildcard, lines: &lines, ahead };
    let scene = Scene::start_with("midnight-wildcard", unusual).await;
    assert_eq!(scene.ask("status")["accounts"][0]["signalling"]["exception"], "tls-wildcard-name");
    assert!(Instant::now() < midnight, "the test came too late");
    let end = midnight + Duration::from_secs(70); // the end of a day may be noticed a minute late
    let closed = |output: &str| output.contains("certificate-wildcard");
    while !closed(&scene.gateway.output()) {
        assert!(Instant::now() < end, "{}", scene.gateway.output());
        sleep(Duration::from_millis(200)).await;
    }
    assert!(Instant::now() > midnight);
    assert!(scene.ask("status")["accounts"][0]["signalling"].is_null(), "{}", scene.ask("status"));
}
