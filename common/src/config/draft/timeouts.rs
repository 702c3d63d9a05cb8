//! Which of a session's idle limits count.

use std::time::Duration;

use super::{BackendDraft, ListenerDraft};
use crate::config::value::At;

impl ListenerDraft {
    /// The limit of the session's server; `Some(None)` = off.
    pub(in crate::config) fn server_timeout<'a>(
        &self,
        backends: &'a [BackendDraft],
    ) -> Option<&'a At<Option<Duration>>> {
        let backend = &backends[self.backend.as_ref()?.value];
        backend.server_timeout.as_ref()
    }

    /// Where the listener ends TLS the hello is a part of the handshake: the default is no longer than
    /// that may take.
    pub(super) fn settle_hello(&mut self) {
        if let (Some(hello), Some(Some(tls))) = (&mut self.hello_timeout, &self.tls)
            && let Some(whole) = tls.handshake_timeout
            && !hello.given
        {
            hello.value = hello.value.min(whole);
        }
    }

    /// A tunnel timeout supersedes the client's and the server's, so its default is for listeners
    /// that have neither.
    pub(super) fn settle_tunnel(&mut self, backends: &[BackendDraft]) {
        let sides = [self.client_timeout.as_ref(), self.server_timeout(backends)];
        let one_is_set = sides.into_iter().flatten().any(|side| side.value.is_some());
        if let Some(tunnel) = &mut self.tunnel_timeout
            && !tunnel.given
            && one_is_set
        {
            tunnel.value = None;
        }
    }
}
