//! How healthy the data plane behind each VIP is. Pure.

use common::board::ServerState;
use common::config::{Config, Listener, VipIndex};

use crate::health::usable;

/// The health of a VIP as it stands on the board: 0 = a required listener has no usable server,
/// otherwise the smallest share of usable servers of its required listeners in percent, 1 to 100
/// (100 if it has no required listener).
///
/// `state` gives the state of the server at a place. Servers of weight 0 are left out: they serve
/// nobody new.
pub(crate) fn vip_health(
    config: &Config,
    vip: VipIndex,
    state: impl Fn(usize) -> ServerState,
) -> u64 {
    config
        .listeners
        .iter()
        .filter(|listener| listener.required && serves(listener, vip))
        .map(|listener| {
            let backend = &config.backends[listener.backend.0];
            let (mut all, mut good) = (0_u64, 0_u64);
            for (index, server) in backend.servers.iter().enumerate() {
                if server.weight > 0 {
                    all += 1;
                    good += u64::from(usable(state(backend.first_server + index)));
                }
            }
            if good == 0 {
                0
            } else {
                (100 * good / all).max(1)
            }
        })
        .min()
        .unwrap_or(100)
}

fn serves(listener: &Listener, vip: VipIndex) -> bool {
    listener.binds.iter().any(|bind| bind.vip == Some(vip))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use common::board::ServerState::{Down, Draining, Maintenance, Unknown, Up};
    use common::config::{Admin, Backend, BackendIndex, Balance, Bind, Pair, Proxy, Server};

    use super::*;

    fn backend(first_server: usize, weights: &[u16]) -> Backend {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Backend {
            name: String::new(),
            servers: weights
                .iter()
                .map(|weight| Server {
                    address,
                    weight: *weight,
                })
                .collect(),
            first_server,
            balance: Balance::RoundRobin,
            probe: None,
            connect_timeout: Duration::from_secs(5),
            retries: 3,
            server_timeout: None,
            keepalive: None,
        }
    }

    fn listener(backend: usize, vip: usize, required: bool) -> Listener {
        Listener {
            name: String::new(),
            binds: vec![Bind {
                address: SocketAddr::from(([127, 0, 0, 1], 1)),
                vip: Some(VipIndex(vip)),
            }],
            backend: BackendIndex(backend),
            allow: None,
            required,
            client_timeout: None,
            tunnel_timeout: None,
            keepalive: None,
        }
    }

    /// Two backends: three servers of weight 1, and two of which one has weight 0.
    fn config(listeners: Vec<Listener>) -> Config {
        Config {
            nodes: Vec::new(),
            pair: Pair {
                interface: String::new(),
                key_file: None,
                heartbeat: None,
                port: 9601,
            },
            vips: Vec::new(),
            listeners,
            backends: vec![backend(0, &[1, 1, 1]), backend(3, &[1, 0])],
            proxy: Proxy {
                threads: None,
                drain: Duration::ZERO,
            },
            admin: Admin {
                http: None,
                allow: Vec::new(),
            },
        }
    }

    fn health(listeners: Vec<Listener>, states: [ServerState; 5]) -> u64 {
        vip_health(&config(listeners), VipIndex(0), |place| states[place])
    }

    #[test]
    fn the_share_of_usable_servers_counts() {
        let api = || vec![listener(0, 0, true)];
        assert_eq!(health(api(), [Up, Up, Up, Down, Down]), 100);
        assert_eq!(health(api(), [Up, Unknown, Draining, Down, Down]), 66);
        assert_eq!(health(api(), [Down, Draining, Up, Up, Up]), 33);
        assert_eq!(health(api(), [Down, Draining, Maintenance, Up, Up]), 0);
    }

    #[test]
    fn the_worst_required_listener_of_the_vip_counts() {
        let both = vec![listener(0, 0, true), listener(1, 0, true)];
        assert_eq!(health(both.clone(), [Up, Down, Up, Up, Up]), 66);
        assert_eq!(health(both, [Up, Up, Up, Down, Up]), 0);
    }

    #[test]
    fn listeners_that_are_not_required_or_of_another_vip_do_not_count() {
        let others = vec![listener(0, 0, false), listener(1, 1, true)];
        assert_eq!(health(others, [Down; 5]), 100);
        assert_eq!(health(Vec::new(), [Down; 5]), 100);
    }

    #[test]
    fn servers_of_weight_zero_are_left_out() {
        let drained = vec![listener(1, 0, true)];
        assert_eq!(health(drained.clone(), [Up, Up, Up, Up, Down]), 100);
        assert_eq!(health(drained, [Up, Up, Up, Down, Up]), 0);
    }
}
