//! What a server is told before the first byte of a session: a PROXY protocol header.
#![expect(clippy::disallowed_types, reason = "asks sockets for their addresses")]

use std::net::SocketAddr;

use common::config::{Backend, ProbeProxy, SendProxy};
use tokio::net::TcpStream;

use crate::opening::Said;
use crate::proxy_protocol::{self, EncodeError, Endpoints, OutgoingTlvs, Tlv};

/// The header of a session, if the backend wants one. `identity` names the session on this node.
///
/// # Errors
///
/// What was said does not fit into a header.
pub(crate) fn header(
    backend: &Backend,
    client: &TcpStream,
    said: &Said,
    identity: impl FnOnce() -> String,
) -> Result<Vec<u8>, EncodeError> {
    match backend.send_proxy {
        None => Ok(Vec::new()),
        Some(SendProxy::V1) => Ok(proxy_protocol::encode_v1(said.endpoints_of(client))),
        Some(SendProxy::V2(tlvs)) => {
            let unique_id = tlvs.unique_id.then(|| match &said.unique_id {
                Some(id) => id.clone(),
                None => identity().into_bytes(),
            });
            let custom: Vec<Tlv<'_>> = said
                .custom
                .iter()
                .map(|(kind, value)| Tlv { kind: *kind, value })
                .collect();
            let outgoing = OutgoingTlvs {
                alpn: said.alpn.as_deref().filter(|_| tlvs.alpn),
                authority: said.authority.as_deref().filter(|_| tlvs.authority),
                ssl: said.ssl.as_deref().filter(|_| tlvs.ssl),
                unique_id: unique_id.as_deref(),
                crc32c: tlvs.crc32c,
                custom: &custom,
            };
            proxy_protocol::encode_v2(said.endpoints_of(client), &outgoing)
        }
    }
}

/// The header of a probe: version 1 has the probe's own addresses, since UNKNOWN breaks receivers.
pub(crate) fn of_probe(header: ProbeProxy, (own, server): (SocketAddr, SocketAddr)) -> Vec<u8> {
    match header {
        ProbeProxy::Off => Vec::new(),
        ProbeProxy::V1 => proxy_protocol::encode_v1(Some(Endpoints::new(own, server))),
        ProbeProxy::V2 => proxy_protocol::encode_v2_local(),
    }
}
