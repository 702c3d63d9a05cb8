//! fmc-lb
fn main() {}
