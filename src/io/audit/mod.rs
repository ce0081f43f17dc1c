//! The audit's probes: what carries its hellos and requests to a provider, gently.

pub mod pace;
pub mod tls;
