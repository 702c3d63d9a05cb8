//! Flow forwarding: what the kernel does with segments of connections that the other node has.
//!
//! `program.c` is the TC program, with its rules at its top; clang compiles it when this crate is built, and the object
//! is part of the binary. [`Program`] loads it and fills its maps, [`attach`] hangs it at the ingress of an interface:
//! there it stays, whoever loaded it, until [`detach`]. [`map_state`] maps the board by which vrrp tells it who is active
//! and whether the other node is dead.
//!
//! Nothing here decides anything: who is attached when is the supervisor's, the rest is vrrp's.

mod attach;
mod cause;
mod program;
mod state;

pub use self::attach::{AttachError, attach, attached, detach, index_of};
pub use self::cause::{Cause, Count};
pub use self::program::{Link, LoadError, Program, TableError};
pub use self::state::map_state;
