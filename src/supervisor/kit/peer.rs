//! What admin gets to speak with the other node's: tables of sessions, a socket, a key.

use std::os::fd::OwnedFd;

use anyhow::Context;
use common::board::{Child, SessionTable};
use common::config::Config;

use super::{Kit, Place};
use crate::control::{Handle, Whose};
use crate::supervisor::sockets;
use crate::{admin_key, memory};

impl Kit {
    /// The other node's sessions, as admin is told them; `None` = it is not.
    pub(in crate::supervisor) fn peer_sessions(&self) -> Option<&OwnedFd> {
        self.held_by(Child::Admin, &Handle::Sessions { whose: Whose::Peer })
    }

    /// What it takes to tell the other node of this one's sessions, and to keep what it tells.
    pub(super) fn connect_admins(&mut self, place: &Place<'_>) -> anyhow::Result<()> {
        let own = Handle::Sessions { whose: Whose::Own };
        let written = match (
            self.held_by(Child::Proxy, &own),
            self.held_by(Child::Admin, &own),
        ) {
            (Some(held), _) => held.try_clone()?,
            (None, Some(read)) => memory::reopen_writable(read)?,
            (None, None) => memory::create::<SessionTable>("fmc-lb-sessions")?,
        };
        self.sessions = Some(memory::map_writable(&written)?);
        let read = memory::reopen_read_only(&written)?;
        let peers = Handle::Sessions { whose: Whose::Peer };
        let told = match self.held_by(Child::Admin, &peers) {
            Some(held) => held.try_clone()?,
            None => memory::create::<SessionTable>("fmc-lb-peer-sessions")?,
        };
        self.own
            .retain(|(_, handle, _)| !matches!(handle, Handle::Sessions { .. }));
        self.add(Child::Proxy, vec![(own.clone(), written)]);
        self.add(Child::Admin, vec![(own, read), (peers, told)]);
        if self.held_by(Child::Admin, &Handle::PeerSocket).is_none() {
            match sockets::bind_for_peer(&place.config, place.node) {
                Ok(socket) => self.add(Child::Admin, vec![(Handle::PeerSocket, socket)]),
                Err(warning) => self.warnings.push(warning),
            }
        }
        self.derive_admin_key(&place.config)
    }

    /// What admin gets of the pair's key, unless it has it.
    pub(super) fn derive_admin_key(&mut self, config: &Config) -> anyhow::Result<()> {
        if self.held_by(Child::Admin, &Handle::AdminKey).is_none()
            && let Some(key) = self.pair_key(config)?
        {
            let key = admin_key::of_pair_key(&key).context("derive the admins' key")?;
            let key = memory::sealed_text("fmc-lb-admin-key", key.as_bytes())?;
            self.add(Child::Admin, vec![(Handle::AdminKey, key)]);
        }
        Ok(())
    }
}
