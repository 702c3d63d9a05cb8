//! What happens to both nodes.

use anyhow::Result;
use lab::Node;

use crate::mixed::{HIGH, LOW, Mixed};

impl Mixed {
    /// The nodes with the higher and with the lower priority.
    fn ranks(&self) -> (Node, Node) {
        if self.ours == HIGH {
            (Node::Lb1, Node::Lb2)
        } else {
            (Node::Lb2, Node::Lb1)
        }
    }

    /// One after the other is lost and returns.
    pub(crate) fn come_and_go(&mut self) -> Result<()> {
        let (high, low) = self.ranks();
        self.start(low)?;
        let both = self.start(high)?;
        self.expect(&both, high, self.active_down(high))?;
        let stopped = self.stop(high)?;
        self.expect(&stopped, low, self.skew(low))?;
        let returned = self.start(high)?;
        self.expect(&returned, high, self.active_down(high))?;
        let killed = self.kill(high)?;
        self.expect(&killed, low, self.active_down(low))?;
        let returned = self.start(high)?;
        self.expect(&returned, high, self.active_down(high))
    }

    /// Whoever has it keeps it.
    pub(crate) fn without_preemption(&mut self) -> Result<()> {
        let (high, low) = self.ranks();
        let alone = self.start(low)?;
        self.expect(&alone, low, self.active_down(low))?;
        let higher = self.start(high)?;
        self.expect_no_move(&higher, low, self.active_down(high))?;
        let stopped = self.stop(low)?;
        self.expect(&stopped, high, self.skew(high))?;
        let returned = self.start(low)?;
        self.expect_no_move(&returned, high, self.active_down(low))?;
        let killed = self.kill(high)?;
        self.expect(&killed, low, self.active_down(low))?;
        let returned = self.start(high)?;
        self.expect_no_move(&returned, low, self.active_down(high))
    }

    /// That of the higher one falls below the other's and rises again.
    pub(crate) fn priority_changes(&mut self) -> Result<()> {
        let (high, low) = self.ranks();
        self.start(low)?;
        let both = self.start(high)?;
        self.expect(&both, high, self.active_down(high))?;
        let lowered = self.rank_high(LOW - 1)?;
        self.expect(&lowered, low, self.active_down(low))?;
        let raised = self.rank_high(HIGH)?;
        self.expect(&raised, high, self.active_down(high))
    }
}
