//! The TC program on two load balancers of the lab, rule by rule, over both families. Needs root.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests talk to a real kernel by sockets"
)]

mod attachment;
mod frame;
mod pieces;
mod rules;
mod site;
