//! Who is served: by the address that the connection comes from, before anything is read. Pure.

use std::net::IpAddr;

use common::config::Listener;

use crate::lists::{List, Lists};

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Served,
    /// Closed with RST.
    Denied,
    /// Closed without an answer.
    Dropped,
}

/// The access lists of a listener.
#[derive(Debug)]
pub struct Access {
    drop: List,
    deny: List,
    /// `None` = everybody.
    allow: Option<List>,
}

impl Access {
    pub fn new(listener: &Listener, lists: &Lists) -> Self {
        let files = &listener.files;
        let allow = match (&listener.allow, &files.allow) {
            (None, None) => None,
            (own, file) => Some(lists.list(own.as_deref().unwrap_or_default(), file.as_deref())),
        };
        Self {
            drop: lists.list(&listener.drop, files.drop.as_deref()),
            deny: lists.list(&listener.deny, files.deny.as_deref()),
            allow,
        }
    }

    /// The first of `drop`, `deny` and `allow` that knows the client decides; without `allow`
    /// everybody else is served. An IPv4-mapped address is compared as IPv4.
    pub fn verdict(&self, client: IpAddr) -> Verdict {
        let client = client.to_canonical();
        if self.drop.has(client) {
            Verdict::Dropped
        } else if self.deny.has(client)
            || self.allow.as_ref().is_some_and(|allow| !allow.has(client))
        {
            Verdict::Denied
        } else {
            Verdict::Served
        }
    }
}
