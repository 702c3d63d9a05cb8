//! What the children are given after a reload: sockets that stay are the same ones, those that are new
//! are bound before anybody hears of it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use common::board::Child;
use common::config::key::{no_rotation, parse_key_file};
use common::config::{Config, SocketOptions};

use super::{Kit, Place, arrangement_of};
use crate::control::Handle;
use crate::memory;
use crate::supervisor::reader::Next;
use crate::supervisor::sockets;

/// A listening socket of the running kit.
struct Bound<'a> {
    address: SocketAddr,
    options: &'a SocketOptions,
    thread: usize,
    socket: &'a OwnedFd,
}

impl Kit {
    /// The kit after this one; `files` are the contents of those that the next configuration names.
    ///
    /// # Errors
    /// An address cannot be bound, or something is asked for that only a start can do. This kit is as it
    /// was.
    pub(in crate::supervisor) fn after(
        &self,
        (running, next): (&Place<'_>, &Place<'_>),
        files: &[(Child, PathBuf, OwnedFd)],
    ) -> anyhow::Result<Self> {
        let mut own = Vec::new();
        for (child, handle, descriptor) in &self.own {
            // These come anew.
            if !matches!(
                handle,
                Handle::Listener { .. } | Handle::File { .. } | Handle::AdminKey
            ) {
                own.push((*child, handle.clone(), descriptor.try_clone()?));
            }
        }
        let listeners = self.listeners_after(&running.config, &next.config)?;
        own.extend(
            listeners
                .into_iter()
                .map(|(handle, fd)| (Child::Proxy, handle, fd)),
        );
        for (child, path, content) in files {
            let handle = Handle::File { path: path.clone() };
            own.push((*child, handle, content.try_clone()?));
        }
        let boards = self.boards.iter().map(OwnedFd::try_clone);
        let boards = boards.collect::<Result<Vec<_>, _>>()?;
        let name = self.name.as_ref();
        let name =
            name.map(|(handle, fd)| Ok::<_, std::io::Error>((handle.clone(), fd.try_clone()?)));
        let mut kit = Self {
            node: self.node.clone(),
            threads: self.threads,
            runtime_dir: self.runtime_dir.clone(),
            config: memory::sealed_text("fmc-lb-config", next.text.as_bytes())
                .context("keep the configuration")?,
            arrangement: arrangement_of(&next.config)?,
            boards: <[_; 4]>::try_from(boards)
                .ok()
                .context("there are four boards")?,
            board: self.board,
            sessions: self.sessions,
            own,
            name: name.transpose()?,
            elders: self.elders.try_clone()?,
            users: self.users.clone(),
            warnings: self.warnings.clone(),
        };
        if next.config.has_pair_channel(next.node) {
            kit.derive_admin_key(&next.config)?;
        }
        Ok(kit)
    }

    /// What is done to sockets that stay, once the kit is the running one: their queues are as long as the
    /// configuration says.
    pub(in crate::supervisor) fn lengthen_backlogs(&self, before: &Config, now: &Config) {
        for (_, handle, socket) in &self.own {
            let Handle::Listener { listener, .. } = handle else {
                continue;
            };
            let backlog = |config: &Config| {
                config
                    .listeners
                    .get(*listener)
                    .map(|one| one.socket.backlog)
            };
            if backlog(before) != backlog(now)
                && let Err(error) = sockets::listen(socket, &now.listeners[*listener].socket)
            {
                let name = &now.listeners[*listener].name;
                tracing::warn!(listener = name, %error, "its backlog stays as it was");
            }
        }
    }

    /// What becomes of the pair's keys, in words; `None` = they stay.
    ///
    /// # Errors
    /// The other node would not understand this one, or not be understood.
    pub(in crate::supervisor) fn key_change(
        &self,
        running: &Config,
        next: &Next,
    ) -> anyhow::Result<Option<String>> {
        let Some(path) = &next.config.pair.key_file else {
            return Ok(None);
        };
        let mut files = next.files.iter();
        let new = files.find(|(child, file, _)| *child == Child::Vrrp && file == path);
        let (Some(old), Some((_, _, new))) = (self.pair_key(running)?, new) else {
            return Ok(None);
        };
        let new = String::from_utf8(memory::read_text(new)?).context("the key file is no text")?;
        let new = parse_key_file(&new).with_context(|| format!("read {}", path.display()))?;
        let old = parse_key_file(&old).context("read the keys that are in use")?;
        if old == new {
            return Ok(None);
        }
        if let Some(why) = no_rotation(&old, &new).filter(|_| running.nodes.len() > 1) {
            bail!("{}: {why}", path.display());
        }
        let ids = |keys: &[(u8, _)]| {
            let ids: Vec<String> = keys.iter().map(|(id, _)| id.to_string()).collect();
            ids.join(", ")
        };
        let (old, new) = (ids(&old), ids(&new));
        Ok(Some(format!(
            "~ keys in {}: {old} -> {new}",
            path.display()
        )))
    }

    fn listeners_after(
        &self,
        running: &Config,
        next: &Config,
    ) -> anyhow::Result<Vec<(Handle, OwnedFd)>> {
        sockets::require_descriptors(next, self.threads)?;
        let bound: Vec<Bound<'_>> = self
            .own
            .iter()
            .filter_map(|(_, handle, socket)| bound(running, handle, socket))
            .collect();
        let socket = |wanted: sockets::Wanted| {
            let address = wanted.address;
            let same = |one: &&Bound<'_>| one.address == address && one.thread == wanted.thread;
            let listener = &next.listeners[wanted.listener];
            let socket = match bound.iter().find(same) {
                Some(known) => {
                    ensure!(
                        has_same_options(known.options, &listener.socket),
                        "listener {}: {address} is bound already, with another interface, mark, mss, defer_accept or \
                         fast_open, which a socket has from before: use another address, or restart this node",
                        listener.name
                    );
                    known.socket.try_clone()?
                }
                None => sockets::bind(listener, address)?,
            };
            Ok((wanted.handle(), socket))
        };
        sockets::wanted(next, self.threads).map(socket).collect()
    }
}

fn bound<'a>(running: &'a Config, handle: &Handle, socket: &'a OwnedFd) -> Option<Bound<'a>> {
    let Handle::Listener {
        listener,
        bind,
        port,
        thread,
    } = handle
    else {
        return None;
    };
    let listener = running.listeners.get(*listener)?;
    let bind = listener.binds.get(*bind)?;
    Some(Bound {
        address: bind.addresses().nth(*port)?,
        options: &listener.socket,
        thread: *thread,
        socket,
    })
}

/// But for the backlog, which can be changed.
fn has_same_options(one: &SocketOptions, other: &SocketOptions) -> bool {
    let other = SocketOptions {
        backlog: one.backlog,
        ..other.clone()
    };
    *one == other
}
