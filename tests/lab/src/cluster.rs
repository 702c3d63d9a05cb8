//! The servers of the reference topology: an API server on each master, HTTP or echo and TLS on each worker.

use anyhow::Result;

use crate::apiserver::ApiServer;
use crate::backend::{Backend, Service};
use crate::{Lab, Node};

/// All of them.
#[derive(Debug)]
pub struct Cluster {
    /// Masters 1 to 3, port 6443.
    pub masters: Vec<ApiServer>,
    /// Workers 1 to 3, port 80.
    pub web: Vec<Backend>,
    /// Workers 1 to 3, port 443: TLS echo.
    pub tls: Vec<Backend>,
}

impl Cluster {
    /// Starts them; `web` is what the workers speak on port 80 (the prober and the held connections want
    /// [`Service::Echo`], transfers want [`Service::Http`]).
    ///
    /// # Errors
    /// When one does not start.
    pub fn start(lab: &Lab, web: Service) -> Result<Self> {
        let start = |port, service| -> Result<Vec<Backend>> {
            Node::WORKERS
                .iter()
                .map(|node| Backend::start(lab, *node, port, service))
                .collect()
        };
        Ok(Self {
            masters: Node::MASTERS
                .iter()
                .map(|node| ApiServer::start(lab, *node))
                .collect::<Result<_>>()?,
            web: start(80, web)?,
            tls: start(443, Service::TlsEcho)?,
        })
    }
}
