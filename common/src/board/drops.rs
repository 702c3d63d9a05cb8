//! Why something that came from the network was dropped.

board_enum! {
    /// Why a packet of protocol 112 was dropped, in the order of the validation ladder.
    DropReason {
        IpHeader = 0 => "ip_header",
        DstClass = 1 => "dst_class",
        Ttl = 2 => "ttl",
        OwnSource = 3 => "own_source",
        Truncated = 4 => "truncated",
        Vrid = 5 => "vrid",
        Source = 6 => "source",
        Version = 7 => "version",
        Type = 8 => "type",
        CountZero = 9 => "count_zero",
        Length = 10 => "length",
        Checksum = 11 => "checksum",
        IntervalZero = 12 => "interval_zero",
        HmacMalformed = 13 => "hmac_malformed",
        HmacStale = 14 => "hmac_stale",
        HmacKey = 15 => "hmac_key",
        HmacBad = 16 => "hmac_bad",
        HmacReplay = 17 => "hmac_replay",
        HmacMissing = 18 => "hmac_missing",
        AuthType = 19 => "auth_type",
        AuthFail = 20 => "auth_fail",
        Interval = 21 => "interval",
        AddrList = 22 => "addr_list",
        Owner = 23 => "owner",
        /// IPv6: the first address is not link-local.
        LinkLocal = 24 => "linklocal",
    }
}

board_enum! {
    /// What an advert for one of our VRIDs tells of a mistake in a configuration, beside what it says itself.
    AdvertWarning {
        /// Its checksum has the other form than ours: whoever knows one form only drops ours.
        ChecksumForm = 0 => "checksum_form",
        /// It names other addresses than the VIP.
        AddrList = 1 => "addr_list",
        /// It is of a machine that is no node of the file; dropped as [`DropReason::Source`].
        Stranger = 2 => "stranger",
        /// By unicast, and summed as if it went to the group; dropped as [`DropReason::Checksum`].
        GroupChecksum = 3 => "group_checksum",
        /// It speaks the other version of VRRP; dropped as [`DropReason::Version`].
        Version = 4 => "version",
        /// In version 2 its authentication is another one; dropped as [`DropReason::AuthType`] or [`DropReason::AuthFail`].
        Auth = 5 => "auth",
        /// In version 2 its interval is another one; dropped as [`DropReason::Interval`].
        Interval = 6 => "interval",
    }
}

board_enum! {
    /// Why a datagram of the pair channel was dropped.
    PairDrop {
        Source = 0 => "source",
        Truncated = 1 => "truncated",
        Version = 2 => "version",
        Key = 3 => "key",
        Authentication = 4 => "authentication",
        Replay = 5 => "replay",
    }
}
