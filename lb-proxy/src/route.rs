//! Which backend a client of TLS gets, by what it asks for. Pure.

use common::config::{BackendIndex, Listener};

use crate::hello::{ClientHello, ServerNames};

/// The routes of one listener, in the order of the file.
#[derive(Debug)]
pub(crate) struct Router {
    routes: Vec<Route>,
    default: BackendIndex,
}

#[derive(Debug)]
struct Route {
    /// `None` = any name, or none.
    names: Option<ServerNames<()>>,
    /// Empty = any protocol, or none.
    alpn: Vec<Vec<u8>>,
    backend: BackendIndex,
}

impl Router {
    pub(crate) fn new(listener: &Listener) -> Self {
        let routes = listener.routes.iter().map(|route| {
            let names = route.sni.iter().map(|name| (name.as_str(), ()));
            let names =
                ServerNames::new(names).expect("the configuration has valid names, once each");
            Route {
                names: (!route.sni.is_empty()).then_some(names),
                alpn: route
                    .alpn
                    .iter()
                    .map(|name| name.clone().into_bytes())
                    .collect(),
                backend: route.backend,
            }
        });
        Self {
            routes: routes.collect(),
            default: listener.backend,
        }
    }

    /// Whether a client has to say what it asks for.
    pub(crate) fn has_routes(&self) -> bool {
        !self.routes.is_empty()
    }

    /// The backend of the first route that fits; `None` = the client did not say what it asks for,
    /// or is none of TLS.
    pub(crate) fn backend(&self, hello: Option<&ClientHello>) -> BackendIndex {
        let fitting = hello.and_then(|hello| self.routes.iter().find(|route| route.fits(hello)));
        fitting.map_or(self.default, |route| route.backend)
    }
}

impl Route {
    fn fits(&self, hello: &ClientHello) -> bool {
        let name = self.names.as_ref().is_none_or(|names| {
            let asked = hello.server_name.as_dns();
            asked.is_some_and(|asked| names.route(asked).is_some())
        });
        name && (self.alpn.is_empty() || self.alpn.iter().any(|name| hello.alpn.offers(name)))
    }
}
