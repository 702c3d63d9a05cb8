//! The data plane over real sockets on 127.0.0.0/8.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests open sockets and wait"
)]

mod accept;
mod agent;
mod apiserver;
mod balance;
mod client_ports;
mod connect;
mod drain;
mod families;
mod half_closed;
mod harness;
mod headers;
mod leaving;
mod limits;
mod lists;
mod names;
mod observe;
mod opening;
mod policy;
mod ports;
mod probe;
mod probe_external;
mod probe_http;
mod probe_steps;
mod probe_timing;
mod probe_tls;
mod process;
mod queue;
mod relay;
mod reload;
mod retire;
mod runtime;
mod secured;
mod segments;
mod servers;
mod session_log;
mod source_ports;
mod stuck;
mod termination;
mod tls;
mod track;
mod withdrawn;
