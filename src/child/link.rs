//! A child's end of the control connection.
//!
//! The connection lies on the highest descriptor that the process may have: the kernel closes from
//! the top when a process dies, so its end tells the death within milliseconds, also with 16,000
//! sockets below it (a pidfd tells it only when all are closed, 160 ms later).

#![expect(
    clippy::disallowed_methods,
    reason = "waits a moment while no descriptor is left for a supervisor's connection"
)]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anyhow::Context;
use common::board::{Child, LAYOUT, OLDEST};
use rustix::net::SocketFlags;

use crate::control::{Body, Channel, Handle, Hello, ReceiveError, Received, Setup, Wait};
use crate::{memory, rights};

/// Most descriptors of each process. The kernel's table of a process has 8 bytes for each up to the
/// highest one, so this costs the proxy 2 MiB; the others need few.
const PROXY_DESCRIPTORS: u64 = 262_144;
const OTHER_DESCRIPTORS: u64 = 4_096;
/// Kept free above the connection, for the moment in which the next one is accepted and put in its
/// place: a proxy whose sessions use all others can still be adopted.
const RESERVE: u64 = 4;
const RETRY: Duration = Duration::from_millis(100);

/// What the supervisor does, as a child sees it.
#[derive(Debug)]
pub(super) enum Event {
    /// End in an orderly way; a proxy's sessions may go on for so long, or for as long as its configuration says.
    Stop(Option<Duration>),
    /// The supervisor is dead.
    Gone,
    /// A new one has taken over.
    Back,
    /// Files have changed that are used together.
    Files(BTreeMap<PathBuf, Vec<u8>>),
    /// A reload: everything is to be ready for this, and nothing changes yet.
    Prepare(Setup, Vec<(Handle, OwnedFd)>),
    /// What was prepared holds from now on.
    GoOver,
    /// What was prepared will not be.
    Abandon,
    /// Make way for a successor, and leave everything as it is.
    Leave,
    /// Begin, after having waited; or go on with what was left.
    Begin { go_on: bool },
    /// Another process accepts from the same sockets.
    Retire,
    /// Other boards and maps are in use in place of those that were given.
    Boards(Vec<(Handle, OwnedFd)>),
}

/// What a child was given, kept for a supervisor to come.
#[derive(Debug)]
pub(super) struct Kept {
    setup: Setup,
    handles: Vec<(Handle, OwnedFd)>,
    /// The same as a reload will have it.
    next: Option<Box<Self>>,
}

impl Kept {
    /// Keeps a descriptor of its own for each handle.
    pub(super) fn new(setup: Setup, handles: &[(Handle, OwnedFd)]) -> io::Result<Self> {
        let handles = handles
            .iter()
            .map(|(handle, descriptor)| Ok((handle.clone(), descriptor.try_clone()?)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            setup,
            handles,
            next: None,
        })
    }

    /// Keeps what a reload brings beside what is; `on` prepares.
    fn prepare(
        &mut self,
        (setup, handles): (Setup, Vec<(Handle, OwnedFd)>),
        on: &mut impl FnMut(Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.next = None;
        let next = Self::new(setup.clone(), &handles).context("keep what is new")?;
        on(Event::Prepare(setup, handles))?;
        self.next = Some(Box::new(next));
        Ok(())
    }

    fn go_over(&mut self, on: &mut impl FnMut(Event) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let next = self.next.take().context("nothing was prepared")?;
        on(Event::GoOver)?;
        *self = *next;
        Ok(())
    }

    /// Keeps a copy of other memory in place of what was kept.
    fn replace_boards(&mut self, boards: &[(Handle, OwnedFd)]) -> io::Result<()> {
        for (handle, descriptor) in boards {
            if let Some((_, kept)) = self.handles.iter_mut().find(|(kept, _)| kept == handle) {
                *kept = descriptor.try_clone()?;
            }
        }
        Ok(())
    }

    /// Keeps new contents of files in place of the old ones, and reads them.
    fn replace_files(
        &mut self,
        files: Vec<(Handle, OwnedFd)>,
    ) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut contents = BTreeMap::new();
        for (handle, descriptor) in files {
            let Handle::File { path } = &handle else {
                continue;
            };
            contents.insert(path.clone(), memory::read_text(&descriptor)?);
            match self.handles.iter_mut().find(|(kept, _)| *kept == handle) {
                Some((_, kept)) => *kept = descriptor,
                None => self.handles.push((handle, descriptor)),
            }
        }
        Ok(contents)
    }
}

