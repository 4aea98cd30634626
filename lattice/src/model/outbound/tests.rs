use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn entry(text: &str) -> AllowedOrigin {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The origin of a URL without a path.
fn origin(url: &str) -> Result<Origin, OriginError> {
    let (scheme, authority) = url.split_once("://").unwrap();
    Origin::new(scheme, authority)
}

fn matches(pattern: &str, url: &str) -> bool {
    origin(url).is_ok_and(|origin| entry(pattern).matches(&origin))
}

#[test]
fn an_entry_is_for_its_scheme_host_and_port() {
    for (pattern, url) in [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com", "https://API.Example.com:443"),
        ("HTTPS://API.example.com:443", "https://api.example.com"),
        ("http://10.0.0.7:8080", "http://10.0.0.7:8080"),
        ("http://10.0.0.0/8", "http://10.9.8.7"),
        ("http://10.0.0.0:8080/8", "http://10.9.8.7:8080"),
        ("http://10.0.0.0/8", "http://[::ffff:10.9.8.7]"),
        ("http://[fd00::]/8", "http://[fd12::1]"),
        ("https://*.corp.example:8443", "https://a.corp.example:8443"),
        ("https://*.corp.example:8443", "https://a.b.corp.example:8443"),
        ("https://*", "https://anything.example"),
        ("https://*", "https://192.0.2.1"),
        ("http://cart.shop.lattice", "http://cart.shop.lattice"),
    ] {
        assert!(matches(pattern, url), "{pattern} {url}");
    }
    for (pattern, url) in [
        ("https://api.example.com", "http://api.example.com"),
        ("https://api.example.com", "https://api.example.com:8443"),
        ("https://api.example.com", "https://api.example.com.evil.example"),
        ("https://api.example.com", "https://example.com"),
        ("https://*.corp.example", "https://corp.example"),
        ("https://*.corp.example", "https://notcorp.example"),
        ("https://*.corp.example", "https://corp.example.evil.example"),
        ("http://10.0.0.0/8", "http://11.0.0.0"),
        ("http://10.0.0.0/8", "http://ten.example"),
        ("https://*", "https://cart.shop.lattice"),
        ("https://*.lattice", "https://cart.lattice"),
        ("https://*", "https://example.com:8443"),
    ] {
        assert!(!matches(pattern, url), "{pattern} {url}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for url in [
        "http://2130706433",
        "http://0x7f000001",
        "http://0x7f.1",
        "http://127.1",
        "http://0177.0.0.1",
        "http://127.0.0.01",
        "http://example.0x7f",
        "http://example.1",
        "http://127.0.0.1.",
        "http://example.com.",
        "http://.example.com",
        "http://a..b",
        "http://user@example.com",
        "http://user:password@example.com",
        "http://example.com%2f@evil.example",
        "http://ex%61mple.com",
        "http://ex\u{e4}mple.com",
        "http://\u{ff11}27.0.0.1",
        "http://127\u{3002}0.0.1",
        "http://example.com:",
        "http://example.com:0",
        "http://example.com:+80",
        "http://example.com:65536",
        "http://example.com:80:80",
        "http://[::1",
        "http://[::1]x",
        "http://[fe80::1%eth0]",
        "http://::1",
        "http://",
        "http://a b",
        "http://*",
        "ftp://example.com",
    ] {
        assert!(origin(url).is_err(), "{url}");
    }
    assert_eq!(origin("http://[::ffff:127.0.0.1]").unwrap().host, Host::Address(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(origin("http://xn--exmple-cua.com").unwrap().authority(), "xn--exmple-cua.com");
}

#[test]
fn what_is_no_entry_says_why() {
    for (text, reason) in [
        ("api.example.com", "does not begin with http"),
        ("*", "does not begin with http"),
        ("ftp://example.com", "does not begin with http"),
        ("http://*", "unencrypted requests to every host"),
        ("http://*:8080", "unencrypted requests to every host"),
        ("https://a.*.example", "has a `*`"),
        ("https://*example.com", "has a `*`"),
        ("https://*.*.example", "has a `*`"),
        ("https://*.10.0.0.1", "has a `*`"),
        ("https://example.com/v1", "more than a host"),
        ("https://example.com/", "more than a host"),
        ("https://example.com/8", "more than a host"),
        ("https://*/8", "more than a host"),
        ("https://example.com?x", "more than a host"),
        ("https://me@example.com", "names a user"),
        ("https://example.com:0", "is no port"),
        ("https://example.com:x", "is no port"),
        ("https://", "no host"),
        ("https://b\u{fc}cher.example", "not a name"),
        ("http://010.0.0.1", "is a number"),
        ("http://10.1.0.0/8", "write 10.0.0.0/8"),
        ("http://10.0.0.0/33", "neither an address nor a range"),
        ("http://[fe80::1%1]", "in brackets"),
    ] {
        let error = text.parse::<AllowedOrigin>().unwrap_err();
        assert!(error.to_string().contains(reason), "{text}: {error}");
        assert!(!error.help().is_empty());
    }
}

#[test]
fn a_name_reaches_private_addresses_only_beside_an_entry_for_them() {
    let to = origin("http://intranet.example:8080").unwrap();
    let private: IpAddr = "10.0.0.7".parse().unwrap();
    let allow = |entries: &[&str]| entries.iter().map(|text| entry(text)).collect::<Vec<_>>();
    let name = "http://intranet.example:8080";
    assert!(admits(&allow(&[name]), &to) && !admits_address(&allow(&[name]), &to, private));
    assert!(admits_address(&allow(&[name, "http://10.0.0.7:8080"]), &to, private));
    assert!(admits_address(&allow(&[name, "http://10.0.0.0:8080/8"]), &to, private));
    for other in ["http://10.0.0.7", "https://10.0.0.7:8080", "http://10.0.0.8:8080"] {
        assert!(!admits_address(&allow(&[name, other]), &to, private), "{other}");
    }
    // The address alone does not allow the name.
    assert!(!admits(&allow(&["http://10.0.0.7:8080"]), &to));
    // Nor does every name allow every address.
    let any = allow(&["https://*"]);
    let literal = origin("https://169.254.169.254").unwrap();
    assert!(admits(&any, &literal) && !admits_address(&any, &literal, "169.254.169.254".parse().unwrap()));
}

#[test]
fn special_addresses_are_not_public() {
    for special in [
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.1",
        "198.51.100.1",
        "203.0.113.9",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(!is_public(special.parse().unwrap()), "{special}");
    }
    for public in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.169.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "2a00::1"]
    {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
}

#[test]
fn components_have_names() {
    let app = "shop".parse().unwrap();
    let unit = |url: &str| origin(url).unwrap().internal().map(|name| name.unit(&app).map(|unit| unit.to_string()));
    assert_eq!(unit("http://cart.shop.lattice"), Some(Some("shop/cart".to_owned())));
    assert_eq!(unit("http://cart.lattice"), Some(Some("shop/cart".to_owned())));
    assert_eq!(unit("http://cart.other.lattice"), Some(Some("other/cart".to_owned())));
    assert_eq!(unit("http://a.b.c.lattice"), Some(None));
    assert_eq!(unit("http://a_b.lattice"), Some(None));
    assert_eq!(unit("http://lattice"), None);
    assert_eq!(unit("http://cart.lattice.example"), None);
}

/// Names that are no numbers, as their last letter is one that no number has.
fn name() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9-]{0,8}(\\.[a-z0-9_]{1,8}){0,3}z"
}

proptest! {
    #[test]
    fn any_text_is_an_entry_that_prints_itself_or_is_refused(text in "(https?://)?[a-z0-9.:*/@%\\[\\]-]{0,24}|\\PC{0,24}") {
        if let Ok(entry) = text.parse::<AllowedOrigin>() {
            prop_assert_eq!(entry.to_string().parse::<AllowedOrigin>(), Ok(entry));
        }
        let _ = Origin::new("http", &text);
        let _ = text.parse::<Network>();
    }

    #[test]
    fn an_entry_for_an_origin_allows_it_and_no_other(name in name(), other in name(), port in 1u16.., secure: bool) {
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://{name}:{port}");
        prop_assert!(matches(&url, &url));
        prop_assert_eq!(matches(&url, &format!("{scheme}://{other}:{port}")), name == other);
        prop_assert_eq!(matches(&url, &format!("{scheme}://{name}:{}", port ^ 1)), false);
    }

    #[test]
    fn below_a_name_is_what_ends_in_it(domain in name(), host in name(), part in "[a-z0-9]{1,8}") {
        let pattern = format!("https://*.{domain}");
        let below = format!("{part}.{domain}");
        let short = below.len() <= 253 && !below.ends_with(INTERNAL);
        prop_assert_eq!(matches(&pattern, &format!("https://{below}")), short);
        let ends = host.ends_with(&format!(".{domain}")) && !host.ends_with(INTERNAL);
        prop_assert_eq!(matches(&pattern, &format!("https://{host}")), ends);
    }

    #[test]
    fn a_number_is_an_address_in_one_form_alone(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        let [a, b, c, d] = address.octets();
        let low = bits & 0xff_ffff;
        for odd in [
            format!("{bits}"), format!("{bits:#x}"), format!("0{bits:o}"), format!("{a}.{low}"), format!("{a:#x}.{b}.{c}.{d}"),
            format!("0{a:o}.{b}.{c}.{d}"), format!("{a}.{b}.{}", bits & 0xffff), format!("{address}."),
        ] {
            prop_assert!(odd.parse::<Host>().is_err(), "{}", odd);
        }
        prop_assert_eq!(address.to_string().parse(), Ok(Host::Address(address.into())));
        let mapped = format!("[{}]", address.to_ipv6_mapped());
        prop_assert_eq!(mapped.parse(), Ok(Host::Address(address.into())));
    }

    #[test]
    fn an_address_is_as_public_in_all_its_forms(bits: u32) {
        let short = Ipv4Addr::from_bits(bits);
        let translated = Ipv6Addr::from_bits(0x0064_ff9b_u128 << 96 | u128::from(bits));
        prop_assert_eq!(is_public(short.into()), is_public(short.to_ipv6_mapped().into()));
        prop_assert_eq!(is_public(short.into()), is_public(translated.into()));
        // The old form of IPv4 in IPv6 is routed nowhere.
        prop_assert!(!is_public(Ipv6Addr::from_bits(bits.into()).into()));
    }

    #[test]
    fn a_range_has_the_addresses_that_share_its_bits(bits: u32, other: u32, prefix in 0u8..=32) {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let network = Network::new(Ipv4Addr::from_bits(bits & mask).into(), prefix).unwrap();
        prop_assert!(network.contains(Ipv4Addr::from_bits(bits).into()));
        prop_assert_eq!(network.contains(Ipv4Addr::from_bits(other).into()), bits & mask == other & mask);
        prop_assert_eq!(network.to_string().parse(), Ok(network));
    }
}
