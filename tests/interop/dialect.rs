//! What both programs speak, and the times that follow from it.

use std::net::IpAddr;
use std::time::Duration;

use lab::Node;
use lab::topology::{API_VIP, WEB_VIP_V6};

/// What the adverts of fmc-lb's IPv6 VIP begin with, VRID 51, where the file names nothing else.
pub(crate) const LINK_LOCAL: &str = "fe80::200:5eff:fe00:233";
pub(crate) const VRID: u8 = 51;
/// What follows the VIP, if anything does.
pub(crate) const ROUTE: &str = "10.99.0.0/16";
/// FRR counts in whole ones.
const CENTISECOND: u128 = 10_000_000;

/// What runs on lb2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Keepalived,
    Frr,
}

/// Which VIPs there are. Two have the same VRID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Families {
    V4,
    V6,
    Both,
}

/// What both speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    pub(crate) interval: Duration,
    /// Keys of `[vrrp]`.
    pub(crate) ours: &'static str,
    /// Keepalived's lines of `vrrp_instance`, but for the addresses of unicast.
    pub(crate) theirs: &'static str,
    pub(crate) unicast: bool,
    pub(crate) families: Families,
    pub(crate) preempt: bool,
    /// A route follows the VIP.
    pub(crate) followed: bool,
}

pub(crate) const V2: Dialect = Dialect {
    name: "v2",
    program: Program::Keepalived,
    interval: Duration::from_secs(1),
    ours: "version = 2\nadvert_interval = \"1s\"",
    theirs: "version 2\n    advert_int 1",
    unicast: false,
    families: Families::V4,
    preempt: true,
    followed: false,
};

pub(crate) const V2_PASS: Dialect = Dialect {
    name: "v2 with a password",
    ours: "version = 2\nadvert_interval = \"1s\"\nauth_pass = \"fmclb-01\"",
    theirs: "version 2\n    advert_int 1\n    authentication {\n        auth_type PASS\n        auth_pass fmclb-01\n    }",
    ..V2
};

pub(crate) const V3: Dialect = Dialect {
    name: "v3",
    program: Program::Keepalived,
    interval: Duration::from_millis(100),
    ours: "advert_interval = \"100ms\"",
    theirs: "version 3\n    advert_int 0.1",
    unicast: false,
    families: Families::V4,
    preempt: true,
    followed: false,
};

pub(crate) const V3_UNICAST: Dialect = Dialect {
    name: "v3 by unicast",
    ours: "advert_interval = \"100ms\"\ntransport = \"unicast\"",
    unicast: true,
    ..V3
};

pub(crate) const V3_IPV6: Dialect = Dialect {
    name: "v3 over IPv6",
    families: Families::V6,
    ..V3
};

pub(crate) const V3_IPV6_UNICAST: Dialect = Dialect {
    name: "v3 over IPv6 by unicast",
    families: Families::V6,
    ..V3_UNICAST
};

pub(crate) const V3_FOLLOWED: Dialect = Dialect {
    name: "v3 with a route",
    followed: true,
    ..V3
};

pub(crate) const FRR: Dialect = Dialect {
    name: "v3 beside FRR",
    program: Program::Frr,
    theirs: "",
    families: Families::Both,
    ..V3
};

impl Dialect {
    pub(crate) const fn keeping(self) -> Self {
        Self {
            preempt: false,
            ..self
        }
    }

    pub(crate) fn vips(self) -> Vec<IpAddr> {
        match self.families {
            Families::V4 => vec![API_VIP.into()],
            Families::V6 => vec![WEB_VIP_V6.into()],
            Families::Both => vec![API_VIP.into(), WEB_VIP_V6.into()],
        }
    }

    pub(crate) fn has_ipv6(self) -> bool {
        self.families != Families::V4
    }

    /// As Keepalived has it.
    pub(crate) fn virtual_addresses(self) -> Vec<String> {
        if self.has_ipv6() {
            vec![format!("{LINK_LOCAL}/64"), format!("{WEB_VIP_V6}/128")]
        } else {
            vec![format!("{API_VIP}/32")]
        }
    }

    /// Where adverts by unicast go.
    pub(crate) fn address(self, node: Node) -> String {
        if self.has_ipv6() {
            node.link_local().to_string()
        } else {
            node.address().to_string()
        }
    }

    /// RFC 9568 and RFC 3768, section 6.1.
    pub(crate) fn skew(self, node: Node, priority: u8) -> Duration {
        let unit = if self.theirs.starts_with("version 2") {
            Duration::from_secs(1)
        } else {
            self.interval
        };
        let skew = unit * (256 - u32::from(priority)) / 256;
        match self.program {
            Program::Frr if node == Node::Lb2 => {
                let whole = skew.as_nanos() / CENTISECOND * CENTISECOND;
                Duration::from_nanos(u64::try_from(whole).expect("less than a second"))
            }
            Program::Frr | Program::Keepalived => skew,
        }
    }

    pub(crate) fn active_down(self, node: Node, priority: u8) -> Duration {
        self.interval * 3 + self.skew(node, priority)
    }

    /// How long a node that takes a VIP is not heard. FRR's first advert of IPv6 leaves before its device is switched on,
    /// and reaches nobody; the second one does.
    pub(crate) fn unheard(self, node: Node, vip: IpAddr) -> Duration {
        match self.program {
            Program::Frr if node == Node::Lb2 && vip.is_ipv6() => self.interval,
            Program::Frr | Program::Keepalived => Duration::ZERO,
        }
    }

    /// How long the kernel keeps the lease of a dead fmc-lb at most: nine tenths of the active-down interval in whole
    /// seconds, one at least, and the kernel looks for what has lapsed now and then.
    pub(crate) fn lease(self, priority: u8) -> Duration {
        let seconds = self.active_down(Node::Lb1, priority).mul_f64(0.9).as_secs();
        Duration::from_secs(seconds.max(1)) + Duration::from_millis(350)
    }
}
