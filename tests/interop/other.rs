//! The program on lb2.

use std::time::Duration;

use anyhow::Result;
use lab::frr::{Frr, Routers};
use lab::keepalived::Keepalived;
use lab::topology::{API_VIP, WEB_VIP_V6};
use lab::{Lab, Node};

use crate::dialect::{Dialect, LINK_LOCAL, Program, ROUTE, VRID};

/// Where it runs.
const NODE: Node = Node::Lb2;
/// Until Keepalived, which was told to read its file again, has done so.
const RELOAD: Duration = Duration::from_millis(100);

/// A running one.
pub(crate) enum Other {
    Keepalived(Keepalived),
    Frr(Frr),
}

impl Other {
    pub(crate) fn start(lab: &Lab, dialect: Dialect, priority: u8) -> Result<Self> {
        Ok(match dialect.program {
            Program::Keepalived => {
                let config = keepalived_config(dialect, priority);
                Self::Keepalived(Keepalived::start(lab, NODE, &config)?)
            }
            Program::Frr => Self::Frr(Frr::start(lab, NODE, &frr_routers(dialect, priority))?),
        })
    }

    pub(crate) fn stop(self) -> Result<()> {
        match self {
            Self::Keepalived(keepalived) => keepalived.stop(),
            Self::Frr(frr) => frr.stop(),
        }
    }

    /// SIGKILL. What it leaves on its interfaces goes, as it does when the machine is lost.
    pub(crate) fn kill(self, lab: &Lab, dialect: Dialect) -> Result<()> {
        match self {
            Self::Keepalived(keepalived) => {
                keepalived.kill()?;
                for address in dialect.virtual_addresses() {
                    lab.ip(NODE, &format!("addr del {address} dev eth0"))?;
                }
                Ok(())
            }
            Self::Frr(frr) => frr.kill(),
        }
    }

    /// Gives it another priority while it runs. Returns how long it may take until it knows it.
    pub(crate) fn rank(&mut self, dialect: Dialect, priority: u8) -> Result<Duration> {
        match self {
            Self::Keepalived(keepalived) => {
                keepalived.reload(&keepalived_config(dialect, priority))?;
                Ok(RELOAD)
            }
            Self::Frr(frr) => {
                frr.set_priority(priority)?;
                Ok(Duration::ZERO)
            }
        }
    }
}

/// Over IPv6 its adverts by unicast have a hop limit of 64 unless it is told otherwise.
fn keepalived_config(dialect: Dialect, priority: u8) -> String {
    let unicast = format!(
        "    unicast_src_ip {}\n    unicast_ttl 255\n    unicast_peer {{\n        {}\n    }}\n",
        dialect.address(Node::Lb2),
        dialect.address(Node::Lb1),
    );
    let routes = if dialect.followed {
        let via = Node::Client.address();
        format!("    virtual_routes {{\n        {ROUTE} via {via} dev eth0\n    }}\n")
    } else {
        String::new()
    };
    format!(
        "global_defs {{\n    router_id lb2\n}}\nvrrp_instance api {{\n    state BACKUP\n    \
         interface eth0\n    virtual_router_id {VRID}\n    priority {priority}\n    {}\n{}{}{routes}    \
         virtual_ipaddress {{\n        {}\n    }}\n}}\n",
        dialect.theirs,
        if dialect.preempt {
            ""
        } else {
            "    nopreempt\n"
        },
        if dialect.unicast { &unicast } else { "" },
        dialect.virtual_addresses().join("\n        "),
    )
}

/// One virtual router of each family.
fn frr_routers(dialect: Dialect, priority: u8) -> Routers {
    Routers {
        vrid: VRID,
        priority,
        advert_interval: u16::try_from(dialect.interval.as_millis()).expect("less than a minute"),
        preempt: dialect.preempt,
        vip: format!("{API_VIP}/24"),
        vip_v6: format!("{WEB_VIP_V6}/64"),
        link_local: LINK_LOCAL.to_owned(),
    }
}
