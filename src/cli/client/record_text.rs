//! Records as text: `-f` formats as kcat has them, and JSON lines that go out and come in again.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::network::outbound::{NewRecord, Partition, ReadRecord};

/// One piece of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Headers,
}

/// `%t %p %o %T %k %K %v %S %h`: topic, partition, offset, time in ms, key and its length, value (also `%s`) and its length,
/// headers; `%%`; `\n \t \r \0 \\ \xHH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Format(Vec<Piece>);

impl Format {
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let bytes = match c {
                '%' => {
                    let letter = chars.next().ok_or("a '%' at the end; '%%' is one")?;
                    match piece(letter) {
                        Some(piece) => {
                            pieces.push(piece);
                            continue;
                        }
                        None if letter == '%' => b"%".to_vec(),
                        None => return Err(format!("'%{letter}' is none of %t %p %o %T %k %K %v %s %S %h %%")),
                    }
                }
                '\\' => vec![escaped(&mut chars)?],
                other => other.to_string().into_bytes(),
            };
            match pieces.last_mut() {
                Some(Piece::Text(text)) => text.extend(bytes),
                _ => pieces.push(Piece::Text(bytes)),
            }
        }
        Ok(Self(pieces))
    }

    /// A record as this format shows it.
    pub(in crate::cli) fn show(&self, partition: &Partition, record: &ReadRecord) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend(text),
                Piece::Topic => out.extend(partition.topic.as_bytes()),
                Piece::Partition => out.extend(partition.index.to_string().into_bytes()),
                Piece::Offset => out.extend(record.offset.to_string().into_bytes()),
                Piece::Timestamp => out.extend(record.timestamp_ms.to_string().into_bytes()),
                Piece::Key => out.extend(record.key.iter().flatten()),
                Piece::KeyLength => out.extend(length(record.key.as_deref()).into_bytes()),
                Piece::Value => out.extend(record.value.iter().flatten()),
                Piece::ValueLength => out.extend(length(record.value.as_deref()).into_bytes()),
                Piece::Headers => {
                    for (at, (key, value)) in record.headers.iter().enumerate() {
                        if at > 0 {
                            out.push(b',');
                        }
                        out.extend(key);
                        out.push(b'=');
                        out.extend(value.as_deref().unwrap_or(b"NULL"));
                    }
                }
            }
        }
        out
    }

    /// Reads a line that this format shows: keys and values, with text between them.
    pub(in crate::cli) fn read(&self, line: &[u8]) -> anyhow::Result<NewRecord> {
        let mut record = NewRecord::default();
        let mut rest = line;
        let mut pieces = self.0.iter().peekable();
        while let Some(piece) = pieces.next() {
            let target = match piece {
                Piece::Text(text) => {
                    rest = rest.strip_prefix(text.as_slice()).with_context(|| lacks(text))?;
                    continue;
                }
                Piece::Key => &mut record.key,
                Piece::Value => &mut record.value,
                _ => bail!("only %k and %v can be read"),
            };
            let end = match pieces.peek() {
                None => rest.len(),
                Some(Piece::Text(text)) => find(rest, text).with_context(|| lacks(text))?,
                Some(_) => bail!("there is no text between two of %k and %v"),
            };
            let (taken, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            *target = Some(taken.to_vec());
            rest = behind;
        }
        Ok(record)
    }
}

fn piece(letter: char) -> Option<Piece> {
    Some(match letter {
        't' => Piece::Topic,
        'p' => Piece::Partition,
        'o' => Piece::Offset,
        'T' => Piece::Timestamp,
        'k' => Piece::Key,
        'K' => Piece::KeyLength,
        'v' | 's' => Piece::Value,
        'S' => Piece::ValueLength,
        'h' => Piece::Headers,
        _ => return None,
    })
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = chars.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16).map_err(|_| format!("'\\x{digits}' is no byte"))
        }
        Some(other) => Err(format!("'\\{other}' is none of \\n \\t \\r \\0 \\\\ \\xHH")),
        None => Err("a '\\' at the end; '\\\\' is one".to_owned()),
    }
}

/// As kcat: -1 for null.
fn length(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.len().to_string())
}

