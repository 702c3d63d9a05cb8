//! What is version 2's own in an advert (RFC 3768, section 5.3): seconds, a password at the end, and
//! checks for which version 3 only warns.

use std::net::Ipv4Addr;
use std::time::Duration;

use common::board::DropReason;
use pnet_packet::util;

use super::{EncodeError, V2};

/// Bytes of the authentication data, also where there is no authentication.
pub(super) const AUTH_DATA_LEN: usize = 8;

/// RFC 3768, section 5.3.6: no authentication; and the simple password of RFC 2338, which Keepalived
/// still sends.
const AUTH_NONE: u8 = 0;
const AUTH_PASS: u8 = 1;
const OWNER: u8 = 255;

pub(super) const fn auth_type(pass: Option<[u8; AUTH_DATA_LEN]>) -> u8 {
    match pass {
        Some(_) => AUTH_PASS,
        None => AUTH_NONE,
    }
}

pub(super) fn seconds(interval: Duration) -> Result<u8, EncodeError> {
    let wrong = EncodeError::Seconds(interval);
    match u8::try_from(interval.as_secs()) {
        Ok(seconds @ 1..) if interval.subsec_nanos() == 0 => Ok(seconds),
        Ok(_) | Err(_) => Err(wrong),
    }
}

/// The rungs of the ladder from the checksum on, for a message of the right length; returns the
/// interval.
pub(super) fn check(
    message: &[u8],
    addresses: &[[u8; 4]],
    own: &V2,
) -> Result<Duration, DropReason> {
    let skip_nothing = message.len();
    if util::checksum(message, skip_nothing) != 0 {
        return Err(DropReason::Checksum);
    }
    let (priority, auth, seconds) = (message[2], message[4], message[5]);
    if auth != auth_type(own.pass) {
        return Err(DropReason::AuthType);
    }
    let (_, data) = message.split_at(message.len() - AUTH_DATA_LEN);
    if own.pass.is_some_and(|pass| pass[..] != *data) {
        return Err(DropReason::AuthFail);
    }
    // Not learned as in version 3: whoever has another one belongs to another router.
    if seconds != own.seconds {
        return Err(DropReason::Interval);
    }
    let same = matches!(addresses, [one] if Ipv4Addr::from(*one) == own.address);
    if !same && priority != OWNER {
        return Err(DropReason::AddrList);
    }
    if own.owner {
        return Err(DropReason::Owner);
    }
    Ok(Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests;
