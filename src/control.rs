//! What the supervisor and its children say to each other.
//!
//! Each child listens on a SOCK_SEQPACKET unix socket of its own (its stdin, bound at
//! `RUNTIME/<kind>.ctl`), the supervisor connects. A message is one JSON object with a `version`;
//! unknown fields are skipped and unknown messages and handles are passed over, so that version N
//! talks to N-1. Descriptors travel beside `handles` messages (SCM_RIGHTS), one for each handle
//! named, in the same order.
//!
//! | who | says | when |
//! |---|---|---|
//! | supervisor | `setup`, `handles`… | at once after it made a new child |
//! | child | `hello` | at once after it accepted the connection |
//! | child | `setup`, `handles`… | after a `hello` with `running`: what it was given |
//! | supervisor | `adopt` | it has taken that over |
//! | supervisor | `files` | files have changed; those of one message are used together |
//! | supervisor | `prepare`, `handles`… | a reload: be ready to go over to this |
//! | child | `prepared` | it is ready, or why not; nothing has changed yet |
//! | supervisor | `go-over` | when all are ready: it runs by that from now on |
//! | child | `gone-over` | it does |
//! | supervisor | `abandon` | what was prepared will not be |
//! | supervisor | `stop` | end in an orderly way |
//! | vrrp | `waits` | it was started beside another one (`beside` in its set-up), and waits |
//! | supervisor | `leave` | vrrp: make way for that one, and leave everything as it is |
//! | vrrp | `left` | it has; its end follows |
//! | supervisor | `begin` | to the one that waits |
//! | supervisor | `retire` | proxy: another one accepts; end when your sessions have |
//! | supervisor | `boards` | vrrp, and proxies that have retired: another proxy serves, whose board this is |
//! | prover | `proof` | what the new version of an upgrade says of itself |
//!
//! The end of the connection tells each side that the other is dead.

mod configuration;
mod setup;
mod wire;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use self::configuration::Given;
pub(crate) use self::wire::{
    ANSWER_LIMIT, Channel, ReceiveError, Received, SendError, Wait, connect, is_alive, listen,
};

/// Version of the messages.
pub(crate) const VERSION: u32 = 1;
/// Most descriptors beside one message; the kernel's own limit is 253 (SCM_MAX_FD).
pub(crate) const MAX_DESCRIPTORS: usize = 200;

/// A message as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) body: Body,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Body {
    Hello(Hello),
    Setup(Setup),
    Handles {
        handles: Vec<Handle>,
    },
    Adopt,
    /// New contents of files that a set-up named before, as [`Handle::File`].
    Files {
        handles: Vec<Handle>,
    },
    /// What a new child would be given from now on: as a set-up, whole. The answer has the same number,
    /// so that a late one is not taken for that to a later question.
    Prepare {
        number: u64,
        setup: Setup,
    },
    Prepared {
        number: u64,
        #[serde(default)]
        refused: Option<String>,
    },
    GoOver,
    GoneOver {
        #[serde(default)]
        failed: Option<String>,
    },
    Abandon,
    Stop {
        /// How long the sessions of a proxy may go on; `None` = as long as the configuration says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain_ms: Option<u64>,
    },
    Waits,
    Leave,
    Left,
    Begin {
        /// What the one before has left as Active is gone on with.
        #[serde(default)]
        go_on: bool,
    },
    Retire,
    /// Other memory in place of what a set-up named before, as [`Handle::Board`].
    Boards {
        handles: Vec<Handle>,
    },
    Proof(Proof),
    /// Said by a newer version.
    #[serde(other)]
    Unknown,
}

/// A child introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`common::board::LAYOUT`] of the child.
    pub(crate) layout: u32,
    /// Its [`common::board::OLDEST`]; 0 = it says nothing, and shares only boards of its own layout.
    #[serde(default)]
    pub(crate) oldest: u32,
    pub(crate) pid: u32,
    /// [`common::board::Child::word`]
    pub(crate) kind: String,
    /// Version of its software.
    pub(crate) software: String,
    /// It was set up by an earlier supervisor; its `setup` follows.
    #[serde(default)]
    pub(crate) running: bool,
}

/// What a new version says of itself, when it has tried everything that an upgrade in place needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(crate) software: String,
    /// [`common::board::LAYOUT`] and [`common::board::OLDEST`] of it.
    pub(crate) layout: u32,
    pub(crate) oldest: u32,
    /// What it cannot do; empty = it can take over.
    #[serde(default)]
    pub(crate) obstacles: Vec<String>,
}

/// What a child works with, beside the descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Name of this node.
    pub(crate) node: String,
    /// Relay threads.
    pub(crate) threads: usize,
    pub(crate) runtime_dir: PathBuf,
    /// Who the child becomes; `None` = it stays who it is. Looked up by the supervisor: a child
    /// that is to accept at once has no time for the host's user database.
    #[serde(default)]
    pub(crate) user: Option<Identity>,
    /// It is started beside another one, whose place it is to take.
    #[serde(default)]
    pub(crate) beside: bool,
    /// Lane of the table of sessions, of a proxy.
    #[serde(default)]
    pub(crate) lane: usize,
    /// So many handles follow, over as many messages as that takes.
    pub(crate) handles: usize,
}

