//! Flow forwarding in the status: what the supervisor says of the TC program, and vrrp of the other node's. Pure.

use std::collections::BTreeMap;

use common::board::{Cell, Forwarding, MAX_CAUSES};
use common::status::ForwardingStatus;
use forward::Cause;

use super::view::View;

const _: () = assert!(Cause::ALL.len() <= MAX_CAUSES);

/// `None` with one node.
pub(crate) fn status(view: &View) -> Option<ForwardingStatus> {
    view.config.peer_of(view.node)?;
    let slot = &view.boards.supervisor.forwarding;
    let vrrp = view.boards.vrrp;
    let by_cause = |cells: &[Cell; MAX_CAUSES]| -> BTreeMap<String, u64> {
        let causes = Cause::ALL.iter().zip(cells);
        causes
            .map(|(cause, cell)| (cause.word().to_owned(), cell.get()))
            .collect()
    };
    Some(ForwardingStatus {
        state: Forwarding::from_board(slot.state.get()).word().to_owned(),
        reason: slot.reason.get(),
        peer_forwards: vrrp.peer_forwards.get() != 0,
        peer_deaths: vrrp.deaths.get(),
        packets: by_cause(&slot.packets),
        bytes: by_cause(&slot.bytes),
    })
}
