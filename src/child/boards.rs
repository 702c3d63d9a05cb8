//! Boards that come after the set-up, and those of other proxies.

use std::os::fd::OwnedFd;

use anyhow::Context;
use forward::Program;

use crate::control::{Handle, Writer};
use crate::memory;

type Given = [(Handle, OwnedFd)];

/// Others take the place of those that vrrp reads or writes.
pub(super) fn of_vrrp(vrrp: &vrrp::Control, given: &Given) -> anyhow::Result<()> {
    let of_proxy = Handle::Board {
        writer: Writer::Proxy,
    };
    let of_program = Handle::Forward {
        part: Program::STATE,
    };
    for (handle, board) in given {
        let failed = || format!("map another {handle:?}");
        if *handle == of_proxy {
            vrrp.use_proxy(memory::map_read_only(board).with_context(failed)?);
        } else if *handle == of_program {
            vrrp.use_forward(forward::map_state(board).with_context(failed)?);
        }
    }
    Ok(())
}

/// A proxy that has retired follows the one that accepts.
pub(super) fn of_proxy(proxy: &lb_proxy::Control, given: &Given) -> anyhow::Result<()> {
    let mut given = given.iter();
    if let Some((_, board)) = given.find(|(handle, _)| *handle == Handle::Successor) {
        let board = memory::map_read_only(board);
        proxy.follow(board.context("map the board of the one that accepts")?);
    }
    Ok(())
}

/// One that accepts knows of those that have retired, each with its place.
pub(super) fn of_elders(
    proxy: &lb_proxy::Control,
    retired: &[(usize, OwnedFd)],
) -> anyhow::Result<()> {
    for (_, board) in retired {
        let board = memory::map_read_only(board);
        proxy.know_elder(board.context("map the board of one that has retired")?);
    }
    Ok(())
}
