//! What the admin process is given to speak with the other node's.

use std::sync::Arc;

use anyhow::Context;

use super::Work;
use crate::{admin, commands, memory};

impl Work {
    /// What admin speaks with the other node's with; `None` = it does not.
    pub(super) fn peer_inputs(
        &mut self,
        supervisor: Option<Arc<commands::Asker>>,
    ) -> anyhow::Result<Option<admin::PeerInputs>> {
        let (Some(socket), Some(key)) = (self.peer_socket.take(), self.read_admin_key()?) else {
            return Ok(None);
        };
        let (Some(own), Some(peers)) = (&self.sessions, &self.peer_sessions) else {
            return Ok(None);
        };
        Ok(Some(admin::PeerInputs {
            socket,
            key,
            own: memory::map_read_only(own).context("map the table of sessions")?,
            peers: memory::map_writable(peers).context("map the other node's sessions")?,
            supervisor,
        }))
    }

    pub(super) fn read_admin_key(&mut self) -> anyhow::Result<Option<String>> {
        let Some(key) = self.admin_key.take() else {
            return Ok(None);
        };
        let key = memory::read_text(&key).context("read the key of the admins")?;
        let key = String::from_utf8(key).context("the key of the admins is no text")?;
        Ok(Some(key))
    }
}
