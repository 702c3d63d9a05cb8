// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Flow forwarding: a TC program at the ingress of the interfaces that carry virtual IPs, on both nodes. A TCP segment
// for a VIP of which this node knows no connection belongs to the other node, and goes there: so a VIP moves, and no
// connection breaks. The rules, in their order, for a segment that is addressed to this host (PACKET_HOST), a VIP and a
// listener's port:
//
//   1. from the other node's MAC address -> here, always. That alone makes a loop impossible.
//   2. the other node is dead            -> here: its sockets are gone, and our kernel answers RST at once.
//   3. SYN                               -> here if this node is active, or the other one has stopped, and a listener is
//                                           found; else there.
//   4. a socket but LISTEN is found      -> here, unless the segment is of another connection of the same addresses.
//   5. only LISTEN is found              -> here if its SYN cookie is valid.
//   6. else                              -> there, with the MAC addresses rewritten.
//
// ICMP errors are judged by the segment that they quote, fragments by their first one. "Here" is TC_ACT_UNSPEC: what
// else is attached to the interface has its turn.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"

#define HERE TC_ACT_UNSPEC

// common/src/config.rs, MAX_VIPS
#define MAX_VIPS 16
// The stamp of the other node's last frame is as exact as this, so that a stream from it does not fight for its cache line.
#define STAMP_NS 1000000

// linux/icmp.h and linux/icmpv6.h need headers of the C library
enum { ICMP_DEST_UNREACH = 3, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETERPROB = 12, ICMP_HEADER = 8 };
enum { ICMPV6_FIRST_ERROR = 1, ICMPV6_LAST_ERROR = 4 };

// Why a packet went where it went: forward/src/cause.rs has the same, in the same order.
enum cause {
	FROM_PEER,
	PEER_DEAD,
	SYN_HERE,
	SOCKET,
	COOKIE,
	ICMP_HERE,
	UNREADABLE,
	SYN_THERE,
	FOREIGN,
	UNKNOWN,
	ICMP_THERE,
	FRAGMENT,
	CAUSES,
	// Not of our concern, and not counted.
	NOT_OURS,
};
#define FIRST_THERE SYN_THERE

struct listener {
	struct address address;
	__be16 port;
	// 1 = that the address is listened to, whatever the port (which is 0).
	__u16 any_port;
};

// The other node behind an interface, and how a frame gets there: from this node's own address on the interface below,
// also where the frame came to a virtual router's, which must not be seen to come from two machines.
struct link {
	__u8 peer_mac[ETH_ALEN];
	__u8 own_mac[ETH_ALEN];
	__u32 way;
};

struct count {
	__u64 packets;
	__u64 bytes;
};

struct fragment {
	struct address source, destination;
	__u32 id;
};

// common/src/board/forward.rs
struct state {
	__u64 peer_frame;
	__u64 dead_as_of;
	__u64 active[MAX_VIPS];
};

// The index of its VIP, for each address and port that is listened to, and for each such address.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct listener);
	__type(value, __u32);
} listeners SEC(".maps");

// By index of the interface.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct link);
} links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CAUSES);
	__type(key, __u32);
	__type(value, struct count);
} counts SEC(".maps");

// Where the first fragment of a packet went; only that one has the ports.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct fragment);
	__type(value, __u32);
} fragments SEC(".maps");

// A segment is never further from what its connection expects: 16 MiB, or the largest buffer of either direction.
const volatile __u32 WINDOW = 1 << 24;

// What the kernel keeps of a connection without a full socket; the loader finds the offsets in the kernel's own BTF.
#define KERNEL_TYPE __attribute__((preserve_access_index))
struct tcp_request_sock {
	__u32 rcv_isn;
	__u32 snt_isn;
} KERNEL_TYPE;
struct sock_common {
	__u32 skc_tw_rcv_nxt;
	__u32 skc_tw_snd_nxt;
} KERNEL_TYPE;
struct inet_timewait_sock {
	struct sock_common __tw_common;
} KERNEL_TYPE;
struct tcp_timewait_sock {
	struct inet_timewait_sock tw_sk;
} KERNEL_TYPE;

