//! What the tests with real phones share: the scene, a call, what was on the wire.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use galene_sips_lab::group_peer::GroupPeer;
use galene_sips_lab::real::capture::{Capture, Looks, Stream, UdpPacket, judge_streams};
use galene_sips_lab::real::gateway::{ACCOUNT, Gateway, GatewaySettings, MEDIA_PORTS};
use galene_sips_lab::real::kamailio::{Attack, Digest, Kamailio};
use galene_sips_lab::real::linphone::{CallState, Linphone};
use galene_sips_lab::real::meeting::Meeting;
use galene_sips_lab::real::program::wait_until;
use galene_sips_lab::real::rig::Rig;
use galene_sips_lab::sound::sine;
use galene_sips_lab::wav::Wav;

pub(crate) const SOON: Duration = Duration::from_secs(20);
/// How the gateway's name for a phone begins.
pub(crate) const PHONE: char = '☎';

pub(crate) fn tone(hz: f64) -> Wav {
    Wav { rate: 48_000, samples: sine(48_000, hz, 0.3, 48_000 * 400) }
}

/// Registrar, group and gateway; the gateway is registered.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) meeting: Meeting,
    _kamailio: Kamailio,
}

impl Scene {
    pub(crate) fn start(rig: &Rig, meeting: Meeting, attack: Attack) -> Scene {
        Scene::start_with(rig, meeting, Digest::Sha256, attack, GatewaySettings::USUAL)
    }

    pub(crate) fn start_with(
        rig: &Rig,
        meeting: Meeting,
        digest: Digest,
        attack: Attack,
        settings: GatewaySettings<'_>,
    ) -> Scene {
        let kamailio = rig.kamailio(digest, attack).unwrap();
        Scene { gateway: gateway(rig, &meeting, settings), meeting, _kamailio: kamailio }
    }

    /// Ends the gateway as an administrator does and starts it anew, with its store.
    pub(crate) fn restart(self, rig: &Rig, settings: GatewaySettings<'_>, phones: &[&Linphone]) -> Scene {
        let Scene { gateway: old, meeting, _kamailio } = self;
        old.stop_and_search_log(phones).unwrap();
        Scene { gateway: gateway(rig, &meeting, settings), meeting, _kamailio }
    }

    /// The one call, as `calls --json` shows it.
    pub(crate) fn the_call(&self) -> serde_json::Value {
        let answer = self.gateway.calls().unwrap();
        let [shown] = answer["calls"].as_array().unwrap().as_slice() else { panic!("{answer}") };
        shown.clone()
    }

    /// Waits until there is one call, and it is secure.
    pub(crate) fn secure_call(&self) -> serde_json::Value {
        let secure = || {
            let answer = self.gateway.calls()?;
            Ok(answer["calls"].as_array().is_some_and(|calls| calls.len() == 1 && calls[0]["media"]["level"] != "none"))
        };
        wait_until("a secure call", SOON, || Ok(secure()?.then_some(())))
            .unwrap_or_else(|failure| panic!("{failure}\n{}", self.gateway.log()));
        self.the_call()
    }

    pub(crate) fn wait_no_call(&self) {
        let none = || Ok((self.gateway.calls()?["calls"] == serde_json::json!([])).then_some(()));
        wait_until("the call is over", SOON, none).unwrap();
    }
}

fn gateway(rig: &Rig, meeting: &Meeting, settings: GatewaySettings<'_>) -> Gateway {
    let binary = Path::new(env!("CARGO_BIN_EXE_galene-sips"));
    let mut gateway = Gateway::start(rig, binary, meeting, settings).unwrap();
    gateway.wait_registered(SOON).unwrap();
    gateway
}

/// The phone calls the gateway's account and talks; returns the capture of the call.
pub(crate) fn call(rig: &Rig, phone: &mut Linphone) -> Capture {
    let capture = Capture::start(rig.net(), &rig.file("call.pcap")).unwrap();
    phone.call(&format!("sip:{ACCOUNT}")).unwrap();
    phone.wait_call(CallState::StreamsRunning, SOON).unwrap();
    capture
}

/// The name of the one phone in the group.
pub(crate) fn phone_in_the_group(peer: &GroupPeer) -> String {
    wait_until("the phone as a participant", SOON, || {
        Ok(peer.participants().into_values().find(|name| name.starts_with(PHONE)))
    })
    .unwrap()
}

/// The RTP packets of the gateway, in their order.
pub(crate) fn gateways_rtp<'a>(rig: &Rig, packets: &'a [UdpPacket]) -> impl Iterator<Item = &'a UdpPacket> {
    let inside = rig.net().inside();
    packets.iter().filter(move |packet| {
        packet.is_rtp() && packet.from.ip() == inside && MEDIA_PORTS.contains(&packet.from.port())
    })
}

/// The gateway sent sound, all of it encrypted, and nobody else sent any in clear.
pub(crate) fn all_is_encrypted(packets: &[UdpPacket]) {
    let streams = judge_streams(packets);
    assert!(of_the_gateway(&streams).any(|looks| looks == Looks::Encrypted), "{streams:?}");
    assert!(streams.values().all(|looks| *looks != Looks::Clear), "{streams:?}");
}

fn of_the_gateway(streams: &BTreeMap<Stream, Looks>) -> impl Iterator<Item = Looks> + '_ {
    streams.iter().filter(|(stream, _)| MEDIA_PORTS.contains(&stream.from.port())).map(|(_, looks)| *looks)
}

/// No RTP packet left the gateway before the phone had confirmed the keys: a few clear ones at the start of a stream
/// would be lost among the encrypted ones of [`all_is_encrypted`].
pub(crate) fn nothing_is_sent_before_zrtp_is_done(rig: &Rig, packets: &[UdpPacket]) {
    let confirmed = packets.iter().filter(|packet| matches!(packet.zrtp(), Some("Confirm2" | "Conf2ACK")));
    let first = gateways_rtp(rig, packets).next().unwrap();
    let confirmed = confirmed.map(|packet| packet.time).min().unwrap();
    assert!(confirmed <= first.time, "RTP at {:?}, the keys were confirmed at {confirmed:?}", first.time);
}
