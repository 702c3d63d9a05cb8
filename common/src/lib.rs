//! The words that all parts of fmc-lb share. Pure: nothing here reads a clock, opens a socket or spawns.
//!
//! - [`config`]: the file as written → a [`config::Config`] whose values cannot be wrong.
//! - [`addr`], [`time`]: small words that cannot hold a wrong value.
//! - [`board`]: the shared memory by which the processes of a node know of each other.
//! - [`command`]: what a running node can be told.
//! - [`net_list`]: lists of networks in files of their own.
//! - [`order`]: what it can be told about its VIPs.
//! - [`roster`]: who the servers are now, after what came and went at run time.
//! - [`status`]: what `fmc-lb status --json` prints.
//! - [`task`]: what its supervisor can be told.
//! - [`tracker`]: when something that is looked at again and again counts as down.

pub mod addr;
pub mod board;
pub mod command;
pub mod config;
pub mod dns_name;
pub mod net_list;
pub mod order;
pub mod roster;
pub mod status;
pub mod task;
pub mod time;
pub mod tracker;