// What a segment says of the sequence numbers of its connection; of a quoted one only `ours` is known.
struct numbers {
	__u32 theirs, ours;
	bool has_theirs, has_ours;
};

// Where the port is listened to; NULL = nowhere. Most frames are for another address, and that is looked up first: it is
// the same one each time, where their ports would be at another place of the table each.
static __always_inline __u32 *vip_of(const struct address *address, __be16 port)
{
	struct listener listener = { .address = *address, .any_port = 1 };
	if (!bpf_map_lookup_elem(&listeners, &listener))
		return NULL;
	listener.port = port;
	listener.any_port = 0;
	return bpf_map_lookup_elem(&listeners, &listener);
}

// The socket that a segment from the client to the VIP would reach; to be released.
static __always_inline struct bpf_sock *find(struct __sk_buff *skb, const struct packet *p,
					     const struct address *client, __be16 from, __be16 to)
{
	struct bpf_sock_tuple tuple = {};
	if (p->is_v6) {
		__builtin_memcpy(tuple.ipv6.saddr, client, sizeof(*client));
		__builtin_memcpy(tuple.ipv6.daddr, &p->destination, sizeof(p->destination));
		tuple.ipv6.sport = from;
		tuple.ipv6.dport = to;
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	tuple.ipv4.saddr = client->words[3];
	tuple.ipv4.daddr = p->destination.words[3];
	tuple.ipv4.sport = from;
	tuple.ipv4.dport = to;
	return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

static __always_inline bool is_far(__u32 a, __u32 b)
{
	return a - b + WINDOW > 2 * WINDOW;
}

// Whether a segment is of another connection than the one that this socket has of the same addresses. After a VIP came
// back a client that uses a port again would meet here what is left of its earlier connection.
static __always_inline bool is_foreign(struct bpf_sock *sk, const struct numbers *n)
{
	struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);
	if (tcp)
		return (n->has_theirs && is_far(n->theirs, tcp->rcv_nxt)) || (n->has_ours && is_far(n->ours, tcp->snd_nxt));
	if (sk->state == BPF_TCP_TIME_WAIT) {
		struct tcp_timewait_sock *tw = bpf_skc_to_tcp_timewait_sock(sk);
		if (!tw)
			return false;
		return (n->has_theirs && is_far(n->theirs, tw->tw_sk.__tw_common.skc_tw_rcv_nxt)) ||
		       (n->has_ours && is_far(n->ours, tw->tw_sk.__tw_common.skc_tw_snd_nxt));
	}
	if (sk->state == BPF_TCP_NEW_SYN_RECV) {
		struct tcp_request_sock *request = bpf_skc_to_tcp_request_sock(sk);
		if (!request)
			return false;
		return (n->has_theirs && is_far(n->theirs, request->rcv_isn)) ||
		       (n->has_ours && n->ours != request->snt_isn + 1);
	}
	return false;
}

static __always_inline bool has_valid_cookie(struct __sk_buff *skb, const struct packet *p, struct bpf_sock *sk,
					     struct tcphdr *tcp)
{
	if (!tcp->ack || tcp->rst || tcp->syn)
		return false;
	if (p->is_v6) {
		struct ipv6hdr copy, *ip = bytes(skb, ETH_HLEN, &copy, sizeof(copy));
		return ip && !bpf_tcp_check_syncookie(sk, ip, sizeof(*ip), tcp, sizeof(*tcp));
	}
	struct iphdr copy, *ip = bytes(skb, ETH_HLEN, &copy, sizeof(copy));
	return ip && !bpf_tcp_check_syncookie(sk, ip, sizeof(*ip), tcp, sizeof(*tcp));
}

// The other node is dead as of a frame of it, until a newer one came: vrrp's verdict needs nobody who takes it back.
static __always_inline bool is_peer_dead(const struct state *state)
{
	return state->dead_as_of && state->peer_frame <= state->dead_as_of;
}

// What both ways have before them; CAUSES = nothing is decided yet.
static __always_inline enum cause judge_peer(const struct state *state, bool from_peer)
{
	if (from_peer)
		return FROM_PEER;
	return is_peer_dead(state) ? PEER_DEAD : CAUSES;
}

static __always_inline enum cause judge_segment(struct __sk_buff *skb, const struct packet *p,
						const struct state *state, bool from_peer)
{
	struct tcphdr copy, *tcp = bytes(skb, p->offset, &copy, sizeof(copy));
	if (!tcp)
		return UNREADABLE;
	__u32 *vip = vip_of(&p->destination, tcp->dest);
	if (!vip || *vip >= MAX_VIPS)
		return NOT_OURS;
	enum cause known = judge_peer(state, from_peer);
	if (known != CAUSES)
		return known;

	bool is_syn = tcp->syn && !tcp->ack && !tcp->rst;
	if (is_syn && !state->active[*vip])
		return SYN_THERE;
	struct bpf_sock *sk = find(skb, p, &p->source, tcp->source, tcp->dest);
	if (!sk)
		return is_syn ? SYN_THERE : UNKNOWN;
	enum cause cause;
	if (is_syn) {
		cause = SYN_HERE;
	} else if (sk->state == BPF_TCP_LISTEN) {
		cause = has_valid_cookie(skb, p, sk, tcp) ? COOKIE : UNKNOWN;
	} else {
		struct numbers numbers = {
			.theirs = bpf_ntohl(tcp->seq),
			.ours = bpf_ntohl(tcp->ack_seq),
			.has_theirs = true,
			.has_ours = tcp->ack,
		};
		cause = is_foreign(sk, &numbers) ? FOREIGN : SOCKET;
	}
	bpf_sk_release(sk);
	return cause;
}

// The head of the TCP segment that an ICMP error quotes: what this VIP has sent to the client.
struct quoted {
	struct address source, destination;
	struct {
		__be16 source, dest;
		__be32 seq;
	} tcp;
};

static __always_inline bool read_quoted_v4(struct __sk_buff *skb, const struct packet *p, struct quoted *quoted)
{
	__u32 offset = p->offset + ICMP_HEADER;
	struct iphdr ip;
	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.protocol != IPPROTO_TCP ||
	    (ip.frag_off & bpf_htons(0x1fff)))
		return false;
	quoted->source = mapped(ip.saddr);
	quoted->destination = mapped(ip.daddr);
	return !bpf_skb_load_bytes(skb, offset + ip.ihl * 4, &quoted->tcp, sizeof(quoted->tcp));
}

