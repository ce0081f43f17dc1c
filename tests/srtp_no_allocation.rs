//! Nothing is allocated per packet, good or bad. (What the C library of AES-GCM allocates is not seen by this count.)
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod proof;

use allocation_counter::measure;
use galene_sips::secret::Secret;
use galene_sips::srtp::{MasterKey, Protector, Rejected, RtpOut, Suite, Unprotector};
use galene_sips::units::Ssrc;
use proof::proof;

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![0u8; 100]))).count_total, 1);
}

#[test]
fn no_packet_allocates_whether_it_is_sent_received_replayed_or_forged() {
    for suite in Suite::ALL {
        let key = MasterKey::new(suite, Secret::new(vec![3; suite.key_len() + suite.salt_len()])).unwrap();
        let mut sender = Protector::new(&proof(), &key).unwrap();
        let mut receiver = Unprotector::new(&proof(), &key).unwrap();
        let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
        let payload = [9; 160];
        let counted = measure(|| {
            for n in 0..1000u16 {
                let ssrc = Ssrc(u32::from(n / 200));
                let out = RtpOut { payload_type: 0, marker: false, sequence: n, timestamp: 0, ssrc, payload: &payload };
                let sealed = sender.rtp(&out).unwrap();
                let mut buffer = [0; 200];
                let wire = &mut buffer[..sealed.as_bytes().len()];
                wire.copy_from_slice(sealed.as_bytes());
                assert_eq!(receiver.rtp(wire).unwrap().payload, payload);
                wire.copy_from_slice(sealed.as_bytes());
                assert_eq!(receiver.rtp(wire), Err(Rejected::Replayed));
                wire[8] ^= 0x80; // another SSRC
                assert_eq!(receiver.rtp(wire), Err(Rejected::AuthFailed));

                let sealed = sender.rtcp(&report).unwrap();
                let wire = &mut buffer[..sealed.as_bytes().len()];
                wire.copy_from_slice(sealed.as_bytes());
                assert_eq!(receiver.rtcp(wire).unwrap(), report);
                wire.copy_from_slice(sealed.as_bytes());
                wire[4] ^= 0x80;
                assert_eq!(receiver.rtcp(wire), Err(Rejected::AuthFailed));
            }
        });
        assert_eq!(counted.count_total, 0, "{suite:?}");
    }
}
