//! The machines of the reference topology.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A machine of the reference topology, one network namespace each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// First load balancer, 192.168.0.11.
    Lb1,
    /// Second load balancer, 192.168.0.12.
    Lb2,
    /// The host: router between the LAN (192.168.0.40) and the cluster (10.17.4.1).
    Router,
    /// A machine of the LAN, 192.168.0.100.
    Client,
    /// 10.17.4.21.
    Master1,
    /// 10.17.4.22.
    Master2,
    /// 10.17.4.23.
    Master3,
    /// 10.17.4.24.
    Worker1,
    /// 10.17.4.25.
    Worker2,
    /// 10.17.4.26.
    Worker3,
    /// The LAN's switch: a bridge with one port per machine, named like the machine.
    LanSwitch,
    /// The cluster's switch.
    ClusterSwitch,
}

impl Node {
    /// Every namespace of the lab.
    pub const ALL: [Self; 12] = [
        Self::LanSwitch,
        Self::ClusterSwitch,
        Self::Router,
        Self::Lb1,
        Self::Lb2,
        Self::Client,
        Self::Master1,
        Self::Master2,
        Self::Master3,
        Self::Worker1,
        Self::Worker2,
        Self::Worker3,
    ];
    /// The two load balancers.
    pub const LBS: [Self; 2] = [Self::Lb1, Self::Lb2];
    /// The API masters.
    pub const MASTERS: [Self; 3] = [Self::Master1, Self::Master2, Self::Master3];
    /// The workers.
    pub const WORKERS: [Self; 3] = [Self::Worker1, Self::Worker2, Self::Worker3];

    /// Short name: of the namespace, of the switch port, and what a backend there says of itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lb1 => "lb1",
            Self::Lb2 => "lb2",
            Self::Router => "host",
            Self::Client => "client",
            Self::Master1 => "m1",
            Self::Master2 => "m2",
            Self::Master3 => "m3",
            Self::Worker1 => "w1",
            Self::Worker2 => "w2",
            Self::Worker3 => "w3",
            Self::LanSwitch => "lan",
            Self::ClusterSwitch => "cluster",
        }
    }

    /// Whether it is a switch: a bridge without an address.
    pub fn is_switch(self) -> bool {
        matches!(self, Self::LanSwitch | Self::ClusterSwitch)
    }

    /// Address on its first interface, `eth0`; a switch has none.
    ///
    /// # Panics
    /// For a switch.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::Lb1 => Ipv4Addr::new(192, 168, 0, 11),
            Self::Lb2 => Ipv4Addr::new(192, 168, 0, 12),
            Self::Router => Ipv4Addr::new(192, 168, 0, 40),
            Self::Client => Ipv4Addr::new(192, 168, 0, 100),
            Self::Master1 => Ipv4Addr::new(10, 17, 4, 21),
            Self::Master2 => Ipv4Addr::new(10, 17, 4, 22),
            Self::Master3 => Ipv4Addr::new(10, 17, 4, 23),
            Self::Worker1 => Ipv4Addr::new(10, 17, 4, 24),
            Self::Worker2 => Ipv4Addr::new(10, 17, 4, 25),
            Self::Worker3 => Ipv4Addr::new(10, 17, 4, 26),
            Self::LanSwitch | Self::ClusterSwitch => panic!("a switch has no address"),
        }
    }

    /// IPv6 address of a machine of the LAN, in a lab that has IPv6: the last group spells the last number of its IPv4
    /// address.
    ///
    /// # Panics
    /// For a switch.
    pub fn address_v6(self) -> Ipv6Addr {
        let number = self.address().octets()[3];
        let spelled = u16::from_str_radix(&number.to_string(), 16);
        let last = spelled.expect("decimal digits are hexadecimal ones");
        Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, last)
    }

    /// Link-local address of `eth0`, in a lab that has IPv6: made of its MAC address (RFC 4291, appendix A).
    ///
    /// # Panics
    /// For a switch.
    pub fn link_local(self) -> Ipv6Addr {
        let mac = self.mac();
        let byte = |at: usize| u16::from_str_radix(&mac[at..at + 2], 16).expect("a MAC address");
        let [_, a, b, c, d, e] = [0, 3, 6, 9, 12, 15].map(byte);
        // The local bit of the first byte, 02, is turned over.
        Ipv6Addr::new(0xfe80, 0, 0, 0, a, b << 8 | 0xff, 0xfe00 | c, d << 8 | e)
    }

    /// MAC address of `eth0`: the last byte spells the last number of the address.
    pub fn mac(self) -> String {
        let address = self.address().octets();
        let net = if address[0] == 10 { 0x17 } else { 0 };
        let host = format!("{:0>2}", address[3] % 100);
        format!("02:00:00:{net:02x}:{:02}:{host}", address[3] / 100)
    }

    /// The switch that its `eth0` is plugged into.
    pub fn switch(self) -> Self {
        if Self::MASTERS.contains(&self) || Self::WORKERS.contains(&self) {
            Self::ClusterSwitch
        } else {
            Self::LanSwitch
        }
    }

    /// The other load balancer.
    ///
    /// # Panics
    /// For any other machine.
    pub fn other(self) -> Self {
        match self {
            Self::Lb1 => Self::Lb2,
            Self::Lb2 => Self::Lb1,
            Self::Router
            | Self::Client
            | Self::Master1
            | Self::Master2
            | Self::Master3
            | Self::Worker1
            | Self::Worker2
            | Self::Worker3
            | Self::LanSwitch
            | Self::ClusterSwitch => panic!("{} is no load balancer", self.name()),
        }
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