static __always_inline bool read_quoted_v6(struct __sk_buff *skb, const struct packet *p, struct quoted *quoted)
{
	__u32 offset = p->offset + ICMP_HEADER;
	struct ipv6hdr ip;
	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.nexthdr != IPPROTO_TCP)
		return false;
	quoted->source = unmapped(&ip.saddr);
	quoted->destination = unmapped(&ip.daddr);
	return !bpf_skb_load_bytes(skb, offset + sizeof(ip), &quoted->tcp, sizeof(quoted->tcp));
}

static __always_inline enum cause judge_error(struct __sk_buff *skb, const struct packet *p,
					      const struct state *state, bool from_peer)
{
	__u8 type;
	struct quoted quoted;
	if (p->is_fragment || bpf_skb_load_bytes(skb, p->offset, &type, sizeof(type)))
		return NOT_OURS;
	if (p->is_v6) {
		if (type < ICMPV6_FIRST_ERROR || type > ICMPV6_LAST_ERROR || !read_quoted_v6(skb, p, &quoted))
			return NOT_OURS;
	} else {
		if (type != ICMP_DEST_UNREACH && type != ICMP_TIME_EXCEEDED && type != ICMP_PARAMETERPROB)
			return NOT_OURS;
		if (!read_quoted_v4(skb, p, &quoted))
			return NOT_OURS;
	}
	if (!is_same(&quoted.source, &p->destination) || !vip_of(&p->destination, quoted.tcp.source))
		return NOT_OURS;
	enum cause known = judge_peer(state, from_peer);
	if (known != CAUSES)
		return known;

	struct bpf_sock *sk = find(skb, p, &quoted.destination, quoted.tcp.dest, quoted.tcp.source);
	if (!sk)
		return ICMP_THERE;
	// The number that the quoted segment would be acknowledged with, as far as it is known: a SYN counts one.
	struct numbers numbers = { .ours = bpf_ntohl(quoted.tcp.seq) + 1, .has_ours = true };
	bool is_here = sk->state != BPF_TCP_LISTEN && !is_foreign(sk, &numbers);
	bpf_sk_release(sk);
	return is_here ? ICMP_HERE : ICMP_THERE;
}

