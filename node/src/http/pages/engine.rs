//! The template engine: minijinja, as in the reports of simulations. It escapes by itself, and a page stays HTML that one
//! can read and restyle. An undefined value is an error, so a test that renders a page finds a misspelt name.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fluent_bundle::FluentArgs;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, escape_formatter};
use serde::Serialize;

use super::assets;
use super::texts::Texts;

/// Every template, by the name that other templates use.
const TEMPLATES: [(&str, &str); 16] = [
    ("frame.html", include_str!("../../../templates/frame.html")),
    ("fields.html", include_str!("../../../templates/fields.html")),
    ("check-in.html", include_str!("../../../templates/check-in.html")),
    ("receipt.html", include_str!("../../../templates/receipt.html")),
    ("erased.html", include_str!("../../../templates/erased.html")),
    ("locked.html", include_str!("../../../templates/locked.html")),
    ("console-login.html", include_str!("../../../templates/console-login.html")),
    ("console-register.html", include_str!("../../../templates/console-register.html")),
    ("console-made.html", include_str!("../../../templates/console-made.html")),
    ("console-overview.html", include_str!("../../../templates/console-overview.html")),
    ("console-ask.html", include_str!("../../../templates/console-ask.html")),
    ("console-list.html", include_str!("../../../templates/console-list.html")),
    ("console-contacts.html", include_str!("../../../templates/console-contacts.html")),
    ("console-settings.html", include_str!("../../../templates/console-settings.html")),
    ("console-slips.html", include_str!("../../../templates/console-slips.html")),
    ("message.html", include_str!("../../../templates/message.html")),
];

/// The templates of each language.
static PAGES: LazyLock<BTreeMap<&'static str, Environment<'static>>> =
    LazyLock::new(|| Texts::all().iter().map(|texts| (texts.tag, environment(texts))).collect());

/// Fills a template in a language.
pub(super) fn fill(texts: &Texts, template: &str, content: impl Serialize) -> Result<String, Error> {
    let pages = PAGES.get(texts.tag).ok_or(ErrorKind::TemplateNotFound)?;
    pages.get_template(template)?.render(Serde(content))
}

fn environment(texts: &'static Texts) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.unwrap_or_default());
    for (name, source) in TEMPLATES {
        let added = environment.add_template(name, source);
        debug_assert!(added.is_ok(), "{added:?}");
    }
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() && matches!(state.auto_escape(), AutoEscape::Html) => {
            out.write_str(&escaped(text)).map_err(|_| ErrorKind::WriteFailure.into())
        }
        _ => escape_formatter(out, state, value),
    });
    environment.add_function("asset", |name: &str| assets::address(name));
    environment.add_function("text", move |key: &str, parts: Kwargs| -> Result<String, Error> {
        let parts = args(&parts, |text| text)?;
        Ok(texts.fill(key, Some(&parts)).into_owned())
    });
    // A message that is HTML itself: what is put into it is escaped.
    environment.add_function("html", move |key: &str, parts: Kwargs| -> Result<Value, Error> {
        let parts = args(&parts, |text| escaped(&text))?;
        Ok(Value::from_safe_string(texts.fill(key, Some(&parts)).into_owned()))
    });
    environment
}

/// Text as HTML, in an element or in a quoted attribute. minijinja's own escape was passed over, because it also escapes
/// the slash, which makes every address in a page unreadable and a quarter longer.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

/// The parts of a message.
fn args(parts: &Kwargs, shown: impl Fn(String) -> String) -> Result<FluentArgs<'static>, Error> {
    let mut args = FluentArgs::new();
    for name in parts.args() {
        let value: Value = parts.get(name)?;
        match i64::try_from(value.clone()) {
            Ok(number) if value.kind() == ValueKind::Number => args.set(name.to_owned(), number),
            _ => args.set(name.to_owned(), shown(value.to_string())),
        }
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escaped("a/b <i> & \"x\" 'y'"), "a/b &lt;i&gt; &amp; &quot;x&quot; &#39;y&#39;");
    }
}
