//! Where the clients of a listening socket come to.
#![expect(
    clippy::disallowed_types,
    reason = "asks an accepted connection for its end here, where the socket listens to every address"
)]

use std::io;
use std::net::{IpAddr, SocketAddr};

use common::config::{Config, VipIndex};
use tokio::net::TcpStream;

/// A listening socket, as the sessions that begin there see it.
#[derive(Debug)]
pub(crate) enum Entrance {
    /// Every connection has this end.
    Vip(LocalEnd),
    /// It listens to every address.
    Any,
    /// None has a VIP's.
    Other,
}

/// The end of a connection on this node, where that is a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalEnd {
    pub(crate) vip: VipIndex,
    pub(crate) port: u16,
}

impl Entrance {
    /// Of a socket that is bound to `bound`.
    pub(crate) fn new(bound: io::Result<SocketAddr>, config: &Config) -> Self {
        match bound {
            Ok(bound) if bound.ip().is_unspecified() => Self::Any,
            Ok(bound) => vip_end(bound, config).map_or(Self::Other, Self::Vip),
            Err(_) => Self::Other,
        }
    }

    /// This node's end of a connection that was accepted there, if that is a VIP.
    pub(crate) fn end_of(&self, stream: &TcpStream, config: &Config) -> Option<LocalEnd> {
        match self {
            Self::Vip(end) => Some(*end),
            Self::Any => vip_end(stream.local_addr().ok()?, config),
            Self::Other => None,
        }
    }
}

fn vip_end(address: SocketAddr, config: &Config) -> Option<LocalEnd> {
    let ip: IpAddr = address.ip().to_canonical();
    Some(LocalEnd {
        vip: config.vip_at(ip)?,
        port: address.port(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [nodes.lb1]
        address = "10.0.0.11"
        priority = 100
        [pair]
        interface = "eth0"
        [vips.a]
        address = "10.0.0.1/24"
        vrid = 1
        [vips.b]
        address = "10.0.0.9/24"
        vrid = 2
        [listeners.l]
        bind = ["0.0.0.0:80"]
        backend = "b"
        [backends.b]
        servers = ["10.0.0.2:80"]
    "#;

    #[tokio::test]
    async fn the_end_of_a_connection_is_a_vip_or_nothing() {
        let mut config = Config::from_running(CONFIG).expect("it is valid");
        config.vips[1].address = IpAddr::from([127, 0, 0, 9]);
        let any = Entrance::new(Ok(([0, 0, 0, 0], 80).into()), &config);
        let vip = Entrance::new(Ok(([10, 0, 0, 1], 80).into()), &config);
        let other = Entrance::new(Ok(([127, 0, 0, 1], 80).into()), &config);
        let listening = tokio::net::TcpListener::bind("0.0.0.0:0")
            .await
            .expect("bind");
        let port = listening.local_addr().expect("bound").port();
        for (to, found) in [([127, 0, 0, 9], Some(VipIndex(1))), ([127, 0, 0, 1], None)] {
            let (client, accepted) = tokio::join!(
                TcpStream::connect(SocketAddr::from((to, port))),
                listening.accept()
            );
            let (stream, _) = accepted.expect("accepted");
            let end = any.end_of(&stream, &config);
            assert_eq!(end, found.map(|vip| LocalEnd { vip, port }));
            let end = vip.end_of(&stream, &config);
            let fixed = LocalEnd {
                vip: VipIndex(0),
                port: 80,
            };
            assert_eq!(end, Some(fixed));
            assert_eq!(other.end_of(&stream, &config), None);
            drop(client);
        }
    }
}