static __always_inline enum cause judge_fragment(const struct packet *p, const struct state *state, bool from_peer)
{
	struct fragment key = { .source = p->source, .destination = p->destination, .id = p->fragment_id };
	__u32 *went_there = bpf_map_lookup_elem(&fragments, &key);
	return went_there && *went_there && judge_peer(state, from_peer) == CAUSES ? FRAGMENT : NOT_OURS;
}

static __always_inline void remember_fragment(const struct packet *p, bool went_there)
{
	struct fragment key = { .source = p->source, .destination = p->destination, .id = p->fragment_id };
	__u32 value = went_there;
	bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
}

static __always_inline enum cause judge(struct __sk_buff *skb, const struct packet *p, const struct state *state,
					bool from_peer)
{
	if (p->is_later_fragment)
		return judge_fragment(p, state, from_peer);
	if (p->protocol != IPPROTO_TCP)
		return judge_error(skb, p, state, from_peer);
	enum cause cause = judge_segment(skb, p, state, from_peer);
	if (p->is_fragment && cause != NOT_OURS)
		remember_fragment(p, cause >= FIRST_THERE);
	return cause;
}

static __always_inline void count(struct __sk_buff *skb, __u32 cause)
{
	struct count *count = bpf_map_lookup_elem(&counts, &cause);
	if (!count)
		return;
	count->packets += skb->gso_segs > 1 ? skb->gso_segs : 1;
	count->bytes += skb->len;
}

static __always_inline int send_there(struct __sk_buff *skb, const struct link *link)
{
	__u8 addresses[2 * ETH_ALEN];
	__builtin_memcpy(addresses, link->peer_mac, ETH_ALEN);
	__builtin_memcpy(addresses + ETH_ALEN, link->own_mac, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, addresses, sizeof(addresses), 0))
		return HERE;
	return bpf_redirect(link->way, 0);
}

static __always_inline bool is_from(struct __sk_buff *skb, const struct link *link)
{
	__u16 copy[ETH_ALEN / 2], *source = bytes(skb, ETH_ALEN, copy, sizeof(copy));
	const __u16 *peer = (const __u16 *)link->peer_mac;
	return source && source[0] == peer[0] && source[1] == peer[1] && source[2] == peer[2];
}

static __always_inline void stamp(struct state *state)
{
	__u64 now = bpf_ktime_get_ns();
	if ((__s64)(now - state->peer_frame) > STAMP_NS)
		*(volatile __u64 *)&state->peer_frame = now;
}

SEC("classifier")
int flow_forward(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex, zero = 0;
	struct link *link = bpf_map_lookup_elem(&links, &interface);
	struct state *now = bpf_map_lookup_elem(&state, &zero);
	if (!link || !now)
		return HERE;
	bool from_peer = is_from(skb, link);
	if (from_peer)
		stamp(now);

	struct packet packet = {};
	if (!read(skb, &packet))
		return HERE;
	enum cause cause = judge(skb, &packet, now, from_peer);
	if (cause == NOT_OURS)
		return HERE;
	count(skb, cause);
	return cause >= FIRST_THERE ? send_there(skb, link) : HERE;
}

char terms[] SEC("license") = "Dual MIT/GPL";
