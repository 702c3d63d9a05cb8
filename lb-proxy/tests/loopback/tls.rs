//! TLS that the proxy speaks itself, with real clients and servers.

mod clients;
mod ends;
mod handshakes;
mod log;
mod memory;
mod openssl;
pub(crate) mod peer;
mod reload;
mod servers;
