//! Makes requests with both `Content-Length` and `Transfer-Encoding` fail.
//!
//! Such a request has two possible ends, and another proxy may have used the other one (RFC 9112, section 6.3: an
//! intermediary ought to treat it as an error). hyper uses the coding and silently drops the length, so the code behind
//! it cannot tell. This reads the heads of an HTTP/1 connection along with hyper. Where the second of the two fields
//! appears it makes the field's name invalid, so that hyper refuses the request and closes.
//!
//! # Invariants
//! - It only changes a request that has both fields in one head.
//! - Where it loses track of the framing, or the connection is not HTTP/1, it changes nothing from there on. hyper
//!   alone is safe (it drops the length and closes the connection), only more lenient.

/// Longest line that matters: a field's name, a length or a chunk's size.
const MOST: usize = 64;

/// The first bytes of HTTP/2's preface.
const H2: &[u8] = b"PRI ";

/// The position in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the request line, or in empty lines before it.
    Start,
    /// In a field's name.
    Name,
    /// In a field's value.
    Value(Field),
    /// In a body of known length, this many bytes before its end.
    Body(u64),
    /// In the line that gives a chunk's size.
    ChunkSize,
    /// In the rest of that line.
    ChunkExtension,
    /// In a chunk and the line end after it.
    Chunk(u64),
    /// In the lines after the last chunk.
    Trailers,
    /// The framing is not understood.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Length,
    Coding,
    Upgrade,
    Other,
}

/// Watches one connection.
#[derive(Debug)]
pub struct Framing {
    at: At,
    line: Vec<u8>,
    length: Option<u64>,
    has_length: bool,
    has_coding: bool,
    upgrade: bool,
}

impl Framing {
    /// For a connection that may be HTTP/1.
    #[must_use]
    pub fn http1() -> Framing {
        Framing { at: At::Start, line: Vec::new(), length: None, has_length: false, has_coding: false, upgrade: false }
    }

    /// For a connection that is not HTTP/1.
    #[must_use]
    pub fn none() -> Framing {
        Framing { at: At::Lost, ..Framing::http1() }
    }

    /// Whether all that was read belongs to whole requests.
    pub(super) fn is_between_requests(&self) -> bool {
        self.at == At::Start && self.line.is_empty()
    }