fn lacks(text: &[u8]) -> String {
    format!("the line has no {:?}", String::from_utf8_lossy(text))
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// A record as a JSON object on one line. Bytes that are no text stand under `…_base64`.
pub(in crate::cli) fn to_json(partition: &Partition, record: &ReadRecord) -> String {
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(partition.topic));
    object.insert("partition".to_owned(), json!(partition.index));
    object.insert("offset".to_owned(), json!(record.offset));
    object.insert("timestamp".to_owned(), json!(record.timestamp_ms));
    put(&mut object, "key", record.key.as_deref());
    put(&mut object, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|(key, value)| {
        let mut header = Map::new();
        put(&mut header, "key", Some(key));
        put(&mut header, "value", value.as_deref());
        Value::Object(header)
    });
    object.insert("headers".to_owned(), headers.collect());
    Value::Object(object).to_string()
}

fn put(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => object.insert(name.to_owned(), json!(text)),
        Some(Err(_)) => object.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes.unwrap_or(&[])))),
    };
}

/// What [`to_json`] wrote; topic and offset are not looked at. Everything but `value` may be missing.
pub(in crate::cli) fn from_json(line: &[u8]) -> anyhow::Result<NewRecord> {
    let value: Value = serde_json::from_slice(line).context("the line is no JSON")?;
    let object = value.as_object().context("the line is no JSON object")?;
    let mut headers = Vec::new();
    for header in object.get("headers").and_then(Value::as_array).into_iter().flatten() {
        let header = header.as_object().context("a header is no object with key and value")?;
        headers.push((take(header, "key")?.context("a header has no key")?, take(header, "value")?));
    }
    let partition = object.get("partition").filter(|value| !value.is_null());
    let partition = partition.map(|value| value.as_i64().and_then(|value| i32::try_from(value).ok()));
    Ok(NewRecord {
        key: take(object, "key")?,
        value: take(object, "value")?,
        headers,
        partition: partition.map(|partition| partition.context("'partition' is no number")).transpose()?,
        timestamp_ms: object.get("timestamp").and_then(Value::as_i64).unwrap_or(-1),
    })
}

fn take(object: &Map<String, Value>, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(Value::String(text)) = object.get(&format!("{name}_base64")) {
        let bytes = STANDARD.decode(text).with_context(|| format!("'{name}_base64' is no base64"))?;
        return Ok(Some(bytes));
    }
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone().into_bytes())),
        // Objects are records too: what stands there is the value.
        Some(other) => Ok(Some(other.to_string().into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ReadRecord {
        ReadRecord {
            offset: 5,
            timestamp_ms: 77,
            key: Some(b"k1".to_vec()),
            value: None,
            headers: vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)],
        }
    }

    fn partition() -> Partition {
        Partition { topic: "demo".to_owned(), index: 3 }
    }

    #[test]
    fn formats_show_all_of_a_record() {
        let format = Format::parse(r"%t-%p @ %o %T [%k/%K] [%v/%S] %h %%\x41\n").unwrap();
        let shown = String::from_utf8(format.show(&partition(), &record())).unwrap();
        assert_eq!(shown, "demo-3 @ 5 77 [k1/2] [/-1] a=1,b=NULL %A\n");
        for wrong in ["%q", "%", r"\q", r"\", r"\xzz"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines_are_read_by_a_format() {
        let format = Format::parse(r"%k\t%v").unwrap();
        let record = format.read(b"a\tb\tc").unwrap();
        assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"a"[..]), Some(&b"b\tc"[..])));
        assert!(format.read(b"ab").unwrap_err().to_string().contains("\"\\t\""));
        assert!(Format::parse("%k%v").unwrap().read(b"ab").is_err());
        assert!(Format::parse("%o").unwrap().read(b"1").is_err());
    }

    #[test]
    fn json_goes_out_and_comes_in() {
        let mut record = record();
        record.value = Some(vec![0xff, 0]);
        let line = to_json(&partition(), &record);
        let expected = r#"{"topic":"demo","partition":3,"offset":5,"timestamp":77,"key":"k1","value_base64":"/wA=","headers":[{"key":"a","value":"1"},{"key":"b","value":null}]}"#;
        let sorted = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(sorted(&line), sorted(expected));
        let read = from_json(line.as_bytes()).unwrap();
        assert_eq!((read.key, read.value), (record.key, record.value));
        assert_eq!((read.headers, read.partition, read.timestamp_ms), (record.headers, Some(3), 77));
        assert_eq!(from_json(br#"{"value":{"a":1}}"#).unwrap().value, Some(br#"{"a":1}"#.to_vec()));
        for wrong in [&b"x"[..], b"[]", br#"{"partition":"x"}"#, br#"{"headers":[1]}"#] {
            assert!(from_json(wrong).is_err());
        }
    }
}
