//! What the children are given: the configuration, boards, sockets and file contents.
//!
//! `peer` is what admin speaks with the other node's with, `next` what a reload brings, `succession` what a proxy gets that
//! takes another one's place.

mod next;
mod peer;
mod succession;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use common::board::{AdminBoard, Child, ProxyBoard, SessionTable, SupervisorBoard, VrrpBoard};
use common::config::{Arrangement, Config, NodeIndex};

pub(super) use self::succession::Successor;

use self::succession::Elders;
use super::folder::Folder;
use super::judge::judge;
use super::sockets;
use crate::control::{CommandEnd, Handle, Identity, Setup, Writer};
use crate::rights::Users;
use crate::{commands, memory, session_log};

/// The node that the kit is for.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    /// With everything at its place, also what a reload has taken away.
    pub(super) config: Arc<Config>,
    /// The text that `config` was parsed from; every process parses the same.
    pub(super) text: Arc<str>,
    pub(super) node: NodeIndex,
    pub(super) folder: &'a Folder,
}

/// Everything that outlives a single child.
#[derive(Debug)]
pub(super) struct Kit {
    node: String,
    threads: usize,
    runtime_dir: PathBuf,
    config: OwnedFd,
    /// Which place everything in it has.
    arrangement: OwnedFd,
    /// By [`Writer`], writable.
    boards: [OwnedFd; 4],
    /// Of this process.
    board: &'static SupervisorBoard,
    /// This node's, where the other one is told them.
    sessions: Option<&'static SessionTable>,
    /// What each child gets beside that.
    own: Vec<(Child, Handle, OwnedFd)>,
    /// What every child keeps for the node.
    name: Option<(Handle, OwnedFd)>,
    elders: Elders,
    users: Users,
    /// What a human should know of it.
    pub(super) warnings: Vec<String>,
}

/// The boards as this process sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Boards {
    pub(super) supervisor: &'static SupervisorBoard,
    pub(super) vrrp: &'static VrrpBoard,
    pub(super) proxy: &'static ProxyBoard,
    pub(super) admin: &'static AdminBoard,
}

/// What one survivor of an earlier supervisor hands over.
#[derive(Debug)]
pub(super) struct Inheritance {
    pub(super) child: Child,
    pub(super) setup: Setup,
    pub(super) handles: Vec<(Handle, OwnedFd)>,
}

impl Kit {
    /// Takes what the survivors hand over, and makes what is missing: all of it where nothing runs,
    /// what a dead process had otherwise. Nothing is bound anew that somebody still holds.
    pub(super) fn new(
        place: &Place<'_>,
        inherited: Vec<Inheritance>,
        name: Option<(Handle, OwnedFd)>,
    ) -> anyhow::Result<Self> {
        let threads = inherited.first().map_or_else(
            || sockets::threads(&place.config),
            |first| first.setup.threads,
        );
        let boards = match inherited_boards(&inherited).context("take the boards over")? {
            Some(boards) => boards,
            None => new_boards().context("make the boards")?,
        };
        let board = &boards[Writer::Supervisor as usize];
        let board = memory::map_writable(board).context("map the supervisor's board")?;
        let elders = Elders::inherited(&inherited);
        let mut kit = Self {
            node: place.config.nodes[place.node.0].name.clone(),
            threads,
            runtime_dir: place.folder.path().to_owned(),
            config: memory::sealed_text("fmc-lb-config", place.text.as_bytes())
                .context("keep the configuration")?,
            arrangement: arrangement_of(&place.config)?,
            boards,
            board,
            sessions: None,
            own: inherited.into_iter().flat_map(own_handles).collect(),
            name,
            elders,
            users: Users::look_up(),
            warnings: Vec::new(),
        };
        kit.warnings.extend(kit.users.warning());
        kit.complete(place)?;
        Ok(kit)
    }

    /// Maps the boards: the supervisor's for writing.
    pub(super) fn boards(&self) -> io::Result<Boards> {
        Ok(Boards {
            supervisor: self.board,
            vrrp: memory::map_read_only(&self.boards[Writer::Vrrp as usize])?,
            proxy: memory::map_read_only(&self.boards[Writer::Proxy as usize])?,
            admin: memory::map_read_only(&self.boards[Writer::Admin as usize])?,
        })
    }

