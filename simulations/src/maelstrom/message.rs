//! Maelstrom's messages: one JSON object a line, and the errors that its protocol knows.
//!
//! # Invariant
//! No input makes this fail other than by a [`Malformed`].

use serde_json::{Map, Value, json};

/// The content of a line.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The sender.
    pub(super) src: String,
    /// The number of the message; without one no answer is wanted.
    pub(super) msg_id: Option<u64>,
    /// The type of the request.
    pub(super) kind: String,
    /// The whole body.
    pub(super) body: Map<String, Value>,
}

/// A line that is not a valid message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("no {0}")]
    Lacks(&'static str),
}

/// Errors as Maelstrom numbers them. All are definite except `Crash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    NotSupported = 10,
    TemporarilyUnavailable = 11,
    MalformedRequest = 12,
    Crash = 13,
    Abort = 14,
}

impl Request {
    /// Reads a line. A message with a sender and a number but without a type is a request that can be refused.
    pub(super) fn read(line: &str) -> Result<Request, Malformed> {
        let message: Value = serde_json::from_str(line)?;
        let src = message.get("src").and_then(Value::as_str).ok_or(Malformed::Lacks("src"))?;
        let body = message.get("body").and_then(Value::as_object).ok_or(Malformed::Lacks("body"))?;
        let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
        Ok(Request {
            src: src.to_owned(),
            msg_id: body.get("msg_id").and_then(Value::as_u64),
            kind: kind.to_owned(),
            body: body.clone(),
        })
    }

    /// Where the answer goes.
    pub(super) fn asker(&self) -> Asker {
        Asker { src: self.src.clone(), msg_id: self.msg_id }
    }
}

/// The sender of a request, to whose number the answer refers.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    src: String,
    msg_id: Option<u64>,
}

impl Asker {
    /// The line with an answer, if one is wanted.
    pub(super) fn answer(&self, from: &str, kind: &str, more: &[(&str, Value)]) -> Option<String> {
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(kind));
        body.insert("in_reply_to".to_owned(), json!(self.msg_id?));
        body.extend(more.iter().map(|(field, value)| ((*field).to_owned(), value.clone())));
        Some(line(from, &self.src, body))
    }

    /// The line with an error, if an answer is wanted.
    pub(super) fn refuse(&self, from: &str, code: Code, text: &str) -> Option<String> {
        self.answer(from, "error", &[("code", json!(code as u8)), ("text", json!(text))])
    }
}

/// One line out.
pub(super) fn line(src: &str, dest: &str, body: Map<String, Value>) -> String {
    json!({ "src": src, "dest": dest, "body": body }).to_string()
}
