//! How healthy the data plane behind each VIP is. Pure.

use common::config::{Config, VipIndex};
use common::roster::{Member, Roster};

/// The health of a VIP as it stands on the board: 0 = a required listener has no usable server,
/// otherwise the smallest share of usable servers of its required listeners in percent, 1 to 100
/// (100 if it has no required listener).
///
/// `counts` says whether a server is usable and has a share of the new sessions. Those whose configured
/// weight is 0 are left out unless they do: nobody expects them to serve. A server that is tried in need (`all_down`) is not usable: the other node may
/// have better ones.
pub(crate) fn vip_health(
    (config, roster): (&Config, &Roster),
    vip: VipIndex,
    counts: impl Fn(&Member) -> bool,
) -> u64 {
    config
        .required_by(vip)
        .flat_map(|listener| listener.backends())
        .map(|index| {
            let (mut all, mut good) = (0_u64, 0_u64);
            for member in roster.present(index) {
                let good_one = counts(member);
                all += u64::from(good_one || member.server.weight > 0);
                good += u64::from(good_one);
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use common::board::ServerState::{self, Down, Draining, Maintenance, Unknown, Up};
    use common::config::{BackendIndex, Listener};

    use super::*;
    use crate::health::usable;

    /// Two backends: three servers of weight 1, and two of which one has weight 0.
    const BACKENDS: &str = r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[vips.first]
address = "192.0.2.10/24"
vrid = 1
[vips.second]
address = "fd00::10/64"
vrid = 1
[backends.one]
servers = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
[backends.two]
servers = ["127.0.0.1:4", { address = "127.0.0.1:5", weight = 0 }]
[listeners.one]
bind = ["127.0.0.1:6"]
backend = "one"
"#;

    fn config() -> Config {
        Config::from_running(BACKENDS).expect("it is valid")
    }

    fn listener(backend: usize, vip: usize, required: bool) -> Listener {
        let mut listener = config().listeners.remove(0);
        listener.binds[0].vip = Some(VipIndex(vip));
        listener.backend = BackendIndex(backend);
        listener.required = required;
        listener
    }

    fn health(listeners: Vec<Listener>, states: [ServerState; 5]) -> u64 {
        let config = Config {
            listeners,
            ..config()
        };
        let roster = Roster::configured(&config);
        vip_health((&config, &roster), VipIndex(0), |member| {
            usable(states[member.place]) && member.server.weight > 0
        })
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
    fn a_listener_on_every_address_serves_every_vip() {
        let mut everywhere = listener(0, 0, true);
        everywhere.binds[0].vip = None;
        assert_eq!(health(vec![everywhere.clone()], [Down; 5]), 100);
        everywhere.binds[0]
            .address
            .set_ip(Ipv4Addr::UNSPECIFIED.into());
        assert_eq!(health(vec![everywhere.clone()], [Down; 5]), 0);
        // The first VIP is IPv4.
        everywhere.binds[0]
            .address
            .set_ip(Ipv6Addr::UNSPECIFIED.into());
        assert_eq!(health(vec![everywhere], [Down; 5]), 100);
    }

    #[test]
    fn servers_of_weight_zero_are_left_out() {
        let drained = vec![listener(1, 0, true)];
        assert_eq!(health(drained.clone(), [Up, Up, Up, Up, Down]), 100);
        assert_eq!(health(drained, [Up, Up, Up, Down, Up]), 0);
    }
}