    /// What a new `child` is given.
    pub(super) fn for_child(&self, child: Child) -> io::Result<(Setup, Vec<(Handle, OwnedFd)>)> {
        let mut handles = vec![
            (Handle::Config, self.config.try_clone()?),
            (Handle::Arrangement, self.arrangement.try_clone()?),
        ];
        for writer in Writer::ALL {
            let memory = &self.boards[writer as usize];
            let memory = if writer == Writer::from(child) {
                memory.try_clone()?
            } else {
                memory::reopen_read_only(memory)?
            };
            handles.push((Handle::Board { writer }, memory));
        }
        for (of, handle, descriptor) in &self.own {
            if *of == child {
                handles.push((handle.clone(), descriptor.try_clone()?));
            }
        }
        match child {
            Child::Admin => handles.extend(self.elders.handles()?),
            Child::Proxy => handles.extend(self.elders.boards()?),
            Child::Vrrp => {}
        }
        if let Some((handle, name)) = &self.name {
            handles.push((handle.clone(), name.try_clone()?));
        }
        let setup = Setup {
            node: self.node.clone(),
            threads: self.threads,
            runtime_dir: self.runtime_dir.clone(),
            user: self.users.of(child),
            beside: false,
            lane: usize::try_from(self.board.lane.get()).unwrap_or_default(),
            handles: handles.len(),
        };
        Ok((setup, handles))
    }

    /// Who a child becomes.
    pub(super) fn user_of(&self, child: Child) -> Option<Identity> {
        self.users.of(child)
    }

    /// Relay threads.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Lets go of the listening sockets; they close once the proxy has closed its own.
    pub(super) fn close_listeners(&mut self) {
        self.own
            .retain(|(_, handle, _)| !matches!(handle, Handle::Listener { .. }));
    }

    /// A file of the proxy's, sealed.
    pub(super) fn file(&self, path: &Path) -> io::Result<(&Handle, &OwnedFd)> {
        let mut own = self.own.iter();
        let held = own.find(|(child, handle, _)| *child == Child::Proxy && is_file(handle, path));
        let (_, handle, content) = held.ok_or(io::ErrorKind::NotFound)?;
        Ok((handle, content))
    }

    /// Contents of the pair's key file, as vrrp has it.
    pub(super) fn pair_key(&self, config: &Config) -> anyhow::Result<Option<String>> {
        let Some(path) = &config.pair.key_file else {
            return Ok(None);
        };
        let mut own = self.own.iter();
        let held = own.find(|(child, handle, _)| *child == Child::Vrrp && is_file(handle, path));
        let (_, _, content) = held.context("vrrp has no key file")?;
        let text = memory::read_text(content).context("read the key file")?;
        Ok(Some(
            String::from_utf8(text).context("the key file is no text")?,
        ))
    }

    /// Who tells the clients of a lost machine, if the host has a user for that.
    pub(super) fn rescuer(&self) -> Option<Identity> {
        self.users.rescuer()
    }

    /// New contents of the proxy's files, for it and for those after it.
    pub(super) fn replace_files(&mut self, contents: Vec<(PathBuf, OwnedFd)>) {
        for (path, content) in contents {
            let mut own = self.own.iter_mut();
            let held = own.find(|(child, held, _)| *child == Child::Proxy && is_file(held, &path));
            if let Some((_, _, held)) = held {
                *held = content;
            }
        }
    }

    /// The parts of the TC program that vrrp holds, in their order; fewer than all of them = it holds none.
    pub(super) fn forward_parts(&self) -> io::Result<Vec<OwnedFd>> {
        let mut parts: Vec<(usize, &OwnedFd)> = self
            .own
            .iter()
            .filter_map(|(_, handle, descriptor)| {
                if let Handle::Forward { part } = handle {
                    Some((*part, descriptor))
                } else {
                    None
                }
            })
            .collect();
        parts.sort_by_key(|(part, _)| *part);
        parts.iter().map(|(_, fd)| fd.try_clone()).collect()
    }

    /// What each vrrp from now on gets of the TC program.
    pub(super) fn keep_forward_parts(&mut self, parts: impl IntoIterator<Item = OwnedFd>) {
        self.own
            .retain(|(_, handle, _)| !matches!(handle, Handle::Forward { .. }));
        let handles = parts
            .into_iter()
            .enumerate()
            .map(|(part, descriptor)| (Handle::Forward { part }, descriptor))
            .collect();
        self.add(Child::Vrrp, handles);
    }

