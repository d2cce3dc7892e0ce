//! The values of a document's fields.

use automerge::ScalarValue;

/// A scalar that a field can hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Unicode text.
    Text(String),
    /// A number, such as milliseconds.
    Int(i64),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Value {
    /// The text, if it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(int) = self { Some(*int) } else { None }
    }

    /// The bytes, if it is bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn to_scalar(&self) -> ScalarValue {
        match self {
            Value::Text(text) => ScalarValue::Str(text.as_str().into()),
            Value::Int(int) => ScalarValue::Int(*int),
            Value::Bytes(bytes) => ScalarValue::Bytes(bytes.clone()),
        }
    }

    pub(crate) fn from_scalar(scalar: &ScalarValue) -> Option<Value> {
        match scalar {
            ScalarValue::Str(text) => Some(Value::Text(text.to_string())),
            ScalarValue::Int(int) => Some(Value::Int(*int)),
            ScalarValue::Bytes(bytes) => Some(Value::Bytes(bytes.clone())),
            _ => None,
        }
    }
}
