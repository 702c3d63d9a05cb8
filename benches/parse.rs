//! How long it takes to read and write what stands at the beginning of a connection, and an advert.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::addr::Vrid;
use common::config::{ChecksumForm, Transport};
use divan::Bencher;
use lb_proxy::hello::{self, Inspection};
use lb_proxy::proxy_protocol::{
    Accept, Decoded, Endpoints, OutgoingTlvs, decode, encode_v1, encode_v2,
};
use rustls::pki_types::ServerName;
use vrrp::packet::{self, Addresses, Advert, Envelope, Expect, GROUP, Packet, Version, Virtual};
use vrrp::signature::{Keys, Stamp};

fn main() {
    divan::main();
}

fn endpoints() -> Endpoints {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Endpoints::new(
        address("[2001:db8::7]:47110"),
        address("[2001:db8:1::1]:443"),
    )
}

fn tlvs() -> OutgoingTlvs<'static> {
    OutgoingTlvs {
        ssl: None,
        alpn: Some(b"h2"),
        authority: Some("api.example.org"),
        unique_id: Some(b"18f3a2b4c5d6e7f8-1a2b"),
        crc32c: true,
        custom: &[],
    }
}

fn read_header(bencher: Bencher, bytes: &[u8]) {
    bencher.bench_local(|| {
        let decoded = decode(black_box(bytes), Accept::Both);
        assert!(matches!(decoded, Ok(Decoded::Header(_))));
    });
}

#[divan::bench]
fn proxy_v1_read(bencher: Bencher) {
    read_header(bencher, &encode_v1(Some(endpoints())));
}

#[divan::bench]
fn proxy_v1_write() -> Vec<u8> {
    encode_v1(black_box(Some(endpoints())))
}

#[divan::bench]
fn proxy_v2_read(bencher: Bencher) {
    let bytes = encode_v2(Some(endpoints()), &OutgoingTlvs::default()).expect("it fits");
    read_header(bencher, &bytes);
}

#[divan::bench]
fn proxy_v2_write() -> Vec<u8> {
    encode_v2(black_box(Some(endpoints())), &OutgoingTlvs::default()).expect("it fits")
}

#[divan::bench]
fn proxy_v2_with_tlvs_read(bencher: Bencher) {
    let bytes = encode_v2(Some(endpoints()), &tlvs()).expect("it fits");
    read_header(bencher, &bytes);
}

#[divan::bench]
fn proxy_v2_with_tlvs_write() -> Vec<u8> {
    encode_v2(black_box(Some(endpoints())), &tlvs()).expect("it fits")
}

/// What rustls says first.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("web.example.org").expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

/// The same message in records of so many bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |fragment: &[u8]| {
        let length = u16::try_from(fragment.len()).expect("a short fragment");
        [&[22, 3, 1], &length.to_be_bytes()[..], fragment].concat()
    };
    hello[5..].chunks(size).flat_map(record).collect()
}

fn inspect(bencher: Bencher, bytes: &[u8]) {
    bencher.bench_local(|| {
        let found = hello::inspect(black_box(bytes), hello::DEFAULT_LIMIT);
        assert!(matches!(found, Ok(Inspection::Hello(_))));
    });
}

#[divan::bench]
fn client_hello_in_one_record(bencher: Bencher) {
    inspect(bencher, &client_hello());
}

/// As a client that wants to cost much sends it.
#[divan::bench]
fn client_hello_in_records_of_one_byte(bencher: Bencher) {
    inspect(bencher, &in_records(&client_hello(), 1));
}

#[divan::bench]
fn client_hello_of_which_half_is_there(bencher: Bencher) {
    let hello = client_hello();
    let half = &hello[..hello.len() / 2];
    bencher.bench_local(|| {
        let found = hello::inspect(black_box(half), hello::DEFAULT_LIMIT);
        assert_eq!(found, Ok(Inspection::Incomplete));
    });
}

const LB1: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 11));
const LB2: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 12));
const ADVERT: Envelope = Envelope {
    source: LB1,
    destination: IpAddr::V4(GROUP),
    version: Version::V3(ChecksumForm::Pseudo),
};

fn vrid() -> Vrid {
    Vrid::new(51).expect("not zero")
}

fn advert() -> Advert<'static> {
    Advert {
        vrid: vrid(),
        priority: 250,
        interval: Duration::from_millis(100),
        addresses: Addresses::V4(&[[192, 168, 0, 10]]),
    }
}

#[divan::bench]
fn advert_write(bencher: Bencher) {
    let mut buffer = [0; 64];
    bencher.bench_local(|| {
        packet::encode(black_box(&advert()), &ADVERT, None, &mut buffer).expect("it fits")
    });
}

#[divan::bench]
fn advert_read(bencher: Bencher) {
    let mut buffer = [0; 64];
    let length = packet::encode(&advert(), &ADVERT, None, &mut buffer).expect("it fits");
    let expect = Expect {
        own: LB2,
        transport: Transport::Multicast,
        sources: &[LB1],
        routers: &[Virtual {
            vrid: vrid(),
            v2: None,
        }],
        trailers: false,
    };
    bencher.bench_local(|| {
        let packet = Packet::read(black_box(&buffer[..length])).expect("it has a header");
        let received = packet::decode(&packet, &expect);
        assert!(received.is_ok());
    });
}

#[divan::bench]
fn advert_sign(bencher: Bencher) {
    let keys = keys();
    let mut buffer = [0; 64];
    bencher.bench_local(|| {
        let signature = Some((&keys, Stamp::at(SIGNED_AT)));
        packet::encode(black_box(&advert()), &ADVERT, signature, &mut buffer).expect("it fits")
    });
}

#[divan::bench]
fn advert_verify(bencher: Bencher) {
    let keys = keys();
    let mut buffer = [0; 64];
    let signature = Some((&keys, Stamp::at(SIGNED_AT)));
    let length = packet::encode(&advert(), &ADVERT, signature, &mut buffer).expect("it fits");
    let (message, trailer) = buffer[20..length].split_at(12);
    let trailer = trailer.try_into().expect("28 bytes");
    bencher.bench_local(|| {
        let verified = keys.verify((LB1, black_box(message)), trailer, |_| true);
        assert!(verified.is_ok());
    });
}

const SIGNED_AT: Duration = Duration::from_secs(1_800_000_000);

fn keys() -> Keys {
    Keys::new(&[(1, [7; 32])]).expect("a key")
}
