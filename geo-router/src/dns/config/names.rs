//! Names below another name, as a configuration writes them.

use hickory_proto::rr::Name;

use super::EXPLAIN;

/// `text` below `parent`, whole and in lower case. Its labels have letters, digits and the bytes that `allows` takes.
pub(super) fn below(text: &str, parent: &Name, allows: fn(u8) -> bool) -> Option<Name> {
    let label = |label: &str| {
        let allowed = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || allows(byte));
        allowed && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if !text.split('.').all(label) {
        return None;
    }
    let mut name = Name::from_ascii(text.to_ascii_lowercase()).ok()?;
    name.set_fqdn(false);
    name.append_domain(parent).ok()
}

/// Whether the name is the one that explains where a client is sent.
pub(super) fn is_explanation(name: &Name, service: &Name) -> bool {
    service.prepend_label(EXPLAIN).is_ok_and(|explain| explain == *name)
}