/// Speaks over the connection to whichever supervisor there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Voice(Arc<Mutex<Weak<Channel>>>);

impl Voice {
    /// Says something; a supervisor that is gone, or does not read, is not waited for.
    pub(super) fn say(&self, body: Body) {
        let channel = self.lock().upgrade();
        if let Some(Err(error)) = channel.map(|channel| channel.send(body, &[])) {
            let error = anyhow::Error::from(error);
            tracing::warn!("the supervisor was not told: {error:#}");
        }
    }

    fn turn_to(&self, channel: &Arc<Channel>) {
        *self.lock() = Arc::downgrade(channel);
    }

    fn lock(&self) -> MutexGuard<'_, Weak<Channel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection, and where the next one comes from.
#[derive(Debug)]
pub(super) struct Link {
    child: Child,
    listening: OwnedFd,
    channel: Arc<Channel>,
    voice: Voice,
    /// Where the connection lies; nothing else can be opened there or above.
    highest: u64,
}

impl Link {
    /// Takes the connection of the supervisor that started this process and introduces itself.
    pub(super) fn accept(child: Child) -> anyhow::Result<Self> {
        let listening = io::stdin().as_fd().try_clone_to_owned()?;
        let limit = rights::limit_descriptors(match child {
            Child::Proxy => PROXY_DESCRIPTORS,
            Child::Vrrp | Child::Admin => OTHER_DESCRIPTORS,
        })
        .context("set the limit of descriptors")?;
        let highest = limit.saturating_sub(RESERVE);
        let channel = next_channel(&listening, highest).context(
            "accept the supervisor's connection (only `fmc-lb run` starts this command)",
        )?;
        introduce(&channel, child, None)?;
        let (channel, voice) = (Arc::new(channel), Voice::default());
        voice.turn_to(&channel);
        Ok(Self {
            child,
            listening,
            channel,
            voice,
            highest,
        })
    }

    /// For the thread that does the work.
    pub(super) fn voice(&self) -> Voice {
        self.voice.clone()
    }

    /// Receives what the process works with.
    pub(super) fn receive_setup(&self) -> anyhow::Result<(Setup, Vec<(Handle, OwnedFd)>)> {
        Ok(self.channel.receive_setup()?)
    }

    /// Listens to the supervisor, and to the next one once it is dead, for as long as the process
    /// lives.
    pub(super) fn serve(self, mut kept: Kept, mut on: impl FnMut(Event) -> anyhow::Result<()>) {
        let Self {
            child,
            listening,
            mut channel,
            voice,
            highest,
        } = self;
        loop {
            listen(&channel, &mut kept, &mut on);
            kept.next = None;
            tell(&mut on, Event::Abandon);
            tell(&mut on, Event::Gone);
            tracing::warn!(process = child.word(), "the supervisor is gone");
            // Its place is the next one's.
            drop(channel);
            channel = loop {
                match next_channel(&listening, highest) {
                    Ok(next) => match introduce(&next, child, Some(&kept)) {
                        Ok(()) => {
                            let next = Arc::new(next);
                            voice.turn_to(&next);
                            break next;
                        }
                        // It came and went: `fmc-lb release` looks whether anybody is here.
                        Err(error) => tracing::debug!("no new supervisor: {error:#}"),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "a supervisor cannot be accepted");
                        std::thread::sleep(RETRY);
                    }
                }
            };
        }
    }
}

fn tell(on: &mut impl FnMut(Event) -> anyhow::Result<()>, event: Event) {
    if let Err(error) = on(event) {
        tracing::error!("what the supervisor says cannot be done: {error:#}");
    }
}

