//! What the dialogs hear from a room, in words that people get to read.

use super::command::{Author, Command};
use super::refusal::JoinRefused;
use crate::units::CallNumber;
use std::net::SocketAddr;

/// What a dialog hears from its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEvent {
    /// The phone is a participant, its sound can flow: time to answer.
    Ready {
        /// Which call.
        call: CallNumber,
    },
    /// The group does not let the phone in.
    Refused {
        /// Which call.
        call: CallNumber,
        /// Why, in the group's words or ours.
        reason: JoinRefused,
    },
    /// A ZRTP packet on the call's media port, from anybody.
    Zrtp {
        /// Which call.
        call: CallNumber,
        /// Where it came from.
        from: SocketAddr,
        /// The datagram.
        packet: Vec<u8>,
    },
    /// The phone sent a packet that is authentic under the keys that ZRTP made: it has them (RFC 6189 §4.6).
    Proved {
        /// Which call.
        call: CallNumber,
    },
    /// Somebody in the group wants something of the gateway.
    Asked {
        /// Who.
        author: Author,
        /// What.
        command: Command,
    },
    /// The leg is over; its ports can be closed.
    Ended {
        /// Which call.
        call: CallNumber,
        /// Why.
        reason: EndReason,
    },
}

/// Why a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The dialog said so.
    Left,
    /// An operator of the group removed the phone.
    Kicked(String),
    /// No authenticated packet for too long.
    MediaTimeout,
    /// Galène did not come back in time.
    GroupGone(String),
    /// A defect of ours, contained.
    Defect,
}

impl EndReason {
    /// One sentence for the log and the BYE's Reason header.
    pub fn sentence(&self) -> String {
        match self {
            EndReason::Left => "the call ended".to_owned(),
            EndReason::Kicked(message) if message.is_empty() => {
                "an operator of the group removed the caller".to_owned()
            }
            EndReason::Kicked(message) => format!("an operator of the group removed the caller: {message}"),
            EndReason::MediaTimeout => "no sound came from the phone any more".to_owned(),
            EndReason::GroupGone(why) => format!("the conference server went away: {why}"),
            EndReason::Defect => "a defect of the gateway, contained; please report it with the log".to_owned(),
        }
    }
}
