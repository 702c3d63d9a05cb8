//! How a reload has ended: for who asked, for the board and for the service manager.

use common::board::ReloadEnd;
use common::command::Reply;

use super::Wish;
use super::words::first_line;
use crate::commands::ReplySocket;
use crate::supervisor::watch::Loop;

impl Loop<'_> {
    /// Tells everybody how it has ended. A dry run is nothing that has happened to the node.
    pub(super) fn finish(&self, wish: Wish, end: ReloadEnd, reply: &Reply) {
        if !wish.dry_run {
            self.note_reload(end, reply);
            self.notify.ready();
        }
        tell(wish.reply, reply);
    }

    fn note_reload(&self, end: ReloadEnd, reply: &Reply) {
        let slot = &self.with.boards.supervisor.reload;
        slot.end.set(end.on_board());
        slot.ended.set(vrrp::now());
        match &reply.error {
            None => {
                slot.reason.set("");
                slot.applied.add(1);
            }
            Some(why) => {
                slot.reason.set(first_line(why));
                slot.failed.add(1);
                tracing::error!(why, "no reload: the node runs on as it was");
            }
        }
    }
}

pub(in crate::supervisor::watch) fn tell(reply: Option<ReplySocket>, said: &Reply) {
    if let Some(reply) = reply
        && let Err(error) = reply.send_now(said)
    {
        tracing::debug!(%error, "nobody waited for a reply");
    }
}
