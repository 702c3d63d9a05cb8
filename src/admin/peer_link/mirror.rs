//! The other node's sessions, as its admin tells them. Pure.
//!
//! What was told stays until it is told otherwise: also when the connection ends, since that is what the loss of the
//! machine looks like. A new connection tells everything anew; only when it has done so, what it did not name is gone.

use std::net::IpAddr;

use common::board::{LinkSlot, MAX_TABLE_SESSIONS, SessionTable, VipSession};
use common::config::VipIndex;

use super::message::{Change, Hello, Malformed};

/// The table while one connection fills it.
#[derive(Debug)]
pub(super) struct Mirror {
    table: &'static SessionTable,
    slot: &'static LinkSlot,
    /// By the other node's places: this node's.
    vips: Vec<Option<VipIndex>>,
    /// While everything is being told: a bit for each row that was named.
    named: Option<Vec<u64>>,
    /// Makes the word of each session differ from that of the one before it.
    generation: u64,
}

impl Mirror {
    /// For the sessions of whoever says hello. `vips` are this node's.
    pub(super) fn new(
        table: &'static SessionTable,
        slot: &'static LinkSlot,
        (hello, vips): (&Hello, &[IpAddr]),
    ) -> Self {
        if table.threads() != hello.threads.max(1) {
            table.begin(hello.threads);
            slot.heard.set(0);
        }
        let place = |theirs: &IpAddr| vips.iter().position(|ours| ours == theirs).map(VipIndex);
        Self {
            table,
            slot,
            vips: hello.vips.iter().map(place).collect(),
            named: Some(vec![0; MAX_TABLE_SESSIONS.div_ceil(64)]),
            generation: 0,
        }
    }

    /// Takes the changes of one frame over.
    ///
    /// # Errors
    /// They are none, or name a row that no table has. Those before it have been taken over.
    pub(super) fn take(&mut self, mut body: &[u8]) -> Result<(), Malformed> {
        while let Some(change) = Change::decode(&mut body)? {
            match change {
                Change::Gone { row } => {
                    let row = self.table.use_row(row).ok_or(Malformed)?;
                    self.slot.heard.sub(u64::from(row.word() != 0));
                    row.clear();
                }
                Change::Begun {
                    row: number,
                    vip,
                    port,
                    client,
                } => {
                    let row = self.table.use_row(number).ok_or(Malformed)?;
                    let vip = *self.vips.get(usize::from(vip)).ok_or(Malformed)?;
                    let was = u64::from(row.word() != 0);
                    let Some(vip) = vip else {
                        self.slot.strangers.add(1);
                        self.slot.heard.sub(was);
                        row.clear();
                        continue;
                    };
                    if port == 0 {
                        return Err(Malformed);
                    }
                    self.generation += 1;
                    row.set(&VipSession { vip, port, client }, self.generation);
                    self.slot.heard.add(1 - was);
                    if let Some(named) = &mut self.named {
                        named[number as usize / 64] |= 1 << (number % 64);
                    }
                }
            }
        }
        Ok(())
    }

    /// Everything has been told: what was not named has ended.
    pub(super) fn listed(&mut self) {
        let Some(named) = self.named.take() else {
            return;
        };
        for (number, row) in self.table.rows() {
            if named[number as usize / 64] >> (number % 64) & 1 == 0 {
                row.clear();
            }
        }
        self.slot.heard.set(self.table.sessions().count() as u64);
    }
}
