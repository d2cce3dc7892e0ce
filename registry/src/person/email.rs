//! Which text is an e-mail address: what browsers take in `<input type="email">` (WHATWG HTML), with letters of all scripts
//! (RFC 6531). Only sending mail could show whether the address works.
//!
//! `idna` judges the domain. `email_address` was passed over for the part before the `@`: it follows RFC 5321 to the letter,
//! so it takes quoted parts, which the trade's importers do not read, and refuses `a..b@`, which Japanese phones have.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::text::{is_ignorable, shows};

/// The rule in words.
pub(crate) const FORM: &str =
    "an e-mail address is like name@example.com: one @, no spaces or brackets, a domain with a dot";

/// Most bytes before the `@` (RFC 5321, section 4.5.3.1.1).
const LONGEST_LOCAL: usize = 64;

/// Whether a text is an e-mail address.
pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    local.chars().any(shows) && local.len() <= LONGEST_LOCAL && local.chars().all(is_local) && is_domain(domain)
}

fn is_local(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c)
    } else {
        !c.is_whitespace() && !is_ignorable(c)
    }
}

/// A host name with a dot whose last label is not a number.
fn is_domain(domain: &str) -> bool {
    // UTS #46 drops ignorable characters; here the text is kept, and an importer would stumble over them. Scripts that
    // need joiners have them in domains too, and `idna` judges these.
    if domain.chars().any(|c| is_ignorable(c) && !matches!(c, '\u{200C}' | '\u{200D}')) {
        return false;
    }
    let (list, hyphens) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    let Ok(name) = Uts46::new().to_ascii(domain.as_bytes(), list, hyphens, DnsLength::Verify) else { return false };
    domain.contains('.') && name.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::is_email;

    #[test]
    fn addresses_of_all_scripts() {
        for email in [
            "a@b.de",
            "o'connor+x@example.co.uk",
            "jürgen@müller.example",
            "用户@例子.广告",
            "मेल@उदाहरण.भारत",
            "a..b.@docomo.example",
            "a@xn--mller-kva.example",
            "A@EXAMPLE.COM",
            "a@1and1.example",
        ] {
            assert!(is_email(email), "{email}");
        }
    }

    #[test]
    fn what_no_importer_reads_is_no_address() {
        let long = format!("{}@example.com", "a".repeat(65));
        for email in [
            "",
            "a",
            "@b.de",
            "a@",
            "a@b",
            "a@b.",
            "a@.b",
            "a@b..c",
            "a b@c.de",
            "a@b@c.de",
            "<a@b.c>",
            "a@-.-",
            "a@-b.de",
            "a@b-.de",
            "a@b.c;d",
            "a@b.c,d@e.f",
            "a@b_c.de",
            "\"a\"@x.y",
            "a(b)@x.y",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "mailto:a@b.de",
            "a\u{200b}@b.de",
            "a@b\u{200b}.de",
            "\u{301}\u{200e}@b.de",
            &long,
        ] {
            assert!(!is_email(email), "{email}");
        }
    }
}
