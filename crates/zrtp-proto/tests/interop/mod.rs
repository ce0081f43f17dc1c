//! Linphone's libbzrtp as the other side of this crate's tests: [`peer::Peer`] is a ZRTP endpoint on loopback,
//! [`call::Call`] an exchange of our engine with it.

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod call;
pub(crate) mod peer;
pub(crate) mod program;
