//! Which addresses belong to the public internet.
//!
//! Sources: the IANA registries of special-purpose addresses (RFC 6890 and what was added since), and the addresses at
//! which clouds serve metadata to their machines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anybody's.
    Public,
    /// Ours, or a neighbour's: only where the operator allows it.
    Private,
    /// Never a destination: metadata servers, link-local, multicast, nobody.
    Never,
}

/// The kind of an address. An IPv4 address inside an IPv6 one counts as what it is.
pub(super) fn kind(address: IpAddr) -> Kind {
    match plain(address) {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

/// The address that is really meant: mapped, compatible, 6to4 and NAT64 forms lead to an IPv4 address.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = address else { return address };
    embedded(address).map_or(IpAddr::V6(address), IpAddr::V4)
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        // Mapped, compatible, translated (RFC 2765).
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] => v4(g, h),
        [0, 0, 0, 0, 0, 0] if (g, h) != (0, 0) && (g, h) != (0, 1) => v4(g, h),
        // NAT64, well-known and local (RFC 6052, RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, ..] => v4(g, h),
        // 6to4.
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    let [a, b, c, d] = address.octets();
    let never = address.is_unspecified()
        || address.is_link_local() // 169.254/16 holds the metadata servers of most clouds.
        || address.is_multicast()
        || address.is_broadcast()
        || [a, b, c, d] == [100, 100, 100, 200] // Alibaba Cloud
        || [a, b, c, d] == [168, 63, 129, 16] // Azure
        || [a, b, c, d] == [192, 0, 0, 192]; // Oracle Cloud
    if never {
        return Kind::Never;
    }
    let is_private = address.is_private()
        || address.is_loopback()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b)) // Carrier-grade NAT
        || (a == 192 && b == 0 && c == 0) // Protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && (b == 18 || b == 19)) // Benchmarks
        || a >= 240; // Reserved
    if is_private { Kind::Private } else { Kind::Public }
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    let [a, b, ..] = address.segments();
    let is_metadata = matches!(
        address.segments(),
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23 | 0x253 | 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
    );
    let is_link_local = a & 0xffc0 == 0xfe80 || a & 0xffc0 == 0xfec0;
    if address.is_unspecified() || address.is_multicast() || is_link_local || is_metadata {
        return Kind::Never;
    }
    // Global unicast is 2000::/3; inside it are protocol assignments (Teredo among them) and documentation.
    let is_special =
        (a == 0x2001 && b < 0x0200) || (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b < 0x1000);
    if a & 0xe000 == 0x2000 && !is_special { Kind::Public } else { Kind::Private }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    #[test]
    fn addresses_are_what_the_registries_say() {
        for (kind_of, addresses) in [
            (
                Kind::Public,
                "8.8.8.8 1.1.1.1 100.63.0.1 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1",
            ),
            (Kind::Public, "2606:4700:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888"),
            (Kind::Private, "10.1.2.3 172.16.0.1 172.31.255.255 192.168.0.1 127.0.0.1 127.255.0.9 0.1.2.3"),
            (
                Kind::Private,
                "100.64.0.1 100.127.255.255 192.0.0.9 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.9",
            ),
            (Kind::Private, "240.0.0.1 255.0.0.1 192.88.99.1 ::1 fc00::1 fd12:3456::1 2001:db8::1 2001::1"),
            (Kind::Private, "100::1 5f00::1 3fff::1 4000::1"),
            (Kind::Never, "0.0.0.0 169.254.0.1 169.254.169.254 169.254.0.23 224.0.0.1 255.255.255.255"),
            (Kind::Never, "100.100.100.200 168.63.129.16 192.0.0.192"),
            (Kind::Never, ":: fe80::1 fec0::1 ff02::1 fd00:ec2::254 fd20:ce::254"),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(kind(address.parse().unwrap()), kind_of, "{address}");
            }
        }
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_is_found() {
        let forms = [
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1:2:3:4:169.254.169.254",
            "2002:a9fe:a9fe::1",
        ];
        for form in forms {
            assert_eq!(kind(form.parse().unwrap()), Kind::Never, "{form}");
        }
        assert_eq!(kind("::ffff:10.0.0.1".parse().unwrap()), Kind::Private);
        assert_eq!(kind("64:ff9b::8.8.8.8".parse().unwrap()), Kind::Public);
        assert_eq!(plain("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