/// A user of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// What a descriptor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum Handle {
    /// The configuration's bytes, sealed.
    Config,
    /// Which place everything in it has on the boards, sealed: a `common::config::Arrangement`.
    Arrangement,
    /// A board, by the name of its writer.
    Board { writer: Writer },
    /// A listening socket of the proxy.
    Listener {
        listener: usize,
        bind: usize,
        /// Place in the bind's range of ports.
        #[serde(default)]
        port: usize,
        thread: usize,
    },
    /// The listening admin socket.
    AdminSocket,
    /// A listening socket of the admin's HTTP server.
    Http { address: String },
    /// An end of the channel over which admin gives the proxy commands. Both hold both ends, so that
    /// either of them can be replaced.
    Commands { end: CommandEnd },
    /// The same for the channel over which admin gives the supervisor tasks. Admin holds both ends.
    Tasks { end: CommandEnd },
    /// The socket that is the node's name in the network namespace; a child only keeps it.
    NodeName,
    /// A part of the TC program of flow forwarding, by its place in `forward::Program::parts`.
    Forward { part: usize },
    /// The content of a file that the configuration names, sealed.
    File { path: PathBuf },
    /// A table of sessions.
    Sessions { whose: Whose },
    /// The listening socket for the other node's admin.
    PeerSocket,
    /// What admin gets of the pair's key, sealed.
    AdminKey,
    /// The board of a proxy that has retired, by its place in
    /// [`common::board::SupervisorBoard::retired`]; behind all places that of the one that is about to.
    Retired { place: usize },
    /// Where that proxy takes commands, by the same place.
    RetiredCommands { place: usize },
    /// The board of the proxy that accepts, for one that has retired.
    Successor,
    /// A board with the counts of all proxies that have retired and ended.
    Past,
    /// Named by a newer version.
    #[serde(other)]
    Unknown,
}

/// An end of [`crate::commands`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CommandEnd {
    /// The admin process's.
    Asking,
    /// That of the proxy, or of the supervisor.
    Serving,
}

/// Whose sessions are in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Whose {
    /// This node's, written by the proxy.
    Own,
    /// The other node's, written by admin.
    Peer,
}

/// Who writes a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Writer {
    Supervisor,
    Vrrp,
    Proxy,
    Admin,
}

impl Writer {
    /// All boards.
    pub(crate) const ALL: [Self; 4] = [Self::Supervisor, Self::Vrrp, Self::Proxy, Self::Admin];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Message {
        serde_json::from_str(text).expect("a message")
    }

    #[test]
    fn a_message_comes_back_as_it_was_said() {
        for body in [
            Body::Stop { drain_ms: None },
            Body::Stop {
                drain_ms: Some(600_000),
            },
            Body::Adopt,
            Body::GoOver,
            Body::Abandon,
            Body::Prepared {
                number: 7,
                refused: Some("no room".to_owned()),
            },
            Body::GoneOver { failed: None },
            Body::Begin { go_on: true },
            Body::Proof(Proof {
                software: "0.2.0".to_owned(),
                layout: 13,
                oldest: 12,
                obstacles: vec!["no".to_owned()],
            }),
            Body::Hello(Hello {
                layout: 1,
                oldest: 1,
                pid: 77,
                kind: "proxy".to_owned(),
                software: "0.1.0".to_owned(),
                running: true,
            }),
            Body::Setup(Setup {
                node: "lb1".to_owned(),
                threads: 2,
                runtime_dir: PathBuf::from("/run/fmc-lb"),
                user: Some(Identity {
                    uid: 900,
                    gid: 901,
                    groups: vec![902],
                }),
                beside: true,
                lane: 8,
                handles: 3,
            }),
            Body::Files {
                handles: vec![Handle::File {
                    path: PathBuf::from("/etc/fmc-lb/deny.txt"),
                }],
            },
            Body::Handles {
                handles: vec![
                    Handle::Config,
                    Handle::Board {
                        writer: Writer::Vrrp,
                    },
                    Handle::Listener {
                        listener: 0,
                        bind: 1,
                        port: 3,
                        thread: 2,
                    },
                ],
            },
        ] {
            let said = Message {
                version: VERSION,
                body,
            };
            let text = serde_json::to_string(&said).expect("JSON");
            assert_eq!(parse(&text), said, "{text}");
        }
    }

    #[test]
    fn unknown_fields_messages_and_handles_are_passed_over() {
        assert_eq!(
            parse(r#"{"version":2,"type":"stop","gently":true}"#).body,
            Body::Stop { drain_ms: None }
        );
        assert_eq!(
            parse(r#"{"version":2,"type":"dance","steps":[1]}"#).body,
            Body::Unknown
        );
        let body = parse(
            r#"{"version":2,"type":"handles","handles":[{"what":"carpet","x":1},{"what":"config","y":2}]}"#,
        )
        .body;
        assert_eq!(
            body,
            Body::Handles {
                handles: vec![Handle::Unknown, Handle::Config]
            }
        );
    }

    #[test]
    fn an_old_hello_was_not_running() {
        let hello = parse(
            r#"{"version":1,"type":"hello","layout":1,"pid":5,"kind":"vrrp","software":"0.1.0"}"#,
        );
        assert!(matches!(hello.body, Body::Hello(hello) if !hello.running));
    }
}
