//! A child that was started beside the one that runs, whose place it is to take: for an upgrade, or for a reload that
//! vrrp cannot take over while it runs.

use std::os::fd::OwnedFd;

use anyhow::Context;
use common::board::Child;
use common::time::Moment;

use super::Loop;
use crate::control::{Body, Handle, ReceiveError, Received, Setup, Wait};
use crate::supervisor::folder::Seat;
use crate::supervisor::kit::Successor;
use crate::supervisor::process::{Binary, Process};

/// One of them.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) process: Process,
    pub(super) since: Moment,
    /// What a proxy has for itself.
    pub(super) successor: Option<Successor>,
}

impl Loop<'_> {
    /// Starts one, with what it is given.
    pub(super) fn start_beside(
        &mut self,
        (child, binary): (Child, &Binary),
        given: (Setup, Vec<(Handle, OwnedFd)>),
        successor: Option<Successor>,
    ) -> anyhow::Result<()> {
        let since = vrrp::now();
        let process = Process::start(child, binary, self.with.place.folder, given)?;
        tracing::info!(process = child.word(), pid = process.pid, "started beside");
        let watched = self.with.events.watch_beside(&process);
        self.beside = Some(Beside {
            process,
            since,
            successor,
        });
        watched.context("watch its connection")
    }

    /// Hears it.
    pub(super) fn listen_beside(&mut self) {
        while let Some(beside) = &mut self.beside {
            let child = beside.process.child;
            match beside.process.channel.receive(Wait::No) {
                Ok(Received::Nothing) => return,
                Ok(Received::Message(Body::Hello(hello), _)) => {
                    beside.process.software = hello.software;
                    beside.process.layout = hello.layout;
                }
                Ok(Received::Message(Body::Waits, _)) => {
                    self.tell_upgrade(|upgrade, now| upgrade.handle_ready(child, now));
                    self.successor_waits();
                    return;
                }
                Ok(Received::Message(..)) | Err(ReceiveError::Cut | ReceiveError::Decode(_)) => {
                    tracing::warn!(process = child.word(), "a message that means nothing here");
                }
                Ok(Received::Closed) | Err(ReceiveError::Receive(_)) => {
                    if self.is_upgrading() {
                        self.lose(child, "it died");
                    } else {
                        self.discard_beside();
                        self.successor_lost();
                    }
                    return;
                }
            }
        }
    }

    /// vrrp has left: its successor goes on. False = there is none.
    pub(super) fn succeed_vrrp(&mut self) -> bool {
        let now = vrrp::now();
        let is_vrrp = |one: &mut Beside| one.process.child == Child::Vrrp;
        let Some(beside) = self.beside.take_if(is_vrrp) else {
            return false;
        };
        // Before anything else: adverts are due.
        let begun = beside
            .process
            .channel
            .send(Body::Begin { go_on: true }, &[]);
        if let Err(error) = begun {
            let error = anyhow::Error::from(error);
            tracing::error!("the new vrrp cannot be told to begin: {error:#}");
            self.end_beside(beside);
            return false;
        }
        if let Some(old) = self.children[Child::Vrrp as usize].take() {
            self.depart(old, None);
        }
        self.seat(beside.process, now);
        self.tell_upgrade(|upgrade, now| upgrade.handle_taken(Child::Vrrp, now));
        self.note_gone_over(Child::Vrrp);
        true
    }

    /// A process that was started beside is the one in charge.
    pub(super) fn seat(&mut self, process: Process, since: Moment) {
        let child = process.child;
        let folder = self.with.place.folder;
        folder.rename(Seat::Next(child), Seat::Of(child));
        tracing::info!(
            process = child.word(),
            pid = process.pid,
            "has taken the old one's place"
        );
        if let Err(error) = self.with.events.rewatch_child(&process) {
            tracing::error!(%error, process = child.word(), "its connection cannot be watched");
        }
        self.install(process, since);
    }

    /// What a proxy has for itself that is to take the place of the one that accepts.
    pub(super) fn successor(&self) -> Option<&Successor> {
        self.beside.as_ref()?.successor.as_ref()
    }

    pub(super) fn discard_beside(&mut self) {
        if let Some(beside) = self.beside.take() {
            self.end_beside(beside);
        }
    }

    pub(super) fn end_beside(&mut self, beside: Beside) {
        let mut process = beside.process;
        let child = process.child;
        tracing::warn!(
            process = child.word(),
            pid = process.pid,
            "did not take its place"
        );
        process.has_left = true;
        process.kill("it did not take its place, killed".to_owned());
        self.keep_remains(process);
        self.with.place.folder.forget(Seat::Next(child));
    }
}
