//! The addresses of nodes and VIPs.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::{Fault, example, host, not_a};
use crate::config::kind::Form;
use crate::config::value::Value;

/// The address of a node.
pub(super) fn node(text: &str) -> Result<Value, Fault> {
    let Ok(address) = text.parse::<IpAddr>() else {
        let help = match text.parse::<IpNet>() {
            Ok(net) => format!("write it without the prefix length: \"{}\"", net.addr()),
            Err(_) => example(Form::Node),
        };
        return Err(not_a(text, Form::Node, help));
    };
    host(address, text)?;
    one_way_to_write_it(address, text)?;
    if is_link_local(address) {
        return Err(Fault::new(
            format!("`{text}` is a link-local address, which says nothing without an interface"),
            "write the machine's IPv4 address or a global or unique local one of IPv6, and this one as \
             `link_local`",
        ));
    }
    Ok(Value::Ip(address))
}

/// An address of a machine on the network of an interface, which need not be written with it.
pub(super) fn neighbour(text: &str) -> Result<Value, Fault> {
    let Ok(address) = text.parse::<IpAddr>() else {
        let help = match (text.parse::<IpNet>(), text.split_once('%')) {
            (Ok(net), _) => format!("write it without the prefix length: \"{}\"", net.addr()),
            (Err(_), Some((address, _))) if address.parse::<Ipv6Addr>().is_ok() => {
                format!("write the address alone: \"{address}\"; `interface` says where it is")
            }
            (Err(_), _) => example(Form::Neighbour),
        };
        return Err(not_a(text, Form::Neighbour, help));
    };
    host(address, text)?;
    one_way_to_write_it(address, text)?;
    Ok(Value::Ip(address))
}

/// A VIP and its subnet.
pub(super) fn subnet(text: &str) -> Result<Value, Fault> {
    let Ok(net) = text.parse::<IpNet>() else {
        let help = match text.parse::<IpAddr>() {
            Ok(address) => {
                let length = if address.is_ipv4() { 24 } else { 64 };
                format!(
                    "add the prefix length of the VIP's subnet, for example \"{text}/{length}\""
                )
            }
            Err(_) => example(Form::Subnet),
        };
        return Err(not_a(text, Form::Subnet, help));
    };
    host(net.addr(), text)?;
    one_way_to_write_it(net.addr(), text)?;
    if is_link_local(net.addr()) {
        return Err(Fault::new(
            format!(
                "`{text}` is a link-local address: clients would have to know by which interface, and no \
                 listener can bind to it"
            ),
            "write the address that clients use; the one that adverts of IPv6 begin with is `link_local`",
        ));
    }
    if net.prefix_len() == 0 {
        let length = if net.addr().is_ipv4() { 24 } else { 64 };
        return Err(Fault::new(
            format!("`{text}` belongs to no subnet"),
            format!("write the prefix length of the interface's subnet, for example /{length}"),
        ));
    }
    Ok(Value::Network(net))
}

/// An address of fe80::/10 (RFC 4291, section 2.5.6).
pub(super) fn link_local(text: &str) -> Result<Value, Fault> {
    let Ok(address) = text.parse::<Ipv6Addr>() else {
        let help = match text.split_once(['/', '%']) {
            Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => {
                format!("write the address alone: \"{address}\"")
            }
            Some(_) | None => example(Form::LinkLocal),
        };
        return Err(not_a(text, Form::LinkLocal, help));
    };
    if !is_link_local(address.into()) {
        let help = "it begins with fe80:".to_owned();
        return Err(not_a(text, Form::LinkLocal, help));
    }
    Ok(Value::LinkLocal(address))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn one_way_to_write_it(address: IpAddr, text: &str) -> Result<(), Fault> {
    if address.to_canonical() == address {
        return Ok(());
    }
    Err(Fault::new(
        format!("`{text}` is IPv4 written as IPv6"),
        format!("write it as {}", address.to_canonical()),
    ))
}
