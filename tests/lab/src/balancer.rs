//! What every pair can do, ours and the baseline: so each scenario runs against both.

use std::time::Duration;

use anyhow::Result;

use crate::Node;

/// How a pair is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Advert interval: 10 ms to 40 s, in whole centiseconds.
    pub advert: Duration,
    /// Priorities of lb1 and lb2.
    pub priorities: (u8, u8),
}

impl Settings {
    /// As fmc-lb ships it: 250 and 240.
    pub fn ours(advert: Duration) -> Self {
        Self {
            advert,
            priorities: (250, 240),
        }
    }

    /// As the reference site has it with Keepalived: 110 and 100.
    pub fn site(advert: Duration) -> Self {
        Self {
            advert,
            priorities: (110, 100),
        }
    }

    /// The priority of a load balancer.
    pub fn priority(&self, node: Node) -> u8 {
        if node == Node::Lb1 {
            self.priorities.0
        } else {
            self.priorities.1
        }
    }

    /// The longest time without an advert before the backup takes over (RFC 9568, Active_Down_Interval of lb2).
    pub fn active_down(&self) -> Duration {
        let skew = self.advert * (256 - u32::from(self.priorities.1)) / 256;
        self.advert * 3 + skew
    }
}

/// A part of a balancer that can die on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The parent of the others.
    Supervisor,
    /// Who holds the VIPs.
    Vrrp,
    /// Who relays.
    Proxy,
    /// Who answers questions.
    Admin,
}

impl Part {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Supervisor, Self::Vrrp, Self::Proxy, Self::Admin];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Vrrp => "vrrp",
            Self::Proxy => "proxy",
            Self::Admin => "admin",
        }
    }
}

/// A pair of load balancers.
pub trait Balancer {
    /// What it is called in tables.
    fn name(&self) -> &'static str;

    /// Starts it on a node.
    ///
    /// # Errors
    /// When a program does not start.
    fn start(&mut self, node: Node) -> Result<()>;

    /// Asks it to stop in good order and returns at once.
    ///
    /// # Errors
    /// When it does not run.
    fn ask_to_stop(&mut self, node: Node) -> Result<()>;

    /// Stops it in good order and waits for its end.
    ///
    /// # Errors
    /// When it does not run, or not end.
    fn stop(&mut self, node: Node) -> Result<()>;

    /// SIGKILL of all its processes on a node, at once.
    ///
    /// # Errors
    /// When it does not run.
    fn kill_all(&mut self, node: Node) -> Result<()>;

    /// SIGKILL of one part. `false` = it has no such part.
    ///
    /// # Errors
    /// When the part does not run.
    fn kill_part(&mut self, node: Node, part: Part) -> Result<bool>;

    /// Whether everything that both nodes do for each other is in place, once they have taken their places.
    fn has_settled(&self) -> bool {
        true
    }

    /// What the service manager does after its main process died, where the unit that we ship says so; by default
    /// nothing.
    ///
    /// # Errors
    /// When it does not start again.
    fn service_manager(&mut self, _node: Node) -> Result<()> {
        Ok(())
    }
}