/// Passes on what the supervisor says, until it is gone.
fn listen(channel: &Channel, kept: &mut Kept, on: &mut impl FnMut(Event) -> anyhow::Result<()>) {
    loop {
        match channel.receive(Wait::Yes) {
            Ok(Received::Message(Body::Stop { drain_ms }, _)) => {
                // Whoever drains must not hold listening sockets open on the side.
                kept.handles
                    .retain(|(handle, _)| !matches!(handle, Handle::Listener { .. }));
                kept.next = None;
                tell(on, Event::Stop(drain_ms.map(Duration::from_millis)));
            }
            Ok(Received::Message(Body::Retire, _)) => {
                kept.handles
                    .retain(|(handle, _)| !matches!(handle, Handle::Listener { .. }));
                tell(on, Event::Retire);
            }
            Ok(Received::Message(Body::Leave, _)) => tell(on, Event::Leave),
            Ok(Received::Message(Body::Begin { go_on }, _)) => {
                tell(on, Event::Begin { go_on });
            }
            Ok(Received::Message(Body::Boards { handles }, descriptors)) => {
                let boards: Vec<_> = handles.into_iter().zip(descriptors).collect();
                if let Err(error) = kept.replace_boards(&boards) {
                    tracing::error!(%error, "other boards cannot be kept");
                }
                tell(on, Event::Boards(boards));
            }
            Ok(Received::Message(Body::Adopt, _)) => {
                tracing::info!("a new supervisor has taken over");
                tell(on, Event::Back);
            }
            Ok(Received::Message(Body::Files { handles }, descriptors)) => {
                match kept.replace_files(handles.into_iter().zip(descriptors).collect()) {
                    Ok(contents) => tell(on, Event::Files(contents)),
                    Err(error) => tracing::error!(%error, "changed files cannot be read"),
                }
            }
            Ok(Received::Message(Body::Prepare { number, setup }, _)) => {
                let handles = channel.receive_handles(&setup);
                let prepared = handles
                    .context("receive what to prepare for")
                    .and_then(|handles| kept.prepare((setup, handles), on));
                let refused = prepared.err().map(|error| format!("{error:#}"));
                answer(channel, Body::Prepared { number, refused });
            }
            Ok(Received::Message(Body::GoOver, _)) => {
                let failed = kept.go_over(on).err().map(|error| format!("{error:#}"));
                answer(channel, Body::GoneOver { failed });
            }
            Ok(Received::Message(Body::Abandon, _)) => {
                kept.next = None;
                tell(on, Event::Abandon);
            }
            Ok(
                Received::Message(
                    Body::Hello(_)
                    | Body::Setup(_)
                    | Body::Handles { .. }
                    | Body::Prepared { .. }
                    | Body::GoneOver { .. }
                    | Body::Waits
                    | Body::Left
                    | Body::Proof(_)
                    | Body::Unknown,
                    _,
                )
                | Received::Nothing,
            ) => {}
            Ok(Received::Closed) => return,
            Err(ReceiveError::Receive(error)) => {
                tracing::warn!(%error, "the control connection failed");
                return;
            }
            Err(error @ (ReceiveError::Cut | ReceiveError::Decode(_))) => {
                let error = anyhow::Error::from(error);
                tracing::warn!("an unreadable control message: {error:#}");
            }
        }
    }
}

fn answer(channel: &Channel, body: Body) {
    if let Err(error) = channel.send(body, &[]) {
        let error = anyhow::Error::from(error);
        tracing::warn!("the supervisor was not answered: {error:#}");
    }
}

fn introduce(channel: &Channel, child: Child, running: Option<&Kept>) -> anyhow::Result<()> {
    let hello = Hello {
        layout: LAYOUT,
        oldest: OLDEST,
        pid: std::process::id(),
        kind: child.word().to_owned(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        running: running.is_some(),
    };
    channel.send(Body::Hello(hello), &[])?;
    if let Some(kept) = running {
        channel.send_setup(kept.setup.clone(), &kept.handles)?;
    }
    Ok(())
}

/// Accepts a connection and puts it on descriptor `highest`, above which nothing can be opened.
fn next_channel(listening: &OwnedFd, highest: u64) -> io::Result<Channel> {
    rights::limit_descriptors(highest + RESERVE)?;
    let accepted = rustix::net::accept_with(listening, SocketFlags::CLOEXEC);
    let place = i32::try_from(highest).map_err(io::Error::other)?;
    let placed = accepted.and_then(|low| rustix::io::fcntl_dupfd_cloexec(low, place));
    rights::limit_descriptors(highest)?;
    Ok(Channel::new(placed?))
}
