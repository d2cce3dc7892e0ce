//! Problem details (RFC 9457) in words for a terminal.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    errors: Vec<Value>,
}

/// The problem that the server describes: `title: detail`, then one line for each field.
pub(super) fn describe(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
        return anyhow::anyhow!("the server answered {status}: {}", text.escape_debug());
    };
    let title = problem.title.unwrap_or_else(|| status.to_string());
    let mut words = match problem.detail {
        Some(detail) if detail != title => format!("{title}: {detail}"),
        _ => title,
    };
    for error in &problem.errors {
        words.push_str("\n  - ");
        words.push_str(&field(error));
    }
    anyhow::Error::msg(words)
}

/// One entry of `errors`: the field and its error.
fn field(error: &Value) -> String {
    let text = |keys: [&str; 3]| keys.into_iter().find_map(|key| error.get(key)?.as_str());
    match (text(["pointer", "field", "path"]), text(["detail", "message", "title"])) {
        (Some(""), Some(detail)) | (None, Some(detail)) => detail.to_owned(),
        (Some(place), Some(detail)) => format!("{place}: {detail}"),
        _ => error.as_str().map_or_else(|| error.to_string(), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    #[test]
    fn every_field_error_is_told() {
        let body = br#"{"title":"Not a venue","detail":"2 fields are wrong","status":422,
            "errors":[{"pointer":"/timezone","code":"timezone","detail":"no IANA time zone"},"x"]}"#;
        assert_eq!(
            super::describe(StatusCode::UNPROCESSABLE_ENTITY, body).to_string(),
            "Not a venue: 2 fields are wrong\n  - /timezone: no IANA time zone\n  - x"
        );
        let bare = super::describe(StatusCode::BAD_GATEWAY, b"<html>").to_string();
        assert_eq!(bare, "the server answered 502 Bad Gateway: <html>");
    }
}