    /// Reads the bytes, and makes a forbidden field's name invalid.
    pub fn watch(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let read = match self.at {
                At::Lost => return,
                At::Body(left) | At::Chunk(left) => self.skip(left, bytes.len()),
                // Only the end of these lines matters.
                At::Value(Field::Coding | Field::Upgrade | Field::Other) | At::ChunkExtension if bytes[0] != b'\n' => {
                    memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())
                }
                At::Start if self.line.len() >= H2.len() && bytes[0] != b'\n' => {
                    memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())
                }
                _ => {
                    self.byte(&mut bytes[0]);
                    1
                }
            };
            bytes = &mut bytes[read..];
        }
    }

    fn skip(&mut self, left: u64, have: usize) -> usize {
        let skipped = usize::try_from(left).map_or(have, |left| left.min(have));
        let left = left - skipped as u64;
        self.at = match self.at {
            At::Body(_) if left == 0 => At::Start,
            At::Body(_) => At::Body(left),
            _ if left == 0 => At::ChunkSize,
            _ => At::Chunk(left),
        };
        skipped
    }

    fn byte(&mut self, byte: &mut u8) {
        match (self.at, *byte) {
            (At::Start, b'\r' | b'\n') if self.line.is_empty() => {}
            (At::Start, b'\n') => self.start(),
            (At::Name, b'\n') => {
                if self.line.iter().all(|b| *b == b'\r') {
                    self.head_ends();
                } else {
                    self.at = At::Lost;
                }
            }
            (At::Name, b':') => {
                let field = self.field();
                match field {
                    Field::Length => self.has_length = true,
                    Field::Coding => self.has_coding = true,
                    Field::Upgrade => self.upgrade = true,
                    Field::Other => {}
                }
                if self.has_length && self.has_coding && matches!(field, Field::Length | Field::Coding) {
                    // This byte is invalid in a name.
                    *byte = 0;
                    self.at = At::Lost;
                    return;
                }
                self.line.clear();
                self.at = At::Value(field);
            }
            (At::Value(field), b'\n') => self.value_ends(field),
            (At::ChunkSize, b'\n') => self.chunk_begins(),
            (At::ChunkSize, b';' | b' ' | b'\t') if !self.line.is_empty() => self.at = At::ChunkExtension,
            (At::ChunkExtension, b'\n') => self.chunk_begins(),
            (At::Trailers, b'\n') => {
                if self.line.iter().all(|b| *b == b'\r') {
                    *self = Framing::http1();
                } else {
                    self.line.clear();
                }
            }
            (At::Value(Field::Coding | Field::Upgrade | Field::Other) | At::ChunkExtension, _) => {}
            (_, byte) if self.line.len() < MOST => self.line.push(byte),
            _ => {}
        }
    }

    fn start(&mut self) {
        // HTTP/2's preface.
        let other = self.line.starts_with(H2);
        *self = Framing { at: if other { At::Lost } else { At::Name }, ..Framing::http1() };
    }

    fn field(&self) -> Field {
        match self.line.as_slice() {
            name if name.eq_ignore_ascii_case(b"content-length") => Field::Length,
            name if name.eq_ignore_ascii_case(b"transfer-encoding") => Field::Coding,
            name if name.eq_ignore_ascii_case(b"upgrade") => Field::Upgrade,
            _ => Field::Other,
        }
    }

    fn value_ends(&mut self, field: Field) {
        if field == Field::Length {
            let text = std::str::from_utf8(self.line.trim_ascii()).ok();
            self.length = text.and_then(|text| text.parse().ok());
        }
        self.line.clear();
        self.at = At::Name;
    }

    fn head_ends(&mut self) {
        self.line.clear();
        self.at = match self.length {
            // The bytes that follow may not be HTTP.
            _ if self.upgrade => At::Lost,
            _ if self.has_coding => At::ChunkSize,
            None if self.has_length => At::Lost,
            None | Some(0) => At::Start,
            Some(length) => At::Body(length),
        };
        (self.length, self.has_length, self.has_coding) = (None, false, false);
    }

    fn chunk_begins(&mut self) {
        let text = std::str::from_utf8(self.line.trim_ascii()).ok();
        self.at = match text.and_then(|text| u64::from_str_radix(text, 16).ok()) {
            Some(0) => At::Trailers,
            Some(size) => At::Chunk(size.saturating_add(2)),
            None => At::Lost,
        };
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Framing;

    fn watched(stream: &[u8], piece: usize) -> Vec<u8> {
        let mut bytes = stream.to_vec();
        let mut framing = Framing::http1();
        for piece in bytes.chunks_mut(piece) {
            framing.watch(piece);
        }
        bytes
    }

    const CHUNKED: &str = "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                           5;x=y\r\nConte\r\n11\r\nContent-Length: 5\r\n0\r\nX: y\r\n\r\n";
    const SIZED: &str = "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 29\r\n\r\nTransfer-Encoding: chunked\r\n\n";
    const PLAIN: &str = "\r\nGET / HTTP/1.1\nHost: a\n\n";

    #[test]
    fn a_request_with_one_of_the_fields_is_left_alone_whatever_its_body() {
        for stream in [format!("{SIZED}{CHUNKED}{PLAIN}{CHUNKED}"), format!("{CHUNKED}{PLAIN}{SIZED}{SIZED}")] {
            for piece in 1..40 {
                assert_eq!(watched(stream.as_bytes(), piece), stream.as_bytes(), "{piece}");
            }
        }
    }

    #[test]
    fn a_request_with_both_fields_is_spoilt_in_either_order_and_after_others() {
        let one = "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTRANSFER-encoding: chunked\r\n\r\n0\r\n\r\n";
        let other = "PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\nX: y\r\ncontent-length: 4\r\n\r\n0\r\n\r\n";
        for before in ["".to_owned(), PLAIN.to_owned(), format!("{SIZED}{CHUNKED}")] {
            for both in [one, other] {
                let stream = format!("{before}{both}");
                for piece in 1..40 {
                    let watched = watched(stream.as_bytes(), piece);
                    assert_eq!(watched.iter().filter(|b| **b == 0).count(), 1);
                    assert_eq!(watched[..before.len()], *before.as_bytes());
                }
            }
        }
    }

    #[test]
    fn a_tunnel_is_left_alone() {
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let both = "PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for before in [upgrade, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let stream = format!("{before}{both}");
            assert_eq!(watched(stream.as_bytes(), 7), stream.as_bytes());
        }
    }

    proptest! {
        /// For any input, it does not matter how it is cut into pieces.
        #[test]
        fn pieces_do_not_matter(
            lines in prop::collection::vec("(GET / HTTP/1.1|content-length: [0-9]{1,3}|transfer-encoding: chunked|[0-9a-f]{1,2}|[a-z:]{0,9}|)(\r)?\n", 0..30),
            piece in 1_usize..50,
        ) {
            let stream = lines.concat();
            prop_assert_eq!(watched(stream.as_bytes(), piece), watched(stream.as_bytes(), usize::MAX));
        }
    }
}