    fn complete(&mut self, place: &Place<'_>) -> anyhow::Result<()> {
        if !self.has(|handle| matches!(handle, Handle::Listener { .. })) {
            let listeners = sockets::bind_listeners(&place.config, self.threads)?;
            self.add(Child::Proxy, listeners);
            self.warnings
                .extend(sockets::backlog_warnings(&place.config));
        }
        if !self.has(|handle| matches!(handle, Handle::AdminSocket)) {
            let path = place.folder.admin_socket();
            let socket = sockets::bind_admin_socket(&path)
                .with_context(|| format!("bind {}", path.display()))?;
            let (http, warnings) = sockets::bind_http(&place.config, place.node);
            self.add(Child::Admin, vec![(Handle::AdminSocket, socket)]);
            self.add(Child::Admin, http);
            self.warnings.extend(warnings);
        }
        session_log::prepare(&place.config, self.users.of(Child::Proxy).as_ref());
        self.connect(
            |end| Handle::Commands { end },
            &[Child::Proxy, Child::Admin],
        )
        .context("connect admin and proxy")?;
        self.connect(|end| Handle::Tasks { end }, &[Child::Admin])
            .context("connect admin and supervisor")?;
        let has_pair_channel = place.config.has_pair_channel(place.node);
        let mut read = Vec::new();
        for (child, path) in files_of(&place.config) {
            let handle = Handle::File { path: path.clone() };
            if !self.own.iter().any(|own| own.0 == child && own.1 == handle) {
                let content = std::fs::read(&path)
                    .and_then(|content| memory::sealed_text("fmc-lb-file", &content))
                    .with_context(|| format!("read {}", path.display()))?;
                self.own.push((child, handle, content));
                read.push(path);
            }
        }
        self.judge(&place.config, &read)?;
        if has_pair_channel {
            self.connect_admins(place)
                .context("prepare for the other node's admin")?;
        }
        Ok(())
    }

    /// A file may have changed since the configuration was checked, and what a child cannot use would
    /// end it at each start.
    fn judge(&self, config: &Config, read: &[PathBuf]) -> anyhow::Result<()> {
        for watched in config.watched() {
            if !watched.paths.iter().any(|path| read.contains(path)) {
                continue;
            }
            let text = |path: &PathBuf| -> anyhow::Result<String> {
                let (_, content) = self.file(path)?;
                Ok(String::from_utf8(memory::read_text(content)?)?)
            };
            let texts = watched.paths.iter().map(text);
            let judged = texts
                .collect::<anyhow::Result<Vec<_>>>()
                .and_then(|texts| judge(&watched, &texts, None).map_err(anyhow::Error::msg));
            judged.with_context(|| format!("use {}", watched.names()))?;
        }
        Ok(())
    }

    /// One channel from admin to somebody: the one that a survivor holds, if there is one. `holders`
    /// keep both ends of it.
    fn connect(&mut self, handle: fn(CommandEnd) -> Handle, holders: &[Child]) -> io::Result<()> {
        let ends = [CommandEnd::Asking, CommandEnd::Serving];
        let [asking, serving] = ends.map(|end| self.held(&handle(end)));
        let (asking, serving) = match (asking?, serving?) {
            (Some(asking), Some(serving)) => (asking, serving),
            (None | Some(_), None) | (None, Some(_)) => commands::pair()?,
        };
        self.own
            .retain(|(_, held, _)| !ends.iter().any(|end| *held == handle(*end)));
        for (end, socket) in ends.into_iter().zip([asking, serving]) {
            for child in holders {
                self.own.push((*child, handle(end), socket.try_clone()?));
            }
        }
        Ok(())
    }

    fn held(&self, wanted: &Handle) -> io::Result<Option<OwnedFd>> {
        let mut own = self.own.iter();
        let held = own.find(|(_, handle, _)| handle == wanted);
        held.map(|(_, _, socket)| socket.try_clone()).transpose()
    }

