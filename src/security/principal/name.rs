//! A distinguished name as text (RFC 2253), the way Java's `X500Principal.getName()` writes it.
//!
//! What the RFC leaves open and Java decides: the attribute types that have a keyword (all others are an OID with the
//! value in hex), the string types that are text, `=` and `#` escaped everywhere, white space escaped at both ends, NUL as
//! `\00`, other control characters as they are, and a BMPString's bytes read as UTF-8. Found by asking Java 17.

use std::fmt::Write as _;

/// DER of a Name → text. `None` if the bytes are no Name.
pub fn rfc2253(name: &[u8]) -> Option<String> {
    let (sequence, rest) = element(name, SEQUENCE)?;
    if !rest.is_empty() {
        return None;
    }
    let mut parts = Vec::new();
    for rdn in Elements(sequence) {
        let rdn = rdn?.content_of(SET)?;
        let attributes: Option<Vec<String>> = Elements(rdn).map(|a| attribute(a?.content_of(SEQUENCE)?)).collect();
        parts.push(attributes?.join("+"));
    }
    // The last RDN comes first.
    parts.reverse();
    Some(parts.join(","))
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;

/// PrintableString, UTF8String, T61String, IA5String, GeneralString, BMPString.
const TEXT_TAGS: [u8; 6] = [0x13, 0x0c, 0x14, 0x16, 0x1b, 0x1e];

/// The types that RFC 2253 gives a keyword, by the content of their OID.
const KEYWORDS: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

/// One `type=value`.
fn attribute(content: &[u8]) -> Option<String> {
    let (oid, rest) = element(content, OID)?;
    let mut elements = Elements(rest);
    let value = elements.next()??;
    if !elements.0.is_empty() {
        return None;
    }
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid).map(|(_, keyword)| *keyword);
    match keyword {
        Some(keyword) if TEXT_TAGS.contains(&value.tag) => Some(format!("{keyword}={}", escape(&lossy(value.content)))),
        Some(keyword) => Some(format!("{keyword}={}", hex(value.whole))),
        None => Some(format!("{}={}", dotted(oid)?, hex(value.whole))),
    }
}

/// `#` and every byte of the element.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::from("#");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn escape(value: &str) -> String {
    const ESCAPED: [char; 9] = [',', '=', '+', '<', '>', '#', ';', '"', '\\'];
    const SPACE: [char; 2] = [' ', '\r'];
    let inner = value.trim_matches(SPACE);
    let lead = value.len().saturating_sub(value.trim_start_matches(SPACE).len());
    let mut text = String::with_capacity(value.len());
    let spaces = |text: &mut String, part: &str| {
        for c in part.chars() {
            text.push('\\');
            text.push(c);
        }
    };
    let (before, rest) = value.split_at_checked(lead).unwrap_or((value, ""));
    spaces(&mut text, before);
    for c in inner.chars() {
        match c {
            '\0' => text.push_str("\\00"),
            c if ESCAPED.contains(&c) => {
                text.push('\\');
                text.push(c);
            }
            c => text.push(c),
        }
    }
    spaces(&mut text, rest.get(inner.len()..).unwrap_or_default());
    text
}

/// UTF-8, with a replacement character for what is none. Java counts an encoded surrogate (ED A0–BF …) as one.
fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    // Continuation bytes of a surrogate that are still to come.
    let mut skip = 0_u8;
    for chunk in bytes.utf8_chunks() {
        if !chunk.valid().is_empty() {
            skip = 0;
            text.push_str(chunk.valid());
        }
        match chunk.invalid() {
            [] => {}
            [0xa0..=0xbf] if skip == 2 => skip = 1,
            [0x80..=0xbf] if skip == 1 => skip = 0,
            invalid => {
                skip = if invalid == [0xed] { 2 } else { 0 };
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }
    text
}

/// Content octets of an object identifier → `1.2.840.113549.1.9.1`.
fn dotted(oid: &[u8]) -> Option<String> {
    let mut arcs: Vec<u128> = Vec::new();
    let mut arc = 0_u128;
    for (at, byte) in oid.iter().enumerate() {
        arc = arc.checked_mul(128)?.checked_add(u128::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            arcs.push(arc);
            arc = 0;
        } else if at.saturating_add(1) == oid.len() {
            return None;
        }
    }
    let (first, rest) = arcs.split_first()?;
    let root = (*first / 40).min(2);
    let mut text = format!("{root}.{}", first.checked_sub(root.checked_mul(40)?)?);
    for arc in rest {
        let _ = write!(text, ".{arc}");
    }
    Some(text)
}

/// One DER element.
#[derive(Clone, Copy)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// With tag and length.
    whole: &'a [u8],
}

impl<'a> Element<'a> {
    fn content_of(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }

    /// Low tag numbers and definite lengths of at most 16 MiB: a Name holds nothing else.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
        let (length, content) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0_usize, |n, &d| n.wrapping_mul(256).wrapping_add(usize::from(d)));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = content.split_at_checked(length)?;
        let whole = bytes.get(..bytes.len().checked_sub(rest.len())?)?;
        Some((Self { tag, content, whole }, rest))
    }
}

/// The elements of a content, until one can't be read.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Option<Element<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = Element::read(self.0);
        self.0 = read.map_or(&[], |(_, rest)| rest);
        Some(read.map(|(element, _)| element))
    }
}

/// Content and what follows, if the first element has this tag.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (element, rest) = Element::read(bytes)?;
    Some((element.content_of(tag)?, rest))
}

#[cfg(test)]
mod tests;
