//! A set-up over several messages: a packet carries at most so many descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{
    ANSWER_LIMIT, Body, Channel, Handle, MAX_DESCRIPTORS, ReceiveError, Received, SendError, Setup,
    Wait,
};

/// Why a set-up did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("receive the set-up")]
    Receive(#[from] ReceiveError),
    #[error("the other side is gone before the set-up was complete")]
    Closed,
    #[error("the set-up did not come in time")]
    Late,
    #[error("{named} handles were named, {came} descriptors came")]
    Unequal { named: usize, came: usize },
}

impl Channel {
    /// Sends a set-up and its descriptors.
    pub(crate) fn send_setup(
        &self,
        setup: Setup,
        handles: &[(Handle, OwnedFd)],
    ) -> Result<(), SendError> {
        let setup = Setup {
            handles: handles.len(),
            ..setup
        };
        self.send_patiently(&Body::Setup(setup), &[])?;
        self.send_handles(handles)
    }

    /// Sends what a running child is to prepare for, likewise.
    pub(crate) fn send_prepare(
        &self,
        (number, setup): (u64, Setup),
        handles: &[(Handle, OwnedFd)],
    ) -> Result<(), SendError> {
        let setup = Setup {
            handles: handles.len(),
            ..setup
        };
        self.send_patiently(&Body::Prepare { number, setup }, &[])?;
        self.send_handles(handles)
    }

    fn send_handles(&self, handles: &[(Handle, OwnedFd)]) -> Result<(), SendError> {
        for some in handles.chunks(MAX_DESCRIPTORS) {
            let (names, descriptors): (Vec<_>, Vec<_>) = some
                .iter()
                .map(|(handle, descriptor)| (handle.clone(), descriptor.as_fd()))
                .unzip();
            self.send_patiently(&Body::Handles { handles: names }, &descriptors)?;
        }
        Ok(())
    }

    /// Waits a moment where the queue is full: the other side is reading it.
    fn send_patiently(&self, body: &Body, descriptors: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        loop {
            match self.send(body.clone(), descriptors) {
                Err(SendError::Send(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.has_room(ANSWER_LIMIT).map_err(SendError::Send)? {
                        return Err(SendError::Send(error));
                    }
                }
                sent => return sent,
            }
        }
    }

    /// Waits for a set-up and all its descriptors; other messages before it are passed over.
    pub(crate) fn receive_setup(&self) -> Result<(Setup, Vec<(Handle, OwnedFd)>), SetupError> {
        let setup = loop {
            match self.next()? {
                (Body::Setup(setup), _) => break setup,
                (
                    Body::Hello(_)
                    | Body::Handles { .. }
                    | Body::Adopt
                    | Body::Files { .. }
                    | Body::Prepare { .. }
                    | Body::Prepared { .. }
                    | Body::GoOver
                    | Body::GoneOver { .. }
                    | Body::Abandon
                    | Body::Stop { .. }
                    | Body::Waits
                    | Body::Leave
                    | Body::Left
                    | Body::Begin { .. }
                    | Body::Retire
                    | Body::Boards { .. }
                    | Body::Proof(_)
                    | Body::Unknown,
                    _,
                ) => {}
            }
        };
        let handles = self.receive_handles(&setup)?;
        Ok((setup, handles))
    }

    /// Waits for what follows a set-up.
    pub(crate) fn receive_handles(
        &self,
        setup: &Setup,
    ) -> Result<Vec<(Handle, OwnedFd)>, SetupError> {
        let mut all = Vec::new();
        while all.len() < setup.handles {
            let (Body::Handles { handles }, descriptors) = self.next()? else {
                continue;
            };
            if handles.len() != descriptors.len() || handles.is_empty() {
                return Err(SetupError::Unequal {
                    named: handles.len(),
                    came: descriptors.len(),
                });
            }
            all.extend(handles.into_iter().zip(descriptors));
        }
        Ok(all)
    }

    fn next(&self) -> Result<(Body, Vec<OwnedFd>), SetupError> {
        match self.receive(Wait::Yes)? {
            Received::Message(body, descriptors) => Ok((body, descriptors)),
            Received::Nothing => Err(SetupError::Late),
            Received::Closed => Err(SetupError::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;

    use common::config::capacity::MAX_SOCKETS;

    use super::*;
    use crate::control::{connect, listen};

    #[test]
    fn a_set_up_larger_than_one_message_arrives_whole_and_in_order() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("test.ctl");
        let listening = listen(&path).expect("listen");
        let near = connect(&path).expect("connect");
        let far = Channel::new(rustix::net::accept(&listening).expect("accept"));
        let handles: Vec<(Handle, OwnedFd)> = (0..450)
            .map(|thread| {
                let file = File::open("/dev/null").expect("open");
                let handle = Handle::Listener {
                    listener: 0,
                    bind: 0,
                    port: 0,
                    thread,
                };
                (handle, file.into())
            })
            .collect();
        let setup = Setup {
            node: "lb1".to_owned(),
            threads: 450,
            runtime_dir: PathBuf::from("/run/x"),
            user: None,
            beside: false,
            lane: 0,
            handles: 0,
        };
        near.send(Body::Unknown, &[]).expect("send");
        near.send_setup(setup, &handles).expect("send");
        let (setup, got) = far.receive_setup().expect("receive");
        assert_eq!((setup.node.as_str(), setup.handles), ("lb1", 450));
        let names: Vec<_> = got.into_iter().map(|(handle, _)| handle).collect();
        let sent: Vec<_> = handles.into_iter().map(|(handle, _)| handle).collect();
        assert_eq!(names, sent);
    }

    #[test]
    fn the_largest_set_up_waits_whole_for_a_child_that_does_not_exist_yet() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("test.ctl");
        let listening = listen(&path).expect("listen");
        let near = connect(&path).expect("connect");
        // One file many times, so that the test itself needs few descriptors.
        let file = File::open("/dev/null").expect("open");
        let ports: Vec<usize> = (0..MAX_SOCKETS).collect();
        for some in ports.chunks(MAX_DESCRIPTORS) {
            let handle = |port: &usize| Handle::Listener {
                listener: 63,
                bind: 100,
                port: *port,
                thread: 63,
            };
            let body = Body::Handles {
                handles: some.iter().map(handle).collect(),
            };
            let descriptors = vec![file.as_fd(); some.len()];
            near.send_patiently(&body, &descriptors).expect("it fits");
        }
        let far = Channel::new(rustix::net::accept(&listening).expect("accept"));
        let mut came = 0;
        while came < MAX_SOCKETS {
            let (_, descriptors) = far.next().expect("receive");
            assert!(!descriptors.is_empty());
            came += descriptors.len();
        }
    }

    #[test]
    fn a_set_up_that_ends_early_is_an_error() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("test.ctl");
        let listening = listen(&path).expect("listen");
        let near = connect(&path).expect("connect");
        let far = Channel::new(rustix::net::accept(&listening).expect("accept"));
        near.send(Body::Stop { drain_ms: None }, &[]).expect("send");
        drop(near);
        assert!(matches!(far.receive_setup(), Err(SetupError::Closed)));
    }
}