    /// Where tasks for the supervisor come from.
    pub(super) fn tasks(&self) -> io::Result<OwnedFd> {
        let end = CommandEnd::Serving;
        let socket = self.held(&Handle::Tasks { end })?;
        socket.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What a child holds under a handle.
    fn held_by(&self, child: Child, handle: &Handle) -> Option<&OwnedFd> {
        let mut own = self.own.iter();
        let held = own.find(|(whose, held, _)| *whose == child && held == handle);
        held.map(|(_, _, descriptor)| descriptor)
    }

    fn has(&self, what: impl Fn(&Handle) -> bool) -> bool {
        self.own.iter().any(|(_, handle, _)| what(handle))
    }

    fn add(&mut self, child: Child, handles: Vec<(Handle, OwnedFd)>) {
        self.own
            .extend(handles.into_iter().map(|(handle, fd)| (child, handle, fd)));
    }
}

impl From<Child> for Writer {
    fn from(child: Child) -> Self {
        match child {
            Child::Vrrp => Self::Vrrp,
            Child::Proxy => Self::Proxy,
            Child::Admin => Self::Admin,
        }
    }
}

fn is_file(handle: &Handle, path: &Path) -> bool {
    matches!(handle, Handle::File { path: held } if held == path)
}

/// The files that each child needs, opened here because the child may not read them.
pub(super) fn files_of(config: &Config) -> Vec<(Child, PathBuf)> {
    let watched = config.watched().into_iter().flat_map(|one| one.paths);
    let mut files: Vec<_> = watched.map(|path| (Child::Proxy, path)).collect();
    if let Some(path) = &config.pair.key_file {
        files.push((Child::Vrrp, path.clone()));
    }
    files
}

/// What only this child has, out of what it hands over.
fn own_handles(inherited: Inheritance) -> Vec<(Child, Handle, OwnedFd)> {
    let child = inherited.child;
    inherited
        .handles
        .into_iter()
        .filter(|(handle, _)| match handle {
            Handle::Listener { .. }
            | Handle::AdminSocket
            | Handle::Http { .. }
            | Handle::Commands { .. }
            | Handle::Tasks { .. }
            | Handle::Forward { .. }
            | Handle::File { .. }
            | Handle::Sessions { .. }
            | Handle::PeerSocket
            | Handle::AdminKey => true,
            Handle::Config
            | Handle::Arrangement
            | Handle::Board { .. }
            | Handle::NodeName
            | Handle::Retired { .. }
            | Handle::RetiredCommands { .. }
            | Handle::Successor
            | Handle::Past
            | Handle::Unknown => false,
        })
        .map(|(handle, descriptor)| (child, handle, descriptor))
        .collect()
}

fn arrangement_of(config: &Config) -> anyhow::Result<OwnedFd> {
    let text = serde_json::to_string(&Arrangement::of(config)).context("write the arrangement")?;
    memory::sealed_text("fmc-lb-arrangement", text.as_bytes()).context("keep the arrangement")
}

fn new_boards() -> io::Result<[OwnedFd; 4]> {
    Ok([
        memory::create::<SupervisorBoard>("fmc-lb-supervisor")?,
        memory::create::<VrrpBoard>("fmc-lb-vrrp")?,
        memory::create::<ProxyBoard>("fmc-lb-proxy")?,
        memory::create::<AdminBoard>("fmc-lb-admin")?,
    ])
}

/// The boards that a survivor hands over (each has all four); `None` without a survivor.
fn inherited_boards(inherited: &[Inheritance]) -> io::Result<Option<[OwnedFd; 4]>> {
    let Some(first) = inherited.first() else {
        return Ok(None);
    };
    let board = |wanted: Writer| {
        let found = first.handles.iter().find(|(handle, _)| match handle {
            Handle::Board { writer } => *writer == wanted,
            Handle::Config
            | Handle::Arrangement
            | Handle::Listener { .. }
            | Handle::AdminSocket
            | Handle::Http { .. }
            | Handle::Commands { .. }
            | Handle::Tasks { .. }
            | Handle::Forward { .. }
            | Handle::File { .. }
            | Handle::Sessions { .. }
            | Handle::PeerSocket
            | Handle::AdminKey
            | Handle::NodeName
            | Handle::Retired { .. }
            | Handle::RetiredCommands { .. }
            | Handle::Successor
            | Handle::Past
            | Handle::Unknown => false,
        });
        let (_, memory) = found.ok_or_else(|| {
            let what = format!("{} hands no board of {wanted:?} over", first.child.word());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        memory::reopen_writable(memory)
    };
    Ok(Some([
        board(Writer::Supervisor)?,
        board(Writer::Vrrp)?,
        board(Writer::Proxy)?,
        board(Writer::Admin)?,
    ]))
}
