//! Nothing but tests: `tests/srtp.rs` (webrtc-srtp) and `tests/sip.rs` (rsip).
