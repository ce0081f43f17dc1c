//! Reason phrases of the statuses that the gateway sends (RFC 3261 §21).

/// The phrase for people; a status that is not in the list gets the one of its class.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        180 => "Ringing",
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        480 => "Temporarily Unavailable",
        486 => "Busy Here",
        488 => "Not Acceptable Here",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        ..200 => "Progress",
        201..=299 => "Success",
        300..=399 => "Redirection",
        401..=499 => "Refused",
        501..=599 => "Server Failure",
        _ => "Declined",
    }
}
