//! What both programs speak, and the times that follow from it.

use std::net::IpAddr;
use std::time::Duration;

use lab::Node;
use lab::topology::{API_VIP, WEB_VIP_V6};

/// What the adverts of fmc-lb's IPv6 VIP begin with, VRID 51, where the file names nothing else.
const LINK_LOCAL: &str = "fe80::200:5eff:fe00:233";

/// What both speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) name: &'static str,
    pub(crate) interval: Duration,
    /// Keys of `[vrrp]`.
    pub(crate) ours: &'static str,
    /// Lines of `vrrp_instance`, but for the addresses of unicast.
    pub(crate) theirs: &'static str,
    pub(crate) unicast: bool,
    pub(crate) ipv6: bool,
    pub(crate) preempt: bool,
    /// A route follows the VIP.
    pub(crate) followed: bool,
}

pub(crate) const V2: Dialect = Dialect {
    name: "v2",
    interval: Duration::from_secs(1),
    ours: "version = 2\nadvert_interval = \"1s\"",
    theirs: "version 2\n    advert_int 1",
    unicast: false,
    ipv6: false,
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
    interval: Duration::from_millis(100),
    ours: "advert_interval = \"100ms\"",
    theirs: "version 3\n    advert_int 0.1",
    unicast: false,
    ipv6: false,
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
    ipv6: true,
    ..V3
};

pub(crate) const V3_IPV6_UNICAST: Dialect = Dialect {
    name: "v3 over IPv6 by unicast",
    ipv6: true,
    ..V3_UNICAST
};

pub(crate) const V3_FOLLOWED: Dialect = Dialect {
    name: "v3 with a route",
    followed: true,
    ..V3
};

impl Dialect {
    pub(crate) const fn keeping(self) -> Self {
        Self {
            preempt: false,
            ..self
        }
    }

    pub(crate) fn vip(self) -> IpAddr {
        if self.ipv6 {
            WEB_VIP_V6.into()
        } else {
            API_VIP.into()
        }
    }

    /// As Keepalived has it.
    pub(crate) fn virtual_addresses(self) -> Vec<String> {
        if self.ipv6 {
            vec![format!("{LINK_LOCAL}/64"), format!("{WEB_VIP_V6}/128")]
        } else {
            vec![format!("{API_VIP}/32")]
        }
    }

    /// Where adverts by unicast go.
    pub(crate) fn address(self, node: Node) -> String {
        if self.ipv6 {
            node.link_local().to_string()
        } else {
            node.address().to_string()
        }
    }

    /// RFC 9568 and RFC 3768, section 6.1.
    pub(crate) fn skew(self, priority: u8) -> Duration {
        let unit = if self.theirs.starts_with("version 2") {
            Duration::from_secs(1)
        } else {
            self.interval
        };
        unit * (256 - u32::from(priority)) / 256
    }

    pub(crate) fn active_down(self, priority: u8) -> Duration {
        self.interval * 3 + self.skew(priority)
    }

    /// How long the kernel keeps the lease of a dead fmc-lb at most: nine tenths of the active-down interval in whole
    /// seconds, one at least, and the kernel looks for what has lapsed now and then.
    pub(crate) fn lease(self, priority: u8) -> Duration {
        let seconds = self.active_down(priority).mul_f64(0.9).as_secs();
        Duration::from_secs(seconds.max(1)) + Duration::from_millis(350)
    }
}
