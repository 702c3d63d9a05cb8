//! What the other node has been told of this one's sessions. Pure.

use common::board::{SessionRow, SessionTable};

use super::frame::LONGEST_BODY;
use super::message::{Change, LONGEST_CHANGE};

/// Of one connection: at its start nothing has been told.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The word of the session that was told last of each row, by part; 0 = none.
    told: Vec<Vec<u64>>,
    /// Those of VIPs at other places are not told: the connection has not named them.
    vips: usize,
    /// Where the pass goes on: part and place.
    at: (usize, usize),
    count: u64,
}

/// How far a pass has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// There is more, and no room.
    Full,
    /// Every row has been looked at.
    Complete,
    /// Another proxy has divided the table anew: rows have other numbers, and a new connection has to tell everything.
    Divided,
}

impl Ledger {
    /// Of a table that is divided into so many parts.
    pub(super) fn new(parts: usize, vips: usize) -> Self {
        Self {
            told: vec![Vec::new(); parts],
            vips,
            at: (0, 0),
            count: 0,
        }
    }

    /// Sessions that have been told and not taken back.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Goes on with the pass over the table: brings what has changed to `body`, as long as there is room.
    pub(super) fn go_on(&mut self, table: &'static SessionTable, body: &mut Vec<u8>) -> Pass {
        if table.parts() != self.told.len() {
            return Pass::Divided;
        }
        let (first, mut place) = self.at;
        for part in first..self.told.len() {
            let rows = table.part(part).rows();
            if self.told[part].len() < rows.len() {
                self.told[part].resize(rows.len(), 0);
            }
            while place < self.told[part].len() {
                if body.len() + LONGEST_CHANGE > LONGEST_BODY {
                    self.at = (part, place);
                    return Pass::Full;
                }
                let row = table.first_row(part) + u32::try_from(place).expect("rows are few");
                // A table that was emptied has fewer rows than were told.
                let now = rows.get(place);
                let word = now.map_or(0, SessionRow::word);
                let told = &mut self.told[part][place];
                place += 1;
                if word == *told {
                    continue;
                }
                if word == 0 {
                    Change::Gone { row }.encode(body);
                    self.count -= 1;
                    *told = 0;
                } else if let Some((word, session)) = now.and_then(SessionRow::get)
                    && session.vip.0 < self.vips
                {
                    let change = Change::Begun {
                        row,
                        vip: u8::try_from(session.vip.0).expect("there are few VIPs"),
                        port: session.port,
                        client: session.client,
                    };
                    change.encode(body);
                    self.count += u64::from(*told == 0);
                    *told = word;
                }
                // One that is being written is for the next pass.
            }
            place = 0;
        }
        self.at = (0, 0);
        Pass::Complete
    }
}
