//! Addresses as Java prints them, because ACLs compare hosts as text (`InetAddress.getHostAddress`).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

/// `127.0.0.1`, `0:0:0:0:0:0:0:1`; an IPv4 address inside IPv6 as IPv4. Scope ids are left out.
pub fn java_host_text(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => java_ipv6_text(v6),
    }
}

/// Eight groups in lower case hex without leading zeros; never `::`.
fn java_ipv6_text(address: Ipv6Addr) -> String {
    let mut text = String::with_capacity(39);
    for (i, group) in address.segments().into_iter().enumerate() {
        if i > 0 {
            text.push(':');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{group:x}");
    }
    text
}

/// What a host in an ACL is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostText {
    /// `*`, or exactly what Java prints for an address.
    Exact,
    /// An address, spelled differently from Java: never matches. Holds Java's spelling.
    Misspelled(String),
    /// Not an address at all: never matches.
    NotAnAddress,
}

/// Will this host text of an ACL ever equal the text of a peer's address?
pub fn classify_host(text: &str) -> HostText {
    if text == "*" {
        return HostText::Exact;
    }
    // Java appends the scope of a link-local address: fe80:0:0:0:0:0:0:1%eth0
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (text, None),
    };
    let Ok(parsed) = address.parse::<IpAddr>() else { return HostText::NotAnAddress };
    let mut java = java_host_text(parsed);
    if let Some(scope) = scope {
        if scope.is_empty() || !parsed.is_ipv6() {
            return HostText::NotAnAddress;
        }
        java = format!("{java}%{scope}");
    }
    if java == text { HostText::Exact } else { HostText::Misspelled(java) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_addresses_as_java_does() {
        let text = |a: &str| java_host_text(a.parse().unwrap());
        assert_eq!(text("127.0.0.1"), "127.0.0.1");
        assert_eq!(text("::1"), "0:0:0:0:0:0:0:1");
        assert_eq!(text("::"), "0:0:0:0:0:0:0:0");
        assert_eq!(text("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(text("2001:0DB8::00ff:0:1"), "2001:db8:0:0:0:ff:0:1");
    }

    #[test]
    fn names_java_spelling_of_a_host() {
        assert_eq!(classify_host("*"), HostText::Exact);
        assert_eq!(classify_host("10.0.0.1"), HostText::Exact);
        assert_eq!(classify_host("0:0:0:0:0:0:0:1"), HostText::Exact);
        assert_eq!(classify_host("fe80:0:0:0:0:0:0:1%eth0"), HostText::Exact);
        assert_eq!(classify_host("::1"), HostText::Misspelled("0:0:0:0:0:0:0:1".into()));
        assert_eq!(classify_host("::ffff:10.0.0.1"), HostText::Misspelled("10.0.0.1".into()));
        assert_eq!(classify_host("10.0.0.0/8"), HostText::NotAnAddress);
        assert_eq!(classify_host("localhost"), HostText::NotAnAddress);
        assert_eq!(classify_host("10.0.0.1%eth0"), HostText::NotAnAddress);
        assert_eq!(classify_host(""), HostText::NotAnAddress);
    }
}
