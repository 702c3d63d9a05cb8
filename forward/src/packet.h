// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a frame says up to its transport header, of IPv4 and IPv6 alike.

#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Beyond these a packet is the kernel's, whatever is in it.
#define MAX_EXTENSION_HEADERS 3

// IPv4 as ::ffff:a.b.c.d
struct address {
	__be32 words[4];
};

struct packet {
	struct address source, destination;
	// Of what comes after the IP header.
	__u32 offset;
	__u32 fragment_id;
	__u8 protocol;
	bool is_v6;
	bool is_fragment;
	bool is_later_fragment;
};

static __always_inline struct address mapped(__be32 v4)
{
	struct address address = { .words = { 0, 0, bpf_htonl(0xffff), v4 } };
	return address;
}

static __always_inline struct address unmapped(const struct in6_addr *v6)
{
	struct address address;
	__builtin_memcpy(&address, v6, sizeof(address));
	return address;
}

static __always_inline bool is_same(const struct address *a, const struct address *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1] && a->words[2] == b->words[2] &&
	       a->words[3] == b->words[3];
}

// Bytes of the frame where they are, or a copy of them where the kernel has them in pieces; NULL = there are none. What
// changes the frame makes them invalid.
static __always_inline void *bytes(struct __sk_buff *skb, __u32 offset, void *copy, __u32 length)
{
	void *start = (void *)(long)skb->data + offset;
	if (start + length <= (void *)(long)skb->data_end)
		return start;
	return bpf_skb_load_bytes(skb, offset, copy, length) ? NULL : copy;
}

// Reads the IP header and what stands between it and the payload; false = the packet is not for us.
static __always_inline bool read_v4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr copy, *ip = bytes(skb, ETH_HLEN, &copy, sizeof(copy));
	if (!ip)
		return false;
	p->source = mapped(ip->saddr);
	p->destination = mapped(ip->daddr);
	p->protocol = ip->protocol;
	p->offset = ETH_HLEN + ip->ihl * 4;
	p->is_fragment = ip->frag_off & bpf_htons(0x3fff);
	p->is_later_fragment = ip->frag_off & bpf_htons(0x1fff);
	p->fragment_id = ip->id;
	return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_ICMP;
}

static __always_inline bool read_v6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr copy, *ip = bytes(skb, ETH_HLEN, &copy, sizeof(copy));
	if (!ip)
		return false;
	p->source = unmapped(&ip->saddr);
	p->destination = unmapped(&ip->daddr);
	p->protocol = ip->nexthdr;
	p->offset = ETH_HLEN + sizeof(*ip);
#pragma unroll
	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		if (p->protocol != IPPROTO_HOPOPTS && p->protocol != IPPROTO_ROUTING && p->protocol != IPPROTO_DSTOPTS)
			break;
		__u8 header[2];
		if (bpf_skb_load_bytes(skb, p->offset, header, sizeof(header)))
			return false;
		p->protocol = header[0];
		p->offset += (header[1] + 1) * 8;
	}
	if (p->protocol == IPPROTO_FRAGMENT) {
		struct {
			__u8 next, reserved;
			__be16 offset;
			__be32 id;
		} header;
		if (bpf_skb_load_bytes(skb, p->offset, &header, sizeof(header)))
			return false;
		p->protocol = header.next;
		p->offset += sizeof(header);
		// An atomic fragment (RFC 6946) is whole.
		p->is_fragment = header.offset & bpf_htons(0xfff9);
		p->is_later_fragment = header.offset & bpf_htons(0xfff8);
		p->fragment_id = header.id;
	}
	return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_ICMPV6;
}

static __always_inline bool read(struct __sk_buff *skb, struct packet *p)
{
	// A tag means another network, whose interface has a program of its own.
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return read_v4(skb, p);
	p->is_v6 = true;
	return skb->protocol == bpf_htons(ETH_P_IPV6) && read_v6(skb, p);
}
